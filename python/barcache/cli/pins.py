"""`barcache pin` and `barcache unpin`: entries that no eviction removes."""

from __future__ import annotations

import click

from barcache.cache_manager import BYTES_PER_MB
from barcache.cli.arguments import Location, Size, location_options, required
from barcache.cli.output import print_json, say

key_option = click.option("--key", help="This entry.")
backtest_option = click.option("--backtest", metavar="ID", help="The entries that it used.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@location_options
@key_option
@backtest_option
@click.option(
    "--max-size",
    type=Size(),
    default="10GB",
    show_default=True,
    help="What the pinned entries must not exceed. No cache remembers its limit: give your "
    "manager's.",
)
@json_option
def pin(
    location: Location | None, key: str | None, backtest: str | None, max_size: int, as_json: bool
) -> None:
    """Keep entries from eviction: one by --key, or those a --backtest used so far."""
    _require_one(key, backtest)
    with required(location).open(
        read_only=False, cold_cache_size_mb=max_size / BYTES_PER_MB
    ) as cache:
        count = cache.pin(key) if key is not None else cache.pin(backtest_id=backtest)
    _tell("pinned", count, as_json)


@click.command()
@location_options
@key_option
@backtest_option
@json_option
def unpin(location: Location | None, key: str | None, backtest: str | None, as_json: bool) -> None:
    """Let pinned entries go again: one by --key, or those of a --backtest."""
    _require_one(key, backtest)
    with required(location).open(read_only=False) as cache:
        count = cache.unpin(key) if key is not None else cache.unpin(backtest_id=backtest)
    _tell("unpinned", count, as_json)


def _require_one(key: str | None, backtest: str | None) -> None:
    if (key is None) == (backtest is None):
        raise click.UsageError("give one of --key and --backtest.")


def _tell(what: str, count: int, as_json: bool) -> None:
    if as_json:
        print_json({what: count})
    else:
        say(f"{count} entries {what}")
