"""Generated universes: synthetic bars of many symbols, as a source that is asked for parts of them.

Nothing in them is real but their shape: random walks at the times of weekdays.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from barcache.bench.frames import walk

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTES = 390  # Of a session, from 14:30.


class Universe:
    """Bars of symbols S0000, S0001, ... on the weekdays of some years; a source.

    Args:
        symbols: How many.
        first: The first day.
        last: The last day, included.
        resolution: ``"1d"`` (at midnight) or ``"1m"`` (390 a day).
    """

    def __init__(self, symbols: int, first: date, last: date, resolution: str = "1d"):
        days = pl.date_range(first, last, eager=True)
        times = days.filter(days.dt.weekday() <= 5).cast(pl.Datetime("us"))
        if resolution == "1m":
            minutes = pl.duration(minutes=pl.int_range(MINUTES), time_unit="us")
            of_day = pl.select(timedelta(hours=14, minutes=30) + minutes).to_series()
            frame = times.to_frame("day").join(of_day.to_frame("minute"), how="cross")
            times = frame.select(pl.col("day") + pl.col("minute")).to_series()
        self.resolution = resolution
        self.times = times.alias("timestamp")
        self.symbols = [f"S{number:04}" for number in range(symbols)]
        self.frames = {
            symbol: walk(symbol, self.times, 20 + number % 200, 10 * (number + 1000))
            for number, symbol in enumerate(self.symbols)
        }

    def span(self, start: str | date, end: str | date) -> tuple[int, int]:
        """The numbers of the bars of a symbol from a day or moment to another one, both included.

        Returns:
            The first of them, and the one after the last.
        """
        first = self.times.search_sorted(_moment(start, last=False), side="left")
        after = self.times.search_sorted(_moment(end, last=True), side="right")
        return int(first), max(int(first), int(after))

    def parts(
        self, symbols: Sequence[str], start: str | date, end: str | date
    ) -> list[pl.DataFrame]:
        """The bars of each symbol, both ends included."""
        first, after = self.span(start, end)
        return [self.frames[symbol][first:after] for symbol in symbols]

    def fetch(
        self, symbols: Sequence[str], start: str | date, end: str | date, resolution: str
    ) -> pl.DataFrame:
        """What a vendor would send."""
        if resolution != self.resolution:
            raise ValueError(f"this universe has bars of {self.resolution}, not of {resolution}")
        return pl.concat(self.parts(symbols, start, end))


def _moment(end: str | date, *, last: bool) -> datetime:
    """A mere day is all of it."""
    if isinstance(end, str):
        end = date.fromisoformat(end) if len(end) == 10 else datetime.fromisoformat(end)
    if isinstance(end, datetime):
        return end
    midnight = datetime(end.year, end.month, end.day)
    return midnight + timedelta(days=1, microseconds=-1) if last else midnight
