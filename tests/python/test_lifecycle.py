"""The life of a manager: with, close, collection, exit, pickle, fork, spawn, threads."""

import ast
import copy
import gc
import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import time
import weakref

import polars as pl
import pytest
from barcache import BarcacheError, CacheClosed, CacheManager, ForkedPolars, LRUCache
from polars.testing import assert_frame_equal

TIME_LIMIT_S = 120


def small(value=1.0):
    return pl.DataFrame({"close": [value, value + 1], "symbol": ["AAPL", None]})


def access_count(db_path, key="key1"):
    """From the table itself, without a manager."""
    connection = sqlite3.connect(db_path)
    try:
        sql = "SELECT access_count FROM cache_entries WHERE cache_key = ?"
        return connection.execute(sql, (key,)).fetchone()[0]
    finally:
        connection.close()


def links(db_path):
    connection = sqlite3.connect(db_path)
    try:
        sql = "SELECT backtest_id, cache_key FROM backtest_cache_links ORDER BY 1, 2"
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def run_script(script, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
        env={**os.environ, **environment},
    )


# --- closing --------------------------------------------------------------------------------


def test_with_closes_and_writes_what_is_pending(tmp_path):
    with CacheManager(tmp_path / "m.db", tmp_path / "cache") as cache:
        cache.put_cached_data("key1", small(), dataset_id=1)
        cache.get_cached_data("key1", backtest_id="bt-1")
        assert not cache.closed

    assert cache.closed
    assert access_count(tmp_path / "m.db") == 2
    assert links(tmp_path / "m.db") == [("bt-1", "key1")]
    assert not (tmp_path / "m.db-wal").exists()  # The last one to leave tidies up.


def test_with_closes_after_an_error_too(tmp_path):
    with (
        pytest.raises(RuntimeError, match="mine"),
        CacheManager(tmp_path / "m.db", tmp_path / "cache") as cache,
    ):
        raise RuntimeError("mine")

    assert cache.closed


def test_closing_twice_is_nothing(make):
    cache = make()
    cache.get_cached_data("key1")
    cache.close()
    cache.close()

    assert make(record_on_close=False).get_cache_statistics()["miss_count"] == 1


def test_after_close_every_call_says_so(make):
    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.close()
    for call in (
        lambda: cache.get_cached_data("key1"),
        lambda: cache.get_cached_data("unknown"),
        lambda: cache.get_cached_data("key1", columns=["close"]),
        lambda: cache.put_cached_data("key1", small(), dataset_id=1),
        lambda: cache.lookup_cache("key1"),
        lambda: cache.get_cache_statistics(),
        lambda: cache.record_daily_statistics(),
        lambda: cache.clear_cache(),
        lambda: cache.clear_cache(cache_key="key1"),
        lambda: cache.clear_cache(backtest_id="bt-1"),
        lambda: cache.backtests("key1"),
        lambda: cache.entries(),
        lambda: cache.entries("bt-1"),
        lambda: cache.check(),
        lambda: cache.evict(),
        lambda: cache.flush(),
        lambda: cache._get_total_cache_size_mb(),
        lambda: len(cache),
        lambda: "key1" in cache,
        lambda: cache.clear_unused_since(0),
    ):
        with pytest.raises(CacheClosed, match="open a new CacheManager") as caught:
            call()
        assert isinstance(caught.value, BarcacheError)
    # What needs no catalog still answers.
    key = cache.generate_cache_key(["AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance")
    assert key == "4ff5fe09fae53c37"
    assert "closed" in repr(cache)
    assert cache.cache_directory.is_dir()
    assert cache.session_stats["hit_count"] == 0
    assert cache.eviction_policy == "lru"


def test_record_on_close_can_be_left_out(make):
    cache = make(record_on_close=False)
    cache.get_cached_data("key1")
    cache.close()

    assert make(record_on_close=False).get_cache_statistics()["miss_count"] == 0


def test_an_engine_in_use_does_not_keep_a_cache_from_closing(make):
    import sqlalchemy as sa

    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)
    engine = cache.metadata_catalog.engine
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT * FROM cache_entries")).fetchall()
        cache.close()
    assert cache.closed


# --- collection and exit --------------------------------------------------------------------


def test_a_collected_manager_writes_what_is_pending(tmp_path):
    cache = CacheManager(tmp_path / "m.db", tmp_path / "cache")
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.get_cached_data("key1", backtest_id="bt-1")
    cache.get_cached_data("unknown")
    watch = weakref.ref(cache)
    del cache

    assert watch() is None
    assert access_count(tmp_path / "m.db") == 2
    assert links(tmp_path / "m.db") == [("bt-1", "key1")]
    with CacheManager(tmp_path / "m.db", tmp_path / "cache") as again:
        assert again.get_cache_statistics()["miss_count"] == 1


def test_a_manager_in_a_cycle_is_collected_too(tmp_path):
    cache = CacheManager(tmp_path / "m.db", tmp_path / "cache")
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.get_cached_data("key1")
    _ = cache.metadata_catalog.engine
    cache.myself = cache
    watch = weakref.ref(cache)
    del cache, _
    gc.collect()

    assert watch() is None
    assert access_count(tmp_path / "m.db") == 2


LEFT_OPEN = """
import sys
import barcache, polars as pl
cache = barcache.CacheManager(sys.argv[1], sys.argv[2])
cache.put_cached_data("key1", pl.DataFrame({{"close": [1.0]}}), dataset_id=1)
with cache.backtest("bt-1"):
    cache.get_cached_data("key1")
    {ending}
"""


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise ValueError('mine')"])
def test_a_manager_left_open_at_exit_writes_what_is_pending(tmp_path, ending):
    script = LEFT_OPEN.format(ending=ending)
    result = run_script(script, tmp_path / "m.db", tmp_path / "cache")

    assert result.returncode == {"pass": 0, "sys.exit(3)": 3}.get(ending, 1), result.stderr
    assert access_count(tmp_path / "m.db") == 2
    assert links(tmp_path / "m.db") == [("bt-1", "key1")]
    if not ending.startswith("raise"):
        assert result.stderr == ""


EXIT_WITH_THREADS = """
import sys, threading
import barcache, polars as pl
cache = barcache.CacheManager(sys.argv[1], sys.argv[2], hot_cache_size_mb=0.001)
frame = pl.DataFrame({"close": [1.0] * 50, "symbol": ["AAPL"] * 50})
busy = threading.Barrier(5)
def work(name):
    for turn in range(10**9):
        try:
            cache.put_cached_data(f"{name}-{turn % 7}", frame, dataset_id=1)
            got = cache.get_cached_data(f"{name}-{turn % 5}")
            assert got is None or got.equals(frame)
        except barcache.CacheClosed:
            pass
        if turn == 3:
            busy.wait()
for name in range(4):
    threading.Thread(target=work, args=(name,), daemon=True).start()
busy.wait()
"""


def test_exit_while_threads_use_the_cache(tmp_path):
    for turn in range(3):
        folder = tmp_path / str(turn)
        result = run_script(EXIT_WITH_THREADS, folder / "m.db", folder / "cache")
        assert result.returncode == 0, result.stderr
        assert "Fatal" not in result.stderr
        with CacheManager(folder / "m.db", folder / "cache") as cache:
            assert cache.check()["clean"]


def test_close_while_threads_use_the_cache(tmp_path):
    cache = CacheManager(tmp_path / "m.db", tmp_path / "cache")
    started = threading.Barrier(5)
    ended = []

    def work(name):
        for turn in range(10**9):
            try:
                cache.put_cached_data(f"{name}-{turn % 5}", small(turn), dataset_id=1)
                cache.get_cached_data(f"{name}-{turn % 5}", backtest_id=f"bt-{turn % 3}")
                cache.lookup_cache(f"{name}-0")
            except CacheClosed:
                ended.append("closed")
                return
            except BaseException as error:
                ended.append(error)
                return
            if turn == 3:
                started.wait(30)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    started.wait(30)
    cache.close()
    for thread in threads:
        thread.join(60)

    assert ended == ["closed"] * 4
    with CacheManager(tmp_path / "m.db", tmp_path / "cache") as again:
        assert again.check()["clean"]


# --- pickle and copy ------------------------------------------------------------------------


def test_a_manager_is_pickled_by_its_settings(make):
    cache = make(
        hot_cache_size_mb=3,
        cold_cache_size_mb=7,
        eviction_policy="size",
        durability="full",
        busy_timeout_s=5,
    )
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.cold_cache_size_mb = 9.5
    cache.eviction_policy = "hybrid"
    cache.hot_cache = LRUCache(max_size_bytes=2 * 1024 * 1024)
    with pickle.loads(pickle.dumps(cache)) as other:
        assert other is not cache
        assert_frame_equal(other.get_cached_data("key1"), small())
        assert other.cold_cache_size_mb == 9.5
        assert other.eviction_policy == "hybrid"
        assert other.hot_cache.max_size_bytes == 2 * 1024 * 1024
        assert other._settings == {
            **cache._settings,
            "cold_cache_size_mb": 9.5,
            "eviction_policy": "hybrid",
            "hot_cache_size_mb": 2.0,
        }
        assert other.session_stats["hit_count"] == 1
    assert cache.session_stats["hit_count"] == 0


def test_a_closed_manager_is_pickled_as_an_open_one(make):
    cache = make(eviction_policy="size")
    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.eviction_policy = "hybrid"
    cache.close()
    with pickle.loads(pickle.dumps(cache)) as other:
        assert_frame_equal(other.get_cached_data("key1"), small())
        assert other.eviction_policy == "hybrid"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_is_a_manager_of_its_own(make, copied):
    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)
    with copied(cache) as other:
        cache.close()
        assert_frame_equal(other.get_cached_data("key1"), small())


def test_a_pickle_keeps_relative_paths_where_they_were(tmp_path, monkeypatch):
    """A pickle is read by a process that may stand elsewhere."""
    monkeypatch.chdir(tmp_path)
    with CacheManager("m.db", "cache") as cache:
        cache.put_cached_data("key1", small(), dataset_id=1)
        pickled = pickle.dumps(cache)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pickle.loads(pickled) as other:
        assert_frame_equal(other.get_cached_data("key1"), small())


def test_a_cache_goes_on_where_it_was_after_chdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with CacheManager("m.db", "cache") as cache:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        cache.put_cached_data("key1", small(), dataset_id=1)
        cache.hot_cache.clear()
        assert_frame_equal(cache.get_cached_data("key1"), small())
        import sqlalchemy as sa

        with cache.metadata_catalog.engine.connect() as connection:
            keys = connection.execute(sa.text("SELECT cache_key FROM cache_entries")).scalars()
            assert list(keys) == ["key1"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_cache_in_memory_says_why_it_cannot_be_pickled(tmp_path):
    with CacheManager(":memory:", tmp_path / "cache") as cache:
        for pickling in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(pickle.PicklingError, match=r"(?s):memory:.*file"):
                pickling(cache)


# --- processes ------------------------------------------------------------------------------


def in_fork(work):
    """What `work` answers, or how it failed, from a forked child; a hung child is ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = ("ok", work())
        except BaseException as error:
            answer = ("failed", f"{type(error).__name__}: {error}")
        os.write(writer, pickle.dumps(answer))
        os._exit(0)
    os.close(writer)
    deadline = time.monotonic() + 60
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            os.close(reader)
            pytest.fail("the forked child hung")
        time.sleep(0.005)
    with os.fdopen(reader, "rb") as stream:
        state, answer = pickle.loads(stream.read())
    assert state == "ok", answer
    return answer


def test_a_forked_child_gets_and_puts(make):
    cache = make()
    cache.put_cached_data("hot", small(), dataset_id=1)
    cache.put_cached_data("cold", small(2.0), dataset_id=1)
    cache.hot_cache.clear()
    cache.get_cached_data("hot")

    def work():
        answers = [cache.get_cached_data(key) for key in ("hot", "cold", "unknown")]
        cache.put_cached_data("new", small(3.0), dataset_id=1, backtest_id="bt-child")
        cache.clear_cache(cache_key="hot")
        answers.append(cache.get_cached_data("new"))
        cache.hot_cache.clear()
        answers.append(cache.get_cached_data("new"))
        answers.append(cache.get_cached_data("new", columns=["close"]))
        return [None if answer is None else answer.to_dict(as_series=False) for answer in answers]

    expected = [small(), small(2.0), None, small(3.0), small(3.0), small(3.0).select("close")]
    assert in_fork(work) == [
        None if frame is None else frame.to_dict(as_series=False) for frame in expected
    ]
    assert_frame_equal(cache.get_cached_data("new"), small(3.0))
    assert cache.get_cached_data("hot") is None
    assert cache.backtests("new") == ["bt-child"]


def test_a_forked_child_puts_frames_of_many_chunks_and_types(make):
    many = pl.concat([small(float(turn)) for turn in range(50)], rechunk=False)
    odd = pl.concat(
        [
            pl.DataFrame(
                {
                    "e": pl.Series(["a"], dtype=pl.Enum(["a", "b"])),
                    "l": [[1, 2]],
                    "s": [{"x": 1}],
                    "n": [None],
                }
            )
        ]
        * 3,
        rechunk=False,
    )
    uneven = many.with_columns(pl.Series("one", range(100)))
    assert many.n_chunks() == 50
    cache = make()

    def work():
        for key, frame in [("many", many), ("odd", odd), ("uneven", uneven)]:
            cache.put_cached_data(key, frame, dataset_id=1)
        cache.put_cached_data("slice", many.slice(3, 40), dataset_id=1)
        cache.put_cached_data("empty", many.clear(), dataset_id=1)
        cache.put_cached_data("nothing", pl.DataFrame(), dataset_id=1)
        return [cache.get_cached_data(key).height for key in ("many", "odd", "slice", "empty")]

    assert in_fork(work) == [100, 3, 40, 0]
    for key, frame in [
        ("many", many),
        ("odd", odd),
        ("uneven", uneven),
        ("slice", many.slice(3, 40)),
        ("empty", many.clear()),
        ("nothing", pl.DataFrame()),
    ]:
        assert_frame_equal(cache.get_cached_data(key), frame)


def test_a_forked_child_refuses_a_lazy_frame_and_says_what_to_do(make):
    cache = make()
    lazy = small().lazy()

    def work():
        messages = []
        for put in (
            lambda: cache.put_cached_data("lazy", lazy, dataset_id=1),
            lambda: cache.hot_cache.put("lazy", lazy),
        ):
            try:
                put()
            except ForkedPolars as error:
                messages.append(str(error))
        return messages

    for message in in_fork(work):
        assert "spawn" in message
        assert "collect" in message
    assert cache.get_cached_data("lazy") is None


def test_a_forked_child_hands_out_pandas_and_arrow(make):
    pytest.importorskip("pandas")
    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)

    def work():
        pandas = cache.get_cached_data("key1", frame="pandas")
        cache.put_cached_data("pandas", pandas, dataset_id=1)
        arrow = cache.get_cached_data("key1", frame="arrow")
        cache.put_cached_data("arrow", arrow, dataset_id=1)
        return pandas["close"].tolist(), arrow["close"].to_pylist()

    assert in_fork(work) == ([1.0, 2.0], [1.0, 2.0])
    assert_frame_equal(cache.get_cached_data("arrow"), small())
    assert_frame_equal(cache.get_cached_data("pandas"), small())


def test_what_is_pending_at_a_fork_is_written_once(make, tmp_path):
    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)
    for _ in range(3):
        cache.get_cached_data("key1")
    cache.get_cached_data("unknown")

    def work():
        cache.get_cached_data("key1")
        cache.close()

    in_fork(work)
    cache.close()
    assert access_count(tmp_path / "metadata.db") == 5
    statistics = make(record_on_close=False).get_cache_statistics()
    assert (statistics["hit_count"], statistics["miss_count"]) == (4, 1)


def test_fork_with_a_hot_cache_that_two_managers_share(tmp_path):
    """Both prepare the one tier for the fork."""
    script = """
import os, sys
import barcache, polars as pl
one = barcache.CacheManager(sys.argv[1] + "/1.db", sys.argv[1] + "/1")
two = barcache.CacheManager(sys.argv[1] + "/2.db", sys.argv[1] + "/2")
two.hot_cache = one.hot_cache
frame = pl.DataFrame({"close": [1.0]})
one.put_cached_data("one", frame, dataset_id=1)
two.put_cached_data("two", frame, dataset_id=1)
child = os.fork()
assert one.get_cached_data("one").equals(frame)
assert two.get_cached_data("two").equals(frame)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    result = run_script(script, tmp_path)
    assert result.returncode == 0, result.stderr


FORK_WITH_THREADS = """
import os, sys, threading, time
import barcache, polars as pl
cache = barcache.CacheManager(sys.argv[1], sys.argv[2])
alone = barcache.LRUCache(max_size_bytes=10_000)
frame = pl.DataFrame({"close": [1.0] * 50})  # The child's; a frame of Polars has a lock of its own.
stop = threading.Event()
def work(name):
    turn = 0
    frame = pl.DataFrame({"close": [1.0] * 50})
    while not stop.is_set():
        turn += 1
        cache.put_cached_data(f"{name}-{turn % 5}", frame, dataset_id=1)
        cache.get_cached_data(f"{name}-{turn % 7}", backtest_id="bt")
        alone.put(f"{name}-{turn % 9}", frame)
        alone.get(f"{name}-{turn % 9}")
threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
for thread in threads:
    thread.start()
failed = 0
for turn in range(15):
    child = os.fork()
    if child == 0:
        ok = False
        try:
            cache.put_cached_data(f"child-{turn}", frame, dataset_id=1)
            ok = cache.get_cached_data(f"child-{turn}").equals(frame)
            alone.put("child", frame)
            ok = ok and alone.get("child").equals(frame)
        finally:
            os._exit(0 if ok else 1)
    deadline = time.monotonic() + 30
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            status = 1
            break
        time.sleep(0.002)
    failed += status != 0
stop.set()
for thread in threads:
    thread.join()
cache.hot_cache.clear()
missing = sum(cache.get_cached_data(f"child-{turn}") is None for turn in range(15))
print(failed, missing)
"""


def test_fork_while_threads_use_the_cache(tmp_path):
    result = run_script(FORK_WITH_THREADS, tmp_path / "m.db", tmp_path / "cache")

    assert result.stdout.split() == ["0", "0"], result.stderr


def use_in_process(cache, name):
    frame = cache.get_cached_data("key1", backtest_id=f"bt-{name}")
    cache.put_cached_data(f"from {name}", frame, dataset_id=1)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_use_a_manager_and_lose_no_link(make, method):
    """Such a process ends by os._exit; what its hits left is written all the same."""
    cache = make()
    cache.put_cached_data("key1", small(), dataset_id=1)
    context = multiprocessing.get_context(method)
    processes = [
        context.Process(target=use_in_process, args=(cache, f"{method}-{number}"))
        for number in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIME_LIMIT_S)
        assert process.exitcode == 0

    assert cache.backtests("key1") == [f"bt-{method}-0", f"bt-{method}-1"]
    for number in range(2):
        assert_frame_equal(cache.get_cached_data(f"from {method}-{number}"), small())
    assert cache.lookup_cache("key1")["access_count"] == 3


def test_two_managers_of_one_process_see_each_other(make):
    one, two = make(), make()
    one.put_cached_data("key1", small(), dataset_id=1)
    assert_frame_equal(two.get_cached_data("key1"), small())
    two.put_cached_data("key1", small(5.0), dataset_id=1)
    assert_frame_equal(one.get_cached_data("key1"), small(5.0))
    one.clear_cache(cache_key="key1")
    assert two.get_cached_data("key1") is None
    assert one.get_cached_data("key1") is None


IN_ANOTHER_PROCESS = """
import sys
import polars as pl
from barcache import CacheManager
cache = CacheManager(f"{sys.argv[1]}/metadata.db", f"{sys.argv[1]}/cache")
exec(sys.argv[2])
print(cache.entries(), flush=True)  # Acknowledged, and the process goes on living.
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("call", "rest"),
    [
        ("cache.put_cached_data('key1', pl.DataFrame({'x': [5]}), dataset_id=1)", ["key0", "key1"]),
        ("cache.put_many({'key1': pl.DataFrame({'x': [5]})}, dataset_id=1)", ["key0", "key1"]),
        ("cache.clear_cache('key1')", ["key0"]),
        ("cache.clear_cache(backtest_id='bt')", ["key0"]),
        ("cache.clear_cache()", []),
        ("cache.cold_cache_size_mb = 1e-6; cache.evict()", []),
        ("cache.cold_cache_size_mb = 1e-6; cache.put_cached_data('key2', pl.DataFrame(), 1)", None),
    ],
)
def test_what_a_process_did_is_what_the_next_get_of_another_sees(make, tmp_path, call, rest):
    cache = make()
    cache.put_cached_data("key0", small(), dataset_id=1)
    cache.put_cached_data("key1", small(), dataset_id=1, backtest_id="bt")
    for key in ("key0", "key1"):
        assert_frame_equal(cache.get_cached_data(key), small())
        assert key in cache.hot_cache
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path), call]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        there = ast.literal_eval(other.stdout.readline())
        seen = {key: cache.get_cached_data(key) for key in ("key0", "key1")}
        other.stdin.close()
    assert other.returncode == 0
    assert rest is None or there == rest
    for key, frame in seen.items():
        expected = pl.DataFrame({"x": [5]}) if "put" in call and rest else small()
        if key not in there:
            assert frame is None, f"{key} is served though it is gone"
        else:
            assert_frame_equal(frame, expected if key == "key1" else small())


def test_threads_share_a_manager(make):
    cache = make(hot_cache_size_mb=0.01)
    failures = []

    def work(name):
        try:
            for turn in range(60):
                key = f"key{turn % 6}"
                cache.put_cached_data(key, small(float(turn % 6)), dataset_id=1)
                got = cache.get_cached_data(key)
                if got is not None:  # Another thread may just have cleared it.
                    assert_frame_equal(got, small(float(turn % 6)))
                if turn % 20 == 19:
                    cache.clear_cache(cache_key=key)
                cache.get_cache_statistics()
                cache.session_stats.copy()
        except BaseException as error:
            failures.append((name, error))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIME_LIMIT_S)

    assert failures == []
    stats = cache.session_stats
    assert stats["hit_count"] + stats["miss_count"] == 240
    assert stats["hot_hits"] + stats["cold_hits"] == stats["hit_count"]
    assert cache.check()["clean"]
