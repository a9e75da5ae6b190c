"""get_or_fetch among processes: one fetch for all, and what becomes of a fetcher that dies."""

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import time

import polars as pl
import pytest
from barcache import CacheFull, CacheManager, FetchFailed, flights
from polars.testing import assert_frame_equal

REQUEST = (["MSFT", "AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance")
KEY = "8a3c9ff46519d39e"
BARS = pl.DataFrame({"close": [1.5, 2.5]})
TIME_LIMIT_S = 60
SHORT_LEASE_S = 0.6


class Child:
    """A process with a cache of its own that does as it is told, and tells what happened."""

    def __init__(self, method, folder, lease_s=10.0, backtest_id=None):
        context = multiprocessing.get_context(method)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, str(folder), lease_s, backtest_id), daemon=True
        )
        self.process.start()
        theirs.close()
        assert self.hear() == "ready"

    def hear(self):
        assert self.pipe.poll(TIME_LIMIT_S), "the child says nothing"
        return self.pipe.recv()

    def tell(self, word):
        self.pipe.send(word)

    def end(self, number):
        os.kill(self.process.pid, number)


def serve(pipe, folder, lease_s, backtest_id):
    CacheManager._lease_s = lease_s
    pauses = flights._pauses

    def told_pauses():
        """The pauses between two looks; before the second the first has said to wait."""
        each = pauses()
        yield next(each)
        pipe.send("waiting")
        yield from each

    flights._pauses = told_pauses

    def fetch(*_):
        pipe.send("fetching")
        word = pipe.recv()
        if word == "fail":
            raise ConnectionError("vendor is down")
        if word == "fill the disk":
            CacheManager._put_fetched = full
        return BARS

    def full(*_):
        raise CacheFull(28, "no space left on device")

    with CacheManager(f"{folder}/metadata.db", f"{folder}/cache") as cache:
        pipe.send("ready")
        while pipe.recv() == "ask":
            try:
                frame = cache.get_or_fetch(*REQUEST, fetch, backtest_id=backtest_id)
                pipe.send(frame.equals(BARS))
            except FetchFailed as error:
                pipe.send(error)
            except ConnectionError as error:
                pipe.send(str(error))
            cache.flush()  # The link of a hit is on disk within a second otherwise.
            pipe.send(cache.session_stats["miss_count"])


@pytest.fixture
def child(tmp_path):
    """Starts children on the directory of the test; ends those that are left."""
    started = []

    def start(method="spawn", **options):
        started.append(Child(method, tmp_path, **options))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(OSError):
            one.end(signal.SIGKILL)
        one.process.join(TIME_LIMIT_S)


def leases(folder):
    connection = sqlite3.connect(f"{folder}/metadata.db")
    try:
        return connection.execute("SELECT pid, error_type FROM barcache_leases").fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_that_ask_together_fetch_once(child, tmp_path, method):
    children = [child(method, backtest_id=f"bt-{i}") for i in range(4)]
    for one in children:
        one.tell("ask")
    heard = {one: one.hear() for one in children}
    (leader,) = (one for one, word in heard.items() if word == "fetching")
    assert sorted(heard.values()) == ["fetching", "waiting", "waiting", "waiting"]
    assert leases(tmp_path) == [(leader.process.pid, None)]
    leader.tell("go on")
    for one in children:
        assert one.hear() is True, "a second process fetched"
        assert one.hear() == 1
    assert leases(tmp_path) == []
    with CacheManager(tmp_path / "metadata.db", tmp_path / "cache") as cache:
        assert cache.backtests(KEY) == [f"bt-{i}" for i in range(4)]


def test_a_failure_is_told_to_those_who_wait_and_is_not_kept(child, tmp_path):
    leader, waiter = child(), child()
    leader.tell("ask")
    assert leader.hear() == "fetching"
    waiter.tell("ask")
    assert waiter.hear() == "waiting"
    leader.tell("fail")
    assert leader.hear() == "vendor is down"
    error = waiter.hear()  # It has been pickled.
    assert isinstance(error, FetchFailed)
    assert (error.error_type, error.error_message) == ("ConnectionError", "vendor is down")
    assert "ConnectionError: vendor is down; ask again" in str(error)
    assert leases(tmp_path) == [(leader.process.pid, "ConnectionError")]
    for one in (leader, waiter):
        assert one.hear() == 1
    waiter.tell("ask")
    assert waiter.hear() == "fetching", "a call that begins later tries anew"
    waiter.tell("go on")
    assert waiter.hear() is True


def test_what_could_not_be_stored_another_process_fetches_for_itself(child, tmp_path):
    leader, waiter = child(), child()
    leader.tell("ask")
    assert leader.hear() == "fetching"
    waiter.tell("ask")
    assert waiter.hear() == "waiting"
    leader.tell("fill the disk")
    assert leader.hear() is True
    assert waiter.hear() == "fetching"
    waiter.tell("go on")
    assert waiter.hear() is True
    with CacheManager(tmp_path / "metadata.db", tmp_path / "cache") as cache:
        assert_frame_equal(cache.get_cached_data(KEY), BARS)


def test_a_killed_fetcher_is_taken_over_at_once(child):
    leader, waiter = child(), child()
    leader.tell("ask")
    assert leader.hear() == "fetching"
    waiter.tell("ask")
    assert waiter.hear() == "waiting"
    begin = time.monotonic()
    leader.end(signal.SIGKILL)
    assert waiter.hear() == "fetching"
    assert time.monotonic() - begin < 5, "long before its lease of 10 s is past"
    waiter.tell("go on")
    assert waiter.hear() is True


def test_a_stopped_fetcher_is_taken_over_when_its_lease_is_past(child, tmp_path):
    leader, waiter = child(lease_s=SHORT_LEASE_S), child(lease_s=SHORT_LEASE_S)
    leader.tell("ask")
    assert leader.hear() == "fetching"
    waiter.tell("ask")
    assert waiter.hear() == "waiting"
    leader.end(signal.SIGSTOP)
    begin = time.monotonic()
    assert waiter.hear() == "fetching"
    assert time.monotonic() - begin < 5
    leader.end(signal.SIGCONT)
    leader.tell("go on")
    assert leader.hear() is True, "what it fetched is still good"
    assert leases(tmp_path) == [(waiter.process.pid, None)], "it ends nobody else's lease"
    waiter.tell("go on")
    assert waiter.hear() is True
    with CacheManager(tmp_path / "metadata.db", tmp_path / "cache") as cache:
        assert_frame_equal(cache.get_cached_data(KEY), BARS)
        assert cache.check()["clean"]


def test_a_slow_fetcher_keeps_its_lease(child, tmp_path):
    leader, waiter = child(lease_s=SHORT_LEASE_S), child(lease_s=SHORT_LEASE_S)
    leader.tell("ask")
    assert leader.hear() == "fetching"
    waiter.tell("ask")
    assert waiter.hear() == "waiting"
    assert not waiter.pipe.poll(3 * SHORT_LEASE_S), "taken over though it was renewed"
    assert leases(tmp_path) == [(leader.process.pid, None)]
    leader.tell("go on")
    assert leader.hear() is True
    assert waiter.hear() is True


def test_the_lease_is_ten_seconds():
    assert CacheManager._lease_s == 10.0


def test_a_forked_child_does_not_hold_its_parents_flight(tmp_path):
    context = multiprocessing.get_context("fork")
    with CacheManager(tmp_path / "metadata.db", tmp_path / "cache") as cache:
        other = (["GOOG"], *REQUEST[1:])

        def ask_for_another():
            assert cache._flights._running == {}
            assert cache.get_or_fetch(*other, lambda *_: BARS).equals(BARS)

        def fetch(*_):
            one = context.Process(target=ask_for_another)
            one.start()
            one.join(TIME_LIMIT_S)
            assert one.exitcode == 0
            assert [pid for pid, _ in leases(tmp_path)] == [os.getpid()]
            return BARS

        assert cache.get_or_fetch(*REQUEST, fetch).equals(BARS)
        assert leases(tmp_path) == []
        assert len(cache) == 2
