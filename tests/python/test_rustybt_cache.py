"""A cache directory made by RustyBT 0.3.3 opens and serves; one made by barcache does in RustyBT.

data/rustybt-0.3.3-cache was written by RustyBT's own code: two entries of bars, decimals, an
empty frame and one of odd types, links, a dataset and one day of statistics.
"""

import shutil
import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from barcache import CacheManager
from polars.testing import assert_frame_equal
from rustybt_emulation import RealRustyBT, RustyBTEmulation

KEPT = Path(__file__).parent / "data" / "rustybt-0.3.3-cache"
KEYS = ["4ff5fe09fae53c37", "8a3c9ff46519d39e", "decimals", "empty", "types"]

both = pytest.mark.parametrize(
    "other",
    [
        pytest.param(RustyBTEmulation, id="emulation"),
        pytest.param(RealRustyBT, id="real", marks=pytest.mark.rustybt),
    ],
)


@pytest.fixture
def folder(tmp_path):
    """A copy of the kept directory."""
    shutil.copytree(KEPT, tmp_path / "kept")
    return tmp_path / "kept"


def open_cache(folder, **options):
    return CacheManager(str(folder / "metadata.db"), str(folder / "cache"), **options)


def bars(rows, base):
    """As the kept entries were made."""
    start = datetime(2023, 1, 1)
    return pl.DataFrame(
        {
            "timestamp": [start + timedelta(days=day) for day in range(rows)],
            "symbol": ["AAPL"] * rows,
            "open": [base + i * 0.01 for i in range(rows)],
            "high": [base + 1 + i * 0.01 for i in range(rows)],
            "low": [base - 1 + i * 0.01 for i in range(rows)],
            "close": [base + 0.5 + i * 0.01 for i in range(rows)],
            "volume": [1000000 + i for i in range(rows)],
        }
    )


def odd_types():
    """Frames whose types a foreign reader might bend."""
    moment = datetime(2023, 1, 2, 3, 4, 5, 678901)
    return pl.DataFrame(
        {
            "decimal": pl.Series([Decimal("1.12345678"), None], dtype=pl.Decimal(18, 8)),
            "zone": pl.Series([moment, None]).dt.replace_time_zone("America/New_York"),
            "text": ["é", None],
            "list": [[1, None], []],
            "nan": [float("nan"), -0.0],
            "span": [timedelta(seconds=1), None],
            "nothing": [None, None],
            "pair": pl.Series([[1.0, 2.0], None], dtype=pl.Array(pl.Float32, 2)),
            "kind": pl.Series(["b", None], dtype=pl.Enum(["a", "b"])),
        }
    )


def test_every_entry_of_rustybt_is_served(folder):
    with open_cache(folder) as cache:
        assert cache.entries() == KEYS
        assert_frame_equal(cache.get_cached_data(KEYS[0]), bars(252, 100.0))
        assert_frame_equal(cache.get_cached_data(KEYS[1]), bars(31, 50.0))
        for key in KEYS:
            expected = pl.read_parquet(KEPT / "cache" / f"{key}.parquet")
            for _ in range(2):  # Cold, then hot.
                got = cache.get_cached_data(key)
                assert got.schema == expected.schema
                assert_frame_equal(got, expected)
        assert cache.session_stats["cold_hits"] == 5
        assert cache.check()["clean"]


def test_keys_links_statistics_and_datasets_carry_over(folder):
    with open_cache(folder) as cache:
        key = cache.generate_cache_key(["AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance")
        assert key == KEYS[0]
        entry = cache.lookup_cache(key)
        assert entry["access_count"] == 4
        assert entry["parquet_path"] == f"{key}.parquet"
        assert cache.backtests(key) == ["bt-001", "bt-002"]
        assert sorted(cache.entries("bt-002")) == KEYS[:2]
        statistics = cache.get_cache_statistics()
        assert (statistics["hit_count"], statistics["miss_count"]) == (3, 1)
        assert statistics["entry_count"] == 5
        sizes = [(KEPT / "cache" / f"{key}.parquet").stat().st_size for key in KEYS]
        assert statistics["total_size_mb"] == sum(sizes) / 1024 / 1024
        catalog = cache.metadata_catalog
        assert catalog.get_dataset_info(1)["source"] == "yfinance"
        assert catalog.get_date_range(1)["start_date"] == date(2023, 1, 1)
        assert catalog.get_date_range(1)["end_date"] == date(2023, 12, 31)
        assert [row["symbol"] for row in catalog.get_all_symbols()] == ["AAPL"]
        assert catalog.verify_checksum("year=2023/month=01/data.parquet", "ab" * 32)


def test_a_put_replaces_an_entry_of_rustybt(folder):
    with open_cache(folder) as cache:
        created = cache.lookup_cache(KEYS[0])["created_at"]
        cache.put_cached_data(KEYS[0], bars(3, 7.0), 1, "bt-009")
        assert_frame_equal(cache.get_cached_data(KEYS[0]), bars(3, 7.0))
        assert cache.lookup_cache(KEYS[0])["created_at"] == created
        assert cache.backtests(KEYS[0]) == ["bt-001", "bt-002", "bt-009"]
        assert not (folder / "cache" / f"{KEYS[0]}.parquet").exists()
    with open_cache(folder) as cache:
        assert_frame_equal(cache.get_cached_data(KEYS[0]), bars(3, 7.0))


def test_entries_of_rustybt_can_be_cleared_and_evicted(folder):
    with open_cache(folder) as cache:
        cache.clear_cache(backtest_id="bt-002")
        assert cache.entries() == KEYS[2:]
        cache.cold_cache_size_mb = 0
        cache._check_cold_cache_eviction()
        assert cache.entries() == []
        assert list((folder / "cache").iterdir()) == []


def test_a_damaged_file_of_rustybt_is_a_miss(folder):
    path = folder / "cache" / f"{KEYS[0]}.parquet"
    content = bytearray(path.read_bytes())
    content[1234] ^= 8
    path.write_bytes(content)
    # A file of another entry, intact, in place of this one's: the checksum tells.
    shutil.copy(folder / "cache" / "types.parquet", folder / "cache" / "empty.parquet")
    with open_cache(folder) as cache:
        assert cache.get_cached_data(KEYS[0]) is None
        assert cache.get_cached_data("empty") is None
        assert cache.entries() == [KEYS[1], "decimals", "types"]


def test_opening_read_only_changes_nothing_of_rustybts_files(folder):
    before = {p: p.read_bytes() for p in (folder / "cache").iterdir()}
    with open_cache(folder):
        pass
    with open_cache(folder, read_only=True) as cache:
        assert_frame_equal(cache.get_cached_data(KEYS[0]), bars(252, 100.0))
    assert {p: p.read_bytes() for p in (folder / "cache").iterdir()} == before


@both
def test_a_directory_made_by_barcache_opens_in_rustybt(tmp_path, other):
    with open_cache(tmp_path) as cache:
        for key, frame in {"bars": bars(252, 100.0), "odd": odd_types()}.items():
            cache.put_cached_data(key, frame, 1, f"bt-{key}")
        cache.put_cached_data("long", bars(20_000, 1.0), 1)
        cache.put_cached_data("no/file name", bars(5, 2.0), 1)
        cache.put_cached_data("zero", bars(5, 1.0).clear(), 1)
    rustybt = other(str(tmp_path / "metadata.db"), str(tmp_path / "cache"))
    assert_frame_equal(rustybt.get("bars"), bars(252, 100.0))
    assert_frame_equal(rustybt.get("odd"), odd_types())
    assert_frame_equal(rustybt.get("long"), bars(20_000, 1.0))
    assert_frame_equal(rustybt.get("no/file name"), bars(5, 2.0))
    assert_frame_equal(rustybt.get("zero"), bars(5, 1.0).clear())
    rustybt.clear_backtest("bt-odd")
    assert rustybt.get("odd") is None
    rustybt.put("odd", bars(4, 4.0), 1)  # Its key is free again.
    rustybt.close()
    with open_cache(tmp_path) as cache:
        assert cache.lookup_cache("bars")["access_count"] == 2
        assert_frame_equal(cache.get_cached_data("odd"), bars(4, 4.0))
        assert cache.backtests("odd") == []
        assert cache.check()["clean"]


@both
def test_statistics_of_both_add_up_in_one_row(tmp_path, other):
    if other is RustyBTEmulation:
        day = int(datetime.now(UTC).timestamp()) // 86400 * 86400
        with open_cache(tmp_path):
            pass
        connection = sqlite3.connect(tmp_path / "metadata.db")
        connection.execute("INSERT INTO cache_statistics VALUES (NULL, ?, 5, 2, 1.5)", (day,))
        connection.commit()
        connection.close()
    else:
        rustybt = other(str(tmp_path / "metadata.db"), str(tmp_path / "cache"))
        rustybt.manager.session_stats.update(hit_count=5, miss_count=2)
        rustybt.manager.record_daily_statistics()
        rustybt.close()
    with open_cache(tmp_path) as cache:
        cache.get_cached_data("absent")
        statistics = cache.get_cache_statistics()
        assert (statistics["hit_count"], statistics["miss_count"]) == (5, 3)
    with open_cache(tmp_path) as cache:
        statistics = cache.get_cache_statistics()
        assert (statistics["hit_count"], statistics["miss_count"]) == (5, 3)
