"""How many bars an interval may hold. Thread safety: pure functions."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from barcache.freshness.instants import DAY_US, SECOND_US

if TYPE_CHECKING:
    from barcache.bars.ends import Interval
    from barcache.freshness import Finality
    from barcache.freshness.calendars import Calendar


def bars_expected(rule: Finality, interval: Interval, now_s: int) -> int:
    """The bars that begin in an interval and not after now.

    With a calendar its sessions are counted (before and after the years it knows, as many a year
    as within them); without one, each step of the resolution.
    """
    begin, end = interval[0] // 1000, min(interval[1] // 1000, now_s * SECOND_US)
    if end <= begin:
        return 0
    step = rule.resolution.seconds * SECOND_US
    calendar = rule.calendar
    if calendar is None or not calendar.days or rule.resolution.unit in ("wk", "mo"):
        return max(1, (end - begin) // step)
    if rule.resolution.is_intraday:
        each = [-(-(close - open_) // step) for open_, close in _sessions(calendar, begin, end)]
        known = sum(each)
    else:
        first, last = -(-begin // DAY_US), -(-end // DAY_US)
        known = bisect_left(calendar.days, last) - bisect_left(calendar.days, first)
        known = -(-known // rule.resolution.count)
    return known + _beyond(rule, calendar, begin, end, known)


def _sessions(calendar: Calendar, begin: int, end: int) -> list[tuple[int, int]]:
    """Opening and close of the sessions, as far as they are in the interval."""
    first = bisect_left(calendar.closes, begin)
    last = bisect_left(calendar.opens, end)
    both = zip(calendar.opens[first:last], calendar.closes[first:last], strict=True)
    return [(max(opening, begin), min(close, end)) for opening, close in both]


def _beyond(rule: Finality, calendar: Calendar, begin: int, end: int, known: int) -> int:
    """Bars outside of the years that a calendar knows, by how many are inside."""
    inside = min(end, calendar.closes[-1]) - max(begin, calendar.opens[0])
    outside = end - begin - max(inside, 0)
    if outside <= 0:
        return 0
    if inside > 0:
        return known * outside // inside
    sessions = len(calendar.days) * outside // (calendar.closes[-1] - calendar.opens[0])
    length = calendar.closes[0] - calendar.opens[0]
    return max(1, sessions * max(1, length // (rule.resolution.seconds * SECOND_US)))
