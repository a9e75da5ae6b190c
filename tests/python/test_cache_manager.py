"""CacheManager as the guide and the contract describe it: frames, statistics, links, settings."""

import inspect
import json
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from barcache import (
    CacheManager,
    InvalidArgument,
    InvalidType,
    LRUCache,
)
from polars.testing import assert_frame_equal

MB = 1024 * 1024
ROW_NAMES = [
    "cache_key",
    "dataset_id",
    "parquet_path",
    "checksum",
    "created_at",
    "last_accessed",
    "access_count",
    "size_bytes",
]


def noise(rows, seed=0):
    """A frame whose file takes about 8 bytes a row, whatever the encoding."""
    state = (pl.int_range(rows, eager=True).cast(pl.UInt64) + seed * 7919).hash(seed=seed)
    return pl.DataFrame({"noise": state})


def small(value=1.0):
    return pl.DataFrame({"close": [value, value + 1]})


# --- construction and settings --------------------------------------------------------------


def test_the_defaults_are_the_guides(make):
    cache = make()

    assert cache.hot_cache.max_size_bytes == 1024 * MB
    assert cache.cold_cache_size_mb == 10240
    assert cache.eviction_policy == "lru"
    assert isinstance(cache.hot_cache, LRUCache)
    assert inspect.signature(CacheManager).parameters["busy_timeout_s"].default == 30


def test_positional_arguments_have_the_guides_order(tmp_path):
    cache = CacheManager(str(tmp_path / "m.db"), str(tmp_path / "cache"), 1, 2, "size")

    assert cache.hot_cache.max_size_bytes == MB
    assert cache.cold_cache_size_mb == 2
    assert cache.eviction_policy == "size"
    cache.close()


def test_missing_parents_are_made_and_paths_may_be_path_objects(tmp_path):
    with CacheManager(tmp_path / "a" / "b" / "m.db", tmp_path / "c" / "d") as cache:
        cache.put_cached_data("key1", small(), dataset_id=1)
        assert isinstance(cache.cache_directory, Path)
        assert cache.cache_directory == tmp_path / "c" / "d"

    assert (tmp_path / "a" / "b" / "m.db").exists()
    assert len(list((tmp_path / "c" / "d").glob("*.parquet"))) == 1


def test_any_attribute_may_be_set(cache):
    cache.test_dataset_id = 7

    assert cache.test_dataset_id == 7


def test_a_subclass_is_a_manager(tmp_path):
    class Mine(CacheManager):
        def get_cached_data(self, cache_key, **options):
            frame = super().get_cached_data(cache_key, **options)
            return small(9.0) if frame is None else frame

    with Mine(tmp_path / "m.db", tmp_path / "cache") as cache:
        assert_frame_equal(cache.get_cached_data("key1"), small(9.0))
        cache.put_cached_data("key1", small(), dataset_id=1)
        assert_frame_equal(cache.get_cached_data("key1"), small())
        with cache.backtest("bt-1"):
            cache.get_cached_data("key1")
        assert cache.backtests("key1") == ["bt-1"]


def test_sizes_may_be_fractions_of_a_megabyte(make):
    cache = make(hot_cache_size_mb=0.01, cold_cache_size_mb=0.02)

    assert cache.hot_cache.max_size_bytes == int(0.01 * MB)
    cache.put_cached_data("key1", noise(1000), dataset_id=1)
    cache.put_cached_data("key2", noise(1000, seed=1), dataset_id=1)
    cache.put_cached_data("key3", noise(1000, seed=2), dataset_id=1)
    assert cache.entries() == ["key2", "key3"]
    cache.cold_cache_size_mb = 0.01
    assert cache.cold_cache_size_mb == 0.01
    assert cache.entries() == ["key2", "key3"]  # Assigning evicts nothing by itself.
    cache._check_cold_cache_eviction()
    assert cache.entries() == ["key3"]
    assert cache._get_total_cache_size_mb() <= 0.01


def test_size_0_switches_a_tier_off(make, tmp_path):
    no_memory = make(hot_cache_size_mb=0)
    no_memory.put_cached_data("key1", small(), dataset_id=1)
    assert_frame_equal(no_memory.get_cached_data("key1"), small())
    assert_frame_equal(no_memory.get_cached_data("key1"), small())
    assert no_memory.session_stats == {
        "hit_count": 2,
        "miss_count": 0,
        "hot_hits": 0,
        "cold_hits": 2,
    }
    assert no_memory.hot_cache.get_stats() == {"entry_count": 0, "total_size_mb": 0.0}

    folder = tmp_path / "none"
    no_disk = make(tmp_path / "none.db", folder, cold_cache_size_mb=0)
    no_disk.put_cached_data("key1", small(), dataset_id=1)
    assert_frame_equal(no_disk.get_cached_data("key1"), small())
    assert_frame_equal(no_disk.get_cached_data("key1", columns=["close"]), small())
    assert no_disk.lookup_cache("key1") is None
    assert list(folder.iterdir()) == []
    assert no_disk.session_stats["hot_hits"] == 2

    neither = make(tmp_path / "x.db", tmp_path / "x", cold_cache_size_mb=0, hot_cache_size_mb=0)
    neither.put_cached_data("key1", small(), dataset_id=1)
    assert neither.get_cached_data("key1") is None


def test_switching_the_disk_off_later_serves_and_then_removes_what_is_there(make):
    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.cold_cache_size_mb = 0

    assert_frame_equal(cache.get_cached_data("key1"), small())
    cache.put_cached_data("key1", small(5.0), dataset_id=1)
    assert_frame_equal(cache.get_cached_data("key1"), small(5.0))
    assert cache.lookup_cache("key1") is None
    cache._check_cold_cache_eviction()
    assert list(cache.cache_directory.iterdir()) == []


# --- keys and frames ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbols", "rest", "key"),
    [
        (["AAPL", "MSFT"], ("2023-01-01", "2023-12-31", "1d", "yfinance"), "8a3c9ff46519d39e"),
        (["MSFT", "AAPL"], ("2023-01-01", "2023-12-31", "1d", "yfinance"), "8a3c9ff46519d39e"),
        (["AAPL"], ("2023-01-01", "2023-12-31", "1d", "yfinance"), "4ff5fe09fae53c37"),
        (
            ["é", "BTC/USDT"],
            ("2023-01-01", "2023-12-31", "1m", "ccxt:binance"),
            "5f8abf793745c56e",
        ),
        ([], ("", "", "", ""), "9475445033baab9f"),
        ("AAPL", ("1", "2", "1d", "y"), "22bb40867bb39b15"),
    ],
)
def test_keys_are_those_of_rustybt(cache, symbols, rest, key):
    assert cache.generate_cache_key(symbols, *rest) == key


def test_keys_keep_duplicates_and_other_json_values_and_refuse_the_rest(cache):
    def key(symbols, start="2023-01-01"):
        return cache.generate_cache_key(symbols, start, "2023-12-31", "1d", "yfinance")

    assert key(["AAPL", "AAPL"]) != key(["AAPL"])
    assert key(["AAPL"], "2023-01-01T00:00:00") != key(["AAPL"])
    assert len(key([1, 2], None)) == 16
    assert key(("AAPL",)) == key(["AAPL"])
    symbols = ["b", "a"]
    key(symbols)
    assert symbols == ["b", "a"]  # The caller's list stays as it was.
    with pytest.raises(TypeError):
        key(["AAPL"], datetime(2023, 1, 1))
    with pytest.raises(TypeError):
        key(None)


def test_a_miss_is_none_whatever_the_key(cache):
    for key in ("nonexistent", "", "a\0b", "\ud800", "é" * 500, "../evil", "x" * 10_000):
        assert cache.get_cached_data(key) is None
        assert cache.lookup_cache(key) is None
        assert key not in cache
        cache.clear_cache(cache_key=key or "unknown")
    assert cache.session_stats["miss_count"] == 7


@pytest.mark.parametrize("key", ["key1", "abc123def456", "é/../☃", "a b", "x" * 10_000, ".", "~"])
def test_any_text_is_a_key(make, key):
    cache = make()
    cache.put_cached_data(key, small(), dataset_id=1)
    cache.close()

    again = make()
    assert_frame_equal(again.get_cached_data(key), small())
    assert again.lookup_cache(key)["cache_key"] == key
    assert again.entries() == [key]


def test_lookup_answers_the_row_of_the_guide(cache):
    before = int(time.time())
    cache.put_cached_data("key1", small(), 42)
    row = cache.lookup_cache("key1")

    assert list(row) == ROW_NAMES
    assert row["cache_key"] == "key1"
    assert row["dataset_id"] == 42
    file = cache.cache_directory / row["parquet_path"]
    assert row["size_bytes"] == file.stat().st_size
    assert before <= row["created_at"] <= row["last_accessed"] <= time.time()
    assert len(row["checksum"]) == 64
    row["access_count"] = 99  # A copy.
    assert cache.lookup_cache("key1")["access_count"] == 1


def test_access_count_starts_at_1_and_every_hit_adds_1_at_once(make):
    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)
    assert cache.lookup_cache("key1")["access_count"] == 1
    for hit in range(5):
        cache.get_cached_data("key1")
        assert cache.lookup_cache("key1")["access_count"] == 2 + hit
    cache.get_cached_data("key1", columns=["close"])
    cache.get_cached_data("key1", frame="arrow")
    assert cache.lookup_cache("key1")["access_count"] == 8
    assert cache.get_cache_statistics()["avg_access_count"] == 8.0
    cache.close()

    assert make(read_only=True).lookup_cache("key1")["access_count"] == 8


def test_dataset_ids_are_not_enforced(cache):
    for dataset_id in (1, 0, -5, 2**62):
        cache.put_cached_data("key1", small(), dataset_id)
        assert cache.lookup_cache("key1")["dataset_id"] == dataset_id


def test_a_replacement_keeps_created_at_links_and_counts_as_new(cache):
    cache.put_cached_data("key1", small(), dataset_id=1, backtest_id="bt-1")
    first = cache.lookup_cache("key1")
    cache.put_cached_data("key1", small(7.0), dataset_id=2, backtest_id="bt-2")
    second = cache.lookup_cache("key1")

    assert_frame_equal(cache.get_cached_data("key1"), small(7.0))
    assert second["created_at"] == first["created_at"]
    assert second["dataset_id"] == 2
    assert cache.backtests("key1") == ["bt-1", "bt-2"]
    assert [path.name for path in cache.cache_directory.iterdir()] == [second["parquet_path"]]
    assert len(cache) == 1


def test_columns_are_a_part_of_the_frame_in_the_order_asked(make, bars):
    cache = make()
    cache.put_cached_data("key1", bars, dataset_id=1)
    for tier in ("hot", "cold"):
        if tier == "cold":
            cache.hot_cache.clear()
        got = cache.get_cached_data("key1", columns=["volume", "symbol"])
        assert_frame_equal(got, bars.select("volume", "symbol"))
        assert_frame_equal(cache.get_cached_data("key1"), bars)
    assert cache.get_cached_data("unknown", columns=["volume"]) is None


def test_len_in_and_repr(make, tmp_path):
    cache = make()
    assert len(cache) == 0
    assert cache  # An empty cache is a cache.
    cache.put_cached_data("key1", small(), dataset_id=1)

    assert len(cache) == 1
    assert "key1" in cache
    assert "key2" not in cache
    assert 5 not in cache
    assert cache.session_stats["miss_count"] == 0  # Asking is no use.
    assert cache.lookup_cache("key1")["access_count"] == 1
    assert str(tmp_path) in repr(cache)
    assert "1 entr" in repr(cache)
    cache.close()
    assert "closed" in repr(cache)


def test_notebooks_show_a_table(make):
    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.get_cached_data("key1")
    shown = cache._repr_html_()

    assert shown.startswith("<table>")
    assert "100.0%" in shown
    assert "lru" in shown
    cache.close()
    assert "closed" in cache._repr_html_()


def test_notebooks_show_paths_as_text(make, tmp_path):
    cache = make(cache_directory=tmp_path / "<b>bold</b>")

    assert "<b>" not in cache._repr_html_()


# --- :memory: -------------------------------------------------------------------------------


def test_a_catalog_in_memory_works_and_ends_with_its_cache(tmp_path):
    import sqlalchemy as sa

    folder = tmp_path / "cache"
    with (
        CacheManager(":memory:", str(folder)) as cache,
        CacheManager(":memory:", str(folder)) as other,
    ):
        cache.put_cached_data("key1", small(), dataset_id=1, backtest_id="bt-1")
        assert_frame_equal(cache.get_cached_data("key1"), small())
        cache.hot_cache.clear()
        assert_frame_equal(cache.get_cached_data("key1"), small())
        assert other.get_cached_data("key1") is None
        with cache.metadata_catalog.engine.connect() as connection:
            entries = cache.metadata_catalog.cache_entries
            rows = connection.execute(sa.select(entries.c.cache_key)).scalars().all()
        assert rows == ["key1"]
        other.clear_cache()
        cache.hot_cache.clear()
        assert_frame_equal(cache.get_cached_data("key1"), small())
    with CacheManager(":memory:", str(folder)) as cache:
        assert cache.get_cached_data("key1") is None


# --- statistics -----------------------------------------------------------------------------


def test_statistics_have_the_guides_keys_and_count_this_run(make):
    cache = make()
    empty = cache.get_cache_statistics()
    assert list(empty) == [
        "hit_count",
        "miss_count",
        "hit_rate",
        "total_size_mb",
        "entry_count",
        "avg_access_count",
        "session_stats",
    ]
    assert empty["hit_rate"] == 0.0
    assert empty["avg_access_count"] == 0.0
    cache.get_cached_data("key1")
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.get_cached_data("key1")
    cache.hot_cache.clear()
    cache.get_cached_data("key1")
    cache.get_cached_data("key1")
    statistics = cache.get_cache_statistics()

    assert statistics["session_stats"] == {
        "hit_count": 3,
        "miss_count": 1,
        "hot_hits": 2,
        "cold_hits": 1,
    }
    assert (statistics["hit_count"], statistics["miss_count"]) == (3, 1)
    assert statistics["hit_rate"] == 0.75
    assert statistics["entry_count"] == 1
    size_bytes = cache.lookup_cache("key1")["size_bytes"]
    assert statistics["total_size_mb"] == size_bytes / MB
    assert statistics["avg_access_count"] == 4.0
    json.dumps(statistics)


def test_dates_bound_the_recorded_days_at_both_ends(make, tmp_path):
    import sqlite3

    cache = make(record_on_close=False)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=age) for age in (10, 5, 1)]
    with sqlite3.connect(tmp_path / "metadata.db") as connection:
        connection.executemany(
            "INSERT INTO cache_statistics (stat_date, hit_count, miss_count, total_size_mb) "
            "VALUES (?, ?, 1, 0.0)",
            [(int(day.timestamp()), 10**index) for index, day in enumerate(days)],
        )
    connection.close()

    def hits(start=None, end=None):
        return cache.get_cache_statistics(start, end)["hit_count"]

    def iso(day):
        return day.date().isoformat()

    assert hits() == 111
    assert hits(iso(days[0]), iso(days[2])) == 111
    assert hits(iso(days[1])) == 110
    assert hits(end=iso(days[1])) == 11
    assert hits(iso(days[1]), iso(days[1])) == 10
    assert hits(days[1].date(), days[1].date()) == 10  # Dates as dates.
    assert hits(days[1], days[1] + timedelta(hours=3)) == 10  # And as moments within them.
    assert hits(days[1] + timedelta(hours=3), days[1].date()) == 10
    assert hits("2001-01-01", "2001-12-31") == 0
    assert hits("0001-01-01", "9999-12-31") == 111
    statistics = cache.get_cache_statistics(iso(days[1]), iso(days[1]))
    assert statistics["hit_rate"] == pytest.approx(10 / 11)


def test_the_unrecorded_part_belongs_to_today_alone(cache):
    cache.get_cached_data("key1")
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)

    assert cache.get_cache_statistics()["miss_count"] == 1
    assert cache.get_cache_statistics(str(today), str(today))["miss_count"] == 1
    assert cache.get_cache_statistics(str(yesterday))["miss_count"] == 1
    assert cache.get_cache_statistics(end_date=str(yesterday))["miss_count"] == 0
    assert cache.get_cache_statistics(yesterday, yesterday)["session_stats"]["miss_count"] == 1
    cache.record_daily_statistics()
    assert cache.get_cache_statistics(str(today), str(today))["miss_count"] == 1
    assert cache.get_cache_statistics(end_date=str(yesterday))["miss_count"] == 0


@pytest.mark.parametrize("bad", ["yesterday", "2023-13-01", "", "2023-01-01 nonsense", "20 23"])
def test_malformed_dates_are_refused_with_an_example(cache, bad):
    with pytest.raises(ValueError, match="2023-01-31") as caught:
        cache.get_cache_statistics(start_date=bad)
    assert isinstance(caught.value, InvalidArgument)
    with pytest.raises(InvalidArgument, match="end_date"):
        cache.get_cache_statistics(end_date=bad)


def test_dates_of_other_types_and_in_the_wrong_order_are_refused(cache):
    with pytest.raises(InvalidType, match="start_date"):
        cache.get_cache_statistics(start_date=20230101)
    with pytest.raises(InvalidArgument, match="before"):
        cache.get_cache_statistics(date(2023, 1, 2), date(2023, 1, 1))


def test_recorded_days_are_kept_and_added_to(make):
    first = make()
    first.get_cached_data("key1")
    first.record_daily_statistics()
    first.get_cached_data("key1")
    first.close()
    second = make(record_on_close=False)
    second.get_cached_data("key1")
    assert second.get_cache_statistics()["miss_count"] == 3
    assert second.session_stats["miss_count"] == 1
    second.close()

    assert make().get_cache_statistics()["miss_count"] == 2


def test_session_stats_can_be_set_as_a_whole_and_one_by_one(make):
    cache = make()
    cache.get_cached_data("key1")
    cache.session_stats = {"hit_count": 0, "miss_count": 0, "hot_hits": 0, "cold_hits": 0}
    assert cache.session_stats["miss_count"] == 0
    cache.get_cached_data("key1")
    assert cache.session_stats["miss_count"] == 1
    cache.session_stats["hit_count"] += 5
    assert cache.session_stats == {
        "hit_count": 5,
        "miss_count": 1,
        "hot_hits": 0,
        "cold_hits": 0,
    }
    # What was counted stays in the statistics of the day.
    assert cache.get_cache_statistics()["miss_count"] == 2


def test_setting_one_counter_leaves_what_the_others_counted_since(cache):
    stats = cache.session_stats
    cache.get_cached_data("key1")
    stats["hit_count"] = 3

    assert cache.session_stats["miss_count"] == 1
    stats.update(hot_hits=2)
    assert cache.session_stats == {
        "hit_count": 3,
        "miss_count": 1,
        "hot_hits": 2,
        "cold_hits": 0,
    }


def test_session_stats_copies_are_plain(cache):
    copied = cache.session_stats.copy()
    assert type(copied) is dict
    copied["miss_count"] = 100
    cache.get_cache_statistics()["session_stats"]["miss_count"] = 100

    assert cache.session_stats["miss_count"] == 0
    assert json.loads(json.dumps(cache.session_stats))["miss_count"] == 0


@pytest.mark.parametrize("bad", [None, 5, "hits", {"hit_count": "many"}, {"hit_count": None}])
def test_session_stats_take_a_dict_of_numbers_only(cache, bad):
    with pytest.raises(InvalidType, match="session_stats"):
        cache.session_stats = bad
    assert cache.session_stats["hit_count"] == 0


# --- eviction -------------------------------------------------------------------------------


def file_mb(cache, key):
    return cache.lookup_cache(key)["size_bytes"] / MB


def test_lru_evicts_the_oldest_use_first(make):
    cache = make(eviction_policy="lru")
    for index, key in enumerate(["a", "b", "c", "d"]):
        cache.put_cached_data(key, noise(2000, seed=index), dataset_id=1)
    cache.get_cached_data("a")  # A hot hit counts as a use.
    cache.cold_cache_size_mb = 2.5 * file_mb(cache, "a")
    cache._check_cold_cache_eviction()

    assert cache.entries() == ["a", "d"]
    assert cache.get_cached_data("b") is None


def test_size_evicts_the_largest_first(make):
    cache = make(eviction_policy="size")
    for key, rows in [("small", 500), ("large", 5000), ("medium", 2000), ("tiny", 100)]:
        cache.put_cached_data(key, noise(rows), dataset_id=1)
    cache.get_cached_data("large")
    cache.cold_cache_size_mb = cache._get_total_cache_size_mb() - 0.001
    cache._check_cold_cache_eviction()
    assert cache.entries() == ["medium", "small", "tiny"]
    cache.cold_cache_size_mb = file_mb(cache, "small") + file_mb(cache, "tiny")
    cache._check_cold_cache_eviction()
    assert cache.entries() == ["small", "tiny"]


def test_hybrid_evicts_the_largest_of_the_less_recently_used_half(make):
    cache = make(eviction_policy="hybrid")
    for key, rows in [("old", 500), ("old large", 2000), ("new large", 5000), ("new", 500)]:
        cache.put_cached_data(key, noise(rows), dataset_id=1)
    cache.cold_cache_size_mb = cache._get_total_cache_size_mb() - 0.001
    cache._check_cold_cache_eviction()

    assert cache.entries() == ["new", "new large", "old"]


def test_a_policy_may_be_assigned(make):
    cache = make()
    cache.put_cached_data("old", noise(500), dataset_id=1)
    cache.put_cached_data("large", noise(5000), dataset_id=1)
    cache.cold_cache_size_mb = cache._get_total_cache_size_mb() - 0.001
    cache.eviction_policy = "size"
    assert cache.eviction_policy == "size"
    assert len(cache) == 2  # Assigning evicts nothing by itself.
    cache._check_cold_cache_eviction()
    assert cache.entries() == ["old"]
    with pytest.raises(InvalidArgument, match="hybrid"):
        cache.eviction_policy = "bogus"
    assert cache.eviction_policy == "size"


@pytest.mark.parametrize("policy", ["lru", "size", "hybrid"])
def test_a_put_returns_within_the_limit(make, policy):
    cache = make(cold_cache_size_mb=0.05, eviction_policy=policy)
    for index in range(12):
        cache.put_cached_data(f"key{index}", noise(1000 + 100 * index, seed=index), dataset_id=1)
        on_disk = sum(path.stat().st_size for path in cache.cache_directory.iterdir())
        assert on_disk <= 0.05 * MB
        assert cache._get_total_cache_size_mb() == on_disk / MB
        assert f"key{index}" in cache
    assert len(cache) > 1


@pytest.mark.parametrize(
    ("method", "left"),
    [
        ("_evict_lru", ["large", "new"]),
        ("_evict_by_size", ["new", "old"]),
        ("_evict_hybrid", ["large", "new"]),
    ],
)
def test_rustybts_names_of_the_policies_evict_by_them(make, method, left):
    cache = make()
    for key, rows in [("old", 500), ("large", 5000), ("new", 500)]:
        cache.put_cached_data(key, noise(rows), dataset_id=1)
    cache.cold_cache_size_mb = cache._get_total_cache_size_mb() - 0.001
    getattr(cache, method)()

    assert cache.entries() == left
    assert cache.eviction_policy == "lru"


def test_rustybts_names_for_one_entry(cache):
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache._update_cache_access("key1")
    assert cache.lookup_cache("key1")["access_count"] == 2
    cache._update_cache_access("unknown")
    cache._delete_cache_entry("key1")
    assert cache.lookup_cache("key1") is None
    assert cache.get_cached_data("key1") is None
    cache._delete_cache_entry("key1")


# --- the hot tier ---------------------------------------------------------------------------


def test_assigning_a_hot_cache_takes_effect_at_once(make, bars):
    cache = make()
    cache.put_cached_data("key1", bars, dataset_id=1)
    cache.hot_cache = LRUCache(max_size_bytes=0)
    cache.get_cached_data("key1")
    cache.get_cached_data("key1")
    assert cache.session_stats["cold_hits"] == 2
    larger = LRUCache(max_size_bytes=2 * MB)
    cache.hot_cache = larger
    assert cache.hot_cache is larger
    cache.get_cached_data("key1")
    cache.get_cached_data("key1")
    assert cache.session_stats["hot_hits"] == 1
    assert larger.get_stats()["entry_count"] == 1
    cache.hot_cache.max_size_bytes = 0
    cache.get_cached_data("key1")
    assert cache.session_stats["cold_hits"] == 4


def test_what_was_never_put_into_the_cache_is_not_served_from_a_tier(make, tmp_path):
    """A tier that was filled elsewhere is checked entry by entry against this catalog."""
    cache = make()
    other = make(tmp_path / "other.db", tmp_path / "other")
    cache.put_cached_data("key1", small(1.0), dataset_id=1)
    other.put_cached_data("key1", small(2.0), dataset_id=1)
    other.put_cached_data("key2", small(3.0), dataset_id=1)
    other.hot_cache = cache.hot_cache

    for _ in range(3):
        assert_frame_equal(other.get_cached_data("key1"), small(2.0))
        assert_frame_equal(cache.get_cached_data("key1"), small(1.0))
        assert_frame_equal(other.get_cached_data("key2"), small(3.0))
        assert cache.get_cached_data("key2") is None


def test_a_tier_may_be_filled_by_hand(make):
    """As in RustyBT: what is put into hot_cache is served until a put or clear of its key."""
    cache = make()
    cache.hot_cache.put("by hand", small(4.0))

    assert_frame_equal(cache.get_cached_data("by hand"), small(4.0))
    cache.put_cached_data("by hand", small(5.0), dataset_id=1)
    assert_frame_equal(cache.get_cached_data("by hand"), small(5.0))
    cache.clear_cache(cache_key="by hand")
    assert cache.get_cached_data("by hand") is None


def test_a_frame_larger_than_the_hot_limit_goes_to_disk(make, events):
    cache = make(hot_cache_size_mb=0.01)
    cache.put_cached_data("key1", noise(5000), dataset_id=1)

    assert_frame_equal(cache.get_cached_data("key1"), noise(5000))
    assert cache.session_stats["cold_hits"] == 1
    assert events.named("dataframe_too_large_for_hot_cache")[0].levelname == "WARNING"


def test_a_slice_is_charged_for_its_rows_alone(make):
    cache = make()
    cache.put_cached_data("key1", noise(1_000_000).slice(10, 100), dataset_id=1)

    assert cache.hot_cache.current_size_bytes <= 100 * 8 + 200 + 64
    assert_frame_equal(cache.get_cached_data("key1"), noise(1_000_000).slice(10, 100))
