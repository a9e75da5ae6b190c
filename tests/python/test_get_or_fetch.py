"""get_or_fetch in one process: calls, answers, what is stored, what threads share."""

import logging
import subprocess
import sys
import threading
import time

import polars as pl
import pytest
from barcache import CacheClosed, CacheFull, CacheManager, InvalidArgument, InvalidType
from polars.testing import assert_frame_equal

REQUEST = (["MSFT", "AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance")
KEY = "8a3c9ff46519d39e"
BARS = pl.DataFrame({"close": [1.5, 2.5], "symbol": ["AAPL", None]})
TIME_LIMIT_S = 60


class Vendor:
    """Counts its calls, and answers with a frame or an exception."""

    def __init__(self, answer=BARS):
        self.answer = answer
        self.calls = []

    def __call__(self, *arguments, **named):
        assert not named
        self.calls.append(arguments)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class HeldVendor(Vendor):
    """Answers when it is let go on."""

    def __init__(self, answer=BARS):
        super().__init__(answer)
        self.called = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, *arguments):
        self.called.set()
        assert self.go_on.wait(TIME_LIMIT_S)
        return super().__call__(*arguments)


class Asker(threading.Thread):
    """A thread with one call of get_or_fetch, and what became of it."""

    def __init__(self, cache, fetch_fn, request=REQUEST, **options):
        super().__init__(daemon=True)
        self.call = lambda: cache.get_or_fetch(*request, fetch_fn, **options)
        self.answer = self.error = None
        self.start()

    def run(self):
        try:
            self.answer = self.call()
        except BaseException as error:
            self.error = error

    def outcome(self):
        self.join(TIME_LIMIT_S)
        assert not self.is_alive()
        return self.answer if self.error is None else self.error


def wait_for_waiters(cache, count, key=KEY):
    """Until that many threads wait for the flight of the key."""
    condition = cache._flights._running[key].future._condition
    for _ in range(TIME_LIMIT_S * 1000):
        with condition:
            if len(condition._waiters) >= count:
                return
        threading.Event().wait(0.001)
    raise AssertionError("the threads do not wait")


# --- one caller -----------------------------------------------------------------------------


def test_a_miss_is_fetched_with_the_arguments_as_given_and_stored(make):
    cache = make()
    vendor = Vendor()
    assert_frame_equal(cache.get_or_fetch(*REQUEST, vendor), BARS)
    assert vendor.calls == [REQUEST[:4]]
    assert vendor.calls[0][0] is REQUEST[0]
    assert cache.entries() == [KEY]
    assert_frame_equal(cache.get_or_fetch(*REQUEST, vendor), BARS)
    assert len(vendor.calls) == 1
    assert cache.session_stats == {"hit_count": 1, "miss_count": 1, "hot_hits": 1, "cold_hits": 0}
    assert cache._entry(KEY)["request"].startswith('{"data_source": "yfinance"')


def test_a_whole_answer_that_was_cleared_is_one_miss_again(cache):
    vendor = Vendor()
    for misses in (1, 2):
        cache.get_or_fetch(*REQUEST, vendor)
        assert cache.session_stats["miss_count"] == misses
        cache.clear_cache(KEY)


def test_the_frame_returned_is_the_callers_own(cache):
    first = cache.get_or_fetch(*REQUEST, Vendor())
    first.insert_column(0, pl.Series("mine", [1, 2]))
    assert cache.get_or_fetch(*REQUEST, Vendor()).columns == BARS.columns


@pytest.mark.parametrize("kind", ["lazy", "pandas", "arrow", "stream"])
def test_any_frame_that_put_takes_comes_back_as_polars(cache, kind):
    import pandas as pd
    import pyarrow as pa

    frame = {
        "lazy": lambda: BARS.lazy(),
        "pandas": lambda: pd.DataFrame({"close": [1.5, 2.5]}, index=pd.Index([7, 8], name="n")),
        "arrow": lambda: pa.table({"close": [1.5, 2.5]}),
        "stream": lambda: pa.table({"close": [1.5, 2.5]}).to_reader(),
    }[kind]()
    answer = cache.get_or_fetch(*REQUEST, Vendor(frame))
    assert isinstance(answer, pl.DataFrame)
    cold = CacheManager(cache.db_path, cache.cache_directory)
    assert_frame_equal(cold.get_cached_data(KEY), answer)
    if kind == "pandas":
        pd.testing.assert_frame_equal(cold.get_cached_data(KEY, frame="pandas"), frame)
    cold.close()


def test_the_dataset_is_made_once(cache, events):
    datasets = cache.metadata_catalog
    known = datasets.create_dataset("csv", "1d", schema_version=7)
    cache.get_or_fetch(["A"], "a", "b", "1d", "csv", Vendor())
    cache.get_or_fetch(["A"], "a", "b", "1h", "csv", Vendor())
    cache.get_or_fetch(["B"], "a", "b", "1h", "csv", Vendor())
    ids = {e["cache_key"]: e["dataset_id"] for e in cache.entry_infos()}
    assert sorted(ids.values()) == [known, known + 1, known + 1]
    made = datasets.get_dataset_info(known + 1)
    assert (made["source"], made["resolution"], made["schema_version"]) == ("csv", "1h", 1)
    assert made["created_at"] == made["updated_at"] > 1_700_000_000
    assert [r.dataset_id for r in events.named("dataset_created")] == [known, known + 1]


def test_the_seconds_that_a_fetch_took_are_its_cost(cache):
    seconds = [10.0, 12.5]

    import barcache.flights as flights

    clock = iter(seconds)
    original = flights.time.perf_counter
    flights.time.perf_counter = lambda: next(clock)
    try:
        cache.get_or_fetch(*REQUEST, Vendor())
    finally:
        flights.time.perf_counter = original
    assert fetch_cost(cache) == 2.5
    cache.put_cached_data(KEY, BARS, dataset_id=1)
    assert fetch_cost(cache) == 2.5, "a put that does not know keeps it"


def fetch_cost(cache):
    import sqlalchemy as sa

    with cache.metadata_catalog.engine.connect() as connection:
        sql = sa.text("SELECT fetch_cost FROM barcache_entries WHERE cache_key = :key")
        return connection.execute(sql, {"key": KEY}).scalar_one()


def test_a_fetch_that_raises_is_not_cached(cache):
    error = ValueError("no such symbol")
    with pytest.raises(ValueError, match="no such symbol") as caught:
        cache.get_or_fetch(*REQUEST, Vendor(error))
    assert caught.value is error
    assert len(cache) == 0
    assert_frame_equal(cache.get_or_fetch(*REQUEST, Vendor()), BARS)


def test_what_is_no_frame_names_fetch_fn(cache):
    with pytest.raises(InvalidType, match=r"fetch_fn returned.*NoneType"):
        cache.get_or_fetch(*REQUEST, Vendor(None))
    with pytest.raises(InvalidType, match="callable"):
        cache.get_or_fetch(*REQUEST, None)


def test_an_async_fetcher_is_told_the_method_to_use(cache):
    async def fetch(*_):
        return BARS

    class Source:
        async def __call__(self, *_):
            return BARS

    for fetcher in (fetch, Source(), lambda *a: fetch(*a)):
        with pytest.raises(InvalidType, match="aget_or_fetch"):
            cache.get_or_fetch(*REQUEST, fetcher)


def test_a_fetcher_may_ask_for_another_request_but_not_for_its_own(cache):
    other = (["GOOG"], *REQUEST[1:])

    def nested(*_):
        return cache.get_or_fetch(*other, Vendor())

    assert_frame_equal(cache.get_or_fetch(*REQUEST, nested), BARS)
    cache.clear_cache()

    def itself(*_):
        return cache.get_or_fetch(*REQUEST, Vendor())

    with pytest.raises(InvalidArgument, match="asked for itself"):
        cache.get_or_fetch(*REQUEST, itself)
    assert_frame_equal(cache.get_or_fetch(*REQUEST, Vendor()), BARS)


def test_a_fetcher_may_ask_another_cache_but_not_for_its_own_by_another_manager(make, tmp_path):
    outer, same = make(), make()
    elsewhere = make(db_path=tmp_path / "2.db", cache_directory=tmp_path / "2")

    def behind(*_):
        return elsewhere.get_or_fetch(*REQUEST, Vendor())

    assert_frame_equal(outer.get_or_fetch(*REQUEST, behind), BARS)
    outer.clear_cache()

    def itself(*_):
        return same.get_or_fetch(*REQUEST, Vendor())

    with pytest.raises(InvalidArgument, match="asked for itself"):
        outer.get_or_fetch(*REQUEST, itself)


def test_backtests_are_linked(cache):
    cache.get_or_fetch(*REQUEST, Vendor(), backtest_id="bt-1")
    with cache.backtest("bt-2"):
        cache.get_or_fetch(*REQUEST, Vendor())
    assert cache.backtests(KEY) == ["bt-1", "bt-2"]


def test_a_hit_costs_little_more_than_its_key_and_its_get(cache):
    vendor = Vendor()
    cache.get_or_fetch(*REQUEST, vendor)

    def seconds(call):
        begin_s = time.perf_counter()
        for _ in range(1000):
            call()
        return time.perf_counter() - begin_s

    apart, together = [], []
    for _ in range(20):  # In turns; the best of each.
        apart.append(seconds(lambda: cache.get_cached_data(cache.generate_cache_key(*REQUEST))))
        together.append(seconds(lambda: cache.get_or_fetch(*REQUEST, vendor)))
    assert min(together) < 1.6 * min(apart)


# --- what cannot be stored ------------------------------------------------------------------


def test_a_read_only_cache_fetches_and_stores_nothing(make, events):
    make().close()
    cache = make(read_only=True)
    for _ in range(2):
        vendor = Vendor()
        assert_frame_equal(cache.get_or_fetch(*REQUEST, vendor), BARS)
        assert len(vendor.calls) == 1
    assert len(cache) == 0
    assert events.named("cache_fetch_not_stored") == []


def test_a_frame_that_cannot_be_stored_is_returned_with_a_warning(cache, events):
    odd = pl.DataFrame({"x": [object()]}, schema={"x": pl.Object})
    assert cache.get_or_fetch(*REQUEST, Vendor(odd)).columns == ["x"]
    (line,) = events.named("cache_fetch_not_stored")
    assert (line.levelno, line.cache_key) == (logging.WARNING, KEY)
    assert "Object" in line.error


def test_a_full_disk_costs_the_storing_only(cache, events, monkeypatch):
    def full(*_):
        raise CacheFull(28, "no space left")

    monkeypatch.setattr(type(cache), "_put_fetched", full, raising=False)
    held = HeldVendor()
    askers = [Asker(cache, held) for _ in range(4)]
    assert held.called.wait(TIME_LIMIT_S)
    wait_for_waiters(cache, 3)
    held.go_on.set()
    for asker in askers:
        assert_frame_equal(asker.outcome(), BARS)
    assert len(cache) == 0
    (line,) = events.named("cache_fetch_not_stored")
    assert line.levelno == logging.WARNING
    assert "no space" in line.error


NOT_A_BYTE = """
import logging, resource, signal, sys
import polars as pl
from barcache import CacheManager
logging.basicConfig(format="%(message)s", level=logging.WARNING)
cache = CacheManager(f"{sys.argv[1]}/metadata.db", f"{sys.argv[1]}/cache")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
calls = []
def fetch(*arguments):
    calls.append(arguments)
    return pl.DataFrame({"close": [1.0, 2.0]})
for _ in range(2):
    frame = cache.get_or_fetch(["AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance", fetch)
    assert frame["close"].to_list() == [1.0, 2.0]
assert len(calls) == 2
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
cache.get_or_fetch(["AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance", fetch)
cache.get_or_fetch(["AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance", fetch)
assert len(calls) == 3
"""


def test_where_not_a_byte_can_be_written_neither_lease_nor_entry_stops_a_fetch(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", NOT_A_BYTE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "cache_fetch_not_stored" in result.stderr
    assert "cache_lease_failed" in result.stderr


def test_a_cache_closed_meanwhile_still_returns_what_was_fetched(make, events):
    cache = make()
    held = HeldVendor()
    asker = Asker(cache, held)
    assert held.called.wait(TIME_LIMIT_S)
    cache.close()
    held.go_on.set()
    assert_frame_equal(asker.outcome(), BARS)
    assert "closed" in events.named("cache_fetch_not_stored")[0].error
    with pytest.raises(CacheClosed):
        cache.get_or_fetch(*REQUEST, Vendor())
    again = make()
    assert_frame_equal(again.get_or_fetch(*REQUEST, Vendor()), BARS)


# --- threads --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["file", "memory"])
def test_sixteen_threads_fetch_once(make, where):
    cache = make(db_path=":memory:") if where == "memory" else make()
    held = HeldVendor()
    askers = [Asker(cache, held, backtest_id=f"bt-{i:02}") for i in range(16)]
    assert held.called.wait(TIME_LIMIT_S)
    wait_for_waiters(cache, 15)
    held.go_on.set()
    frames = [asker.outcome() for asker in askers]
    assert len(held.calls) == 1
    for frame in frames:
        assert_frame_equal(frame, BARS)
    assert len({id(frame) for frame in frames}) == 16
    assert cache.backtests(KEY) == [f"bt-{i:02}" for i in range(16)]
    assert cache._flights._running == {}


def test_all_threads_that_wait_get_the_same_exception(cache):
    error = ConnectionError("vendor is down")
    held = HeldVendor(error)
    first = Asker(cache, held)
    assert held.called.wait(TIME_LIMIT_S)
    others = [Asker(cache, Vendor()) for _ in range(3)]
    wait_for_waiters(cache, 3)
    held.go_on.set()
    assert first.outcome() is error
    assert all(asker.outcome() is error for asker in others)
    assert_frame_equal(cache.get_or_fetch(*REQUEST, Vendor()), BARS)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_thread_is_followed_by_another(cache, kind):
    error = kind()
    held = HeldVendor(error)
    first = Asker(cache, held)
    assert held.called.wait(TIME_LIMIT_S)
    vendor = Vendor()
    second = Asker(cache, vendor)
    wait_for_waiters(cache, 1)
    held.go_on.set()
    assert first.outcome() is error
    assert_frame_equal(second.outcome(), BARS)
    assert len(vendor.calls) == 1
