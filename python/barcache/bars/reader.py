"""BarReader: answers requests for bars from segments, and fetches only what is missing.

What is wholly in the cache is answered by one native call. What is asked for a second time is
remembered with its frame: as long as the change counters of its series stand, the same request is
answered from there. Else a call looks the request up in the ledger, reads the segments, fetches the
gaps, and joins both.

Thread safety: everything may be called from any thread. Nothing is locked while a source works.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from barcache import _core
from barcache.bars.fetching import Fetching, NotBars
from barcache.bars.frames import cut, joined, named, remembered_shape, selected
from barcache.bars.look import Look, SymbolLook, look_at, missing_of, without
from barcache.errors import CatalogBusy, PartialCoverage
from barcache.events import log_event

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import polars as pl

    from barcache.bars.asking import AskingCore
    from barcache.bars.frames import BarShape
    from barcache.bars.request import BarRequest

# A segment may be evicted, and a gap be filled by somebody else, between look and read.
MOST_LOOKS = 6
REMEMBERED_FRAMES = 1024
REMEMBERED_SETS = 256


@dataclass(slots=True)
class _Remembered:
    frame: pl.DataFrame
    watch: _core.SeriesWatch
    fresh_until_s: float
    size_bytes: int


class BarReader:
    """The reader of one cache; see the module.

    Args:
        clock: Unix seconds; the time by which bars become final and answers stale.
    """

    def __init__(self, clock: Callable[[], float] = time.time):
        self.clock = clock
        # Frames, or the key of an entry that is the answer as a whole.
        self._remembered: dict[Any, _Remembered | str] = {}
        self._remembered_bytes = 0
        self._asked_once: set[int] = set()
        self._looked_at: dict[Any, _core.SeriesSet] = {}

    # --- frames that were answered before ---------------------------------------------------

    def recall(self, cache: AskingCore, memo_key: Any, backtest_id: str | None) -> Any:
        """The frame of a request answered before, if it still stands; else None."""
        found = self._remembered.get(memo_key)
        if found is None:
            return None
        if isinstance(found, str):
            frame = cache._look_again(found, backtest_id)  # Who looks on counts the miss.
            if frame is None:
                self._forget(memo_key)
            return frame
        if self.clock() >= found.fresh_until_s or not cache._unchanged(found.watch):
            self._forget(memo_key)
            cache._set_aside(self._remembered_bytes)
            return None
        cache._count_hits(found.watch, backtest_id or cache._backtest.get() or "")
        return found.frame.clone()

    def recall_hot(self, cache: AskingCore, memo_key: Any, backtest_id: str | None) -> Any:
        """As recall, from memory alone."""
        found = self._remembered.get(memo_key)
        if isinstance(found, str):
            return cache._get_hot(found, backtest_id)
        return self.recall(cache, memo_key, backtest_id)

    def remember_whole(self, memo_key: Any, exact_key: str) -> None:
        """From now on the request is answered by the entry of that key, while there is one."""
        if memo_key is not None:
            self._make_room(0, 2**62)
            self._remembered[memo_key] = exact_key

    def _make_room(self, size: int, limit: int) -> None:
        while self._remembered and (
            self._remembered_bytes + size > limit or len(self._remembered) >= REMEMBERED_FRAMES
        ):
            try:
                self._forget(next(iter(self._remembered)))
            except (StopIteration, RuntimeError):  # Another thread was here.
                break

    def _remember(
        self,
        cache: AskingCore,
        memo_key: Any,
        frame: pl.DataFrame,
        watch: _core.SeriesWatch,
        fresh_until_s: int | None,
        size: int,
    ) -> None:
        limit = cache._hot_cache.max_size_bytes // 8
        if size > limit:
            return
        self._make_room(size, limit)
        self._forget(memo_key)
        until = 2**62 if fresh_until_s is None else fresh_until_s
        self._remembered[memo_key] = _Remembered(frame, watch, until, size)
        self._remembered_bytes += size
        cache._set_aside(self._remembered_bytes)

    def _forget(self, memo_key: Any) -> None:
        found = self._remembered.pop(memo_key, None)
        if isinstance(found, _Remembered):
            self._remembered_bytes -= found.size_bytes

    # --- answers from the cache alone -------------------------------------------------------

    def from_cache(
        self, cache: AskingCore, request: BarRequest, memo_key: Any
    ) -> pl.DataFrame | None:
        """The answer if every interval is in the cache; None: something has to be fetched."""
        series = self._series(cache, request)
        shapes = [remembered_shape(text) for text in series.schema_texts]
        known = next((shape for shape in shapes if shape is not None), None)
        if known is None:
            return None
        several = len(request.symbols) > 1
        symbol_column = _symbol_column(shapes) if several else ""
        answer = cache._answer_bars(
            series,
            [
                ((s or known).columns.time, *request.ends.interval((s or known).zone))
                for s in shapes
            ],
            int(self.clock()),
            request.max_age_s,
            request.offline,
            symbol_column,
            request.backtest_id or cache._backtest.get() or "",
        )
        if answer is None:
            return None
        bars, watch, fresh_until_s, size_bytes = answer
        if isinstance(bars, list):
            parts = [
                named(part, symbol, symbol_column) if several else part for symbol, part in bars
            ]
            text = next(text for text in series.schema_texts if text)
            bars = joined(parts) if parts else _core.empty_frame(text)
            size_bytes = int(bars.estimated_size())
        bars = selected(bars, request.columns)
        if memo_key is not None and not request.offline and self._asked_again(memo_key):
            self._remember(cache, memo_key, bars, watch, fresh_until_s, size_bytes)
            bars = bars.clone()
        return bars

    def _asked_again(self, memo_key: Any) -> bool:
        """Whether the request was asked before: a window that moves on is asked for once.

        Remembering it would cost more than it saves, and a large answer's memory could not be
        filled again by the next one, which is several times faster than filling fresh memory.
        """
        mark = hash(memo_key)
        if mark in self._asked_once:
            return True
        if len(self._asked_once) >= REMEMBERED_FRAMES:
            self._asked_once.clear()
        self._asked_once.add(mark)
        return False

    def _series(self, cache: AskingCore, request: BarRequest) -> _core.SeriesSet:
        name = request.identity, request.symbols
        known = self._looked_at.get(name)
        if known is None:
            series = cache._series_set(*request.identity, list(request.symbols))
        else:
            series = cache._look_again_at(known)
            if series is known:
                return series
        if len(self._looked_at) >= REMEMBERED_SETS:
            self._looked_at.clear()
        self._looked_at[name] = series
        return series

    # --- answering --------------------------------------------------------------------------

    def answering(
        self, cache: AskingCore, request: BarRequest
    ) -> Generator[Any, Any, pl.DataFrame]:
        """The bars asked for, fetched where they are missing.

        Yields flights: name and errand. Is sent their answers.

        Raises:
            NotBars: the source's answer cannot be kept as bars.
            CatalogBusy: others removed segments as fast as they were read.
            PartialCoverage: offline, or the source failed and ``stale_if_error``.
        """
        return (yield from _Run(cache, request, int(self.clock())).answering())


def _symbol_column(shapes: list[BarShape | None]) -> str:
    """The column that tells several symbols apart: the source's own, if it has one."""
    columns = (shape.columns.symbol for shape in shapes if shape is not None)
    return next((column for column in columns if column), "symbol")


class _Run:
    """One call."""

    def __init__(self, cache: AskingCore, request: BarRequest, now_s: int):
        self.cache = cache
        self.request = request
        self.now_s = now_s
        self.fetching = Fetching(cache, request, now_s)
        self.look = Look()
        self._lost_keys: set[str] = set()

    def answering(self) -> Generator[Any, Any, pl.DataFrame]:
        request = self.request
        since_s: int | None = None
        for _ in range(MOST_LOOKS):
            look = self._look(any_age=request.offline, since_s=since_s)
            frames = self._read(look)
            if frames is None:
                continue
            if look.complete:
                return self._assembled(frames)
            if self.fetching.adopt(look):
                continue
            if request.offline:
                raise self._partial(frames, "offline=True")
            try:
                finished = yield from self.fetching.fetch(look)
            except (NotBars, PartialCoverage):
                raise
            except Exception as error:
                if not request.stale_if_error:
                    raise
                return self._stale_answer(error)
            if finished:
                return self._assembled(frames)
            since_s = self.now_s  # Others fetched some of it: their answers count.
        raise CatalogBusy(
            f"segments of {request.source.name} were removed by others as fast as they were read: "
            "ask again, or give the cache more room (cold_cache_size_mb)"
        )

    def _look(self, *, any_age: bool, since_s: int | None = None) -> Look:
        self.look = look_at(
            self.cache,
            self.request,
            now_s=self.now_s,
            any_age=any_age,
            since_s=since_s,
            lost_keys=self._lost_keys,
        )
        for part in self.look.symbols:  # What this call has fetched is not missing.
            own = self.fetching.intervals_of(part.symbol)
            if own:
                part.lacks = [
                    (*rest, lack[2]) for lack in part.lacks for rest in without([lack[:2]], own)
                ]
        return self.look

    def _read(self, look: Look) -> dict[str, pl.DataFrame] | None:
        """The segments by key; None if one was not there: then the ledger has changed."""
        keys = look.segment_keys()
        if not keys:
            return {}
        frames = self.cache.get_many(keys, backtest_id=self.request.backtest_id)
        lost = [key for key, frame in zip(keys, frames, strict=True) if frame is None]
        if lost:
            self._lost_keys.update(lost)
            return None
        return dict(zip(keys, frames, strict=True))

    def _assembled(self, frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
        """The answer out of segments and what was fetched."""
        parts: list[pl.DataFrame] = []
        for part in self.look.symbols:
            bars = self._bars_of(part, frames)
            parts += self._named(part.symbol, bars)
        if parts:
            return selected(joined(parts), self.request.columns)
        return selected(self._empty(), self.request.columns)

    def _bars_of(self, part: SymbolLook, frames: dict[str, pl.DataFrame]) -> list[pl.DataFrame]:
        own = self.fetching.intervals_of(part.symbol)
        placed = list(self.fetching.frames.get(part.symbol, ()))
        for begin, end, key in part.pieces:
            for rest in without([(begin, end)], own) if own else [(begin, end)]:
                if part.shape is not None:
                    placed.append((rest[0], cut(frames[key], part.shape, rest)))
        placed.sort(key=lambda one: one[0])
        return [frame for _, frame in placed if frame.height]

    def _named(self, symbol: str, bars: list[pl.DataFrame]) -> list[pl.DataFrame]:
        """Several symbols are told apart by a column, also where the source gave none."""
        if len(self.request.symbols) == 1:
            return bars
        name = self.fetching.symbol_column(self.look)
        return [named(frame, symbol, name) for frame in bars]

    def _empty(self) -> pl.DataFrame:
        """An answer without bars, in the columns of the source's answers."""
        for part in self.look.symbols:
            if part.series.schema_text:
                return _core.empty_frame(part.series.schema_text)
        return self.fetching.empty_answer

    # --- when the source is not to be had -----------------------------------------------------

    def _stale_answer(self, error: Exception) -> pl.DataFrame:
        """What is there, however old."""
        frames = None
        while frames is None:
            frames = self._read(self._look(any_age=True))
        if not self.look.complete:
            raise self._partial(frames, f"the source failed: {error}") from error
        log_event(
            logging.WARNING,
            "stale_bars_served",
            source=self.request.source.name,
            symbols=len(self.request.symbols),
            error=str(error),
        )
        return self._assembled(frames)

    def _partial(self, frames: dict[str, pl.DataFrame], why: str) -> PartialCoverage:
        missing = missing_of(self.request, self.look)
        shown = ", ".join(
            f"{symbol} {start} to {end}"
            for symbol, gaps in list(missing.items())[:4]
            for start, end in gaps[:2]
        )
        return PartialCoverage(
            f"{why}, and not all bars of {self.request.source.name} are in the cache: missing are "
            f"{shown}{' and more' if len(missing) > 4 else ''}; take what is there from .frame, or "
            "ask again when the source can be reached",
            self._assembled(frames),
            missing,
        )
