"""When a market is open: the sessions of an exchange, by exchange_calendars.

A calendar is read once per process and then holds plain sorted lists. The package
exchange_calendars (``pip install "barcache[calendars]"``) is imported when a named calendar is
first asked for; ``"24/7"`` needs none. Thread-safe: what is here never changes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from barcache.errors import InvalidArgument
from barcache.freshness.instants import DAY_US

ALWAYS_OPEN: Final = "24/7"
INSTALL: Final = 'pip install "barcache[calendars]"'


@dataclass(frozen=True)
class Calendar:
    """The sessions of one exchange, in the order of time.

    Attributes:
        name: as exchange_calendars calls it, such as ``XNYS``.
        days: the day that names each session, as days since 1970.
        opens: when each opens, microseconds since 1970 in UTC.
        closes: when each closes.
    """

    name: str
    days: tuple[int, ...]
    opens: tuple[int, ...]
    closes: tuple[int, ...]

    def covers(self, moment_us: int) -> bool:
        """Whether the sessions around that moment are known."""
        return bool(self.opens) and self.opens[0] <= moment_us < self.closes[-1]

    def last_close(self, moment_us: int) -> int | None:
        """The last close at or before the moment; None if none is known."""
        place = bisect_right(self.closes, moment_us)
        return self.closes[place - 1] if place and self.covers(moment_us) else None

    def next_close(self, moment_us: int) -> int | None:
        """The first close after the moment; None if none is known."""
        place = bisect_right(self.closes, moment_us)
        return self.closes[place] if self.covers(moment_us) else None

    def next_open(self, moment_us: int) -> int | None:
        """The first open after the moment; None if none is known."""
        place = bisect_right(self.opens, moment_us)
        return self.opens[place] if place < len(self.opens) and self.covers(moment_us) else None

    def is_open(self, moment_us: int) -> bool | None:
        """Whether a session is open then (its close is not in it); None if not known."""
        if not self.covers(moment_us):
            return None
        place = bisect_right(self.closes, moment_us)
        return self.opens[place] <= moment_us

    def close_within_days(self, first_day: int, end_day: int) -> int | None:
        """The close of the last session whose day is in [first_day, end_day); None if none is."""
        place = bisect_left(self.days, end_day)
        return self.closes[place - 1] if place and self.days[place - 1] >= first_day else None


@lru_cache(maxsize=64)
def named_calendar(name: str) -> Calendar | None:
    """The calendar of that name; None for ``"24/7"``, which has no sessions.

    Raises:
        ImportError: exchange_calendars is not installed.
        InvalidArgument: it knows no such calendar.
    """
    if name == ALWAYS_OPEN:
        return None
    try:
        import exchange_calendars
    except ImportError as error:
        raise ImportError(
            f"the calendar {name!r} needs exchange_calendars; install it with: {INSTALL}"
        ) from error
    try:
        found = exchange_calendars.get_calendar(name)
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise InvalidArgument(
            f"there is no calendar {name!r}: use a name of exchange_calendars, such as XNYS or "
            "XLON (exchange_calendars.get_calendar_names() lists them), or 24/7"
        ) from error
    return calendar_of(found)


def calendar_of(calendar: Any) -> Calendar | None:
    """A calendar, given by its name, as a Calendar, or as an exchange_calendars calendar.

    Raises:
        ImportError: a name, and exchange_calendars is not installed.
        InvalidArgument: none of these, or an unknown name.
    """
    if isinstance(calendar, Calendar):
        return calendar
    if isinstance(calendar, str):
        return named_calendar(calendar)
    name = getattr(calendar, "name", None)
    if name == ALWAYS_OPEN:
        return None
    if name is None or not all(hasattr(calendar, part) for part in ("opens", "closes")):
        raise InvalidArgument(
            f"{calendar!r} is no calendar: pass a name such as 'XNYS', '24/7', or a calendar of "
            "exchange_calendars"
        )
    return Calendar(
        name=name,
        days=tuple(number // DAY_US for number in _microseconds(calendar.closes.index)),
        opens=_microseconds(calendar.opens),
        closes=_microseconds(calendar.closes),
    )


def _microseconds(moments: Any) -> tuple[int, ...]:
    import pandas

    index = pandas.DatetimeIndex(moments)
    if index.tz is not None:
        index = index.tz_convert(None)
    return tuple(index.to_numpy().astype("datetime64[us]").astype("int64").tolist())
