"""Frames of other libraries: what put accepts beside Polars, and what get gives back.

pandas -> table
- a named index becomes a column of its name, an unnamed one ``index`` (levels of a MultiIndex:
  their names, or ``level_0``, ``level_1``, ...); a default RangeIndex is dropped;
- column labels become text: a MultiIndex label joins its non-empty parts with ``_``
  (yfinance's ``('Close', 'AAPL')`` is ``Close_AAPL``), other labels are ``str(label)``;
- NaN becomes null, as with ``pl.from_pandas``.

What is needed to undo this travels with the frame as its *origin*, a JSON text.
pandas and pyarrow are imported only when such a frame is met. Thread safety: pure functions.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from barcache.errors import InvalidArgument, InvalidType, UnsupportedFrame

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME_KINDS = ("polars", "pandas", "arrow")


@dataclass(frozen=True)
class PutFrame:
    """A frame ready for the core."""

    data: Any
    is_polars: bool
    origin: str = ""


def is_pandas_frame(data: Any) -> bool:
    """Whether ``data`` is a pandas DataFrame, without importing pandas.

    >>> is_pandas_frame([1, 2])
    False
    """
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def frame_to_put(data: Any) -> PutFrame:
    """Anything that put accepts but Polars' own frames, as an Arrow producer.

    Raises:
        InvalidType: not a frame.
        UnsupportedFrame: a pandas frame that cannot be flattened without losing a name.
    """
    if is_pandas_frame(data):
        return _from_pandas(data)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return PutFrame(data, is_polars=False)
    raise InvalidType(
        f"put_cached_data cannot store a {type(data).__module__}.{type(data).__qualname__}: pass "
        "a Polars DataFrame or LazyFrame, a pandas DataFrame, a pyarrow Table or RecordBatch, or "
        "any object with __arrow_c_stream__"
    )


def frame_as(kind: str, as_polars: Callable[[], Any], exported: Any, origin: str) -> Any:
    """What a hit hands out for ``frame=kind``.

    Raises:
        InvalidArgument: an unknown kind.
    """
    if kind == "polars":
        return as_polars()
    if kind not in FRAME_KINDS:
        raise InvalidArgument(f"frame={kind!r} is unknown: use one of {', '.join(FRAME_KINDS)}")
    import pyarrow

    table = pyarrow.table(exported)
    if kind == "arrow":
        return table
    return _to_pandas(table, json.loads(origin)["pandas"] if origin else None)


def _label_text(label: Any) -> str:
    if isinstance(label, tuple):
        return "_".join(str(part) for part in label if str(part) != "")
    return str(label)


def _is_default_range(index: Any) -> bool:
    import pandas

    return (
        isinstance(index, pandas.RangeIndex)
        and index.name is None
        and index.start == 0
        and index.step == 1
    )


def _index_names(index: Any) -> list[str]:
    if index.nlevels == 1:
        return ["index" if index.name is None else str(index.name)]
    return [
        f"level_{level}" if name is None else str(name) for level, name in enumerate(index.names)
    ]


def _from_pandas(data: Any) -> PutFrame:
    import pyarrow

    keeps_index = not _is_default_range(data.index)
    try:
        table = pyarrow.Table.from_pandas(data, preserve_index=keeps_index, nthreads=1)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, ValueError, TypeError) as error:
        raise UnsupportedFrame(
            f"the pandas frame has a column that Arrow cannot hold: {error}; convert it to one "
            "type, or drop it, before put"
        ) from error
    names = [_label_text(label) for label in data.columns]
    if keeps_index:
        names += _index_names(data.index)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UnsupportedFrame(
            f"the pandas frame has several columns that would be named {repeated[0]!r}: rename "
            "them (or the index) before put"
        )
    metadata = (table.schema.metadata or {}).get(b"pandas", b"").decode()
    index = data.index
    span = (
        [index.start, index.stop, index.step]
        if type(index).__name__ == "RangeIndex" and keeps_index
        else None
    )
    origin = {
        "pandas": {
            "metadata": metadata,
            "names": names,
            "arrow_names": table.column_names,
            "range": span,
        }
    }
    flat = table.rename_columns(names).replace_schema_metadata(None)
    return PutFrame(flat, is_polars=False, origin=json.dumps(origin))


def _without_views(table: Any) -> Any:
    """The same table with plain strings, which every pandas conversion knows."""
    import pyarrow

    fields = []
    for field in table.schema:
        if field.type == pyarrow.string_view():
            field = field.with_type(pyarrow.large_string())
        elif field.type == pyarrow.binary_view():
            field = field.with_type(pyarrow.large_binary())
        fields.append(field)
    return table.cast(pyarrow.schema(fields))


def _to_pandas(table: Any, origin: dict[str, Any] | None) -> Any:
    table = _without_views(table).replace_schema_metadata(None)
    if origin is None or set(table.column_names) != set(origin["names"]):
        return table.to_pandas(use_threads=False)
    import pandas

    table = table.select(origin["names"]).rename_columns(origin["arrow_names"])
    table = table.replace_schema_metadata({b"pandas": origin["metadata"].encode()})
    frame = table.to_pandas(use_threads=False)
    if origin["range"] is not None:
        start, stop, step = origin["range"]
        frame.index = pandas.RangeIndex(start, stop, step, name=frame.index.name)
    return frame
