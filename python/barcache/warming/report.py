"""What warming did, or would do. Thread safety: values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SHOWN_SYMBOLS = 8


@dataclass
class WarmReport:
    """What came of a plan; ``str`` of it is a text of one screen.

    Attributes:
        dry_run: nothing was sent: ``requests`` and ``rows`` say what would be.
        symbols: how many the plan names.
        covered: how many of them lacked nothing before.
        requests: calls of the source, failed ones included; in a dry run, overlaps aside.
        rows: bars that came; in a dry run an estimate: by the source's calendar if it names one,
            else one bar for each step of the resolution, which is the most there can be.
        failures: for each symbol that is not complete because of an error, that error.
        missing: for each symbol that is not complete the intervals that are not there: pairs of
            first and last moment, in the types of the plan's ends. In a dry run, what would be
            fetched.
    """

    dry_run: bool = False
    symbols: int = 0
    covered: int = 0
    requests: int = 0
    rows: int = 0
    failures: dict[str, Exception] = field(default_factory=dict)
    missing: dict[str, list[tuple[Any, Any]]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all bars of the plan are in the cache now."""
        return not self.missing and not self.failures

    def add(self, other: WarmReport) -> None:
        """Add what came of some more of the symbols."""
        self.symbols += other.symbols
        self.covered += other.covered
        self.requests += other.requests
        self.rows += other.rows
        self.failures.update(other.failures)
        self.missing.update(other.missing)

    def __str__(self) -> str:
        known = f"{self.symbols} symbols, {self.covered} of them covered before"
        if self.dry_run:
            return f"{known}; to send: {self.requests} requests, for about {self.rows} bars"
        came = f"{self.requests} requests sent, {self.rows} bars came"
        lines = [f"{known}; {came}; {len(self.missing)} symbols are not complete"]
        for symbol in [*self.missing][:SHOWN_SYMBOLS]:
            gaps = ", ".join(f"{start} to {end}" for start, end in self.missing[symbol][:2])
            error = self.failures.get(symbol)
            why = "" if error is None else f" ({type(error).__name__}: {error})"
            lines.append(f"  {symbol}  {gaps}{why}")
        if len(self.missing) > SHOWN_SYMBOLS:
            lines.append(f"  and {len(self.missing) - SHOWN_SYMBOLS} more")
        return "\n".join(lines)
