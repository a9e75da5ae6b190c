"""`barcache warm`: fetches a universe ahead."""

from __future__ import annotations

import importlib
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from barcache.cache_manager import BYTES_PER_MB
from barcache.cli.arguments import Size, location_options, required
from barcache.cli.output import Column, print_json, print_rows, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barcache import CacheManager
    from barcache.cli.arguments import Location
    from barcache.warming import WarmPlan, WarmReport

_NO_LIMIT_MB = 2**40


@click.command()
@click.argument(
    "plan", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PLAN"
)
@location_options
@click.option("--start", metavar="TIME", help="First day or moment, ISO.")
@click.option("--end", metavar="TIME", help="Last day or moment, ISO.")
@click.option("--resolution", help="As 1d, 1h, 5m.")
@click.option("--source", help="Name of a registered source, or package.module:object.")
@click.option("--adjustment", help="Mode of price adjustment.")
@click.option("--dry-run", is_flag=True, help="Send nothing; say what would be sent.")
@click.option("--batch-size", type=click.IntRange(min=1), default=50, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(min=1, max=256),
    default=1,
    show_default=True,
    help="Batches at the same time.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="At most N requests a second.",
)
@click.option("--backtest", metavar="ID", help="Link the entries to this backtest.")
@click.option(
    "--max-size",
    type=Size(),
    help="Evict what is above this limit (your manager's: no cache remembers it). Else nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def warm(
    plan: Path,
    location: Location | None,
    dry_run: bool,
    batch_size: int,
    workers: int,
    rate: float | None,
    backtest: str | None,
    max_size: int | None,
    as_json: bool,
    **given: str | None,
) -> int:
    """Fetch what a PLAN names and the cache lacks; the cache is made if there is none.

    PLAN is a .toml or .json file with symbols, start, end, resolution and source (several such
    tables under "plan"), or a .csv or .txt of symbols; options go before what the file says. Run
    again, it goes on where it was interrupted.
    """
    from concurrent.futures import ThreadPoolExecutor

    from barcache.warming.plan_file import read_plans

    plans = [_with_source(one, needed=not dry_run) for one in read_plans(plan, given)]
    with (
        _opened(required(location), max_size, dry_run=dry_run) as cache,
        ThreadPoolExecutor(workers) if workers > 1 else nullcontext() as executor,
        _notes_said(),
    ):
        reports = [
            cache.warm(
                one,
                dry_run=dry_run,
                executor=executor,
                batch_size=batch_size,
                requests_per_second=rate,
                backtest_id=backtest,
            )
            for one in plans
        ]
    if as_json:
        print_json([_as_dict(*both) for both in zip(plans, reports, strict=True)])
    else:
        _print(plans, reports)
    return 0 if dry_run or all(report.complete for report in reports) else 1


@contextmanager
def _opened(location: Location, max_size: int | None, *, dry_run: bool) -> Iterator[CacheManager]:
    from barcache import CacheManager

    if dry_run and location.db_path.is_file():
        with location.open(read_only=True) as cache:
            yield cache
        return
    limit_mb = _NO_LIMIT_MB if max_size is None else max_size / BYTES_PER_MB
    settings: dict[str, Any] = {
        "hot_cache_size_mb": 0,
        "cold_cache_size_mb": limit_mb,
        "record_on_close": False,
    }
    if not dry_run:
        with CacheManager(location.db_path, location.cache_directory, **settings) as cache:
            yield cache
        return
    with (  # Nothing is there yet, and a dry run makes nothing.
        tempfile.TemporaryDirectory() as folder,
        CacheManager(":memory:", folder, **settings) as cache,
    ):
        yield cache


def _with_source(plan: WarmPlan, *, needed: bool) -> WarmPlan:
    """The plan with its source: a registered one, or one that module:object names."""
    from barcache.sources import names

    name = plan.data_source
    if name in names():
        return plan
    module, colon, path = name.partition(":")
    if not colon:
        if not needed:
            return plan
        known = ", ".join(names()) or "none"
        raise click.UsageError(
            f"no source is registered as {name!r} (registered: {known}). Install a package that "
            "offers it, or name an object as package.module:object."
        )
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.UsageError(f"there is no source {name!r}: {error}.") from error
    return replace(plan, data_source=found() if isinstance(found, type) else found)


@contextmanager
def _notes_said() -> Iterator[None]:
    """What an interrupt has to say of how far it came."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        for note in getattr(interrupt, "__notes__", ()):
            say(note)
        raise


def _as_dict(plan: WarmPlan, report: WarmReport) -> dict[str, Any]:
    return {
        "start": plan.start_date,
        "end": plan.end_date,
        "resolution": plan.resolution,
        **vars(report),
        "failures": {
            symbol: f"{type(error).__name__}: {error}" for symbol, error in report.failures.items()
        },
    }


def _print(plans: list[WarmPlan], reports: list[WarmReport]) -> None:
    heads = ("plan", "from", "to", "symbols", "covered", "requests", "bars", "not complete")
    columns = [Column(head, right=place > 2) for place, head in enumerate(heads)]
    rows = []
    for plan, report in zip(plans, reports, strict=True):
        numbers = (report.symbols, report.covered, report.requests, report.rows)
        ends = (str(plan.start_date), str(plan.end_date))
        rows.append((plan.resolution, *ends, *map(str, (*numbers, len(report.missing)))))
    print_rows(columns, rows)
    for report in reports:
        if report.failures:
            for line in str(report).splitlines()[1:]:
                say(line.strip())
