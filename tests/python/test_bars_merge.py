"""Small segments become one: no bar is lost or doubled, whatever happens at the same time."""

import json
import resource
import sqlite3
from datetime import date, timedelta

import polars as pl
import pytest
from barcache import CacheIOError
from polars.testing import assert_frame_equal

SERIES = ("vendor", "1d", "")
FIRST = date(2020, 1, 6)


class Vendor:
    def __init__(self):
        self.calls = []
        self.factor = 1.0

    def __call__(self, symbols, start, end, _resolution):
        self.calls.append((tuple(symbols), start, end))
        days = pl.date_range(start, end, eager=True)
        frame = pl.DataFrame({"date": days, "close": days.to_physical() * self.factor})
        return pl.concat([frame.with_columns(symbol=pl.lit(symbol)) for symbol in symbols])


@pytest.fixture
def vendor():
    return Vendor()


def ask(cache, vendor, first, last, symbols="A", **options):
    start, end = (FIRST + timedelta(days=day) for day in (first, last))
    return cache.get_or_fetch(symbols, start, end, "1d", "vendor", vendor, **options)


def top_up(cache, vendor, days, symbols="A", **options):
    for day in days:
        ask(cache, vendor, day, day, symbols, overlap=0, **options)


def merge(cache, symbols=("A",), merge_at=2):
    return cache._merge_now(*SERIES, list(symbols), "date", merge_at)


def segments(cache):
    rows = cache.coverage()
    return set(rows.filter(state="data")["segment_key"]) if rows.height else set()


def files(cache):
    return {path.name for path in cache.cache_directory.glob("*.parquet")}


def test_a_year_of_daily_top_ups_leaves_few_files(cache, vendor):
    for day in range(260):
        ask(cache, vendor, 0, day, ["A", "B"])
    cache._drain_merges()
    assert len(segments(cache)) <= 2 * 16
    vendor.calls.clear()
    whole = ask(cache, vendor, 0, 259, ["A", "B"])
    assert vendor.calls == []
    assert_frame_equal(whole, vendor(["A", "B"], FIRST, FIRST + timedelta(days=259), "1d"))
    assert set(cache.entries()) == segments(cache)
    assert len(files(cache)) == len(segments(cache)), "the files of the others are gone"
    assert cache.check()["clean"]


def test_processes_that_end_at_once_leave_few_files_too(make, vendor):
    for day in range(100):
        with make() as cache:
            top_up(cache, vendor, [day])
    with make() as cache:
        assert len(segments(cache)) <= 33
        ask(cache, vendor, 0, 99)
    assert len(vendor.calls) == 100


def test_links_uses_and_pins_pass_on(cache, vendor):
    top_up(cache, vendor, range(3), backtest_id="bt-1")
    top_up(cache, vendor, range(3, 6), backtest_id="bt-2")
    first, *_ = sorted(segments(cache))
    cache.get_cached_data(first, backtest_id="bt-3")  # Not written to the catalog yet.
    cache.pin(backtest_id="bt-1")
    before = {key: cache._entry(key) for key in segments(cache)}
    assert merge(cache) == 6
    merged = segments(cache)
    assert len(merged) == 2, "what is pinned is merged with what is pinned"
    by_links = {frozenset(cache.backtests(key)): key for key in merged}
    own = {"bt-1", "bt-3"} if "bt-1" in cache_links(before, first) else {"bt-1"}
    assert {frozenset(own), frozenset({"bt-2"} | ({"bt-3"} - own))} == set(by_links)
    pinned = [cache._entry(key)["pinned"] for key in merged]
    assert sorted(pinned) == [False, True]
    assert len(cache.pinned()) == 1
    uses = sum(row["access_count"] for row in before.values())
    assert uses == len(before) + 1, "each was put, one was asked for"
    in_all = sum(cache._entry(key)["access_count"] for key in merged)
    assert in_all == uses + len(merged), "and each of the merged was put"
    for key in merged:
        entry = cache._entry(key)
        request = json.loads(entry["request"])
        assert set(request["merged_from"]) <= set(before)
        assert (request["symbols"], request["data_source"]) == (["A"], "vendor")


def cache_links(before, key):
    return {"bt-1"} if before[key]["pinned"] else {"bt-2"}


def test_a_link_noted_before_a_merge_and_written_after_it_reaches_the_new_segment(make, vendor):
    cache, other = make(), make()
    top_up(cache, vendor, range(4))
    old = sorted(segments(cache))[0]
    assert other.get_cached_data(old, backtest_id="bt-late") is not None
    assert merge(cache) == 4
    other.close()  # Writes its link.
    (new,) = segments(cache)
    assert cache.backtests(new) == ["bt-late"]


def test_a_corrupt_segment_is_dropped_and_the_others_are_merged(cache, vendor):
    top_up(cache, vendor, range(5))
    victim = cache.coverage().row(2, named=True)
    path = cache.cache_directory / cache.lookup_cache(victim["segment_key"])["parquet_path"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert merge(cache) == 4
    states = cache.coverage()["state"].to_list()
    assert states.count("corrupt") == 1
    assert len(segments(cache)) == 1
    vendor.calls.clear()
    whole = ask(cache, vendor, 0, 4, overlap=0)
    lost = FIRST + timedelta(days=2)
    assert vendor.calls == [(("A",), lost, lost)]
    assert_frame_equal(whole, vendor(["A"], FIRST, FIRST + timedelta(days=4), "1d"))


def test_what_was_restated_stays_readable_by_its_key(cache, vendor):
    top_up(cache, vendor, range(4))
    old = segments(cache)
    vendor.factor = 2.0
    ask(cache, vendor, 0, 5)  # The overlap tells.
    top_up(cache, vendor, range(6, 9))
    merge(cache)
    for key in old:
        assert cache.get_cached_data(key) is not None, "a merge does not touch it"
    assert_frame_equal(
        ask(cache, vendor, 0, 8), vendor(["A"], FIRST, FIRST + timedelta(days=8), "1d")
    )


def test_segments_of_other_columns_stay_apart(cache, vendor):
    def wider(*request):
        return vendor(*request).with_columns(volume=pl.lit(1))

    top_up(cache, vendor, range(3))
    top_up(cache, wider, range(3, 5))
    top_up(cache, vendor, range(5, 8))
    before = ask(cache, vendor, 0, 7)
    assert merge(cache) == 6
    assert len(segments(cache)) == 3
    assert_frame_equal(ask(cache, vendor, 0, 7, columns=before.columns), before)


def test_provisional_bars_stay_apart(cache, vendor):
    today = (date.today() - FIRST).days
    top_up(cache, vendor, range(today - 6, today + 1))
    provisional = set(cache.coverage().filter(state="provisional")["segment_key"])
    assert provisional
    merge(cache)
    rows = cache.coverage()
    assert set(rows.filter(state="provisional")["segment_key"]) == provisional
    assert rows.filter(state="data")["segment_key"].n_unique() == 1


def test_the_ages_of_answers_are_kept(cache, vendor):
    clock = [1_700_000_000]
    cache._bar_reader.clock = lambda: clock[0]
    for day in range(3):
        clock[0] += 1000
        top_up(cache, vendor, [day])
    before = cache.coverage().drop("segment_key")
    assert merge(cache) == 3
    assert_frame_equal(cache.coverage().drop("segment_key"), before)


@pytest.mark.parametrize("how", ["clear", "rustybt", "put"])
def test_a_removal_by_others_wins(make, vendor, how):
    cache, other = make(), make()
    top_up(cache, vendor, range(4))
    key = cache.coverage().row(1, named=True)["segment_key"]
    cache._drain_merges()
    if how == "clear":
        other.clear_cache(key)
    elif how == "put":
        other.put_cached_data(key, pl.DataFrame({"close": [1.0]}), dataset_id=1)
    else:
        other.close()
        with sqlite3.connect(cache.db_path) as connection:
            connection.execute("DELETE FROM cache_entries WHERE cache_key = ?", (key,))
        connection.close()
    merge(cache)
    vendor.calls.clear()
    whole = ask(cache, vendor, 0, 3, overlap=0)
    missing = FIRST + timedelta(days=1)
    assert vendor.calls == [(("A",), missing, missing)]
    assert_frame_equal(whole, vendor(["A"], FIRST, FIRST + timedelta(days=3), "1d"))


def test_clearing_everything_leaves_nothing_to_a_merge(make, vendor):
    cache, other = make(), make()
    top_up(cache, vendor, range(4))
    other.clear_cache()
    assert merge(cache) == 0
    assert cache.entries() == []


def test_a_merge_is_logged_at_the_end_of_the_next_call(cache, vendor, events):
    top_up(cache, vendor, range(7))
    cache._fetched_bars(cache._ledger_look(*SERIES, ["A"]), "date")  # As if there were one more.
    cache._drain_merges()
    assert events.named("bars_merged") == []
    top_up(cache, vendor, [7])
    cache._drain_merges()
    cache.get_cached_data("no such key")
    (record,) = events.named("bars_merged")
    assert record.levelname == "INFO"
    assert (record.series, record.segments, record.merged_into) == (1, 8, 1)


def test_a_read_only_cache_merges_nothing(make, vendor):
    with make() as cache:
        top_up(cache, vendor, range(7))
    with make(read_only=True) as cache:
        ask(cache, vendor, 0, 6)
        before = cache.entries()
        cache._drain_merges()
        assert cache.entries() == before


def test_on_a_full_disk_nothing_is_merged_and_that_is_said_once(make, vendor, events):
    for day in range(8):
        with make() as cache:  # It ends before anything is merged.
            top_up(cache, vendor, [day])
    cache = make()
    before = cache.entries()
    series = cache._ledger_look(*SERIES, ["A"])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(CacheIOError):
            merge(cache)
        for _ in range(3):
            cache._fetched_bars(series, "date")
            cache._drain_merges()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cache.entries() == before
    assert len(files(cache)) == len(before)
    ask(cache, vendor, 0, 6)
    assert len(events.named("bars_not_merged")) == 1
    top_up(cache, vendor, [8])
    cache._drain_merges()
    assert len(segments(cache)) == 1


def test_who_asks_every_minute_leaves_no_segment_for_each_time(make, vendor):
    cache = make()
    clock = [1_578_560_400]  # 2020-01-09 09:00 UTC: the bars of two days are provisional.
    cache._bar_reader.clock = lambda: clock[0]
    for minute in range(60):
        clock[0] += 60
        vendor.factor = 1.0 + minute
        answer = ask(cache, vendor, 0, 3, backtest_id=f"bt-{minute}", overlap=0)
        assert answer["close"][-1] == vendor(["A"], *[FIRST + timedelta(3)] * 2, "1d")["close"][0]
        if minute == 30:
            (newest,) = set(cache.coverage().filter(state="provisional")["segment_key"])
            cache.pin(newest)
    assert len(cache.entries()) == 3, "the final bars, the newest, and what is pinned"
    assert len(files(cache)) == 3
    assert cache.get_cached_data(newest) is not None
    (last,) = set(cache.coverage().filter(state="provisional")["segment_key"])
    assert {f"bt-{minute}" for minute in range(31, 60)} <= set(cache.backtests(last))
