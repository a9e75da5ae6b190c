"""Policies that say whether what was fetched at some time is still fresh.

They have the shape of RustyBT's ``rustybt.data.sources.freshness``: ``is_fresh(bundle_metadata,
frequency, calendar=None)``, where ``bundle_metadata["fetch_timestamp"]`` is in Unix seconds. A
missing one is 0, long stale; one in the future is fresh. Every policy takes its clock, and where
it asks for market hours a calendar of its own for calls that bring none. ``calendar`` may be a
name, a calendar of exchange_calendars, or ``"24/7"``.

Thread safety: policies do not change once made.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from barcache.errors import InvalidArgument
from barcache.freshness.calendars import Calendar, calendar_of
from barcache.freshness.instants import SECOND_US, as_timestamp, as_us
from barcache.resolution import parse_resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

NEVER = 4_102_358_400  # 2099-12-31 UTC, in Unix seconds
FALLBACK_TTL_S = 3600
# How long after a close daily bars may still change, where a source does not say.
SETTLING_S = 900
_TTL_S = {"1d": 86_400, "1h": 3600, "5m": 300, "1m": 300}


def ttl_of(frequency: str) -> int:
    """The seconds that data of this frequency stays fresh, if nobody chose.

    A day for 1d, an hour for 1h, five minutes for 5m and 1m, an hour for all else.

    >>> ttl_of("daily"), ttl_of("4h")
    (86400, 3600)
    """
    try:
        return _TTL_S.get(parse_resolution(frequency).name, FALLBACK_TTL_S)
    except InvalidArgument:
        return FALLBACK_TTL_S


class CacheFreshnessPolicy(ABC):
    """Decides whether cached data is served or fetched again."""

    def __init__(self, *, clock: Callable[[], float] = time.time):
        """``clock`` gives the present in Unix seconds."""
        self._clock = clock

    @abstractmethod
    def is_fresh(
        self, bundle_metadata: Mapping[str, Any], frequency: str, calendar: Any = None
    ) -> bool:
        """Whether the data can be served."""

    @abstractmethod
    def get_next_refresh_time(
        self, bundle_metadata: Mapping[str, Any], frequency: str, calendar: Any = None
    ) -> datetime:
        """When it should be fetched again, in UTC; a pd.Timestamp where pandas is installed."""

    def _now_us(self) -> int:
        return as_us(self._clock())


def _fetched_us(bundle_metadata: Mapping[str, Any]) -> int:
    return as_us(bundle_metadata.get("fetch_timestamp") or 0)


class TTLFreshnessPolicy(CacheFreshnessPolicy):
    """Fresh for ``ttl_seconds`` after the fetch; without them for :func:`ttl_of` seconds."""

    def __init__(self, ttl_seconds: float | None = None, *, clock: Callable[[], float] = time.time):
        super().__init__(clock=clock)
        _require_ttl(ttl_seconds)
        self.ttl_seconds = ttl_seconds

    def is_fresh(
        self,
        bundle_metadata: Mapping[str, Any],
        frequency: str,
        calendar: Any = None,  # noqa: ARG002
    ) -> bool:
        """See the class."""
        return self._now_us() < self._expiry_us(bundle_metadata, frequency)

    def get_next_refresh_time(
        self,
        bundle_metadata: Mapping[str, Any],
        frequency: str,
        calendar: Any = None,  # noqa: ARG002
    ) -> datetime:
        """When it is stale, in UTC."""
        return as_timestamp(self._expiry_us(bundle_metadata, frequency))

    def _expiry_us(self, bundle_metadata: Mapping[str, Any], frequency: str) -> int:
        ttl = ttl_of(frequency) if self.ttl_seconds is None else self.ttl_seconds
        return _fetched_us(bundle_metadata) + round(ttl * SECOND_US)


def _require_ttl(ttl_seconds: float | None) -> None:
    if ttl_seconds is not None and not ttl_seconds >= 0:
        raise InvalidArgument(f"ttl_seconds={ttl_seconds} makes no sense: use 0 or more")


class _MarketHoursPolicy(CacheFreshnessPolicy):
    """A policy that needs a calendar: the call's, else its own, else a TTL instead."""

    def __init__(
        self,
        ttl_seconds: float,
        *,
        calendar: Any = None,
        data_delay_s: float = SETTLING_S,
        clock: Callable[[], float] = time.time,
    ):
        super().__init__(clock=clock)
        if not data_delay_s >= 0:
            raise InvalidArgument(f"data_delay_s={data_delay_s} makes no sense: use 0 or more")
        self._ttl = TTLFreshnessPolicy(ttl_seconds, clock=clock)
        self._calendar = calendar
        self.data_delay_s = data_delay_s

    def _hours(self, calendar: Any) -> Calendar | None:
        """The calendar to go by; None for a market that never closes, or if none is known."""
        chosen = self._calendar if calendar is None else calendar
        found = None if chosen is None else calendar_of(chosen)
        return found if found is not None and found.covers(self._now_us()) else None

    def _published_us(self, hours: Calendar) -> int:
        """The last close whose bars the source has published by now."""
        delay_us = round(self.data_delay_s * SECOND_US)
        close = hours.last_close(self._now_us() - delay_us)
        return 0 if close is None else close + delay_us


class MarketCloseFreshnessPolicy(_MarketHoursPolicy):
    """For daily bars: fresh until the next close, and the source's delay after it, has passed.

    Data fetched between a close and the source's publication of it is stale once that has come.
    Without a calendar, and at "24/7", a TTL of one hour.
    """

    def __init__(
        self,
        *,
        calendar: Any = None,
        data_delay_s: float = SETTLING_S,
        clock: Callable[[], float] = time.time,
    ):
        super().__init__(FALLBACK_TTL_S, calendar=calendar, data_delay_s=data_delay_s, clock=clock)

    def is_fresh(
        self, bundle_metadata: Mapping[str, Any], frequency: str, calendar: Any = None
    ) -> bool:
        """See the class."""
        hours = self._hours(calendar)
        if hours is None:
            return self._ttl.is_fresh(bundle_metadata, frequency)
        return _fetched_us(bundle_metadata) >= self._published_us(hours)

    def get_next_refresh_time(
        self, bundle_metadata: Mapping[str, Any], frequency: str, calendar: Any = None
    ) -> datetime:
        """When it is stale, in UTC."""
        hours = self._hours(calendar)
        if hours is None:
            return self._ttl.get_next_refresh_time(bundle_metadata, frequency)
        now = self._now_us()
        if not self.is_fresh(bundle_metadata, frequency, calendar):
            return as_timestamp(now)
        delay_us = round(self.data_delay_s * SECOND_US)
        close = hours.next_close(now - delay_us)
        return as_timestamp(now if close is None else close + delay_us)


class HybridFreshnessPolicy(_MarketHoursPolicy):
    """For bars within the day: a TTL while the market is open.

    While it is closed, data is fresh if it was fetched after the last close was published.
    Without a calendar, and at "24/7", the TTL alone.
    """

    def __init__(
        self,
        ttl_seconds: float = FALLBACK_TTL_S,
        *,
        calendar: Any = None,
        data_delay_s: float = 0,
        clock: Callable[[], float] = time.time,
    ):
        super().__init__(ttl_seconds, calendar=calendar, data_delay_s=data_delay_s, clock=clock)
        self.ttl_seconds = ttl_seconds

    def _is_moving(self, hours: Calendar) -> bool:
        """Whether new bars may come at present: a session is open, or not yet published."""
        now = self._now_us()
        close = hours.last_close(now)
        just_closed = close is not None and now < close + round(self.data_delay_s * SECOND_US)
        return bool(hours.is_open(now)) or just_closed

    def is_fresh(
        self, bundle_metadata: Mapping[str, Any], frequency: str, calendar: Any = None
    ) -> bool:
        """See the class."""
        hours = self._hours(calendar)
        if hours is None or self._is_moving(hours):
            return self._ttl.is_fresh(bundle_metadata, frequency)
        return _fetched_us(bundle_metadata) >= self._published_us(hours)

    def get_next_refresh_time(
        self, bundle_metadata: Mapping[str, Any], frequency: str, calendar: Any = None
    ) -> datetime:
        """When it is stale, in UTC."""
        hours = self._hours(calendar)
        if hours is None or self._is_moving(hours):
            return self._ttl.get_next_refresh_time(bundle_metadata, frequency)
        now = self._now_us()
        if not self.is_fresh(bundle_metadata, frequency, calendar):
            return as_timestamp(now)
        opening = hours.next_open(now)
        return as_timestamp(now if opening is None else opening)


class NeverStaleFreshnessPolicy(CacheFreshnessPolicy):
    """Always fresh: files that do not change."""

    def is_fresh(
        self,
        bundle_metadata: Mapping[str, Any],  # noqa: ARG002
        frequency: str,  # noqa: ARG002
        calendar: Any = None,  # noqa: ARG002
    ) -> bool:
        """See the class."""
        return True

    def get_next_refresh_time(
        self,
        bundle_metadata: Mapping[str, Any],  # noqa: ARG002
        frequency: str,  # noqa: ARG002
        calendar: Any = None,  # noqa: ARG002
    ) -> datetime:
        """When it is stale, in UTC."""
        return as_timestamp(as_us(NEVER))


class AlwaysStaleFreshnessPolicy(CacheFreshnessPolicy):
    """Never fresh: live trading."""

    def is_fresh(
        self,
        bundle_metadata: Mapping[str, Any],  # noqa: ARG002
        frequency: str,  # noqa: ARG002
        calendar: Any = None,  # noqa: ARG002
    ) -> bool:
        """See the class."""
        return False

    def get_next_refresh_time(
        self,
        bundle_metadata: Mapping[str, Any],  # noqa: ARG002
        frequency: str,  # noqa: ARG002
        calendar: Any = None,  # noqa: ARG002
    ) -> datetime:
        """When it is stale, in UTC."""
        return as_timestamp(self._now_us())
