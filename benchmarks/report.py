"""Tables and the plot of a result file. Nothing is measured here.

`python -m benchmarks.report` renders docs/benchmarks/results.json again and brings README.md's
figures up to date; with --check it only says whether they are (exit code 1 if not).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from html import escape
from pathlib import Path
from typing import Any

from benchmarks import machine as machines

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "benchmarks" / "results.json"
BEGIN = "<!-- figures: written by benchmarks/report.py from docs/benchmarks/results.json -->"
END = "<!-- end of figures -->"
TITLES = {
    "hot": "hot hit",
    "cold": "cold hit",
    "put": "put",
    "miss": "miss",
}

Results = dict[str, Any]


def duration(us: float) -> str:
    """Three digits and a unit."""
    if us < 1000:
        return f"{us:.3g} us"
    if us < 1_000_000:
        return f"{us / 1000:.3g} ms"
    return f"{us / 1_000_000:.3g} s"


def multiple(barcache_ratio: float) -> str:
    """Two digits: 0.035 -> '29x', since the other one takes 29 times as long."""
    times = 1 / barcache_ratio
    return f"{times:.0f}x" if times >= 100 else f"{times:.2g}x"


def _sizes(results: Results) -> list[int]:
    return sorted({one["rows"] for one in results["measurements"]})


def _operations(results: Results) -> list[str]:
    found = {one["operation"] for one in results["measurements"]}
    return [operation for operation in TITLES if operation in found]


def _cells(results: Results) -> dict[tuple[str, int, str], dict[str, Any]]:
    return {
        (one["operation"], one["rows"], one["contender"]): one for one in results["measurements"]
    }


def _contenders(results: Results) -> list[str]:
    return list(results["contenders"])


def table(results: Results) -> list[list[str]]:
    """Header and rows: the median, and in brackets how many times barcache's time that is."""
    cells = _cells(results)
    contenders = _contenders(results)
    rows = [["operation", "rows", *contenders]]
    for operation in _operations(results):
        for size in _sizes(results):
            row = [TITLES[operation], f"{size:,}".replace(",", " ")]
            for contender in contenders:
                cell = cells.get((operation, size, contender))
                if cell is None:
                    row.append("")
                elif contender == "barcache":
                    row.append(duration(cell["median_us"]))
                else:
                    row.append(
                        f"{duration(cell['median_us'])} ({multiple(cell['barcache_ratio'])})"
                    )
            rows.append(row)
    return rows


def markdown_table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * (len(rows[0]) - 1))
    return "\n".join(lines)


def plain_table(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def readme_block(results: Results) -> str:
    """What README.md shows: a few rows of the table, and the machine."""
    shown = ["barcache", "RustyBT", "polars Parquet", "diskcache"]
    rows = table(results)
    keep = [0, 1] + [rows[0].index(name) for name in shown if name in rows[0]]
    text = markdown_table([[row[column] for column in keep] for row in rows])
    return (
        f"{BEGIN}\n{text}\n\nMedians; in brackets how many times barcache's time that is: above 1 "
        "barcache is faster. "
        f"{machines.one_line(results['machine'])}; "
        f"Python {results['versions']['python']}, polars {results['versions']['polars']}.\n{END}"
    )


def page(results: Results) -> str:
    """docs/benchmarks/README.md."""
    efforts = "; ".join(
        f"{size} rows: {effort['warm_up']} warm-up rounds, {effort['rounds']} counted"
        for size, effort in results["effort"].items()
    )
    about = "\n".join(f"- **{name}**: {text}." for name, text in results["contenders"].items())
    absent = "\n".join(f"- {name}: {why}" for name, why in results["absent"].items())
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    sizes = "\n".join(
        f"- {size} rows: " + ", ".join(f"{name} {count:,} bytes" for name, count in files.items())
        for size, files in results["file_sizes"].items()
    )
    return f"""# Benchmarks

Written by `make bench` on {results["date"]}; the numbers are in [results.json](results.json).

{markdown_table(table(results))}

A cell is the median time of a call; in brackets how many times barcache's time that is: above 1
barcache is faster, below 1 slower. Empty: it has no such operation.

![Medians as bars](results.svg)

## How it is measured

- Machine: {machines.one_line(results["machine"])}; SHA instructions
  {"present" if results["machine"]["sha_instructions"] else "absent"}; load average at the start
  {results["machine"]["load_average_at_start"]}.
- Versions: {versions}.
- Frame: {results["frame"]}.
- One process, the contenders interleaved: each round times every contender once, the first of them
  another one each round. Calls shorter than 2 ms are made several times in a row and the mean
  is taken (puts at most 10 times). {efforts}.
- Ratios are medians of the ratios inside the rounds.
- Files are in the page cache, nothing is deleted before or between measurements, each put goes
  to a new name. Durability is each contender's default; below it is said who waits for the disk.
- cold hits: the memory tier is emptied before each call, outside the measured time. The frame of
  the call before has been dropped by then, so large frames land in recycled memory; in fresh
  memory page faults come on top, for every contender.
- Before anything is timed each contender's frame is compared with the one that was put.

{about}

Bytes on disk:

{sizes}
{f"{chr(10)}Absent:{chr(10)}{chr(10)}{absent}{chr(10)}" if absent else ""}"""


_COLOURS = {
    "barcache": "#0b6e4f",
    "barcache, full": "#6fae94",
    "RustyBT": "#c8553d",
    "dict + clone": "#8d99ae",
    "polars Parquet": "#3d5a80",
    "polars + SHA-256": "#5c7fa8",
    "diskcache": "#b08900",
    "joblib": "#7a5195",
    "ArcticDB": "#a0a0a0",
}


def plot(results: Results) -> str:
    """An SVG: a panel an operation and size, a bar a contender, on a logarithmic scale."""
    cells, sizes, operations = _cells(results), _sizes(results), _operations(results)
    contenders = _contenders(results)
    times = [one["median_us"] for one in results["measurements"]]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    panel, bar, left, top = 250, 15, 120, 60
    height = len(contenders) * bar + 44
    width_all = left + len(sizes) * (panel + 20) + 20
    height_all = top + len(operations) * height + 30
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width_all} {height_all}" '
            'font-family="sans-serif" font-size="11">'
        ),
        f'<rect width="{width_all}" height="{height_all}" fill="#ffffff"/>',
        (
            '<text x="20" y="24" font-size="15" font-weight="bold">Median time of a call '
            "(shorter is better, logarithmic scale)</text>"
        ),
        f'<text x="20" y="42" fill="#555">{escape(machines.one_line(results["machine"]))}</text>',
    ]
    for line, operation in enumerate(operations):
        for place, size in enumerate(sizes):
            x, y = left + place * (panel + 20), top + line * height
            title = f"{TITLES[operation]}, {size:,} rows".replace(",", " ")
            parts.append(f'<text x="{x}" y="{y + 16}" font-weight="bold">{title}</text>')
            for power in range(low, high + 1):
                at = x + (panel - 60) * (power - low) / (high - low)
                parts.append(
                    f'<line x1="{at:.1f}" y1="{y + 22}" x2="{at:.1f}" '
                    f'y2="{y + 24 + len(contenders) * bar}" stroke="#e4e4e4"/>'
                )
            for row, contender in enumerate(contenders):
                at = y + 24 + row * bar
                if place == 0:
                    parts.append(
                        f'<text x="{left - 6}" y="{at + 11}" text-anchor="end">'
                        f"{escape(contender)}</text>"
                    )
                cell = cells.get((operation, size, contender))
                if cell is None:
                    continue
                share = (math.log10(cell["median_us"]) - low) / (high - low)
                length = max(1.0, (panel - 60) * share)
                parts.append(
                    f'<rect x="{x}" y="{at + 2}" width="{length:.1f}" height="{bar - 4}" '
                    f'fill="{_COLOURS.get(contender, "#888888")}"/>'
                    f'<text x="{x + length + 4:.1f}" y="{at + 11}">'
                    f"{duration(cell['median_us'])}</text>"
                )
    return "\n".join([*parts, "</svg>", ""])


def write(results: Results, directory: Path) -> None:
    """results.json, README.md and results.svg in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (directory / "README.md").write_text(page(results), encoding="utf-8")
    (directory / "results.svg").write_text(plot(results), encoding="utf-8")


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
        RESULTS.parent / "results.svg": plot(results),
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
