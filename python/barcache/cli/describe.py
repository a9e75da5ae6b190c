"""Words for an entry: its request in one line, and what its file holds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def parsed_request(request_json: str) -> Any:
    """The request as JSON gives it; None if there is none, the text itself if it is not JSON."""
    if not request_json:
        return None
    try:
        return json.loads(request_json)
    except ValueError:
        return request_json


def describe_request(request_json: str) -> str:
    """The request behind a generated key in one line; '' if it is not known.

    >>> describe_request('{"data_source": "csv", "end_date": "2023-12-31", "resolution": "1d",'
    ...                  ' "start_date": "2023-01-01", "symbols": ["AAPL", "MSFT"]}')
    'AAPL,MSFT 1d 2023-01-01..2023-12-31 csv'
    >>> describe_request('{"arguments": {"days": 5}, "call": "study.returns", "version": "1"}')
    'study.returns(days=5)'
    """
    if not request_json:
        return ""
    try:
        request = json.loads(request_json)
        if "call" in request:
            arguments = {**request["arguments"], **request.get("around", {})}
            return f"{request['call']}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
        symbols = [str(symbol) for symbol in request["symbols"]]
        more = f",+{len(symbols) - 4}" if len(symbols) > 4 else ""
        return (
            f"{','.join(symbols[:4])}{more} {request['resolution']} "
            f"{request['start_date']}..{request['end_date']} {request['data_source']}"
        )
    except (ValueError, KeyError, TypeError):
        return request_json


@dataclass(frozen=True)
class DescribedEntry:
    """What is on disk for an entry."""

    path: str
    problem: str = ""
    rows: int = 0
    columns: list[tuple[str, str]] = field(default_factory=list)

    def file_pairs(self) -> list[tuple[str, str]]:
        """Names and values for a person."""
        if self.problem:
            return [("problem", self.problem)]
        names = ", ".join(f"{name} {kind}" for name, kind in self.columns)
        return [("rows", f"{self.rows}"), ("columns", names)]

    def file_json(self) -> dict[str, Any]:
        """The same for a program."""
        if self.problem:
            return {"path": self.path, "problem": self.problem}
        return {
            "path": self.path,
            "rows": self.rows,
            "columns": [{"name": name, "type": kind} for name, kind in self.columns],
        }


def describe_entry(row: dict[str, Any], cache_directory: Path) -> DescribedEntry:
    """Checks the entry's file and reads its footer. What is wrong is told, not raised.

    Whoever wrote the catalog chose the name: nothing outside the cache directory is opened, and
    nothing is parsed whose bytes are not those that were put.
    """
    name = row["parquet_path"]
    path = cache_directory / name
    if Path(name).name != name or path.is_symlink():
        return DescribedEntry(str(path), "the name leads out of the cache directory")
    if not path.is_file():
        return DescribedEntry(str(path), "the file is missing; the next read drops the entry")
    from pyarrow import ArrowException, parquet

    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != row["checksum"]:
                return DescribedEntry(str(path), "wrong bytes; the next read drops the entry")
            footer = parquet.read_metadata(file)
            schema = footer.schema.to_arrow_schema()
    except (ArrowException, OSError) as error:
        return DescribedEntry(str(path), f"not a readable Parquet file: {error}")
    return DescribedEntry(
        str(path), rows=footer.num_rows, columns=[(f.name, str(f.type)) for f in schema]
    )
