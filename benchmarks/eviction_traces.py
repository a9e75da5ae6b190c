"""Traces of what backtests ask a cache for. Synthetic: made by rule and chance, not recorded.

A trace is a list of (number of the entry, size in bytes); the same seed gives the same trace.
Sizes are those of Parquet files of daily, hourly and minute bars, scaled down alike, with the
spread that histories of different lengths have.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Trace = list[tuple[int, int]]

REQUESTS = 60_000
SIZES = {"1d": 12_000, "1h": 60_000, "1m": 400_000}


class _Entries:
    """Numbers and sizes of entries, by what they hold."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._known: dict[tuple[object, ...], tuple[int, int]] = {}

    def of(self, resolution: str, *what: object) -> tuple[int, int]:
        name = (resolution, *what)
        if name not in self._known:
            spread = min(max(self._chance.lognormvariate(0.0, 0.5), 0.2), 4.0)
            self._known[name] = (len(self._known), int(SIZES[resolution] * spread))
        return self._known[name]


def _popularity(count: int, exponent: float) -> list[float]:
    return list(itertools.accumulate((rank + 1) ** -exponent for rank in range(count)))


def parameter_sweep(chance: random.Random) -> Iterator[tuple[int, int]]:
    """Each study reads its own watch list once for every set of parameters."""
    entries = _Entries(chance)
    popularity = _popularity(3000, 0.6)
    while True:
        resolution = chance.choices(["1d", "1h", "1m"], [6, 3, 1])[0]
        count = chance.randint(20, 200)
        symbols = set(chance.choices(range(3000), cum_weights=popularity, k=count))
        for _parameters in range(chance.randint(3, 25)):
            for symbol in sorted(symbols):
                yield entries.of(resolution, symbol)


def walk_forward(chance: random.Random) -> Iterator[tuple[int, int]]:
    """Four years to train and one to test, moved on year by year, all symbols of a portfolio."""
    entries = _Entries(chance)
    popularity = _popularity(1500, 0.7)
    while True:
        resolution = chance.choices(["1d", "1h", "1m"], [5, 4, 1])[0]
        symbols = set(chance.choices(range(1500), cum_weights=popularity, k=chance.randint(5, 40)))
        for first, _parameters in itertools.product(range(2008, 2019), range(3)):
            for symbol, year in itertools.product(sorted(symbols), range(first, first + 5)):
                yield entries.of(resolution, symbol, year)


def universe_scan(chance: random.Random) -> Iterator[tuple[int, int]]:
    """Few symbols that are always in use, and now and then the whole universe, once."""
    entries = _Entries(chance)
    popularity = _popularity(800, 0.9)
    while True:
        for symbol in chance.choices(
            range(800), cum_weights=popularity, k=chance.randint(1500, 3000)
        ):
            yield entries.of("1h", symbol)
        rebalancing = chance.randrange(10**9)
        for symbol in range(2500):
            yield entries.of("1d", symbol, rebalancing)


def zipf_symbols(chance: random.Random) -> Iterator[tuple[int, int]]:
    """Independent requests; a few symbols are asked for far more often than the rest."""
    entries = _Entries(chance)
    popularity = _popularity(8000, 0.9)
    while True:
        symbol = chance.choices(range(8000), cum_weights=popularity)[0]
        yield entries.of(chance.choices(["1d", "1h", "1m"], [6, 3, 1])[0], symbol)


def mixed(chance: random.Random) -> Iterator[tuple[int, int]]:
    """All of the others by turns, a few hundred requests each, over entries of their own."""
    sources = [
        make(random.Random(chance.random()))
        for make in (parameter_sweep, walk_forward, universe_scan, zipf_symbols)
    ]
    while True:
        turn = chance.randrange(len(sources))
        for number, size in itertools.islice(sources[turn], chance.randint(200, 1500)):
            yield number * len(sources) + turn, size


WORKLOADS: dict[str, Callable[[random.Random], Iterable[tuple[int, int]]]] = {
    "parameter sweep": parameter_sweep,
    "walk-forward": walk_forward,
    "universe scan": universe_scan,
    "Zipf symbols": zipf_symbols,
    "mixed": mixed,
}


def make_trace(workload: str, requests: int = REQUESTS, seed: int = 1) -> Trace:
    """The first `requests` requests of a workload."""
    return list(itertools.islice(WORKLOADS[workload](random.Random(seed)), requests))


def distinct_bytes(trace: Trace) -> int:
    """The size of a cache that never has to evict."""
    return sum(dict(trace).values())
