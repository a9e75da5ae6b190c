"""ParquetMetadataCatalog: alone, and as `cache.metadata_catalog`, over both drivers."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import warnings
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from barcache import CacheManager
from barcache.errors import NotACatalog
from barcache.metadata_catalog import ParquetMetadataCatalog, calculate_file_checksum
from sqlalchemy.orm import Session

RUSTYBT_CACHE = Path(__file__).parent / "data" / "rustybt-0.3.3-cache"


@pytest.fixture(params=[False, True], ids=["stdlib", "own"])
def own_driver(request):
    return request.param


@pytest.fixture
def catalog(tmp_path, own_driver):
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        catalog = ParquetMetadataCatalog(tmp_path / "metadata.db", own_driver=own_driver)
    yield catalog
    catalog.close()


@pytest.fixture
def cache(tmp_path, own_driver):
    cache = CacheManager(str(tmp_path / "metadata.db"), str(tmp_path / "cache"))
    cache.metadata_catalog = ParquetMetadataCatalog(
        cache.db_path, core=cache, own_driver=own_driver
    )
    yield cache
    cache.close()


def frame(value):
    return pl.DataFrame({"close": [value, value + 1.0]})


def shape_of(engine):
    """What a reader of RustyBT's schema can rely on."""
    inspector = sa.inspect(engine)
    return {
        table: {
            "columns": [
                (c["name"], str(c["type"]), c["nullable"], c["default"], c["primary_key"])
                for c in inspector.get_columns(table)
            ],
            "foreign": sorted(
                (tuple(k["constrained_columns"]), k["referred_table"])
                for k in inspector.get_foreign_keys(table)
            ),
            "indexes": sorted(
                (i["name"], tuple(i["column_names"]), i["unique"])
                for i in inspector.get_indexes(table)
                if not i["name"].startswith("barcache_")
            ),
            "unique": sorted(
                (u["name"], tuple(u["column_names"]))
                for u in inspector.get_unique_constraints(table)
            ),
        }
        for table in inspector.get_table_names()
        if not table.startswith("barcache_")
    }


def rustybt_shape():
    engine = sa.create_engine(f"sqlite:///{RUSTYBT_CACHE}/metadata.db")
    shape = shape_of(engine)
    engine.dispose()
    return shape


def test_tables_are_those_that_rustybt_makes(catalog):
    assert shape_of(catalog.engine) == rustybt_shape()


def test_the_core_makes_the_same_tables(cache):
    assert shape_of(cache.metadata_catalog.engine) == rustybt_shape()


def test_attributes(catalog, tmp_path):
    assert catalog.db_path == tmp_path / "metadata.db"
    assert isinstance(catalog.metadata_obj, sa.MetaData)
    assert isinstance(catalog.engine, sa.Engine)
    assert catalog.engine.url.database == str(tmp_path / "metadata.db")
    for name in (
        "datasets",
        "symbols",
        "date_ranges",
        "checksums",
        "cache_entries",
        "backtest_cache_links",
        "cache_statistics",
    ):
        assert getattr(catalog, name) is catalog.metadata_obj.tables[name]
    with pytest.raises(AttributeError, match="nonsense"):
        _ = catalog.nonsense


def test_constructor_warns_only_stand_alone(tmp_path):
    with pytest.warns(DeprecationWarning, match="BundleMetadata"):
        ParquetMetadataCatalog(str(tmp_path / "alone.db"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with CacheManager(str(tmp_path / "m.db"), str(tmp_path / "c")) as cache:
            assert cache.metadata_catalog.count_symbols() == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_new_files_are_private(tmp_path):
    previous = os.umask(0)
    try:
        ParquetMetadataCatalog(tmp_path / "a" / "b" / "metadata.db").close()
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b" / "metadata.db").stat().st_mode) == 0o600


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_not_a_database(tmp_path):
    (tmp_path / "text.db").write_text("this is no database, but long enough to look at\n" * 100)
    with pytest.raises(NotACatalog, match=r"text\.db"):
        ParquetMetadataCatalog(tmp_path / "text.db")


def test_datasets_and_symbols(catalog):
    first = catalog.create_dataset("yfinance", "1d")
    second = catalog.create_dataset("ccxt:binance", "1h", schema_version=2)
    assert (first, second) == (1, 2)
    info = catalog.get_dataset_info(second)
    assert info["source"] == "ccxt:binance"
    assert info["resolution"] == "1h"
    assert info["schema_version"] == 2
    assert info["created_at"] == info["updated_at"] > 1_700_000_000
    assert catalog.get_dataset_info(99) is None
    catalog.add_symbol(first, "AAPL", "equity", "NASDAQ")
    symbol_id = catalog.add_symbol(second, "BTC/USDT")
    assert catalog.get_symbols(second) == [
        {
            "symbol_id": symbol_id,
            "dataset_id": second,
            "symbol": "BTC/USDT",
            "asset_type": None,
            "exchange": None,
        }
    ]
    assert [row["symbol"] for row in catalog.get_all_symbols()] == ["AAPL", "BTC/USDT"]
    assert catalog.get_symbols(99) == []
    assert catalog.count_symbols() == 2


def test_date_range_accepts_dates_and_text(catalog):
    assert catalog.get_date_range(1) is None
    catalog.update_date_range(1, date(2023, 2, 1), "2023-03-01")
    assert catalog.get_date_range(1) == {
        "dataset_id": 1,
        "start_date": date(2023, 2, 1),
        "end_date": date(2023, 3, 1),
    }
    with pytest.raises(ValueError, match="after end_date"):
        catalog.update_date_range(1, "2023-03-02", "2023-03-01")
    with pytest.raises(ValueError, match="nonsense"):
        catalog.update_date_range(1, "nonsense", "2023-03-01")


@pytest.mark.parametrize("hours", [-11, -5, 0, 5.5, 12])
def test_a_range_stored_as_local_midnights_reads_as_the_days_meant(catalog, hours):
    midnight = 1672531200 - int(hours * 3600)  # 2023-01-01 00:00 in a zone `hours` ahead.
    with catalog.engine.begin() as connection:
        connection.execute(
            catalog.date_ranges.insert().values(
                dataset_id=7, start_date=midnight, end_date=midnight + 365 * 86400 - 1
            )
        )
    found = catalog.get_date_range(7)
    assert (found["start_date"], found["end_date"]) == (date(2023, 1, 1), date(2023, 12, 31))


def test_checksums(catalog):
    first = catalog.add_checksum(1, "a.parquet", "aa")
    assert catalog.add_checksum(1, "a.parquet", "bb") == first
    assert catalog.verify_checksum("a.parquet", "bb") is True
    assert catalog.verify_checksum("a.parquet", "aa") is False
    assert catalog.verify_checksum("absent.parquet", "aa") is False


def test_parquet_files_by_partition(catalog):
    paths = [
        "AAPL/year=2022/month=12/data.parquet",
        "AAPL/year=2023/month=01/data.parquet",
        "AAPL/year=2023/month=02/day=28/data.parquet",
        "AAPL/year=2024/data.parquet",
        "AAPL/date=2023-06-05/data.parquet",
        "whole.parquet",
    ]
    for path in paths:
        catalog.add_checksum(1, path, "x")
    find = catalog.find_parquet_files
    assert find(1) == paths
    assert find(2) == []
    assert find(1, date(2023, 1, 15), date(2023, 1, 20)) == [paths[1], paths[5]]
    assert find(1, "2023-02-28", "2023-02-28") == [paths[2], paths[5]]
    assert find(1, "2023-03-01") == [paths[3], paths[4], paths[5]]
    assert find(1, None, "2022-12-01") == [paths[0], paths[5]]
    catalog.update_date_range(1, "2022-12-01", "2023-05-31")
    assert find(1, "2024-01-01") == [paths[3]]


def test_calculate_file_checksum(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert calculate_file_checksum(path) == calculate_file_checksum(str(path)) == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_memory_catalog_lives_with_its_object(own_driver):
    catalog = ParquetMetadataCatalog(":memory:", own_driver=own_driver)
    other = ParquetMetadataCatalog(":memory:", own_driver=own_driver)
    dataset_id = catalog.create_dataset("csv", "1d")
    catalog.close()  # Idle connections go; the database stays.
    assert catalog.get_dataset_info(dataset_id)["source"] == "csv"
    assert other.get_dataset_info(dataset_id) is None


def test_sqlalchemy_is_imported_on_first_use_and_missing_it_says_what_to_install(tmp_path):
    code = f"""
import sys
sys.modules["sqlalchemy"] = None  # Any import of it fails.
import polars as pl
from barcache import CacheManager
with CacheManager({str(tmp_path / "m.db")!r}, {str(tmp_path / "c")!r}) as cache:
    cache.put_cached_data("k", pl.DataFrame({{"a": [1]}}), 1, "bt")
    assert cache.get_cached_data("k").shape == (1, 1)
    catalog = cache.metadata_catalog
    for use in (lambda: catalog.engine, lambda: catalog.datasets, catalog.get_cache_entries):
        try:
            use()
        except ImportError as error:
            assert 'pip install "barcache[sqlalchemy]"' in str(error), error
        else:
            raise AssertionError("no ImportError")
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "done\n", done.stderr


# --- beside a cache ------------------------------------------------------------------------


def test_the_guides_linkage_query(cache):
    cache.put_cached_data("key1", frame(1.0), dataset_id=1, backtest_id="backtest-001")
    with Session(cache.metadata_catalog.engine) as session:
        links = cache.metadata_catalog.backtest_cache_links
        rows = session.execute(sa.select(links).where(links.c.cache_key == "key1")).fetchall()
    assert [(row.backtest_id, row.cache_key) for row in rows] == [("backtest-001", "key1")]
    assert rows[0].linked_at > 1_700_000_000


def test_links_of_hits_are_visible_to_an_engine_taken_before(cache):
    engine, links = cache.metadata_catalog.engine, cache.metadata_catalog.backtest_cache_links
    cache.put_cached_data("key1", frame(1.0), dataset_id=1)
    cache.get_cached_data("key1", backtest_id="later")
    with engine.connect() as connection:
        assert connection.scalars(sa.select(links.c.backtest_id)).all() == ["later"]


def test_uses_are_visible_to_the_engine(cache):
    cache.put_cached_data("key1", frame(1.0), dataset_id=1)
    for _ in range(5):
        cache.get_cached_data("key1")
    [row] = cache.metadata_catalog.get_cache_entries()
    assert row == cache.lookup_cache("key1")
    assert row["access_count"] == 6


def test_what_the_engine_commits_is_served_at_once(cache):
    entries = cache.metadata_catalog.cache_entries
    cache.put_cached_data("key1", frame(1.0), dataset_id=1)
    cache.put_cached_data("key2", frame(2.0), dataset_id=1)
    assert cache.get_cached_data("key1").equals(frame(1.0))  # Hot.
    for _ in range(20):
        with cache.metadata_catalog.engine.begin() as connection:
            connection.execute(entries.delete().where(entries.c.cache_key == "key1"))
        assert cache.lookup_cache("key1") is None
        assert cache.get_cached_data("key1") is None
        assert cache.get_cached_data("key2").equals(frame(2.0))
        cache.put_cached_data("key1", frame(1.0), dataset_id=1)
        assert cache.get_cached_data("key1").equals(frame(1.0))


READER = """
import sys
from barcache import CacheManager
with CacheManager(sys.argv[1] + "/metadata.db", sys.argv[1] + "/cache") as cache:
    for key in sys.stdin:
        found = cache.get_cached_data(key.strip())
        print("miss" if found is None else found["close"][0], flush=True)
"""


def test_what_the_engine_commits_is_seen_by_other_processes_at_once(cache, tmp_path):
    entries = cache.metadata_catalog.cache_entries
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )

    def ask(key):
        reader.stdin.write(key + "\n")
        return reader.stdout.readline().strip()

    try:
        for turn in range(10):
            cache.put_cached_data("key1", frame(float(turn)), dataset_id=1)
            cache.put_cached_data("key2", frame(77.0), dataset_id=1)
            assert ask("key1") == ask("key1") == str(float(turn))  # Cold, then hot.
            with cache.metadata_catalog.engine.begin() as connection:
                connection.execute(entries.delete().where(entries.c.cache_key == "key1"))
            assert ask("key1") == "miss"
            assert ask("key2") == "77.0"
    finally:
        reader.communicate(timeout=30)
    assert reader.returncode == 0


def test_totals_follow_what_the_engine_writes(cache):
    entries = cache.metadata_catalog.cache_entries
    for number in range(4):
        cache.put_cached_data(f"key{number}", frame(float(number)), dataset_id=1)
    with cache.metadata_catalog.engine.begin() as connection:
        connection.execute(entries.delete().where(entries.c.cache_key.in_(["key1", "key2"])))
        connection.execute(entries.update().values(size_bytes=1000, access_count=7))
    statistics = cache.get_cache_statistics()
    assert statistics["entry_count"] == len(cache) == 2
    assert statistics["total_size_mb"] == 2000 / 1024 / 1024
    assert statistics["avg_access_count"] == 7


def test_a_session_that_writes_does_not_block_the_catalog(cache):
    """Pending links must not make the core wait for a transaction of the same thread."""
    cache.put_cached_data("key1", frame(1.0), dataset_id=1)
    with Session(cache.metadata_catalog.engine) as session:
        session.execute(
            cache.metadata_catalog.datasets.insert().values(
                source="csv", resolution="1d", schema_version=1, created_at=1, updated_at=1
            )
        )
        cache.get_cached_data("key1", backtest_id="bt")
        with cache.metadata_catalog.engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM cache_entries")) == 1
        session.commit()
    assert cache.backtests("key1") == ["bt"]


def test_a_query_answers_although_pending_links_cannot_be_written(tmp_path, events):
    options = {"busy_timeout_s": 0.05}
    with CacheManager(str(tmp_path / "m.db"), str(tmp_path / "c"), **options) as cache:
        cache.put_cached_data("key1", frame(1.0), dataset_id=1)
        other = sqlite3.connect(cache.db_path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        cache.get_cached_data("key1", backtest_id="bt")
        assert len(cache.metadata_catalog.get_cache_entries()) == 1
        assert events.named("pending_uses_not_written")
        other.execute("ROLLBACK")
        other.close()
        with cache.metadata_catalog.engine.connect() as connection:
            links = sa.text("SELECT backtest_id FROM backtest_cache_links")
            assert connection.scalars(links).all() == ["bt"]


def test_memory_cache_shares_its_database_with_the_engine(tmp_path, own_driver):
    with CacheManager(":memory:", str(tmp_path / "cache")) as cache:
        cache.metadata_catalog = ParquetMetadataCatalog(
            ":memory:", core=cache, own_driver=own_driver
        )
        cache.put_cached_data("key1", frame(1.0), dataset_id=1, backtest_id="bt")
        [row] = cache.metadata_catalog.get_cache_entries()
        assert row["cache_key"] == "key1"
        dataset_id = cache.metadata_catalog.create_dataset("csv", "1d")
        assert cache.metadata_catalog.get_dataset_info(dataset_id)["source"] == "csv"
        with cache.metadata_catalog.engine.begin() as connection:
            connection.execute(cache.metadata_catalog.cache_entries.delete())
        assert cache.get_cached_data("key1") is None
    with CacheManager(":memory:", str(tmp_path / "cache")) as another:
        assert another.metadata_catalog.get_cache_entries() == []


def test_engine_writes_beside_puts_of_other_threads(cache):
    errors = []

    def put(thread):
        try:
            for i in range(15):
                cache.put_cached_data(f"k{thread}-{i}", frame(float(i)), 1, f"bt{thread}")
        except Exception as error:
            errors.append(error)

    def write():
        try:
            for i in range(15):
                cache.metadata_catalog.create_dataset(f"s{i}", "1d")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=put, args=(n,)) for n in range(2)]
    threads += [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(cache) == 30
    assert len(cache.metadata_catalog.get_cache_entries()) == 30


def test_read_only_cache_has_a_read_only_engine(tmp_path, own_driver):
    with CacheManager(str(tmp_path / "m.db"), str(tmp_path / "c")) as cache:
        cache.put_cached_data("key1", frame(1.0), dataset_id=1)
    with CacheManager(str(tmp_path / "m.db"), str(tmp_path / "c"), read_only=True) as cache:
        catalog = ParquetMetadataCatalog(cache.db_path, core=cache, own_driver=own_driver)
        assert len(catalog.get_cache_entries()) == 1
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            catalog.create_dataset("csv", "1d")
        catalog.close()


def test_fork_with_a_memory_catalog_gives_the_child_a_copy(tmp_path, own_driver):
    with CacheManager(":memory:", str(tmp_path / "cache")) as cache:
        catalog = ParquetMetadataCatalog(":memory:", core=cache, own_driver=own_driver)
        catalog.create_dataset("before", "1d")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                catalog.create_dataset("child", "1d")
                status = 0 if catalog.get_dataset_info(2)["source"] == "child" else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert catalog.get_dataset_info(1)["source"] == "before"
        assert catalog.get_dataset_info(2) is None


def test_an_engine_outlives_its_cache(cache):
    catalog = cache.metadata_catalog
    cache.put_cached_data("key1", frame(1.0), dataset_id=1)
    cache.close()
    assert [row["cache_key"] for row in catalog.get_cache_entries()] == ["key1"]
    assert catalog.create_dataset("after", "1d") == 1


def test_fork_with_an_open_session_loses_nothing(cache):
    """Every connection is closed before a fork, and both sides write afterwards."""
    cache.metadata_catalog.create_dataset("before", "1d")
    connection = cache.metadata_catalog.engine.connect()
    assert connection.scalar(sa.text("SELECT count(*) FROM datasets")) == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            cache.metadata_catalog.create_dataset("child", "1d")
            cache.put_cached_data("from-child", frame(1.0), dataset_id=1)
            cache.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(sa.exc.ProgrammingError, match="closed"):
        connection.scalar(sa.text("SELECT 1"))
    connection.close()
    cache.metadata_catalog.create_dataset("parent", "1d")
    with cache.metadata_catalog.engine.connect() as fresh:
        sources = fresh.scalars(sa.text("SELECT source FROM datasets ORDER BY dataset_id")).all()
    assert sources == ["before", "child", "parent"]
    assert cache.get_cached_data("from-child").equals(frame(1.0))
    other = sqlite3.connect(f"file:{cache.db_path}?mode=ro", uri=True)
    assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    other.close()
