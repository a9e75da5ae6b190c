"""Plans from a file: TOML or JSON with everything in it, or a list of symbols.

A plan is a table with ``symbols``, ``start``, ``end``, ``resolution``, ``source`` and perhaps
``adjustment``; what it leaves out is taken from the caller. A file holds one such table, or
several under ``plan``; a CSV file, or a JSON list of text, holds symbols only. Thread safety: pure
functions.
"""

from __future__ import annotations

import csv
import json
import tomllib
from datetime import date
from typing import TYPE_CHECKING, Any

from barcache.errors import InvalidArgument
from barcache.sources.bars import SYMBOL_NAMES
from barcache.warming.plan import WarmPlan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAMES = ("symbols", "start", "end", "resolution", "source", "adjustment")


def read_plans(path: Path, given: Mapping[str, Any]) -> list[WarmPlan]:
    """The plans of a file.

    Args:
        path: ends with .toml, .json, .csv or .txt (one symbol a line).
        given: by the names of a plan's table: goes before what the file says.

    Raises:
        InvalidArgument: what is wrong with the file, and in which plan.
        OSError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = _content(path.suffix.lower(), text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise InvalidArgument(f"{path} cannot be read as a plan: {error}") from error
    if isinstance(content, list) and content and all(isinstance(name, str) for name in content):
        content = {"symbols": content}
    tables = content.get("plan", content) if isinstance(content, dict) else content
    if isinstance(tables, dict):
        tables = [tables]
    if not isinstance(tables, list) or not tables:
        raise InvalidArgument(
            f"{path} holds no plan: write a table with symbols, start, end, resolution and source"
        )
    return [_plan(f"{path}, plan {place}", table, given) for place, table in enumerate(tables, 1)]


def _content(suffix: str, text: str) -> Any:
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix == ".json":
        return json.loads(text)
    if suffix in (".csv", ".txt"):
        return _symbols(list(csv.reader(text.splitlines(), strict=True)))
    raise InvalidArgument(
        f"a plan is a .toml or .json file, or a .csv or .txt with symbols, not {suffix or 'this'}"
    )


def _symbols(rows: list[list[str]]) -> list[str]:
    """The column of a table that is named as one of symbols; without such a name the first."""
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    head = [cell.lower() for cell in rows[0]] if rows else []
    column = next((head.index(name) for name in (*SYMBOL_NAMES, "symbols") if name in head), None)
    body = rows if column is None else rows[1:]
    return [row[column or 0] for row in body if len(row) > (column or 0) and row[column or 0]]


def _plan(where: str, table: Any, given: Mapping[str, Any]) -> WarmPlan:
    if not isinstance(table, dict):
        raise InvalidArgument(f"{where}: a plan is a table, not {table!r}")
    unknown = [name for name in table if name not in NAMES]
    if unknown:
        raise InvalidArgument(
            f"{where}: there is nothing named {unknown[0]!r} in a plan, only {', '.join(NAMES)}"
        )
    values = {**table, **{name: value for name, value in given.items() if value is not None}}
    missing = [name for name in NAMES[:-1] if name not in values]
    if missing:
        raise InvalidArgument(
            f"{where}: {' and '.join(missing)} not given: write it into the file or on the "
            "command line"
        )
    symbols = values["symbols"]
    if not isinstance(symbols, list) or not all(isinstance(name, str) for name in symbols):
        raise InvalidArgument(f"{where}: symbols is a list of text, not {symbols!r}")
    for name in ("start", "end"):
        if not isinstance(values[name], str | date):
            raise InvalidArgument(f"{where}: {name} is a date or time, not {values[name]!r}")
    for name in ("resolution", "source", "adjustment"):
        if not isinstance(values.get(name, ""), str):
            raise InvalidArgument(f"{where}: {name} is text, not {values[name]!r}")
    return WarmPlan(
        tuple(symbols),
        values["start"],
        values["end"],
        values["resolution"],
        values["source"],
        values.get("adjustment"),
    )
