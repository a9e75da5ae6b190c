"""Bars from Parquet and Arrow files, partitioned folders and Arrow datasets, read lazily.

Only the columns, files and row groups that a request needs are read, as far as their statistics
tell. Columns keep their names and types; answers are sorted by symbol and time, and checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from barcache.errors import InvalidArgument, InvalidBars, RangeUnavailable
from barcache.resolution import parse_resolution
from barcache.sources.bars import BarColumns, bar_columns, check_bars
from barcache.sources.files import files_id, found_files
from barcache.sources.ranges import within

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from barcache.resolution import Resolution

PARQUET: Final = (".parquet", ".pq")
ARROW: Final = (".arrow", ".feather", ".ipc")


class ParquetSource:
    """Bars from Parquet or Arrow IPC files, or an Arrow dataset.

    Args:
        data: a file, a glob pattern, a folder (with partitions such as ``symbol=AAPL`` if it has
            any), or several of these; or a ``pyarrow.dataset.Dataset`` or a LazyFrame.
        columns: to read beside the time and the symbol; None: all.
        time_column: of type Date or Datetime; found as by ``bar_columns`` if None.
        symbol_column: found likewise. Files without one are named after their symbol.
        resolution: the data's; another one is refused. None: whatever is asked for.
        name: the source id; needed for a dataset or LazyFrame. Default for files: from them, their
            size and time, so that a changed file is another source.

    Thread safety: safe.

    Raises:
        InvalidArgument: a dataset without a name.
        SourceUnavailable: no such file.
    """

    def __init__(
        self,
        data: Any,
        *,
        columns: Sequence[str] | None = None,
        time_column: str | None = None,
        symbol_column: str | None = None,
        resolution: str | None = None,
        name: str | None = None,
    ):
        self._data = data
        self._columns = None if columns is None else list(columns)
        self._time = time_column
        self._symbol = symbol_column
        self._resolution = None if resolution is None else parse_resolution(resolution)
        self._name = name
        self._is_files = not isinstance(data, pl.LazyFrame) and not hasattr(data, "scanner")
        if self._is_files:
            self._files()
        elif name is None:
            raise InvalidArgument(
                f"a {type(data).__name__} has no lasting name: pass name='...' with it"
            )

    @property
    def source_id(self) -> str:
        """See ``name``."""
        if self._name is not None:
            return self._name
        files = self._files()
        kind = "parquet" if files[0].suffix.lower() in PARQUET else "arrow"
        return files_id(kind, files, {"columns": [self._columns, self._time, self._symbol]})

    def fetch(self, symbols: Sequence[str], start: Any, end: Any, resolution: str) -> pl.DataFrame:
        """The bars of ``symbols`` (all, if empty) from ``start`` to ``end``, both included.

        Raises:
            InvalidArgument: no column to take for the time or symbol.
            InvalidBars: files that are not read together, or bars that cannot be right.
            RangeUnavailable: another resolution than the data's.
            SourceUnavailable: the files are gone.
        """
        step = parse_resolution(resolution)
        if self._resolution is not None and step != self._resolution:
            raise RangeUnavailable(
                f"{self.source_id} holds bars of {self._resolution}, not of {step}"
            )
        try:
            return self._answer(list(symbols), start, end, step)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InvalidBars(
                f"{self.source_id} is not read: {str(error).splitlines()[0]}"
            ) from error

    def _answer(self, symbols: list[str], start: Any, end: Any, step: Resolution) -> pl.DataFrame:
        rows = self._scan()
        schema = rows.collect_schema()
        columns = self._bar_columns(schema)
        if columns.symbol is None:
            rows, schema, columns = self._named_by_file(symbols, columns)
        time, symbol = pl.col(columns.time), pl.col(str(columns.symbol))
        # Rows without a time or symbol are kept, so that they are found to be bad.
        rows = rows.filter(within(columns.time, schema[columns.time], start, end) | time.is_null())
        if symbols:
            text = symbol if schema[str(columns.symbol)] == pl.String else symbol.cast(pl.String)
            rows = rows.filter(text.is_in(symbols) | symbol.is_null())
        if self._columns is not None:
            rows = rows.select(list(dict.fromkeys([*columns, *self._columns])))
        bars = rows.sort(symbol, time, maintain_order=True).collect()
        check_bars(bars, step, columns=columns, source=self.source_id)
        return bars

    def _scan(self, files: list[Path] | None = None) -> pl.LazyFrame:
        if isinstance(self._data, pl.LazyFrame):
            return self._data
        if not self._is_files:
            return pl.scan_pyarrow_dataset(self._data)
        files = files or self._files()
        if all(file.suffix.lower() in ARROW for file in files):
            return pl.scan_ipc(files, hive_partitioning=_is_partitioned(files))
        return pl.scan_parquet(files, hive_partitioning=_is_partitioned(files))

    def _bar_columns(self, schema: pl.Schema) -> BarColumns:
        for column in (self._time, self._symbol):
            if column is not None and column not in schema:
                raise InvalidArgument(
                    f"{self.source_id} has no column {column!r}: there are {', '.join(schema)}"
                )
        found = bar_columns(schema)
        time = self._time or (None if found is None else found.time)
        if time is None or not isinstance(schema[time], pl.Date | pl.Datetime):
            described = ", ".join(f"{name} ({dtype})" for name, dtype in schema.items())
            raise InvalidArgument(
                f"{self.source_id} has no column to take for the time: say which, of type Date or "
                f"Datetime, with time_column='...'; there are {described}"
            )
        return BarColumns(time, self._symbol or (None if found is None else found.symbol))

    def _named_by_file(
        self, symbols: list[str], columns: BarColumns
    ) -> tuple[pl.LazyFrame, pl.Schema, BarColumns]:
        """The rows of the files that are named after a symbol that is asked for."""
        if not self._is_files:
            raise InvalidArgument(
                f"{self.source_id} has no column to take for the symbol: say which with "
                "symbol_column='...'"
            )
        files = self._files()
        named = [(file, file.name.partition(".")[0]) for file in files]
        wanted = [(file, name) for file, name in named if not symbols or name in symbols]
        rows = pl.concat(
            [self._scan([file]).with_columns(symbol=pl.lit(name)) for file, name in wanted]
            or [self._scan(files[:1]).head(0).with_columns(symbol=pl.lit(""))]
        )
        return rows, rows.collect_schema(), BarColumns(columns.time, "symbol")

    def _files(self) -> list[Path]:
        return found_files(self._data, (*PARQUET, *ARROW))


def _is_partitioned(files: list[Path]) -> bool:
    return any("=" in part for file in files for part in file.parts[:-1])
