"""Moments as whole microseconds since 1970 in UTC, in which freshness is reckoned.

Thread safety: pure functions.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from barcache.errors import InvalidArgument, InvalidType

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)


def as_us(moment: datetime | float) -> int:
    """A moment, an aware datetime (a pd.Timestamp is one) or Unix seconds, in microseconds.

    Raises:
        InvalidArgument: a datetime without a zone: it is no moment.
        InvalidType: neither.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise InvalidArgument(f"{moment} has no time zone: give one, so that it is a moment")
        return (moment - _EPOCH) // _MICROSECOND
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        raise InvalidType(
            f"{moment!r} is no moment: pass an aware datetime or Unix seconds as a number"
        )
    return round(moment * SECOND_US)


def as_datetime(us: int) -> datetime:
    """The aware datetime, in UTC, of microseconds since 1970."""
    return _EPOCH + us * _MICROSECOND


def as_timestamp(us: int) -> datetime:
    """The same as a pd.Timestamp where pandas is installed; else the datetime itself."""
    moment = as_datetime(us)
    try:
        import pandas
    except ImportError:
        return moment
    stamp: datetime = pandas.Timestamp(moment)
    return stamp


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - _EPOCH_DAY


def day_of_number(number: int) -> date:
    """The day that many days after 1970-01-01."""
    return date.fromordinal(number + _EPOCH_DAY)
