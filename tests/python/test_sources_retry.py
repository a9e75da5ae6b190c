"""Rate limits and failures of the network are waited out, for a bounded time."""

import asyncio
import threading

import pytest
from barcache import (
    AccessDenied,
    InvalidArgument,
    InvalidBars,
    RateLimited,
    SourceUnavailable,
    SymbolNotFound,
)
from barcache.sources import RateLimiter, as_source, source_error, with_retry


class Clock:
    def __init__(self):
        self.now = 0.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class Flaky:
    """Raises what it is given, one after the other, then answers."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def fetch(self, *_):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "bars"


class FlakyAsync(Flaky):
    async def fetch(self, *_):
        return Flaky.fetch(self)


def named(name, *bases, **attributes):
    """An error as a vendor's package would define it."""
    return type(name, bases or (Exception,), attributes)("what the vendor says")


def patient(source, clock, **options):
    options = {"fraction": lambda: 1.0, **options}
    return with_retry(source, name="x", clock=clock, sleep=clock.sleep, **options)


@pytest.mark.parametrize("kind", [Flaky, FlakyAsync])
def test_it_waits_longer_each_time(kind):
    clock, source = Clock(), kind(*[ConnectionError("gone")] * 3)

    assert patient(source, clock).fetch(["A"], 1, 2, "1d") == "bars"
    assert source.calls == 4
    assert clock.slept == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("kind", [Flaky, FlakyAsync])
def test_but_not_for_ever(kind):
    clock, error = Clock(), TimeoutError("late")
    source = kind(*[error] * 99)
    with pytest.raises(TimeoutError) as caught:
        patient(source, clock).fetch(["A"], 1, 2, "1d")

    assert caught.value is error  # What the source raised, as it was.
    assert "asked 4 times" in caught.value.__notes__[0]
    assert source.calls == 4


def test_the_whole_time_is_bounded():
    clock, source = Clock(), Flaky(*[ConnectionError("gone")] * 99)
    with pytest.raises(ConnectionError):
        patient(source, clock, attempts=99, total_s=100, max_delay_s=30).fetch([], 1, 2, "1d")
    assert clock.slept == [1, 2, 4, 8, 16, 30, 30]
    assert clock.now <= 100


def test_a_limit_that_says_when_it_ends_is_waited_for():
    clock, source = Clock(), Flaky(RateLimited("slow down", reset_after_s=42))
    assert patient(source, clock).fetch([], 1, 2, "1d") == "bars"
    assert clock.slept == [43.0]

    source = Flaky(RateLimited("slow down", reset_after_s=86_400))
    with pytest.raises(RateLimited):
        patient(source, clock).fetch([], 1, 2, "1d")
    assert source.calls == 1  # A day is not waited for.


def test_half_of_a_delay_is_random():
    clock = Clock()
    patient(Flaky(ConnectionError()), clock, fraction=lambda: 0.0).fetch([], 1, 2, "1d")
    patient(Flaky(ConnectionError()), clock, fraction=lambda: 0.5).fetch([], 1, 2, "1d")
    assert clock.slept == [0.5, 0.75]


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SymbolNotFound("no"), InvalidBars("no"), named("AuthenticationError")],
)
def test_other_errors_come_out_at_once(error):
    clock, source = Clock(), Flaky(error)
    with pytest.raises(type(error)):
        patient(source, clock).fetch([], 1, 2, "1d")
    assert source.calls == 1
    assert clock.slept == []


def test_the_source_is_otherwise_the_same():
    class Mine(Flaky):
        source_id = "mine"
        calendar = "XNYS"

    source = with_retry(Mine())
    assert (source.name, source.calendar) == ("mine", "XNYS")
    assert as_source(source) is source
    assert asyncio.run(source.afetch([], 1, 2, "1d")) == "bars"


def test_an_async_source_waits_without_blocking_its_loop():
    source = with_retry(FlakyAsync(ConnectionError()), name="x", first_delay_s=0.01)

    async def both():
        return await asyncio.gather(source.afetch([], 1, 2, "1d"), asyncio.sleep(0, "other"))

    assert asyncio.run(both()) == ["bars", "other"]


@pytest.mark.parametrize("option", [{"attempts": 0}, {"first_delay_s": -1}, {"total_s": -1}])
def test_senseless_numbers_are_refused(option):
    with pytest.raises(InvalidArgument):
        with_retry(Flaky(), name="x", **option)


# --- What vendors' errors mean


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (named("RateLimitError", reset_after=7.5), RateLimited),
        (named("QuotaExceededError"), RateLimited),
        (named("RateLimitExceeded"), RateLimited),
        (named("YFRateLimitError"), RateLimited),
        (named("NetworkError"), SourceUnavailable),
        (named("ExchangeNotAvailable", type("NetworkError", (Exception,), {})), SourceUnavailable),
        (ConnectionRefusedError("no"), SourceUnavailable),
        (TimeoutError("no"), SourceUnavailable),
        (named("AuthenticationError"), AccessDenied),
        (named("SymbolNotFoundError", symbol="X"), SymbolNotFound),
        (named("BadSymbol"), SymbolNotFound),
        (named("DataParsingError"), InvalidBars),
        (named("InvalidDataError"), InvalidBars),
    ],
)
def test_vendors_errors_are_known_by_name(error, meaning):
    found = source_error(error)

    assert type(found) is meaning
    assert type(error).__name__ in str(found)
    assert found.__cause__ is error


def test_what_they_carry_is_carried_over():
    assert source_error(named("RateLimitError", reset_after=7.5)).reset_after_s == 7.5
    assert source_error(named("RateLimitExceeded")).reset_after_s is None
    assert source_error(named("SymbolNotFoundError", symbol="X")).symbols == ("X",)
    ours = RateLimited("no", 3)
    assert source_error(ours) is ours
    assert source_error(ValueError("no")) is None
    assert source_error(KeyboardInterrupt()) is None


# --- The rate limiter


def test_a_steady_rate_after_a_burst():
    clock = Clock()
    limiter = RateLimiter(2, burst=3, clock=clock, sleep=clock.sleep)

    assert [limiter.acquire() for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    clock.now += 60
    assert [limiter.acquire() for _ in range(4)] == [0, 0, 0, 0.5]


def test_threads_take_turns():
    waits, lock = [], threading.Lock()

    def sleep(seconds):
        with lock:
            waits.append(seconds)

    limiter = RateLimiter(10, clock=lambda: 0.0, sleep=sleep)
    threads = [threading.Thread(target=limiter.acquire) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == pytest.approx([n / 10 for n in range(1, 8)])


@pytest.mark.parametrize("options", [{"calls_per_second": 0}, {"calls_per_second": 1, "burst": 0}])
def test_a_limit_that_lets_nothing_through_is_refused(options):
    with pytest.raises(InvalidArgument):
        RateLimiter(**options)
