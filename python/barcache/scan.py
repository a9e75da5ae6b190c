"""A cached entry as a source of Polars' lazy engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars.io.plugins import register_io_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from barcache import _core


def lazy_frame(opened: _core.FrameScan, sample: pl.DataFrame) -> pl.LazyFrame:
    """A LazyFrame whose every collect reads ``opened``; ``sample`` has its schema."""

    def read(
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,  # noqa: ARG001 (one buffer is hashed: there is one batch)
    ) -> Iterator[pl.DataFrame]:
        df = opened.read(with_columns)
        if n_rows is not None:
            df = df.head(n_rows)
        if predicate is not None:
            df = df.filter(predicate)
        yield df

    return register_io_source(read, schema=dict(sample.schema), explain_name="BARCACHE")
