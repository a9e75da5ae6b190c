"""`barcache explain` and `barcache coverage`: what the ledger says."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import click

from barcache.bars.explanation import timeline
from barcache.cli.arguments import location_options, required
from barcache.cli.output import Column, print_json, print_rows, printable, say

if TYPE_CHECKING:
    from barcache.cli.arguments import Location

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
NARROWEST, NAME_WIDTH = 20, 60


@click.command()
@location_options
@click.option("--symbol", "symbols", multiple=True, required=True, help="May be repeated.")
@click.option("--start", required=True, metavar="TIME", help="First day or moment, ISO.")
@click.option("--end", required=True, metavar="TIME", help="Last day or moment, ISO.")
@click.option("--resolution", required=True, help="As 1d, 1h, 5m.")
@click.option("--source", required=True, help="Name of the source.")
@click.option("--adjustment", help="Mode of price adjustment.")
@json_option
def explain(
    location: Location | None,
    symbols: tuple[str, ...],
    start: str,
    end: str,
    resolution: str,
    source: str,
    adjustment: str | None,
    as_json: bool,
) -> None:
    """Print where the bars of a request would come from, and why; fetches nothing."""
    with required(location).open(read_only=True) as cache:
        explanation = cache.explain(
            list(symbols), start, end, resolution, source, adjustment=adjustment
        )
    if as_json:
        print_json(explanation)
    else:
        click.echo("\n".join(printable(line) for line in str(explanation).splitlines()))


@click.command()
@location_options
@click.option("--symbol", help="Only this symbol.")
@click.option("--source", help="Only this source.")
@json_option
def coverage(
    location: Location | None, symbol: str | None, source: str | None, as_json: bool
) -> int:
    """Draw what is known of each series: # data, + provisional, . no bars, x lost."""
    with required(location).open(read_only=True) as cache:
        rows = cache.coverage(symbol, source)
    if as_json:
        print_json(json.loads(rows.write_json()))
        return 0
    if rows.is_empty():
        say("barcache: nothing was asked of a source yet, or not of this one.")
        return 1
    width = max(NARROWEST, shutil.get_terminal_size().columns - NAME_WIDTH)
    columns = [Column("series"), Column("from"), Column("to"), Column("known")]
    print_rows(columns, timeline(rows, width))
    return 0
