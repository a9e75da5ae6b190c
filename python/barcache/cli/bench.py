"""The command `barcache bench`: the benchmark on the user's own disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from barcache.cli.output import Column, print_json, print_rows, say
from barcache.cli.progress import progress_bar

OPERATIONS = ("hot", "cold", "put", "miss")
CASES = ("asked", "fetch", "bars", "many", "writer", "scaling", "import", "memory", "entries")
_SIZES = (252, 100_000, 2_000_000)


@click.command()
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    default=Path(),
    show_default="the current one",
    help="Measure in a new folder in this directory; the folder is removed afterwards.",
)
@click.option(
    "--operation",
    "operations",
    multiple=True,
    type=click.Choice([*OPERATIONS, *CASES]),
    help="Measure only this; may be repeated.",
)
@click.option(
    "--rows",
    multiple=True,
    type=click.IntRange(min=1, max=50_000_000),
    help=f"Size of the frames; may be repeated. Else {', '.join(map(str, _SIZES))}.",
)
@click.option("--quick", is_flag=True, help="Fewer rounds, smaller sizes: about a minute.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a plot to this file, as .svg or .png.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(
    directory: Path,
    operations: tuple[str, ...],
    rows: tuple[int, ...],
    quick: bool,
    plot: Path | None,
    as_json: bool,
) -> int:
    """Measure this machine: barcache beside dict, Polars and, where installed, other caches.

    hot, cold, put and miss are timed side by side with the others. The rest is about barcache
    alone: asked (a miss after something changed on disk), fetch (get_or_fetch, hit and miss), bars
    (get_or_fetch of cached ranges), many (get_many), writer (hits beside another process that
    puts), scaling (threads and processes), import, memory, and entries (catalogs of up to a
    million entries, which take 3 GB of disk for some minutes).
    """
    if plot is not None:
        _require_plot(plot)
    from barcache.bench.runner import run

    with progress_bar() as progress:
        results = run(_plan(operations, rows, quick), directory, progress)
    if plot is not None:
        from barcache.bench.plot import write_plot

        write_plot(results, plot)
    if as_json:
        print_json(results)
    else:
        _print(results)
    if plot is not None:
        say(f"plot written: {plot}")
    for name, why in results["failed"].items():
        say(f"failed: {name}: {why}")
    return 1 if results["failed"] else 0


def _require_plot(plot: Path) -> None:
    """Says what is wrong with a plot's path before minutes were spent on measuring."""
    if plot.suffix not in (".svg", ".png"):
        raise click.UsageError(f"--plot {plot}: a plot is written as .svg or .png.")
    if not plot.absolute().parent.is_dir():
        raise click.UsageError(f"--plot {plot}: there is no directory {plot.absolute().parent}.")
    if plot.suffix == ".png":
        try:
            import PIL  # noqa: F401
        except ModuleNotFoundError:
            raise click.ClickException(
                "a plot as PNG needs Pillow, which is not installed. Install it with: "
                'pip install "barcache[bench]" (or write an .svg, which needs nothing).'
            ) from None


def _plan(operations: tuple[str, ...], rows: tuple[int, ...], quick: bool) -> Any:
    from barcache.bench.runner import EFFORTS, QUICK, Plan, effort_for

    chosen = operations or (*OPERATIONS, *CASES)
    of_frames = [name for name in OPERATIONS if name in chosen]
    efforts = QUICK if quick else EFFORTS
    if rows:
        efforts = {size: effort_for(size, quick=quick) for size in sorted(set(rows))}
    return Plan(
        operations=tuple(of_frames),
        cases=tuple(name for name in CASES if name in chosen),
        efforts=efforts,
        quick=quick,
    )


def _print(results: dict[str, Any]) -> None:
    from barcache.bench import machine, report
    from barcache.bench.goals import goal_table

    def show(table: list[list[str]]) -> None:
        head, *rows = table
        print_rows([Column(head[0]), *(Column(name, right=True) for name in head[1:])], rows)

    if results["measurements"]:
        show(report.table(results))
        say(
            "medians; in brackets how many times barcache's time that is (above 1: barcache is "
            "faster)"
        )
        say(report.effort_line(results))
    if results["figures"]:
        show(report.figure_table(results))
    goals = goal_table(results)
    if measured := [row for row in goals[1:] if row[2] != "not measured"]:
        show([goals[0], *([*row[:3], row[3].strip("*")] for row in measured)])
    say(machine.one_line(results["machine"]))
    say(f"load average at the start {results['machine']['load_average_at_start']}")
    for name, why in results["absent"].items():
        say(f"absent: {name}: {why}")
