"""The bars of a request as a Polars expression, whatever its ends and the time column are.

Ends are included, and an end that is a mere day is all of it. A bound without a zone is meant in
the column's own zone; one with a zone is compared as a moment, a column without one as UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from barcache.sources.base import as_day_or_moment


def within(column: str, dtype: pl.DataType, start: Any, end: Any) -> pl.Expr:
    """Whether the bar's time, a Date or Datetime ``column``, lies between ``start`` and ``end``.

    ``None`` for either is no bound.

    Raises:
        InvalidArgument: text that is no ISO date or time.
        InvalidType: neither text nor a date or time.

    >>> days = pl.DataFrame({"day": [date(2023, 1, 2), date(2023, 1, 3)]})
    >>> days.filter(within("day", pl.Date(), "2023-01-03", date(2023, 1, 31))).height
    1
    """
    bar_time = pl.col(column)
    if isinstance(dtype, pl.Date) and _is_day(start) and _is_day(end):
        first, last = (None if b is None else as_day_or_moment(b) for b in (start, end))
        after = pl.lit(value=True) if first is None else bar_time >= first
        return after if last is None else after & (bar_time <= last)
    if not isinstance(dtype, pl.Datetime):
        dtype = pl.Datetime("us")
        bar_time = bar_time.cast(dtype)
    inside = pl.lit(value=True)
    if start is not None:
        inside = inside & (bar_time >= _literal(as_day_or_moment(start), dtype))
    if end is not None:
        last = as_day_or_moment(end)
        if isinstance(last, datetime):
            inside = inside & (bar_time <= _literal(last, dtype))
        else:
            inside = inside & (bar_time < _literal(last + timedelta(days=1), dtype))
    return inside


def _is_day(bound: Any) -> bool:
    return bound is None or not isinstance(as_day_or_moment(bound), datetime)


def _literal(bound: date | datetime, dtype: pl.Datetime) -> pl.Expr:
    moment = bound if isinstance(bound, datetime) else datetime.combine(bound, time.min)
    if dtype.time_zone is None:
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        return pl.lit(moment, dtype=pl.Datetime(dtype.time_unit))
    zone = ZoneInfo(dtype.time_zone)
    moment = moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)
    return pl.lit(moment, dtype=dtype)
