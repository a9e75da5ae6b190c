"""A process that asks a cache for bars and dies in the middle of it.

It is forked from a server that has everything imported and no threads of Polars yet, so that a
death costs a fork instead of a start. The moment counts calls and returns of Python functions and
of native ones, as sys.setprofile sees them: what lies between two of them, such as a commit, is
done or not done.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bar_oracle import GRIDS, OracleSource
from barcache import CacheManager

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    import polars as pl

TIME_LIMIT_S = 60
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["pytest", "hypothesis", "pandas", "polars", "barcache"])


@dataclass
class Fate:
    """What became of it: the bars that it got, or how it ended."""

    answer: pl.DataFrame | None
    exit_code: int | None  # A negative one: the signal.


class _Telling(OracleSource):
    """A source that says what it delivers before it delivers it."""

    def __init__(self, grid: str, now_s: float, version: dict[str, float], teller: Connection):
        super().__init__(GRIDS[grid], 0)
        self.now_s = now_s
        self.version.update(version)
        self.teller = teller

    def fetch(self, symbols: Any, start: Any, end: Any, resolution: Any) -> pl.DataFrame:
        told = len(self.delivered)
        answer = super().fetch(symbols, start, end, resolution)
        self.teller.send((self.calls[-1], self.delivered[told:]))
        if len(self.calls) == 1:
            self.teller.recv()  # Somebody may be made to wait for what is fetched here.
        return answer


def _die_at(moment: int) -> None:
    passed = 0

    def count(*_: Any) -> None:
        nonlocal passed
        passed += 1
        if passed == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def _live(
    teller: Connection, folder: Path, source: tuple[str, float, dict[str, float]], moment: int,
    request: tuple[Any, ...], overlap: int,
) -> None:  # fmt: skip
    telling = _Telling(*source, teller)
    cache = CacheManager(folder / "metadata.db", folder / "cache")
    cache._bar_reader.clock = telling.clock
    _die_at(moment)
    answer = cache.get_or_fetch(
        *request, telling.grid.resolution, "oracle", telling.fetch, overlap=overlap
    )
    sys.setprofile(None)
    cache.close()
    teller.send(answer)


def ask_and_die(
    folder: Path, grid: str, source: OracleSource, moment: int, request: tuple[Any, ...],
    overlap: int, when_fetching: Callable[[], None],
) -> Fate:  # fmt: skip
    """Asks in a process of its own; calls and deliveries are added to the source's.

    Args:
        folder: of the cache.
        grid: a name of GRIDS, the source's.
        source: what the source is like now.
        moment: at which it dies, from 1 on; beyond its last one it lives.
        request: symbols, start and end.
        overlap: as for get_or_fetch.
        when_fetching: called when its first call of the source has come, which then goes on.
    """
    ear, teller = _SERVER.Pipe()
    like = (grid, source.now_s, dict(source.version))
    victim = _SERVER.Process(target=_live, args=(teller, folder, like, moment, request, overlap))
    victim.start()
    teller.close()
    fate = Fate(None, None)
    try:
        while ear.poll(TIME_LIMIT_S):
            told = ear.recv()
            if not isinstance(told, tuple):
                fate.answer = told
                continue
            call, delivered = told
            source.calls.append(call)
            if len(source.calls) == 1:
                when_fetching()
                ear.send("go on")
            source.delivered += [(*bar[:4], len(source.calls)) for bar in delivered]
    except (EOFError, ConnectionError):
        pass
    victim.join(TIME_LIMIT_S)
    fate.exit_code = victim.exitcode
    if fate.exit_code is None:
        victim.kill()
    return fate
