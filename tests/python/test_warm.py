"""warm: a universe is fetched ahead, by any executor, and goes on after any interruption."""

import asyncio
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, date, datetime

import polars as pl
import pytest
from barcache import (
    CacheManager,
    ForkedPolars,
    InvalidArgument,
    InvalidBars,
    InvalidType,
    ReadOnly,
    SourceError,
    SymbolNotFound,
    WarmPlan,
)
from barcache.freshness import finality
from barcache.freshness.calendars import Calendar
from barcache.warming.estimate import bars_expected
from barcache.warming.pace import Pace, Stopped
from warm_sources import Logged, Unknowing, daily

TIME_LIMIT_S = 60
SYMBOLS = [f"S{number:02}" for number in range(10)]
DAYS = ("2023-01-01", "2023-01-10")


class Counting:
    """Counts its calls; fails for some symbols."""

    source_id = "counting"

    def __init__(self, failing=(), error=None):
        self.failing, self.error = set(failing), error or ConnectionError("the line is dead")
        self.calls = []

    def fetch(self, symbols, start, end, _resolution):
        self.calls.append((tuple(symbols), start, end))
        if self.failing & set(symbols):
            raise self.error
        return daily(symbols, start, end)


def plan_of(source, symbols=SYMBOLS, start=DAYS[0], end=DAYS[1], **more):
    return WarmPlan(symbols, start, end, "1d", source, **more)


# --- what is fetched, and what a dry run says ---------------------------------------------------


def test_a_dry_run_says_what_the_run_then_sends(cache):
    source = Counting()
    cache.get_or_fetch(SYMBOLS[:3], *DAYS, "1d", source)  # Covered.
    cache.get_or_fetch(SYMBOLS[3:5], DAYS[0], "2023-01-06", "1d", source)  # Half of it.
    source.calls.clear()

    said = cache.warm(plan_of(source), dry_run=True, batch_size=4)
    assert source.calls == []
    assert (said.symbols, said.covered) == (10, 3)
    assert set(said.missing) == set(SYMBOLS[3:])
    assert said.missing["S03"] == [("2023-01-07", "2023-01-10")]
    assert said.rows == 2 * 4 + 5 * 10

    done = cache.warm(plan_of(source), batch_size=4)
    assert done.requests == said.requests == len(source.calls) == 4
    assert (done.rows, done.covered, done.missing, done.failures) == (said.rows, 3, {}, {})
    assert done.complete
    assert not said.complete

    source.calls.clear()
    again = cache.warm(plan_of(source))
    assert (again.requests, again.rows, again.covered) == (0, 0, 10)
    answer = cache.get_or_fetch(SYMBOLS, *DAYS, "1d", source)
    assert source.calls == []
    assert answer.height == 100


def test_the_texts_of_both_reports(cache):
    source = Counting(failing=["S01"])
    plan = plan_of(source, SYMBOLS[:2])
    assert str(cache.warm(plan, dry_run=True)) == (
        "2 symbols, 0 of them covered before; to send: 1 requests, for about 20 bars"
    )
    assert str(cache.warm(plan, batch_size=1)) == (
        "2 symbols, 0 of them covered before; 2 requests sent, 10 bars came; "
        "1 symbols are not complete\n"
        "  S01  2023-01-01 to 2023-01-10 (ConnectionError: the line is dead)"
    )


def test_a_dry_run_needs_no_source_behind_the_name_and_no_right_to_write(make):
    make().close()
    cache = make(read_only=True)
    assert cache.warm(plan_of("nobody"), dry_run=True, batch_size=5).requests == 2
    with pytest.raises(ReadOnly, match="dry_run"):
        cache.warm(plan_of(Counting()))
    with pytest.raises(InvalidType, match="no source is registered as 'nobody'"):
        make(cache.db_path + "2").warm(plan_of("nobody"))


def test_the_entries_are_linked_and_the_adjustment_is_part_of_the_series(cache):
    source = Counting()
    with cache.backtest("bt-1"):
        cache.warm(plan_of(source, "S00", adjustment="raw"), executor=None)
    assert len(cache.entries("bt-1")) == 1
    assert cache.warm(plan_of(source, "S00"), backtest_id="bt-2").requests == 1
    assert len(cache.entries("bt-2")) == 1
    assert cache.warm(plan_of(source, "S00", adjustment="raw")).requests == 0


def test_arguments_that_make_no_sense_are_refused_before_anything_is_sent(cache):
    source = Counting()
    plan = plan_of(source)
    for options, error in (
        ({"batch_size": 0}, InvalidArgument),
        ({"batch_size": "5"}, InvalidType),
        ({"requests_per_second": 0}, InvalidArgument),
        ({"requests_per_second": "1"}, InvalidType),
        ({"max_age": -1}, InvalidArgument),
    ):
        with pytest.raises(error):
            cache.warm(plan, **options)
    for bad in (
        WarmPlan([], *DAYS, "1d", source),
        WarmPlan(["A"], "2023-01-02", "2023-01-01", "1d", source),
        WarmPlan(["A"], "yesterday", "2023-01-01", "1d", source),
        WarmPlan(["A"], *DAYS, "soon", source),
    ):
        with pytest.raises(InvalidArgument):
            cache.warm(bad)
    assert source.calls == []


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [None, 3])
def test_a_batch_that_fails_does_not_stop_the_others(cache, workers):
    source = Counting(failing=["S04"])
    executor = None if workers is None else ThreadPoolExecutor(workers)
    report = cache.warm(plan_of(source), executor=executor, batch_size=2)
    assert report.failures == {"S04": source.error, "S05": source.error}
    assert report.missing == {"S04": [DAYS], "S05": [DAYS]}
    assert (report.requests, report.rows) == (5, 80)
    source.failing.clear()
    assert cache.warm(plan_of(source), executor=executor, batch_size=2).requests == 1


def test_an_async_source_is_run_by_threads_side_by_side(cache):
    loops = set()

    class Async(Counting):
        async def fetch(self, *call):
            loops.add(asyncio.get_running_loop())
            await asyncio.sleep(0)
            return Counting.fetch(self, *call)

    source = Async()
    with ThreadPoolExecutor(4) as executor:
        report = cache.warm(plan_of(source), executor=executor, batch_size=1)
    assert report.complete
    assert len(source.calls) == 10
    assert len(loops) == 1


def test_two_who_warm_the_same_at_once_send_it_once(make):
    source = Counting()
    began, go_on = threading.Event(), threading.Event()

    class Slow(Counting):
        def fetch(self, *call):
            began.set()
            assert go_on.wait(TIME_LIMIT_S)
            return source.fetch(*call)

    one, other = make(), make()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(one.warm, plan_of(Slow()))
        assert began.wait(TIME_LIMIT_S)
        second = threads.submit(other.warm, plan_of(Slow()))
        while not other._flights._running:
            time.sleep(0.001)
        go_on.set()
        reports = [first.result(TIME_LIMIT_S), second.result(TIME_LIMIT_S)]
    assert len(source.calls) == 1
    assert [report.complete for report in reports] == [True, True]
    assert sorted(report.requests for report in reports) == [0, 1]


@pytest.mark.parametrize("names_them", [True, False])
def test_a_symbol_that_the_source_does_not_know_does_not_take_its_batch_along(cache, names_them):
    source = Unknowing(names_them)
    symbols = ["A", "B", "XA", "C", "D", "XB", "E"]
    report = cache.warm(plan_of(source, symbols))
    assert set(report.failures) == set(report.missing) == {"XA", "XB"}
    assert all(isinstance(error, SymbolNotFound) for error in report.failures.values())
    assert report.requests == len(source.calls)
    assert report.rows == 50
    if names_them:
        assert len(source.calls) == 3


def test_an_answer_that_is_no_bars_is_a_failure(cache):
    report = cache.warm(
        WarmPlan(["A", "B"], *DAYS, "1d", Answering(pl.DataFrame({"close": [1.0]})))
    )
    assert isinstance(report.failures["A"], InvalidBars)
    assert "get_or_fetch" in str(report.failures["B"])


class Answering:
    source_id = "answering"

    def __init__(self, frame):
        self.frame = frame

    def fetch(self, *_):
        return self.frame


def test_bars_that_could_not_be_kept_are_reported_as_missing(make):
    cache = make(cold_cache_size_mb=0, hot_cache_size_mb=0)
    report = cache.warm(plan_of(Counting(), SYMBOLS[:2]))
    assert set(report.missing) == {"S00", "S01"}
    assert not report.complete


# --- executors ----------------------------------------------------------------------------------


class Plain(Executor):
    """An executor that is none of the standard library's."""

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


def test_any_executor_will_do(cache):
    source = Counting()
    report = cache.warm(plan_of(source), executor=Plain(), batch_size=3)
    assert report.requests == len(source.calls) == 4
    assert report.complete


def test_batches_run_side_by_side_in_threads(cache):
    barrier = threading.Barrier(3, timeout=TIME_LIMIT_S)

    class Together(Counting):
        def fetch(self, *call):
            barrier.wait()
            return super().fetch(*call)

    with ThreadPoolExecutor(3) as executor:
        report = cache.warm(plan_of(Together(), SYMBOLS[:6]), executor=executor, batch_size=2)
    assert report.requests == 3
    assert report.complete


def test_other_processes_fetch_into_the_same_directory(make, tmp_path):
    cache = make()
    source = Logged(tmp_path / "calls.txt", refused=["S07"])
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        report = cache.warm(
            plan_of(source), executor=executor, batch_size=1, requests_per_second=1000
        )
    assert source.symbols() == [name for name in SYMBOLS if name != "S07"]
    assert {process for process, _ in source.calls()}.isdisjoint({os.getpid()})
    assert report.requests == 10
    # An error that no pickle brings back comes as what it said.
    assert {name: str(error) for name, error in report.failures.items()} == {"S07": "OddError: S07"}
    assert isinstance(report.failures["S07"], SourceError)
    source.log.unlink()
    assert cache.get_or_fetch(SYMBOLS[:7], *DAYS, "1d", source).height == 70
    assert source.calls() == []


def test_processes_that_are_forked_are_refused_before_they_hang(make, tmp_path):
    source = Logged(tmp_path / "calls.txt")
    forking = multiprocessing.get_context("fork")
    with (
        ProcessPoolExecutor(1, mp_context=forking) as executor,
        pytest.raises(ForkedPolars, match="spawn"),
    ):
        make().warm(plan_of(source), executor=executor, batch_size=1)
    assert source.calls() == []


def test_what_no_pickle_can_hold_is_refused_before_anything_is_sent(make):
    calls = []

    def local(symbols, start, end, _resolution):
        calls.append(symbols)
        return daily(symbols, start, end)

    with ProcessPoolExecutor(1) as executor:
        with pytest.raises(InvalidType, match="ThreadPoolExecutor"):
            make().warm(plan_of(local), executor=executor)
        with pytest.raises(pickle.PicklingError, match="memory"):
            make(":memory:").warm(plan_of(Counting()), executor=executor)
    assert calls == []


def test_a_job_that_never_ran_is_a_failure_of_its_symbols(cache):
    class Broken(Plain):
        def submit(self, *_):
            future = Future()
            future.set_exception(RuntimeError("the machine is gone"))
            return future

    report = cache.warm(plan_of(Counting()), executor=Broken(), batch_size=5)
    assert set(report.failures) == set(SYMBOLS)
    assert report.symbols == 10
    assert not report.complete


# --- the rate -----------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


def test_turns_come_at_the_rate_however_late_the_calls_are():
    clock = Clock()
    pace = Pace(4, clock=clock, sleep=clock.sleep)
    began = []
    for pause_s in (0.0, 0.0, 1.0, 0.0, 0.0):
        clock.now_s += pause_s
        pace.wait_turn()
        began.append(clock.now_s)
    assert began == pytest.approx([0.0, 0.25, 1.25, 1.5, 1.75])


def test_one_rate_holds_for_all_who_share_the_pace():
    clock = Clock()
    pace = Pace(10, clock=clock, sleep=clock.sleep)
    other = pickle.loads(pickle.dumps(pace))  # As another process gets it.
    other._clock, other._sleep = clock, clock.sleep
    for sharer in (pace, other, pace, other):
        sharer.wait_turn()
    assert clock.now_s == pytest.approx(0.3)
    pace.stop()
    with pytest.raises(Stopped):
        other.wait_turn()


def test_a_stop_ends_a_wait():
    clock = Clock()
    pace = Pace(0.001, clock=clock)

    def sleep(seconds):
        clock.sleep(seconds)
        pace.stop()

    pace._sleep = sleep
    pace.wait_turn()
    with pytest.raises(Stopped):
        pace.wait_turn()
    assert clock.now_s < 1


def test_threads_together_keep_to_the_rate(cache):
    began = time.monotonic()
    with ThreadPoolExecutor(8) as executor:
        report = cache.warm(
            plan_of(Counting()), executor=executor, batch_size=1, requests_per_second=100
        )
    assert report.requests == 10
    assert time.monotonic() - began >= 9 / 100


# --- interruptions ------------------------------------------------------------------------------


def test_after_an_interrupt_only_the_rest_is_asked_for(cache):
    class Interrupting(Counting):
        def fetch(self, *call):
            answer = super().fetch(*call)
            if len(self.calls) == 4:
                raise KeyboardInterrupt
            return answer

    source = Interrupting()
    with pytest.raises(KeyboardInterrupt) as caught:
        cache.warm(plan_of(source), batch_size=1)
    assert "3 of 10 batches were done" in caught.value.__notes__[0]
    assert cache.warm(plan_of(source), dry_run=True, batch_size=1).requests == 7
    source = Counting()
    assert cache.warm(plan_of(source), batch_size=1).complete
    assert [symbols for symbols, *_ in source.calls] == [(name,) for name in SYMBOLS[3:]]


def test_an_interrupt_begins_nothing_more_and_keeps_what_is_under_way(cache, monkeypatch):
    stopped, under_way = threading.Event(), threading.Event()
    stop = Pace.stop

    def stop_and_tell(pace):
        stop(pace)
        stopped.set()

    monkeypatch.setattr(Pace, "stop", stop_and_tell)

    class Slow(Counting):
        def fetch(self, *call):
            if len(self.calls) == 1:
                under_way.set()
                assert stopped.wait(TIME_LIMIT_S)
            return super().fetch(*call)

    def interrupt(*_):
        assert under_way.wait(TIME_LIMIT_S)
        raise KeyboardInterrupt

    source = Slow()
    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        cache.warm(plan_of(source), executor=executor, batch_size=1, progress=interrupt)
    assert len(source.calls) == 2
    assert cache.warm(plan_of(source), dry_run=True).covered == 2


def test_an_interrupt_while_an_answer_is_stored_does_not_lose_it(cache, monkeypatch):
    source = Counting()

    def interrupted(*_, **__):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.DataFrame, "partition_by", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.warm(plan_of(source), batch_size=5)
    assert len(source.calls) == 1
    assert cache.warm(plan_of(source), dry_run=True).covered == 5


CHILD = """
import sys
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, sys.argv[3])
from barcache import CacheManager, WarmPlan
from warm_sources import Logged

folder, log = sys.argv[1:3]
cache = CacheManager(f"{folder}/metadata.db", f"{folder}/cache")
symbols = [f"S{number:04}" for number in range(400)]
plan = WarmPlan(symbols, "2023-01-01", "2023-01-10", "1d", Logged(log, pause_s=0.005))
cache.warm(plan, executor=ThreadPoolExecutor(2), batch_size=1)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_was_stopped_in_the_middle_loses_nothing_it_has_kept(tmp_path, how):
    log, folder = tmp_path / "calls.txt", tmp_path / "data"
    here = os.path.dirname(__file__)  # noqa: PTH120
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(log), here],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    before = Logged(log)
    end = time.monotonic() + TIME_LIMIT_S
    while len(before.calls()) < 20:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.001)
    child.send_signal(how)
    _, error = child.communicate(timeout=TIME_LIMIT_S)
    assert child.returncode == -how, error
    fetched = before.symbols()
    assert 20 <= len(fetched) < 400

    after = Logged(tmp_path / "again.txt")
    with CacheManager(folder / "metadata.db", folder / "cache") as cache:
        symbols = [f"S{number:04}" for number in range(400)]
        report = cache.warm(plan_of(after, symbols), batch_size=1)
        assert report.complete
    twice = set(fetched) & set(after.symbols())
    # Killed, the two calls that were under way may have been answered but not kept.
    assert len(twice) <= (0 if how == signal.SIGINT else 2)
    assert sorted({*fetched, *after.symbols()}) == symbols


# --- progress -----------------------------------------------------------------------------------


def test_progress_is_told_to_a_function_and_else_nothing_is_printed(cache, capfd):
    told = []
    plan = plan_of(Counting())
    cache.warm(plan, batch_size=4, progress=lambda what, share: told.append((what, share)))
    assert [share for _, share in told] == pytest.approx([1 / 3, 2 / 3, 1])
    assert told[-1][0] == "3 of 3 batches, 100 bars"
    cache.warm(plan)
    cache.warm(plan, progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_nothing_without_the_extra_for_it(cache, monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    assert cache.warm(plan_of(Counting())).complete
    assert capfd.readouterr() == ("", "")


# --- the estimate -------------------------------------------------------------------------------

DAY_S = 86_400


def interval(first, last):
    return tuple(
        int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9
        for day in (first, last)
    )


def test_sessions_are_counted_where_a_calendar_is_known():
    day_us = DAY_S * 10**6
    days = tuple(day for day in range(19_000, 19_365) if day % 7 not in (2, 3))
    opens = tuple(day * day_us + 9 * 3600 * 10**6 for day in days)
    closes = tuple(opening + 390 * 60 * 10**6 for opening in opens)
    calendar = Calendar("TEST", days, opens, closes)
    whole = (19_007 * DAY_S * 10**9, 19_021 * DAY_S * 10**9)
    now_s = 30_000 * DAY_S
    assert bars_expected(finality("1d", calendar), whole, now_s) == 10
    assert bars_expected(finality("1h", calendar), whole, now_s) == 10 * 7
    assert bars_expected(finality("1d"), whole, now_s) == 14
    assert bars_expected(finality("1d", calendar), whole, 19_014 * DAY_S) == 5
    before = (18_000 * DAY_S * 10**9, 18_365 * DAY_S * 10**9)
    assert bars_expected(finality("1d", calendar), before, now_s) == pytest.approx(261, abs=3)


def test_nothing_is_expected_of_the_future():
    future = interval(date(2030, 1, 1), date(2030, 2, 1))
    assert bars_expected(finality("1d"), future, now_s=future[0] // 10**9 - 1) == 0
