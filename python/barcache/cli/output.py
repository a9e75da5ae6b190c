"""What a command prints: data on stdout, everything else on stderr.

On a terminal a table, with colour unless NO_COLOR is set or TERM is dumb; elsewhere lines of
tab-separated text with a header, for other programs; with --json one JSON value.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading and how it stands on a terminal."""

    heading: str
    right: bool = False
    style: str | None = None
    styles: Mapping[str, str] = field(default_factory=dict)  # Of single cells, by their text.


def printable(text: str) -> str:
    """The text with control characters escaped: a key may hold any, a terminal obeys some."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def format_size(size_bytes: float) -> str:
    """1536 -> '1.5 KB' (units of 1024)."""
    if size_bytes < 1024:
        return f"{int(size_bytes)} B"
    for unit in ("KB", "MB", "GB"):
        size_bytes /= 1024
        if size_bytes < 1024:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / 1024:.1f} TB"


def format_time(unix_seconds: int) -> str:
    """Seconds since 1970 as '2026-03-01 14:05:09Z'."""
    try:
        moment = datetime.fromtimestamp(unix_seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return str(unix_seconds)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def wants_table() -> bool:
    """Whether stdout is a terminal, or is to be treated as one."""
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def console(*, stderr: bool = False) -> Console:
    """Rich follows NO_COLOR, FORCE_COLOR and TERM=dumb by itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_rows(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal, tab-separated lines elsewhere."""
    if not wants_table():
        sys.stdout.write("\t".join(column.heading for column in columns) + "\n")
        for row in rows:
            sys.stdout.write("\t".join(printable(cell) for cell in row) + "\n")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            style=column.style,
            no_wrap=column.right,
            overflow="fold",
        )
    for row in rows:
        table.add_row(
            *(
                Text(printable(cell), style=column.styles.get(cell, ""))
                for column, cell in zip(columns, row, strict=True)
            )
        )
    console().print(table)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line."""
    if not wants_table():
        for name, value in pairs:
            sys.stdout.write(f"{name}\t{printable(value)}\n")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(printable(value)))
    console().print(table)


def say(message: str) -> None:
    """A message for the person at the terminal."""
    sys.stderr.write(printable(message) + "\n")
