"""Bars that a source gives differently than before: when they differ, and what kind it is."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from bar_vendor import Vendor
from barcache import SourceError
from barcache.bars.frames import differing, shape_of
from barcache.bars.restatement import kind_of_restatement
from polars.testing import assert_frame_equal

TIMES = [datetime(2023, 1, 2) + timedelta(days=day) for day in range(3)]


def bars(close, *, times=TIMES, **columns):
    return pl.DataFrame({"timestamp": times, "close": close, **columns})


def kind(held, fetched):
    shape = shape_of(held)
    assert differing(held, fetched, shape)
    return kind_of_restatement(held, fetched, shape)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.5, "split"),
        (2.0, "split"),
        (1 / 3, "split"),
        (0.1, "split"),
        (2 / 3, "split"),
        (0.98, "dividend"),
        (0.87, "dividend"),
        (1.02, "dividend"),
    ],
)
def test_without_volumes_a_split_is_known_by_its_ratio(ratio, expected):
    close = [100.0, 101.0, 99.5]
    assert kind(bars(close), bars([price * ratio for price in close])) == expected
    rounded = [round(price * ratio, 2) for price in close]
    assert kind(bars(close), bars(rounded)) == expected, "vendors round to cents"


@pytest.mark.parametrize(
    ("price_ratio", "volume_ratio", "expected"),
    [
        (0.5, 2.0, "split"),
        (0.5, 1.0, "dividend"),  # A dividend of half the price: the volumes stayed.
        (0.97, 1 / 0.97, "split"),
        (1.0, 2.0, "correction"),
    ],
)
def test_volumes_tell_a_split_from_a_dividend(price_ratio, volume_ratio, expected):
    close, volume = [100.0, 101.0, 99.5], [10_000, 20_000, 15_000]
    fetched = bars(
        [price * price_ratio for price in close],
        volume=[round(count * volume_ratio) for count in volume],
    )
    assert kind(bars(close, volume=volume), fetched) == expected


def test_anything_else_is_a_correction():
    held = bars([100.0, 101.0, 99.5], open=[99.0, 100.0, 101.0])
    for fetched in (
        bars([100.0, 101.5, 99.5], open=[99.0, 100.0, 101.0]),  # One price.
        bars([50.0, 50.5, 49.75], open=[99.0, 100.0, 101.0]),  # One column of two.
        bars([50.0, 50.5, 49.75]),  # A column less.
        held.head(2),  # A bar went.
        held.with_columns(pl.col("timestamp").dt.offset_by("1h")),  # All moved.
        bars([0.0, 0.0, 0.0], open=[0.0, 0.0, 0.0]),
        bars([None, 101.0, 99.5], open=[99.0, 100.0, 101.0]),
        bars([-100.0, -101.0, -99.5], open=[-99.0, -100.0, -101.0]),
    ):
        assert kind(held, fetched) == "correction"


def test_columns_of_other_types_count_and_the_spelling_of_the_symbol_does_not():
    held = bars([1.0, 2.0, 3.0], note=["a", "b", None], symbol=["BRK.B"] * 3)
    shape = shape_of(held)
    assert not differing(held, held.with_columns(symbol=pl.lit("BRK-B")), shape)
    assert not differing(held, held.with_columns(close=pl.col("close").cast(pl.Int64)), shape)
    assert not differing(held, held.with_columns(extra=pl.lit(1)), shape)
    assert kind(held, held.with_columns(note=pl.Series(["a", "c", None]))) == "correction"
    assert kind(held, held.with_columns(note=pl.Series(["a", "b", "c"]))) == "correction"


def test_what_is_no_number_is_the_same_each_time():
    nan = float("nan")
    held = bars([nan, None, float("inf")])
    shape = shape_of(held)
    assert not differing(held, bars([nan, None, float("inf")]), shape)
    assert not differing(held, held.with_columns(pl.col("close").cast(pl.Float32)), shape)
    for close in ([0.0, None, float("inf")], [nan, 0.0, float("inf")], [nan, None, nan]):
        assert differing(held, bars(close), shape)
        assert differing(held, bars(close).with_columns(pl.col("close").cast(pl.Float32)), shape)


@pytest.mark.parametrize(
    "change",
    [
        lambda bars: bars.with_columns(pl.col("timestamp").dt.replace_time_zone("UTC")),
        lambda bars: bars.with_columns(pl.col("timestamp").dt.date()),
        lambda bars: bars.rename({"timestamp": "date"}),
    ],
    ids=["a zone", "dates", "another name"],
)
def test_a_time_column_that_changes_is_a_correction(cache, change, events):
    vendor = Vendor()
    cache.get_or_fetch("A", "2023-01-05", "2023-01-08", "1d", "v", vendor)

    def changed(*request):
        return change(vendor(*request))

    answer = cache.get_or_fetch("A", "2023-01-05", "2023-01-10", "1d", "v", changed)
    assert [line.kind for line in events.named("bars_restated")] == ["correction"]
    assert_frame_equal(answer, changed(["A"], "2023-01-05", "2023-01-10", "1d"))


def test_units_of_time_and_categories_that_change_are_brought_together(cache, events):
    vendor = Vendor()

    def as_enum(symbols, *rest):
        bars = vendor(symbols, *rest)
        return bars.with_columns(pl.col("symbol").cast(pl.Enum(symbols)))

    def finer(*request):
        return as_enum(*request).with_columns(pl.col("timestamp").cast(pl.Datetime("ns")))

    cache.get_or_fetch(["A"], "2023-01-05", "2023-01-08", "1d", "v", as_enum)
    answer = cache.get_or_fetch(["A", "B"], "2023-01-02", "2023-01-10", "1d", "v", finer)
    whole = vendor(["A", "B"], "2023-01-02", "2023-01-10", "1d")
    assert_frame_equal(answer, whole, check_dtypes=False)
    assert answer.schema["symbol"] == pl.String
    assert events.named("bars_restated") == []
    vendor.calls.clear()
    again = cache.get_or_fetch(["A", "B"], "2023-01-03", "2023-01-09", "1d", "v", finer)
    assert_frame_equal(
        again, vendor(["A", "B"], "2023-01-03", "2023-01-09", "1d"), check_dtypes=False
    )
    assert len(vendor.calls) == 1, "that of this test"


def test_columns_that_no_type_can_hold_together_are_said_and_noticed_by_the_overlap(cache):
    vendor = Vendor()

    def with_note(note):
        return lambda *request: vendor(*request).with_columns(note=pl.lit(note))

    cache.get_or_fetch("A", "2023-01-05", "2023-01-08", "1d", "v", with_note("x"))
    wider = ("A", "2023-01-03", "2023-01-10", "1d", "v")
    for _ in range(2):
        with pytest.raises(SourceError, match="clear its older segments"):
            cache.get_or_fetch(*wider, with_note([1]), overlap=0)
    cache.get_or_fetch("B", "2023-01-05", "2023-01-08", "1d", "v", with_note("x"))
    answer = cache.get_or_fetch("B", *wider[1:], with_note([1]))
    assert answer["note"].to_list() == [[1]] * 8
