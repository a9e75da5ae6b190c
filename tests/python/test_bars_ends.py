"""Ends of requests at the edges of time; what is no time, and what are no symbols."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest
from bar_vendor import Vendor
from barcache import InvalidArgument, InvalidType, PartialCoverage, WarmPlan
from barcache.bars.ends import bar_slot_end, moment_ns
from barcache.resolution import parse_resolution
from polars.testing import assert_frame_equal

HELD = ("2023-01-05", "2023-01-07")


@pytest.fixture
def vendor():
    return Vendor()


@pytest.mark.parametrize(
    ("start", "end", "as_days"),
    [
        ("0001-01-01", "9999-12-31", ["2023-01-04", "2023-01-08"]),
        (date.min, date.max, [date(2023, 1, 4), date(2023, 1, 8)]),
        (
            datetime.min,
            datetime.max,
            [datetime(2023, 1, 4, 23, 59, 59, 999999), datetime(2023, 1, 8)],
        ),
        (
            pd.Timestamp.min,
            pd.Timestamp.max,
            [pd.Timestamp("2023-01-04 23:59:59.999999999"), pd.Timestamp("2023-01-08")],
        ),
    ],
)
def test_everything_there_is_can_be_asked_for(cache, vendor, start, end, as_days):
    cache.get_or_fetch("A", *HELD, "1d", "v", vendor)
    vendor.calls.clear()
    ask = ("A", start, end, "1d", "v")
    calls = cache.explain(*ask)["calls"]
    answer = cache.get_or_fetch(*ask, vendor, overlap=0)
    assert_frame_equal(answer, vendor.bars(["A"]))
    assert vendor.calls == [(("A",), start, as_days[0]), (("A",), as_days[1], end)]
    assert calls == 2
    (again,) = cache.explain(*ask)["symbols"]["A"][-1:]
    assert (again["from"], again["end"]) == ("source", end), "more may come"
    with pytest.raises(PartialCoverage) as partial:
        cache.get_or_fetch("B", start, end, "1d", "v", vendor, offline=True)
    assert partial.value.missing == {"B": [(start, end)]}


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_in_any_zone(cache, zone):
    vendor = Vendor("6h", zone)
    everything = []

    def source(symbols, start, end, _):
        everything.append((start, end))
        return vendor.bars(symbols)

    for _ in range(2):
        answer = cache.get_or_fetch("A", date.min, date.max, "6h", "v", source)
        assert_frame_equal(answer, vendor.bars(["A"]))
    assert everything[0] == (date.min, date.max)


@pytest.mark.parametrize(
    ("start", "end"), [("2262-01-01", "2300-01-01"), (date(1600, 1, 1), date(1677, 12, 31))]
)
def test_where_no_bars_can_be_kept_none_are_asked_for(cache, vendor, start, end):
    for ask in (
        lambda: cache.get_or_fetch("A", start, end, "1d", "v", vendor),
        lambda: cache.explain("A", start, end, "1d", "v"),
        lambda: cache.warm(WarmPlan(["A"], start, end, "1d", "v"), dry_run=True),
    ):
        with pytest.raises(InvalidArgument, match="1678 to 2261"):
            ask()
    assert vendor.calls == []


@pytest.mark.parametrize("day", [date(1600, 1, 1), date(9999, 12, 31), datetime(2262, 5, 1)])
def test_bars_of_such_years_are_kept_as_a_whole(cache, day):
    frame = pl.DataFrame({"date": [datetime(2023, 1, 5), day], "close": [1.0, 2.0]}, strict=False)
    frame = frame.sort("date")
    calls = []

    def source(*request):
        calls.append(request)
        return frame

    for _ in range(2):
        answer = cache.get_or_fetch("A", "0001-01-01", "9999-12-31", "1d", "v", source)
        assert_frame_equal(answer, frame)
    assert len(calls) == 1
    assert [key for key in cache.entries() if key.startswith("seg:")] == []


@pytest.mark.parametrize("no_time", [pd.NaT, np.datetime64("2023-01-01"), object(), b"2023-01-01"])
def test_what_is_no_time_is_refused_by_name(cache, vendor, no_time):
    for start, end in ((no_time, "2023-01-31"), (datetime(2023, 1, 1, tzinfo=UTC), no_time)):
        with pytest.raises(InvalidType, match="pass symbols as a list of str, dates as ISO text"):
            cache.get_or_fetch("A", start, end, "1d", "v", vendor)
    assert vendor.calls == []


@pytest.mark.parametrize("symbols", [None, 5, (symbol for symbol in "AB")])
def test_what_are_no_symbols_is_refused_by_name(cache, vendor, symbols):
    with pytest.raises(InvalidType, match="symbols must be a list of str"):
        cache.get_or_fetch(symbols, *HELD, "1d", "v", vendor)
    assert vendor.calls == []


@pytest.mark.parametrize(
    ("resolution", "zone", "begin", "end"),
    [
        ("1m", "America/New_York", "2023-03-12T01:59", "2023-03-12T03:00"),
        ("1d", "UTC", "2023-02-28", "2023-03-01"),
        ("1d", "America/New_York", "2023-03-12", "2023-03-13"),  # 23 hours.
        ("1wk", "America/New_York", "2023-10-30", "2023-11-06"),
        ("1mo", "UTC", "2023-01-01", "2023-02-01"),
        ("1mo", "America/New_York", "2023-03-01", "2023-04-01"),
        ("1mo", "UTC", "2023-12-01", "2024-01-01"),
        ("1mo", "UTC", "2023-11-30", "2023-12-30"),
        ("1mo", "UTC", "2023-01-31", "2023-02-28"),
        ("1mo", "UTC", "2024-01-31", "2024-02-29"),
        ("1mo", "UTC", "2023-04-15", "2023-05-15"),
        ("3mo", "UTC", "2023-11-30", "2024-02-29"),
        ("3mo", "Asia/Tokyo", "2023-10-01", "2024-01-01"),
    ],
)
def test_a_bar_lasts_until_the_next_may_begin(resolution, zone, begin, end):
    zone = ZoneInfo(zone)
    begin, end = (datetime.fromisoformat(text).replace(tzinfo=zone) for text in (begin, end))
    assert bar_slot_end(moment_ns(begin), parse_resolution(resolution), zone) == moment_ns(end)


def test_days_of_an_offset_with_minutes_are_days_there(cache):
    india = timezone(timedelta(hours=5, minutes=30))
    days = [datetime(2023, 1, day, tzinfo=india) for day in range(1, 32)]
    calls = []

    def source(_, start, end, __):
        calls.append((start, end))
        chosen = [day for day in days if start <= day.date() <= end]
        return pd.DataFrame({"timestamp": chosen, "close": [day.day * 1.0 for day in chosen]})

    for first, last in ((5, 9), (6, 8), (3, 12)):
        ask = ("A", date(2023, 1, first), date(2023, 1, last), "1d", "v", source)
        answer = cache.get_or_fetch(*ask, overlap=0)
        assert answer["close"].to_list() == [float(day) for day in range(first, last + 1)]
        assert answer["timestamp"].to_list() == days[first - 1 : last]
    gaps = [(3, 4), (10, 12)]
    assert calls[1:] == [(date(2023, 1, first), date(2023, 1, last)) for first, last in gaps]


TICKS = pl.DataFrame({"ns": range(0, 5000, 7)}).select(
    timestamp=(pl.col("ns") + 1_672_531_200 * 10**9).cast(pl.Datetime("ns")), close="ns"
)


def tick(ns):
    return pd.Timestamp(1_672_531_200 * 10**9 + ns)


@pytest.mark.parametrize("kind", [pd.Timestamp, datetime, str])
def test_no_bar_is_lost_where_they_are_told_apart_by_nanoseconds(cache, kind):
    def source(_, start, end, __):
        assert type(start) in (kind, pd.Timestamp)
        ends = (pd.Timestamp(start).value, pd.Timestamp(end).value)
        return TICKS.filter(pl.col("timestamp").to_physical().is_between(*ends))

    def end_of(ns):
        stamp = tick(ns)
        if kind is pd.Timestamp:
            return stamp
        return stamp.to_pydatetime() if kind is datetime else stamp.to_pydatetime().isoformat()

    for first, last in ((2013, 2100), (3001, 3333)):
        cache.get_or_fetch("A", tick(first), tick(last), "1s", "v", source, overlap=0)
    for first, last in ((1000, 2000), (2000, 4000), (1000, 3000), (0, 4000)):
        ends = (end_of(first), end_of(last))
        answer = cache.get_or_fetch("A", *ends, "1s", "v", source, overlap=0)
        assert_frame_equal(answer, source(None, *ends, None))
    exact = cache.get_or_fetch("A", tick(3), tick(4321), "1s", "v", source, overlap=0)
    assert_frame_equal(exact, source(None, tick(3), tick(4321), None))
