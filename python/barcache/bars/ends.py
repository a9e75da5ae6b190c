"""The two ends of a request, in whatever type they come, as moments and back.

Moments are nanoseconds since 1970 in UTC; intervals are half-open pairs of them. A mere day
(``date``, or ISO text of that length) stands for its first moment as a start, and for its last as
an end, in the zone of the bars' time column. A time without a zone is in that zone too. Bars
without a zone are read as UTC. What lies before FIRST_NS or after LAST_NS counts as those: no bars
are kept by interval there. Thread safety: values and pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from barcache.errors import InvalidArgument, InvalidType
from barcache.sources.base import as_day_or_moment

if TYPE_CHECKING:
    from datetime import tzinfo

    from barcache.resolution import Resolution

DAY = timedelta(days=1)
SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
MICROSECOND_NS = 1_000
FIRST_NS = -9_214_560_000_000_000_000  # 1678-01-01: 64 bits of nanoseconds end some months before,
LAST_NS = 9_214_646_400_000_000_000  # and some months after 2262-01-01.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_MICROSECOND = timedelta(microseconds=1)

Interval = tuple[int, int]


@lru_cache(maxsize=256)
def zone_of(name: str | None) -> tzinfo:
    """The zone of that name; UTC for None.

    >>> str(zone_of("Europe/Berlin")), str(zone_of(None))
    ('Europe/Berlin', 'UTC')
    """
    if name is None or name == "UTC":
        return UTC
    if name[0] in "+-":  # Arrow's fixed offsets.
        return datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo or UTC
    return ZoneInfo(name)


def moment_ns(moment: datetime, zone: tzinfo = UTC) -> int:
    """Nanoseconds since 1970 of a datetime; one without a zone is in ``zone``.

    >>> moment_ns(datetime(1970, 1, 2)), moment_ns(datetime.max) == LAST_NS
    (86400000000000, True)
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    ns: int = (moment - _EPOCH) // _MICROSECOND * 1000 + getattr(moment, "nanosecond", 0)
    return min(max(ns, FIRST_NS), LAST_NS)


def day_ns(day: date, zone: tzinfo = UTC) -> int:
    """The first moment of a day in ``zone``."""
    if zone is UTC:
        return min(max((day.toordinal() - _EPOCH_DAY) * DAY_NS, FIRST_NS), LAST_NS)
    return moment_ns(datetime(day.year, day.month, day.day, tzinfo=zone))


def day_end_ns(day: date, zone: tzinfo = UTC) -> int:
    """The first moment after a day in ``zone``."""
    return LAST_NS if day == date.max else day_ns(day + DAY, zone)


def datetime_of(ns: int, zone: tzinfo = UTC) -> datetime:
    """The aware datetime of a moment, rounded down to a microsecond."""
    return (_EPOCH + ns // 1000 * _MICROSECOND).astimezone(zone)


def bar_slot_end(ns: int, resolution: Resolution, zone: tzinfo) -> int:
    """Until when the bar that begins at a moment lasts: no other bar begins before.

    Days and longer are counted on the zone's calendar: a day may have 23 hours.
    """
    if resolution.is_intraday:
        return ns + resolution.seconds * SECOND_NS
    wall = datetime_of(ns, zone).replace(tzinfo=None)
    if resolution.unit == "mo":
        month = wall.month - 1 + resolution.count
        first = wall.replace(year=wall.year + month // 12, month=month % 12 + 1, day=1)
        following = (first.replace(day=28) + 4 * DAY).replace(day=1)
        end = min(first + (wall.day - 1) * DAY, following - DAY)
    else:
        end = wall + resolution.count * (7 if resolution.unit == "wk" else 1) * DAY
    return moment_ns(end, zone)


@dataclass(slots=True)
class Ends:
    """Both ends of a request, included in it. Not to be changed.

    Attributes:
        start, end: as the caller gave them: ISO text, date, datetime or pd.Timestamp.

    Raises:
        InvalidArgument: text that is no ISO date or time.
        InvalidType: neither text nor a time.

    >>> Ends("2023-01-01", date(2023, 1, 31)).interval(UTC)
    (1672531200000000000, 1675209600000000000)
    """

    start: Any
    end: Any
    _first: date = field(init=False, repr=False, compare=False)
    _last: date = field(init=False, repr=False, compare=False)
    # The zone asked for last, and the moments there: series mostly share one.
    _known: tuple[tzinfo, Interval] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self._first, self._last = _parsed(self.start), _parsed(self.end)

    def interval(self, zone: tzinfo) -> Interval:
        """The moments asked for, where bars are in ``zone``.

        Raises:
            InvalidArgument: an end before the start.
        """
        known = self._known
        if known is not None and known[0] is zone:
            return known[1]
        first, last = self._first, self._last
        begin = moment_ns(first, zone) if isinstance(first, datetime) else day_ns(first, zone)
        end = moment_ns(last, zone) + 1 if isinstance(last, datetime) else day_end_ns(last, zone)
        if begin >= LAST_NS or end <= FIRST_NS:
            raise InvalidArgument(
                f"{self.start} to {self.end} lies beyond the years 1678 to 2261, in which bars are "
                "kept: ask for others"
            )
        if end <= begin:
            raise InvalidArgument(f"end_date {self.end} is before start_date {self.start}")
        self._known = zone, (begin, end)
        return begin, end

    @property
    def starts_with_day(self) -> bool:
        """Whether the start is a mere day."""
        return not isinstance(self._first, datetime)

    @property
    def ends_with_day(self) -> bool:
        """Whether the end is a mere day."""
        return not isinstance(self._last, datetime)

    def arguments(
        self, interval: Interval, zone: tzinfo, unit_ns: int = MICROSECOND_NS
    ) -> tuple[Any, Any]:
        """The ends of a part of the request in the types of its ends, both included.

        A day is the whole day that the moment is in, so that what is asked for holds the part; so
        is a microsecond where bars are told apart by less (``unit_ns``).
        """
        begin, end = self.interval(zone)
        start_argument, end_argument = self.start, self.end
        is_fine = unit_ns < MICROSECOND_NS
        if interval[0] != begin:
            first = interval[0] if is_fine else _microsecond_from(interval[0])
            start_argument = _like(self.start, self._first, first, zone)
        if interval[1] != end:
            last = interval[1] - 1
            if is_fine and isinstance(self._last, datetime) and not _is_stamp(self.end):
                last = _microsecond_from(last)
            end_argument = _like(self.end, self._last, last, zone)
        return start_argument, end_argument

    def named(self, interval: Interval, zone: tzinfo) -> Interval:
        """The moments that the arguments of a part name: where they are days, whole ones.

        >>> noon = 1672747200000000000
        >>> Ends("2023-01-01", "2023-01-31").named((noon, noon + 1), UTC)
        (1672704000000000000, 1672790400000000000)
        """
        begin, end = interval
        first, last = self.arguments(interval, zone)
        if self.starts_with_day:
            begin = min(begin, day_ns(_parsed(first), zone))
        if self.ends_with_day:
            end = max(end, day_end_ns(_parsed(last), zone))
        return begin, end


def _parsed(value: Any) -> date:
    if _is_stamp(value):
        if value != value:
            raise InvalidType(f"{value!r} is no time: pass one")
        stamp: date = value
        return stamp
    return as_day_or_moment(value)


def _microsecond_from(ns: int) -> int:
    """The first whole microsecond that is not before the moment."""
    return -(-ns // MICROSECOND_NS) * MICROSECOND_NS


def _is_stamp(value: Any) -> bool:
    """Whether it is a pd.Timestamp: a datetime with nanoseconds."""
    return hasattr(value, "to_pydatetime")


def _like(given: Any, parsed: date, ns: int, zone: tzinfo) -> Any:
    """The moment in the type of ``given``, and in its zone or, without one, that of the bars."""
    if not isinstance(parsed, datetime):
        day = datetime_of(ns, zone).date()
        return day.isoformat() if isinstance(given, str) else day
    if _is_stamp(given):
        import pandas

        stamp = pandas.Timestamp(ns, unit="ns", tz="UTC").tz_convert(given.tzinfo or zone)
        return stamp if given.tzinfo is not None else stamp.tz_localize(None)
    moment = datetime_of(ns, parsed.tzinfo or zone)
    if parsed.tzinfo is None:
        moment = moment.replace(tzinfo=None)
    return moment.isoformat() if isinstance(given, str) else moment
