"""What every source promises, asked of each that is shipped and of a function, on the same bars."""

import sqlite3
import sys
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import polars as pl
import pyarrow.dataset
import pytest
from barcache.sources import (
    CCXTSource,
    CSVSource,
    DuckDBSource,
    ParquetSource,
    SQLSource,
    YFinanceSource,
    as_source,
    bar_columns,
    check_bars,
    with_retry,
)
from barcache.sources.ranges import within
from polars.testing import assert_frame_equal
from vendor_fakes import Exchange, Yahoo, daily_bars, minute_bars

QUERY = (
    "SELECT * FROM bars WHERE symbol IN (:symbols) AND timestamp BETWEEN :start AND :end "
    "AND :resolution = :resolution"
)


def csv(folder, bars):
    bars.sort("close").write_csv(folder / "bars.csv")
    return CSVSource(folder / "bars.csv")


def csv_per_symbol(folder, bars):
    for symbol in bars["symbol"].unique():
        of_symbol = bars.filter(pl.col("symbol") == symbol).drop("symbol")
        of_symbol.sort("timestamp", descending=True).write_csv(
            folder / f"{symbol}.csv", separator=";"
        )
    return CSVSource(folder)


def parquet(folder, bars):
    bars.write_parquet(folder / "bars.parquet", row_group_size=7)
    return ParquetSource(folder / "bars.parquet")


def partitions(folder, bars):
    bars.write_parquet(pl.PartitionBy(folder, key=["symbol"], include_key=False), mkdir=True)
    return ParquetSource(folder)


def arrow(folder, bars):
    for symbol in bars["symbol"].unique():
        bars.filter(pl.col("symbol") == symbol).drop("symbol").write_ipc(folder / f"{symbol}.arrow")
    return ParquetSource(str(folder / "*.arrow"))


def dataset(folder, bars):
    bars.write_parquet(folder / "bars.parquet")
    return ParquetSource(pyarrow.dataset.dataset(folder / "bars.parquet"), name="set")


def lazy_frame(_, bars):
    return ParquetSource(bars.sort("close").lazy(), name="lazy")


def sqlite(folder, bars):
    text = pl.col("timestamp").dt.to_string("iso")
    if bars["timestamp"].dtype == pl.Datetime:
        text = pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S")
    path = folder / "bars.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bars (timestamp, symbol, open, high, low, close, volume)")
        rows = bars.sort("close").with_columns(text).rows()
        db.executemany("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    db.close()
    return SQLSource(lambda: sqlite3.connect(path), QUERY, name="sqlite", argument_type="str")


def sqlalchemy(folder, bars):
    import sqlalchemy

    sqlite(folder, bars)
    engine = sqlalchemy.create_engine(f"sqlite:///{folder / 'bars.db'}")
    return SQLSource(engine, QUERY, name="engine", argument_type="str")


def duckdb(folder, bars):
    import duckdb

    if bars["timestamp"].dtype == pl.Datetime:
        bars = bars.with_columns(pl.col("timestamp").dt.replace_time_zone(None))
    with duckdb.connect(str(folder / "bars.duckdb")) as db:
        db.register("given", bars.sort("close").to_arrow())
        db.execute("CREATE TABLE bars AS SELECT * FROM given")
    return DuckDBSource(folder / "bars.duckdb", QUERY, name="duck")


def duckdb_over_parquet(folder, bars):
    if bars["timestamp"].dtype == pl.Datetime:
        bars = bars.with_columns(pl.col("timestamp").dt.replace_time_zone(None))
    bars.write_parquet(folder / "bars.parquet")
    query = QUERY.replace("FROM bars", f"FROM read_parquet('{folder}/*.parquet')")
    return DuckDBSource(None, query, name="duck")


def yfinance(_, bars):
    fake = Yahoo(bars.with_columns(pl.col("open", "high", "low", "close") * 2))
    sys.modules["yfinance"] = fake  # Put back by the fixture.
    return YFinanceSource(clock=lambda: datetime(2023, 1, 31, tzinfo=UTC).timestamp())


def ccxt(_, bars):
    return CCXTSource(Exchange(bars))


def function(_, bars):
    def fetch(symbols, start, end, _):
        inside = within("timestamp", bars.schema["timestamp"], start, end)
        return bars.filter(inside & pl.col("symbol").is_in(symbols)).sort("symbol", "timestamp")

    return fetch


def retried(folder, bars):
    return with_retry(function(folder, bars), name="retried")


def async_function(folder, bars):
    sync = function(folder, bars)

    async def fetch(symbols, start, end, resolution):
        return sync(symbols, start, end, resolution)

    return fetch


MAKERS = [
    csv, csv_per_symbol, parquet, partitions, arrow, dataset, lazy_frame, sqlite, sqlalchemy,
    duckdb, duckdb_over_parquet, yfinance, ccxt, function, retried, async_function,
]  # fmt: skip


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def make(request, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", None)

    def make(bars):
        return as_source(request.param(tmp_path, bars))

    return make


def plain(frame):
    """The answer in the columns and types of this test's bars."""
    columns = bar_columns(frame)
    assert columns is not None, frame.schema
    frame = frame.rename({columns.time: "timestamp", columns.symbol: "symbol"})
    times = pl.col("timestamp")
    if frame["timestamp"].dtype == pl.Date:
        times = times.cast(pl.Datetime("us"))
    frame = frame.with_columns(times.dt.replace_time_zone(None).dt.cast_time_unit("us"))
    names = ["timestamp", "symbol", "open", "high", "low", "close", "volume"]
    return frame.select(names).with_columns(pl.col("symbol").cast(pl.String))


def expected(bars, symbols, first, last):
    times = pl.col("timestamp").cast(pl.Datetime("us"))
    inside = times.is_between(first, last) & pl.col("symbol").is_in(symbols)
    return plain(bars.filter(inside).sort("symbol", "timestamp"))


ENDS = [
    ("2023-01-04", "2023-01-10"),
    (date(2023, 1, 4), date(2023, 1, 10)),
    (datetime(2023, 1, 4), datetime(2023, 1, 10)),
    (pd.Timestamp("2023-01-04"), pd.Timestamp("2023-01-10")),
    (datetime(2023, 1, 4, tzinfo=UTC), datetime(2023, 1, 10, tzinfo=UTC)),
]


@pytest.mark.parametrize(("start", "end"), ENDS, ids=["str", "date", "datetime", "pandas", "zone"])
def test_the_days_of_a_request(make, start, end):
    bars = daily_bars()
    answer = make(bars).fetch(["MSFT", "AAPL"], start, end, "1d")

    assert_frame_equal(
        plain(answer),
        expected(bars, ["AAPL", "MSFT"], datetime(2023, 1, 4), datetime(2023, 1, 10)),
    )
    check_bars(answer, "1d")


@pytest.mark.parametrize("symbols", [["AAPL"], ["MSFT"]])
def test_some_symbols_only(make, symbols):
    bars = daily_bars()
    answer = make(bars).fetch(symbols, "2023-01-04", "2023-01-04", "1d")
    assert_frame_equal(
        plain(answer), expected(bars, symbols, datetime(2023, 1, 4), datetime(2023, 1, 4))
    )


def test_the_last_day_of_a_request_is_whole(make):
    bars = minute_bars()
    answer = make(bars).fetch(["AAPL", "MSFT"], "2023-01-03", "2023-01-04", "1m")
    last = datetime(2023, 1, 4, 23, 59)
    assert_frame_equal(plain(answer), expected(bars, ["AAPL", "MSFT"], datetime(2023, 1, 3), last))
    assert answer.height == 120


def test_minutes_of_a_day(make):
    bars = minute_bars()
    first, last = datetime(2023, 1, 4, 14, 35), datetime(2023, 1, 4, 14, 40)
    answer = make(bars).fetch(["AAPL"], first, last, "1m")
    assert_frame_equal(plain(answer), expected(bars, ["AAPL"], first, last))
    assert answer.height == 6


def test_a_range_without_bars(make):
    source = make(daily_bars())
    some = source.fetch(["AAPL"], "2023-01-04", "2023-01-04", "1d")
    none = source.fetch(["AAPL"], "2023-01-07", "2023-01-08", "1d")

    assert none.is_empty()
    assert none.columns == some.columns
    if source.name not in ("sqlite", "engine"):  # SQLite does not say the types of no rows.
        assert none.schema == some.schema


def test_parts_are_the_whole(make):
    bars = daily_bars()
    source = make(bars)
    whole = source.fetch(["AAPL"], "2023-01-02", "2023-01-31", "1d")
    days = [date(2023, 1, 2) + timedelta(days=n) for n in range(30)]
    parts = [source.fetch(["AAPL"], day, day, "1d") for day in days]

    assert_frame_equal(pl.concat(part for part in parts if part.height), whole)
    assert plain(whole).height == 22


def test_the_name_lasts(make):
    source = make(daily_bars())
    assert source.name
    assert as_source(source.wrapped or source, source.name).name == source.name
