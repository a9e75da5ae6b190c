"""What warm requests for bars cost: one symbol, and a universe beside polars' concatenation."""

from __future__ import annotations

import functools
import statistics
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from barcache import CacheManager
from barcache.bench.figures import Figure
from barcache.bench.universe import Universe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from barcache.bench.figures import Setting

SYMBOLS = 500
FIRST, LAST = date(2020, 12, 1), date(2023, 12, 31)  # What is cached, by one fetch.
_YEAR = timedelta(days=364)
_WARM_UP = 3
_REMEMBERED_CALLS, _NEW_CALLS = 500, 15
_REOPENED = 5

Window = tuple[str, str]


class _Windows:
    """Years that nobody has asked for: each begins a day later than the one before."""

    def __init__(self) -> None:
        self._begin = FIRST

    def __call__(self) -> Window:
        self._begin += timedelta(days=1)
        if self._begin + _YEAR > LAST:
            raise AssertionError("no year is left that was not asked for before")
        return self._begin.isoformat(), (self._begin + _YEAR).isoformat()


def warm_bars(setting: Setting) -> list[Figure]:
    """Requests for a year of daily bars that are cached, asked for before and not."""
    count = 20 if setting.quick else SYMBOLS
    universe = Universe(count, FIRST, LAST)
    place = setting.directory
    with _manager(place) as cache:
        everything = (FIRST.isoformat(), LAST.isoformat())
        _ask(cache, universe.symbols, everything, universe.fetch)
        figures = _one_symbol(cache, universe, 5 if setting.quick else 40)
        setting.progress(0.2)
        figures += _all_symbols(cache, universe, 5 if setting.quick else 40, setting.progress)
    return [*figures, _from_disk(place, universe)]


def _manager(directory: Path) -> CacheManager:
    return CacheManager(directory / "metadata.db", directory / "cache", record_on_close=False)


def _refuse(*_: Any) -> pl.DataFrame:
    raise AssertionError("a request for cached bars went to the source")


def _ask(
    cache: CacheManager,
    symbols: list[str],
    window: Window,
    fetch: Callable[..., pl.DataFrame] = _refuse,
) -> pl.DataFrame:
    return cache.get_or_fetch(symbols, *window, "1d", "universe", fetch)


def _microseconds(call: Callable[[], Any]) -> float:
    """Of one call; what it returns is dropped afterwards."""
    began = time.perf_counter_ns()
    kept = call()
    took = time.perf_counter_ns() - began
    del kept
    return took / 1e3


def _one_symbol(cache: CacheManager, universe: Universe, rounds: int) -> list[Figure]:
    symbol, new_window = universe.symbols[:1], _Windows()
    known = new_window()
    for _ in range(2):  # What was just fetched is remembered by the next call.
        _ask(cache, symbol, known)
    remembered, new = [], []
    for _ in range(_WARM_UP + rounds):
        began = time.perf_counter_ns()
        for _ in range(_REMEMBERED_CALLS):
            _ask(cache, symbol, known)
        remembered.append((time.perf_counter_ns() - began) / 1e3 / _REMEMBERED_CALLS)
        windows = [new_window() for _ in range(_NEW_CALLS)]
        began = time.perf_counter_ns()
        for window in windows:
            _ask(cache, symbol, window)
        new.append((time.perf_counter_ns() - began) / 1e3 / _NEW_CALLS)
    what = "get_or_fetch, one symbol-year"
    return [
        Figure(f"{what}, asked before", statistics.median(remembered[_WARM_UP:]), "us"),
        Figure(f"{what}, a new range", statistics.median(new[_WARM_UP:]), "us"),
    ]


def _all_symbols(
    cache: CacheManager, universe: Universe, rounds: int, progress: Callable[[float], None]
) -> list[Figure]:
    symbols, new_window = universe.symbols, _Windows()
    known = new_window()
    known_parts = universe.parts(symbols, *known)
    for _ in range(2):
        if not _ask(cache, symbols, known).equals(pl.concat(known_parts)):
            raise AssertionError("the cache answered with other bars")
    times: dict[str, list[float]] = {"before": [], "new": [], "concat": []}
    for number in range(_WARM_UP + rounds):
        progress(0.2 + 0.6 * number / (_WARM_UP + rounds))
        window = new_window()
        parts = universe.parts(symbols, *window)
        calls: dict[str, Callable[[], Any]] = {
            "before": functools.partial(_ask, cache, symbols, known),
            "new": functools.partial(_ask, cache, symbols, window),
            "concat": functools.partial(pl.concat, parts),
        }
        names = list(calls)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(_microseconds(calls[name]))
    counted = {name: taken[_WARM_UP:] for name, taken in times.items()}
    what = f"{len(symbols)} symbol-years"
    figures = [Figure(f"pl.concat of {what}", statistics.median(counted["concat"]), "us")]
    for name, label in (("before", "asked before"), ("new", "a new range")):
        ratios = [a / b for a, b in zip(counted[name], counted["concat"], strict=True)]
        figures += [
            Figure(f"get_or_fetch, {what}, {label}", statistics.median(counted[name]), "us"),
            Figure(f"get_or_fetch, {what}, {label}, by pl.concat", statistics.median(ratios), "x"),
        ]
    return figures


def _from_disk(directory: Path, universe: Universe) -> Figure:
    """The same with managers that have just been opened."""
    new_window, taken = _Windows(), []
    for _ in range(_REOPENED):
        with _manager(directory) as cache:
            call = functools.partial(_ask, cache, universe.symbols, new_window())
            taken.append(_microseconds(call))
    what = f"{len(universe.symbols)} symbol-years"
    return Figure(f"get_or_fetch, {what}, from disk", statistics.median(taken), "us")
