"""What RustyBT 0.3.3's cache does to a shared directory, step by step, in raw SQL and Polars.

It stands in for RustyBT in the normal suite; `make test-rustybt` runs the same tests with the
real one. Its order of effects and its mistakes are kept: a file is written in place before its
row, a second put of a key fails after it has overwritten the file, a delete leaves the links.
"""

import hashlib
import sqlite3
import time
from pathlib import Path

import polars as pl

MB = 1024 * 1024


class RustyBTEmulation:
    """RustyBT's CacheManager without its hot tier."""

    duplicate_key = sqlite3.IntegrityError

    def __init__(self, db_path, cache_directory):
        self.directory = Path(cache_directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(db_path)

    def close(self):
        self.connection.close()

    def put(self, key, frame, dataset_id, backtest_id=None):
        path = self.directory / f"{key}.parquet"
        frame.write_parquet(path, compression="snappy")
        content = path.read_bytes()
        now = int(time.time())
        row = (key, dataset_id, path.name, hashlib.sha256(content).hexdigest(), now, now, 1)
        with self.connection:
            self.connection.execute(
                "INSERT INTO cache_entries (cache_key, dataset_id, parquet_path, checksum, "
                "created_at, last_accessed, access_count, size_bytes) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, len(content)),
            )
            if backtest_id:
                self.connection.execute(
                    "INSERT INTO backtest_cache_links (backtest_id, cache_key, linked_at) "
                    "VALUES (?, ?, ?)",
                    (backtest_id, key, now),
                )

    def get(self, key):
        found = self.connection.execute(
            "SELECT parquet_path, checksum FROM cache_entries WHERE cache_key = ?", (key,)
        ).fetchone()
        if found is None:
            return None
        path = self.directory / found[0]
        if not path.exists():
            return None
        if hashlib.sha256(path.read_bytes()).hexdigest() != found[1]:
            self.delete(key)
            return None
        frame = pl.read_parquet(path)
        with self.connection:
            self.connection.execute(
                "UPDATE cache_entries SET last_accessed = ?, access_count = access_count + 1 "
                "WHERE cache_key = ?",
                (int(time.time()), key),
            )
        return frame

    def delete(self, key):
        found = self.connection.execute(
            "SELECT parquet_path FROM cache_entries WHERE cache_key = ?", (key,)
        ).fetchone()
        if found is None:
            return
        (self.directory / found[0]).unlink(missing_ok=True)
        with self.connection:
            self.connection.execute("DELETE FROM cache_entries WHERE cache_key = ?", (key,))

    def clear_backtest(self, backtest_id):
        links = self.connection.execute(
            "SELECT cache_key FROM backtest_cache_links WHERE backtest_id = ?", (backtest_id,)
        ).fetchall()
        for (key,) in links:
            self.delete(key)

    def clear(self):
        for (key,) in self.connection.execute("SELECT cache_key FROM cache_entries").fetchall():
            self.delete(key)

    def evict(self, limit_bytes):
        rows = self.connection.execute(
            "SELECT cache_key FROM cache_entries ORDER BY last_accessed"
        ).fetchall()
        for (key,) in rows:
            total = self.connection.execute("SELECT sum(size_bytes) FROM cache_entries").fetchone()
            if (total[0] or 0) <= limit_bytes:
                return
            self.delete(key)


class RealRustyBT:
    """The same face over RustyBT's own CacheManager, its hot tier off."""

    def __init__(self, db_path, cache_directory):
        from rustybt.data.polars.cache_manager import CacheManager
        from sqlalchemy.exc import IntegrityError

        assert CacheManager.__module__.startswith("rustybt."), "the drop-in switch is on"
        self.duplicate_key = IntegrityError
        self.manager = CacheManager(db_path, cache_directory, hot_cache_size_mb=0)

    def close(self):
        self.manager.metadata_catalog.engine.dispose()

    def put(self, key, frame, dataset_id, backtest_id=None):
        self.manager.put_cached_data(key, frame, dataset_id, backtest_id)

    def get(self, key):
        self.manager.hot_cache.clear()
        return self.manager.get_cached_data(key)

    def delete(self, key):
        self.manager.clear_cache(cache_key=key)

    def clear_backtest(self, backtest_id):
        self.manager.clear_cache(backtest_id=backtest_id)

    def clear(self):
        self.manager.clear_cache()

    def evict(self, limit_bytes):
        self.manager.cold_cache_size_mb = limit_bytes / MB
        self.manager._check_cold_cache_eviction()
        self.manager.cold_cache_size_mb = 10240
