"""aget_or_fetch: one flight with the sync calls, a loop that goes on, cancellation."""

import asyncio
import threading

import polars as pl
import pytest
from barcache import CacheClosed, CacheManager, InvalidArgument
from polars.testing import assert_frame_equal

REQUEST = (["MSFT", "AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance")
OTHER = (["GOOG"], *REQUEST[1:])
KEY = "8a3c9ff46519d39e"
BARS = pl.DataFrame({"close": [1.5, 2.5]})
TIME_LIMIT_S = 60


def run(coroutine):
    """Runs it under a limit of time."""
    return asyncio.run(asyncio.wait_for(coroutine, TIME_LIMIT_S))


class AsyncVendor:
    """An async fetcher that can be held, and counts its calls."""

    def __init__(self, answer=BARS, held=False):
        self.answer = answer
        self.calls = []
        self.called = asyncio.Event()
        self.go_on = asyncio.Event()
        if not held:
            self.go_on.set()

    async def __call__(self, *arguments):
        self.calls.append(arguments)
        self.called.set()
        await self.go_on.wait()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


async def until_waiting(cache, count):
    """Until that many tasks wait for the flight of the key."""
    future = cache._flights._running[KEY].future
    while len(future._done_callbacks) < count:
        await asyncio.sleep(0.001)


def test_a_miss_is_awaited_stored_and_then_a_hit(cache):
    async def main():
        vendor = AsyncVendor()
        for _ in range(2):
            frame = await cache.aget_or_fetch(*REQUEST, vendor, backtest_id="bt-1")
            assert_frame_equal(frame, BARS)
        assert vendor.calls == [REQUEST[:4]]
        assert vendor.calls[0][0] is REQUEST[0]

    run(main())
    assert cache.backtests(KEY) == ["bt-1"]
    assert cache.session_stats["miss_count"] == 1


@pytest.mark.parametrize("kind", ["plain", "returns an awaitable"])
def test_a_plain_fetcher_runs_beside_the_loop(cache, kind):
    async def main():
        threads = []

        async def later():
            return BARS

        def fetch(*_):
            threads.append(threading.get_ident())
            return BARS if kind == "plain" else later()

        assert_frame_equal(await cache.aget_or_fetch(*REQUEST, fetch), BARS)
        assert threads[0] != threading.get_ident()

    run(main())
    assert len(cache) == 1


def test_a_hundred_tasks_fetch_once_while_the_loop_goes_on(cache):
    async def main():
        vendor = AsyncVendor(held=True)
        tasks = [
            asyncio.create_task(cache.aget_or_fetch(*REQUEST, vendor, backtest_id=f"bt-{i:02}"))
            for i in range(100)
        ]
        await vendor.called.wait()
        await until_waiting(cache, 99)
        # More tasks wait than there are threads: what the leader needs a thread for still runs.
        other = await cache.aget_or_fetch(*OTHER, AsyncVendor())
        assert_frame_equal(other, BARS)
        vendor.go_on.set()
        for frame in await asyncio.gather(*tasks):
            assert_frame_equal(frame, BARS)
        assert len(vendor.calls) == 1

    run(main())
    assert cache.backtests(KEY) == [f"bt-{i:02}" for i in range(100)]


def test_threads_and_tasks_share_one_flight(cache):
    async def main():
        vendor = AsyncVendor(held=True)
        task = asyncio.create_task(cache.aget_or_fetch(*REQUEST, vendor))
        await vendor.called.wait()
        thread = asyncio.create_task(asyncio.to_thread(cache.get_or_fetch, *REQUEST, refuse))
        while not cache._flights._running[KEY].future._condition._waiters:
            await asyncio.sleep(0.001)
        vendor.go_on.set()
        assert_frame_equal(await task, BARS)
        assert_frame_equal(await thread, BARS)

    run(main())


def test_a_task_waits_for_a_thread_that_fetches(cache):
    async def main():
        called, go_on = threading.Event(), threading.Event()

        def fetch(*_):
            called.set()
            assert go_on.wait(TIME_LIMIT_S)
            return BARS

        thread = asyncio.create_task(asyncio.to_thread(cache.get_or_fetch, *REQUEST, fetch))
        await asyncio.to_thread(called.wait, TIME_LIMIT_S)
        task = asyncio.create_task(cache.aget_or_fetch(*REQUEST, refuse))
        await until_waiting(cache, 1)
        go_on.set()
        assert_frame_equal(await task, BARS)
        assert_frame_equal(await thread, BARS)

    run(main())


def refuse(*_):
    raise AssertionError("fetched twice")


def test_all_tasks_get_the_same_exception(cache):
    async def main():
        error = ConnectionError("vendor is down")
        vendor = AsyncVendor(error, held=True)
        tasks = [asyncio.create_task(cache.aget_or_fetch(*REQUEST, vendor)) for _ in range(3)]
        await vendor.called.wait()
        await until_waiting(cache, 2)
        vendor.go_on.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(outcome is error for outcome in outcomes)
        assert_frame_equal(await cache.aget_or_fetch(*REQUEST, AsyncVendor()), BARS)

    run(main())


def test_a_cancelled_leader_is_followed_by_a_task_that_waits(cache):
    async def main():
        first, second = AsyncVendor(held=True), AsyncVendor()
        leader = asyncio.create_task(cache.aget_or_fetch(*REQUEST, first))
        await first.called.wait()
        waiter = asyncio.create_task(cache.aget_or_fetch(*REQUEST, second))
        await until_waiting(cache, 1)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        assert_frame_equal(await waiter, BARS)
        assert len(second.calls) == 1

    run(main())
    assert len(cache) == 1


def test_a_cancelled_waiter_disturbs_nobody(cache):
    async def main():
        vendor = AsyncVendor(held=True)
        leader = asyncio.create_task(cache.aget_or_fetch(*REQUEST, vendor))
        await vendor.called.wait()
        waiters = [asyncio.create_task(cache.aget_or_fetch(*REQUEST, refuse)) for _ in range(2)]
        await until_waiting(cache, 2)
        waiters[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiters[0]
        vendor.go_on.set()
        assert_frame_equal(await leader, BARS)
        assert_frame_equal(await waiters[1], BARS)

    run(main())


def test_a_cancelled_flight_leaves_no_lease(make):
    cache = make()

    async def main():
        vendor = AsyncVendor(held=True)
        leader = asyncio.create_task(cache.aget_or_fetch(*REQUEST, vendor))
        await vendor.called.wait()
        other = CacheManager(cache.db_path, cache.cache_directory)
        waiter = asyncio.create_task(other.aget_or_fetch(*REQUEST, AsyncVendor()))
        leader.cancel()
        assert_frame_equal(await waiter, BARS)
        other.close()

    run(main())


def test_a_fetcher_that_awaits_itself_is_refused(cache):
    async def main():
        async def itself(*_):
            return await cache.aget_or_fetch(*REQUEST, AsyncVendor())

        with pytest.raises(InvalidArgument, match="asked for itself"):
            await cache.aget_or_fetch(*REQUEST, itself)

        async def another(*_):
            return await cache.aget_or_fetch(*OTHER, AsyncVendor())

        assert_frame_equal(await cache.aget_or_fetch(*REQUEST, another), BARS)

    run(main())


def test_a_sync_call_that_would_block_the_loop_of_its_leader_is_refused(cache):
    async def main():
        vendor = AsyncVendor(held=True)
        leader = asyncio.create_task(cache.aget_or_fetch(*REQUEST, vendor))
        await vendor.called.wait()
        with pytest.raises(InvalidArgument, match="wait for ever"):
            cache.get_or_fetch(*REQUEST, refuse)
        vendor.go_on.set()
        assert_frame_equal(await leader, BARS)

    run(main())


def test_the_block_around_a_call_links_it(cache):
    async def main():
        with cache.backtest("bt-7"):
            await cache.aget_or_fetch(*REQUEST, AsyncVendor())

    run(main())
    assert cache.backtests(KEY) == ["bt-7"]


def test_a_closed_cache_says_so(make):
    cache = make()
    cache.close()
    with pytest.raises(CacheClosed):
        run(cache.aget_or_fetch(*REQUEST, refuse))
