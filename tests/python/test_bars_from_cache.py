"""Requests that the cache alone can answer: in one native call, and right whatever others did."""

import random
import sqlite3
import subprocess
import sys
import textwrap
import threading
from datetime import date, datetime, timedelta

import polars as pl
import pytest
from barcache import PartialCoverage
from barcache.errors import CacheClosed, ColumnNotFound
from polars.testing import assert_frame_equal

FIRST = date(2020, 1, 6)
SYMBOLS = ["A", "BB", "CCC", "a symbol of more than twelve bytes"]


class Vendor:
    """Bars of weekdays; may be told to give other columns."""

    def __init__(self, *, symbol_column=True, extra=None):
        self.calls = []
        self.factor = 1.0
        self.symbol_column = symbol_column
        self.extra = extra or {}

    def bars(self, symbol, start, end):
        days = pl.date_range(start, end, eager=True)
        frame = pl.DataFrame({"date": days, "close": days.to_physical() * self.factor})
        if self.symbol_column:
            frame = frame.with_columns(symbol=pl.lit(symbol))
        return frame.filter(pl.col("date").dt.weekday() < 6).with_columns(**self.extra)

    def __call__(self, symbols, start, end, _resolution):
        self.calls.append((tuple(symbols), start, end))
        return pl.concat([self.bars(symbol, start, end) for symbol in symbols])


@pytest.fixture
def vendor():
    return Vendor()


def days(first, last):
    return FIRST + timedelta(days=first), FIRST + timedelta(days=last)


def ask(cache, vendor, symbols, first, last, **options):
    return cache.get_or_fetch(symbols, *days(first, last), "1d", "vendor", vendor, **options)


@pytest.fixture
def natively(monkeypatch):
    """What came natively: true for each such answer."""
    from barcache.bars.reader import BarReader

    answers = []
    whole = BarReader.from_cache

    def from_cache(*arguments):
        answer = whole(*arguments)
        answers.append(answer is not None)
        return answer

    monkeypatch.setattr(BarReader, "from_cache", from_cache)
    return answers


def segment_of(cache, symbol):
    (key,) = set(cache.coverage(symbol=symbol).filter(state="data")["segment_key"])
    return key


EXTRAS = {
    "plain": {},
    "nulls": {"volume": pl.when(pl.col("close") % 3 > 0).then(pl.col("close"))},
    "bools": {"up": pl.col("close") % 2 == 0},
    "long texts": {"venue": pl.lit("a venue of more than twelve bytes")},
    "categories": {"venue": pl.col("close").cast(pl.String).cast(pl.Categorical)},
    "lists": {"levels": pl.concat_list(pl.col("close"), pl.col("close"))},
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_any_window_of_any_symbols_is_the_sources_own(cache, natively, extra):
    vendor = Vendor(extra=EXTRAS[extra])
    for first, last in ((0, 40), (41, 60), (61, 99)):
        ask(cache, vendor, SYMBOLS, first, last, overlap=0)
    natively.clear()
    r = random.Random(5)
    for _ in range(60):
        symbols = sorted(r.sample(SYMBOLS, r.randint(1, 4)))
        first = r.randint(0, 99)
        last = r.randint(first, 99)
        vendor.calls.clear()
        answer = ask(cache, vendor, symbols, first, last)
        assert vendor.calls == []
        assert_frame_equal(answer, vendor(symbols, *days(first, last), "1d"))
    assert all(natively)


def test_symbols_are_told_apart_where_the_source_does_not(cache, natively):
    vendor = Vendor(symbol_column=False)
    for symbol in SYMBOLS:
        ask(cache, vendor, symbol, 0, 30)
    natively.clear()
    answer = ask(cache, vendor, SYMBOLS, 3, 20)
    assert answer.columns == ["date", "symbol", "close"]
    own = [vendor.bars(s, *days(3, 20)).with_columns(symbol=pl.lit(s)) for s in SYMBOLS]
    assert_frame_equal(answer, pl.concat(own).select(answer.columns))
    assert "symbol" not in ask(cache, vendor, "A", 3, 20).columns
    assert all(natively)


def test_bars_that_are_not_alike_are_joined_by_their_columns(cache, vendor, natively):
    wider = Vendor(extra={"volume": pl.lit(1)})
    ask(cache, vendor, ["A", "BB"], 0, 10)
    ask(cache, wider, ["A", "BB"], 11, 20, overlap=0)
    natively.clear()
    answer = ask(cache, vendor, ["A", "BB"], 5, 15)
    parts = [
        source.bars(symbol, *days(*window))
        for symbol in ("A", "BB")
        for source, window in ((vendor, (5, 10)), (wider, (11, 15)))
    ]
    assert_frame_equal(answer, pl.concat(parts, how="diagonal_relaxed"))
    assert natively == [True]


def test_columns_are_chosen_and_an_unknown_one_is_named(cache, vendor):
    ask(cache, vendor, SYMBOLS, 0, 20)
    answer = ask(cache, vendor, SYMBOLS, 2, 9, columns=["close", "symbol"])
    assert answer.columns == ["close", "symbol"]
    with pytest.raises(ColumnNotFound, match="'open'"):
        ask(cache, vendor, SYMBOLS, 2, 8, columns=["open"])


def test_a_window_without_bars_has_the_columns_of_the_others(cache, vendor, natively):
    whole = ask(cache, vendor, SYMBOLS, 0, 20)
    natively.clear()
    saturday = ask(cache, vendor, SYMBOLS, 5, 6)
    assert saturday.schema == whole.schema
    assert saturday.height == 0
    assert natively == [True]


def test_what_a_caller_does_to_an_answer_reaches_no_other(cache, vendor):
    ask(cache, vendor, ["A", "BB"], 0, 20)
    for symbols in ("A", ["A", "BB"]):
        first = ask(cache, vendor, symbols, 1, 9)
        kept = first.clone()
        first[0, "close"] = -1.0
        first.insert_column(0, pl.lit(1).alias("own"))
        for _ in range(3):
            assert_frame_equal(ask(cache, vendor, symbols, 1, 9), kept)


@pytest.mark.parametrize("how", ["clear", "clear all", "rustybt", "corrupt"])
@pytest.mark.parametrize("hot_cache_size_mb", [64, 0])
def test_what_others_remove_is_fetched_by_the_next_request(make, vendor, how, hot_cache_size_mb):
    cache, other = make(hot_cache_size_mb=hot_cache_size_mb), make()
    ask(cache, vendor, ["A", "BB"], 0, 20)
    ask(cache, vendor, ["A", "BB"], 1, 20)  # Remembered as a whole.
    key = segment_of(cache, "BB")
    path = cache.cache_directory / cache.lookup_cache(key)["parquet_path"]
    other.close()
    if how == "clear":
        other = make()
        other.clear_cache(key)
    elif how == "clear all":
        other = make()
        other.clear_cache()
    elif how == "corrupt":
        path.write_bytes(b"x" + path.read_bytes()[1:])
        other = make()
        assert other.get_cached_data(key) is None, "noticed, and dropped"
    else:
        with sqlite3.connect(cache.db_path) as connection:
            connection.execute("DELETE FROM cache_entries WHERE cache_key = ?", (key,))
        connection.close()
        wait_for_foreign_write(cache)
    vendor.factor = 2.0
    for first in (2, 1):  # A new window, and the one that was remembered.
        vendor.calls.clear()
        answer = ask(cache, vendor, ["A", "BB"], first, 20, overlap=0)
        own = vendor(["BB"], *days(first, 20), "1d")
        assert_frame_equal(answer.filter(symbol="BB"), own)
        if first == 2:
            asked = {symbol for symbols, *_ in vendor.calls[:-1] for symbol in symbols}
            assert asked == ({"A", "BB"} if how == "clear all" else {"BB"})


def wait_for_foreign_write(cache):
    """Writes that no counter announces are looked for twice a second."""
    import time

    before = time.monotonic()
    while time.monotonic() - before < 0.6:
        cache.get_cached_data("no such key")


def test_bytes_that_went_wrong_on_disk_are_never_joined(make, vendor):
    cache = make(hot_cache_size_mb=0)
    ask(cache, vendor, SYMBOLS, 0, 20)
    key = segment_of(cache, "CCC")
    path = cache.cache_directory / cache.lookup_cache(key)["parquet_path"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    vendor.calls.clear()
    answer = ask(cache, vendor, SYMBOLS, 1, 19)
    assert [symbols for symbols, *_ in vendor.calls] == [("CCC",)]
    assert_frame_equal(answer, vendor(SYMBOLS, *days(1, 19), "1d"))


def test_a_restatement_in_another_process_is_in_the_next_answer(make, vendor):
    cache, other = make(), make()
    ask(cache, vendor, ["A", "BB"], 0, 20)
    vendor.factor = 3.0
    ask(other, vendor, ["A", "BB"], 0, 30)  # The overlap tells.
    vendor.calls.clear()
    answer = ask(cache, vendor, ["A", "BB"], 4, 17)
    assert vendor.calls == []
    assert_frame_equal(answer, vendor(["A", "BB"], *days(4, 17), "1d"))


def test_provisional_bars_are_fetched_again_when_the_time_has_come(cache, vendor):
    clock = [datetime(2020, 1, 17, 12).timestamp()]
    cache._bar_reader.clock = lambda: clock[0]
    ask(cache, vendor, ["A", "BB"], 0, 9)
    vendor.calls.clear()
    ask(cache, vendor, ["A", "BB"], 0, 10, overlap=0)
    assert vendor.calls == [(("A", "BB"), FIRST + timedelta(10), FIRST + timedelta(10))]
    clock[0] += 7 * 86_400
    vendor.calls.clear()
    for _ in range(3):
        ask(cache, vendor, ["A", "BB"], 1, 10, overlap=0)
    assert vendor.calls == [(("A", "BB"), FIRST + timedelta(10), FIRST + timedelta(10))]


def test_an_answer_given_offline_is_not_remembered_for_others(cache, vendor):
    clock = [datetime(2020, 1, 8, 12).timestamp()]
    cache._bar_reader.clock = lambda: clock[0]
    ask(cache, vendor, "A", 0, 2)
    clock[0] += 86_400 * 5
    vendor.factor = 2.0
    old = ask(cache, vendor, "A", 1, 2, offline=True)
    vendor.calls.clear()
    new = ask(cache, vendor, "A", 1, 2)
    assert vendor.calls
    assert new["close"][-1] == 2 * old["close"][-1]
    with pytest.raises(PartialCoverage):
        ask(cache, vendor, "A", 1, 3, offline=True)


def test_uses_and_links_are_counted_for_every_segment(cache, vendor):
    ask(cache, vendor, ["A", "BB"], 0, 20)
    keys = [segment_of(cache, symbol) for symbol in ("A", "BB")]
    hits = cache.session_stats["hit_count"]
    ask(cache, vendor, ["A", "BB"], 1, 19, backtest_id="bt-1")
    assert cache.session_stats["hit_count"] == hits + 2
    with cache.backtest("bt-2"):
        ask(cache, vendor, "A", 2, 19)
    assert cache.backtests(keys[0]) == ["bt-1", "bt-2"]
    assert cache.backtests(keys[1]) == ["bt-1"]
    assert cache.lookup_cache(keys[0])["access_count"] == 3


def test_merged_segments_answer_the_same(cache, vendor):
    for first in range(0, 60, 4):
        ask(cache, vendor, ["A", "BB"], first, first + 3, overlap=0)
    before = ask(cache, vendor, ["A", "BB"], 3, 50)
    cache._merge_now("vendor", "1d", "", ["A", "BB"], "date", 2)
    assert_frame_equal(ask(cache, vendor, ["A", "BB"], 3, 50), before)
    assert_frame_equal(
        ask(cache, vendor, ["A", "BB"], 4, 50),
        before.filter(date=before["date"]).filter(pl.col("date") >= days(4, 4)[0]),
    )


def test_threads_ask_while_others_merge_and_clear(make, vendor):
    cache, other = make(), make(hot_cache_size_mb=0)
    for first in range(0, 60, 3):
        ask(cache, vendor, SYMBOLS, first, first + 2, overlap=0)
    ends = threading.Event()
    wrong = []

    def work(manager, seed):
        r = random.Random(seed)
        for _ in range(20):
            symbols = sorted(r.sample(SYMBOLS, r.randint(1, 4)))
            first = r.randint(0, 58)
            last = r.randint(first, 59)
            own = pl.concat([vendor.bars(symbol, *days(first, last)) for symbol in symbols])
            if not ask(manager, vendor, symbols, first, last, overlap=0).equals(own):
                wrong.append((symbols, first, last))

    def disturb():
        r = random.Random(0)
        while not ends.is_set():
            other._merge_now("vendor", "1d", "", SYMBOLS, "date", 2)
            if keys := [key for key in other.entries() if key.startswith("seg:")]:
                other.clear_cache(r.choice(keys))

    disturber = threading.Thread(target=disturb)
    disturber.start()
    workers = [
        threading.Thread(target=work, args=(manager, seed))
        for seed, manager in enumerate((cache, cache, other))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    ends.set()
    disturber.join()
    assert wrong == []


def test_a_closed_cache_says_so(cache, vendor):
    ask(cache, vendor, "A", 0, 9)
    ask(cache, vendor, "A", 1, 9)
    cache.close()
    for first in (1, 2):
        with pytest.raises(CacheClosed):
            ask(cache, vendor, "A", first, 9)


MEMORY = """
    import gc, os, sys
    from datetime import date, timedelta
    from barcache import CacheManager
    from barcache.bench.universe import Universe

    folder, task, budget_mb = sys.argv[1], sys.argv[2], 96

    def resident_mb():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

    def ask(cache, symbols, first, last, fetch):
        ends = (date(2016, 1, 1) + timedelta(days=day) for day in (first, last))
        return cache.get_or_fetch(symbols, *ends, "1d", "universe", fetch)

    def refuse(*_):
        raise AssertionError("all of it is cached")

    symbols = [f"S{number:04}" for number in range(900)]
    hot = 0 if task == "fill" else budget_mb
    cache = CacheManager(f"{folder}/m.db", f"{folder}/c", hot_cache_size_mb=hot)
    if task == "fill":
        universe = Universe(900, date(2016, 1, 1), date(2023, 12, 31))
        for first in range(0, 900, 100):
            ask(cache, symbols[first:first + 100], 0, 2900, universe.fetch)
        sys.exit()
    ask(cache, symbols[:20], 1, 2000, refuse)
    keys = dict(cache.coverage().filter(state="data").select("symbol", "segment_key").iter_rows())
    cache.hot_cache.clear()
    gc.collect()
    before = resident_mb()
    for turn in range(90):
        some = symbols[turn * 10:turn * 10 + 10]
        for symbol in some:  # Read by this thread: those of the crew have arenas of their own.
            cache.get_cached_data(keys[symbol])
        for _ in range(2):  # The second time it is remembered.
            ask(cache, some, turn, 2800, refuse)
    gc.collect()
    remembered_bytes = cache._bar_reader._remembered_bytes
    print((resident_mb() - before) / budget_mb, remembered_bytes / 2**20 / budget_mb)
    charged = (cache.hot_cache.current_size_bytes + remembered_bytes) / 2**20 / budget_mb
    print(charged, len(cache.hot_cache) < 900)
"""


def test_answers_that_are_remembered_count_in_the_hot_tiers_budget(tmp_path):
    def run(task):
        command = [sys.executable, "-c", textwrap.dedent(MEMORY), str(tmp_path), task]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    run("fill")
    resident, remembered, charged, evicted = run("read")
    assert 0.05 < float(remembered) <= 1 / 8
    assert evicted == "True"
    assert 0.7 < float(charged) <= 1
    assert 0.7 < float(resident) < 1.05
