"""What the ledger would say to a request, and what it holds, for people.

Nothing here fetches, reads a segment or counts a use. Thread safety: functions of a cache, as
thread-safe as that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from barcache.bars.ends import datetime_of
from barcache.bars.look import calls_for, look_at

if TYPE_CHECKING:
    from barcache.bars.asking import AskingCore
    from barcache.bars.look import SymbolLook
    from barcache.bars.request import BarRequest

STATES = ("none", "data", "evicted", "corrupt")
SHOWN_SYMBOLS = 7
SHOWN_LINES = 22  # Of a screen of 24, for all symbols together.
COVERAGE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "source": pl.String,
    "resolution": pl.String,
    "adjustment": pl.String,
    "symbol": pl.String,
    "begin": pl.Datetime("ns", "UTC"),
    "end": pl.Datetime("ns", "UTC"),
    "state": pl.String,
    "segment_key": pl.String,
    "asked_at": pl.Datetime("us", "UTC"),
    "expires_at": pl.Datetime("us", "UTC"),
}


class Explanation(dict[str, Any]):
    """Where the bars of a request would come from; ``str`` of it is a text of one screen.

    Keys: ``source``, ``resolution``, ``adjustment``, ``start_date``, ``end_date``, ``calls`` (how
    often the source would be called, overlaps aside) and ``symbols``: for each symbol its
    intervals in order, each a dict of ``start`` and ``end`` (included, in the types of the
    request's ends), ``from`` (``"hot"``, ``"cold"``, ``"source"`` or ``"nowhere"``: there are no
    bars), ``why`` (for the source) and ``segment_key`` (for hot and cold).
    """

    def __str__(self) -> str:
        request = (
            f"{self['source']} {self['resolution']}, {self['start_date']} to {self['end_date']}"
        )
        lines = [f"{request}: {len(self['symbols'])} symbols, {self['calls']} calls of the source"]
        shown = list(self["symbols"].items())[:SHOWN_SYMBOLS]
        most = SHOWN_LINES // max(1, len(shown)) - 2  # Beside the symbol, and how many more.
        for symbol, parts in shown:
            lines.append(symbol)
            for part in parts[:most]:
                why = f" ({part['why']})" if part["why"] else ""
                lines.append(f"  {part['start']} to {part['end']}  {part['from']}{why}")
            if len(parts) > most:
                lines.append(f"  and {len(parts) - most} more")
        if len(self["symbols"]) > SHOWN_SYMBOLS:
            lines.append(f"and {len(self['symbols']) - SHOWN_SYMBOLS} more symbols")
        return "\n".join(lines)


def explain(cache: AskingCore, request: BarRequest, now_s: int) -> Explanation:
    """Where the bars of a request would come from."""
    look = look_at(cache, request, now_s=now_s)
    return Explanation(
        source=request.source.name,
        resolution=request.resolution.name,
        adjustment=request.adjustment,
        start_date=request.ends.start,
        end_date=request.ends.end,
        calls=len(calls_for(request, look, look.gaps())),
        symbols={part.symbol: _parts(cache, request, part) for part in look.symbols},
    )


def _parts(cache: AskingCore, request: BarRequest, part: SymbolLook) -> list[dict[str, Any]]:
    hot = cache._hot_cache
    placed = [
        (begin, end, "hot" if key in hot else "cold", "", key) for begin, end, key in part.pieces
    ]
    placed += [(begin, end, "source", why, "") for begin, end, why in part.lacks]
    placed.sort()
    whole, reached = [], part.interval[0]
    for row in placed:
        if reached < row[0]:
            whole.append((reached, row[0], "nowhere", "", ""))
        whole.append(row)
        reached = row[1]
    if reached < part.interval[1]:
        whole.append((reached, part.interval[1], "nowhere", "", ""))
    explained = []
    for begin, end, origin, why, key in whole:
        start, last = request.ends.arguments((begin, end), part.zone)
        explained.append(
            {"start": start, "end": last, "from": origin, "why": why, "segment_key": key}
        )
    return explained


def coverage(cache: AskingCore, symbol: str | None, source: str | None) -> pl.DataFrame:
    """The ledger's rows as a frame of COVERAGE_SCHEMA; ``end`` is the first moment not covered.

    ``state``: ``data``, ``provisional`` (data that expires), ``none``, ``evicted``, ``corrupt``.
    """
    rows = []
    for series in cache._ledger_all():
        name = series.name
        if (symbol is not None and name[3] != symbol) or (source is not None and name[0] != source):
            continue
        for begin, end, state, key, asked_at, expires_at in series.coverage:
            shown = "provisional" if state == 1 and expires_at is not None else STATES[state]
            asked = asked_at * 1_000_000
            expires = None if expires_at is None else expires_at * 1_000_000
            rows.append((*name, begin, end, shown, key, asked, expires))
    physical: dict[str, pl.DataType | type[pl.DataType]] = {
        name: pl.Int64 if isinstance(dtype, pl.Datetime) else dtype
        for name, dtype in COVERAGE_SCHEMA.items()
    }
    frame = pl.DataFrame(rows, schema=physical, orient="row")
    return frame.with_columns(
        pl.col(name).cast(pl.Datetime(dtype.time_unit)).dt.replace_time_zone("UTC")
        for name, dtype in COVERAGE_SCHEMA.items()
        if isinstance(dtype, pl.Datetime)
    )


def timeline(rows: pl.DataFrame, width: int) -> list[tuple[str, str, str, str]]:
    """One line a series: its name, first and last day, and what is known drawn over that time.

    ``#`` is data, ``+`` provisional, ``.`` none, ``x`` lost, a blank never asked.
    """
    marks = {"data": "#", "provisional": "+", "none": ".", "evicted": "x", "corrupt": "x"}
    lines = []
    names = ["source", "resolution", "adjustment", "symbol"]
    for (source, resolution, adjustment, symbol), part in rows.group_by(names, maintain_order=True):
        spans = part.select(
            pl.col("begin").dt.epoch("ns"), pl.col("end").dt.epoch("ns"), "state"
        ).rows()
        first, last = spans[0][0], spans[-1][1]
        drawn = [" "] * width
        for begin, end, state in spans:
            left = (begin - first) * width // (last - first)
            right = max((end - first) * width // (last - first), left + 1)
            drawn[left : min(right, width)] = marks[state] * (min(right, width) - left)
        name = f"{source} {resolution} {adjustment}".strip() + f" {symbol}"
        days = (datetime_of(first).date().isoformat(), datetime_of(last - 1).date().isoformat())
        lines.append((name, *days, "".join(drawn)))
    return lines
