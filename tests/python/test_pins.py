# Pins: who stays whatever is put, what the limit says to them, and when a pin goes.

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from barcache import CacheManager
from barcache.errors import CacheFull, InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

MB = 1024 * 1024
POLICIES = ("lru", "size", "hybrid", "gdsf", "s3fifo")


def frame(seed: int, rows: int = 2000) -> pl.DataFrame:
    """About 16 kB on disk: it cannot be compressed."""
    values = random.Random(seed)
    return pl.DataFrame({"close": [values.random() for _ in range(rows)]})


def opened(folder: Path, **settings: Any) -> CacheManager:
    return CacheManager(folder / "metadata.db", folder / "cache", **settings)


def put(cache: CacheManager, key: str, seed: int = 0, **more: Any) -> None:
    cache.put_cached_data(key, frame(seed), dataset_id=1, **more)


def size_bytes(cache: CacheManager, key: str) -> int:
    size: int = cache.lookup_cache(key)["size_bytes"]
    return size


@pytest.mark.parametrize("policy", POLICIES)
def test_a_pinned_entry_outlives_any_number_of_puts(tmp_path: Path, policy: str) -> None:
    with opened(tmp_path, cold_cache_size_mb=0.2, eviction_policy=policy) as cache:
        for name in ("a", "b", "c"):
            put(cache, name)
        assert [cache.pin(name) for name in ("a", "b", "b")] == [1, 1, 0]
        for number in range(60):
            put(cache, f"key{number}", number)
            assert cache._total_size_bytes() <= 0.2 * MB
            assert f"key{number}" in cache.entries()
        files = sum(path.stat().st_size for path in (tmp_path / "cache").iterdir())
        assert files == cache._total_size_bytes()
        assert cache.pinned() == ["a", "b"]
        assert cache.get_cached_data("a").equals(frame(0))
        assert cache.get_cached_data("b").equals(frame(0))
        assert len(cache) > 5
        assert cache.check()["clean"]


@pytest.mark.parametrize("policy", POLICIES)
def test_let_go_it_leaves_again(tmp_path: Path, policy: str) -> None:
    with opened(tmp_path, cold_cache_size_mb=0.2, eviction_policy=policy) as cache:
        cache.put_cached_data("a", frame(0, rows=2500), dataset_id=1)  # The largest of all.
        cache.pin("a")
        for number in range(30):
            put(cache, f"key{number}", number)
        assert cache.unpin("a") == 1
        assert cache.unpin("a") == 0
        assert cache.pinned() == []
        for number in range(200):
            put(cache, f"new{number}", number)
        assert "a" not in cache.entries()
        assert cache.check()["clean"]


def test_pins_beyond_the_limit_are_refused_and_nothing_changes(tmp_path: Path) -> None:
    with opened(tmp_path, cold_cache_size_mb=1) as cache:
        for number in range(4):
            put(cache, f"key{number}", number, backtest_id="bt")
        cache.pin("key1")
        cache.cold_cache_size_mb = 2.5 * size_bytes(cache, "key0") / MB
        with pytest.raises(CacheFull, match="cold_cache_size_mb"):
            cache.pin(backtest_id="bt")
        assert cache.pinned() == ["key1"]
        assert cache.pin("key2") == 1
        with pytest.raises(CacheFull):
            cache.pin("key3")
        assert cache.pinned() == ["key1", "key2"]
        assert cache.pin("key1") == 0  # What is pinned already adds nothing.
        cache.cold_cache_size_mb = 0.5 * size_bytes(cache, "key0") / MB
        assert cache.pin("key2") == 0, "also where a lower limit would refuse both"
        assert cache.pinned() == ["key1", "key2"]


def test_a_put_without_room_beside_the_pinned_stores_nothing(tmp_path: Path, caplog: Any) -> None:
    with opened(tmp_path, cold_cache_size_mb=1) as cache:
        for name in ("a", "b", "c"):
            put(cache, name)
        cache.pin("a")
        cache.pin("b")
        limit = 2 * size_bytes(cache, "a") + size_bytes(cache, "c") // 2
        cache.cold_cache_size_mb = limit / MB
        with caplog.at_level("WARNING"):
            put(cache, "new", 1)
            put(cache, "c", 2)
        assert "dataframe_has_no_room_beside_pinned" in caplog.text
        assert cache.get_cached_data("new") is None
        assert cache.get_cached_data("c") is None  # Never the older frame.
        cache.put_many({"d": frame(4, rows=10), "new": frame(1)}, dataset_id=1)
        assert cache.entries() == ["a", "b", "d"]
        put(cache, "a", 3)  # It takes its own place.
        assert cache.get_cached_data("a").equals(frame(3))
        assert cache.pinned() == ["a", "b"]
        assert cache._total_size_bytes() <= limit
        assert len(list((tmp_path / "cache").iterdir())) == 3
        assert cache.check()["clean"]


def test_a_limit_below_the_pinned_evicts_the_others_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        for name in ("a", "b", "c"):
            put(cache, name)
        cache.pin("a")
    with opened(tmp_path, cold_cache_size_mb=0.001) as cache:
        assert cache.evict() == 2
        assert cache.entries() == ["a"]


def test_a_backtest_pins_what_it_is_linked_to_now(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        put(cache, "a", backtest_id="bt")
        put(cache, "b")
        cache.get_cached_data("b", backtest_id="bt")  # A link that is still pending.
        put(cache, "c")
        assert cache.pin(backtest_id="bt") == 2
        cache.get_cached_data("c", backtest_id="bt")
        assert cache.pinned() == ["a", "b"]
        assert cache.pin(backtest_id="bt") == 1
        assert cache.pin(backtest_id="unknown") == 0
        assert cache.unpin(backtest_id="bt") == 3
        assert cache.pinned() == []


def test_who_clears_removes_pinned_entries_and_their_pins(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        for name in ("a", "b", "c", "d"):
            put(cache, name, backtest_id="bt" if name == "b" else None)
            cache.pin(name)
        cache.clear_cache("a")
        cache.clear_cache(backtest_id="bt")
        assert cache.pinned() == ["c", "d"]
        put(cache, "a")
        assert cache.pinned() == ["c", "d"]  # Put anew, it is not pinned.
        next((tmp_path / "cache").glob("c*")).write_bytes(b"rot")
        cache.hot_cache.clear()
        assert cache.get_cached_data("c") is None
        assert cache.pinned() == ["d"]
        cache.clear_cache()
        assert cache.pinned() == []
        assert cache.check()["clean"]


def test_pins_are_in_the_catalog(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        put(cache, "a")
        put(cache, "b")
        cache.pin("a")
    with opened(tmp_path, cold_cache_size_mb=0.1) as cache:
        code = (
            "import sys; from barcache import CacheManager\n"
            "cache = CacheManager(sys.argv[1], sys.argv[2])\n"
            "print(cache.pinned(), cache.pin('b'), cache.unpin('a')); cache.close()"
        )
        place = [str(tmp_path / "metadata.db"), str(tmp_path / "cache")]
        said = subprocess.run(
            [sys.executable, "-c", code, *place], capture_output=True, text=True, check=True
        ).stdout
        assert said == "['a'] 1 1\n"
        assert cache.pinned() == ["b"]
        for number in range(20):
            put(cache, f"key{number}", number)
        assert "b" in cache.entries()
        assert "a" not in cache.entries()
    with opened(tmp_path, read_only=True) as cache:
        assert cache.pinned() == ["b"]


def test_another_program_may_use_and_delete_what_is_pinned(tmp_path: Path) -> None:
    with opened(tmp_path, cold_cache_size_mb=0.1) as cache:
        put(cache, "a")
        put(cache, "b")
        cache.pin("a")
        cache.pin("b")
        other = sqlite3.connect(tmp_path / "metadata.db")
        other.execute("UPDATE cache_entries SET last_accessed = 1, access_count = 9")
        other.commit()
        assert cache.pinned() == ["a", "b"]
        other.execute("DELETE FROM cache_entries WHERE cache_key = 'a'")
        other.commit()
        other.close()
        assert cache.pinned() == ["b"]
        for number in range(20):
            put(cache, f"key{number}", number)
        assert "b" in cache.entries()
        assert not cache.check()["totals_differ"]


@pytest.mark.parametrize("method", ["pin", "unpin"])
def test_what_is_to_be_pinned_is_named(tmp_path: Path, method: str) -> None:
    with opened(tmp_path) as cache:
        call = getattr(cache, method)
        for arguments, named in (((), {}), (("a",), {"backtest_id": "bt"}), (("",), {})):
            with pytest.raises(InvalidArgument, match=method):
                call(*arguments, **named)
        with pytest.raises(InvalidArgument, match="no such entry"):
            cache.pin("unknown")
        assert cache.unpin("unknown") == 0


def test_the_command_line_pins_and_shows_it(tmp_path: Path) -> None:
    with opened(tmp_path) as cache:
        put(cache, "a", backtest_id="bt")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "barcache", *arguments], capture_output=True, text=True
        )

    assert run("pin", str(tmp_path), "--backtest", "bt", "--json").stdout.split() == [
        "{", '"pinned":', "1", "}",
    ]  # fmt: skip
    assert "pinned" in run("ls", str(tmp_path)).stdout
    assert "yes" in run("show", "a", str(tmp_path)).stdout
    assert run("pin", str(tmp_path), "--key", "a", "--max-size", "1kb").returncode == 0
    assert "1 entries unpinned" in run("unpin", str(tmp_path), "--key", "a").stderr
    too_small = run("pin", str(tmp_path), "--key", "a", "--max-size", "1kb")
    assert too_small.returncode == 1
    assert "limit" in too_small.stderr
    assert run("pin", str(tmp_path)).returncode == 2
