"""Asking again when a source is over its limit or out of reach, not for ever, and not too fast."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from barcache.errors import InvalidArgument
from barcache.sources.base import Source, as_source, is_async
from barcache.sources.patience import PASSING, Retry

if TYPE_CHECKING:
    from collections.abc import Callable


def with_retry(
    source: Any,
    *,
    name: str | None = None,
    attempts: int = 4,
    first_delay_s: float = 1.0,
    factor: float = 2.0,
    max_delay_s: float = 60.0,
    total_s: float = 300.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    fraction: Callable[[], float] = Retry.fraction,
) -> Source:
    """The same source, which is asked again after rate limits and failures of the network.

    Other errors come out at once, and the last one as it was, with a note how often it was tried.
    get_or_fetch then does not repeat its calls by itself.

    Args:
        source: anything that ``as_source`` takes, with its ``name``.
        name: see ``as_source``.
        attempts: as for Retry, like all that follow.
        first_delay_s: see Retry.
        factor: see Retry.
        max_delay_s: see Retry.
        total_s: see Retry.
        clock: see Retry.
        sleep: see Retry.
        fraction: see Retry.

    Raises:
        InvalidArgument: fewer than one attempt, or a negative time.
    """
    retry = Retry(attempts, first_delay_s, factor, max_delay_s, total_s, clock, sleep, fraction)
    found = as_source(source, name)
    patient = _PatientAsync if is_async(found.fetcher) else _Patient
    return replace(found, fetcher=patient(found.fetcher, retry), retries=True)


@dataclass(frozen=True)
class _Patient:
    """A fetcher that is called again; can be pickled if what it calls can."""

    fetcher: Callable[..., Any]
    retry: Retry

    def __call__(self, *call: Any) -> Any:
        return self.retry.call(lambda: self.fetcher(*call), PASSING)


@dataclass(frozen=True)
class _PatientAsync:
    """The same of an async fetcher."""

    fetcher: Callable[..., Any]
    retry: Retry

    async def __call__(self, *call: Any) -> Any:
        return await self.retry.acall(lambda: self.fetcher(*call), PASSING)


class RateLimiter:
    """Lets calls through at a steady rate, and at first a burst. Thread-safe.

    Args:
        calls_per_second: the rate.
        burst: how many may go at once after a pause.
        clock: monotonic seconds.
        sleep: waits.
    """

    def __init__(
        self,
        calls_per_second: float,
        burst: int = 1,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        if not calls_per_second > 0 or burst < 1:
            raise InvalidArgument(
                f"a limit of {calls_per_second} calls per second with bursts of {burst} lets "
                "nothing through: use more than 0, and 1 or more"
            )
        self._interval_s = 1 / calls_per_second
        self._tolerance_s = (burst - 1) * self._interval_s
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = -float("inf")

    def acquire(self) -> float:
        """Waits for the next call's turn; how many seconds it waited."""
        with self._lock:  # A turn is taken under the lock and waited for outside of it.
            now = self._clock()
            self._next = max(self._next, now)
            wait = max(0.0, self._next - self._tolerance_s - now)
            self._next += self._interval_s
        if wait > 0:
            self._sleep(wait)
        return wait
