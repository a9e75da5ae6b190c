"""aget_or_fetch keeps the contract of get_or_fetch (test_bars), and what only tasks can do."""

import asyncio
import contextlib
import inspect
import threading
from datetime import UTC, datetime

import polars as pl
import pytest
import test_bars
from bar_vendor import Vendor
from barcache import CacheManager
from barcache.flights import is_async_function
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from test_bars import vendor  # noqa: F401 - a fixture.
from test_bars_oracle import GRIDS, SEQUENCES, Play, play_through, steps

TIME_LIMIT_S = 60
DAYS = ("2023-01-05", "2023-01-20", "1d")
SIGNATURE = inspect.signature(CacheManager.get_or_fetch)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, TIME_LIMIT_S))


# --- the contract of the sync calls -------------------------------------------------------------


def pytest_generate_tests(metafunc):
    """The tests of test_bars ask by aget_or_fetch, with what they fetch by as it is or async."""
    if metafunc.function.__name__ in OF_BARS:
        metafunc.parametrize("asked_by", ["plain fetch", "async fetch"], indirect=True)


@pytest.fixture(autouse=True)
def asked_by(request, monkeypatch):
    if request.function.__name__ not in OF_BARS:
        yield
        return
    asked = []

    def asked_by_a_task(cache, *call, **options):
        asked.append(call)
        bound = SIGNATURE.bind(cache, *call, **options)
        fetch_fn = bound.arguments.get("fetch_fn")
        if request.param == "async fetch" and callable(fetch_fn):
            bound.arguments["fetch_fn"] = as_async(fetch_fn)
        return run(CacheManager.aget_or_fetch(*bound.args, **bound.kwargs))

    monkeypatch.setattr(CacheManager, "get_or_fetch", asked_by_a_task)
    yield
    assert asked


def as_async(fetch):
    async def afetch(*call):
        await asyncio.sleep(0)
        return fetch(*call)

    return afetch


OF_THREADS = {"test_threads_fetch_a_gap_once"}  # It counts threads that wait: see below for tasks.
OF_BARS = {
    name: test
    for name, test in vars(test_bars).items()
    if name.startswith("test_") and name not in OF_THREADS
}
assert vars(test_bars).keys() > OF_THREADS
globals().update(OF_BARS)


def test_both_have_one_signature():
    assert inspect.signature(CacheManager.aget_or_fetch).parameters == SIGNATURE.parameters


class AsyncPlay(Play):
    """Sequences of requests, with async calls of an async source."""

    def open(self):
        cache = super().open()

        def ask(*call, **options):
            return run(cache.aget_or_fetch(*call[:-1], as_async(call[-1]), **options))

        cache.get_or_fetch = ask
        return cache


@settings(
    max_examples=max(20, SEQUENCES // 4),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(steps, min_size=3, max_size=14), st.sampled_from(sorted(GRIDS)), st.integers(0, 2))
def test_random_sequences_are_answered_alike(sequence, grid, overlap):
    play_through(AsyncPlay, sequence, grid, overlap)


# --- tasks --------------------------------------------------------------------------------------


class Held(Vendor):
    """An async source whose calls can be held, and are counted."""

    source_id = "vendor"

    def __init__(self):
        super().__init__()
        self.go_on = asyncio.Event()
        self.called = asyncio.Event()

    async def fetch(self, *call):
        answer = self(*call)
        self.called.set()
        await self.go_on.wait()
        return answer


async def until(true):
    while not true():
        await asyncio.sleep(0.001)


def waiting(cache):
    """How many tasks wait for flights."""
    flights = list(cache._flights._running.values())
    return sum(len(flight.future._done_callbacks) for flight in flights)


def test_tasks_fetch_a_gap_once_while_the_loop_goes_on(cache):
    async def main():
        source = Held()
        calls = [cache.aget_or_fetch(["A", "B"], *DAYS, source) for _ in range(40)]
        tasks = [asyncio.create_task(call) for call in calls]
        await until(lambda: waiting(cache) == 39)
        assert_frame_equal(  # Another request goes on beside them.
            await cache.aget_or_fetch("C", *DAYS, "vendor", Vendor()),
            Vendor()(["C"], *DAYS),
        )
        source.go_on.set()
        for answer in await asyncio.gather(*tasks):
            assert_frame_equal(answer, Vendor()(["A", "B"], *DAYS))
        assert len(source.calls) == 1

    run(main())


def test_a_gap_is_shared_by_requests_that_differ(cache):
    async def main():
        source = Held()
        source.go_on.set()
        await cache.aget_or_fetch("A", "2023-01-01", "2023-01-10", "1d", source)
        await cache.aget_or_fetch("B", "2023-01-05", "2023-01-10", "1d", source)
        source.calls.clear()
        source.go_on.clear()
        requests = (["A"], "2023-01-01"), (["A"], "2023-01-07"), (["A", "B"], "2023-01-06")
        tasks = [
            asyncio.create_task(
                cache.aget_or_fetch(symbols, start, "2023-01-20", "1d", source, overlap=0)
            )
            for symbols, start in requests[:2]
        ]
        await until(lambda: waiting(cache) == 1)
        source.go_on.set()
        whole, part = await asyncio.gather(*tasks)
        assert source.calls == [(("A",), "2023-01-11", "2023-01-20")]
        assert whole.height == 20
        assert part.height == 14

    run(main())


def test_threads_and_tasks_share_the_fetch_of_a_gap(cache):
    async def main():
        source = Held()
        task = asyncio.create_task(cache.aget_or_fetch("A", *DAYS, source))
        await source.called.wait()
        thread = asyncio.create_task(
            asyncio.to_thread(cache.get_or_fetch, "A", *DAYS, "vendor", refuse)
        )
        await until(lambda: _has_waiting_thread(cache))
        source.go_on.set()
        assert_frame_equal(await task, await thread)
        assert len(source.calls) == 1

    run(main())


def _has_waiting_thread(cache):
    flights = list(cache._flights._running.values())
    return any(flight.future._condition._waiters for flight in flights)


def refuse(*_):
    raise AssertionError("fetched twice")


def test_a_cancelled_task_that_waits_disturbs_nobody(cache):
    async def main():
        source = Held()
        leader = asyncio.create_task(cache.aget_or_fetch("A", *DAYS, source))
        await source.called.wait()
        waiters = [asyncio.create_task(cache.aget_or_fetch("A", *DAYS, source)) for _ in range(2)]
        await until(lambda: waiting(cache) == 2)
        waiters[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiters[0]
        source.go_on.set()
        assert_frame_equal(await leader, await waiters[1])
        assert len(source.calls) == 1

    run(main())


def test_a_cancelled_task_that_fetches_is_followed_by_one_that_waits(make):
    cache = make()

    async def main():
        first, second, elsewhere = Held(), Held(), Held()
        leader = asyncio.create_task(cache.aget_or_fetch("A", *DAYS, first))
        await first.called.wait()
        waiter = asyncio.create_task(cache.aget_or_fetch("A", *DAYS, second))
        await until(lambda: waiting(cache) == 1)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        second.go_on.set()
        assert_frame_equal(await waiter, Vendor()(["A"], *DAYS))
        assert len(second.calls) == 1

        # And one that is cancelled alone leaves no lease to another manager of the directory.
        leader = asyncio.create_task(cache.aget_or_fetch("B", *DAYS, Held()))
        await until(lambda: cache._flights._running)
        leader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leader
        elsewhere.go_on.set()
        other = CacheManager(cache.db_path, cache.cache_directory)
        assert_frame_equal(await other.aget_or_fetch("B", *DAYS, elsewhere), Vendor()(["B"], *DAYS))
        other.close()
        assert cache._flights._running == {}

    run(main())


def test_all_tasks_get_the_exception_and_what_came_before_is_kept(cache):
    async def main():
        source = Held()
        source.go_on.set()
        await cache.aget_or_fetch("A", *DAYS, source)
        source.error = OSError("the line is dead")
        calls = [cache.aget_or_fetch(["A", "B"], *DAYS, source) for _ in range(3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, OSError) for outcome in outcomes)
        source.error = None
        source.calls.clear()
        await cache.aget_or_fetch(["A", "B"], *DAYS, source)
        assert [symbols for symbols, *_ in source.calls] == [("B",)]

    run(main())


def test_a_restated_history_is_fetched_by_the_same_loop(cache):
    """Also what is fetched while an answer is stored is awaited, by as many tasks as there are."""

    async def main():
        loops = []

        class Restating(Vendor):
            factor = 1

            async def fetch(self, *call):
                loops.append(asyncio.get_running_loop())
                # A nested request needs a thread of the cache's own.
                await cache.aget_or_fetch("Z", *DAYS, "other", Vendor())
                return self(*call).with_columns(pl.col("close") * self.factor)

        source = Restating()
        source.source_id = "restating"
        symbols = [f"S{number}" for number in range(12)]
        for symbol in symbols:
            await cache.aget_or_fetch(symbol, "2023-01-01", "2023-01-10", "1d", source)
        source.factor = 3
        source.calls.clear()
        calls = [cache.aget_or_fetch(name, "2023-01-01", *DAYS[1:], source) for name in symbols]
        for symbol, answer in zip(symbols, await asyncio.gather(*calls), strict=True):
            expected = Vendor()([symbol], "2023-01-01", *DAYS[1:])
            assert_frame_equal(answer, expected.with_columns(pl.col("close") * 3))
        assert len(source.calls) == 24
        assert set(loops) == {asyncio.get_running_loop()}

    run(main())


# --- async sources and sync calls ---------------------------------------------------------------


class AsyncAdapter:
    """Shaped as one of RustyBT's; what it opens belongs to the loop it was opened in."""

    name = "AcmeAdapter"

    def __init__(self):
        self.loops = set()
        self.lock = None
        self.calls = 0

    async def fetch(self, symbols, start_date, end_date, resolution):
        self.loops.add(asyncio.get_running_loop())
        self.lock = self.lock or asyncio.Lock()
        async with self.lock:
            self.calls += 1
            await asyncio.sleep(0)
            return Vendor()(symbols, start_date.to_pydatetime(), _day_end(end_date), resolution)

    def standardize(self, df):
        return df


def _day_end(stamp):
    return stamp.to_pydatetime()


@pytest.mark.parametrize("where", ["no loop", "in a running loop", "in threads beside a loop"])
def test_an_async_adapter_answers_sync_calls_anywhere(cache, where):
    adapter = AsyncAdapter()
    assert is_async_function(adapter.fetch)

    def ask(symbol):
        return cache.get_or_fetch(symbol, datetime(2023, 1, 5), datetime(2023, 1, 9), "1d", adapter)

    async def in_loop():
        return [ask(symbol) for symbol in "AABC"]

    async def beside():
        return await asyncio.gather(*(asyncio.to_thread(ask, symbol) for symbol in "AABC"))

    if where == "no loop":
        answers = [ask(symbol) for symbol in "AABC"]
    else:
        answers = run(in_loop() if where == "in a running loop" else beside())
    assert [answer.height for answer in answers] == [5] * 4
    assert adapter.calls == 3
    assert len(adapter.loops) == 1, "its session and locks belong to one loop"
    assert ask("A").height == 5
    assert adapter.calls == 3


def test_an_async_adapter_is_awaited_by_async_calls_in_their_loop(cache):
    adapter = AsyncAdapter()

    async def main():
        answer = await cache.aget_or_fetch(
            "A", datetime(2023, 1, 5, tzinfo=UTC), datetime(2023, 1, 9, tzinfo=UTC), "1d", adapter
        )
        assert answer.height == 5
        assert adapter.loops == {asyncio.get_running_loop()}

    run(main())


def test_a_plain_source_does_not_block_the_loop(cache):
    async def main():
        here, threads = threading.get_ident(), []

        class Plain(Vendor):
            source_id = "plain"

            def fetch(self, *call):
                threads.append(threading.get_ident())
                return self(*call)

        await cache.aget_or_fetch("A", *DAYS, Plain())
        assert here not in threads

    run(main())
