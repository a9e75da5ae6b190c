"""The commands of `barcache`.

Each names its cache by a DIRECTORY that holds metadata.db and cache/, by --db and --cache-dir, or
by BARCACHE_DB and BARCACHE_CACHE_DIR. Those that only look open it read-only.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from barcache import __version__
from barcache.cli.arguments import Age, Location, Size, location_options, required
from barcache.cli.bars import coverage, explain
from barcache.cli.bench import bench
from barcache.cli.describe import describe_entry, describe_request, parsed_request
from barcache.cli.output import (
    Column,
    console,
    format_size,
    format_time,
    print_json,
    print_pairs,
    print_rows,
    say,
)
from barcache.cli.pins import pin, unpin
from barcache.cli.warm import warm

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class ReaderLeft(Exception):
    """Whoever read stdout closed it: they had enough."""


class Group(click.Group):
    """click turns a broken pipe into a failure; here it is the end of the command."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command that was named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderLeft from error


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="barcache")
def barcache() -> None:
    """Look at a cache of market data, check it and make room in it.

    A cache is named by a DIRECTORY that holds metadata.db and cache/, by --db and --cache-dir, or
    by the environment variables BARCACHE_DB and BARCACHE_CACHE_DIR.

    Exit codes: 0 done, 1 something was found or failed, 2 wrong usage, 130 interrupted.
    """


@barcache.command()
@location_options
@click.option("--from", "from_day", metavar="DAY", help="First day counted, as 2026-01-31 (UTC).")
@click.option("--to", "to_day", metavar="DAY", help="Last day counted (UTC).")
@json_option
def stats(
    location: Location | None, from_day: str | None, to_day: str | None, as_json: bool
) -> None:
    """Print hits, misses and size."""
    location = required(location)
    with location.open(read_only=True) as cache:
        statistics = dict(cache.get_cache_statistics(start_date=from_day, end_date=to_day))
    # The session is that of this command, which asked for nothing.
    statistics.pop("session_stats", None)
    if as_json:
        print_json(
            {
                "db_path": str(location.db_path),
                "cache_directory": str(location.cache_directory),
                **statistics,
            }
        )
        return
    size_bytes = statistics["total_size_mb"] * 1024 * 1024
    print_pairs(
        [
            ("catalog", str(location.db_path)),
            ("files", str(location.cache_directory)),
            ("entries", f"{statistics['entry_count']}"),
            ("size", format_size(size_bytes)),
            ("hits", f"{statistics['hit_count']}"),
            ("misses", f"{statistics['miss_count']}"),
            ("hit rate", f"{statistics['hit_rate']:.1%}"),
            ("uses per entry", f"{statistics['avg_access_count']:.1f}"),
        ]
    )


_SORT_FIELDS = {
    "key": "cache_key",
    "size": "size_bytes",
    "used": "last_accessed",
    "uses": "access_count",
    "created": "created_at",
}


@barcache.command()
@location_options
@click.option("--sort", type=click.Choice(list(_SORT_FIELDS)), default="used", show_default=True)
@click.option("--reverse", is_flag=True, help="Smallest or oldest first.")
@click.option("--limit", type=click.IntRange(min=1), help="Print at most so many entries.")
@click.option("--backtest", metavar="ID", help="Only entries that this backtest used.")
@json_option
def ls(
    location: Location | None,
    sort: str,
    reverse: bool,
    limit: int | None,
    backtest: str | None,
    as_json: bool,
) -> None:
    """List the entries, the last used first."""
    with required(location).open(read_only=True) as cache:
        rows: list[dict[str, Any]] = list(cache.entry_infos())
        if backtest is not None:
            wanted = set(cache.entries(backtest))
            rows = [row for row in rows if row["cache_key"] in wanted]
    field = _SORT_FIELDS[sort]
    rows.sort(key=lambda row: row[field], reverse=(sort != "key") != reverse)
    rows = rows[:limit]
    if as_json:
        print_json([_with_parsed_request(row) for row in rows])
        return
    print_rows(
        [
            Column("KEY", style="cyan"),
            Column("REQUEST"),
            Column("SIZE", right=True),
            Column("USES", right=True),
            Column("LAST USED"),
            Column("PINNED"),
        ],
        (
            (
                row["cache_key"],
                describe_request(row.get("request", "")),
                format_size(row["size_bytes"]),
                f"{row['access_count']}",
                format_time(row["last_accessed"]),
                "pinned" if row["pinned"] else "",
            )
            for row in rows
        ),
    )


def _with_parsed_request(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "request": parsed_request(row.get("request", ""))}


@barcache.command()
@click.argument("key")
@location_options
@json_option
def show(key: str, location: Location | None, as_json: bool) -> int:
    """Print everything known about the entry KEY: request, file, columns, backtests."""
    location = required(location)
    with location.open(read_only=True) as cache:
        row: Any = cache._entry(key)
        backtests = cache.backtests(key) if row is not None else []
    if row is None:
        say(f"barcache: no entry {key!r} in {location.db_path}; `barcache ls` lists the keys.")
        return 1
    entry = describe_entry(row, location.cache_directory)
    if as_json:
        print_json({**_with_parsed_request(row), "backtests": backtests, "file": entry.file_json()})
        return 0
    print_pairs(
        [
            ("key", key),
            ("request", describe_request(row.get("request", "")) or "unknown"),
            ("dataset", f"{row['dataset_id']}"),
            ("created", format_time(row["created_at"])),
            ("last used", format_time(row["last_accessed"])),
            ("uses", f"{row['access_count']}"),
            ("pinned", "yes" if row["pinned"] else "no"),
            ("written by", "barcache" if row.get("generation") else "RustyBT"),
            ("file", entry.path),
            ("size", format_size(row["size_bytes"])),
            ("sha-256", row["checksum"]),
            *entry.file_pairs(),
            ("backtests", _few(backtests)),
        ]
    )
    return 0


def _few(names: list[str], most: int = 20) -> str:
    more = f", and {len(names) - most} more (--json lists them)" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "none"


_FINDINGS = (
    ("missing_files", "file missing"),
    ("corrupt_files", "wrong bytes"),
    ("unreadable_files", "unreadable"),
    ("orphan_files", "file without entry"),
)


@barcache.command()
@location_options
@click.option(
    "--repair",
    is_flag=True,
    help="Rebuild a damaged catalog, drop bad entries and remove our orphaned files.",
)
@json_option
def verify(location: Location | None, repair: bool, as_json: bool) -> int:
    """Compare every entry with its file, bytes included, and every file with its entry.

    Exit code 1 if anything is wrong; with --repair, if anything is still wrong afterwards.
    """
    location = required(location)
    rebuilt = repair and location.repair_catalog()
    with location.open(read_only=not repair) as cache:
        working = (
            console(stderr=True).status(f"checking {location.cache_directory}")
            if sys.stderr.isatty()
            else nullcontext()
        )
        with working:
            report: dict[str, Any] = dict(cache.check(repair=repair))
            after = dict(cache.check()) if repair and not report["clean"] else report
    if as_json:
        repaired = {"catalog_rebuilt": rebuilt, "clean_after_repair": after["clean"]}
        print_json({**report, **repaired} if repair else report)
        return 0 if after["clean"] else 1
    if rebuilt:
        say(
            f"the catalog was damaged or lost, and was rebuilt from the files; the old one is kept "
            f"as {location.db_path}.corrupt-*"
        )
    findings = [(what, name) for field, what in _FINDINGS for name in report[field]]
    if report["totals_differ"]:
        findings.append(("totals differ from the rows", str(location.db_path)))
    if report["catalog_damaged"]:
        findings.append(("catalog damaged", str(location.db_path)))
    if findings:
        print_rows([Column("FINDING", style="red"), Column("NAME")], findings)
    for name in report["foreign_files"]:
        say(f"not ours, left alone: {name}")
    say(
        f"{report['entries_checked']} entries checked, {format_size(report['bytes_checked'])}, "
        f"{len(findings)} findings" + (f", {report['repaired']} repaired" if repair else "")
    )
    if findings and not repair:
        say("`barcache verify --repair` drops bad entries; they are fetched again when needed.")
    if report["catalog_damaged"] and not repair:
        say("It also rebuilds the catalog from the files: close the programs that use it first.")
    if repair and not after["clean"]:
        say("something is still wrong: run `barcache verify` for what it is.")
    return 0 if after["clean"] else 1


@barcache.command()
@location_options
@click.option(
    "--max-size",
    type=Size(),
    required=True,
    help="The size to come down to, as 5GB. No cache remembers its limit: give your manager's.",
)
@click.option(
    "--policy",
    type=click.Choice(["lru", "size", "hybrid", "gdsf", "s3fifo"]),
    default="lru",
    show_default=True,
)
@json_option
def evict(location: Location | None, max_size: int, policy: str, as_json: bool) -> None:
    """Remove entries until the cold tier is within --max-size."""
    with required(location).open(
        read_only=False, cold_cache_size_mb=max_size / (1024 * 1024), eviction_policy=policy
    ) as cache:
        before_mb = cache._get_total_cache_size_mb()
        evicted = cache.evict()
        after_mb = cache._get_total_cache_size_mb()
    if as_json:
        print_json({"evicted": evicted, "size_mb_before": before_mb, "size_mb_after": after_mb})
        return
    say(
        f"{evicted} entries evicted: {format_size(before_mb * 1024 * 1024)} -> "
        f"{format_size(after_mb * 1024 * 1024)}"
    )


@barcache.command()
@location_options
@click.option("--key", help="Remove this entry.")
@click.option("--backtest", metavar="ID", help="Remove the entries that this backtest used.")
@click.option("--keep-shared", is_flag=True, help="With --backtest: not those others use too.")
@click.option("--older-than", type=Age(), help="Remove what was not used for so long, as 30d.")
@click.option("--all", "everything", is_flag=True, help="Remove every entry.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def clear(
    location: Location | None,
    key: str | None,
    backtest: str | None,
    keep_shared: bool,
    older_than: int | None,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Remove entries: one of --key, --backtest, --older-than or --all."""
    location = required(location)
    given = [key is not None, backtest is not None, older_than is not None, everything]
    if sum(given) != 1:
        raise click.UsageError("give one of --key, --backtest, --older-than and --all.")
    if key == "" or backtest == "":
        raise click.UsageError("an empty name clears nothing; --all removes every entry.")
    if keep_shared and backtest is None:
        raise click.UsageError("--keep-shared goes with --backtest.")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("clear asks before it removes; without a terminal give --yes.")

    with location.open(read_only=False) as cache:
        before_s = int(time.time()) - (older_than or 0)
        if not yes:
            rows: list[dict[str, Any]] = list(cache.entry_infos())
            if key is not None:
                rows = [row for row in rows if row["cache_key"] == key]
            elif backtest is not None:
                keys = set(cache.entries(backtest))
                if keep_shared:
                    keys = {name for name in keys if cache.backtests(name) == [backtest]}
                rows = [row for row in rows if row["cache_key"] in keys]
            elif older_than is not None:
                rows = [row for row in rows if row["last_accessed"] < before_s]
            size = format_size(sum(row["size_bytes"] for row in rows))
            question = f"Remove {len(rows)} entries ({size}) from {location.cache_directory}?"
            # Polars' handler of ^C lets a read of the terminal go on: the question would stand.
            signal.siginterrupt(signal.SIGINT, True)
            if not click.confirm(question, err=True):
                say("nothing was removed")
                return 1
        count_before = len(cache)
        if key is not None:
            cache.clear_cache(cache_key=key)
        elif backtest is not None:
            cache.clear_cache(backtest_id=backtest, keep_shared=keep_shared)
        elif older_than is not None:
            cache.clear_unused_since(before_s)
        else:
            cache.clear_cache()
        removed = count_before - len(cache)
    if as_json:
        print_json({"removed": removed})
    else:
        say(f"{removed} entries removed")
    return 0


barcache.add_command(bench)
barcache.add_command(coverage)
barcache.add_command(explain)
barcache.add_command(pin)
barcache.add_command(unpin)
barcache.add_command(warm)

_VERDICT_STYLES = {"ok": "green", "note": "cyan", "warn": "yellow", "fail": "bold red"}


@barcache.command()
@location_options
@json_option
def doctor(location: Location | None, as_json: bool) -> int:
    """Examine the machine, the versions and, if one is named, the place of a cache."""
    from barcache.cli.doctor import examine

    checks = examine(location)
    if as_json:
        print_json([vars(check) for check in checks])
    else:
        print_rows(
            [Column("", styles=_VERDICT_STYLES), Column("CHECK"), Column("FOUND")],
            ((check.verdict, check.name, check.found) for check in checks),
        )
        for check in checks:
            if check.advice:
                say(f"{check.verdict}: {check.name}: {check.advice}")
    return 1 if any(check.verdict == "fail" for check in checks) else 0


@barcache.command()
@click.argument("shell", required=False, type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str | None) -> None:
    r"""Print the completion script of SHELL (else of $SHELL).

    \b
    bash: barcache completion bash > ~/.local/share/bash-completion/completions/barcache
    zsh:  barcache completion zsh > "${fpath[1]}/_barcache"
    fish: barcache completion fish > ~/.config/fish/completions/barcache.fish
    """
    from click.shell_completion import get_completion_class

    shell = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError("which shell? Give bash, zsh or fish.")
    script = kind(barcache, {}, "barcache", "_BARCACHE_COMPLETE")
    # BashComplete.source() first asks the installed bash for its version; the text needs none.
    click.echo(script.source_template % script.source_vars())
