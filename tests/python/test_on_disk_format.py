# docs/on-disk-format.md says what is really on disk.

from __future__ import annotations

import hashlib
import re
import sqlite3
import struct
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet
import pytest
from barcache import CacheManager

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "on-disk-format.md").read_text(
    encoding="utf-8"
)
REQUEST = (
    '{"data_source": "yfinance", "end_date": "2023-12-31", "resolution": "1d", '
    '"start_date": "2023-01-01", "symbols": ["AAPL", "MSFT"]}'
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with CacheManager(str(tmp_path / "metadata.db"), str(tmp_path / "cache")) as cache:
        key = cache.generate_cache_key(
            ["MSFT", "AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance"
        )
        cache.put_cached_data(key, pl.DataFrame({"close": [1.0]}), dataset_id=3)
        cache.put_cached_data("a key\nof two lines", pl.DataFrame({"close": [2.0]}), dataset_id=1)
    return tmp_path


def query(place: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(place / "metadata.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def documented_tables() -> dict[str, list[str]]:
    section = DOCUMENT[DOCUMENT.index("## The catalog") : DOCUMENT.index("| trigger |")]
    found = {}
    for name, columns in re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.M):
        found[name] = re.findall(r"`(\w+)`", columns)
    return found


def test_tables_and_columns(place: Path) -> None:
    tables = documented_tables()
    rows = query(place, "SELECT name FROM sqlite_master WHERE type = 'table'")
    assert set(tables) == {name for (name,) in rows}
    for name, columns in tables.items():
        stored = query(place, f"SELECT name FROM pragma_table_info('{name}')")
        assert [column for (column,) in stored] == columns, name


def test_triggers_and_indexes(place: Path) -> None:
    rows = query(place, "SELECT type, name FROM sqlite_master WHERE name LIKE 'barcache%'")
    triggers = sorted(name for kind, name in rows if kind == "trigger")
    written = re.findall(r"^\| (`.*?`) \| ", DOCUMENT[DOCUMENT.index("| trigger |") :], re.M)
    documented: list[str] = []
    for cell in written:
        for name in re.findall(r"`(\w+)`", cell):
            first = re.search(r"`(barcache_\w+)_\w+`", cell)
            documented.append(first[1] + name if name.startswith("_") and first else name)
    assert triggers == sorted(name for name in documented if name.startswith("barcache_"))
    for kind, name in rows:
        if kind == "index":
            assert f"`{name}`" in DOCUMENT


def test_names_of_files(place: Path) -> None:
    rows = dict(query(place, "SELECT cache_key, parquet_path FROM cache_entries"))
    checksums = dict(query(place, "SELECT cache_key, checksum FROM cache_entries"))
    generations = dict(query(place, "SELECT cache_key, generation FROM barcache_entries"))
    stems = {
        "8a3c9ff46519d39e": "8a3c9ff46519d39e",
        "a key\nof two lines": hashlib.sha256(b"a key\nof two lines").hexdigest()[:32],
    }
    for key, stem in stems.items():
        content = (place / "cache" / rows[key]).read_bytes()
        checksum = hashlib.sha256(content).hexdigest()
        assert checksums[key] == checksum
        assert rows[key] == f"{stem}~{generations[key]}~{checksum[:32]}.parquet"


def test_footer(place: Path) -> None:
    catalog_id = dict(query(place, "SELECT name, value FROM barcache_meta"))["catalog_id"]
    for key, path, created_at, dataset_id in query(
        place, "SELECT cache_key, parquet_path, created_at, dataset_id FROM cache_entries"
    ):
        metadata = pyarrow.parquet.read_metadata(place / "cache" / path).metadata
        generation = path.split("~")[1]
        assert metadata[b"barcache"].decode() == (
            f"1\n{catalog_id}\n{generation}\n{dataset_id}\n{created_at}\n{key}"
        )
        assert set(metadata) <= {
            name.encode() for name in re.findall(r"^\| `(barcache[\w.]*)` \|", DOCUMENT, re.M)
        }
        if key == "8a3c9ff46519d39e":
            assert metadata[b"barcache.request"].decode() == REQUEST


def test_the_documented_key() -> None:
    assert REQUEST in DOCUMENT
    assert hashlib.sha256(REQUEST.encode()).hexdigest()[:16] == "8a3c9ff46519d39e"


def test_change_counters(place: Path) -> None:
    content = (place / "metadata.db-barcache").read_bytes()
    magic, version, buckets, begun, ended, committing = struct.unpack_from("<8sIIQQI", content)
    assert (magic, version, buckets, committing) == (b"BAREPOCH", 1, 8192, 0)
    assert begun == ended
    assert len(content) == 4096 + 8192 * 8
    counters = struct.unpack_from("<8192Q", content, 4096)
    assert all(counter % 2 == 0 for counter in counters)
    assert len(set(counters)) > 1  # Two puts have moved theirs.


def test_modes(place: Path) -> None:
    for path in place.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o600, path
    assert (place / "cache").stat().st_mode & 0o777 == 0o700
