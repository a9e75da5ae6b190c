"""`make compare`: the same requests for bars through barcache, yfinance-cache and RustyBT.

All of them fetch with yfinance from a server on this machine (benchmarks/yahoo_server.py), which
counts requests, bars and bytes. Each replay runs twice for each contender: with an empty cache, and
again in a new process.

`python -m benchmarks.compare` takes:

--rounds  how often everything is done; seconds are medians
--write   write docs/benchmarks/ranges.json and ranges.md
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from barcache.bench import machine
from barcache.bench.figures import grouped
from barcache.bench.report import duration, markdown_table

from benchmarks import rustybt_source
from benchmarks.compare_child import CONTENDERS, closes, digest
from benchmarks.status_line import status_line
from benchmarks.yahoo_server import YahooServer

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "docs" / "benchmarks"
SYMBOLS = [f"S{number:04}" for number in range(20)]
FIRST_YEAR, LAST_YEAR = 2016, 2023
RANDOM_REQUESTS = 150
ROUNDS = 3
COUNTED = ("requests", "bars", "bytes")

Results = dict[str, Any]
Request = tuple[list[str], str, str]


def walk_forward() -> list[Request]:
    """All symbols: two years, then the half year after, then half a year on."""

    def begin(number: int) -> date:
        return date(FIRST_YEAR + number // 2, 1 + 6 * (number % 2), 1)

    def window(first: int, last: int) -> Request:
        end = begin(last) - timedelta(days=1)
        return SYMBOLS, begin(first).isoformat(), end.isoformat()

    steps = range(2 * (LAST_YEAR - FIRST_YEAR + 1) - 4)
    return [one for step in steps for one in (window(step, step + 4), window(step + 4, step + 5))]


def random_windows() -> list[Request]:
    """One to five symbols, a month to three years; one request in five was there before."""
    draw = random.Random(6)
    first, last = date(FIRST_YEAR, 1, 1), date(LAST_YEAR, 12, 31)
    requests: list[Request] = []
    while len(requests) < RANDOM_REQUESTS:
        if requests and draw.random() < 0.2:
            requests.append(draw.choice(requests))
            continue
        start = first + timedelta(days=draw.randrange((last - first).days - 30))
        end = min(last, start + timedelta(days=draw.choice([30, 91, 365, 730, 1095])))
        symbols = sorted(draw.sample(SYMBOLS, draw.randint(1, 5)))
        requests.append((symbols, start.isoformat(), end.isoformat()))
    return requests


WALK_FORWARD = (
    f"{len(SYMBOLS)} symbols: two years of days, then the half year after, then half a year on, "
    f"{FIRST_YEAR} to {LAST_YEAR}"
)
RANDOM_WINDOWS = (
    "one to five of the symbols and a month to three years, one request in five was there before"
)
REPLAYS = {
    "walk-forward": (WALK_FORWARD, walk_forward),
    "random windows": (RANDOM_WINDOWS, random_windows),
}


def expected(server: YahooServer, requests: list[Request]) -> str:
    """The digest of right answers."""
    every = pl.concat(server.bars.values()).with_columns(pl.col("timestamp").dt.date())
    answers = []
    for symbols, start, end in requests:
        between = pl.col("timestamp").is_between(date.fromisoformat(start), date.fromisoformat(end))
        answers.append(closes(every.filter(pl.col("symbol").is_in(symbols), between)))
    return digest(answers)


def ask(name: str, url: str, folder: str, requests: list[Request]) -> dict[str, Any]:
    """Has a contender answer the requests in a process of its own."""
    paths = [str(ROOT / "python"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.compare_child", name, url, folder],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed: {done.stderr.strip()[-800:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(server: YahooServer, contenders: list[str], rounds: int) -> dict[str, Any]:
    """By replay and contender: what the source sent, and seconds; at first, and again."""
    results: dict[str, Any] = {}
    for replay, (_, make) in REPLAYS.items():
        requests = make()
        right = expected(server, requests)
        runs: dict[str, dict[str, list[dict[str, Any]]]] = {
            name: {"first": [], "again": []} for name in contenders
        }
        for _ in range(rounds):
            for name in contenders:
                with tempfile.TemporaryDirectory(prefix="barcache-compare-") as folder:
                    for phase in ("first", "again"):
                        server.reset()
                        found = ask(name, server.url, folder, requests)
                        if found["digest"] != right:
                            raise AssertionError(f"{name} answered {replay} with other bars")
                        counted = {what: server.counted[what] for what in COUNTED}
                        runs[name][phase].append({**counted, "seconds": found["seconds"]})
                        status_line(f"{replay}, {name}, {phase}")
        results[replay] = {
            "requests": len(requests),
            "contenders": {
                name: {phase: _median(found) for phase, found in phases.items()}
                for name, phases in runs.items()
            },
        }
    status_line("")
    return results


def _median(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        what: float(f"{statistics.median(one[what] for one in found):.4g}")
        if what == "seconds"
        else int(statistics.median(one[what] for one in found))
        for what in (*COUNTED, "seconds")
    }


def table(of_replay: dict[str, Any]) -> list[list[str]]:
    """Header and rows: each contender's traffic and time."""
    rows = [["", "requests", "bars", "bytes", "time", "again: requests", "bytes", "time"]]
    for name, phases in of_replay["contenders"].items():
        cells = [name]
        for phase in ("first", "again"):
            found = phases[phase]
            cells.append(grouped(found["requests"]))
            if phase == "first":
                cells.append(grouped(found["bars"]))
            cells.append(grouped(found["bytes"]))
            cells.append(duration(found["seconds"] * 1e6))
        rows.append(cells)
    return rows


def page(results: Results) -> str:
    """docs/benchmarks/ranges.md."""
    parts = "\n\n".join(
        f"## {replay.capitalize()}\n\n{found['requests']} requests: {REPLAYS[replay][0]}.\n\n"
        f"{markdown_table(table(found))}"
        for replay, found in results["replays"].items()
    )
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return f"""# The same requests through other caches of ranges

Written by `make compare` on {results["date"]}; the numbers are in [ranges.json](ranges.json).

{parts}

## How it is measured

- All fetch with yfinance over HTTP, from a server on the same machine that answers as Yahoo does,
  with synthetic bars up to {results["last day"]}. It counts what it sends: requests of any kind,
  bars, and bytes of the bodies. A real vendor takes a tenth of a second or more for a request, and
  limits how many.
- Each contender has an empty cache at first, then answers the same requests *again* in a new
  process. Seconds are those of the requests, without imports, medians of {results["rounds"]}
  rounds; traffic is that of a round.
- Every answer is compared with the bars of the server, outside the measured time.
- **yfinance alone**: Ticker.history for each symbol and request. yfinance itself remembers the last
  64 answers of a process.
- **barcache**: `get_or_fetch` with `YFinanceSource`, which asks symbol by symbol.
- **RustyBT CachedDataSource**: over the same `YFinanceSource`. RustyBT's own adapter would wait a
  second between requests.
- **yfinance-cache**: `Ticker.history` for each symbol. It asks from the first day wanted to the
  present day, whatever the end of the request: few requests, many bars. Its first requests ask
  about the symbol, and it has yfinance look for bad prices, which cannot be turned off.
- Versions: {versions}.
- Machine: {results["machine"]}.
"""


def versions() -> dict[str, str]:
    """Of what takes part."""
    names = ("yfinance", "yfinance-cache", "polars", "pandas")
    found = {name: importlib.metadata.version(name) for name in names}
    return {**found, "RustyBT": rustybt_source.VERSION, "Python": machine.versions()["python"]}


def compared(rounds: int) -> Results:
    """Everything that the page says."""
    last = datetime.now(UTC).date() - timedelta(days=1)
    with YahooServer(SYMBOLS, date(FIRST_YEAR - 1, 1, 1), last) as server:
        replays = measure(server, list(CONTENDERS), rounds)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "last day": last.isoformat(),
        "machine": machine.one_line(machine.describe(Path(tempfile.gettempdir()))),
        "versions": versions(),
        "rounds": rounds,
        "replays": replays,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rustybt_source.unpacked(ROOT / "build" / "bench")
    results = compared(arguments.rounds)
    text = page(results)
    if arguments.write:
        (PLACE / "ranges.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (PLACE / "ranges.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
