"""Sources over their rate limit: get_or_fetch and warm wait for them, a bounded time."""

import asyncio
import pickle
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from barcache import CacheManager, InvalidArgument, InvalidType, PartialCoverage, RateLimited
from barcache import WarmPlan as Plan
from barcache.sources import Retry, source_error, with_retry
from barcache.warming.pace import Pace
from polars.testing import assert_frame_equal
from warm_sources import daily

TIME_LIMIT_S = 60
DAYS = ("2023-01-01", "2023-01-10")


class Clock:
    def __init__(self):
        self.now_s = 0.0
        self.slept = []

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds

    def retry(self, **options):
        return Retry(clock=self, sleep=self.sleep, fraction=lambda: 1.0, **options)


class Limited:
    """Raises what it is given, one error a call, then answers."""

    source_id = "limited"

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = []

    def fetch(self, symbols, start, end, _resolution):
        self.calls.append(tuple(symbols))
        if self.errors:
            raise self.errors.pop(0)
        return daily(symbols, start, end)


class LimitedAsync(Limited):
    async def fetch(self, *call):
        return Limited.fetch(self, *call)


def named(name, **attributes):
    """An error as a vendor's package would define it."""
    return type(name, (Exception,), attributes)("what the vendor says")


LIMITS = {
    "ours": lambda: RateLimited("slow down"),
    "RustyBT": lambda: named("RateLimitError", reset_after=None),
    "ccxt": lambda: named("RateLimitExceeded"),
    "yfinance": lambda: named("YFRateLimitError"),
    "requests": lambda: named("HTTPError", response=type("Response", (), {"status_code": 429})()),
    "aiohttp": lambda: named("ClientResponseError", status=429),
    "a status": lambda: named("APIError", status_code=429),
}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["sync", "async", "async source", "sync with async source"])
def ask(request):
    """Asks for bars in one of four ways; ``ask.source`` makes the source for it."""
    kind = LimitedAsync if "async source" in request.param else Limited

    def ask(cache, *call, **options):
        if request.param.startswith("sync"):
            return cache.get_or_fetch(*call, **options)
        asked = cache.aget_or_fetch(*call, **options)
        return asyncio.run(asyncio.wait_for(asked, TIME_LIMIT_S))

    ask.source = kind
    return ask


# --- get_or_fetch -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LIMITS)
def test_a_limit_is_waited_for_whoever_says_it(make, clock, ask, kind, events):
    cache = make(retry=clock.retry())
    source = ask.source(LIMITS[kind](), LIMITS[kind]())
    answer = ask(cache, "A", *DAYS, "1d", source)
    assert_frame_equal(answer, daily(["A"], *DAYS))
    assert clock.slept == [1.0, 2.0]
    assert len(source.calls) == 3
    told = events.named("source_rate_limited")
    assert [(record.source, record.attempt, record.delay_s) for record in told] == [
        ("limited", 1, 1.0),
        ("limited", 2, 2.0),
    ]
    assert ask(cache, "A", *DAYS, "1d", source).equals(answer)
    assert len(source.calls) == 3


def test_but_never_for_ever(make, clock, ask):
    cache = make(retry=clock.retry(attempts=3))
    error = named("RateLimitExceeded")
    source = ask.source(*[error] * 99)
    with pytest.raises(type(error)) as caught:
        ask(cache, "A", *DAYS, "1d", source)
    assert caught.value is error
    assert caught.value.__notes__ == ["asked 3 times before giving up"]
    assert len(source.calls) == 3
    assert cache.coverage().is_empty()
    source.errors.clear()
    assert ask(cache, "A", *DAYS, "1d", source).height == 10


def test_the_time_is_bounded_and_a_limit_that_ends_later_is_not_waited_for(make, clock, ask):
    cache = make(retry=clock.retry(attempts=99, max_delay_s=30, total_s=100))
    source = ask.source(*[RateLimited("slow down")] * 99)
    with pytest.raises(RateLimited):
        ask(cache, "A", *DAYS, "1d", source)
    assert clock.slept == [1, 2, 4, 8, 16, 30, 30]
    source.errors = [RateLimited("tomorrow", reset_after_s=86_400)]
    source.calls.clear()
    with pytest.raises(RateLimited):
        ask(cache, "A", *DAYS, "1d", source)
    assert len(source.calls) == 1
    source.errors = [RateLimited("soon", reset_after_s=42)]
    ask(cache, "A", *DAYS, "1d", source)
    assert clock.slept[-1] == 43


@pytest.mark.parametrize("retry", [None, Retry(attempts=1)])
def test_it_can_be_turned_off(make, ask, retry):
    cache = make(retry=retry)
    with pytest.raises(RateLimited):
        ask(cache, "A", *DAYS, "1d", ask.source(RateLimited("slow down")))


def test_other_errors_come_out_at_once(make, clock, ask):
    cache = make(retry=clock.retry())
    for error in (ConnectionError("gone"), ValueError("odd")):
        source = ask.source(error)
        with pytest.raises(type(error)):
            ask(cache, "A", *DAYS, "1d", source)
        assert len(source.calls) == 1
    assert clock.slept == []


def test_a_source_that_waits_by_itself_is_not_waited_for_twice(make, clock, ask):
    cache = make(retry=clock.retry(attempts=9))
    limited = ask.source(*[RateLimited("slow down")] * 99)
    patient = with_retry(limited, attempts=2, clock=clock, sleep=clock.sleep, fraction=lambda: 1.0)
    with pytest.raises(RateLimited):
        ask(cache, "A", *DAYS, "1d", patient)
    assert len(limited.calls) == 2
    assert clock.slept == [1.0]


def test_after_the_last_try_what_is_held_is_served(make, clock, ask):
    cache = make(retry=clock.retry(attempts=2))
    source = ask.source()
    ask(cache, "A", *DAYS, "1d", source)
    source.errors = [RateLimited("slow down")] * 9
    stale = ask(cache, "A", *DAYS, "1d", source, max_age=0, stale_if_error=True)
    assert stale.height == 10
    assert clock.slept == [1.0]
    with pytest.raises(PartialCoverage, match="slow down") as caught:
        ask(cache, ["A", "B"], *DAYS, "1d", source, stale_if_error=True)
    assert set(caught.value.missing) == {"B"}
    source.calls.clear()
    with pytest.raises(PartialCoverage):
        ask(cache, ["A", "B"], *DAYS, "1d", source, offline=True)
    assert source.calls == []


def test_what_is_no_bars_waits_too(make, clock, ask):
    cache = make(retry=clock.retry())
    errors = [RateLimited("slow down")]

    def whole(*_):
        if errors:
            raise errors.pop()
        return daily(["A"], *DAYS)

    assert ask(cache, "A", "first", "last", "1d", "vendor", whole).height == 10
    assert clock.slept == [1.0]


def test_an_interrupt_during_the_wait_is_honoured_and_leaves_no_lease(make, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    cache = make(retry=Retry(sleep=interrupt))
    source = Limited(RateLimited("slow down"))
    with pytest.raises(KeyboardInterrupt):
        cache.get_or_fetch("A", *DAYS, "1d", source)
    assert len(source.calls) == 1
    assert _leases(tmp_path) == []
    assert cache.get_or_fetch("A", *DAYS, "1d", source).height == 10


def test_a_cancelled_task_ends_its_wait(make, tmp_path):
    cache = make(retry=Retry(first_delay_s=1000, max_delay_s=1000, total_s=10_000))
    source = LimitedAsync(RateLimited("slow down"))

    async def main():
        task = asyncio.create_task(cache.aget_or_fetch("A", *DAYS, "1d", source))
        while not source.calls:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await cache.aget_or_fetch("A", *DAYS, "1d", source)).height == 10

    asyncio.run(asyncio.wait_for(main(), TIME_LIMIT_S))
    assert _leases(tmp_path) == []


def _leases(folder):
    connection = sqlite3.connect(folder / "metadata.db")
    try:
        return connection.execute("SELECT * FROM barcache_leases").fetchall()
    finally:
        connection.close()


def test_the_lease_is_renewed_while_a_limit_is_waited_for(tmp_path):
    """Another manager that wants the same waits, however long the wait is beside the lease."""

    class ShortLease(CacheManager):
        _lease_s = 0.3

    renewed = set()

    def wait(_):
        end = time.monotonic() + TIME_LIMIT_S
        while len(renewed) < 4:  # Three renewals: longer than the lease lasts by itself.
            renewed.update(_leases(tmp_path))
            assert time.monotonic() < end
            time.sleep(0.005)
        (name,) = leader._flights._running
        assert other._begin_flight(name).poll() == "waiting"

    leader = ShortLease(tmp_path / "metadata.db", tmp_path / "cache", retry=Retry(sleep=wait))
    other = ShortLease(tmp_path / "metadata.db", tmp_path / "cache")
    with leader, other:
        source = Limited(RateLimited("slow down"))
        assert leader.get_or_fetch("A", *DAYS, "1d", source).height == 10


# --- settings -----------------------------------------------------------------------------------


def test_the_setting_is_checked_and_goes_along_with_a_manager(make):
    with pytest.raises(InvalidType, match="Retry"):
        make(retry=3)
    for senseless in ({"attempts": 0}, {"total_s": -1}, {"first_delay_s": float("nan")}):
        with pytest.raises(InvalidArgument):
            Retry(**senseless)
    cache = make(retry=Retry(attempts=7))
    with pickle.loads(pickle.dumps(cache)) as copy:
        assert copy.retry == Retry(attempts=7)
    assert make().retry == Retry()
    assert [repr(Retry()), repr(cache.retry)] == ["Retry()", "Retry(attempts=7)"]
    cache.retry = None
    with pytest.raises(RateLimited):
        cache.get_or_fetch("A", *DAYS, "1d", Limited(RateLimited("slow down")))


# --- what says that it is a limit ---------------------------------------------------------------


def test_when_a_limit_ends_may_be_a_number_a_header_or_a_date():
    def response(status, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return type("Response", (), {"status_code": status, "headers": headers})()

    assert source_error(named("RateLimitError", reset_after=7.5)).reset_after_s == 7.5
    assert source_error(named("Throttled", retry_after=3)).reset_after_s == 3
    assert (
        source_error(named("APIError", response=response(429, Retry_After="9"))).reset_after_s == 9
    )
    busy = named("HTTPError", response=response(503, Retry_After="5"))
    assert isinstance(source_error(busy), RateLimited)
    assert source_error(busy).reset_after_s == 5
    assert not isinstance(source_error(named("HTTPError", response=response(503))), RateLimited)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    late = source_error(named("HTTPError", response=response(429, Retry_After=soon)))
    assert 90 < late.reset_after_s <= 100
    odd = source_error(named("HTTPError", response=response(429, Retry_After="soon")))
    assert odd.reset_after_s is None
    for other in (named("APIError", status_code=404), named("Odd", code="429"), KeyError("429")):
        assert source_error(other) is None


# --- warm ---------------------------------------------------------------------------------------


def test_warm_waits_too_and_counts_every_request(make, clock):
    cache = make(retry=clock.retry(first_delay_s=0.001))
    source = Limited(RateLimited("slow down"), RateLimited("slow down"))
    report = cache.warm(Plan(["A", "B"], *DAYS, "1d", source), batch_size=1)
    assert report.complete
    assert report.requests == len(source.calls) == 4
    report = cache.warm(
        Plan(["C"], *DAYS, "1d", Limited(*[RateLimited("slow down")] * 9)), batch_size=1
    )
    assert report.requests == 4
    assert isinstance(report.failures["C"], RateLimited)


def test_an_interrupted_warm_does_not_wait_for_a_limit(make, monkeypatch):
    wait = Pace.wait
    waited = []

    def noticed(pace, seconds):
        waited.append(seconds)
        wait(pace, seconds)

    monkeypatch.setattr(Pace, "wait", noticed)

    class Half(Limited):
        def fetch(self, symbols, *call):
            if symbols == ["A"]:
                return super().fetch(symbols, *call)
            raise RateLimited("in an hour", reset_after_s=3600)

    def interrupt(*_):
        while not waited:
            time.sleep(0.001)
        raise KeyboardInterrupt

    cache = make(retry=Retry(total_s=1e6))
    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        cache.warm(
            Plan(["A", "B"], *DAYS, "1d", Half()),
            executor=executor,
            batch_size=1,
            progress=interrupt,
        )
    assert waited[0] > 3600
    assert cache.warm(Plan(["A", "B"], *DAYS, "1d", Half()), dry_run=True).covered == 1
