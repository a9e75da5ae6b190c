"""A process that one case needs beside its own: `python -m barcache.bench.child TASK JSON`.

Prints one JSON value. Tasks that wait do so for lines on stdin, and end when it is closed: none
outlives the process that started it.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def resident_bytes() -> int:
    """The memory of this process that is resident now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_manager(directory: str, **settings: Any) -> Any:
    """The cache in `directory`, of which nothing is evicted."""
    from barcache import CacheManager

    settings = {"cold_cache_size_mb": 1 << 20, "record_on_close": False, **settings}
    return CacheManager(f"{directory}/metadata.db", f"{directory}/cache", **settings)


def first_hit(directory: str, key: str) -> dict[str, float]:
    """Milliseconds from before the constructor to after the first get."""
    import polars  # noqa: F401

    import barcache  # noqa: F401 - what a program has done before it opens a cache.

    began = time.perf_counter()
    cache = open_manager(directory)
    opened = time.perf_counter()
    frame = cache.get_cached_data(key)
    ended = time.perf_counter()
    if frame is None:
        raise RuntimeError(f"{key} is a miss")
    cache.close()
    return {"ms": (ended - began) * 1e3, "open_ms": (opened - began) * 1e3}


def catalog_memory(directory: str, key: str) -> dict[str, float]:
    """What opening a catalog and asking it adds to the memory of a process."""
    import polars  # noqa: F401

    import barcache  # noqa: F401

    before = resident_bytes()
    cache = open_manager(directory)
    if cache.get_cached_data(key) is None or cache.lookup_cache(key) is None:
        raise RuntimeError(f"{key} is a miss")
    cache.get_cache_statistics()
    grown = resident_bytes() - before
    cache.close()
    return {"bytes": grown}


def hot_memory(directory: str, count: int, budget_mb: float) -> dict[str, float]:
    """What a hot tier adds that reads of the entries bars0, bars1, ... from disk have filled."""
    from barcache import LRUCache

    cache = open_manager(directory)
    cache.hot_cache = LRUCache(max_size_bytes=1)
    keys = [f"bars{number}" for number in range(count)]
    for key in keys:  # What SQLite keeps of the catalog is not the hot tier's.
        cache.get_cached_data(key)
    cache.hot_cache = LRUCache(max_size_bytes=int(budget_mb * 1024 * 1024))
    before = resident_bytes()
    for key in keys:
        cache.get_cached_data(key)
    grown = resident_bytes() - before
    charged = cache.hot_cache.current_size_bytes
    cache.close()
    return {"bytes": grown, "charged_bytes": charged}


def write_puts(directory: str, per_second: float) -> dict[str, float]:
    """Puts on keys of its own, at that rate between the lines "go" and "rest"."""
    from barcache.bench.frames import bars

    frame = bars(252)
    puts, running, due = 0, False, 0.0
    with open_manager(directory) as cache:
        cache.put_cached_data("other", frame, dataset_id=1)
        _say("ready")
        while True:
            wait = max(0.0, due - time.monotonic()) if running else None
            if select.select([sys.stdin], [], [], wait)[0]:
                line = sys.stdin.readline()
                if not line:
                    return {"puts": puts}
                running, due = line.strip() == "go", time.monotonic()
                _say(str(puts))
                continue
            cache.put_cached_data(f"other{puts % 200}", frame, dataset_id=1)
            puts += 1
            due += 1 / per_second


def count_hits(directory: str, key: str, seconds: float) -> dict[str, float]:
    """Hot hits in so many seconds from the line "go" on, and when they began and ended."""
    with open_manager(directory) as cache:
        hits_in(cache, key, 0.05)
        _say("ready")
        if not sys.stdin.readline():
            return {"hits": 0}
        began = time.monotonic()
        hits, _ = hits_in(cache, key, seconds)
        return {"hits": hits, "began_s": began, "ended_s": time.monotonic()}


def hits_in(cache: Any, key: str, seconds: float) -> tuple[int, float]:
    """How many hits a loop of gets makes, and in what time."""
    get, clock = cache.get_cached_data, time.perf_counter
    hits, began = 0, clock()
    while (took := clock() - began) < seconds:
        for _ in range(200):
            get(key)
        hits += 200
    return hits, took


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


TASKS: dict[str, Callable[..., dict[str, float]]] = {
    "first_hit": first_hit,
    "catalog_memory": catalog_memory,
    "hot_memory": hot_memory,
    "write_puts": write_puts,
    "count_hits": count_hits,
}

if __name__ == "__main__":
    _say(json.dumps(TASKS[sys.argv[1]](**json.loads(sys.argv[2]))))
