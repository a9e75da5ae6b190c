"""The pages of a result file: docs/benchmarks and README.md's figures. Nothing is measured here.

`python -m benchmarks.report` renders docs/benchmarks/results.json again and brings README.md's
figures up to date; with --check it only says whether they are (exit code 1 if not).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from barcache.bench import bars_case, entries_case, goals, plot, process_cases, report
from barcache.bench import machine as machines

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "benchmarks" / "results.json"
BEGIN = "<!-- figures: written by benchmarks/report.py from docs/benchmarks/results.json -->"
END = "<!-- end of figures -->"

Results = dict[str, Any]

_CASES = f"""\
- **miss, the catalog is asked**: before each of 2000 gets a second manager puts and clears that
  name, outside the measured time.
- **get_or_fetch, hit and miss**: a year of days; 500 hits of one request, and one miss that is
  fetched and stored, in turns with the same by generate_cache_key, get and put, 200 rounds after 2
  of warm-up.
- **get_or_fetch, symbol-years**: synthetic daily bars of {bars_case.SYMBOLS} symbols,
  {bars_case.FIRST} to {bars_case.LAST}, cached by one fetch; requests for a year of them, one that
  was asked before, and each time another one, that begins a day later than any before; in turns
  with pl.concat of the symbols' frames, 40 rounds after 3 of warm-up. From disk: managers that
  have just been opened, 5 times.
- **get_many**: {process_cases.MANY} entries of 252 rows, none in memory, by one call and by a
  loop, in turns, 15 rounds after 2 of warm-up.
- **beside a writer**: windows of 0.25 s of hits alone and beside a process that puts 252 rows
  {process_cases.PUTS_PER_SECOND} times a second under 200 other keys, in turns, 20 of each;
  means of the windows.
- **threads, processes**: hits of one key in one second, all at once, each process with a
  manager of its own.
- **import**: fresh processes that have imported polars, 9 after 1 of warm-up.
- **memory**: a fresh process reads entries of twice the limit (256 MB) from disk, first with a hot
  tier that keeps none, then with one of that limit; what its resident memory grew by the second
  time.
- **large catalogs**: rows inserted by SQL as barcache's own puts leave them, requests and side
  rows included; every entry has a file, so that the directory is as large as a real one. Most
  files are empty; those that evictions reach first hold the bytes of 252 rows. A figure says
  for which share of the victims that was so.
- **open**: fresh processes, from before the constructor to after the first get, 5 times.
- **memory of the catalog**: what opening, a get, a look-up and the statistics add to a fresh
  process, beyond what they add with {entries_case.SIZES[0]} entries, by the entries.
- **put at the limit**: the limit is what the catalog holds, so that puts evict; up to 64 more
  entries than needed leave at once, after which as many puts need not evict. For each policy:
  one put with a manager that is closed again (the first put under `gdsf` or `s3fifo` ranks all
  entries, the first under `hybrid` marks the older half; it is a figure of its own), then
  {entries_case.WARM_UP_PUTS} puts of warm-up, then {entries_case.BATCHES} batches of
  {entries_case.PUTS_PER_BATCH} puts of 252 rows, the catalogs in turns. The goal is about the
  median of the batches' means; the mean of all puts, with the one that evicts 65, and the
  slowest stand beside it."""


def readme_block(results: Results) -> str:
    """What README.md shows: a few rows of the table, and the machine."""
    shown = ["barcache", "RustyBT", "polars Parquet", "diskcache"]
    rows = report.table(results)
    keep = [0, 1] + [rows[0].index(name) for name in shown if name in rows[0]]
    text = report.markdown_table([[row[column] for column in keep] for row in rows])
    return (
        f"{BEGIN}\n{text}\n\nMedians; in brackets how many times barcache's time that is: above 1 "
        "barcache is faster. "
        f"{machines.one_line(results['machine'])}; "
        f"Python {results['versions']['python']}, polars {results['versions']['polars']}.\n{END}"
    )


def page(results: Results) -> str:
    """docs/benchmarks/README.md."""
    about = "\n".join(f"- **{name}**: {text}." for name, text in results["contenders"].items())
    missing = {**results["absent"], **results.get("failed", {})}
    absent = "\n".join(f"- {name}: {why}" for name, why in missing.items())
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    sizes = "\n".join(
        f"- {size} rows: " + ", ".join(f"{name} {count:,} bytes" for name, count in files.items())
        for size, files in results["file_sizes"].items()
    )
    return f"""# Benchmarks

Written by `make bench` on {results["date"]}; the numbers are in [results.json](results.json).

{report.markdown_table(report.table(results))}

A cell is the median time of a call; in brackets how many times barcache's time that is: above 1
barcache is faster, below 1 slower. Empty: it has no such operation.

![Medians as bars](results.svg)

## Goals

Each is computed from results.json, by `barcache.bench.goals`.

{report.markdown_table(goals.goal_table(results))}

## All other figures

{report.markdown_table(report.figure_table(results))}

Elsewhere: [requests for real bars and for generated universes](universes.md), each bar accounted
for, and [the same requests](ranges.md) through barcache, yfinance-cache and RustyBT's
CachedDataSource.

## How it is measured

- Machine: {machines.one_line(results["machine"])}; SHA instructions
  {"present" if results["machine"]["sha_instructions"] else "absent"}; load average at the start
  {results["machine"]["load_average_at_start"]}; the whole run took {results["seconds"]:.0f} s.
- Versions: {versions}.
- Frame: {results["frame"]}.
- One process, the contenders interleaved: each round times every contender once, the first of them
  another one each round. Calls shorter than 2 ms are made several times in a row and the mean
  is taken (puts at most 10 times). {report.effort_line(results)}.
- Ratios are medians of the ratios inside the rounds.
- Files are in the page cache; nothing is deleted before the contenders are measured, each of their
  puts goes to a new name. Durability is each contender's default; below it is said who waits for
  the disk.
- cold hits: the memory tier is emptied before each call, outside the measured time. The frame of
  the call before has been dropped by then, so large frames land in recycled memory; in fresh
  memory page faults come on top, for every contender.
- Before anything is timed each contender's frame is compared with the one that was put.

{about}

The cases of barcache alone, one after the other, after the contenders:

{_CASES}

Bytes on disk:

{sizes}
{f"{chr(10)}Absent:{chr(10)}{chr(10)}{absent}{chr(10)}" if absent else ""}"""


def write(results: Results, directory: Path) -> None:
    """results.json, README.md and results.svg in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (directory / "README.md").write_text(page(results), encoding="utf-8")
    plot.write_plot(results, directory / "results.svg")


def with_figures(readme: str, results: Results) -> str:
    """README.md's text with the block between the marks renewed."""
    before, found, rest = readme.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found or not found_end:
        raise SystemExit(f"README.md lacks the lines {BEGIN!r} and {END!r}.")
    return before + readme_block(results) + after


def main() -> int:
    parser = argparse.ArgumentParser(description="Render docs/benchmarks/results.json.")
    parser.add_argument("--check", action="store_true", help="change nothing, say what differs")
    check: bool = parser.parse_args().check
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    wanted = {
        ROOT / "README.md": with_figures((ROOT / "README.md").read_text(encoding="utf-8"), results),
        RESULTS.parent / "README.md": page(results),
        RESULTS.parent / "results.svg": plot.svg(plot.draw(results)),
    }
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{'differs from results.json' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
