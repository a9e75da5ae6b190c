"""get_or_fetch over random sequences of requests, against a source that counts every bar.

Some of those who ask are other processes, and die while they do. Segments are merged at random
moments: two neighbours suffice.

`BARCACHE_BAR_SEQUENCES` sets how many sequences are tried (default 60).
"""

import os
import tempfile
import threading
from collections import defaultdict
from datetime import UTC, timedelta
from pathlib import Path
from signal import SIGKILL

from bar_oracle import DAY_S, GRIDS, Oracle, OracleSource, SourceDown
from bar_victim import ask_and_die
from barcache import CacheManager, PartialCoverage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SEQUENCES = int(os.environ.get("BARCACHE_BAR_SEQUENCES", "60"))
SYMBOLS = ("A", "BB", "CCC")

TAKEN_OVER_WITHIN_S = 5  # Far less than a lease of 10 s that nobody renews.
MOMENTS = 9000  # A request without a gap has some 500 of them, one of several calls 8000.
ENDS = ["str", "date", "datetime", "noon", "text", "aware"]

symbols = st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=3)
requests = st.tuples(
    st.just("ask"),
    symbols,
    st.integers(0, 40),
    st.integers(0, 20),
    st.sampled_from(ENDS),
    st.one_of(st.none(), st.none(), st.integers(0, 2)),
)
steps = st.one_of(
    requests,
    requests.map(tuple),  # Else it would count once.
    requests.map(list),
    st.tuples(
        st.just("die"),
        symbols,
        st.integers(0, 40),
        st.integers(0, 20),
        st.sampled_from(ENDS),
        st.integers(1, MOMENTS),
        st.booleans(),
    ),
    st.tuples(st.just("wait"), st.integers(1, 3 * 24)),
    st.tuples(st.just("restate"), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("evict"), st.integers(0, 10)),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("merge"), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("merge"), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("offline"), st.sampled_from(SYMBOLS), st.integers(0, 40), st.integers(0, 20)),
)


class Waiter(threading.Thread):
    """Asks the same at the same time, in this process."""

    def __init__(self, play, request):
        super().__init__(daemon=True)
        self.play, self.request = play, request
        self.source = OracleSource(play.grid, 0)
        self.source.now_s, self.source.version = play.source.now_s, play.source.version
        self.waits = threading.Event()
        self.answer = self.error = None

    def start_to_wait(self) -> None:
        """Returns when it waits for whoever fetches, or has its answer."""
        begin_flight = self.play.cache._begin_flight

        def noticed(name):
            flight = begin_flight(name)
            self.waits.set()
            return flight

        self.play.cache._begin_flight = noticed
        self.start()
        assert self.waits.wait(60)
        del self.play.cache._begin_flight

    def run(self) -> None:
        try:
            grid = self.play.grid
            self.answer = self.play.cache.get_or_fetch(
                *self.request,
                grid.resolution,
                "oracle",
                self.source.fetch,
                overlap=self.play.overlap,
            )
        except BaseException as error:
            self.error = error
        finally:
            self.waits.set()


class Play:
    """One sequence."""

    def __init__(self, folder: Path, grid: str, overlap: int):
        self.folder = folder
        self.overlap = overlap
        self.grid_name = grid
        self.grid = GRIDS[grid]
        self.source = OracleSource(self.grid, start=25)
        self.oracle = Oracle(self.source, overlap)
        self.unseen = set()  # Symbols restated since the cache last had a chance to notice.
        self.cache = self.open()

    def open(self) -> CacheManager:
        cache = CacheManager(self.folder / "metadata.db", self.folder / "cache")
        cache._bar_reader.clock = self.source.clock
        return cache

    def step(self, step) -> None:
        getattr(self, step[0])(*step[1:])

    def ends(self, kind, first, last):
        start, end = self.grid.label(first), self.grid.label(last)
        if kind in ("str", "date"):
            start, end = start.date(), end.date()
            return (start, end) if kind == "date" else (start.isoformat(), end.isoformat())
        if kind == "noon":
            half = timedelta(seconds=self.grid.step_s // 2)
            return start + half, end + half
        if kind == "text":
            return start.isoformat(), end.isoformat()
        if kind == "aware":
            return tuple(moment.replace(tzinfo=moment.tzinfo or UTC) for moment in (start, end))
        return start, end

    def fetch(self, symbols, start, end, **options):
        return self.cache.get_or_fetch(
            symbols, start, end, self.grid.resolution, "oracle", self.source.fetch, **options
        )

    def die(self, symbols, first, length, kind, moment, awaited) -> None:
        request = (symbols, *self.ends(kind, first, first + length))
        waiter = Waiter(self, request) if awaited else None
        self.source.begin_request()
        fate = ask_and_die(
            self.folder, self.grid_name, self.source, moment, request, self.overlap,
            waiter.start_to_wait if waiter is not None else lambda: None,
        )  # fmt: skip
        assert fate.exit_code in (0, -SIGKILL), fate
        killed = fate.answer is None
        assert killed == (fate.exit_code != 0)
        if waiter is not None and waiter.ident is not None:
            waiter.join(TAKEN_OVER_WITHIN_S)
            assert not waiter.is_alive(), "who waited for the dead process goes on waiting"
        restated = self.oracle.check_fetches(failed=False, killed=killed)
        if not killed:
            self.check(fate.answer, restated, *request)
        if waiter is not None and waiter.ident is not None:
            assert waiter.error is None, waiter.error
            self.source.calls = waiter.source.calls
            self.source.delivered = waiter.source.delivered
            restated = self.oracle.check_fetches(failed=False)
            self.check(waiter.answer, restated, *request)

    def ask(self, symbols, first, length, kind, fail_at) -> None:
        start, end = self.ends(kind, first, first + length)
        self.source.begin_request(fail_at)
        try:
            frame = self.fetch(symbols, start, end, overlap=self.overlap)
        except SourceDown:
            assert fail_at is not None
            self.oracle.check_fetches(failed=True)
            return
        self.check(frame, self.oracle.check_fetches(failed=False), symbols, start, end)
        self.source.begin_request(fail_at=0)  # Asked again at once: only what is provisional.
        settled_s = self.grid.moment_of(end, last=True) + 2 * self.grid.step_s
        if settled_s <= self.source.now_s:
            assert self.fetch(symbols, start, end, overlap=self.overlap).equals(frame)

    def check(self, frame, restated, symbols, start, end) -> None:
        self.unseen -= restated
        self.oracle.check_answer(frame, symbols, start, end)
        if not self.unseen & set(symbols):
            self.oracle.check_newest(frame, symbols, start, end)

    def offline(self, symbol, first, length) -> None:
        daily = self.grid.step_s == DAY_S
        start, end = self.ends("date" if daily else "datetime", first, first + length)
        self.source.begin_request(fail_at=0)
        wanted = self.grid.between(start, end)
        held = [self.oracle.held.get((symbol, number), set()) for number in wanted]
        try:
            frame = self.fetch([symbol], start, end, offline=True)
        except PartialCoverage as partial:
            frame, gaps = partial.frame, partial.missing[symbol]
            assert gaps, "something is missing"
            missing = {number for gap in gaps for number in self.grid.between(*gap)}
            assert missing or not daily, "days are missing whole"
            assert missing <= set(wanted)
            wanted = [number for number in wanted if number not in missing]
        if frame.width:
            got = set(frame["close"].to_list())
            assert got <= set().union(*held)
            final = [n for n in wanted if (symbol, n) in self.oracle.final]
            assert all(got & self.oracle.held[symbol, n] for n in final), "what is there is served"

    def wait(self, hours) -> None:
        self.source.now_s += hours * self.grid.step_s / 24

    def restate(self, symbol) -> None:
        self.source.version[symbol] *= 2.0
        self.unseen.add(symbol)

    def evict(self, place) -> None:
        keys = [key for key in self.cache.entries() if key.startswith("seg:")]
        if not keys:
            return
        key = keys[place % len(keys)]
        frame = self.cache.get_cached_data(key)
        numbers = defaultdict(list)
        for label, symbol in frame.select("timestamp", "symbol").iter_rows():
            numbers[symbol].append(self.grid.number_of(label))
        for symbol, lost in numbers.items():
            self.oracle.lose(symbol, lost)
        self.cache.clear_cache(key)

    def merge(self, symbol) -> None:
        self.cache._merge_now("oracle", self.grid.resolution, "", [symbol], "timestamp", 2)

    def reopen(self) -> None:
        self.cache.close()
        self.cache = self.open()


def play_through(kind, sequence, grid, overlap) -> None:
    """Plays the steps, in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        play = kind(Path(folder), grid, overlap)
        try:
            for step in sequence:
                play.step(step)
        finally:
            play.cache.close()


@settings(
    max_examples=SEQUENCES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(steps, min_size=3, max_size=14), st.sampled_from(sorted(GRIDS)), st.integers(0, 2))
def test_every_answer_is_the_sources_and_nothing_is_fetched_twice(sequence, grid, overlap):
    play_through(Play, sequence, grid, overlap)
