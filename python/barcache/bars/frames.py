"""Frames of bars: their shape, and cutting, joining and comparing them.

The frames in here are those of one symbol, in the order of time, unless said otherwise.
Thread safety: pure functions of immutable frames.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from barcache import _core
from barcache.bars.ends import FIRST_NS, LAST_NS, zone_of
from barcache.errors import ColumnNotFound, SourceError
from barcache.sources.bars import BarColumns, bar_columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from barcache.bars.ends import Interval

_PER_UNIT_NS = {"ms": 1_000_000, "us": 1_000, "ns": 1}
_DAY_NS = 86_400_000_000_000
# Numbers closer than this, relative to their size, are the same number computed twice.
NOISE = 1e-9


@dataclass(frozen=True)
class BarShape:
    """What the bars of a series look like: the names of their columns, and their zone."""

    columns: BarColumns
    zone: tzinfo
    zone_name: str | None
    unit_ns: int  # Nanoseconds of one step of the time column.


def shape_of(frame: pl.DataFrame) -> BarShape | None:
    """The shape of bars; None for a frame without a time column to recognise."""
    columns = bar_columns(frame)
    if columns is None:
        return None
    dtype = frame.schema[columns.time]
    if isinstance(dtype, pl.Datetime):
        return BarShape(
            columns, zone_of(dtype.time_zone), dtype.time_zone, _PER_UNIT_NS[dtype.time_unit]
        )
    return BarShape(columns, zone_of(None), None, _DAY_NS)


@lru_cache(maxsize=4096)
def remembered_shape(schema_text: str) -> BarShape | None:
    """The shape behind a schema of the ledger; None where none is known."""
    return shape_of(_core.empty_frame(schema_text)) if schema_text else None


def cut(frame: pl.DataFrame, shape: BarShape, interval: Interval) -> pl.DataFrame:
    """The bars whose time lies in the interval: a slice, without copying."""
    if not frame.height:
        return frame
    times = frame.get_column(shape.columns.time).to_physical()
    begin, end = (-(-ns // shape.unit_ns) for ns in interval)
    last = times.len() - 1
    if begin <= times[0] and times[last] < end:
        return frame
    first = _first_from(times, begin)
    return frame.slice(first, _first_from(times, end) - first)


def _first_from(times: pl.Series, moment: int) -> int:
    """The place of the first time that is not before the moment."""
    return bisect_left(times, moment)


def times_ns(frame: pl.DataFrame, shape: BarShape) -> list[int]:
    """The bars' times as moments."""
    physical = frame.get_column(shape.columns.time).to_physical().to_list()
    return [time * shape.unit_ns for time in physical]


def by_symbol(
    frame: pl.DataFrame, shape: BarShape, symbols: Sequence[str]
) -> dict[str, pl.DataFrame] | None:
    """The bars of each symbol asked for, in the order of time, from an answer of a source.

    None: the rows cannot be told apart, or be put in order: no time or symbol, two bars of one
    symbol at one time, symbols spelt in another way than they were asked for, or times that no
    interval can hold.
    """
    if frame.get_column(shape.columns.time).null_count():
        return None
    if shape.columns.symbol is None:
        if len(symbols) > 1:
            return None
        found = {symbols[0]: frame}
    else:
        if frame.get_column(shape.columns.symbol).null_count():
            return None
        found = _partitions(frame, shape.columns.symbol)
        strangers = found.keys() - set(symbols)
        if len(symbols) == 1 and len(found) == 1 and strangers:
            found = {symbols[0]: frame}  # Asked for one, it gave one: by its own name.
        elif strangers and set(symbols) - found.keys():
            return None
    sorted_bars = {}
    for symbol in found.keys() & set(symbols):
        bars = found[symbol]
        time = bars.get_column(shape.columns.time)
        if not time.is_sorted():
            bars = bars.sort(shape.columns.time)
        if time.n_unique() != time.len():
            return None
        if bars.height and not _within_limits(bars, shape):
            return None
        sorted_bars[symbol] = bars
    return sorted_bars


def _within_limits(bars: pl.DataFrame, shape: BarShape) -> bool:
    """Whether bars, at least one, lie where intervals do."""
    times = bars.get_column(shape.columns.time).to_physical()
    first, last = (int(time) * shape.unit_ns for time in (times[0], times[-1]))
    return first >= FIRST_NS and last < LAST_NS


def _partitions(frame: pl.DataFrame, symbol_column: str) -> dict[str, pl.DataFrame]:
    if not frame.height:
        return {}
    parts = frame.partition_by(symbol_column, as_dict=True, maintain_order=True)
    return {str(name): part for (name,), part in parts.items()}


def named(frame: pl.DataFrame, symbol: str, column: str) -> pl.DataFrame:
    """With a column that tells the symbol, also where the source gave none."""
    if column in frame.columns:
        return frame
    return frame.clone().insert_column(min(1, frame.width), pl.lit(symbol).alias(column))


def selected(frame: pl.DataFrame, columns: Sequence[str] | None) -> pl.DataFrame:
    """Only these columns; None: all.

    Raises:
        ColumnNotFound: there is no such column.
    """
    if columns is None:
        return frame
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ColumnNotFound(
            f"the bars have no column {missing[0]!r}: they have {', '.join(frame.columns)}"
        )
    return frame.select(columns)


def joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all frames, one after the other, in the columns of all.

    A type that two frames do not share becomes the one that holds both; times of different zones
    become UTC, Enums of different categories text.

    Raises:
        SourceError: there is no type that holds both.
    """
    if len(frames) == 1:
        return frames[0]
    schema = frames[0].schema
    if all(frame.schema == schema for frame in frames):
        return pl.concat(frames, rechunk=True)
    zones = {
        name
        for frame in frames
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Datetime)
        and isinstance(schema.get(name), pl.Datetime)
        and dtype.time_zone != schema[name].time_zone  # type: ignore[attr-defined]
    }
    enums = {
        name
        for frame in frames
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Enum) and schema.get(name, dtype) != dtype
    }
    alike = [_as_text(_in_utc(frame, zones), enums) for frame in frames]
    try:
        return pl.concat(alike, how="diagonal_relaxed", rechunk=True)
    except pl.exceptions.PolarsError as error:
        raise SourceError(
            f"the source gave a column in types that no frame can hold together: {_line(error)}; "
            "clear its older segments (cache.coverage() names them), and they are fetched anew"
        ) from error


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _as_text(frame: pl.DataFrame, names: set[str]) -> pl.DataFrame:
    return frame.with_columns(pl.col(name).cast(pl.String) for name in names & set(frame.columns))


def _in_utc(frame: pl.DataFrame, names: set[str]) -> pl.DataFrame:
    zoned = []
    for name in names & set(frame.columns):
        dtype = frame.schema[name]
        time = pl.col(name)
        if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
            zoned.append(time.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
        else:
            zoned.append(time.dt.convert_time_zone("UTC"))
    return frame.with_columns(zoned)


def differing(held: pl.DataFrame, fetched: pl.DataFrame, shape: BarShape) -> bool:
    """Whether two frames that should hold the same bars do not; noise of floats does not count."""
    if held.height != fetched.height:
        return True
    common = [name for name in held.columns if name in fetched.columns]
    if shape.columns.time not in common:
        return True
    for name in common:
        left, right = held.get_column(name), fetched.get_column(name)
        if left.dtype.is_numeric() and right.dtype.is_numeric():
            if not _numbers_agree(left, right):
                return True
        elif name != shape.columns.symbol and left.to_list() != right.to_list():
            return True
    return False


def _numbers_agree(left: pl.Series, right: pl.Series) -> bool:
    if left.dtype == right.dtype and left.equals(right, null_equal=True):
        return True
    for a, b in zip(left.to_list(), right.to_list(), strict=True):
        if a is None or b is None:
            if a is not b:
                return False
            continue
        x, y = float(a), float(b)
        if x != y and not (x != x and y != y) and not abs(x - y) <= NOISE * max(abs(x), abs(y)):
            return False
    return True
