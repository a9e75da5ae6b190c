"""Frames: what put accepts, and what get gives back beside Polars.

pandas -> table
- a named index becomes a column of its name, an unnamed one ``index`` (levels of a MultiIndex:
  their names, or ``level_0``, ``level_1``, ...); a default RangeIndex is dropped;
- column labels become text: a MultiIndex label joins its non-empty parts with ``_``
  (yfinance's ``('Close', 'AAPL')`` is ``Close_AAPL``), other labels are ``str(label)``;
- NaN becomes null, as with ``pl.from_pandas``.
With ``columns=[...]`` pandas is given those columns under their flat names.

What is needed to undo this travels with the frame as its *origin*, a JSON text.
pandas and pyarrow are imported only when such a frame is met. Thread safety: pure functions.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from barcache import _core
from barcache.errors import ForkedPolars, InvalidArgument, InvalidType, UnsupportedFrame

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME_KINDS = ("polars", "pandas", "arrow")

# Types that can hold no Python object: a frame of these alone needs no closer look.
_FLAT_TYPES = frozenset(
    {
        pl.Binary, pl.Boolean, pl.Categorical, pl.Date, pl.Datetime, pl.Decimal, pl.Duration,
        pl.Enum, pl.Float32, pl.Float64, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Null,
        pl.String, pl.Time, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64,
    }
)  # fmt: skip


class PutFrame(NamedTuple):
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
    """Anything that put accepts, as an Arrow producer. A LazyFrame is collected.

    Raises:
        InvalidType: not a frame.
        UnsupportedFrame: Python objects in a Polars frame, or a pandas frame that cannot be
            flattened without losing a name.
        ForkedPolars: a LazyFrame in a forked child.

    >>> frame_to_put(pl.DataFrame({"close": [1.0]})).is_polars
    True
    """
    if isinstance(data, pl.LazyFrame):
        data = collect(data)
    if isinstance(data, pl.DataFrame):
        _refuse_objects(data)
        return PutFrame(data, is_polars=True)
    if is_pandas_frame(data):
        return _from_pandas(data)
    if not isinstance(data, (type, pl.Series)) and (
        hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")
    ):
        return PutFrame(data, is_polars=False)
    raise InvalidType(
        f"put_cached_data cannot store a {type(data).__module__}.{type(data).__qualname__}: pass "
        "a Polars DataFrame or LazyFrame, a pandas DataFrame, a pyarrow Table or RecordBatch, or "
        "any object with __arrow_c_stream__"
    )


def collect(lazy: pl.LazyFrame) -> pl.DataFrame:
    """The frame of a query.

    Raises:
        ForkedPolars: in a forked child.
    """
    if _core.in_forked_child():
        raise ForkedPolars(
            "Polars cannot run the query of a LazyFrame in a forked child process: collect it "
            "before the fork, or start processes with the method 'spawn'"
        )
    return lazy.collect()


def _refuse_objects(df: pl.DataFrame) -> None:
    """Object columns leave Polars as raw pointers, without an error: refuse them by dtype."""
    if _FLAT_TYPES.issuperset(map(type, df.dtypes)):
        return
    for name, dtype in df.schema.items():
        if (dtype.is_nested() or dtype == pl.Object) and _find_object(dtype):
            raise UnsupportedFrame(
                f"column {name!r} has the Polars type {dtype}, whose Python objects cannot be "
                "stored: convert it to a plain type before put"
            )


def _find_object(dtype: Any) -> bool:
    if dtype == pl.Object:
        return True
    inner = getattr(dtype, "inner", None)
    if inner is not None and _find_object(inner):
        return True
    return any(_find_object(field.dtype) for field in getattr(dtype, "fields", ()))


def require_known_kind(kind: str) -> None:
    """Refuse a ``frame=`` that no hit could be handed out as.

    Raises:
        InvalidArgument: an unknown kind.
    """
    if kind not in FRAME_KINDS:
        raise InvalidArgument(f"frame={kind!r} is unknown: use one of {', '.join(FRAME_KINDS)}")


def frame_as(kind: str, as_polars: Callable[[], Any], exported: Any, origin: str) -> Any:
    """What a hit hands out for ``frame=kind``, one of FRAME_KINDS."""
    if kind == "polars":
        return as_polars()
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


def _is_range(index: Any) -> bool:
    import pandas

    return isinstance(index, pandas.RangeIndex)


def _categories(data: Any) -> dict[str, dict[str, Any]]:
    """What the categorical columns (by position) and index know beyond their values.

    Arrow keeps only the categories in use, in the order of their use. Others than text and plain
    numbers are left to it.
    """
    import pandas

    dtypes = {str(position): dtype for position, dtype in enumerate(data.dtypes)}
    dtypes["index"] = data.index.dtype
    known = {}
    for place, dtype in dtypes.items():
        if isinstance(dtype, pandas.CategoricalDtype):
            values = dtype.categories.tolist()
            if all(isinstance(value, (str, int, float)) for value in values):
                known[place] = {
                    "values": values,
                    "dtype": str(dtype.categories.dtype),
                    "ordered": dtype.ordered,
                }
    return known


def _restore_categories(frame: Any, known: dict[str, dict[str, Any]]) -> None:
    import pandas

    for place, categories in known.items():
        dtype = pandas.CategoricalDtype(
            pandas.Index(categories["values"], dtype=categories["dtype"]), categories["ordered"]
        )
        if place == "index":
            frame.index = pandas.CategoricalIndex(frame.index, dtype=dtype)
        else:
            column = frame.iloc[:, int(place)]
            frame.isetitem(int(place), pandas.Categorical(column, dtype=dtype))


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
        # None keeps a default index as three numbers; False would lose the type of the labels.
        table = pyarrow.Table.from_pandas(
            data, preserve_index=True if keeps_index else None, nthreads=1
        )
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
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
    origin = {
        "pandas": {
            "metadata": metadata,
            "names": names,
            "arrow_names": table.column_names,
            "range": (
                [index.start, index.stop, index.step] if _is_range(index) and keeps_index else None
            ),
            "frequency": getattr(index, "freqstr", None),
            "categories": _categories(data),
        }
    }
    flat = table.rename_columns(names).replace_schema_metadata(None)
    return PutFrame(flat, is_polars=False, origin=json.dumps(origin))


def _plain_type(data_type: Any) -> Any:
    """The type without string and binary views, at any depth."""
    import pyarrow

    def plain(field: Any) -> Any:
        return field.with_type(_plain_type(field.type))

    if data_type == pyarrow.string_view():
        return pyarrow.large_string()
    if data_type == pyarrow.binary_view():
        return pyarrow.large_binary()
    if pyarrow.types.is_struct(data_type):
        return pyarrow.struct([plain(field) for field in data_type])
    if pyarrow.types.is_fixed_size_list(data_type):
        return pyarrow.list_(plain(data_type.value_field), data_type.list_size)
    if pyarrow.types.is_list(data_type):
        return pyarrow.list_(plain(data_type.value_field))
    if pyarrow.types.is_large_list(data_type):
        return pyarrow.large_list(plain(data_type.value_field))
    return data_type


def _without_views(table: Any) -> Any:
    """The same table with plain strings, which every pandas conversion knows."""
    import pyarrow

    fields = [field.with_type(_plain_type(field.type)) for field in table.schema]
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
    if origin["frequency"] is not None:
        frame.index.freq = origin["frequency"]
    _restore_categories(frame, origin["categories"])
    return frame
