"""Random sequences of overlapping requests for a universe of bars, each bar accounted for.

A source counts every bar that it sends. What get_or_fetch may ask it for: bars that were never
sent, bars that were not final when they were sent, bars whose segment was removed since, and next
to a gap `overlap` bars at each of its two edges. Requests for mere days of bars within the day
cannot name a minute: of a day that is not all there they may fetch all, once.
Anything else, and an answer that is not the source's own, raises AssertionError with the number of
the sequence.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from barcache import CacheManager

if TYPE_CHECKING:
    from barcache.bench.universe import Universe

    from benchmarks.real_bars import RealBars

US = 1_000_000
DAY_US = 86_400 * US
# So old an interval without bars is not asked for again: 30 days, and the most for which a younger
# one is believed.
FINAL_WITHOUT_BARS_US = 32 * DAY_US
STEP_US = {"1d": DAY_US, "1h": 3600 * US, "1m": 60 * US}
KINDS = ("never sent before", "not final before", "removed before", "overlap", "whole days")


class SourceDown(Exception):
    """The source fails, because the play says so."""


def _microseconds(end: Any, *, last: bool) -> int:
    """Of an end as get_or_fetch gives it, since 1970; a mere day is all of it."""
    if isinstance(end, str):
        end = date.fromisoformat(end) if len(end) == 10 else datetime.fromisoformat(end)
    if isinstance(end, datetime):
        return round(end.replace(tzinfo=UTC).timestamp() * US)
    midnight = round(datetime(end.year, end.month, end.day, tzinfo=UTC).timestamp() * US)
    return midnight + (DAY_US - 1 if last else 0)


@dataclass(frozen=True)
class Call:
    """One call of the source: whose bars, and both ends, included, in microseconds."""

    places: np.ndarray
    begin: int
    end: int


class CountingSource:
    """A universe in time: what is not yet is not sent, and the bar that is forming changes."""

    def __init__(self, universe: Universe | RealBars, now_s: int):
        self.universe = universe
        self.now_s = now_s
        self.calls: list[Call] = []
        self.calls_until_failure: int | None = None
        self.step_us = STEP_US[universe.resolution]
        self._times_us = universe.times.cast(pl.Int64).to_numpy()
        self._places = {symbol: place for place, symbol in enumerate(universe.symbols)}

    def clock(self) -> float:
        return self.now_s

    def answer(self, symbols: list[str], start: Any, end: Any) -> pl.DataFrame:
        """The source's own answer, now."""
        begin, last = _microseconds(start, last=False), _microseconds(end, last=True)
        first, after = np.searchsorted(self._times_us, [begin, last + 1])
        after = min(after, int(np.searchsorted(self._times_us, self.now_s * US, side="right")))
        after = max(first, after)
        frame = pl.concat([self.universe.frames[symbol][first:after] for symbol in symbols])
        if after == first or self._times_us[after - 1] + self.step_us <= self.now_s * US:
            return frame
        forming = int(self._times_us[after - 1])
        so_far = (self.now_s * US - forming) / self.step_us
        is_forming = pl.col("timestamp") == pl.lit(forming).cast(pl.Datetime("us"))
        return frame.with_columns(
            pl.when(is_forming).then(pl.col("close") - 1 - so_far).otherwise("close").alias("close")
        )

    def fetch(self, symbols: list[str], start: Any, end: Any, resolution: str) -> pl.DataFrame:
        assert resolution == self.universe.resolution
        if self.calls_until_failure is not None and len(self.calls) >= self.calls_until_failure:
            raise SourceDown("no line")
        places = np.array([self._places[symbol] for symbol in symbols])
        begin, last = _microseconds(start, last=False), _microseconds(end, last=True)
        self.calls.append(Call(places, begin, last))
        return self.answer(symbols, start, end)


class Account:
    """What was sent of which symbol, and what may be sent again.

    Time is cut into the moments at which bars begin and, each ending at midnight at the latest, the
    stretches between them: a request may begin and end within a bar.
    """

    def __init__(self, source: CountingSource, overlap: int):
        universe = source.universe
        self.source, self.overlap = source, overlap
        self.sent: Counter[str] = Counter()
        self._step_us = source.step_us
        days = [universe.times[0].date() - timedelta(days=40)]
        while days[-1] < universe.times[-1].date() + timedelta(days=40):
            days.append(days[-1] + timedelta(days=1))
        bars = universe.times.cast(pl.Int64).to_numpy()
        midnights = np.array([_microseconds(day, last=False) for day in days])
        begins = np.unique(np.concatenate([bars, bars + 1, bars + self._step_us, midnights]))
        self._begins, self._ends = begins[:-1], begins[1:]
        self._is_bar = np.isin(self._begins, bars)
        self._day = self._begins // DAY_US
        numbers = np.arange(len(self._begins))
        self._previous = np.maximum.accumulate(np.where(self._is_bar, numbers, -1))
        behind = np.where(self._is_bar, numbers, len(numbers))[::-1]
        self._following = np.minimum.accumulate(behind)[::-1]
        shape = (len(universe.symbols), len(self._begins))
        self._seen, self._held, self._lost = (np.zeros(shape, dtype=bool) for _ in range(3))

    def check(self, *, whole_days: bool) -> None:
        """Takes the calls of one request, and raises AssertionError if one should not have been."""
        for call in self.source.calls:
            self._take(call, whole_days=whole_days)

    def lose(self, symbol: str, times: pl.Series) -> None:
        """A segment is gone: its bars may be sent again, and so may what lies beside them."""
        place = self.source.universe.symbols.index(symbol)
        lost = np.isin(self._begins, times.cast(pl.Int64).to_numpy())
        beside = np.append(lost, False)  # Both beyond the last bar and before the first: no.
        self._lost[place, lost] = True
        self._held[place] &= ~(lost | beside[self._previous] | beside[self._following])

    def _take(self, call: Call, *, whole_days: bool) -> None:
        now_us = self.source.now_s * US
        first = int(np.searchsorted(self._ends, call.begin, side="right"))
        after = int(np.searchsorted(self._begins, call.end, side="right"))
        begins, ends = self._begins[first:after], self._ends[first:after]
        sent = self._is_bar[first:after] & (begins >= call.begin) & (begins <= now_us)
        seen, held, lost = (
            array[call.places, first:after] for array in (self._seen, self._held, self._lost)
        )
        again = held & sent
        for row in np.flatnonzero(again.any(axis=1)):
            symbol = self.source.universe.symbols[call.places[row]]
            if whole_days:
                self._check_days(held[row], again[row], self._day[first:after], (symbol, call))
            else:
                self._check_runs(held[row], again[row], (symbol, call))
        rest = sent & ~held
        self.sent["never sent before"] += int((rest & ~seen).sum())
        self.sent["not final before"] += int((rest & seen & ~lost).sum())
        self.sent["removed before"] += int((rest & lost).sum())
        self.sent["whole days" if whole_days else "overlap"] += int(again.sum())

        final = sent & (begins + 2 * self._step_us <= now_us)
        covered = (begins >= call.begin) & (ends - 1 <= call.end) & ~self._is_bar[first:after]
        is_old = ends <= now_us - FINAL_WITHOUT_BARS_US
        rows = np.ix_(call.places, np.arange(first, after))
        self._seen[rows] |= sent
        self._lost[rows] &= ~sent
        settled = self._settled(rest, rest & final, first, from_begin=not whole_days)
        self._held[rows] |= final | (covered & (is_old | settled))

    def _settled(
        self, new: np.ndarray, final: np.ndarray, first: int, *, from_begin: bool
    ) -> np.ndarray:
        """The stretches of which the ledger knows for good that there are no bars in them.

        They lie before or between new bars of a call, or are the rest of a new bar. What lies
        beside bars that were only compared may have been asked for at another time.

        Args:
            new: where the call brought bars that were not held, by symbol.
            final: those of them that are final.
            first: the number of the call's first stretch.
            from_begin: a gap begins where the call begins, or with bars that are compared.
        """
        count = new.shape[1]
        previous = self._previous[first : first + count] - first
        following = self._following[first : first + count] - first
        result = np.where(previous < 0, from_begin, new[:, np.maximum(previous, 0)])
        result &= final[:, np.minimum(following, count - 1)] & (following < count)
        of_bar = previous == np.arange(count) - 1
        return result | (final[:, np.maximum(previous, 0)] & of_bar)

    def _check_runs(self, held: np.ndarray, again: np.ndarray, what: Any) -> None:
        """At most `overlap` held bars at each edge of a gap, and none elsewhere."""
        edges = np.flatnonzero(np.diff(held)) + 1
        bounds = [0, *edges.tolist(), len(held)]
        for begin, end in itertools.pairwise(bounds):
            gaps_beside = (begin > 0) + (end < len(held))
            count = int(again[begin:end].sum())
            assert count <= gaps_beside * self.overlap, f"fetched twice: {count} bars of {what}"

    @staticmethod
    def _check_days(held: np.ndarray, again: np.ndarray, days: np.ndarray, what: Any) -> None:
        """No held bars of a day of which all is held."""
        missing = set(days[~held].tolist())
        twice = set(days[again].tolist()) - missing
        assert not twice, f"fetched twice: {len(twice)} whole days of {what}"


class Play:
    """One sequence of requests, in a cache of its own.

    Attributes:
        counted: requests, bars asked for, and what a cache of whole requests would have fetched.
    """

    def __init__(self, universe: Universe | RealBars, seed: int, folder: Path):
        self.universe, self.folder = universe, folder
        self.random = random.Random(seed)
        self.days = sorted(set(universe.times.dt.date().to_list()))
        start = self.days[int(len(self.days) * self.random.uniform(0.6, 0.95))]
        now = datetime(start.year, start.month, start.day, 15, 30, tzinfo=UTC)
        self.source = CountingSource(universe, int(now.timestamp()))
        self.overlap = self.random.choice([1, 1, 0, 2])
        self.account = Account(self.source, self.overlap)
        self.counted: Counter[str] = Counter()
        self._asked: list[tuple[list[str], Any, Any]] = []
        self._places: list[int] = []  # Days that were asked for: later requests begin near them.
        self.cache = self._open()

    def _open(self) -> CacheManager:
        cache = CacheManager(self.folder / "metadata.db", self.folder / "cache")
        cache._bar_reader.clock = self.source.clock
        return cache

    def run(self, steps: int) -> None:
        for _ in range(steps):
            step = self.random.choices(
                [self.ask, self.wait, self.reopen, self.remove], weights=[20, 4, 1, 2]
            )[0]
            step()

    def wait(self) -> None:
        self.source.now_s += self.random.choice([37, 1800, 7 * 3600, 86_400, 12 * 86_400])

    def reopen(self) -> None:
        self.cache.close()
        self.cache = self._open()

    def remove(self) -> None:
        """A segment leaves, as an eviction or another program might have it."""
        keys = [key for key in self.cache.entries() if key.startswith("seg:")]
        if not keys:
            return
        key = self.random.choice(keys)
        frame = self.cache.get_cached_data(key)
        if frame is not None and frame.height:
            self.account.lose(frame["symbol"][0], frame["timestamp"])
            self.cache.clear_cache(key)

    def ask(self) -> None:
        if self._asked and self.random.random() < 0.15:
            self.request(*self.random.choice(self._asked))
        else:
            self.request(self._symbols(), *self._window())

    def request(self, symbols: list[str], start: Any, end: Any) -> None:
        request = (symbols, start, end)
        source = self.source
        source.calls = []
        source.calls_until_failure = self.random.choice([None] * 9 + [self.random.randrange(3)])
        whole_days = self.universe.resolution != "1d" and isinstance(start, str)
        try:
            frame = self._get(*request)
        except SourceDown:
            self.account.check(whole_days=whole_days)
            self.counted["calls"] += len(source.calls)
            source.calls, source.calls_until_failure = [], None
            frame = self._get(*request)
        self.account.check(whole_days=whole_days)
        own = source.answer(symbols, start, end)
        assert frame.equals(own), f"another answer than the source's for {request}"
        self.counted["requests"] += 1
        self.counted["calls"] += len(source.calls)
        self.counted["bars asked for"] += own.height
        if request not in self._asked:
            self._asked.append(request)
            self.counted["by whole requests"] += own.height

    def _get(self, symbols: list[str], start: Any, end: Any) -> pl.DataFrame:
        return self.cache.get_or_fetch(
            symbols,
            start,
            end,
            self.universe.resolution,
            "universe",
            self.source.fetch,
            overlap=self.overlap,
        )

    def _symbols(self) -> list[str]:
        every = self.universe.symbols
        some = self.random.randint(2, max(2, len(every) // 10))
        count = min(len(every), self.random.choice([1, 1, some, some, len(every)]))
        return sorted(self.random.sample(every, count))

    def _window(self) -> tuple[Any, Any]:
        """Days as ISO text, within the day also moments; mostly beside or over an earlier one."""
        most = len(self.days)
        length = self.random.choice([1, 5, 21, 63, most // 10, most // 2, most])
        first = self.random.randrange(-20, most)
        if self._places and self.random.random() < 0.7:
            first = self.random.choice(self._places) - self.random.choice([0, 1, length, length])
        last = min(first + length, most + 20)
        self._places += [first, last]
        start, end = self._day(first), self._day(last)
        if self.universe.resolution == "1d" or self.random.random() < 0.3:
            return start.isoformat(), end.isoformat()
        minutes = [timedelta(minutes=self.random.randrange(13 * 60, 23 * 60)) for _ in range(2)]
        midnights = [datetime(day.year, day.month, day.day) for day in (start, end)]
        return tuple(sorted(a + b for a, b in zip(midnights, minutes, strict=True)))

    def _day(self, place: int) -> date:
        """A day of the universe, or one up to 20 days before the first or after the last."""
        if place < 0:
            return self.days[0] + timedelta(days=max(place, -20))
        if place >= len(self.days):
            return self.days[-1] + timedelta(days=min(place - len(self.days), 20))
        return self.days[place]


def play(universe: Universe | RealBars, seed: int, steps: int) -> tuple[Counter[str], Counter[str]]:
    """Plays one sequence.

    Returns:
        Requests, calls, bars asked for, and what a cache of whole requests would have fetched; and
        the bars that were fetched, by kind.
    """
    with tempfile.TemporaryDirectory(prefix="barcache-universe-") as folder:
        one = Play(universe, seed, Path(folder))
        try:
            one.run(steps)
        except AssertionError as error:
            raise AssertionError(f"sequence {seed}: {error}") from error
        finally:
            one.cache.close()
    return one.counted, one.account.sent
