# A catalog of each older schema opens, with all it knew: data/barcache-schema-N was written by the
# release that had version N, 1 under the policy hybrid, 2 under gdsf.

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from barcache import CacheManager
from polars.testing import assert_frame_equal

KEPT = Path(__file__).parent / "data" / "barcache-schema-1"
SIDE = (
    "SELECT use_order, cache_key, checksum, generation, size_bytes, access_count, is_old,"
    " request_json FROM barcache_entries ORDER BY use_order"
)
TOTALS = (
    "SELECT entry_count, size_bytes, access_count, next_use, old_count, old_boundary"
    " FROM barcache_totals"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT, tmp_path / "place"))


def query(place: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(place / "metadata.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def open_cache(place: Path, **options: Any) -> CacheManager:
    return CacheManager(str(place / "metadata.db"), str(place / "cache"), **options)


def test_version_1_keeps_all_it_knew(place: Path) -> None:
    before = query(place, SIDE), query(place, TOTALS)
    with open_cache(place):
        pass
    assert (query(place, SIDE), query(place, TOTALS)) == before
    meta = dict(query(place, "SELECT name, value FROM barcache_meta"))
    assert meta["schema_version"] == "3"
    assert meta["catalog_id"] == "45725d2df043603600098014d2ebd3fa"


def test_version_2_keeps_all_it_knew(tmp_path: Path) -> None:
    place = Path(shutil.copytree(KEPT.with_name("barcache-schema-2"), tmp_path / "place"))
    everything = ("SELECT * FROM barcache_entries", "SELECT * FROM barcache_totals")
    before = [query(place, sql) for sql in everything]
    with open_cache(place):
        pass
    entries, [totals] = before
    nothing_pinned = (0, 0)
    assert [query(place, sql) for sql in everything] == [entries, [(*totals, *nothing_pinned)]]
    meta = dict(query(place, "SELECT name, value FROM barcache_meta"))
    assert meta == {"schema_version": "3", "catalog_id": "92764af898e6befccd722c59d352cbbc"}
    with open_cache(place) as cache:
        assert_frame_equal(cache.get_cached_data("used"), pl.DataFrame({"close": [2.0, 2.0, 2.0]}))
        assert cache.backtests("old") == ["bt-1"]


def test_frames_of_version_1_are_served(place: Path) -> None:
    with open_cache(place) as cache:
        assert_frame_equal(cache.get_cached_data("used"), pl.DataFrame({"close": [2.0, 2.0, 2.0]}))
        assert cache.generate_cache_key(
            ["MSFT", "AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance"
        ) in set(cache.entries())


def test_read_only_leaves_version_1(place: Path) -> None:
    with open_cache(place, read_only=True) as cache:
        assert cache.get_cached_data("old") is not None
    assert dict(query(place, "SELECT name, value FROM barcache_meta"))["schema_version"] == "1"


@pytest.mark.parametrize("policy", ["gdsf", "s3fifo"])
def test_the_new_policies_take_over_from_version_1(place: Path, policy: str) -> None:
    with open_cache(place, eviction_policy=policy, cold_cache_size_mb=700 / 2**20) as cache:
        cache.evict()
        assert "used" in set(cache.entries()), "the one entry that was used"
        assert len(set(cache.entries())) < 4
