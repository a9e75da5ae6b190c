"""Pace: lets the calls of several threads and processes through at one rate, or stops them all.

What they share are 16 bytes of memory without a name on any disk, which other processes of the
same machine open by way of ``/proc``; they are gone with the process that made them.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_STATE = struct.Struct("=d?")  # When the next call's turn is, and whether there is none any more.
_LONGEST_NAP_S = 0.1  # Until a stop is noticed.


class Stopped(BaseException):
    """No further call is to begin. Not an Exception: nobody else's call fails for it."""


class Pace:
    """A rate that calls keep to. Thread-safe; a pickled one keeps to the same rate.

    Args:
        calls_per_second: the rate; None: none.
        clock: seconds, the same for all processes.
        sleep: waits.
    """

    def __init__(
        self,
        calls_per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._rate = calls_per_second
        self._clock, self._sleep = clock, sleep
        self._hold(os.memfd_create("barcache-pace", os.MFD_CLOEXEC))
        self._path = f"/proc/{os.getpid()}/fd/{self._memory}"
        os.pwrite(self._memory, _STATE.pack(-float("inf"), False), 0)

    def _hold(self, memory: int) -> None:
        self._memory = memory
        weakref.finalize(self, os.close, memory)

    def stop(self) -> None:
        """From now on no call begins."""
        self._change(lambda following, _: (following, True))

    def check(self) -> None:
        """Raises Stopped after a stop."""
        if _STATE.unpack(os.pread(self._memory, _STATE.size, 0))[1]:
            raise Stopped

    def wait_turn(self) -> None:
        """Waits for the next call's turn.

        Raises:
            Stopped: there is none any more.
        """
        self.check()
        if self._rate is None:
            return
        interval, now = 1 / self._rate, self._clock()
        turn, _ = self._change(lambda turn, stopped: (max(turn, now) + interval, stopped))
        self.wait(max(turn, now) - now)

    def wait(self, seconds: float) -> None:
        """Waits so long, or until a stop.

        Raises:
            Stopped: there was one.
        """
        end = self._clock() + seconds
        while (rest := end - self._clock()) > 0:
            self.check()
            self._sleep(min(rest, _LONGEST_NAP_S))
        self.check()

    def _change(self, change: Callable[[float, bool], tuple[float, bool]]) -> tuple[float, bool]:
        """Change the state while nobody else does; returns what it was."""
        # A lock belongs to an opening of the file: each change has its own.
        opened = os.open(f"/proc/self/fd/{self._memory}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX)
            turn, stopped = _STATE.unpack(os.pread(opened, _STATE.size, 0))
            os.pwrite(opened, _STATE.pack(*change(turn, stopped)), 0)
            return turn, stopped
        finally:
            os.close(opened)

    def __reduce__(self) -> Any:
        return _opened, (self._rate, self._path)


def _opened(calls_per_second: float | None, path: str) -> Pace:
    """In another process: the same pace."""
    pace = Pace.__new__(Pace)
    pace._rate, pace._path = calls_per_second, path
    pace._clock, pace._sleep = time.monotonic, time.sleep
    pace._hold(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    return pace
