"""What get_or_fetch costs beside what it is made of, hit and miss."""

from __future__ import annotations

import statistics
import time
from datetime import date
from typing import TYPE_CHECKING, Any

from barcache import CacheManager
from barcache.bench.figures import Figure
from barcache.bench.universe import Universe

if TYPE_CHECKING:
    from collections.abc import Callable

    from barcache.bench.figures import Setting

_CALLS = 500


def fetching(setting: Setting) -> list[Figure]:
    """Hits and misses of get_or_fetch, in turns with get and put by hand; a year of days."""
    rounds = 5 if setting.quick else 200
    (frame,) = Universe(1, date(2023, 1, 1), date(2023, 12, 31)).frames.values()
    dates = ("2023-01-01", "2023-12-31", "1d", "bench")

    def vendor(*_: Any) -> Any:
        return frame

    with CacheManager(
        setting.directory / "metadata.db", setting.directory / "cache", record_on_close=False
    ) as cache:

        def by_hand(symbol: str) -> Any:
            key = cache.generate_cache_key([symbol], *dates)
            found = cache.get_cached_data(key)
            if found is None:
                cache.put_cached_data(key, frame, dataset_id=1)
            return found

        def by_call(symbol: str) -> Any:
            return cache.get_or_fetch([symbol], *dates, vendor)

        by_hand("HIT")
        if not by_call("HIT").equals(frame):
            raise AssertionError("get_or_fetch answered with other bars")
        hits: dict[str, list[float]] = {"hand": [], "call": []}
        misses: dict[str, list[float]] = {"hand": [], "call": []}
        for number in range(rounds + 2):
            setting.progress(number / (rounds + 2))
            for name, call in (("hand", by_hand), ("call", by_call)):
                hit_us = _microseconds(call, "HIT", _CALLS)
                miss_us = _microseconds(call, f"{name}-{number}", 1)
                if number >= 2:  # Two are warm-up.
                    hits[name].append(hit_us)
                    misses[name].append(miss_us)
    return [
        Figure("get_or_fetch, hot hit", statistics.median(hits["call"]), "us"),
        Figure("key and get by hand, hot hit", statistics.median(hits["hand"]), "us"),
        Figure("get_or_fetch, miss", statistics.median(misses["call"]), "us"),
        Figure("key, get and put by hand, miss", statistics.median(misses["hand"]), "us"),
    ]


def _microseconds(call: Callable[[str], Any], symbol: str, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call(symbol)
    return (time.perf_counter() - began) / count * 1e6
