"""A source of bars that knows what it said, and what a cache before it may ask and answer.

Days are numbers from 0 (2024-01-01). A bar's value tells its day, its version and, while the bar
is still forming, the hour at which it was delivered: no two different bars are equal.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import polars as pl

FIRST_DAY = date(2024, 1, 1)
DAY_S = 86_400
START_S = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
SCHEMA = {"timestamp": pl.Datetime("us"), "symbol": pl.String, "close": pl.Float64}


class SourceDown(Exception):
    """The fake source fails."""


def day_of(moment) -> date:
    return FIRST_DAY + timedelta(days=moment)


class OracleSource:
    """Daily bars of any symbol, with holidays, restatements and failures on demand."""

    def __init__(self, start_day: int):
        self.now_s = START_S + start_day * DAY_S
        self.version = defaultdict(lambda: 1.0)
        self.calls = []  # (symbols, start, end) of one request.
        self.delivered = []  # (symbol, day, value, was final, number of the call) of one request.
        self.fail_at = None

    def clock(self) -> float:
        return self.now_s

    def bar(self, symbol: str, day: int):
        """(value, final) of a bar as it is now; None where there is none."""
        begin = START_S + day * DAY_S
        is_holiday = (day + len(symbol)) % 7 in (5, 6) or day in (11, 12, 13, 14)
        if is_holiday or begin > self.now_s:
            return None
        final = self.now_s >= begin + 2 * DAY_S
        forming = 0.0 if self.now_s >= begin + DAY_S else (self.now_s - begin) / DAY_S / 2 + 0.1
        return (day + 1 + forming) * self.version[symbol], final

    def days_between(self, start, end) -> list[int]:
        """The days whose midnight lies in [start, end], ends as a caller gives them."""
        first, last = moment_of(start, last=False), moment_of(end, last=True)
        begin = math.ceil((first - START_S) / DAY_S)
        return list(range(begin, math.floor((last - START_S) / DAY_S) + 1))

    def answer(self, symbols, start, end) -> pl.DataFrame:
        """The source's own answer to a request, now."""
        rows = [
            (datetime(2024, 1, 1) + timedelta(days=day), symbol, bar[0])
            for symbol in sorted(set(symbols))
            for day in self.days_between(start, end)
            if (bar := self.bar(symbol, day)) is not None
        ]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")

    def fetch(self, symbols, start, end, resolution):
        assert resolution == "1d"
        if self.fail_at is not None and len(self.calls) >= self.fail_at:
            raise SourceDown("no line")
        self.calls.append((tuple(symbols), start, end))
        for symbol in symbols:
            for day in self.days_between(start, end):
                bar = self.bar(symbol, day)
                if bar is not None:
                    self.delivered.append((symbol, day, *bar, len(self.calls)))
        return self.answer(symbols, start, end)

    def begin_request(self, fail_at=None) -> None:
        self.calls, self.delivered, self.fail_at = [], [], fail_at


def moment_of(end, *, last: bool) -> float:
    """Unix seconds of an end as a caller gives it."""
    if isinstance(end, str):
        end = date.fromisoformat(end) if len(end) == 10 else datetime.fromisoformat(end)
    if isinstance(end, datetime):
        return (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp()
    midnight = datetime(end.year, end.month, end.day, tzinfo=UTC).timestamp()
    return midnight + (DAY_S - 1 if last else 0)


class Oracle:
    """What was delivered before, and so what a cache may ask for and has to answer."""

    def __init__(self, source: OracleSource, overlap: int):
        self.source = source
        self.overlap = overlap
        self.held = {}  # (symbol, day): value as last delivered; more where that may not count.
        self.final = set()  # Those of them that a second delivery would waste.

    def lose(self, symbol: str, days) -> None:
        """Bars whose segment went: they may be fetched again."""
        for day in days:
            self.final.discard((symbol, day))

    def check_fetches(self, *, failed: bool) -> set[str]:
        """Nothing but what is needed was fetched. Returns the symbols that were found restated."""
        in_call = defaultdict(list)
        restated = set()
        for symbol, day, value, _, call in self.source.delivered:
            held = (symbol, day) in self.final
            in_call[symbol, call].append(held)
            if held and value not in self.held[symbol, day]:
                restated.add(symbol)
        for (symbol, call), held in in_call.items():
            if symbol not in restated:
                self._check_overlap(held, (symbol, self.source.calls[call - 1]))
        for symbol, day, value, final, _ in self.source.delivered:
            # What was restated is recorded only if all of it came.
            unsure = failed and symbol in restated
            before = self.held.get((symbol, day), set()) if unsure else set()
            self.held[symbol, day] = {value} | before
            if final:
                self.final.add((symbol, day))
        if failed:
            self.final -= {pair for pair in self.final if pair[0] in restated}
        return restated

    def _check_overlap(self, held: list[bool], call) -> None:
        """Bars that were held were fetched again only next to a gap: `overlap` at each edge.

        Between two gaps there are two edges; a gap may have had no bars.
        """
        for was_held, run in itertools.groupby(held):
            assert not was_held or len(list(run)) <= 2 * self.overlap, (held, call)

    def check_answer(self, frame: pl.DataFrame, symbols, start, end) -> None:
        """Every bar is the one last delivered, and none is missing or doubled."""
        assert frame.schema == pl.Schema(SCHEMA)
        own = self.source.answer(symbols, start, end)
        assert frame.select("symbol", "timestamp").equals(own.select("symbol", "timestamp"))
        for time, symbol, value in frame.select("timestamp", "symbol", "close").iter_rows():
            assert value in self.held[symbol, (time - datetime(2024, 1, 1)).days], (symbol, time)

    def check_newest(self, frame: pl.DataFrame, symbols, start, end) -> None:
        """The answer is what the source says now."""
        assert frame.equals(self.source.answer(symbols, start, end))
