"""The files of the cold tier are plain Snappy Parquet: polars, pyarrow and DuckDB read them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal


def bars(rows):
    """Market data: prices rounded to cents, one symbol missing, one null and NaN a column."""
    start = datetime(2023, 1, 3, 9, 30, tzinfo=UTC)
    index = range(rows)
    return pl.DataFrame(
        {
            "timestamp": pl.Series(
                [start + timedelta(minutes=i) for i in index], dtype=pl.Datetime("us", "UTC")
            ),
            "symbol": [None if i % 97 == 5 else ("AAPL", "MSFT", "GOOG")[i % 3] for i in index],
            "open": [round(100 + (i * 7919 % 1000) / 100, 2) for i in index],
            "close": [
                None if i % 50 == 3 else round(100 + (i * 104729 % 977) / 100, 2) for i in index
            ],
            "volume": [i * 31 % 100_003 for i in index],
            "trades": pl.Series([i % 300 for i in index], dtype=pl.Int32),
            "final": [i % 2 == 0 for i in index],
            "day": [date(2023, 1, 3) + timedelta(days=i // 390) for i in index],
        }
    )


def nested():
    return pl.DataFrame(
        {
            "tags": [["a", "b"], [], None, ["c", None]],
            "quote": [{"bid": 1.5, "size": [1, 2]}, None, {"bid": None, "size": []}, None],
            "price": pl.Series(
                [Decimal("1.25"), None, Decimal("-3.50"), Decimal("0.01")], dtype=pl.Decimal(18, 8)
            ),
            "raw": [b"\x00\xff", b"", None, b"x"],
            "long text": ["x" * 1000, "", None, "é☃"],
        }
    )


FRAMES = {
    "no rows": bars(10).clear(),
    "one row": bars(1),
    "small": bars(252),
    "large": bars(30_000),
    "nested": nested(),
    "only nulls": pl.DataFrame({"a": [None, None], "b": pl.Series([None, None], dtype=pl.Float64)}),
}


@pytest.fixture(params=FRAMES)
def stored(request, cache):
    """A frame and the path of its file."""
    frame = FRAMES[request.param]
    cache.put_cached_data("key1", frame, dataset_id=1)
    return frame, cache.cache_directory / cache.lookup_cache("key1")["parquet_path"]


def test_polars_reads_it(stored):
    frame, path = stored

    assert_frame_equal(pl.read_parquet(path), frame)
    assert_frame_equal(pl.scan_parquet(path).collect(), frame)


def test_polars_filters_it_by_its_statistics(cache):
    frame = FRAMES["large"]
    cache.put_cached_data("key1", frame, dataset_id=1)
    path = cache.cache_directory / cache.lookup_cache("key1")["parquet_path"]
    wanted = (pl.col("volume") > 50_000) & (pl.col("symbol") == "MSFT")

    assert_frame_equal(pl.scan_parquet(path).filter(wanted).collect(), frame.filter(wanted))


def test_pyarrow_reads_it_and_finds_snappy(stored):
    frame, path = stored
    table = pq.read_table(path)
    table.validate(full=True)

    assert table.num_rows == frame.height
    assert_frame_equal(pl.from_arrow(table), frame)
    file = pq.ParquetFile(path)
    for group in range(file.metadata.num_row_groups):
        for column in range(file.metadata.num_columns):
            chunk = file.metadata.row_group(group).column(column)
            assert chunk.compression == "SNAPPY"
    assert b"barcache" in file.metadata.metadata


def test_duckdb_reads_it(stored):
    frame, path = stored
    with duckdb.connect() as connection:
        wanted = "*"
        if "timestamp" in frame.columns:
            # A moment with a zone would need pytz on its way into Python.
            wanted = "* REPLACE (timestamp AT TIME ZONE 'UTC' AS timestamp)"
            frame = frame.with_columns(pl.col("timestamp").dt.replace_time_zone(None))
        result = connection.execute(f"SELECT {wanted} FROM read_parquet(?)", [str(path)])
        names = [column[0] for column in result.description]
        rows = result.fetchall()

    assert names == frame.columns
    if frame.height > 1000:
        step = 997
        assert rows[::step] == frame.gather_every(step).rows()
        assert len(rows) == frame.height
    else:
        assert rows == frame.rows()


def test_duckdb_counts_with_its_statistics(cache):
    frame = FRAMES["large"]
    cache.put_cached_data("key1", frame, dataset_id=1)
    path = cache.cache_directory / cache.lookup_cache("key1")["parquet_path"]
    with duckdb.connect() as connection:
        counted = connection.execute(
            "SELECT count(*), count(close), min(volume), max(volume), sum(volume) "
            "FROM read_parquet(?) WHERE trades BETWEEN 10 AND 20",
            [str(path)],
        ).fetchone()
    part = frame.filter(pl.col("trades").is_between(10, 20))

    assert counted == (
        part.height,
        part["close"].count(),
        part["volume"].min(),
        part["volume"].max(),
        part["volume"].sum(),
    )


def test_a_whole_directory_is_one_table(cache):
    for number in range(3):
        cache.put_cached_data(f"key{number}", bars(252), dataset_id=1)
    with duckdb.connect() as connection:
        glob = str(cache.cache_directory / "*.parquet")
        [count] = connection.execute("SELECT count(*) FROM read_parquet(?)", [glob]).fetchone()

    assert count == 3 * 252
    assert pl.scan_parquet(cache.cache_directory / "*.parquet").collect().height == 3 * 252
