"""LRUCache alone: RustyBT's names, bounds by bytes, order of use."""

from collections import OrderedDict

import polars as pl
import pytest
from barcache import InvalidArgument, InvalidType, LRUCache
from polars.testing import assert_frame_equal

MB = 1024 * 1024


def frame(rows, value=0):
    return pl.DataFrame({"i": [value] * rows}, schema={"i": pl.Int64})


def test_a_new_one_holds_a_gibibyte():
    lru = LRUCache()

    assert lru.max_size_bytes == 1024 * MB
    assert lru.current_size_bytes == 0
    assert lru.get_stats() == {"entry_count": 0, "total_size_mb": 0.0}
    assert lru.cache == OrderedDict()
    assert LRUCache(5 * MB).max_size_bytes == 5 * MB
    assert LRUCache(max_size_bytes=0.5 * MB).max_size_bytes == MB // 2


def test_get_put_clear_and_stats():
    lru = LRUCache(max_size_bytes=MB)
    lru.put("key1", frame(1000))
    assert_frame_equal(lru.get("key1"), frame(1000))
    assert lru.get("key2") is None
    stats = lru.get_stats()
    assert stats["entry_count"] == 1
    assert stats["total_size_mb"] == lru.current_size_bytes / MB
    assert 8000 <= lru.current_size_bytes <= 8200
    assert len(lru) == 1
    assert "key1" in lru
    assert "key1" in lru.cache
    lru.clear()
    assert lru.get("key1") is None
    assert lru.get_stats() == {"entry_count": 0, "total_size_mb": 0.0}
    assert lru.current_size_bytes == 0


def test_the_least_recently_used_leaves_first():
    lru = LRUCache(max_size_bytes=25_000)
    for key in ("a", "b", "c"):
        lru.put(key, frame(1000))
    assert list(lru.cache) == ["a", "b", "c"]
    lru.get("a")
    assert list(lru.cache) == ["b", "c", "a"]
    lru.put("d", frame(1000))
    assert list(lru.cache) == ["c", "a", "d"]
    lru.put("c", frame(500))  # Putting again is a use.
    assert list(lru.cache) == ["a", "d", "c"]
    assert lru.current_size_bytes <= 25_000


def test_a_frame_larger_than_the_limit_is_not_kept_and_evicts_nobody():
    lru = LRUCache(max_size_bytes=10_000)
    lru.put("a", frame(1000))
    lru.put("large", frame(10_000))

    assert list(lru.cache) == ["a"]
    lru.put("a", frame(10_000))  # What it replaces would be stale.
    assert lru.get("a") is None
    assert lru.current_size_bytes == 0


def test_the_limit_may_be_changed():
    lru = LRUCache(max_size_bytes=25_000)
    for key in ("a", "b", "c"):
        lru.put(key, frame(1000))
    lru.max_size_bytes = 17_000
    assert list(lru.cache) == ["b", "c"]
    lru.max_size_bytes = 0
    assert list(lru.cache) == []
    lru.put("a", frame(1))
    assert lru.get("a") is None


def test_frames_cannot_be_changed_from_outside():
    mine = frame(3)
    lru = LRUCache()
    lru.put("a", mine)
    mine.insert_column(0, pl.Series("x", [1, 2, 3]))
    got = lru.get("a")
    got.insert_column(0, pl.Series("y", [1, 2, 3]))
    got[0, "i"] = 99
    lru.cache["a"].insert_column(0, pl.Series("z", [1, 2, 3]))
    lru.cache.clear()

    assert_frame_equal(lru.get("a"), frame(3))


@pytest.mark.parametrize("key", ["", "a\0b", "☃" * 100])
def test_any_text_is_a_key(key):
    lru = LRUCache()
    lru.put(key, frame(3))

    assert_frame_equal(lru.get(key), frame(3))
    assert list(lru.cache) == [key]


def test_other_frames_are_taken_as_by_the_cache():
    pandas = pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    lru = LRUCache()
    lru.put("pandas", pandas.DataFrame({"i": [0, 0, 0]}))
    lru.put("arrow", pyarrow.table({"i": [0, 0, 0]}))
    lru.put("lazy", frame(3).lazy())

    for key in ("pandas", "arrow", "lazy"):
        assert_frame_equal(lru.get(key), frame(3))


def test_bad_input_is_refused():
    with pytest.raises(InvalidArgument, match="negative"):
        LRUCache(max_size_bytes=-1)
    with pytest.raises(InvalidType, match="max_size_bytes"):
        LRUCache(max_size_bytes="1 GB")
    lru = LRUCache(max_size_bytes=100)
    with pytest.raises(InvalidArgument, match="negative"):
        lru.max_size_bytes = -1
    with pytest.raises(InvalidType, match="max_size_bytes"):
        lru.max_size_bytes = None
    assert lru.max_size_bytes == 100
    with pytest.raises(InvalidType):
        lru.put("a", [1, 2, 3])
    with pytest.raises(InvalidType):
        lru.put(5, frame(1))
    with pytest.raises(InvalidType):
        lru.get(5)
    assert lru.get("\ud800") is None
    assert 5 not in lru
