"""`make test-universes`: random requests for real and generated bars, each bar accounted for.

Plays sequences of overlapping requests (benchmarks/universe_play.py) and stops at the first bar
that was fetched without need, and at the first answer that is not the source's own.

`python -m benchmarks.universes` takes:

--sequences  how many for each universe; the first is number 0
--steps      how many steps a sequence has
--write      write docs/benchmarks/universes.json and universes.md
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barcache.bench import machine
from barcache.bench.figures import grouped
from barcache.bench.report import markdown_table
from barcache.bench.universe import Universe

from benchmarks.real_bars import RealBars
from benchmarks.status_line import status_line
from benchmarks.universe_play import KINDS, play

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "docs" / "benchmarks"
SEQUENCES, STEPS = 40, 40

Results = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """Bars to be made or read."""

    about: str
    make: Callable[[], Universe | RealBars]


SIZES = (
    Size("GOOG, real, daily", lambda: RealBars("GOOG", "1d")),
    Size("EURUSD, real, hourly", lambda: RealBars("EURUSD", "1h")),
    Size(
        "500 symbols, 10 years, synthetic, daily",
        lambda: Universe(500, date(2014, 1, 1), date(2023, 12, 31)),
    ),
    Size(
        "20 symbols, 1 year, synthetic, by the minute",
        lambda: Universe(20, date(2023, 1, 1), date(2023, 12, 31), "1m"),
    ),
)


def measure(size: Size, sequences: int, steps: int) -> dict[str, Any]:
    """Plays the sequences; AssertionError at the first that goes wrong."""
    universe = size.make()
    counted: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    began = time.monotonic()
    for seed in range(sequences):
        status_line(f"{size.about}: sequence {seed + 1} of {sequences}")
        in_sequence, sent_in_sequence = play(universe, seed, steps)
        counted.update(in_sequence)
        sent.update(sent_in_sequence)
    status_line("")
    return {
        "about": size.about,
        "bars": len(universe.symbols) * universe.times.len(),
        "sequences": sequences,
        "steps": steps,
        **counted,
        "sent": {kind: sent[kind] for kind in KINDS},
        "seconds": round(time.monotonic() - began, 1),
    }


def table(results: Results) -> list[list[str]]:
    """Header and rows: what was asked and fetched in each universe."""
    universes = results["universes"]

    def row(label: str, values: list[int]) -> list[str]:
        return [label, *(grouped(value) for value in values)]

    rows = [["", *(one["about"] for one in universes)]]
    for label, name in (
        ("bars of the universe", "bars"),
        ("sequences", "sequences"),
        ("requests", "requests"),
        ("bars asked for", "bars asked for"),
    ):
        rows.append(row(label, [one[name] for one in universes]))
    rows.append(row("bars fetched", [sum(one["sent"].values()) for one in universes]))
    for kind, label in zip(
        KINDS,
        (
            "- never fetched before",
            "- provisional when they were fetched before",
            "- of a segment that was removed since",
            "- overlap, compared with what is held",
            "- held, of a day that was not all there, of requests for days",
        ),
        strict=True,
    ):
        rows.append(row(label, [one["sent"][kind] for one in universes]))
    rows.append(
        row(
            "a cache of whole requests would fetch", [one["by whole requests"] for one in universes]
        )
    )
    rows.append(row("calls of the source", [one["calls"] for one in universes]))
    return rows


def page(results: Results) -> str:
    """docs/benchmarks/universes.md."""
    seconds = ", ".join(f"{one['seconds']:.0f} s" for one in results["universes"])
    return f"""# Requests for real bars and for generated universes

Written by `make test-universes` on {results["date"]}; the numbers are in
[universes.json](universes.json).

{markdown_table(table(results))}

The real bars are those of `make demo`; the synthetic ones are random walks at the times of
weekdays. Each sequence has a cache of its own and
{results["universes"][0]["steps"]} steps: mostly requests for one, some or all symbols, near and
over earlier ones, some of them repeated; between them time goes on, the cache is closed and opened
again, segments are removed, and the source fails in the midst of a request. Each sequence has an
`overlap` of 0, 1 or 2.

The run stops at the first bar that is in none of these lines, and at the first answer that is not
the source's own, bar for bar. Overlap means at most `overlap` bars at each edge of a gap, for each
symbol. A request for days cannot name an hour: of a day that is not all there it fetches all,
once. The source counts what it sends; the cache is not asked. Restated bars are tried by
`make test-bars`, on small universes.

A cache of whole requests knows a request by symbols, start and end. It would never notice that a
bar was provisional: it is given more than its due.

Machine: {results["machine"]}; Python {results["versions"]["python"]}, polars
{results["versions"]["polars"]}; {seconds}, checks included.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sequences", type=int, default=SEQUENCES)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine.one_line(machine.describe(Path(tempfile.gettempdir()))),
        "versions": machine.versions(),
        "universes": [measure(size, arguments.sequences, arguments.steps) for size in SIZES],
    }
    text = page(results)
    if arguments.write:
        (PLACE / "universes.json").write_text(
            json.dumps(results, indent=1) + "\n", encoding="utf-8"
        )
        (PLACE / "universes.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
