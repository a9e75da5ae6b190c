"""Time and symbol columns are recognised in one place, and bars that cannot be right are named."""

from datetime import date, datetime, time

import polars as pl
import pytest
from barcache import BarcacheError, InvalidBars, InvalidType
from barcache.sources import bar_columns, check_bars, report_on_bars


def frame(**columns):
    bars = {
        "timestamp": [date(2023, 1, 2), date(2023, 1, 3), date(2023, 1, 4)],
        "symbol": ["A", "A", "A"],
        "open": [10.0, 11.0, 12.0],
        "high": [11.0, 12.0, 13.0],
        "low": [9.0, 10.0, 11.0],
        "close": [10.5, 11.5, 12.5],
        "volume": [100, 200, 300],
    }
    return pl.DataFrame({**bars, **columns})


@pytest.mark.parametrize(
    ("schema", "columns"),
    [
        ({"timestamp": pl.Datetime(), "symbol": pl.String()}, ("timestamp", "symbol")),
        ({"Date": pl.Date(), "TICKER": pl.Categorical()}, ("Date", "TICKER")),
        ({"Datetime": pl.Datetime("ns", "America/New_York")}, ("Datetime", None)),
        ({"index": pl.Datetime(), "sid": pl.Int64()}, ("index", "sid")),
        ({"date": pl.Date(), "timestamp": pl.Datetime()}, ("timestamp", None)),
        ({"when": pl.Datetime(), "close": pl.Float64()}, ("when", None)),
        ({"when": pl.Datetime(), "fetched": pl.Datetime()}, None),
        ({"timestamp": pl.Int64(), "symbol": pl.String()}, None),
        ({"date": pl.Date(), "time": pl.Time()}, None),
        ({"date": pl.String()}, None),
        ({}, None),
    ],
)
def test_columns(schema, columns):
    assert bar_columns(schema) == columns
    empty = pl.DataFrame(schema=schema)
    assert bar_columns(empty) == bar_columns(empty.lazy()) == columns


def test_good_bars():
    report = check_bars(frame(), "1d", require=["close", "volume"])

    assert report.ok
    assert report.rows == 3
    assert report.text() == "3 bars, nothing wrong"
    assert check_bars(frame().with_columns(volume=pl.lit(0)), "1d").ok, "nobody traded"


@pytest.mark.parametrize("by", [["symbol", "timestamp"], ["timestamp", "symbol"]])
def test_several_symbols_in_either_order(by):
    two = pl.concat([frame(), frame(symbol=["B"] * 3)]).sort(by)
    assert check_bars(two, "1d").ok


BAD = [
    ({"high": [11.0, 9.0, 13.0]}, 1, "high is below open; high is below low; high is below close"),
    ({"low": [9.0, 11.2, 11.0]}, 1, "low is above open"),
    ({"close": [10.5, 13.0, 12.5]}, 1, "high is below close"),
    ({"open": [10.0, None, 12.0]}, 1, "open is missing"),
    ({"open": [10.0, 11.0, float("nan")]}, 2, "open is missing"),
    ({"high": [float("inf"), 12.0, 13.0]}, 0, "high is infinite"),
    ({"open": [float("inf"), 11.0, 12.0]}, 0, "open is infinite"),
    ({"volume": [100, -1, 300]}, 1, "volume is negative"),
    ({"volume": [100, None, 300]}, 1, "volume is missing"),
    ({"symbol": ["A", None, "A"]}, 1, "no symbol"),
    ({"timestamp": [date(2023, 1, 2), None, date(2023, 1, 4)]}, 1, "no time"),
    (
        {"timestamp": [date(2023, 1, 2), date(2023, 1, 5), date(2023, 1, 4)]},
        2,
        "earlier than the row above it",
    ),
]


@pytest.mark.parametrize(("columns", "row", "reason"), BAD)
def test_a_bad_row_is_named(columns, row, reason):
    report = report_on_bars(frame(**columns), "1d")

    as_it_came = frame(**columns).slice(row, 1)
    assert report.bad.drop("row", "reason").equals(as_it_came)
    assert report.bad["row"].to_list() == [row]
    assert report.bad["reason"].to_list() == [reason]
    with pytest.raises(InvalidBars, match=reason.split(";")[0]) as caught:
        check_bars(frame(**columns), "1d", source="vendor")
    assert str(caught.value).startswith("vendor gave")
    assert caught.value.report.bad["row"].to_list() == [row]
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, BarcacheError)


def test_duplicates_are_all_named():
    days = [date(2023, 1, 2), date(2023, 1, 2), date(2023, 1, 4)]
    report = report_on_bars(frame(timestamp=days))

    assert report.bad["row"].to_list() == [0, 1]
    assert report_on_bars(frame(timestamp=days, symbol=["A", "B", "B"])).ok


def test_two_daily_bars_of_one_day():
    times = [datetime(2023, 1, 2), datetime(2023, 1, 2, 21), datetime(2023, 1, 4)]

    assert report_on_bars(frame(timestamp=times), "1h").ok
    report = report_on_bars(frame(timestamp=times), "1d")
    assert report.bad["reason"].to_list() == ["another row has the same day"] * 2


def test_what_a_vendor_rounds_is_tolerated():
    rounded = frame(high=[11.0, 11.4999999, 13.0])

    assert check_bars(rounded).ok
    assert not report_on_bars(rounded, tolerance=0).ok


def test_decimals_are_numbers():
    prices = frame().with_columns(pl.col("open", "high", "low", "close").cast(pl.Decimal(18, 8)))
    assert check_bars(prices).ok
    assert not report_on_bars(prices.with_columns(high=pl.col("low"))).ok


@pytest.mark.parametrize(
    ("bars", "problem"),
    [
        (frame(timestamp=["2023", "2024", "2025"]), "no time column"),
        (frame(close=["1", "2", "3"]), "column 'close' has the type String"),
        (frame().drop("volume"), "no column 'volume'"),
        (frame(Close=[1.0, 2.0, 3.0]), "several columns are named 'close'"),
        (frame(date=[time(9), time(10), time(11)], timestamp=[1, 2, 3]), "no time column"),
    ],
)
def test_problems_of_the_whole(bars, problem):
    report = report_on_bars(bars, require=["volume"])
    assert problem in report.text()
    assert not report.ok


def test_columns_named_as_the_report_s_are_kept():
    report = report_on_bars(frame(volume=[-1, 1, 1], row=[7, 8, 9], reason=["x", "y", "z"]))
    assert report.bad["row_"].to_list() == [7]
    assert report.bad["reason_"].to_list() == ["x"]


def test_the_text_fits_a_screen():
    many = pl.concat([frame(volume=[-1, -1, -1])] * 100)
    text = report_on_bars(many).text()
    assert text.count("\n") < 24
    assert "and 288 more" in text


@pytest.mark.parametrize("empty", [frame().head(0), frame().head(0).drop("symbol")])
def test_no_bars_are_good_bars(empty):
    assert check_bars(empty, "1d").ok


def test_only_frames_are_checked():
    with pytest.raises(InvalidType):
        check_bars([1, 2])
