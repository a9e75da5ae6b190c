"""get_many and put_many: the same answers as one by one, in one go."""

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


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[CacheManager]:
    with CacheManager(str(tmp_path / "metadata.db"), str(tmp_path / "cache")) as manager:
        yield manager


def bars(number: int, rows: int = 50) -> pl.DataFrame:
    return pl.DataFrame({"close": [number + row * 0.25 for row in range(rows)]})


@pytest.mark.parametrize("tier", ["hot", "cold"])
def test_get_many_answers_in_the_order_of_the_keys(cache: CacheManager, tier: str) -> None:
    cache.put_many({f"key{number}": bars(number) for number in range(100)}, dataset_id=1)
    if tier == "cold":
        cache.hot_cache.clear()
    order = [(37 * number) % 100 for number in range(100)]
    answers = cache.get_many([f"key{number}" for number in order] + ["nobody", ""])
    for number, answer in zip(order, answers, strict=False):
        assert_frame_equal(answer, bars(number))
    assert answers[100:] == [None, None]
    assert cache.session_stats["hit_count"] == 100
    assert cache.session_stats["miss_count"] == 2
    assert cache.session_stats[f"{tier}_hits"] == 100
    assert cache.lookup_cache("key0")["access_count"] == 2


def test_get_many_keeps_hot_what_it_read(cache: CacheManager) -> None:
    cache.put_many({"a": bars(1), "b": bars(2)}, dataset_id=1)
    cache.hot_cache.clear()
    cache.get_many(["a", "b", "a"])
    assert len(cache.hot_cache) == 2


def test_get_many_links_and_selects(cache: CacheManager) -> None:
    frame = bars(1).with_columns(volume=pl.lit(7))
    cache.put_many([("a", frame), ("b", frame)], dataset_id=1, backtest_id="bt-1")
    answers = cache.get_many(["a", "b"], backtest_id="bt-2", columns=["volume"])
    assert [answer.columns for answer in answers] == [["volume"], ["volume"]]
    assert cache.backtests("a") == ["bt-1", "bt-2"]
    with pytest.raises(barcache.ColumnNotFound):
        cache.get_many(["a", "b"], columns=["nobody"])


def test_get_many_heals_what_is_corrupt(cache: CacheManager) -> None:
    cache.put_many({f"key{number}": bars(number) for number in range(10)}, dataset_id=1)
    cache.hot_cache.clear()
    victim = cache.cache_directory / cache.lookup_cache("key3")["parquet_path"]
    victim.write_bytes(victim.read_bytes()[:-1])
    answers = cache.get_many([f"key{number}" for number in range(10)])
    assert [number for number, answer in enumerate(answers) if answer is None] == [3]
    assert cache.lookup_cache("key3") is None


def test_of_two_frames_for_one_key_the_later_stands(cache: CacheManager) -> None:
    cache.put_many([("a", bars(1)), ("a", bars(2))], dataset_id=1)
    assert_frame_equal(cache.get_cached_data("a"), bars(2))
    cache.hot_cache.clear()
    assert_frame_equal(cache.get_cached_data("a"), bars(2))
    assert len(list(cache.cache_directory.iterdir())) == 1


def test_put_many_stores_all_or_nothing(cache: CacheManager) -> None:
    cache.put_cached_data("a", bars(1), dataset_id=1)
    with pytest.raises(barcache.UnsupportedFrame):
        cache.put_many(
            {"a": bars(2), "b": pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)})},
            dataset_id=1,
        )
    with pytest.raises(barcache.InvalidArgument):
        cache.put_many([("a", bars(2)), ("", bars(3))], dataset_id=1)
    assert_frame_equal(cache.get_cached_data("a"), bars(1))
    assert cache.entries() == ["a"]
    assert len(list(cache.cache_directory.iterdir())) == 1


def test_put_many_respects_the_limit(cache: CacheManager) -> None:
    cache.put_cached_data("probe", bars(0), dataset_id=1)
    size_mb = cache.lookup_cache("probe")["size_bytes"] / 1024 / 1024
    cache.cold_cache_size_mb = size_mb * 10.5
    cache.put_many({f"key{number}": bars(number) for number in range(30)}, dataset_id=1)
    assert cache._get_total_cache_size_mb() <= cache.cold_cache_size_mb
    assert len(list(cache.cache_directory.iterdir())) == len(cache)
    assert "key29" in cache
    assert cache.get_many(["key0", "probe"]) == [None, None]


def test_put_many_of_nothing_is_nothing(cache: CacheManager) -> None:
    cache.put_many({}, dataset_id=1)
    assert cache.get_many([]) == []
