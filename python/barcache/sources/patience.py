"""Retry: how often a source is asked again, how long is waited in between, and when it is enough.

Each wait is longer than the one before and at least as long as the source asks for, with a random
part so that many clients do not come back at once (M. Brooker, "Exponential Backoff And Jitter",
AWS Architecture Blog, 2015: half of the delay is fixed, half is random).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from barcache.errors import InvalidArgument, RateLimited, SourceError, SourceUnavailable
from barcache.sources.vendor_errors import source_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LIMITS: tuple[type[SourceError], ...] = (RateLimited,)
PASSING: tuple[type[SourceError], ...] = (RateLimited, SourceUnavailable)


def _unheard(error: Exception, failures: int, delay_s: float) -> None:
    """Nobody wants to know."""


def _fraction() -> float:
    return random.random()  # Named, so that a pickle holds its name and not its state.


@dataclass(frozen=True)
class Retry:
    """How patient to be. Thread-safe.

    Attributes:
        attempts: calls at most, the first one included; 1: none is repeated.
        first_delay_s: the wait after the first failure; each further one ``factor`` times that,
            ``max_delay_s`` at most; between half of it and all of it is waited. A rate limit that
            says when it ends is waited for beyond that.
        factor: see ``first_delay_s``.
        max_delay_s: see ``first_delay_s``.
        total_s: what would end later than this after the first call is not waited for.
        clock: monotonic seconds.
        sleep: waits; in async code ``asyncio.sleep`` does, unless another one is given.
        fraction: a random number from 0 to 1.

    Raises:
        InvalidArgument: fewer than one attempt, or a negative time.
    """

    attempts: int = 4
    first_delay_s: float = 1.0
    factor: float = 2.0
    max_delay_s: float = 60.0
    total_s: float = 300.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    fraction: Callable[[], float] = _fraction

    def __post_init__(self) -> None:
        times = (self.first_delay_s, self.factor, self.max_delay_s, self.total_s)
        if self.attempts < 1 or not all(seconds >= 0 for seconds in times):
            raise InvalidArgument("a retry takes at least one attempt, and times of 0 or more")

    def __repr__(self) -> str:
        """What is not by default: ``Retry(attempts=6)``."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        told = (f"{field.name}={value!r}" for field, value in values if value != field.default)
        return f"Retry({', '.join(told)})"

    def call(
        self,
        fetch: Callable[[], Any],
        kinds: tuple[type[SourceError], ...],
        tell: Callable[[Exception, int, float], None] = _unheard,
    ) -> Any:
        """What ``fetch`` returns, called again after errors that mean one of ``kinds``.

        Args:
            fetch: the call.
            kinds: which errors of sources may pass.
            tell: is told of each wait: the error, how many there were, and the seconds.

        Raises:
            Whatever ``fetch`` raises, with a note of how often it was called.
        """
        started, failures = self.clock(), 0
        while True:
            try:
                return fetch()
            except Exception as error:
                failures += 1
                delay_s = self._delay_s(error, failures, started, kinds)
                if delay_s is None:
                    raise
                tell(error, failures, delay_s)
            self.sleep(delay_s)

    async def acall(
        self,
        fetch: Callable[[], Awaitable[Any]],
        kinds: tuple[type[SourceError], ...],
        tell: Callable[[Exception, int, float], None] = _unheard,
    ) -> Any:
        """The same in a task, whose loop goes on meanwhile."""
        started, failures = self.clock(), 0
        while True:
            try:
                return await fetch()
            except Exception as error:
                failures += 1
                delay_s = self._delay_s(error, failures, started, kinds)
                if delay_s is None:
                    raise
                tell(error, failures, delay_s)
            await self._asleep(delay_s)

    async def _asleep(self, delay_s: float) -> None:
        if self.sleep is time.sleep:
            import asyncio  # It takes long to load.

            await asyncio.sleep(delay_s)
        else:
            self.sleep(delay_s)

    def _delay_s(
        self, error: Exception, failures: int, started: float, kinds: tuple[type[SourceError], ...]
    ) -> float | None:
        """How long to wait after that many failures; None: no more, and the error says so."""
        delay = self._wanted_s(source_error(error), failures, kinds)
        if delay is not None and self.clock() - started + delay <= self.total_s:
            return delay
        if failures > 1:
            error.add_note(f"asked {failures} times before giving up")
        return None

    def _wanted_s(
        self, meaning: SourceError | None, failures: int, kinds: tuple[type[SourceError], ...]
    ) -> float | None:
        if not isinstance(meaning, kinds) or failures >= self.attempts:
            return None
        # Beyond 2 ** 60 no factor matters: the delay is capped long before.
        full = min(self.max_delay_s, self.first_delay_s * self.factor ** min(failures - 1, 60))
        delay = full * (0.5 + 0.5 * self.fraction())
        if isinstance(meaning, RateLimited) and meaning.reset_after_s is not None:
            delay += meaning.reset_after_s
        return delay
