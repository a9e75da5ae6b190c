"""What the ledger says to a request: for each symbol what is there and what is missing.

Thread safety: values; `look_at` may be called from any thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from barcache import _core
from barcache.bars.ends import zone_of
from barcache.bars.frames import remembered_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

    from barcache.bars.ends import Interval
    from barcache.bars.frames import BarShape
    from barcache.bars.request import BarRequest

NO_LIMIT_NS = 2**62

Piece = tuple[int, int, str]  # begin_ns, end_ns, segment key
Lack = tuple[int, int, str]  # begin_ns, end_ns, reason


@dataclass
class SymbolLook:
    """One symbol's part of a look."""

    symbol: str
    series: _core.Series
    shape: BarShape | None
    zone: tzinfo
    interval: Interval
    pieces: list[Piece]
    lacks: list[Lack]
    fresh_until_s: int | None

    def gaps(self) -> list[Interval]:
        """The lacks, adjacent ones as one."""
        return united((begin, end) for begin, end, _ in self.lacks)


@dataclass
class Look:
    """All symbols of a request, in its order."""

    symbols: list[SymbolLook] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not any(look.lacks for look in self.symbols)

    def gaps(self) -> list[tuple[int, Interval]]:
        """Of all symbols, each with the place of its symbol."""
        return [(place, gap) for place, part in enumerate(self.symbols) for gap in part.gaps()]

    def segment_keys(self) -> list[str]:
        """Of all pieces, each once."""
        keys = (piece[2] for look in self.symbols for piece in look.pieces)
        return list(dict.fromkeys(keys))


def look_at(
    cache: _core.CacheCore,
    request: BarRequest,
    *,
    now_s: int,
    any_age: bool = False,
    since_s: int | None = None,
    lost_keys: Iterable[str] = (),
) -> Look:
    """Look a request up.

    Args:
        cache: whose ledger.
        request: what is asked.
        now_s: the time.
        any_age: stale and provisional answers count.
        since_s: so do answers to questions asked from then on.
        lost_keys: segments that turned out not to be there.
    """
    all_series = cache._ledger_look(*request.identity, list(request.symbols))
    shapes = [remembered_shape(series.schema_text) for series in all_series]
    planned_zone = next((shape.zone for shape in shapes if shape is not None), zone_of(None))
    intervals: dict[tzinfo, Interval] = {}
    lost = set(lost_keys)
    look = Look()
    for symbol, series, shape in zip(request.symbols, all_series, shapes, strict=True):
        zone = planned_zone if shape is None else shape.zone
        interval = intervals.get(zone)
        if interval is None:
            interval = intervals[zone] = request.ends.interval(zone)
        pieces, lacks, fresh_until_s = series.plan(
            *interval, now_s, request.max_age_s, any_age, since_s
        )
        if lost:
            lacks = sorted(lacks + [(*p[:2], "corrupt") for p in pieces if p[2] in lost])
            pieces = [piece for piece in pieces if piece[2] not in lost]
        look.symbols.append(
            SymbolLook(symbol, series, shape, zone, interval, pieces, lacks, fresh_until_s)
        )
    return look


def calls_for(
    request: BarRequest, look: Look, gaps: Iterable[tuple[int, Interval]]
) -> list[tuple[int, int, list[int]]]:
    """The calls of the source that fill these gaps: begin, end, and the places of the symbols.

    Gaps count as what they are asked by: two gaps of one day are one call for that day.
    """
    named = [(place, *request.ends.named(gap, look.symbols[place].zone)) for place, gap in gaps]
    cost_ns = min(request.source.call_cost_s * 1e9, NO_LIMIT_NS)
    return _core.plan_calls(named, int(cost_ns))


def missing_of(request: BarRequest, look: Look) -> dict[str, list[tuple[Any, Any]]]:
    """First and last moment of the gaps of each symbol that lacks something.

    In the types of the request's ends.
    """
    return {
        part.symbol: [request.ends.arguments(gap, part.zone) for gap in part.gaps()]
        for part in look.symbols
        if part.lacks
    }


def united(intervals: Iterable[Interval]) -> list[Interval]:
    """The same moments in as few intervals as possible, in order.

    >>> united([(3, 4), (0, 2), (2, 3), (6, 7)])
    [(0, 4), (6, 7)]
    """
    parts: list[Interval] = []
    for begin, end in sorted(intervals):
        if begin >= end:
            continue
        if parts and begin <= parts[-1][1]:
            parts[-1] = (parts[-1][0], max(end, parts[-1][1]))
        else:
            parts.append((begin, end))
    return parts


def without(intervals: Iterable[Interval], removed: Sequence[Interval]) -> list[Interval]:
    """The moments of `intervals` that are not in `removed`.

    >>> without([(0, 10)], [(2, 3), (9, 12)])
    [(0, 2), (3, 9)]
    """
    rest = united(intervals)
    for begin, end in removed:
        cut = []
        for left, right in rest:
            cut += [(left, min(right, begin)), (max(left, end), right)]
        rest = [part for part in cut if part[0] < part[1]]
    return rest
