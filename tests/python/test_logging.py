"""The log: the logger `barcache`, RustyBT's event names, fields and levels; silent by default."""

import logging
import subprocess
import sys

import polars as pl
import pytest
from barcache import LRUCache

MB = 1024 * 1024


def noise(rows, seed=0):
    return pl.DataFrame(
        {"noise": (pl.int_range(rows, eager=True).cast(pl.UInt64) + seed * 7919).hash(seed=seed)}
    )


def small():
    return pl.DataFrame({"close": [1.0, 2.0]})


STANDARD = set(vars(logging.makeLogRecord({}))) | {"event", "message", "asctime", "taskName"}


def fields_of(record):
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


def the_one(events, name, level):
    [record] = events.named(name)
    assert record.levelname == level
    assert record.name == "barcache"
    fields = fields_of(record)
    text = record.getMessage()
    assert text.split(" ")[0] == name
    for field, value in fields.items():
        assert f" {field}={value}" in text
    return fields


def test_opening(make, events, tmp_path):
    make(hot_cache_size_mb=3, cold_cache_size_mb=0.5, eviction_policy="size")

    assert the_one(events, "lru_cache_initialized", "INFO") == {"max_size_mb": 3.0}
    assert the_one(events, "cache_manager_initialized", "INFO") == {
        "cache_directory": str(tmp_path / "cache"),
        "hot_cache_mb": 3.0,
        "cold_cache_mb": 0.5,
        "eviction_policy": "size",
    }


def test_put_hits_and_misses(make, events):
    cache = make()
    events.records.clear()
    cache.get_cached_data("key1")
    cache.put_cached_data("key1", small(), dataset_id=7, backtest_id="bt-1")
    size_mb = cache.lookup_cache("key1")["size_bytes"] / MB
    assert the_one(events, "cache_miss", "INFO") == {"cache_key": "key1"}
    assert the_one(events, "cache_write", "INFO") == {
        "cache_key": "key1",
        "dataset_id": 7,
        "size_mb": size_mb,
        "backtest_id": "bt-1",
    }
    kept = the_one(events, "hot_cache_put", "DEBUG")
    assert list(kept) == ["cache_key", "df_size_mb", "total_size_mb"]
    assert kept["df_size_mb"] == kept["total_size_mb"] > 0

    events.records.clear()
    cache.get_cached_data("key1")
    assert the_one(events, "hot_cache_hit", "DEBUG") == {"cache_key": "key1"}
    hit = the_one(events, "cache_hit_hot", "INFO")
    assert list(hit) == ["cache_key", "latency_ms"]
    assert hit["latency_ms"] == round(hit["latency_ms"], 2) >= 0

    cache.hot_cache.clear()
    events.records.clear()
    cache.get_cached_data("key1")
    hit = the_one(events, "cache_hit_cold", "INFO")
    assert hit["cache_key"] == "key1"
    assert hit["latency_ms"] == round(hit["latency_ms"], 2) > 0
    assert len(events.named("hot_cache_put")) == 1

    cache.put_cached_data("key2", small(), dataset_id=1)
    assert events.named("cache_write")[0].backtest_id is None


def test_the_hot_tier(events):
    lru = LRUCache(max_size_bytes=10_000)
    assert the_one(events, "lru_cache_initialized", "INFO") == {"max_size_mb": 10_000 / MB}
    lru.put("a", noise(1000))
    lru.put("b", noise(1000))
    evicted = the_one(events, "hot_cache_eviction", "INFO")
    assert evicted["evicted_key"] == "a"
    assert evicted["evicted_size_mb"] == pytest.approx(8000 / MB, rel=0.05)
    events.records.clear()
    lru.put("c", noise(2000))
    large = the_one(events, "dataframe_too_large_for_hot_cache", "WARNING")
    assert large["cache_key"] == "c"
    assert large["df_size_mb"] > large["max_size_mb"] == 10_000 / MB
    lru.get("b")
    assert the_one(events, "hot_cache_hit", "DEBUG") == {"cache_key": "b"}
    lru.clear()
    assert the_one(events, "hot_cache_cleared", "INFO") == {}


def test_missing_and_corrupt_files(make, events):
    cache = make(hot_cache_size_mb=0)
    for key in ("missing", "corrupt"):
        cache.put_cached_data(key, small(), dataset_id=1)
    missing = cache.lookup_cache("missing")
    (cache.cache_directory / missing["parquet_path"]).unlink()
    corrupt = cache.lookup_cache("corrupt")
    path = cache.cache_directory / corrupt["parquet_path"]
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    events.records.clear()

    assert cache.get_cached_data("missing") is None
    fields = the_one(events, "cache_file_missing", "ERROR")
    assert fields["cache_key"] == "missing"
    assert fields["parquet_path"].endswith(missing["parquet_path"])
    assert cache.get_cached_data("corrupt") is None
    fields = the_one(events, "cache_checksum_mismatch", "ERROR")
    assert list(fields) == ["cache_key", "expected", "actual"]
    assert fields["expected"] == corrupt["checksum"]
    assert len(fields["actual"]) == 64
    assert fields["actual"] != fields["expected"]
    fields = the_one(events, "cache_file_deleted", "INFO")
    assert fields["cache_key"] == "corrupt"
    assert fields["path"].endswith(corrupt["parquet_path"])
    assert [record.cache_key for record in events.named("cache_miss")] == ["missing", "corrupt"]


EVICTIONS = {
    "lru": {"lru_eviction"},
    "size": {"size_eviction"},
    "hybrid": {"lru_eviction", "size_eviction"},
    "gdsf": {"gdsf_eviction"},
    "s3fifo": {"s3fifo_eviction"},
}


@pytest.mark.parametrize("policy", EVICTIONS)
def test_eviction(make, events, policy):
    cache = make(eviction_policy=policy)
    for index in range(4):
        cache.put_cached_data(f"key{index}", noise(1000, seed=index), dataset_id=1)
    rows = {row["cache_key"]: row for row in cache.entry_infos()}
    total_mb = cache._get_total_cache_size_mb()
    cache.cold_cache_size_mb = total_mb * 0.6
    events.records.clear()
    cache._check_cold_cache_eviction()
    left = set(cache.entries())

    fields = the_one(events, "cold_cache_eviction_triggered", "INFO")
    assert fields["total_size_mb"] == total_mb
    assert fields["max_size_mb"] == pytest.approx(total_mb * 0.6, abs=1e-6)
    gone = [record for record in events.records if record.event in EVICTIONS[policy]]
    assert {record.cache_key for record in gone} == set(rows) - left
    assert len(gone) == len(rows) - len(left) >= 2
    for record in gone:
        assert record.levelname == "INFO"
        row = rows[record.cache_key]
        if record.event == "lru_eviction":
            assert record.last_accessed == row["last_accessed"]
        else:
            assert record.size_mb == row["size_bytes"] / MB
    deleted = {record.cache_key for record in events.named("cache_file_deleted")}
    assert deleted == set(rows) - left


def test_an_eviction_that_is_not_needed_says_nothing(make, events):
    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)
    events.records.clear()
    cache._check_cold_cache_eviction()

    assert events.names() == []


def test_statistics_and_clearing(make, events):
    from datetime import UTC, datetime

    cache = make()
    for key in ("a", "b", "c", "d"):
        cache.put_cached_data(key, small(), dataset_id=1, backtest_id="bt-1")
    cache.get_cached_data("a")
    cache.get_cached_data("unknown")
    events.records.clear()
    cache.record_daily_statistics()
    recorded = the_one(events, "daily_statistics_recorded", "INFO")
    assert list(recorded) == ["stat_date", "hit_count", "miss_count", "total_size_mb"]
    assert datetime.fromisoformat(recorded["stat_date"]).date() == datetime.now(UTC).date()
    assert (recorded["hit_count"], recorded["miss_count"]) == (1, 1)
    assert recorded["total_size_mb"] == cache._get_total_cache_size_mb()

    cache.clear_cache(cache_key="a")
    assert the_one(events, "cache_cleared_by_key", "INFO") == {"cache_key": "a"}
    cache.put_cached_data("e", small(), dataset_id=1)
    cache.clear_cache(backtest_id="bt-1")
    assert the_one(events, "cache_cleared_by_backtest", "INFO") == {
        "backtest_id": "bt-1",
        "count": 3,
    }
    cache.clear_cache()
    assert the_one(events, "cache_cleared_all", "INFO") == {"count": 1}
    assert len(events.named("cache_file_deleted")) == 5


def test_a_frame_too_large_for_the_disk_is_a_warning(make, events):
    cache = make(cold_cache_size_mb=0.01)
    cache.put_cached_data("key1", noise(5000), dataset_id=1)

    fields = the_one(events, "dataframe_too_large_for_cold_cache", "WARNING")
    assert fields["cache_key"] == "key1"
    assert fields["df_size_mb"] > fields["max_size_mb"]
    assert events.named("cache_write") == []


SILENT = """
import sys
import barcache, polars as pl
frame = pl.DataFrame({"i": range(5000)}).select(pl.col("i").hash())
with barcache.CacheManager(sys.argv[1], sys.argv[2], 0.01, 0.01) as cache:
    cache.put_cached_data("large", frame, dataset_id=1)
    cache.put_cached_data("key1", frame.head(10), dataset_id=1)
    path = cache.cache_directory / cache.lookup_cache("key1")["parquet_path"]
    path.write_bytes(b"nonsense")
    cache.hot_cache.clear()
    assert cache.get_cached_data("key1") is None
    cache.clear_cache()
"""


def test_nothing_is_printed_by_default(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", SILENT, str(tmp_path / "m.db"), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_applications_logging_shows_the_lines(make, capsys):
    logger = logging.getLogger("barcache")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        make().get_cached_data("key1")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)

    assert "INFO barcache cache_miss cache_key=key1\n" in capsys.readouterr().out


def test_a_disabled_level_makes_no_record(make, monkeypatch):
    logger = logging.getLogger("barcache")
    made = []
    monkeypatch.setattr(logger, "handle", made.append)
    assert not logger.isEnabledFor(logging.INFO)
    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.get_cached_data("key1")
    cache.get_cached_data("unknown")
    cache.clear_cache()
    assert made == []
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()
    cache.get_cached_data("unknown")
    assert [record.event for record in made] == ["cache_miss"]
    monkeypatch.undo()
    logger.manager._clear_cache()


@pytest.mark.parametrize("level", ["disabled", "logging.disable", "level"])
def test_logging_switched_off_later_is_off_at_once(cache, events, level):
    logger = logging.getLogger("barcache")
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.get_cached_data("key1")
    assert events.named("cache_hit_hot")
    events.records.clear()
    try:
        if level == "disabled":
            logger.disabled = True
        elif level == "logging.disable":
            logging.disable(logging.CRITICAL)
        else:
            logger.setLevel(logging.WARNING)
        cache.get_cached_data("key1")
        assert events.names() == []
    finally:
        logger.disabled = False
        logging.disable(logging.NOTSET)
        logger.setLevel(logging.DEBUG)
    cache.get_cached_data("key1")
    assert events.names() == ["hot_cache_hit", "cache_hit_hot"]


def test_a_handler_that_raises_or_calls_back_does_no_harm(cache):
    logger = logging.getLogger("barcache")

    class Calling(logging.Handler):
        def emit(self, record):
            cache.lookup_cache("key1")
            cache.session_stats.copy()
            if record.event == "cache_write":
                assert cache.get_cached_data("key1") is not None

    class Raising(logging.Handler):
        def handle(self, _record):
            raise RuntimeError("a handler of the application")

    for handler in (Calling(), Raising()):
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "unraisablehook", lambda _: None)
                cache.put_cached_data("key1", small(), dataset_id=1)
                assert cache.get_cached_data("key1") is not None
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)


def test_keys_of_any_text_can_be_logged(cache, events):
    cache.put_cached_data("é☃\n%s {}", small(), dataset_id=1)
    cache.get_cached_data("\ud800")

    record = events.named("cache_write")[0]
    assert record.cache_key == "é☃\n%s {}"
    assert "é☃" in record.getMessage()
    assert len(events.named("cache_miss")) == 1
