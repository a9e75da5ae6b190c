"""scan: lazy reads of one entry, each verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import barcache
import polars as pl
import pytest
from barcache import CacheManager
from polars.testing import assert_frame_equal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BARS = pl.DataFrame(
    {
        "symbol": ["AAPL", "MSFT"] * 500,
        "close": [row * 0.25 for row in range(1000)],
        "volume": range(1000),
    }
)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[CacheManager]:
    with CacheManager(str(tmp_path / "metadata.db"), str(tmp_path / "cache")) as manager:
        manager.put_cached_data("key1", BARS, dataset_id=1)
        yield manager


def test_a_scan_answers_as_the_frame_would(cache: CacheManager) -> None:
    lazy = cache.scan("key1")
    assert lazy is not None
    assert lazy.collect_schema() == BARS.schema
    for query in (
        lambda df: df,
        lambda df: df.select("volume", "symbol"),
        lambda df: df.filter(pl.col("close") > 100).select("symbol"),
        lambda df: df.head(7),
        lambda df: df.filter(symbol="MSFT").head(3),
        lambda df: df.group_by("symbol").agg(pl.col("volume").sum()).sort("symbol"),
        lambda df: df.select(pl.len()),
    ):
        assert_frame_equal(query(lazy).collect(), query(BARS.lazy()).collect())


def test_a_miss_is_none(cache: CacheManager) -> None:
    assert cache.scan("nobody") is None
    assert cache.session_stats["miss_count"] == 1


def test_a_scan_is_a_linked_hit_and_keeps_nothing_hot(cache: CacheManager) -> None:
    cache.hot_cache.clear()
    cache.scan("key1", backtest_id="bt-1").collect()
    assert cache.session_stats["cold_hits"] == 1
    assert cache.backtests("key1") == ["bt-1"]
    assert len(cache.hot_cache) == 0


def test_a_scan_outlives_its_entry_and_its_cache(cache: CacheManager) -> None:
    lazy = cache.scan("key1")
    cache.clear_cache(cache_key="key1")
    assert_frame_equal(lazy.collect(), BARS)
    cache.close()
    assert_frame_equal(lazy.collect(), BARS)


def test_changed_bytes_raise_at_collect(cache: CacheManager) -> None:
    lazy = cache.scan("key1")
    file = cache.cache_directory / cache.lookup_cache("key1")["parquet_path"]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    with file.open("r+b") as same_file:
        same_file.write(content)
    with pytest.raises(barcache.EntryCorrupt, match="key1"):
        lazy.collect()
    assert cache.scan("key1") is None
    assert cache.lookup_cache("key1") is None
