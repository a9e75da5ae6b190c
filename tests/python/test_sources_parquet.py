"""Parquet and Arrow: only what a request needs is read, and doubts are errors."""

import os
from datetime import datetime

import polars as pl
import pytest
from barcache import InvalidArgument, InvalidBars, RangeUnavailable, SourceUnavailable
from barcache.sources import ParquetSource, as_source
from vendor_fakes import daily_bars

RANGE = ("2023-01-04", "2023-01-05", "1d")


@pytest.fixture
def bars():
    return daily_bars()


def test_only_the_named_columns_are_read(tmp_path, bars):
    bars.with_columns(note=pl.lit("x")).write_parquet(tmp_path / "bars.parquet")
    source = ParquetSource(tmp_path / "bars.parquet", columns=["close"])
    assert source.fetch(["AAPL"], *RANGE).columns == ["timestamp", "symbol", "close"]


def test_other_partitions_are_not_opened(tmp_path, bars):
    for symbol in ("AAPL", "MSFT"):
        folder = tmp_path / f"symbol={symbol}"
        folder.mkdir()
        of_symbol = bars.filter(pl.col("symbol") == symbol).drop("symbol")
        of_symbol.write_parquet(folder / "0.parquet")
    (tmp_path / "symbol=MSFT" / "0.parquet").write_bytes(b"torn")

    assert ParquetSource(tmp_path).fetch(["AAPL"], *RANGE).height == 2
    with pytest.raises(InvalidBars, match="is not read"):
        ParquetSource(tmp_path).fetch(["MSFT"], *RANGE)


def test_nor_are_files_of_other_symbols(tmp_path, bars):
    bars.filter(pl.col("symbol") == "AAPL").drop("symbol").write_parquet(tmp_path / "AAPL.parquet")
    (tmp_path / "MSFT.parquet").write_bytes(b"torn")

    source = ParquetSource([tmp_path / "AAPL.parquet", tmp_path / "MSFT.parquet"])
    assert source.fetch(["AAPL"], *RANGE)["symbol"].to_list() == ["AAPL", "AAPL"]
    assert source.fetch(["IBM"], *RANGE).is_empty()


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["MSFT", "AAPL"])])
def test_symbols_of_other_types(tmp_path, bars, dtype):
    bars.with_columns(pl.col("symbol").cast(dtype)).write_parquet(tmp_path / "bars.parquet")
    answer = ParquetSource(tmp_path / "bars.parquet").fetch(["AAPL"], *RANGE)
    assert answer["symbol"].cast(pl.String).to_list() == ["AAPL", "AAPL"]
    assert answer.schema["symbol"].base_type() == dtype.base_type()


def test_columns_of_other_names(tmp_path, bars):
    renamed = bars.rename({"timestamp": "when", "symbol": "who"}).with_columns(
        seen=pl.lit(datetime(2023, 1, 1))
    )
    renamed.write_parquet(tmp_path / "bars.parquet")
    path = tmp_path / "bars.parquet"
    with pytest.raises(InvalidArgument, match="time_column="):
        ParquetSource(path).fetch(["AAPL"], *RANGE)
    with pytest.raises(InvalidArgument, match="no column 'nix'"):
        ParquetSource(path, time_column="nix").fetch(["AAPL"], *RANGE)
    source = ParquetSource(path, time_column="when", symbol_column="who")
    assert source.fetch(["AAPL"], *RANGE)["who"].to_list() == ["AAPL", "AAPL"]


def test_bars_that_cannot_be_right_are_refused(tmp_path, bars):
    pl.concat([bars, bars]).write_parquet(tmp_path / "bars.parquet")
    with pytest.raises(InvalidBars, match="same symbol and time"):
        ParquetSource(tmp_path / "bars.parquet").fetch(["AAPL"], *RANGE)


def test_a_row_without_a_time_or_symbol_is_bad(tmp_path, bars):
    time = pl.when(pl.col("timestamp") != pl.date(2023, 1, 10)).then(pl.col("timestamp"))
    bars.with_columns(time).write_parquet(tmp_path / "bars.parquet")
    with pytest.raises(InvalidBars, match="no time"):
        ParquetSource(tmp_path / "bars.parquet").fetch(["AAPL"], *RANGE)


def test_the_name_changes_with_the_file(tmp_path, bars):
    path = tmp_path / "bars.parquet"
    bars.write_parquet(path)
    source = ParquetSource(path)
    name = as_source(source).name
    assert name.startswith("parquet:bars.parquet@")
    assert ParquetSource(path).source_id == name
    assert ParquetSource(path, columns=["close"]).source_id != name
    os.utime(path, (1, 1))
    assert source.source_id != name
    bars.write_ipc(tmp_path / "bars.arrow")
    assert ParquetSource(tmp_path / "bars.arrow").source_id.startswith("arrow:")


def test_what_has_no_name_needs_one(bars):
    with pytest.raises(InvalidArgument, match="name="):
        ParquetSource(bars.lazy())
    unnamed = ParquetSource(bars.drop("symbol").lazy(), name="x")
    with pytest.raises(InvalidArgument, match="symbol_column="):
        unnamed.fetch(["AAPL"], *RANGE)


def test_missing_files_and_another_resolution(tmp_path, bars):
    with pytest.raises(SourceUnavailable, match="no file"):
        ParquetSource(tmp_path / "nix.parquet")
    with pytest.raises(SourceUnavailable, match="holds no"):
        ParquetSource(tmp_path)
    bars.write_parquet(tmp_path / "bars.parquet")
    source = ParquetSource(tmp_path / "bars.parquet", resolution="1d")
    with pytest.raises(RangeUnavailable, match="bars of 1d, not of 1m"):
        source.fetch(["AAPL"], "2023-01-04", "2023-01-05", "1m")
    (tmp_path / "bars.parquet").unlink()
    with pytest.raises(SourceUnavailable):
        source.fetch(["AAPL"], *RANGE)
