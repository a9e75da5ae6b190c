"""A source of bars that knows what it said, and what a cache before it may ask and answer.

Bars have numbers from 0 on, by the order of their times: a grid says which time is whose. A bar's
value tells its number, its version and, while the bar is still forming, the moment at which it was
delivered: no two different bars are equal.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl

if TYPE_CHECKING:
    from datetime import tzinfo

DAY_S = 86_400


class SourceDown(Exception):
    """The fake source fails."""


@dataclass(frozen=True)
class Grid:
    """Which bars there can be: the resolution, the zone of the time column, and the first day.

    Daily bars begin at the zone's midnights, shorter ones follow each other whatever the clocks.
    """

    resolution: str
    step_s: int
    first_day: date
    zone_name: str | None = None

    @property
    def zone(self) -> tzinfo:
        return UTC if self.zone_name is None else ZoneInfo(self.zone_name)

    @property
    def schema(self) -> dict[str, Any]:
        return {
            "timestamp": pl.Datetime("us", self.zone_name),
            "symbol": pl.String,
            "close": pl.Float64,
        }

    def label(self, number: int) -> datetime:
        """The time of a bar, as it stands in the time column."""
        midnight = datetime.combine(self.first_day, time())
        if self.step_s == DAY_S:
            moment = (midnight + timedelta(days=number)).replace(tzinfo=self.zone)
        else:
            first = midnight.replace(tzinfo=self.zone).astimezone(UTC)
            moment = (first + timedelta(seconds=number * self.step_s)).astimezone(self.zone)
        return moment.replace(tzinfo=None) if self.zone_name is None else moment

    def begin_s(self, number: int) -> float:
        """When a bar begins, in Unix seconds."""
        return self.moment_of(self.label(number), last=False)

    def number_of(self, label: datetime) -> int:
        """The number of the bar with that time."""
        if self.step_s == DAY_S:
            return (label.date() - self.first_day).days
        return round((self.moment_of(label, last=False) - self.begin_s(0)) / self.step_s)

    def moment_of(self, end: Any, *, last: bool) -> float:
        """Unix seconds of an end as a caller gives it."""
        if isinstance(end, str):
            end = date.fromisoformat(end) if len(end) == 10 else datetime.fromisoformat(end)
        if isinstance(end, datetime):
            return (end if end.tzinfo else end.replace(tzinfo=self.zone)).timestamp()
        midnight = datetime.combine(end + timedelta(days=last), time(), self.zone)
        return midnight.timestamp() - last

    def between(self, start: Any, end: Any) -> list[int]:
        """The numbers of the bars that begin in [start, end], ends as a caller gives them."""
        first, last = self.moment_of(start, last=False), self.moment_of(end, last=True)
        spare = DAY_S // self.step_s if self.step_s < DAY_S else 1
        low = math.floor((first - self.begin_s(0)) / self.step_s) - min(spare, 2)
        high = math.ceil((last - self.begin_s(0)) / self.step_s) + min(spare, 2)
        return [n for n in range(low, high + 1) if n >= 0 and first <= self.begin_s(n) <= last]


NEW_YORK = "America/New_York"  # Its clocks went forward on 2024-03-10.
GRIDS = {
    "days": Grid("1d", DAY_S, date(2024, 1, 1)),
    "days in a zone": Grid("1d", DAY_S, date(2024, 2, 20), NEW_YORK),
    "hours in a zone": Grid("1h", 3600, date(2024, 3, 9), NEW_YORK),
    "minutes": Grid("1m", 60, date(2024, 1, 1)),
}


class OracleSource:
    """Bars of any symbol, with holidays, restatements and failures on demand."""

    def __init__(self, grid: Grid, start: int):
        self.grid = grid
        self.now_s = grid.begin_s(start)
        self.version = defaultdict(lambda: 1.0)
        self.calls = []  # (symbols, start, end) of one request.
        self.delivered = []  # (symbol, bar, value, was final, number of the call) of one request.
        self.fail_at = None

    def clock(self) -> float:
        return self.now_s

    def bar(self, symbol: str, number: int):
        """(value, final) of a bar as it is now; None where there is none."""
        begin, step_s = self.grid.begin_s(number), self.grid.step_s
        is_holiday = (number + len(symbol)) % 7 in (5, 6) or number in (11, 12, 13, 14)
        if is_holiday or begin > self.now_s:
            return None
        final = self.now_s >= begin + 2 * step_s
        forming = 0.0 if self.now_s >= begin + step_s else (self.now_s - begin) / step_s / 2 + 0.1
        return (number + 1 + forming) * self.version[symbol], final

    def answer(self, symbols, start, end) -> pl.DataFrame:
        """The source's own answer to a request, now."""
        numbers = self.grid.between(start, end)
        rows = [
            (self.grid.label(number), symbol, bar[0])
            for symbol in sorted(set(symbols))
            for number in numbers
            if (bar := self.bar(symbol, number)) is not None
        ]
        return pl.DataFrame(rows, schema=self.grid.schema, orient="row")

    def fetch(self, symbols, start, end, resolution):
        assert resolution == self.grid.resolution
        if self.fail_at is not None and len(self.calls) >= self.fail_at:
            raise SourceDown("no line")
        self.calls.append((tuple(symbols), start, end))
        numbers = self.grid.between(start, end)
        for symbol in symbols:
            for number in numbers:
                bar = self.bar(symbol, number)
                if bar is not None:
                    self.delivered.append((symbol, number, *bar, len(self.calls)))
        return self.answer(symbols, start, end)

    def begin_request(self, fail_at=None) -> None:
        self.calls, self.delivered, self.fail_at = [], [], fail_at


class Oracle:
    """What was delivered before, and so what a cache may ask for and has to answer."""

    def __init__(self, source: OracleSource, overlap: int):
        self.source = source
        self.overlap = overlap
        self.held = {}  # (symbol, bar): value as last delivered; more where that may not count.
        self.final = set()  # Those of them that a second delivery would waste.

    def lose(self, symbol: str, numbers) -> None:
        """Bars whose segment went: they may be fetched again."""
        for number in numbers:
            self.final.discard((symbol, number))

    def check_fetches(self, *, failed: bool, killed: bool = False) -> set[str]:
        """Nothing but what is needed was fetched. Returns the symbols that were found restated.

        failed: so did the last call; what earlier ones brought counts. killed: who asked died, so
        what was delivered may be kept or not; what was held before is.
        """
        in_call = defaultdict(list)
        restated = set()
        broad = {n for n, call in enumerate(self.source.calls, 1) if self._is_broad(call)}
        for symbol, number, value, _, call in self.source.delivered:
            if call in broad:
                continue
            held = (symbol, number) in self.final
            in_call[symbol, call].append(held)
            if held and value not in self.held[symbol, number]:
                restated.add(symbol)
        for (symbol, call), held in in_call.items():
            if symbol not in restated:
                self._check_overlap(held, (symbol, self.source.calls[call - 1]))
        for symbol, number, value, final, call in self.source.delivered:
            # What was restated is recorded only if all of it came.
            unsure = killed or call in broad or (failed and symbol in restated)
            before = self.held.get((symbol, number), set()) if unsure else set()
            self.held[symbol, number] = {value} | before
            if final and not killed:
                self.final.add((symbol, number))
        if failed or killed:
            self.final -= {pair for pair in self.final if pair[0] in restated}
        return restated

    def _is_broad(self, call) -> bool:
        """Whether its ends name whole days, for a gap within one: what is held comes again."""
        days = ((isinstance(end, str) and len(end) == 10) or type(end) is date for end in call[1:])
        return self.source.grid.step_s < DAY_S and any(days)

    def _check_overlap(self, held: list[bool], call) -> None:
        """Bars that were held were fetched again only next to a gap: `overlap` at each edge.

        Between two gaps there are two edges; a gap may have had no bars.
        """
        for was_held, run in itertools.groupby(held):
            assert not was_held or len(list(run)) <= 2 * self.overlap, (held, call)

    def check_answer(self, frame: pl.DataFrame, symbols, start, end) -> None:
        """Every bar is the one last delivered, and none is missing or doubled."""
        grid = self.source.grid
        assert frame.schema == pl.Schema(grid.schema)
        own = self.source.answer(symbols, start, end)
        assert frame.select("symbol", "timestamp").equals(own.select("symbol", "timestamp"))
        for label, symbol, value in frame.select("timestamp", "symbol", "close").iter_rows():
            assert value in self.held[symbol, grid.number_of(label)], (symbol, label)

    def check_newest(self, frame: pl.DataFrame, symbols, start, end) -> None:
        """The answer is what the source says now."""
        assert frame.equals(self.source.answer(symbols, start, end))
