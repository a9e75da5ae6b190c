"""Fetching: fills the gaps of a request from its source, and records what it answered.

Each call of the source is recorded as soon as it is there, segments first, then the ledger: what
fails later takes nothing away, and a kill in between leaves entries that nothing refers to.

Thread safety: an object belongs to one call.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from barcache import _core
from barcache.bars.answers import DATA, NONE, coverage_of_answer, in_order
from barcache.bars.ends import MICROSECOND_NS, datetime_of
from barcache.bars.frames import by_symbol, cut, differing, shape_of, times_ns
from barcache.bars.look import NO_LIMIT_NS, calls_for, look_at, united, without
from barcache.bars.restatement import kind_of_restatement
from barcache.errors import BarcacheError, UnsupportedFrame
from barcache.events import log_event
from barcache.fetching import dataset_of, fetch_of, import_fetched, store_whole
from barcache.flights import Errand

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from barcache.bars.answers import Coverage
    from barcache.bars.asking import AskingCore
    from barcache.bars.ends import Interval
    from barcache.bars.frames import BarShape
    from barcache.bars.look import Look, SymbolLook
    from barcache.bars.request import BarRequest

Answer = tuple[str, str, str, str, str, list["Coverage"], bool, list["Coverage"]]


class NotBars(Exception):
    """An answer that is no bars: no times to recognise, or rows that cannot be told apart.

    It is cached as a whole, and is ``frame`` if the whole request was asked for.
    """

    def __init__(self, frame: pl.DataFrame | None = None):
        super().__init__("the answer of the source cannot be kept as bars")
        self.frame = frame


@dataclass
class _Fetched:
    """What a call brought, by symbol: intervals and the bars in them."""

    frames: dict[str, list[tuple[Interval, pl.DataFrame]]]
    empty: pl.DataFrame
    symbol_column: str | None
    segment_keys: list[str]
    anew: set[str]  # Symbols whose whole history was fetched.


class _FilledMeanwhile:
    """Another process filled the gaps: the ledger knows."""


class _Begun:
    """A flight among processes, and whether it had to be waited for."""

    def __init__(self, flight: _core.Flight, waits: list[str]):
        self._flight = flight
        self._waits = waits
        self.land, self.fail = flight.land, flight.fail

    def poll(self) -> str:
        """As the flight's own."""
        state = self._flight.poll()
        if state == "waiting":
            self._waits.append(state)
        return state

    @property
    def error(self) -> tuple[str, str]:
        """As the flight's own."""
        return self._flight.error


@dataclass
class _Overlap:
    """Bars that are held and fetched again, to see whether they still are the same."""

    interval: Interval
    held: pl.DataFrame


@dataclass
class _Gap:
    """What of one symbol has to be fetched."""

    part: SymbolLook
    interval: Interval
    overlaps: list[_Overlap] = field(default_factory=list)

    @property
    def extended(self) -> Interval:
        """With the bars that overlap."""
        ends = [self.interval, *(overlap.interval for overlap in self.overlaps)]
        return min(begin for begin, _ in ends), max(end for _, end in ends)


class Fetching:
    """What one request fetches.

    Attributes:
        frames: what was fetched, by symbol: begin of its interval, and the bars in it.
        empty_answer: the newest answer, without rows.
    """

    def __init__(self, cache: AskingCore, request: BarRequest, now_s: int):
        self.cache = cache
        self.request = request
        self.now_s = now_s
        self.frames: dict[str, list[tuple[int, pl.DataFrame]]] = {}
        self.empty_answer = pl.DataFrame()
        self._intervals: dict[str, list[Interval]] = {}
        self._symbol_column: str | None = None
        self._fetched_anew: set[str] = set()  # Symbols whose earlier bars no longer count.
        self._may_adopt = True

    def intervals_of(self, symbol: str) -> list[Interval]:
        """What was fetched of a symbol."""
        return self._intervals.get(symbol, [])

    def symbol_column(self, look: Look) -> str:
        """How the column of symbols is called."""
        if self._symbol_column is None:
            shapes = (part.shape for part in look.symbols)
            names = (shape.columns.symbol for shape in shapes if shape is not None)
            self._symbol_column = next((name for name in names if name), "symbol")
        return self._symbol_column

    # --- an entry from before -----------------------------------------------------------------

    def adopt(self, look: Look) -> bool:
        """Take over the frame cached under the request's exact key, once. Whether anything was.

        Raises:
            NotBars: it holds no bars; it is the answer as a whole.
        """
        if not self._may_adopt:
            return False
        self._may_adopt = False
        request = self.request
        frame = self.cache.get_cached_data(request.exact_key, backtest_id=request.backtest_id)
        entry = None if frame is None else self.cache.lookup_cache(request.exact_key)
        if frame is None or entry is None:
            return False
        shape = shape_of(frame)
        bars = None if shape is None else by_symbol(frame, shape, request.symbols)
        if shape is None or bars is None:
            raise NotBars(frame)
        answers: list[Answer] = []
        segments: list[tuple[str, pl.DataFrame]] = []
        for part in look.symbols:
            if part.series.known or not part.lacks:
                continue
            gaps = [_Gap(part, part.interval)]
            self._place_anew(gaps, shape)
            found = bars.get(part.symbol, frame.head(0))
            kept = self._kept(part, gaps, found, shape, int(entry["created_at"]), segments)
            answers.append(self._answer(part.symbol, shape, frame, kept))
            self._keep(part.symbol, [(part.interval, cut(found, shape, part.interval))], part)
        self._store(segments, answers, None, [])
        return bool(answers)

    # --- fetching -----------------------------------------------------------------------------

    def fetch(self, look: Look) -> Generator[Any, Any, bool]:
        """Fill all gaps. False: some were filled by others meanwhile; look again.

        Yields flights: name and errand. Is sent their answers.

        Raises:
            NotBars: an answer that is none.
            Whatever the source raises; what other calls of it brought is kept.
        """
        gaps = [_Gap(part, gap) for part in look.symbols for gap in self._gaps_of(part)]
        for gap in gaps:
            self._add_overlaps(gap)
        places = {part.symbol: place for place, part in enumerate(look.symbols)}
        extended = [(places[gap.part.symbol], gap.extended) for gap in gaps]
        finished = True
        for begin, end, called in calls_for(self.request, look, extended):
            in_call = [
                gap
                for place in called
                for gap in gaps
                if gap.part is look.symbols[place]
                and begin <= gap.interval[0]
                and gap.interval[1] <= end
            ]
            finished = (yield from self._call((begin, end), in_call)) and finished
        return finished

    def _gaps_of(self, part: SymbolLook) -> list[Interval]:
        """What is missing; two gaps that the same days name are one if no bars lie between.

        What lies between is asked for again then, so that its answer counts.
        """
        gaps: list[Interval] = []
        for begin, end in part.gaps():
            if gaps:
                held = any(left < begin and right > gaps[-1][1] for left, right, _ in part.pieces)
                named = self.request.ends.named
                if not held and named((begin, end), part.zone)[0] <= named(gaps[-1], part.zone)[1]:
                    gaps[-1] = (gaps[-1][0], end)
                    continue
            gaps.append((begin, end))
        return gaps

    def _add_overlaps(self, gap: _Gap) -> None:
        """The nearest bars that are held on either side, as far as the ends can name them."""
        shape, ends = gap.part.shape, self.request.ends
        if shape is None or not self.request.overlap:
            return
        intraday = self.request.resolution.is_intraday
        series = gap.part.series
        for after, moment in ((False, gap.interval[0]), (True, gap.interval[1])):
            if intraday and (ends.ends_with_day if after else ends.starts_with_day):
                continue
            near = series.neighbour(moment, after, self.now_s)
            frame = None if near is None else self.cache.get_cached_data(near[2])
            if near is None or frame is None:
                continue
            bars = cut(frame, shape, near[:2])
            count = min(self.request.overlap, bars.height)
            bars = bars.head(count) if after else bars.tail(count)
            if not count:
                continue
            times = times_ns(bars, shape)
            interval = (moment, times[-1] + 1) if after else (times[0], moment)
            gap.overlaps.append(_Overlap(interval, bars))

    def _call(self, interval: Interval, planned: list[_Gap]) -> Generator[Any, Any, bool]:
        """One call of the source, by this call or one that began it sooner. False: look again."""
        gaps = [rest for gap in planned for rest in self._still_missing(gap)]
        if not gaps:
            return True
        if gaps != planned:
            interval = min(g.extended[0] for g in gaps), max(g.extended[1] for g in gaps)
        request, cache = self.request, self.cache
        symbols = list(dict.fromkeys(gap.part.symbol for gap in gaps))
        is_whole = len(symbols) == len(request.symbols) and all(
            interval == gap.part.interval == gap.interval for gap in gaps
        )
        waits: list[str] = []

        def begin(name: str) -> Any:
            return _Begun(cache._begin_flight(name), waits)

        errand: Errand[Any] = Errand(
            begin=begin,
            look=lambda: self._look_again(gaps, is_whole=is_whole, waited=bool(waits)),
            fetch=self._asking(symbols, interval, gaps[0].part, is_whole=is_whole),
            store=lambda fetched, cost_s: self._take(
                fetched, cost_s, symbols, gaps, is_whole=is_whole
            ),
        )
        name = request.exact_key if is_whole else self._flight_name(symbols, interval)
        answer = yield name, errand
        value = answer.value
        if isinstance(value, _FilledMeanwhile):
            return False
        if isinstance(value, pl.DataFrame):
            raise NotBars(cache._own(request.exact_key, answer, request.backtest_id))
        if answer.is_shared:
            for key in value.segment_keys:
                cache._note_use(key, request.backtest_id)
        parts = {gap.part.symbol: gap.part for gap in gaps}
        for symbol, part in parts.items():
            self._keep(symbol, value.frames.get(symbol, []), part)
        self.empty_answer = value.empty
        self._symbol_column = value.symbol_column or self._symbol_column
        self._fetched_anew |= value.anew
        return True

    def _flight_name(self, symbols: list[str], interval: Interval) -> str:
        call = [*self.request.identity, *symbols, *interval, self.request.overlap]
        return "bars:" + hashlib.sha256(json.dumps(call).encode()).hexdigest()[:32]

    def _look_again(self, gaps: list[_Gap], *, is_whole: bool, waited: bool) -> Any:
        """What another process brought while this one waited for it; None: nothing."""
        if not waited:
            return None
        look = look_at(self.cache, self.request, now_s=self.now_s, since_s=self.now_s)
        lacks = {part.symbol: [lack[:2] for lack in part.lacks] for part in look.symbols}
        if not any(_common(gap.interval, lacks[gap.part.symbol]) for gap in gaps):
            return _FilledMeanwhile()
        if is_whole:
            return self.cache._look_again(self.request.exact_key, self.request.backtest_id)
        return None

    def _take(
        self, fetched: Any, cost_s: float, symbols: list[str], gaps: list[_Gap], *, is_whole: bool
    ) -> Generator[Any, Any, _Fetched | pl.DataFrame]:
        """Record what the source answered. A frame: it is no bars, and is cached as a whole."""
        cache, request = self.cache, self.request
        frame, stored = import_fetched(cache, fetched)
        shape = shape_of(frame)
        bars = {} if shape is None else by_symbol(frame, shape, symbols)
        is_empty = shape is None and not frame.width
        if bars is None or (shape is None and not is_empty) or isinstance(stored, UnsupportedFrame):
            if not is_whole:
                raise NotBars
            return store_whole(
                cache,
                request.exact_key,
                (request.source.name, request.resolution_text),
                (frame, stored),
                cost_s,
                backtest_id=request.backtest_id,
                stores=cache._stores,
            )
        return (yield from self._record(frame, shape, bars, gaps, cost_s))

    def _record(
        self,
        frame: pl.DataFrame,
        shape: BarShape | None,
        bars: dict[str, pl.DataFrame],
        gaps: list[_Gap],
        cost_s: float,
    ) -> Generator[Any, Any, _Fetched]:
        by_part: dict[str, list[_Gap]] = {}
        for gap in gaps:
            by_part.setdefault(gap.part.symbol, []).append(gap)
        column = None if shape is None else shape.columns.symbol
        result = _Fetched({}, frame.head(0), column, [], set())
        answers: list[Answer] = []
        segments: list[tuple[str, pl.DataFrame]] = []
        restated: list[tuple[list[_Gap], pl.DataFrame]] = []
        for symbol, its_gaps in by_part.items():
            found = bars.get(symbol, frame.head(0))
            part = its_gaps[0].part
            if shape is not None and part.shape is None:
                self._place_anew(its_gaps, shape)
            if shape is not None and self._is_restated(its_gaps, found, shape):
                restated.append((its_gaps, found))
                continue
            kept = self._kept(part, its_gaps, found, shape, self.now_s, segments)
            answers.append(self._answer(symbol, shape, frame, kept))
            result.frames[symbol] = _placed(its_gaps, found, shape)
        self._store(segments, answers, cost_s, [its[0].part for its in by_part.values()])
        result.segment_keys += [key for key, _ in segments]
        for its_gaps, found in restated:
            assert shape is not None
            yield from self._fetch_anew(its_gaps, found, shape, frame, result)
        return result

    def _still_missing(self, gap: _Gap) -> list[_Gap]:
        """The gap, unless a history fetched anew has filled it, or a part of it, meanwhile."""
        own = self.intervals_of(gap.part.symbol)
        rest = without([gap.interval], own)
        if rest == [gap.interval] and gap.part.symbol not in self._fetched_anew:
            return [gap]
        return [_Gap(gap.part, interval) for interval in rest]

    def _asking(
        self, symbols: list[str], interval: Interval, part: SymbolLook, *, is_whole: bool
    ) -> Callable[[], Any]:
        """A call of the source. A whole request is handed on as it was given."""
        request, ends = self.request, self.request.ends
        unit_ns = MICROSECOND_NS if part.shape is None else part.shape.unit_ns
        given, start, end = symbols, *ends.arguments(interval, part.zone, unit_ns)
        if is_whole and request.fetch_fn is not None:
            given, start, end = request.symbols_given, ends.start, ends.end
        fetch = request.source.afetch if request.is_async else request.source.fetch
        call = (given, start, end, request.resolution_text)
        return fetch_of(
            request.fetch_fn or fetch,
            call,
            is_async=request.is_async,
            retry=request.retry,
            source_name=request.source.name,
        )

    def _place_anew(self, gaps: list[_Gap], shape: BarShape) -> None:
        """The zone of a new series is known by its first answer: days begin there."""
        part = gaps[0].part
        whole = self.request.ends.interval(shape.zone)
        for gap in gaps:
            if gap.interval == part.interval:
                gap.interval = whole
        part.zone, part.interval = shape.zone, whole

    def _is_restated(self, gaps: list[_Gap], found: pl.DataFrame, shape: BarShape) -> bool:
        for gap in gaps:
            for overlap in gap.overlaps:
                again = cut(found, shape, overlap.interval)
                if not differing(overlap.held, again, shape):
                    continue
                log_event(
                    logging.WARNING,
                    "bars_restated",
                    source=self.request.source.name,
                    symbol=gap.part.symbol,
                    resolution=self.request.resolution.name,
                    kind=kind_of_restatement(overlap.held, again, shape),
                )
                return True
        return False

    def _fetch_anew(
        self,
        gaps: list[_Gap],
        found: pl.DataFrame,
        shape: BarShape,
        frame: pl.DataFrame,
        result: _Fetched,
    ) -> Generator[Any, Any, None]:
        """The whole history of a symbol, since what is held is no longer what the source says.

        Nothing of the symbol is recorded unless all of it was fetched.
        """
        part = gaps[0].part
        (series,) = self.cache._ledger_look(*self.request.identity, [part.symbol])
        own = self.intervals_of(part.symbol)
        kept = [(*both, *row[2:]) for row in series.coverage for both in _common(row[:2], own)]
        held = united(row[:2] for row in series.coverage if row[2] in (NONE, DATA))
        segments: list[tuple[str, pl.DataFrame]] = []
        pieces = [(gaps, found)]
        begin_s = time.perf_counter()
        for interval in without(held, [*own, *(gap.interval for gap in gaps)]):
            asking = self._asking([part.symbol], interval, part, is_whole=False)
            again, _ = import_fetched(self.cache, (yield asking))
            again_shape = shape_of(again)
            bars = {} if again_shape is None else by_symbol(again, again_shape, [part.symbol])
            if bars is None or again_shape is None:
                if again.width:
                    raise NotBars
                bars = {}
            pieces.append(([_Gap(part, interval)], bars.get(part.symbol, frame.head(0))))
        for its_gaps, bars_found in pieces:
            kept += self._kept(part, its_gaps, bars_found, shape, self.now_s, segments)
        answer = self._answer(part.symbol, shape, frame, kept, forget_others=True)
        self._store(segments, [answer], time.perf_counter() - begin_s, [])
        result.segment_keys += [key for key, _ in segments]
        result.anew.add(part.symbol)
        result.frames[part.symbol] = [
            placed
            for its_gaps, bars_found in pieces
            for placed in _placed(its_gaps, bars_found, shape)
        ]

    # --- keeping ------------------------------------------------------------------------------

    def _keep(
        self, symbol: str, placed: list[tuple[Interval, pl.DataFrame]], part: SymbolLook
    ) -> None:
        """Bars for the answer; a history that was fetched anew may reach beyond the request."""
        frames = self.frames.setdefault(symbol, [])
        for interval, frame in placed:
            for both in _common(interval, [part.interval]):
                shape = shape_of(frame)
                if shape is not None:
                    frames.append((both[0], cut(frame, shape, both)))
        known = self._intervals.get(symbol, [])
        self._intervals[symbol] = united([*known, *(interval for interval, _ in placed)])

    def _kept(
        self,
        part: SymbolLook,
        gaps: list[_Gap],
        found: pl.DataFrame,
        shape: BarShape | None,
        asked_at_s: int,
        segments: list[tuple[str, pl.DataFrame]],
    ) -> list[Coverage]:
        """Coverage of the gaps; appends the segment that their bars go into, if there are any."""
        cuts = [found.head(0) if shape is None else cut(found, shape, g.interval) for g in gaps]
        bars = pl.concat(cuts) if len(cuts) > 1 else cuts[0]
        key = f"{part.series.key}:{secrets.token_hex(8)}" if bars.height else ""
        if key:
            segments.append((key, bars))
            self._remember_request(key, part.symbol, gaps)
        coverage: list[Coverage] = []
        for gap, frame in zip(gaps, cuts, strict=True):
            following = [
                row[0]
                for row in part.series.coverage
                if row[0] >= gap.interval[1] and row[2] in (NONE, DATA)
            ]
            coverage += coverage_of_answer(
                gap.interval,
                [] if shape is None else times_ns(frame, shape),
                key,
                rule=self.request.rule,
                zone=part.zone,
                zone_name=None if shape is None else shape.zone_name,
                now_s=asked_at_s,
                free_until=min([*following, NO_LIMIT_NS]),
            )
        return coverage

    def _remember_request(self, key: str, symbol: str, gaps: list[_Gap]) -> None:
        begin, end = gaps[0].interval[0], gaps[-1].interval[1]
        zone = gaps[0].part.zone
        request = {
            "symbols": [symbol],
            "start_date": datetime_of(begin, zone).isoformat(),
            "end_date": datetime_of(end - 1, zone).isoformat(),
            "resolution": self.request.resolution.name,
            "data_source": self.request.source.name,
        }
        self.cache._remember_request(key, json.dumps(request, sort_keys=True))

    def _answer(
        self,
        symbol: str,
        shape: BarShape | None,
        frame: pl.DataFrame,
        coverage: list[Coverage],
        *,
        forget_others: bool = False,
    ) -> Answer:
        schema = "" if shape is None else _core.schema_text(frame.head(0))
        return (*self.request.series_name(symbol), schema, in_order(coverage), forget_others, [])

    def _store(
        self,
        segments: list[tuple[str, pl.DataFrame]],
        answers: list[Answer],
        cost_s: float | None,
        grown: list[SymbolLook],
    ) -> None:
        """Segments, then the ledger. Bars that cannot be kept are still the answer.

        ``grown``: whose series have a segment more, and so perhaps enough of them to be merged.
        """
        cache, request = self.cache, self.request
        if not cache._stores or not answers:
            return
        try:
            if segments:
                cache._put_frames(
                    [(key, bars, True, "") for key, bars in segments],
                    dataset_of(cache, request.source.name, request.resolution_text),
                    request.backtest_id,
                    None if cost_s is None else cost_s / len(segments),
                )
            cache._ledger_record(answers)
            shape = next((part.shape for part in grown if part.shape is not None), None)
            if shape is not None:
                cache._fetched_bars([part.series for part in grown], shape.columns.time)
        except (BarcacheError, MemoryError) as error:
            log_event(
                logging.WARNING,
                "bars_not_kept",
                source=request.source.name,
                segments=len(segments),
                error=str(error),
            )


def _placed(
    gaps: list[_Gap], found: pl.DataFrame, shape: BarShape | None
) -> list[tuple[Interval, pl.DataFrame]]:
    return [
        (gap.interval, found if shape is None else cut(found, shape, gap.interval)) for gap in gaps
    ]


def _common(interval: Interval, others: list[Interval]) -> list[Interval]:
    both = [(max(interval[0], begin), min(interval[1], end)) for begin, end in others]
    return [part for part in both if part[0] < part[1]]
