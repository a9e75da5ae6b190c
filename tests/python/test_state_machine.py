"""The whole API against a small model: whatever the order of calls, the answers agree.

BARCACHE_MACHINE_RUNS sets how many sequences are tried; the default is for every test run.
"""

import inspect
import os
import re
import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from barcache import BarcacheError, CacheManager, InvalidArgument
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

# A request whose answer is cached as a whole, since it is no bars, and the key of that.
WHOLE = (["A"], "2023-01-01", "2023-01-05", "1d", "v")
WHOLE_KEY = "0a1ef8013686d9ae"
KEYS = ["key1", WHOLE_KEY, "a/b", "é", "x" * 100]
SYMBOLS = ["A", "B"]
FIRST_DAY = date(2022, 1, 1)
DAYS = 7  # So few that no series gets enough segments to be merged.
BACKTESTS = ["bt-1", "bt-2"]

keys = st.sampled_from(KEYS)
backtests = st.sampled_from(BACKTESTS)
maybe_backtest = st.one_of(st.none(), backtests)


def frame_of(number: int) -> pl.DataFrame:
    """A frame for each number; their sizes differ."""
    rows = 1 + number % 50
    return pl.DataFrame({"n": [number] * rows, "close": [number + i / 4 for i in range(rows)]})


class VendorDown(Exception):
    """The source fails."""


def bars_of(symbols: list[str], first: int, last: int) -> pl.DataFrame:
    """What the source says of these days, both included."""
    days = [FIRST_DAY + timedelta(days=day) for day in range(first, last + 1)]
    rows = [
        (day, symbol, len(symbol) + day.toordinal() * 2.0) for symbol in sorted(symbols)
        for day in days
    ]  # fmt: skip
    return pl.DataFrame(
        rows, {"date": pl.Date, "symbol": pl.String, "close": pl.Float64}, orient="row"
    )


def days_from_the_source(said: dict[str, list[dict[str, Any]]]) -> list[tuple[str, int]]:
    """Symbol and day of what explain says has to be fetched."""
    return [
        (symbol, day)
        for symbol, parts in said.items()
        for part in parts
        if part["from"] == "source"
        for day in range((part["start"] - FIRST_DAY).days, (part["end"] - FIRST_DAY).days + 1)
    ]


class Model:
    """What a cache without limits holds: frames by key, links, and counters of this session.

    Keys of segments differ from run to run, so that no order here may come from sorting them:
    Hypothesis gives up on a machine that does not do the same twice.
    """

    def __init__(self) -> None:
        self.frames: dict[str, int] = {}  # In order of use, the oldest first.
        self.segments: dict[str, tuple[str, set[int]]] = {}  # Of those: symbol and days.
        self.pinned: set[str] = set()
        self.links: dict[str, set[str]] = {}
        self.hits = self.misses = 0
        self.earlier_hits = self.earlier_misses = 0  # Of sessions that are over.

    def put(self, key: str, number: int, backtest_id: str | None) -> None:
        self.frames.pop(key, None)
        self.frames[key] = number
        self._link(key, backtest_id)

    def get(self, key: str, backtest_id: str | None) -> int | None:
        if key not in self.frames:
            self.misses += 1
            return None
        self.hits += 1
        self.frames[key] = self.frames.pop(key)
        self._link(key, backtest_id)
        return self.frames[key]

    def drop(self, key: str) -> None:
        self.frames.pop(key, None)
        self.segments.pop(key, None)
        self.links.pop(key, None)
        self.pinned.discard(key)

    def end_session(self) -> None:
        self.earlier_hits += self.hits
        self.earlier_misses += self.misses
        self.hits = self.misses = 0

    def clear_backtest(self, backtest_id: str, keep_shared: bool) -> None:
        for key in self.keys_of(backtest_id):
            if keep_shared and len(self.links[key]) > 1:
                self.links[key].discard(backtest_id)
            else:
                self.drop(key)

    def pin(self, keys: list[str]) -> int:
        new = set(keys) - self.pinned
        self.pinned |= new
        return len(new)

    def unpin(self, keys: list[str]) -> int:
        pinned = [key for key in keys if key in self.pinned]
        for key in pinned:  # They count as just used.
            self.pinned.discard(key)
            self.frames[key] = self.frames.pop(key)
        return len(pinned)

    def held_days(self, symbol: str) -> dict[int, str]:
        """The segment that each day is in."""
        return {
            day: key
            for key, (owner, days) in self.segments.items()
            if owner == symbol
            for day in days
        }

    def keys_of(self, backtest_id: str) -> list[str]:
        return [key for key, ids in self.links.items() if backtest_id in ids]

    def _link(self, key: str, backtest_id: str | None) -> None:
        if backtest_id is not None:
            self.links.setdefault(key, set()).add(backtest_id)


class CacheMachine(RuleBasedStateMachine):
    @initialize(hot_cache_size_mb=st.sampled_from([0, 0.001, 64]))
    def start(self, hot_cache_size_mb):
        self.folder = Path(tempfile.mkdtemp(prefix="barcache-machine-"))
        self.hot_cache_size_mb = hot_cache_size_mb
        self.model = Model()
        self.numbers = 0
        self.cache = self.open()
        assert self.cache.generate_cache_key(*WHOLE) == WHOLE_KEY
        self.other = None

    def open(self):
        return CacheManager(
            self.folder / "metadata.db",
            self.folder / "cache",
            hot_cache_size_mb=self.hot_cache_size_mb,
        )

    def teardown(self):
        for cache in (getattr(self, "cache", None), getattr(self, "other", None)):
            if cache is not None:
                cache.close()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def next_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def compare(self, frame, number):
        if number is None:
            assert frame is None
        else:
            assert frame is not None
            assert frame.equals(frame_of(number))

    # --- putting and getting ------------------------------------------------------------------

    @rule(key=keys, backtest_id=maybe_backtest)
    def put(self, key, backtest_id):
        number = self.next_number()
        self.cache.put_cached_data(key, frame_of(number), 1, backtest_id)
        self.model.put(key, number, backtest_id)

    @rule(chosen=st.lists(keys, max_size=4), backtest_id=maybe_backtest)
    def put_many(self, chosen, backtest_id):
        pairs = [(key, self.next_number()) for key in chosen]
        self.cache.put_many([(key, frame_of(n)) for key, n in pairs], 1, backtest_id)
        for key, number in pairs:
            self.model.put(key, number, backtest_id)

    @rule(key=keys, backtest_id=maybe_backtest)
    def get(self, key, backtest_id):
        frame = self.cache.get_cached_data(key, backtest_id=backtest_id)
        self.compare(frame, self.model.get(key, backtest_id))

    @rule(key=keys)
    def get_and_spoil_the_result(self, key):
        frame = self.cache.get_cached_data(key)
        self.compare(frame, self.model.get(key, None))
        if frame is not None:
            frame.insert_column(0, pl.lit(7).alias("spoiled"))
            frame[0, "n"] = -1

    @rule(key=keys)
    def get_columns(self, key):
        frame = self.cache.get_cached_data(key, columns=["close"])
        number = self.model.get(key, None)
        assert (frame is None) == (number is None)
        if number is not None:
            assert frame.equals(frame_of(number).select("close"))

    @rule(chosen=st.lists(keys, max_size=4, unique=True))
    def get_many(self, chosen):
        frames = self.cache.get_many(chosen)
        hits = [key for key in chosen if key in self.model.frames]
        for key, frame in zip(chosen, frames, strict=True):
            self.compare(frame, self.model.frames.get(key))
        self.model.misses += len(chosen) - len(hits)
        for key in hits:
            self.model.get(key, None)
        # Several at once have no order among themselves.
        self.ordered = self.ordered and len(hits) < 2

    ordered = True

    @rule(key=keys)
    def scan(self, key):
        lazy = self.cache.scan(key)
        number = self.model.get(key, None)
        assert (lazy is None) == (number is None)
        if number is not None:
            assert lazy.select(pl.len()).collect().item() == frame_of(number).height

    @rule(key=keys, backtest_id=backtests)
    def get_in_a_block(self, key, backtest_id):
        with self.cache.backtest(backtest_id):
            frame = self.cache.get_cached_data(key)
        self.compare(frame, self.model.get(key, backtest_id))

    @rule(key=keys)
    def put_what_cannot_come_back(self, key):
        refused = pl.DataFrame({"o": [object()]}, schema={"o": pl.Object})
        with pytest.raises(BarcacheError):
            self.cache.put_cached_data(key, refused, 1)

    # --- fetching -----------------------------------------------------------------------------

    @rule(backtest_id=maybe_backtest, fails=st.booleans())
    def get_or_fetch_whole(self, backtest_id, fails):
        number = self.next_number()
        calls = []

        def fetch(*arguments):
            calls.append(arguments)
            if fails:
                raise VendorDown
            return frame_of(number)

        held = WHOLE_KEY in self.model.frames
        if fails and not held:
            with pytest.raises(VendorDown):
                self.cache.get_or_fetch(*WHOLE, fetch, backtest_id=backtest_id)
            self.model.misses += 1
        else:
            frame = self.cache.get_or_fetch(*WHOLE, fetch, backtest_id=backtest_id)
            if self.model.get(WHOLE_KEY, backtest_id) is None:
                self.model.put(WHOLE_KEY, number, backtest_id)
            self.compare(frame, self.model.frames[WHOLE_KEY])
        assert calls == ([] if held else [WHOLE[:4]])

    @rule(backtest_id=maybe_backtest, forget=st.booleans())
    def call_memoized(self, backtest_id, forget):
        number = self.next_number()
        calls = []

        @self.cache.memoize(version="1", ignore=("calls", "number"), backtest_id=backtest_id)
        def study():
            calls.append(number)
            return frame_of(number)

        key = study.key()
        held = key in self.model.frames
        if forget:
            assert study.forget() == held
            self.model.drop(key)
            return
        frame = study()
        if self.model.get(key, backtest_id) is None:
            self.model.put(key, number, backtest_id)
        self.compare(frame, self.model.frames[key])
        assert calls == ([] if held else [number])

    @rule(
        symbols=st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True),
        ends=st.tuples(st.integers(0, DAYS - 1), st.integers(0, DAYS - 1)),
        backtest_id=maybe_backtest,
    )
    def get_or_fetch_range(self, symbols, ends, backtest_id):
        first, last = sorted(ends)
        asked = []

        def fetch(symbols, start, end, resolution):
            assert resolution == "1d"
            low, high = (start - FIRST_DAY).days, (end - FIRST_DAY).days
            asked.extend((symbol, day) for symbol in symbols for day in range(low, high + 1))
            return bars_of(symbols, low, high)

        span = (FIRST_DAY + timedelta(days=first), FIRST_DAY + timedelta(days=last))
        before = set(self.cache.entries())
        foretold = self.cache.explain(symbols, *span, "1d", "w")["symbols"]
        frame = self.cache.get_or_fetch(
            symbols, *span, "1d", "w", fetch, backtest_id=backtest_id, overlap=0
        )
        assert frame.equals(bars_of(symbols, first, last))
        used = []
        missing = []
        for symbol in symbols:
            held = self.model.held_days(symbol)
            days = range(first, last + 1)
            used += dict.fromkeys(held[day] for day in days if day in held)
            missing += [(symbol, day) for day in days if day not in held]
        assert sorted(asked) == sorted(missing), "what is missing, and nothing else, once"
        assert sorted(days_from_the_source(foretold)) == sorted(missing)
        self.model.misses += bool(missing)
        for key in used:
            self.model.get(key, backtest_id)
        self.add_segments(set(self.cache.entries()) - before, missing, backtest_id)
        # Several have no order among themselves until they are used again.
        for key in self.model.segments:
            assert self.cache.get_cached_data(key) is not None
            self.model.get(key, None)

    def add_segments(self, keys, missing, backtest_id):
        """The new entries hold the days that were missing, each in one of them."""
        held = []
        for symbol in SYMBOLS:
            coverage = self.cache.coverage(symbol, "w").filter(pl.col("segment_key").is_in(keys))
            for begin, end, state, key in coverage.select(
                "begin", "end", "state", "segment_key"
            ).rows():
                assert state == "data"
                low, high = (begin.date() - FIRST_DAY).days, (end.date() - FIRST_DAY).days
                held += [(symbol, day) for day in range(low, high)]
                self.model.put(key, 0, backtest_id)
                _, days = self.model.segments.setdefault(key, (symbol, set()))
                days.update(range(low, high))
        assert sorted(held) == sorted(missing)
        assert keys == keys & set(self.model.segments)

    # --- pins ---------------------------------------------------------------------------------

    @rule(key=keys)
    def pin(self, key):
        if key in self.model.frames:
            assert self.cache.pin(key) == self.model.pin([key])
        else:
            with pytest.raises(InvalidArgument):
                self.cache.pin(key)

    @rule(backtest_id=backtests)
    def pin_backtest(self, backtest_id):
        keys = self.model.keys_of(backtest_id)
        assert self.cache.pin(backtest_id=backtest_id) == self.model.pin(keys)

    @rule(key=keys)
    def unpin(self, key):
        assert self.cache.unpin(key) == self.model.unpin([key])

    @rule(backtest_id=backtests)
    def unpin_backtest(self, backtest_id):
        count = self.model.unpin(self.model.keys_of(backtest_id))
        assert self.cache.unpin(backtest_id=backtest_id) == count
        self.ordered = self.ordered and count < 2

    # --- removal ------------------------------------------------------------------------------

    @rule(key=keys)
    def clear_key(self, key):
        self.cache.clear_cache(cache_key=key)
        self.model.drop(key)

    @rule(backtest_id=backtests, keep_shared=st.booleans())
    def clear_backtest(self, backtest_id, keep_shared):
        self.cache.clear_cache(backtest_id=backtest_id, keep_shared=keep_shared)
        self.model.clear_backtest(backtest_id, keep_shared)

    @rule()
    def clear_all(self):
        self.cache.clear_cache()
        for key in list(self.model.frames):
            self.model.drop(key)
        self.ordered = True

    @rule(is_used=st.booleans())
    def clear_unused(self, is_used):
        since = 0 if is_used else int(time.time()) + 3600
        unused = [] if is_used else list(self.model.frames)
        assert self.cache.clear_unused_since(since) == len(unused)
        for key in unused:
            self.model.drop(key)

    @rule()
    def clear_memory(self):
        self.cache.hot_cache.clear()

    @precondition(lambda self: len(self.model.frames) > 1 and self.ordered)
    @rule()
    def evict(self):
        limit = self.cache.cold_cache_size_mb
        self.cache.cold_cache_size_mb = self.cache._get_total_cache_size_mb() * 0.6
        evicted = self.cache.evict()
        left = set(self.cache.entries())
        assert evicted == len(self.model.frames) - len(left)
        is_low = self.cache._get_total_cache_size_mb() <= self.cache.cold_cache_size_mb
        assert is_low or left == self.model.pinned
        self.cache.cold_cache_size_mb = limit
        assert left >= self.model.pinned
        left -= self.model.pinned
        in_order = [key for key in self.model.frames if key not in self.model.pinned]
        assert left == set(in_order[len(in_order) - len(left) :]), "not the least recently used"
        for key in in_order:
            if key not in left:
                self.model.drop(key)

    # --- damage -------------------------------------------------------------------------------

    @precondition(lambda self: self.model.frames)
    @rule(which=st.integers(0, 1000), where=st.integers(0, 100_000), remove=st.booleans())
    def damage_a_file(self, which, where, remove):
        in_order = list(self.model.frames)
        key = in_order[which % len(in_order)]
        path = self.folder / "cache" / self.cache.lookup_cache(key)["parquet_path"]
        if remove:
            path.unlink()
        else:
            content = bytearray(path.read_bytes())
            content[where % len(content)] ^= 1
            path.write_bytes(content)
        self.cache.hot_cache.clear()
        assert self.cache.get_cached_data(key) is None
        assert self.cache.lookup_cache(key) is None
        self.model.misses += 1
        self.model.drop(key)

    # --- other managers, other sessions -------------------------------------------------------

    @rule(key=keys)
    def another_manager_puts(self, key):
        if self.other is None:
            self.other = self.open()
        number = self.next_number()
        self.other.put_cached_data(key, frame_of(number), 1)
        self.model.put(key, number, None)

    @rule()
    def reopen(self):
        self.cache.close()
        self.cache = self.open()
        self.model.end_session()

    @rule()
    def record(self):
        self.cache.record_daily_statistics()

    @rule()
    def flush(self):
        self.cache.flush()

    @rule(repair=st.booleans())
    def check(self, repair):
        assert self.cache.check(repair=repair)["clean"]

    # --- what must hold at any moment ---------------------------------------------------------

    @invariant()
    def the_views_agree(self):
        if not hasattr(self, "cache"):
            return
        assert sorted(self.cache.entries()) == sorted(self.model.frames)
        assert len(self.cache) == len(self.model.frames)
        infos = self.cache.entry_infos()
        assert sorted(info["cache_key"] for info in infos) == sorted(self.model.frames)
        for backtest_id in BACKTESTS:
            assert sorted(self.cache.entries(backtest_id)) == sorted(
                self.model.keys_of(backtest_id)
            )
        assert self.cache.pinned() == sorted(self.model.pinned)
        for key in KEYS:
            assert (key in self.cache) == (key in self.model.frames)
            assert self.cache.backtests(key) == sorted(self.model.links.get(key, ()))

    @invariant()
    def the_counters_agree(self):
        if not hasattr(self, "cache"):
            return
        session = self.cache.session_stats
        assert session["hit_count"] == self.model.hits
        assert session["miss_count"] == self.model.misses
        assert session["hot_hits"] + session["cold_hits"] == self.model.hits
        stats = self.cache.get_cache_statistics()
        assert stats["entry_count"] == len(self.model.frames)
        assert stats["hit_count"] == self.model.earlier_hits + self.model.hits
        assert stats["miss_count"] == self.model.earlier_misses + self.model.misses
        files = list((self.folder / "cache").glob("*.parquet"))
        assert len(files) == len(self.model.frames)
        total = sum(path.stat().st_size for path in files) / 1024 / 1024
        assert self.cache._get_total_cache_size_mb() == pytest.approx(total)


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(
    max_examples=int(os.environ.get("BARCACHE_MACHINE_RUNS", "20")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

# Who tries what the machine does not call; each of these files calls it.
ELSEWHERE = {
    "aget_or_fetch": "test_bars_async.py",  # Random sequences, beside get_or_fetch.
    "warm": "test_warm.py",
    "metadata_catalog": "test_metadata_catalog.py",
}
SETTINGS = {"cache_directory", "closed", "db_path", "eviction_policy", "read_only"}
FOR_THE_ENGINE = {  # Of the core, for catalog_engine.py alone.
    "begin_engine_commit", "catalog_id", "connection_target", "end_engine_commit", "same_sqlite",
}  # fmt: skip


def test_every_call_of_the_api_is_made():
    here = Path(__file__)
    machine = inspect.getsource(CacheMachine)
    names = {name for name in dir(CacheManager) if not name.startswith("_")}
    for name in names - SETTINGS - FOR_THE_ENGINE - set(ELSEWHERE):
        assert re.search(rf"\.{name}\b", machine), f"no rule calls {name}"
    for name, file in ELSEWHERE.items():
        assert f".{name}" in here.with_name(file).read_text(encoding="utf-8")
