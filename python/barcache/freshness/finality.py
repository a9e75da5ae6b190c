"""When a bar will not change any more.

A bar is named by its beginning. It is *final* once its end and then the source's delay have
passed; until then it is provisional. Its end is

- within the day: one resolution after its beginning, or the close of its session if that is
  sooner;
- a day or longer: the close of the last session within it. A bar's day is the one its label shows
  in its own zone when that label is a midnight (``2023-01-03``, ``2023-01-03 00:00-05:00``);
  a label such as ``2023-01-02 15:00Z`` (Tokyo's midnight) belongs to the first session that closes
  after it;
- at ``"24/7"``: one resolution after its beginning.

Without a calendar nobody knows when the market closes: a bar is then final one resolution after
its end. A label without a zone is read as UTC. Later bars never become final before earlier ones.

Thread safety: plain values.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl

from barcache.errors import InvalidArgument, InvalidType
from barcache.freshness.calendars import Calendar, calendar_of
from barcache.freshness.instants import (
    DAY_US,
    SECOND_US,
    as_datetime,
    as_us,
    day_number,
    day_of_number,
)
from barcache.resolution import Resolution, parse_resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NONE_IS_FINAL_AFTER_US = 30 * DAY_US
_LEAST_EXPIRY_US = 3600 * SECOND_US


@dataclass(frozen=True)
class Finality:
    """Which bars of a series are final; see the module. Made by :func:`finality`."""

    resolution: Resolution
    calendar: Calendar | None = None
    always_open: bool = False
    data_delay_us: int = 0

    def end_us(self, label_us: int, zone: str | None = None) -> int:
        """When the bar of that label ends, as microseconds since 1970 in UTC.

        Args:
            label_us: the label as a moment; one without a zone as if it were in UTC.
            zone: the zone that the label is shown in; None: UTC, or none.
        """
        if self.resolution.is_intraday:
            end = label_us + self.resolution.seconds * SECOND_US
            if self.calendar is not None and self.calendar.is_open(label_us):
                end = min(end, self.calendar.next_close(label_us) or end)
            return end
        wall_us = label_us if zone in (None, "UTC") else _wall_us(label_us, str(zone))
        day, clock_us = divmod(wall_us, DAY_US)
        if self.calendar is None:
            return label_us + (_day_after(day, self.resolution) - day) * DAY_US
        if clock_us and self.calendar.covers(label_us):
            day = self.calendar.days[bisect_right(self.calendar.closes, label_us)]
        end_day = _day_after(day, self.resolution)
        close = self.calendar.close_within_days(day, end_day)
        return end_day * DAY_US if close is None else close  # No session: a holiday, or unknown.

    def final_us(self, label_us: int, zone: str | None = None) -> int:
        """From when on the bar of that label is final."""
        grace = self.data_delay_us
        if self.calendar is None and not self.always_open:
            grace += self.resolution.seconds * SECOND_US
        return self.end_us(label_us, zone) + grace

    def first_provisional(
        self, labels_us: Sequence[int], as_of_us: int, zone: str | None = None
    ) -> int:
        """Where in ascending labels the provisional bars begin (their number if none is)."""
        place = len(labels_us)
        if place and self.final_us(labels_us[-1], zone) <= as_of_us:
            return place
        return bisect_right(labels_us, as_of_us, key=lambda label: self.final_us(label, zone))

    def expected_bar_end(self, times: pl.Series) -> pl.Series:
        """The end of each bar, as Datetime in UTC. ``times`` is a Date or Datetime series."""
        return _as_series(times, self.end_us)

    def final_at(self, times: pl.Series) -> pl.Series:
        """From when on each bar is final, as Datetime in UTC."""
        return _as_series(times, self.final_us)

    def is_final(self, times: pl.Series, as_of: datetime | float) -> pl.Series:
        """Whether each bar is final at that moment. A missing time is not."""
        moment_us = as_us(as_of)
        if times.null_count() == 0 and times.is_sorted():
            labels, zone = _labels(times)
            final = self.first_provisional(labels, moment_us, zone)
            return (pl.int_range(len(times), eager=True) < final).rename(times.name)
        return (self.final_at(times) <= as_datetime(moment_us)).fill_null(value=False)

    def next_final(self, times: pl.Series, as_of: datetime | float) -> datetime | None:
        """When the first of the bars that are provisional then becomes final; None if none is."""
        moment_us = as_us(as_of)
        labels, zone = _labels(times.drop_nulls().sort())
        place = self.first_provisional(labels, moment_us, zone)
        return as_datetime(self.final_us(labels[place], zone)) if place < len(labels) else None

    def none_expires_us(self, interval_end_us: int, as_of_us: int) -> int | None:
        """Until when an answer without bars holds; None: for good.

        It is final for an interval that ended more than 30 days before, else it expires after one
        resolution, at least an hour.
        """
        if as_of_us - interval_end_us > NONE_IS_FINAL_AFTER_US:
            return None
        return as_of_us + max(self.resolution.seconds * SECOND_US, _LEAST_EXPIRY_US)


def finality(
    resolution: str | Resolution, calendar: Any = None, data_delay_s: float = 0.0
) -> Finality:
    """The rule for a series.

    Args:
        resolution: of the bars.
        calendar: a name of exchange_calendars, one of its calendars, ``"24/7"``, or None: unknown.
        data_delay_s: seconds between a bar's end and its publication by the source.

    Raises:
        ImportError: a named calendar needs ``pip install "barcache[calendars]"``.
        InvalidArgument: an unknown resolution or calendar, a negative delay.

    >>> times = pl.Series([date(2023, 1, 2), date(2023, 1, 3)])
    >>> rule = finality("1d", "24/7", data_delay_s=60)
    >>> rule.is_final(times, datetime.fromisoformat("2023-01-03T00:01+00:00")).to_list()
    [True, False]
    """
    if not data_delay_s >= 0:
        raise InvalidArgument(f"data_delay_s={data_delay_s} makes no sense: use 0 or more")
    found = None if calendar is None else calendar_of(calendar)
    return Finality(
        resolution=parse_resolution(resolution),
        calendar=found,
        always_open=calendar is not None and found is None,
        data_delay_us=round(data_delay_s * SECOND_US),
    )


def _wall_us(label_us: int, zone: str) -> int:
    moment = as_datetime(label_us).astimezone(ZoneInfo(zone))
    offset = moment.utcoffset()
    assert offset is not None
    return label_us + round(offset.total_seconds() * SECOND_US)


def _day_after(day: int, resolution: Resolution) -> int:
    """The day on which a bar that begins on ``day`` has ended."""
    if resolution.unit != "mo":
        return day + resolution.seconds // 86_400
    begin = day_of_number(day)
    months = begin.year * 12 + begin.month - 1 + resolution.count
    year, month = divmod(months, 12)
    following = date(year, month + 1, 1)
    last = day_number(date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)) - 1
    return min(day_number(following) + begin.day - 1, last)


def _labels(times: pl.Series) -> tuple[list[int], str | None]:
    dtype = times.dtype
    if not isinstance(dtype, pl.Date | pl.Datetime):
        raise InvalidType(f"the times of bars are dates or datetimes, not {dtype}")
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    return times.cast(pl.Datetime("us", zone)).to_physical().to_list(), zone


def _as_series(times: pl.Series, end: Callable[[int, str | None], int]) -> pl.Series:
    labels, zone = _labels(times)
    ends = [None if label is None else end(label, zone) for label in labels]
    return pl.Series(times.name, ends, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
