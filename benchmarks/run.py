"""`make bench`: barcache beside RustyBT, Polars, diskcache, joblib and ArcticDB.

Measures hot hit, cold hit, put and miss at 252, 100 000 and 2 000 000 rows in one process, prints
the table and writes docs/benchmarks (results.json, README.md, results.svg) and README.md's figures.

`python -m benchmarks.run` takes:

--quick  fewer rounds, no 2 000 000 rows; writes nothing unless --out is given
--json   prints results.json's content instead of the table
--out    a directory to write to instead of docs/benchmarks
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import contenders as field
from benchmarks import frames, machine, report
from benchmarks.measure import Effort, check_result, interleaved

ROOT = Path(__file__).resolve().parent.parent
EFFORTS = {252: Effort(20, 200), 100_000: Effort(5, 40), 2_000_000: Effort(2, 9)}
QUICK = {252: Effort(5, 30), 100_000: Effort(2, 9)}


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def _measure_size(
    rows: int, effort: Effort, present: list[field.Contender], directory: Path
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """All operations at one size; also what a file of that size takes on disk."""
    frame = frames.bars(rows)
    all_cases: dict[str, dict[str, field.Case]] = {}
    for contender in present:
        place = directory / f"{rows}-{contender.name.replace(' ', '').replace(',', '-')}"
        place.mkdir(mode=0o700)
        all_cases[contender.name] = contender.cases(place, frame)
        for operation, case in all_cases[contender.name].items():
            if case.returns_frame:
                check_result(case, frame, f"{contender.name} ({operation}, {rows} rows)")
    file_sizes = {
        name: path.stat().st_size
        for name, pattern in (
            ("barcache", f"{rows}-barcache/cache/*.parquet"),
            ("RustyBT", f"{rows}-RustyBT/cache/*.parquet"),
            ("polars Parquet", f"{rows}-polarsParquet/bars.parquet"),
        )
        for path in sorted(directory.glob(pattern))[:1]
    }
    results = []
    for operation in field.OPERATIONS:
        cases = {name: cases[operation] for name, cases in all_cases.items() if operation in cases}
        measured = interleaved(operation, rows, cases, effort, _progress)
        results += [one.as_json() for one in measured]
    for contender in present:
        contender.close()
    return results, file_sizes


def run(efforts: dict[int, Effort]) -> report.Results:
    build_directory = ROOT / "build" / "bench"
    build_directory.mkdir(parents=True, exist_ok=True)
    present, absent = field.all_contenders(build_directory)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=build_directory))
    described = machine.describe(directory)
    began = time.monotonic()
    measurements: list[dict[str, Any]] = []
    file_sizes: dict[str, dict[str, int]] = {}
    try:
        for rows, effort in efforts.items():
            results, sizes = _measure_size(rows, effort, present, directory)
            measurements += results
            file_sizes[str(rows)] = sizes
    finally:
        # Only now: a file system that has just deleted much is slow to create.
        shutil.rmtree(directory, ignore_errors=True)
        _progress("")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.monotonic() - began, 1),
        "machine": described,
        "versions": machine.versions(),
        "frame": frames.DESCRIPTION,
        "effort": {str(rows): vars(effort) for rows, effort in efforts.items()},
        "contenders": {one.name: one.about for one in present},
        "absent": absent,
        "file_sizes": file_sizes,
        "measurements": measurements,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--out", type=Path, help="directory to write to")
    arguments = parser.parse_args()
    results = run(QUICK if arguments.quick else EFFORTS)
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        print(report.plain_table(report.table(results)))
        print(
            "\nmedians; in brackets how many times barcache's time that is "
            f"(above 1: barcache is faster)\n{machine.one_line(results['machine'])}"
        )
        for name, why in results["absent"].items():
            print(f"absent: {name}: {why}")
    if arguments.out is not None:
        report.write(results, arguments.out)
    elif not arguments.quick:
        report.write(results, report.RESULTS.parent)
        readme = ROOT / "README.md"
        if readme.is_file():
            text = report.with_figures(readme.read_text(encoding="utf-8"), results)
            readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
