"""What is recorded of bars that were fetched, adopted or shared: by whom, when, at what cost."""

import json
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from bar_vendor import Vendor
from barcache import FetchFailed, PartialCoverage, flights
from polars.testing import assert_frame_equal

TIME_LIMIT_S = 60
FIVE_DAYS = ("2023-01-01", "2023-01-05")


@pytest.fixture
def vendor():
    return Vendor()


class HeldVendor(Vendor):
    """Answers, or raises its error, when it is let go."""

    def __init__(self):
        super().__init__()
        self.asked, self.let_go = threading.Event(), threading.Event()

    def __call__(self, *request):
        self.asked.set()
        assert self.let_go.wait(TIME_LIMIT_S)
        return super().__call__(*request)


class Asking(threading.Thread):
    def __init__(self, call):
        super().__init__(daemon=True)
        self.call, self.answer, self.error = call, None, None
        self.start()

    def run(self):
        try:
            self.answer = self.call()
        except Exception as error:
            self.error = error

    def result(self):
        self.join(TIME_LIMIT_S)
        assert not self.is_alive()
        return self.answer


def segment(cache):
    (key,) = (key for key in cache.entries() if key.startswith("seg:"))
    return key


@pytest.fixture
def waiting(monkeypatch):
    """Set when a call waits for the lease of another manager."""
    waits = threading.Event()
    pauses = flights._pauses

    def told_pauses():
        each = pauses()
        yield next(each)
        waits.set()
        yield from each

    monkeypatch.setattr(flights, "_pauses", told_pauses)
    return waits


def test_all_who_shared_a_fetch_are_linked_to_its_segments(cache):
    vendor = HeldVendor()

    def ask(number):
        return cache.get_or_fetch("A", *FIVE_DAYS, "1d", "v", vendor, backtest_id=f"bt-{number}")

    first = Asking(lambda: ask(0))
    assert vendor.asked.wait(TIME_LIMIT_S)
    (flight,) = cache._flights._running.values()
    others = [Asking(lambda number=number: ask(number)) for number in (1, 2, 3)]
    while len(flight.future._condition._waiters) < 3:
        threading.Event().wait(0.001)
    vendor.let_go.set()
    for one in (first, *others):
        assert one.result().height == 5
    assert len(vendor.calls) == 1
    assert cache.backtests(segment(cache)) == ["bt-0", "bt-1", "bt-2", "bt-3"]


def test_bars_that_another_manager_fetched_meanwhile_count_though_they_are_provisional(
    make, waiting
):
    now = datetime(2023, 1, 5, 12, tzinfo=UTC).timestamp()
    caches = [make(), make()]
    for cache in caches:
        cache._bar_reader.clock = lambda: now
    vendor, idle = HeldVendor(), Vendor()
    leader = Asking(lambda: caches[0].get_or_fetch("A", *FIVE_DAYS, "1d", "v", vendor))
    assert vendor.asked.wait(TIME_LIMIT_S)
    waiter = Asking(lambda: caches[1].get_or_fetch("A", *FIVE_DAYS, "1d", "v", idle))
    assert waiting.wait(TIME_LIMIT_S)
    vendor.let_go.set()
    assert_frame_equal(waiter.result(), leader.result())
    assert idle.calls == []
    caches[1].get_or_fetch("A", *FIVE_DAYS, "1d", "v", idle)
    assert len(idle.calls) == 1, "a call that begins later asks again"


@pytest.mark.parametrize(
    ("message", "told"), [("down: \ud800", "down: \\ud800"), (None, "")], ids=["no text", "none"]
)
def test_a_failure_whose_message_is_no_text_is_told_too(make, waiting, message, told):
    class Speechless(Exception):
        def __str__(self):
            if message is None:
                raise RuntimeError("this error cannot be shown")
            return message

    caches = [make(), make()]
    vendor, idle = HeldVendor(), Vendor()
    vendor.error = Speechless()
    leader = Asking(lambda: caches[0].get_or_fetch("A", *FIVE_DAYS, "1d", "v", vendor))
    assert vendor.asked.wait(TIME_LIMIT_S)
    waiter = Asking(lambda: caches[1].get_or_fetch("A", *FIVE_DAYS, "1d", "v", idle))
    assert waiting.wait(TIME_LIMIT_S)
    vendor.let_go.set()
    leader.result()
    waiter.result()
    assert leader.error is vendor.error
    assert isinstance(waiter.error, FetchFailed)
    assert (waiter.error.error_type, waiter.error.error_message) == ("Speechless", told)
    assert idle.calls == []


def test_the_seconds_of_a_call_are_shared_by_its_segments(cache, vendor, monkeypatch):
    seconds = iter([10.0, 13.0])
    monkeypatch.setattr(flights.time, "perf_counter", lambda: next(seconds))
    cache.get_or_fetch(["A", "B"], *FIVE_DAYS, "1d", "v", vendor)
    monkeypatch.undo()
    cache.close()
    with closing(sqlite3.connect(cache.db_path)) as catalog:
        costs = catalog.execute("SELECT fetch_cost FROM barcache_entries").fetchall()
    assert costs == [(1.5,), (1.5,)]


def test_a_segment_says_which_bars_it_holds(cache, vendor):
    cache.get_or_fetch(["A"], *FIVE_DAYS, "1d", "v", vendor)
    assert json.loads(cache._entry(segment(cache))["request"]) == {
        "symbols": ["A"],
        "start_date": "2023-01-01T00:00:00+00:00",
        "end_date": "2023-01-05T23:59:59.999999+00:00",
        "resolution": "1d",
        "data_source": "v",
    }


def put_under_its_key(cache, frame):
    key = cache.generate_cache_key(["A"], *FIVE_DAYS, "1d", "v")
    cache.put_cached_data(key, frame, dataset_id=1)
    return cache.lookup_cache(key)["created_at"]


def test_what_is_adopted_is_as_old_as_its_entry(cache, vendor):
    frame = vendor(["A"], *FIVE_DAYS, "1d")
    created_at = put_under_its_key(cache, frame)
    now = created_at + 7200
    cache._bar_reader.clock = lambda: now
    vendor.calls.clear()
    ask = ("A", *FIVE_DAYS, "1d", "v", vendor)
    assert_frame_equal(cache.get_or_fetch(*ask), frame)
    assert vendor.calls == []
    (asked_at,) = cache.coverage("A")["asked_at"]
    assert asked_at.timestamp() == created_at
    assert_frame_equal(cache.get_or_fetch(*ask, max_age=timedelta(hours=3)), frame)
    assert vendor.calls == []
    assert_frame_equal(cache.get_or_fetch(*ask, max_age=timedelta(hours=1), overlap=0), frame)
    assert len(vendor.calls) == 1


def test_what_was_fetched_by_interval_goes_before_an_entry_from_before(cache, vendor):
    cache.get_or_fetch("A", "2023-01-02", "2023-01-03", "1d", "v", vendor)
    older = vendor(["A"], *FIVE_DAYS, "1d").with_columns(pl.col("close") + 7)
    put_under_its_key(cache, older)
    vendor.calls.clear()
    answer = cache.get_or_fetch("A", *FIVE_DAYS, "1d", "v", vendor, overlap=0)
    assert [call[1:] for call in vendor.calls] == [
        ("2023-01-01", "2023-01-01"),
        ("2023-01-04", "2023-01-05"),
    ]
    assert_frame_equal(answer, vendor(["A"], *FIVE_DAYS, "1d"))


def test_segments_used_beside_a_fetch_are_linked_too(cache, vendor):
    cache.get_or_fetch("A", *FIVE_DAYS, "1d", "v", vendor, backtest_id="bt-1")
    held = segment(cache)
    cache.get_or_fetch("A", "2023-01-03", "2023-01-09", "1d", "v", vendor, backtest_id="bt-2")
    with cache.backtest("bt-3"):
        cache.get_or_fetch("A", "2023-01-03", "2023-01-12", "1d", "v", vendor)
    assert cache.backtests(held) == ["bt-1", "bt-2", "bt-3"]


def test_an_answer_without_even_columns_has_those_of_the_others(make, vendor):
    cache = make()
    schema = cache.get_or_fetch("A", *FIVE_DAYS, "1d", "v", vendor).schema
    cache.close()
    cache = make()
    before = ("A", "2022-01-01", "2022-01-05", "1d", "v")
    with pytest.raises(PartialCoverage) as nothing:
        cache.get_or_fetch(*before, vendor, offline=True)
    assert (nothing.value.frame.height, nothing.value.frame.schema) == (0, schema)
    for _ in range(2):
        answer = cache.get_or_fetch(*before, lambda *_: pl.DataFrame())
        assert (answer.height, answer.schema) == (0, schema)
    chosen = cache.get_or_fetch(*before, vendor, columns=["close"])
    assert chosen.schema == {"close": schema["close"]}


def test_how_a_source_adjusts_prices_tells_its_series_apart(cache):
    class Adjusted(Vendor):
        source_id = "adjusted"

        def __init__(self, adjustment):
            super().__init__()
            self.adjustment = adjustment
            self.fetch = self.__call__

    whole, splits, unknown = Adjusted("all"), Adjusted("splits"), Adjusted(None)
    for source in (whole, splits, unknown):
        cache.get_or_fetch("A", *FIVE_DAYS, "1d", source)
        cache.get_or_fetch("A", *FIVE_DAYS, "1d", source)
        assert len(source.calls) == 1
    assert cache.coverage("A")["adjustment"].sort().to_list() == ["", "all", "splits"]
    cache.get_or_fetch("A", *FIVE_DAYS, "1d", splits, adjustment="all")
    assert len(splits.calls) == 1, "what the call says goes before the source's own"
