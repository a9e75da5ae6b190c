"""Asking again when a source is over its limit or out of reach, but not for ever; and not too fast.

``with_retry`` waits longer after each failure, at least as long as the source asks for, with a
random part so that many clients do not come back at once (M. Brooker, "Exponential Backoff And
Jitter", AWS Architecture Blog, 2015: half of the delay is fixed, half is random).
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from barcache.errors import InvalidArgument, RateLimited, SourceUnavailable
from barcache.sources.base import Source, as_source, is_async
from barcache.sources.vendor_errors import source_error

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class _Patience:
    """How often and how long to wait."""

    attempts: int
    first_delay_s: float
    factor: float
    max_delay_s: float
    total_s: float
    clock: Callable[[], float]
    fraction: Callable[[], float]

    def delay_s(self, error: Exception, failures: int, started: float) -> float | None:
        """How long to wait after that many failures; None: no more."""
        meaning = source_error(error)
        if not isinstance(meaning, RateLimited | SourceUnavailable) or failures >= self.attempts:
            return None
        # Beyond 2 ** 60 no factor matters: the delay is capped long before.
        full = min(self.max_delay_s, self.first_delay_s * self.factor ** min(failures - 1, 60))
        delay = full * (0.5 + 0.5 * self.fraction())
        if isinstance(meaning, RateLimited) and meaning.reset_after_s is not None:
            delay += meaning.reset_after_s
        return delay if self.clock() - started + delay <= self.total_s else None


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
    fraction: Callable[[], float] = random.random,
) -> Source:
    """The same source, which is asked again after rate limits and failures of the network.

    Other errors come out at once, and the last one as it was, with a note how often it was tried.

    Args:
        source: anything that ``as_source`` takes, with its ``name``.
        name: see ``as_source``.
        attempts: calls at most, the first one included.
        first_delay_s: the wait after the first failure; each further one ``factor`` times that,
            ``max_delay_s`` at most; between half of it and all of it is waited. A rate limit that
            says when it ends is waited for beyond that.
        factor: see ``first_delay_s``.
        max_delay_s: see ``first_delay_s``.
        total_s: what would end later than this after the first call is not waited for.
        clock: monotonic seconds.
        sleep: waits; an async source waits with ``asyncio.sleep`` unless another one is given.
        fraction: a random number from 0 to 1.

    Raises:
        InvalidArgument: fewer than one attempt, or a negative time.
    """
    if attempts < 1 or min(first_delay_s, factor, max_delay_s, total_s) < 0:
        raise InvalidArgument("with_retry takes at least one attempt, and times of 0 or more")
    found = as_source(source, name)
    patience = _Patience(attempts, first_delay_s, factor, max_delay_s, total_s, clock, fraction)
    fetcher = found.fetcher

    def fetch(*call: Any) -> Any:
        started, failures = clock(), 0
        while True:
            try:
                return fetcher(*call)
            except Exception as error:
                failures += 1
                delay = patience.delay_s(error, failures, started)
                if delay is None:
                    _note(error, failures)
                    raise
            sleep(delay)

    async def fetch_async(*call: Any) -> Any:
        started, failures = clock(), 0
        while True:
            try:
                return await fetcher(*call)
            except Exception as error:
                failures += 1
                delay = patience.delay_s(error, failures, started)
                if delay is None:
                    _note(error, failures)
                    raise
            if sleep is time.sleep:
                await asyncio.sleep(delay)
            else:
                sleep(delay)

    return replace(found, fetcher=fetch_async if is_async(fetcher) else fetch)


def _note(error: Exception, failures: int) -> None:
    if failures > 1:
        error.add_note(f"asked {failures} times before giving up")


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
