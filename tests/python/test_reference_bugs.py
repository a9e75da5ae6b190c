"""One test for each bug B1 to B23 of RustyBT's cache that barcache must not have.

The numbers are those of the drop-in contract.
"""

import json
import logging
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from barcache import CacheManager, InvalidArgument, LRUCache
from polars.testing import assert_frame_equal

DAY_S = 86_400


def frame(value=1.0, rows=50):
    return pl.DataFrame({"i": range(rows), "close": [value + i / 8 for i in range(rows)]})


def incompressible(rows, seed=0):
    """A frame whose file is about 8 bytes a row, whatever the encoding."""
    state = (pl.int_range(rows, eager=True).cast(pl.UInt64) + seed * 7919).hash(seed=seed)
    return pl.DataFrame({"noise": state})


@pytest.fixture
def make(tmp_path):
    """Opens caches on one directory; closes them at the end."""
    opened = []

    def make(**options):
        cache = CacheManager(str(tmp_path / "metadata.db"), str(tmp_path / "cache"), **options)
        opened.append(cache)
        return cache

    yield make
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(make):
    return make()


@pytest.fixture
def events():
    """The events logged, as (name, record)."""
    records = []

    class Keep(logging.Handler):
        def emit(self, record):
            records.append((getattr(record, "event", None), record))

    logger, handler = logging.getLogger("barcache"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(level)


def rows_of(cache, sql, *values):
    connection = sqlite3.connect(cache.db_path)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def files_of(cache):
    return sorted(path.name for path in cache.cache_directory.glob("*.parquet"))


def path_of(cache, key):
    return cache.cache_directory / cache.lookup_cache(key)["parquet_path"]


def test_b01_a_second_put_replaces_and_keeps_the_links(make):
    cache = make()
    cache.put_cached_data("key1", frame(1.0), 1, "bt-001")
    created = cache.lookup_cache("key1")["created_at"]
    cache.put_cached_data("key1", frame(2.0), 2, "bt-002")
    assert_frame_equal(cache.get_cached_data("key1"), frame(2.0))
    cache.close()
    again = make()
    assert_frame_equal(again.get_cached_data("key1"), frame(2.0))  # Cold, verified.
    entry = again.lookup_cache("key1")
    assert entry["dataset_id"] == 2
    assert entry["created_at"] == created
    assert again.backtests("key1") == ["bt-001", "bt-002"]
    assert files_of(again) == [entry["parquet_path"]]  # The replaced file is gone.


def test_b02_a_missing_file_is_a_miss_that_heals(make):
    make().put_cached_data("key1", frame(1.0), 1)
    cache = make(hot_cache_size_mb=0)
    path_of(cache, "key1").unlink()
    assert cache.get_cached_data("key1") is None
    assert cache.lookup_cache("key1") is None
    assert cache._get_total_cache_size_mb() == 0
    cache.put_cached_data("key1", frame(2.0), 1)
    assert_frame_equal(cache.get_cached_data("key1"), frame(2.0))


def test_b03_hits_are_linked_too(cache):
    cache.put_cached_data("key1", frame(), 1, "bt-001")
    assert cache.get_cached_data("key1", backtest_id="bt-002") is not None
    with cache.backtest("bt-003"):
        assert cache.get_cached_data("key1") is not None
        cache.put_cached_data("key2", frame(), 1)
    assert cache.get_cached_data("key1") is not None
    assert cache.get_cached_data("absent", backtest_id="bt-004") is None
    assert cache.backtests("key1") == ["bt-001", "bt-002", "bt-003"]
    assert cache.entries("bt-003") == ["key1", "key2"]
    assert cache.entries("bt-004") == []


def test_b04_links_die_with_their_entry(cache):
    cache.put_cached_data("key1", frame(1.0), 1, "b1")
    cache.clear_cache(cache_key="key1")
    assert rows_of(cache, "SELECT count(*) FROM backtest_cache_links") == [(0,)]
    cache.put_cached_data("key1", frame(2.0), 1, "b2")
    assert cache.backtests("key1") == ["b2"]
    cache.clear_cache(backtest_id="b1")
    assert_frame_equal(cache.get_cached_data("key1"), frame(2.0))


def test_b04_clearing_a_backtest_can_keep_what_others_use(cache):
    cache.put_cached_data("alone", frame(1.0), 1, "b1")
    cache.put_cached_data("shared", frame(2.0), 1, "b1")
    cache.get_cached_data("shared", backtest_id="b2")
    cache.clear_cache(backtest_id="b1", keep_shared=True)
    assert cache.lookup_cache("alone") is None
    assert cache.backtests("shared") == ["b2"]
    cache.clear_cache(backtest_id="b2")  # Without it: all that is linked, as the guide says.
    assert len(cache) == 0


@pytest.mark.parametrize("removal", ["evicted", "cleared", "by backtest", "all", "replaced"])
def test_b05_what_left_the_disk_is_never_served_from_memory(cache, removal):
    cache.put_cached_data("key1", frame(1.0), 1, "b1")
    assert cache.get_cached_data("key1") is not None  # Hot.
    if removal == "evicted":
        cache.cold_cache_size_mb = 0
        cache._check_cold_cache_eviction()
    elif removal == "cleared":
        cache.clear_cache(cache_key="key1")
    elif removal == "by backtest":
        cache.clear_cache(backtest_id="b1")
    elif removal == "all":
        cache.clear_cache()
    else:
        cache.put_cached_data("key1", frame(2.0), 1)
        assert_frame_equal(cache.get_cached_data("key1"), frame(2.0))
        return
    assert cache.lookup_cache("key1") is None
    assert cache.get_cached_data("key1") is None
    assert files_of(cache) == []


def test_b06_a_kill_at_any_moment_leaves_no_torn_entry(tmp_path):
    """A child puts and overwrites until it is killed; what it acknowledged is there, exact."""
    code = """
import sys, polars as pl
from barcache import CacheManager
cache = CacheManager(sys.argv[1] + "/metadata.db", sys.argv[1] + "/cache")
for turn in range(10**6):
    key = f"key{turn % 3}"
    cache.put_cached_data(key, pl.DataFrame({"turn": [turn] * 200}), 1)
    print(key, turn, flush=True)
"""
    for round_ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        acknowledged = {}
        for _ in range(20 + 7 * round_):
            key, turn = child.stdout.readline().split()
            acknowledged[key] = int(turn)
        child.kill()
        for line in child.stdout.read().splitlines():  # Printed before the kill, read after it.
            if len(line.split()) == 2:
                acknowledged[line.split()[0]] = int(line.split()[1])
        child.wait()
        with CacheManager(f"{tmp_path}/metadata.db", f"{tmp_path}/cache") as cache:
            for key, turn in acknowledged.items():
                found = cache.get_cached_data(key)
                assert found is not None
                assert found["turn"].n_unique() == 1
                assert found["turn"][0] in (turn, turn + 3)  # Or the put in flight.
            report = cache.check()
            assert report["missing_files"] == report["corrupt_files"] == []


def test_b07_putting_a_key_again_charges_it_once_and_renews_its_use():
    one = frame(rows=1000)
    lru = LRUCache(max_size_bytes=10**9)
    lru.put("key1", one)
    charge = lru.current_size_bytes
    assert charge >= one.estimated_size()
    for _ in range(5):
        lru.put("key1", one)
    assert lru.current_size_bytes == charge
    assert lru.get_stats()["entry_count"] == 1
    small = LRUCache(max_size_bytes=int(charge * 2.5))
    small.put("old", one)
    small.put("new", one)
    small.put("old", one)  # Now the most recently used.
    small.put("third", one)
    assert small.get("new") is None
    assert small.get("old") is not None


def test_b08_what_a_caller_does_to_a_frame_never_reaches_the_cache(make):
    cache = make()
    original = frame(1.0)
    cache.put_cached_data("key1", original, 1)
    original.insert_column(0, pl.Series("mine", [0] * 50))  # The frame that was put.
    for _ in range(2):
        got = cache.get_cached_data("key1")
        assert_frame_equal(got, frame(1.0))
        got.insert_column(0, pl.Series("mine", [0] * 50))
        got[3, "close"] = -1.0
    cold = make(hot_cache_size_mb=64)
    first = cold.get_cached_data("key1")
    first[0, "i"] = 99
    first.drop_in_place("close")
    assert_frame_equal(cold.get_cached_data("key1"), frame(1.0))


def test_b09_threads_lose_no_count_and_no_frame(cache):
    keys = [f"key{i}" for i in range(6)]
    wrong = []

    def work(number):
        for turn in range(60):
            key = keys[(turn + number) % len(keys)]
            if turn % 10 == number % 10:
                cache.put_cached_data(key, frame(float(keys.index(key))), 1)
            found = cache.get_cached_data(key)
            if found is not None and not found.equals(frame(float(keys.index(key)))):
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    stats = cache.session_stats
    assert stats["hit_count"] + stats["miss_count"] == 8 * 60
    assert stats["hot_hits"] + stats["cold_hits"] == stats["hit_count"]


def _put_and_get(folder, number, results):
    failures = []
    with CacheManager(f"{folder}/metadata.db", f"{folder}/cache") as cache:
        for turn in range(15):
            key = f"key{turn}"  # The same keys in every process.
            try:
                cache.put_cached_data(key, frame(float(turn)), 1, f"bt{number}")
                found = cache.get_cached_data(key)
            except Exception as error:
                failures.append(repr(error))
                continue
            if found is None or not found.equals(frame(float(turn))):
                failures.append(f"{key}: {found}")
    results.put(failures)


def test_b10_processes_put_and_get_the_same_keys(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    children = [
        context.Process(target=_put_and_get, args=(str(tmp_path), number, results))
        for number in range(4)
    ]
    for child in children:
        child.start()
    assert [failure for _ in children for failure in results.get(timeout=60)] == []
    for child in children:
        child.join()
    with CacheManager(f"{tmp_path}/metadata.db", f"{tmp_path}/cache") as cache:
        assert len(cache) == 15
        for turn in range(15):
            assert_frame_equal(cache.get_cached_data(f"key{turn}"), frame(float(turn)))
            assert sorted(cache.backtests(f"key{turn}")) == ["bt0", "bt1", "bt2", "bt3"]
        assert cache.check()["clean"]


@pytest.mark.parametrize("policy", ["lru", "size", "hybrid"])
def test_b11_eviction_never_removes_the_entry_just_put(make, policy):
    cache = make(cold_cache_size_mb=0.1, eviction_policy=policy)
    for number in range(8):
        rows = 6000 if number % 2 else 3000  # About 48 and 24 KB, of at most 102.
        cache.put_cached_data(f"key{number}", incompressible(rows, number), 1)
        assert cache.lookup_cache(f"key{number}") is not None
        assert cache._get_total_cache_size_mb() <= 0.1
    assert len(cache) >= 1


def test_b11_the_order_of_use_is_exact_within_a_second(make):
    cache = make(cold_cache_size_mb=0.2)
    for key in "abcdef":
        cache.put_cached_data(key, incompressible(3000, ord(key)), 1)
    for key in "fbdace":  # All within one second.
        cache.get_cached_data(key)
    sizes = {key: cache.lookup_cache(key)["size_bytes"] for key in "abcdef"}
    cache.cold_cache_size_mb = (sum(sizes.values()) - 2.5 * sizes["f"]) / 1024 / 1024
    cache._check_cold_cache_eviction()
    left = set(cache.entries())
    assert left <= set("ace")
    assert "e" in left
    assert ("a" in left) <= ("c" in left)  # Never the newer gone and the older kept.


def test_b11_a_frame_larger_than_the_limit_is_not_admitted_and_evicts_nobody(make, events):
    cache = make(cold_cache_size_mb=0.1, hot_cache_size_mb=0)
    cache.put_cached_data("small", incompressible(1000), 1)
    cache.put_cached_data("large", incompressible(1000, 1), 1)
    cache.put_cached_data("large", incompressible(100_000, 2), 1)
    assert cache.get_cached_data("small") is not None
    assert cache.lookup_cache("large") is None  # The older entry of the key must not be served.
    assert cache.get_cached_data("large") is None
    assert any(record.levelno == logging.WARNING for _, record in events)


def test_b12_hybrid_spares_what_is_used(make):
    """`size` takes the largest; `hybrid` the largest of the less recently used half."""
    left = {}
    for policy in ("size", "hybrid"):
        cache = make(eviction_policy=policy)
        for name, rows in {"a": 3000, "b": 5000, "c": 2000, "busy": 9000}.items():
            cache.put_cached_data(name, incompressible(rows, rows), 1)
        cache.get_cached_data("a")
        cache.get_cached_data("busy")
        total = sum(cache.lookup_cache(key)["size_bytes"] for key in ("a", "b", "c", "busy"))
        cache.cold_cache_size_mb = (total - 1000) / 1024 / 1024
        cache._check_cold_cache_eviction()
        left[policy] = set(cache.entries())
        cache.clear_cache()
    assert left == {"size": {"a", "b", "c"}, "hybrid": {"a", "c", "busy"}}


def test_b13_an_unknown_policy_is_refused(make):
    with pytest.raises(ValueError, match=r"bogus.*lru.*size.*hybrid"):
        make(eviction_policy="bogus")
    cache = make(eviction_policy="size")
    with pytest.raises(InvalidArgument, match="bogus"):
        cache.eviction_policy = "bogus"
    assert cache.eviction_policy == "size"


@pytest.mark.parametrize(("policy", "event"), [("lru", "lru_eviction"), ("size", "size_eviction")])
def test_b14_every_evicted_entry_is_logged(make, events, policy, event):
    cache = make(eviction_policy=policy)
    for number in range(6):
        cache.put_cached_data(f"key{number}", incompressible(2000, number), 1)
    before = set(cache.entries())
    cache.cold_cache_size_mb = 0.05
    cache._check_cold_cache_eviction()
    evicted = before - set(cache.entries())
    assert len(evicted) >= 2
    logged = [record.cache_key for name, record in events if name == event]
    assert sorted(logged) == sorted(evicted)


def test_b15_empty_arguments_wipe_nothing_and_one_key_leaves_the_rest_hot(cache):
    for key in ("key1", "key2", "key3"):
        cache.put_cached_data(key, frame(), 1, f"bt-{key}")
    for bad in (
        {"cache_key": ""},
        {"backtest_id": ""},
        {"cache_key": "key1", "backtest_id": "bt-key1"},
    ):
        with pytest.raises(ValueError, match=r"clear_cache|backtest_id"):
            cache.clear_cache(**bad)
    assert len(cache) == 3
    cache.clear_cache(cache_key="key1")
    cache.clear_cache(backtest_id="bt-key2")
    cache.clear_cache(cache_key="unknown")
    cache.clear_cache(backtest_id="unknown")
    assert len(cache.hot_cache) == 1
    hot_before = cache.session_stats["hot_hits"]
    assert cache.get_cached_data("key3") is not None
    assert cache.session_stats["hot_hits"] == hot_before + 1
    cache.clear_cache(None)
    assert len(cache) == 0


def test_b16_statistics_recorded_twice_count_once(make):
    cache = make()
    cache.put_cached_data("key1", frame(), 1)
    for _ in range(3):
        cache.get_cached_data("key1")
    cache.get_cached_data("absent")
    cache.record_daily_statistics()
    cache.record_daily_statistics()
    [(hits, misses)] = rows_of(cache, "SELECT hit_count, miss_count FROM cache_statistics")
    assert (hits, misses) == (3, 1)
    cache.get_cached_data("key1")
    cache.close()  # Records the rest.
    statistics = make().get_cache_statistics()
    assert (statistics["hit_count"], statistics["miss_count"]) == (4, 1)
    unrecorded = make(record_on_close=False)
    unrecorded.get_cached_data("key1")
    unrecorded.close()
    assert make().get_cache_statistics()["hit_count"] == 4


def test_b17_the_hit_rate_includes_what_is_not_recorded_yet(cache):
    cache.put_cached_data("key1", frame(), 1)
    for _ in range(3):
        cache.get_cached_data("key1")
    cache.get_cached_data("absent")
    today = datetime.now(UTC).date()
    for range_ in ({}, {"start_date": str(today)}, {"start_date": str(today), "end_date": today}):
        statistics = cache.get_cache_statistics(**range_)
        assert (statistics["hit_count"], statistics["miss_count"]) == (3, 1)
        assert statistics["hit_rate"] == 0.75
    past = cache.get_cache_statistics(end_date=str(today - timedelta(days=1)))
    assert (past["hit_count"], past["miss_count"], past["hit_rate"]) == (0, 0, 0.0)
    assert past["entry_count"] == 1  # Current, whatever the range.


RECORD = """
import sys
from barcache import CacheManager
with CacheManager(sys.argv[1] + "/metadata.db", sys.argv[1] + "/cache") as cache:
    cache.get_cached_data("absent")
    if cache.metadata_catalog.get_date_range(1) is None:
        cache.metadata_catalog.update_date_range(1, "2023-01-01", "2023-12-31")
    print(cache.metadata_catalog.get_date_range(1))
"""


def test_b18_days_are_utc_in_every_zone(tmp_path):
    printed = set()
    start = time.time() // DAY_S
    for zone in ("Pacific/Kiritimati", "UTC", "America/Los_Angeles"):
        done = subprocess.run(
            [sys.executable, "-c", RECORD, str(tmp_path)],
            env={**os.environ, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        printed.add(done.stdout)
    assert printed == {
        f"{ {'dataset_id': 1, 'start_date': date(2023, 1, 1), 'end_date': date(2023, 12, 31)} }\n"
    }
    connection = sqlite3.connect(tmp_path / "metadata.db")
    rows = connection.execute("SELECT stat_date, miss_count FROM cache_statistics").fetchall()
    connection.close()
    assert all(day % DAY_S == 0 for day, _ in rows)
    assert sum(misses for _, misses in rows) == 3
    assert len(rows) == 1 or time.time() // DAY_S != start  # Unless midnight passed meanwhile.


@pytest.mark.parametrize(
    "key", ["../evil", "/tmp/evil", "a/../../evil", "..", ".", "evil/", "x" * 5000, "~", "C:\\evil"]
)
def test_b19_no_key_leaves_the_cache_directory(cache, tmp_path, key):
    before = {p for p in tmp_path.rglob("*") if cache.cache_directory not in p.parents}
    cache.put_cached_data(key, frame(3.0), 1)
    assert_frame_equal(cache.get_cached_data(key), frame(3.0))
    [name] = files_of(cache)
    assert path_of(cache, key) == cache.cache_directory / name
    cache.clear_cache(cache_key=key)
    assert files_of(cache) == []
    assert {p for p in tmp_path.rglob("*") if cache.cache_directory not in p.parents} == before


@pytest.mark.parametrize("path", ["../outside.parquet", "ABSOLUTE", "link.parquet", "folder"])
def test_b19_no_row_reads_or_removes_outside_the_cache_directory(make, tmp_path, path):
    outside = tmp_path / "outside.parquet"
    frame(6.0).write_parquet(outside)
    make().put_cached_data("key1", frame(1.0), 1)
    cache = make(hot_cache_size_mb=0)
    (cache.cache_directory / "link.parquet").symlink_to(outside)
    (cache.cache_directory / "folder").mkdir()
    from barcache.metadata_catalog import calculate_file_checksum

    connection = sqlite3.connect(cache.db_path)
    connection.execute(
        "INSERT INTO cache_entries VALUES ('planted', 1, ?, ?, 1, 1, 1, 1)",
        (str(outside) if path == "ABSOLUTE" else path, calculate_file_checksum(outside)),
    )
    connection.commit()
    connection.close()
    assert cache.get_cached_data("planted") is None
    cache.clear_cache(cache_key="planted")
    cache.clear_cache()
    assert_frame_equal(pl.read_parquet(outside), frame(6.0))
    assert (cache.cache_directory / "folder").is_dir()


def test_b20_frames_of_other_libraries_are_taken(cache):
    expected = frame(1.0)
    cache.put_cached_data("lazy", expected.lazy().filter(pl.col("i") >= 0), 1)
    assert_frame_equal(cache.get_cached_data("lazy"), expected)
    cache.put_cached_data("arrow", expected.to_arrow(), 1)
    assert_frame_equal(cache.get_cached_data("arrow"), expected)
    cache.put_cached_data("batch", expected.to_arrow().to_batches()[0], 1)
    assert_frame_equal(cache.get_cached_data("batch"), expected)
    pytest.importorskip("pandas")
    cache.put_cached_data("pandas", expected.to_pandas(), 1)
    assert_frame_equal(cache.get_cached_data("pandas"), expected)
    with pytest.raises(TypeError):
        cache.put_cached_data("number", 5, 1)


def test_b21_the_request_behind_a_key_is_stored(make):
    cache = make()
    key = cache.generate_cache_key(["MSFT", "AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance")
    assert key == "8a3c9ff46519d39e"
    cache.put_cached_data(key, frame(), 1)
    cache.put_cached_data("by hand", frame(), 1)
    cache.close()
    stored = {entry["cache_key"]: entry["request"] for entry in make().entry_infos()}
    assert json.loads(stored[key]) == {
        "symbols": ["AAPL", "MSFT"],
        "start_date": "2023-01-01",
        "end_date": "2023-12-31",
        "resolution": "1d",
        "data_source": "yfinance",
    }
    assert stored["by hand"] == ""


def test_b22_a_corrupt_file_is_a_miss_even_when_its_checksum_matches(make):
    from barcache.metadata_catalog import calculate_file_checksum

    make().put_cached_data("key1", frame(1.0), 1)
    cache = make(hot_cache_size_mb=0)
    rubbish = cache.cache_directory / "rubbish.parquet"
    rubbish.write_bytes(b"PAR1" + bytes(range(256)) * 4 + b"PAR1")
    connection = sqlite3.connect(cache.db_path)
    connection.execute(
        "INSERT INTO cache_entries VALUES ('written-corrupt', 1, 'rubbish.parquet', ?, 1, 1, 1, ?)",
        (calculate_file_checksum(rubbish), rubbish.stat().st_size),
    )
    connection.commit()
    connection.close()
    assert cache.get_cached_data("written-corrupt") is None
    assert cache.lookup_cache("written-corrupt") is None
    path = path_of(cache, "key1")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert cache.get_cached_data("key1") is None
    assert cache.session_stats["miss_count"] == 2


def test_b22_a_cold_hit_opens_its_file_once(tmp_path):
    """Hash and frame come from one read: nothing can change between them."""
    if not Path("/usr/bin/strace").exists():
        pytest.skip("strace is not installed")
    with CacheManager(f"{tmp_path}/metadata.db", f"{tmp_path}/cache") as cache:
        cache.put_cached_data("key1", frame(), 1)
        name = cache.lookup_cache("key1")["parquet_path"]
    code = (
        "import sys; from barcache import CacheManager\n"
        "with CacheManager(sys.argv[1] + '/metadata.db', sys.argv[1] + '/cache') as cache:\n"
        "    assert cache.get_cached_data('key1') is not None"
    )
    log = tmp_path / "strace.log"
    traced = ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=open,openat,openat2"]
    command = [*traced, sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if "ptrace" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    assert log.read_text().count(name) == 1


def test_b23_catalog_lookups_honour_their_arguments(cache):
    catalog = cache.metadata_catalog
    catalog.add_checksum(1, "year=2023/month=01/data.parquet", "aa" * 32)
    catalog.add_checksum(2, "year=2023/month=01/data.parquet", "bb" * 32)
    catalog.add_checksum(1, "year=2023/month=06/data.parquet", "cc" * 32)
    path = "year=2023/month=01/data.parquet"
    assert catalog.verify_checksum(path, "bb" * 32)
    assert catalog.verify_checksum(path, "bb" * 32, dataset_id=2)
    assert not catalog.verify_checksum(path, "bb" * 32, dataset_id=1)
    assert catalog.find_parquet_files(1, date(2023, 1, 1), date(2023, 1, 31)) == [path]
    catalog.update_date_range(1, "2023-01-01", "2023-06-30")
    catalog.update_date_range(1, "2023-03-01", "2023-12-31")
    found = catalog.get_date_range(1)
    assert (found["start_date"], found["end_date"]) == (date(2023, 1, 1), date(2023, 12, 31))
