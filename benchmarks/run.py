"""`make bench`: barcache beside RustyBT, Polars, diskcache, joblib and ArcticDB.

The benchmark of the package (`barcache bench`, python/barcache/bench) with RustyBT as one more
contender. Prints the tables and writes docs/benchmarks (results.json, README.md, results.svg) and
README.md's figures.

`python -m benchmarks.run` takes:

--quick  fewer rounds, smaller sizes; writes nothing unless --out is given
--json   prints results.json's content instead of the tables
--out    a directory to write to instead of docs/benchmarks
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from barcache.bench import goals, machine, runner
from barcache.bench.report import figure_table, plain_table, table

from benchmarks import report, rustybt_source
from benchmarks.status_line import status_line

ROOT = Path(__file__).resolve().parent.parent


def _progress(what: str, share: float) -> None:
    status_line(f"{share:4.0%}  {what}" if share < 1 else "")


def plan(build_directory: Path, *, quick: bool) -> runner.Plan:
    return runner.Plan(
        efforts=runner.QUICK if quick else runner.EFFORTS,
        quick=quick,
        more_contenders={"RustyBT": lambda: rustybt_source.RustyBT(build_directory)},
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    parser.add_argument("--out", type=Path, help="directory to write to")
    arguments = parser.parse_args()
    build_directory = ROOT / "build" / "bench"
    build_directory.mkdir(parents=True, exist_ok=True)
    results = runner.run(plan(build_directory, quick=arguments.quick), build_directory, _progress)
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        print(plain_table(table(results)))
        print(
            "\nmedians; in brackets how many times barcache's time that is "
            f"(above 1: barcache is faster)\n{machine.one_line(results['machine'])}\n"
        )
        print(plain_table(figure_table(results)), end="\n\n")
        print(plain_table(goals.goal_table(results)))
        for name, why in results["absent"].items():
            print(f"absent: {name}: {why}")
    for name, why in results["failed"].items():
        print(f"failed: {name}: {why}", file=sys.stderr)
    if arguments.out is not None:
        report.write(results, arguments.out)
    elif not arguments.quick:
        report.write(results, report.RESULTS.parent)
        readme = ROOT / "README.md"
        if readme.is_file():
            text = report.with_figures(readme.read_text(encoding="utf-8"), results)
            readme.write_text(text, encoding="utf-8")
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
