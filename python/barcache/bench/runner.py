"""One run of the benchmark: what was asked for, in one process, in a directory of its own."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barcache.bench import (
    bars_case,
    contenders,
    entries_case,
    fetch_case,
    frames,
    machine,
    process_cases,
)
from barcache.bench.contenders import OPERATIONS, Case, Contender, Maker
from barcache.bench.figures import Figure, Setting
from barcache.bench.measure import Effort, check_result, interleaved
from barcache.progress import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Callable

EFFORTS = {252: Effort(20, 200), 100_000: Effort(5, 40), 2_000_000: Effort(2, 9)}
QUICK = {252: Effort(5, 30), 100_000: Effort(2, 9)}


def effort_for(rows: int, *, quick: bool) -> Effort:
    """The effort of the nearest size below that has one of its own."""
    efforts = {**EFFORTS, **QUICK} if quick else EFFORTS
    return efforts[max((size for size in efforts if size <= rows), default=min(efforts))]


Results = dict[str, Any]


@dataclass(frozen=True)
class CaseOfFigures:
    """A case beyond the contenders' operations."""

    about: str
    seconds: float  # About how long it takes, for the progress.
    measure: Callable[[Setting], list[Figure]]


CASES = {
    "asked": CaseOfFigures("misses that ask the catalog", 3, process_cases.asked_misses),
    "fetch": CaseOfFigures("get_or_fetch, hit and miss", 3, fetch_case.fetching),
    "bars": CaseOfFigures("warm requests for bars", 8, bars_case.warm_bars),
    "many": CaseOfFigures("get_many beside a loop of gets", 5, process_cases.many_at_once),
    "writer": CaseOfFigures("hot hits beside a writer", 12, process_cases.beside_a_writer),
    "scaling": CaseOfFigures("hits of threads and processes", 15, process_cases.scaling),
    "import": CaseOfFigures("import barcache", 5, process_cases.import_time),
    "memory": CaseOfFigures("memory of a full hot tier", 20, process_cases.hot_memory),
    "entries": CaseOfFigures("catalogs of different sizes", 150, entries_case.measure),
}
_SECONDS_OF_ROWS = {252: 25.0, 100_000: 35.0, 2_000_000: 60.0}


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    operations: tuple[str, ...] = OPERATIONS
    cases: tuple[str, ...] = tuple(CASES)
    efforts: dict[int, Effort] = field(default_factory=lambda: dict(EFFORTS))
    quick: bool = False
    more_contenders: dict[str, Maker] = field(default_factory=dict)

    def steps(self) -> int:
        """About how many seconds it takes."""
        sizes = sum(_SECONDS_OF_ROWS.get(rows, 30.0) for rows in self.efforts)
        seconds = sizes if self.operations else 0.0
        return int(seconds + sum(CASES[name].seconds for name in self.cases)) or 1


def run(plan: Plan, parent: Path, progress: Progress = no_progress) -> Results:
    """Measures everything of the plan in a new directory in `parent`, removed at the end.

    A case that fails is named in `failed` with the reason; the others go on.
    """
    present, absent = contenders.all_contenders(plan.more_contenders)
    directory = Path(tempfile.mkdtemp(prefix="barcache-bench-", dir=parent))
    described = machine.describe(directory)
    began = time.monotonic()
    measurements: list[dict[str, Any]] = []
    file_sizes: dict[str, dict[str, int]] = {}
    figures: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    total, done = plan.steps(), 0.0
    try:
        for rows, effort in plan.efforts.items() if plan.operations else ():
            weight = _SECONDS_OF_ROWS.get(rows, 30.0)

            def within(what: str, share: float, done: float = done, weight: float = weight) -> None:
                progress(what, (done + weight * share) / total)

            found, sizes = _measure_size(plan, rows, effort, present, directory, within)
            measurements += found
            file_sizes[str(rows)] = sizes
            done += weight
        for name in plan.cases:
            case = CASES[name]
            place = directory / name
            place.mkdir(mode=0o700)

            def of_case(share: float, done: float = done, case: CaseOfFigures = case) -> None:
                progress(case.about, (done + case.seconds * share) / total)

            of_case(0.0)
            try:
                found_figures = case.measure(Setting(place, plan.quick, of_case))
            except Exception as error:  # Minutes of other figures must not go with it.
                failed[name] = f"{type(error).__name__}: {error}"
            else:
                figures += [one.as_json() for one in found_figures]
            done += case.seconds
        progress("removing what was written", 1.0)
    finally:
        for contender in present:
            contender.close()
        # Only now: a file system that has just deleted much is slow to create.
        shutil.rmtree(directory, ignore_errors=True)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.monotonic() - began, 1),
        "machine": described,
        "versions": machine.versions(),
        "frame": frames.DESCRIPTION,
        "effort": {
            str(rows): vars(effort) for rows, effort in plan.efforts.items() if plan.operations
        },
        "contenders": {one.name: one.about for one in present},
        "absent": absent,
        "failed": failed,
        "file_sizes": file_sizes,
        "measurements": measurements,
        "figures": figures,
    }


def _measure_size(
    plan: Plan,
    rows: int,
    effort: Effort,
    present: list[Contender],
    directory: Path,
    progress: Progress,
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """All operations at one size; also what a file of that size takes on disk."""
    progress(f"frames of {rows} rows", 0.0)
    frame = frames.bars(rows)
    all_cases: dict[str, dict[str, Case]] = {}
    for contender in present:
        place = directory / f"{rows}-{contender.name.replace(' ', '').replace(',', '-')}"
        place.mkdir(mode=0o700)
        all_cases[contender.name] = contender.cases(place, frame)
        for operation, case in all_cases[contender.name].items():
            if case.returns_frame and operation in plan.operations:
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
    for number, operation in enumerate(plan.operations):
        cases = {name: cases[operation] for name, cases in all_cases.items() if operation in cases}

        def within(share: float, number: int = number, operation: str = operation) -> None:
            progress(f"{operation}, {rows} rows", (number + share) / len(plan.operations))

        measured = interleaved(operation, rows, cases, effort, within)
        results += [one.as_json() for one in measured]
    for contender in present:
        contender.close()
    return results, file_sizes
