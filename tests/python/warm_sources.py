"""Sources for the tests of warming, in a module that other processes can import."""

from __future__ import annotations

import os
import time
from datetime import date, timedelta
from pathlib import Path

import polars as pl
from barcache import SymbolNotFound


def daily(symbols, start, end):
    """One bar a day, for ISO days or dates."""
    first, last = date.fromisoformat(str(start)), date.fromisoformat(str(end))
    days = [first + timedelta(days=day) for day in range((last - first).days + 1)]
    rows = [(day, symbol, day.toordinal() * 1.0) for symbol in symbols for day in days]
    return pl.DataFrame(rows, schema=["date", "symbol", "close"], orient="row")


class Logged:
    """Appends each call to a file once it is answered."""

    def __init__(self, log, pause_s=0.0, refused=()):
        self.source_id = "logged"
        self.log, self.pause_s, self.refused = Path(log), pause_s, tuple(refused)

    def fetch(self, symbols, start, end, _resolution):
        time.sleep(self.pause_s)
        for symbol in symbols:
            if symbol in self.refused:
                raise OddError(1, symbol)
        bars = daily(symbols, start, end)  # Polars may raise an interrupt here.
        with self.log.open("a") as lines:
            lines.write(f"{os.getpid()} {','.join(symbols)} {start} {end}\n")
        return bars

    def calls(self):
        """(process, symbols) of each call."""
        if not self.log.exists():
            return []
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [(int(process), symbols.split(",")) for process, symbols, *_ in lines]

    def symbols(self):
        return sorted(symbol for _, symbols in self.calls() for symbol in symbols)


class OddError(Exception):
    """Does not come out of a pickle."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Unknowing:
    """Knows no symbol that begins with X; says which, or that there is one."""

    source_id = "unknowing"

    def __init__(self, names_them):
        self.names_them = names_them
        self.calls = []

    def fetch(self, symbols, start, end, _resolution):
        self.calls.append(tuple(symbols))
        unknown = [symbol for symbol in symbols if symbol.startswith("X")]
        if unknown:
            raise SymbolNotFound("no such symbol", unknown[:1] if self.names_them else ())
        return daily(symbols, start, end)
