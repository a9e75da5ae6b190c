"""get_or_fetch over random sequences of requests, against a source that counts every bar.

Segments are merged at random moments: two neighbours suffice.

`BARCACHE_BAR_SEQUENCES` sets how many sequences are tried (default 60).
"""

import os
import tempfile
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

from bar_oracle import DAY_S, Oracle, OracleSource, SourceDown, day_of, moment_of
from barcache import CacheManager, PartialCoverage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SEQUENCES = int(os.environ.get("BARCACHE_BAR_SEQUENCES", "60"))
SYMBOLS = ("A", "BB", "CCC")

requests = st.tuples(
    st.just("ask"),
    st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=3),
    st.integers(0, 40),
    st.integers(0, 20),
    st.sampled_from(["str", "date", "datetime", "noon"]),
    st.one_of(st.none(), st.none(), st.integers(0, 2)),
)
steps = st.one_of(
    requests,
    requests,
    requests,
    st.tuples(st.just("wait"), st.integers(1, 3 * 24)),
    st.tuples(st.just("restate"), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("evict"), st.integers(0, 10)),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("merge"), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("merge"), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("offline"), st.sampled_from(SYMBOLS), st.integers(0, 40), st.integers(0, 20)),
)


def ends(kind, first, last):
    start, end = day_of(first), day_of(last)
    if kind == "str":
        return start.isoformat(), end.isoformat()
    if kind == "date":
        return start, end
    hours = timedelta(hours=12 if kind == "noon" else 0)
    start, end = (datetime(d.year, d.month, d.day) + hours for d in (start, end))
    return start, end


class Play:
    """One sequence."""

    def __init__(self, folder: Path, overlap: int):
        self.folder = folder
        self.overlap = overlap
        self.source = OracleSource(start_day=25)
        self.oracle = Oracle(self.source, overlap)
        self.unseen = set()  # Symbols restated since the cache last had a chance to notice.
        self.cache = self.open()

    def open(self) -> CacheManager:
        cache = CacheManager(self.folder / "metadata.db", self.folder / "cache")
        cache._bar_reader.clock = self.source.clock
        return cache

    def step(self, step) -> None:
        getattr(self, step[0])(*step[1:])

    def ask(self, symbols, first, length, kind, fail_at) -> None:
        start, end = ends(kind, first, first + length)
        self.source.begin_request(fail_at)
        try:
            frame = self.cache.get_or_fetch(
                symbols, start, end, "1d", "oracle", self.source.fetch, overlap=self.overlap
            )
        except SourceDown:
            assert fail_at is not None
            self.oracle.check_fetches(failed=True)
            return
        restated = self.oracle.check_fetches(failed=False)
        self.unseen -= restated
        self.oracle.check_answer(frame, symbols, start, end)
        if not self.unseen & set(symbols):
            self.oracle.check_newest(frame, symbols, start, end)
        self.source.begin_request(fail_at=0)  # Asked again at once: only what is provisional.
        if moment_of(end, last=True) + 2 * DAY_S <= self.source.now_s:
            again = self.cache.get_or_fetch(
                symbols, start, end, "1d", "oracle", self.source.fetch, overlap=self.overlap
            )
            assert again.equals(frame)

    def offline(self, symbol, first, length) -> None:
        start, end = ends("date", first, first + length)
        self.source.begin_request(fail_at=0)
        wanted = self.source.days_between(start, end)
        held = [self.oracle.held.get((symbol, day), set()) for day in wanted]
        try:
            frame = self.cache.get_or_fetch(
                [symbol], start, end, "1d", "oracle", self.source.fetch, offline=True
            )
        except PartialCoverage as partial:
            frame = partial.frame
            missing = {
                day for gap in partial.missing[symbol] for day in self.source.days_between(*gap)
            }
            assert missing, "something is missing"
            assert missing <= set(wanted)
            wanted = [day for day in wanted if day not in missing]
        if frame.width:
            got = set(frame["close"].to_list())
            assert got <= set().union(*held)
            final = [d for d in wanted if (symbol, d) in self.oracle.final]
            assert all(got & self.oracle.held[symbol, d] for d in final), "what is there is served"

    def wait(self, hours) -> None:
        self.source.now_s += hours * 3600

    def restate(self, symbol) -> None:
        self.source.version[symbol] *= 2.0
        self.unseen.add(symbol)

    def evict(self, place) -> None:
        keys = [key for key in self.cache.entries() if key.startswith("seg:")]
        if not keys:
            return
        key = keys[place % len(keys)]
        frame = self.cache.get_cached_data(key)
        days = defaultdict(list)
        for time, symbol in frame.select("timestamp", "symbol").iter_rows():
            days[symbol].append((time - datetime(2024, 1, 1)).days)
        for symbol, lost in days.items():
            self.oracle.lose(symbol, lost)
        self.cache.clear_cache(key)

    def merge(self, symbol) -> None:
        self.cache._merge_now("oracle", "1d", "", [symbol], "timestamp", 2)

    def reopen(self) -> None:
        self.cache.close()
        self.cache = self.open()


@settings(
    max_examples=SEQUENCES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(steps, min_size=3, max_size=14), st.integers(0, 2))
def test_every_answer_is_the_sources_and_nothing_is_fetched_twice(sequence, overlap):
    with tempfile.TemporaryDirectory() as folder:
        play = Play(Path(folder), overlap)
        try:
            for step in sequence:
                play.step(step)
        finally:
            play.cache.close()
