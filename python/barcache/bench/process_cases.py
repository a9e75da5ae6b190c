"""Cases with other threads and processes, and those that need a fresh one."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from barcache import CacheManager, LRUCache
from barcache.bench.child import hits_in
from barcache.bench.children import ask, children
from barcache.bench.figures import Figure
from barcache.bench.frames import bars

if TYPE_CHECKING:
    from pathlib import Path

    from barcache.bench.figures import Setting

MEMBERS = (1, 2, 4, 8)
MANY = 500
PUTS_PER_SECOND = 100


def _manager(directory: Path, **settings: Any) -> CacheManager:
    settings = {"record_on_close": False, **settings}
    return CacheManager(directory / "metadata.db", directory / "cache", **settings)


def beside_a_writer(setting: Setting) -> list[Figure]:
    """Hot hits while another process puts other keys, in turns with hits while it rests."""
    rounds, span_s = (4, 0.2) if setting.quick else (20, 0.25)
    where = str(setting.directory)
    with _manager(setting.directory) as cache:
        cache.put_cached_data("bars", bars(252), dataset_id=1)
        cache.get_cached_data("bars")
        quiet, busy = [], []
        puts = 0
        with children(1, "write_puts", directory=where, per_second=PUTS_PER_SECOND) as (writer,):
            for number in range(rounds):
                setting.progress(number / rounds)
                hits, took_s = hits_in(cache, "bars", span_s)
                quiet.append(took_s / hits * 1e6)
                writer.tell("go")
                before = int(writer.hear())
                hits, took_s = hits_in(cache, "bars", span_s)
                busy.append(took_s / hits * 1e6)
                writer.tell("rest")
                puts += int(writer.hear()) - before
    ratios = [b / q for b, q in zip(busy, quiet, strict=True)]
    return [
        Figure("hot hit, nobody else", statistics.median(quiet), "us"),
        Figure("hot hit beside a writer", statistics.median(busy), "us"),
        Figure("hot hit beside a writer by one without", statistics.median(ratios), "x"),
        Figure("puts of that writer", puts / (rounds * span_s), "per s"),
    ]


def asked_misses(setting: Setting) -> list[Figure]:
    """Misses of a name that another manager has put and cleared since it was asked for last."""
    rounds = 100 if setting.quick else 2000
    one_bar = bars(1)
    times_us = []
    with _manager(setting.directory) as cache, _manager(setting.directory) as other:
        cache.put_cached_data("bars", one_bar, dataset_id=1)
        for number in range(rounds):
            if number % 100 == 0:
                setting.progress(number / rounds)
            other.put_cached_data("gone", one_bar, dataset_id=1)
            other.clear_cache(cache_key="gone")
            began = time.perf_counter_ns()
            found = cache.get_cached_data("gone")
            times_us.append((time.perf_counter_ns() - began) / 1e3)
            if found is not None:
                raise AssertionError("a cleared entry was served")
    counted = times_us[rounds // 10 :]  # The first tenth is warm-up.
    return [Figure("miss, the catalog is asked", statistics.median(counted), "us")]


def many_at_once(setting: Setting) -> list[Figure]:
    """get_many of cold entries beside a loop of gets."""
    rounds, count = (3, 50) if setting.quick else (15, MANY)
    frame = bars(252)
    keys = [f"bars{number}" for number in range(count)]
    loop_ms, many_ms = [], []
    with _manager(setting.directory) as cache:
        cache.put_many(dict.fromkeys(keys, frame), dataset_id=1)
        for number in range(rounds + 2):
            setting.progress(number / (rounds + 2))
            cache.hot_cache = LRUCache(max_size_bytes=1 << 30)
            began = time.perf_counter()
            one_by_one = [cache.get_cached_data(key) for key in keys]
            between = time.perf_counter()
            del one_by_one
            cache.hot_cache = LRUCache(max_size_bytes=1 << 30)
            restarted = time.perf_counter()
            together = cache.get_many(keys)
            ended = time.perf_counter()
            if any(found is None for found in together):
                raise AssertionError("get_many missed an entry that is there")
            del together
            if number >= 2:
                loop_ms.append((between - began) * 1e3)
                many_ms.append((ended - restarted) * 1e3)
    ratios = [a / b for a, b in zip(loop_ms, many_ms, strict=True)]
    return [
        Figure(f"loop of {count} cold gets", statistics.median(loop_ms), "ms"),
        Figure(f"get_many of {count} cold entries", statistics.median(many_ms), "ms"),
        Figure(f"loop of {count} cold gets by get_many", statistics.median(ratios), "x"),
    ]


def hot_memory(setting: Setting) -> list[Figure]:
    """What a full hot tier adds to a fresh process, by its limit."""
    figures = []
    for rows, budget_mb in ((252, 64 if setting.quick else 256), (100_000, 256)):
        setting.progress(0.0 if rows == 252 else 0.5)
        directory = setting.directory / str(rows)
        directory.mkdir(mode=0o700)
        frame = bars(rows)
        count = int(2 * budget_mb * 1024 * 1024 / frame.estimated_size()) + 2
        keys = [f"bars{number}" for number in range(count)]
        with _manager(directory, hot_cache_size_mb=0) as cache:
            at_once = max(1, 100_000 // rows)
            for start in range(0, count, at_once):
                some = keys[start : start + at_once]
                cache.put_many(dict.fromkeys(some, frame), dataset_id=1)
        found = ask("hot_memory", directory=str(directory), count=count, budget_mb=budget_mb)
        limit_bytes = budget_mb * 1024 * 1024
        name = f"of a full hot tier by its limit, {rows} rows"
        figures += [
            Figure(f"memory {name}", found["bytes"] / limit_bytes, "x"),
            Figure(f"charges {name}", found["charged_bytes"] / limit_bytes, "x"),
        ]
    return figures


def scaling(setting: Setting) -> list[Figure]:
    """Hot hits a second of so many threads, and of so many processes."""
    seconds = 0.2 if setting.quick else 1.0
    where = str(setting.directory)
    figures = []
    with _manager(setting.directory) as cache:
        cache.put_cached_data("bars", bars(252), dataset_id=1)
        for count in MEMBERS:
            setting.progress(MEMBERS.index(count) / (2 * len(MEMBERS)))
            rate = _hits_of_threads(cache, count, seconds)
            figures.append(Figure(f"hot hits, {count} threads", rate, "per s"))
    for count in MEMBERS:
        setting.progress(0.5 + MEMBERS.index(count) / (2 * len(MEMBERS)))
        with children(count, "count_hits", directory=where, key="bars", seconds=seconds) as started:
            for child in started:
                child.tell("go")
            counted = [json.loads(child.hear()) for child in started]
        rate = _rate([(one["hits"], one["began_s"], one["ended_s"]) for one in counted])
        figures.append(Figure(f"hot hits, {count} processes", rate, "per s"))
    return figures


def _rate(counted: list[tuple[float, float, float]]) -> float:
    """All hits by the time from the first beginning to the last end."""
    hits, began_s, ended_s = zip(*counted, strict=True)
    return float(sum(hits) / (max(ended_s) - min(began_s)))


def _hits_of_threads(cache: CacheManager, count: int, seconds: float) -> float:
    counted: list[tuple[float, float, float]] = []
    start = threading.Barrier(count)

    def work() -> None:
        start.wait()
        began_s = time.monotonic()
        hits, _ = hits_in(cache, "bars", seconds)
        counted.append((hits, began_s, time.monotonic()))

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _rate(counted)


_IMPORT = (
    "import time, polars; began = time.perf_counter(); import barcache; "
    "print((time.perf_counter() - began) * 1e3)"
)


def import_time(setting: Setting) -> list[Figure]:
    """What importing barcache takes after polars, in fresh processes.

    Its modules are compiled, as an installer leaves them, whatever the environment says here.
    """
    compiled = {**os.environ, "PYTHONPYCACHEPREFIX": str(setting.directory / "compiled")}
    compiled.pop("PYTHONDONTWRITEBYTECODE", None)
    times = []
    rounds = 3 if setting.quick else 9
    for number in range(rounds + 1):
        setting.progress(number / (rounds + 1))
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT],
            env=compiled,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        times.append(float(done.stdout))
    counted = times[1:]  # The first one compiles.
    return [
        Figure("import barcache after polars", statistics.median(counted), "ms"),
        Figure("import barcache after polars, fastest", min(counted), "ms"),
    ]
