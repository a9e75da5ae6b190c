"""A cache with as many entries as wanted, made in seconds.

Its catalog is one that barcache made and whose rows were then inserted by SQL: the same columns,
side rows, indexes and totals as after so many puts. Every entry has its file in the directory, so
that the directory is as large as a real one; most are empty. Those that an eviction can reach first
hold as many bytes as a put of 252 rows writes: their unlinking has to be paid in full.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from barcache import CacheManager
from barcache.bench.frames import bars

if TYPE_CHECKING:
    from pathlib import Path

REAL_KEY = "bars"  # An entry that was put, with 252 rows.
_VICTIMS = 1500  # From each end at which a policy begins.

_FILL = """
CREATE TEMP TABLE made AS
  WITH RECURSIVE counter(number) AS (
    SELECT 1 UNION ALL SELECT number + 1 FROM counter WHERE number < :entries
  )
  SELECT number + 1 AS use_order,
    lower(hex(randomblob(8))) AS cache_key,
    lower(hex(randomblob(32))) AS checksum,
    1767225600000000000 + number * 1000 AS generation,
    8500 + abs(random() % 4000) AS size_bytes,
    '{"data_source": "yfinance", "end_date": "2023-12-31", "resolution": "1d", "start_date": '
      || '"2023-01-01", "symbols": ["S' || number || '"]}' AS request_json
  FROM counter;
INSERT INTO cache_entries
  SELECT cache_key, 1, cache_key || '~' || generation || '~' || substr(checksum, 1, 32)
    || '.parquet', checksum, 1767225600 + use_order / 100, 1767225600 + use_order / 100, 1,
    size_bytes
  FROM made ORDER BY cache_key;
INSERT INTO barcache_entries
    (use_order, cache_key, checksum, generation, size_bytes, access_count, request_json)
  SELECT use_order, cache_key, checksum, generation, size_bytes, 1, request_json FROM made
  ORDER BY use_order;
UPDATE barcache_totals SET (entry_count, size_bytes, access_count, next_use) =
  (SELECT count(*), sum(size_bytes), sum(access_count), max(use_order) + 1 FROM barcache_entries)
  WHERE id = 1;
"""

# Ends of the orders: least recently used, largest, largest of the old half, and the head of
# s3fifo's main queue, which is where its small queue was full when it was first filled.
_REACHED_FIRST = """
SELECT cache_key FROM (SELECT cache_key FROM barcache_entries ORDER BY use_order LIMIT :victims)
UNION SELECT cache_key FROM
  (SELECT cache_key FROM barcache_entries ORDER BY size_bytes DESC LIMIT :victims)
UNION SELECT cache_key FROM
  (SELECT cache_key FROM barcache_entries
   WHERE use_order <= (SELECT max(use_order) / 2 FROM barcache_entries)
   ORDER BY size_bytes DESC LIMIT :victims)
UNION SELECT cache_key FROM
  (SELECT cache_key FROM barcache_entries
   WHERE use_order >= (SELECT max(use_order) * 0.09 FROM barcache_entries)
   ORDER BY use_order LIMIT 3 * :victims)
"""


@dataclass
class LargeCatalog:
    """Where it is, and the files that hold bytes."""

    directory: Path
    entries: int
    full_files: list[str] = field(default_factory=list)

    def open(self, **settings: object) -> CacheManager:
        """A manager on it that keeps nothing hot."""
        chosen: dict[str, object] = {
            "hot_cache_size_mb": 0,
            "cold_cache_size_mb": 1 << 20,
            "record_on_close": False,
            **settings,
        }
        return CacheManager(
            self.directory / "metadata.db",
            self.directory / "cache",
            **chosen,  # type: ignore[arg-type]
        )


def make(directory: Path, entries: int) -> LargeCatalog:
    """A cache of `entries` entries and one that was put, `REAL_KEY`."""
    directory.mkdir(mode=0o700)
    made = LargeCatalog(directory, entries)
    with made.open() as cache:
        cache.put_cached_data(REAL_KEY, bars(252), dataset_id=1)
    connection = sqlite3.connect(directory / "metadata.db")
    try:
        connection.execute("PRAGMA cache_size = -400000")
        connection.execute("PRAGMA synchronous = OFF")
        # Nobody's trigger or index is needed while every row is known; all are put back as
        # they were.
        objects = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'index')"
            " AND sql IS NOT NULL"
        ).fetchall()
        for kind, name, _ in objects:
            connection.execute(f'DROP {kind} "{name}"')
        connection.executescript("BEGIN;" + _FILL.replace(":entries", str(int(entries))))
        for kind in ("index", "trigger"):
            for found_kind, _, sql in objects:
                if found_kind == kind:
                    connection.execute(sql)
        connection.commit()
        reached = {
            key
            for (key,) in connection.execute(_REACHED_FIRST, {"victims": min(_VICTIMS, entries)})
        }
        _make_files(connection, made, reached)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return made


def _make_files(connection: sqlite3.Connection, made: LargeCatalog, full: set[str]) -> None:
    folder = made.directory / "cache"
    content = next(folder.glob("*.parquet")).read_bytes()
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        query = "SELECT cache_key, parquet_path FROM cache_entries WHERE cache_key != ?"
        for key, name in connection.execute(query, (REAL_KEY,)):
            if key not in full:
                os.mknod(name, 0o600, dir_fd=handle)
                continue
            made.full_files.append(name)
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=handle)
            try:
                os.write(file, content)
            finally:
                os.close(file)
    finally:
        os.close(handle)
