"""Catalogs of different sizes: opening, asking, and puts at the limit, where each has to evict."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from barcache.bench import large_catalog
from barcache.bench.children import ask
from barcache.bench.figures import Figure, grouped
from barcache.bench.frames import bars
from barcache.bench.large_catalog import REAL_KEY, LargeCatalog

if TYPE_CHECKING:
    from collections.abc import Callable

    from barcache import CacheManager
    from barcache.bench.figures import Setting

SIZES = (1_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
POLICIES = ("lru", "size", "hybrid", "gdsf", "s3fifo")
WARM_UP_PUTS = 10
BATCHES = 5
PUTS_PER_BATCH = 12
_PROCESSES = 5
_CALLS = 2000


def measure(setting: Setting) -> list[Figure]:
    """All figures, over catalogs of three sizes (two with `quick`)."""
    catalogs = []
    sizes = QUICK_SIZES if setting.quick else SIZES
    for number, entries in enumerate(sizes):
        setting.progress(0.3 * number / len(sizes))
        catalogs.append(large_catalog.make(setting.directory / str(entries), entries))
    setting.progress(0.35)
    figures = open_figures(catalogs[0], catalogs[-1])
    setting.progress(0.4)
    figures += query_figures(catalogs[-1])
    for number, policy in enumerate(POLICIES):
        setting.progress(0.45 + 0.55 * number / len(POLICIES))
        figures += limit_figures(catalogs, policy)
    return [*figures, _full_victims(catalogs)]


def open_figures(small: LargeCatalog, large: LargeCatalog) -> list[Figure]:
    """Fresh processes: the time to the first hit, the memory that the catalog's size adds."""
    where = {"directory": str(large.directory), "key": REAL_KEY}
    opened = [ask("first_hit", **where) for _ in range(_PROCESSES)]
    with_many = statistics.median(
        ask("catalog_memory", **where)["bytes"] for _ in range(_PROCESSES)
    )
    where["directory"] = str(small.directory)
    with_few = statistics.median(ask("catalog_memory", **where)["bytes"] for _ in range(_PROCESSES))
    entries = grouped(large.entries)
    grown = max(0.0, with_many - with_few) / (large.entries - small.entries)
    return [
        Figure(
            f"open until the first hit, {entries} entries",
            statistics.median(one["ms"] for one in opened),
            "ms",
        ),
        Figure(f"memory of the catalog an entry, {entries} entries", grown, "bytes"),
    ]


def query_figures(large: LargeCatalog) -> list[Figure]:
    """Medians of lookup_cache, of another key each time, and of get_cache_statistics."""
    entries = grouped(large.entries)
    with large.open() as cache:
        keys = [row for row in _some_keys(large) if row != REAL_KEY]
        lookups = _times_us(lambda number: cache.lookup_cache(keys[number % len(keys)]), _CALLS)
        asked = _times_us(lambda _: cache.get_cache_statistics(), 200)
    return [
        Figure(f"lookup_cache, {entries} entries", statistics.median(lookups), "us"),
        Figure(f"get_cache_statistics, {entries} entries", statistics.median(asked) / 1000, "ms"),
    ]


def _some_keys(large: LargeCatalog) -> list[str]:
    return [name.partition("~")[0] for name in large.full_files]


def _times_us(call: Callable[[int], Any], count: int) -> list[float]:
    times = []
    for number in range(count):
        began = time.perf_counter_ns()
        call(number)
        times.append((time.perf_counter_ns() - began) / 1e3)
    return times[count // 10 :]  # The first tenth is warm-up.


def limit_figures(catalogs: list[LargeCatalog], policy: str) -> list[Figure]:
    """Puts at the limit under one policy, in batches that go round the catalogs.

    The first put after a policy was chosen may have all entries to rank: it is a figure of its own.
    """
    frame = bars(252)
    first_us = []
    for catalog in catalogs:
        with catalog.open() as cache:
            _choose(cache, policy)
            first_us += _times_us(lambda _, c=cache: _put(c, policy, "first", 0, frame), 1)  # type: ignore[misc]
    caches = [catalog.open() for catalog in catalogs]
    batches: list[list[list[float]]] = [[] for _ in catalogs]
    try:
        for cache in caches:
            _choose(cache, policy)
            for number in range(WARM_UP_PUTS):
                _put(cache, policy, "warm", number, frame)
        for batch in range(BATCHES):
            for place, cache in enumerate(caches):
                times = []
                for number in range(PUTS_PER_BATCH):
                    began = time.perf_counter_ns()
                    _put(cache, policy, f"timed{batch}", number, frame)
                    times.append((time.perf_counter_ns() - began) / 1e3)
                batches[place].append(times)
    finally:
        for cache in caches:
            cache.close()
    figures = []
    for catalog, first, times_of in zip(catalogs, first_us, batches, strict=True):
        name = f"put at the limit, {policy}, {grouped(catalog.entries)} entries"
        means = [statistics.fmean(times) for times in times_of]
        every = [one for times in times_of for one in times]
        figures += [
            Figure(name, statistics.median(means), "us"),
            Figure(f"{name}, mean of all", statistics.fmean(every), "us"),
            Figure(f"{name}, slowest", max(every), "us"),
            Figure(f"{name}, first after choosing", first, "us"),
        ]
    return figures


def _choose(cache: CacheManager, policy: str) -> None:
    cache.cold_cache_size_mb = cache._total_size_bytes() / (1024 * 1024)
    cache.eviction_policy = policy


def _put(cache: CacheManager, policy: str, what: str, number: int, frame: Any) -> None:
    cache.put_cached_data(f"{policy}-{what}-{number}", frame, dataset_id=1)


def _full_victims(catalogs: list[LargeCatalog]) -> Figure:
    """The share of the evicted entries whose file held bytes, without those put here."""
    evicted = missing = 0
    puts = len(POLICIES) * (1 + WARM_UP_PUTS + BATCHES * PUTS_PER_BATCH)
    for catalog in catalogs:
        with catalog.open() as cache:
            evicted += catalog.entries + 1 + puts - len(cache)
        folder = catalog.directory / "cache"
        missing += sum(not (folder / name).exists() for name in catalog.full_files)
    return Figure("victims whose file held bytes, at least", missing / max(1, evicted), "share")
