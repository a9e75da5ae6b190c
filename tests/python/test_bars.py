"""get_or_fetch by interval: ends in their types, zones, shapes of answers, failures, sharing."""

import math
import threading
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pandas as pd
import polars as pl
import pytest
from bar_vendor import Vendor
from barcache import (
    CacheFull,
    CatalogBusy,
    InvalidArgument,
    InvalidType,
    PartialCoverage,
    WarmPlan,
)
from barcache.errors import ColumnNotFound
from polars.testing import assert_frame_equal
from rustybt_emulation import RustyBTEmulation

NEW_YORK = ZoneInfo("America/New_York")
TIME_LIMIT_S = 60


@pytest.fixture
def vendor():
    return Vendor()


def ask(cache, vendor, symbols, start, end, resolution="1d", **options):
    return cache.get_or_fetch(symbols, start, end, resolution, "vendor", vendor, **options)


# --- intervals --------------------------------------------------------------------------------


def test_parts_subsets_and_unions_of_what_is_cached_never_call_the_source(cache, vendor):
    ask(cache, vendor, ["A", "B"], "2023-01-01", "2023-01-20")
    ask(cache, vendor, ["A", "B"], "2023-01-21", "2023-02-10", overlap=0)
    vendor.calls.clear()
    for symbols in (["A"], ["B", "A"], "B"):
        for start, end in (("2023-01-05", "2023-01-09"), ("2023-01-01", "2023-02-10")):
            answer = ask(cache, vendor, symbols, start, end)
            assert_frame_equal(answer, vendor(sorted(symbols), start, end, "1d"))
            vendor.calls.pop()
    assert vendor.calls == []


def test_only_the_gaps_are_fetched_and_shared_by_symbols_that_have_the_same(cache, vendor):
    ask(cache, vendor, ["A", "B"], "2023-01-10", "2023-01-20")
    ask(cache, vendor, ["C"], "2023-01-10", "2023-01-15")
    vendor.calls.clear()
    ask(cache, vendor, ["A", "B", "C"], "2023-01-05", "2023-01-20", overlap=0)
    assert sorted(vendor.calls) == [
        (("A", "B", "C"), "2023-01-05", "2023-01-09"),
        (("C",), "2023-01-16", "2023-01-20"),
    ]


@pytest.mark.parametrize(
    ("call_cost_s", "calls"),
    [
        (math.inf, 1),
        (timedelta(days=12), 1),  # A lacks 5 days and B 16: 11 are fetched needlessly.
        (timedelta(days=11), 2),
        (3600, 2),
        (0, 2),
    ],
)
def test_symbols_share_a_call_where_that_costs_less(cache, vendor, call_cost_s, calls):
    class Dear:
        source_id = "dear"

        def fetch(self, *request):
            return vendor(*request)

    source = Dear()
    source.call_cost_s = call_cost_s
    cache.get_or_fetch(["A"], "2023-01-10", "2023-01-20", "1d", source)
    vendor.calls.clear()
    said = cache.explain(["A", "B"], "2023-01-05", "2023-01-20", "1d", source)
    answer = cache.get_or_fetch(["A", "B"], "2023-01-05", "2023-01-20", "1d", source, overlap=0)
    assert said["calls"] == len(vendor.calls) == calls
    assert_frame_equal(answer, vendor(["A", "B"], "2023-01-05", "2023-01-20", "1d"))


def test_the_overlap_is_one_bar_at_each_edge(cache, vendor):
    ask(cache, vendor, "A", "2023-01-10", "2023-01-12")
    ask(cache, vendor, "A", "2023-01-20", "2023-01-22")
    vendor.calls.clear()
    ask(cache, vendor, "A", "2023-01-10", "2023-01-22")
    assert vendor.calls == [(("A",), "2023-01-12", "2023-01-20")]


@pytest.mark.parametrize(
    ("start", "end", "gap_start", "gap_end"),
    [
        ("2023-01-01", "2023-01-20", "2023-01-11", "2023-01-20"),
        (date(2023, 1, 1), date(2023, 1, 20), date(2023, 1, 11), date(2023, 1, 20)),
        (datetime(2023, 1, 1), datetime(2023, 1, 20), datetime(2023, 1, 11), datetime(2023, 1, 20)),
        (
            "2023-01-01T00:00:00+00:00",
            "2023-01-20T00:00:00+00:00",
            "2023-01-11T00:00:00+00:00",
            "2023-01-20T00:00:00+00:00",
        ),
        (
            datetime(2023, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            datetime(2023, 1, 20, 2, tzinfo=timezone(timedelta(hours=2))),
            datetime(2023, 1, 11, 2, tzinfo=timezone(timedelta(hours=2))),
            datetime(2023, 1, 20, 2, tzinfo=timezone(timedelta(hours=2))),
        ),
        (
            pd.Timestamp("2023-01-01"),
            pd.Timestamp("2023-01-20"),
            pd.Timestamp("2023-01-11"),
            pd.Timestamp("2023-01-20"),
        ),
        (
            pd.Timestamp("2023-01-01", tz="America/New_York"),
            pd.Timestamp("2023-01-20", tz="UTC"),
            pd.Timestamp("2023-01-10 19:00", tz="America/New_York"),
            pd.Timestamp("2023-01-20", tz="UTC"),
        ),
    ],
)
def test_a_gaps_ends_have_the_types_of_the_requests(cache, start, end, gap_start, gap_end):
    vendor = Vendor()
    ask(cache, vendor, "A", date(2022, 12, 25), date(2023, 1, 10))
    vendor.calls.clear()
    answer = ask(cache, vendor, "A", start, end, overlap=0)
    ((_, asked_start, asked_end),) = vendor.calls
    assert (asked_start, asked_end) == (gap_start, gap_end)
    assert (type(asked_start), type(asked_end)) == (type(gap_start), type(gap_end))
    assert str(asked_start) == str(gap_start)
    assert_frame_equal(answer, vendor(["A"], start, end, "1d"))


def test_days_are_those_of_the_bars_zone(make, tmp_path):
    for zone in ("America/New_York", "Asia/Tokyo", "UTC"):
        vendor = Vendor("6h", zone)
        folder = tmp_path / zone.replace("/", "-")
        cache = make(folder / "metadata.db", folder / "cache")
        first = cache.get_or_fetch("A", "2023-01-10", "2023-01-11", "6h", "v", vendor)
        assert_frame_equal(first, vendor(["A"], "2023-01-10", "2023-01-11", "6h"))
        vendor.calls.clear()
        aware = datetime(2023, 1, 10, 6, tzinfo=ZoneInfo(zone))
        part = cache.get_or_fetch("A", aware, aware, "6h", "v", vendor)
        assert part["timestamp"].to_list() == [aware]
        assert vendor.calls == []
        whole = cache.get_or_fetch("A", date(2023, 1, 9), date(2023, 1, 12), "6h", "v", vendor)
        assert vendor.calls == [
            (("A",), date(2023, 1, 9), date(2023, 1, 9)),
            (("A",), date(2023, 1, 12), date(2023, 1, 12)),
        ]
        assert_frame_equal(whole, vendor(["A"], date(2023, 1, 9), date(2023, 1, 12), "6h"))


def test_a_day_may_have_23_hours(make):
    vendor = Vendor()
    start, end = datetime(2023, 3, 10, tzinfo=NEW_YORK), datetime(2023, 3, 15, tzinfo=NEW_YORK)
    times = pl.datetime_range(start, end, "1d", time_zone="America/New_York", eager=True)
    vendor.times = lambda: times
    vendor.zone = "America/New_York"
    cache = make()
    ask(cache, vendor, "A", start, datetime(2023, 3, 12, tzinfo=NEW_YORK))
    vendor.calls.clear()
    answer = ask(cache, vendor, "A", start, end, overlap=0)
    assert vendor.calls == [(("A",), datetime(2023, 3, 13, tzinfo=NEW_YORK), end)]
    assert answer["timestamp"].to_list() == times.to_list()


def test_two_gaps_of_one_day_are_one_call_for_that_day(make):
    vendor = Vendor("1h")
    cache = make()
    for hour in (4, 12):
        start = datetime(2023, 1, 3, hour)
        ask(cache, vendor, ["A"], start, start + timedelta(hours=2), "1h", overlap=0)
    vendor.calls.clear()
    days = (date(2023, 1, 2), date(2023, 1, 4), "1h")
    foretold = cache.explain(["A"], *days, "vendor")["calls"]
    dry_run = cache.warm(WarmPlan(["A"], *days, "vendor"), dry_run=True)
    answer = ask(cache, vendor, ["A"], *days)
    assert vendor.calls == [(("A",), *days[:2])]
    assert (foretold, dry_run.requests) == (1, 1)
    assert_frame_equal(answer, vendor(["A"], *days))


def test_what_is_asked_again_between_two_gaps_of_a_day_is_recorded_again(make):
    class ByDay(Vendor):
        def bars(self, symbols):
            return super().bars(symbols).filter(pl.col("timestamp").dt.hour().is_between(8, 16))

    vendor = ByDay("1h")
    cache = make()
    evening = datetime(2023, 1, 3, 18)
    ask(cache, vendor, ["A"], evening, evening + timedelta(hours=2), "1h")
    assert cache.coverage("A")["state"].to_list() == ["none"]
    vendor.calls.clear()
    ask(cache, vendor, ["A"], "2023-01-02", "2023-01-04", "1h")
    assert vendor.calls == [(("A",), "2023-01-02", "2023-01-04")]
    states = cache.coverage("A")["state"].to_list()
    assert states == ["data", "none"], "none is only the evening of the last day"


def test_minutes_between_bars_are_not_asked_for(make):
    vendor = Vendor("1m")
    cache = make()
    noon = datetime(2023, 1, 10, 12)
    ask(cache, vendor, "A", noon, noon + timedelta(minutes=5), "1m")
    vendor.calls.clear()
    ask(cache, vendor, "A", noon, noon + timedelta(minutes=5, seconds=59), "1m")
    assert vendor.calls == [], "the last bar lasts until then"
    ask(cache, vendor, "A", noon, noon + timedelta(minutes=7), "1m", overlap=0)
    assert [call[1] for call in vendor.calls] == [noon + timedelta(minutes=6)]


def test_ends_that_make_no_sense_are_refused_before_anything_is_asked(cache, vendor):
    with pytest.raises(InvalidArgument, match="before start_date"):
        ask(cache, vendor, "A", "2023-01-02", "2023-01-01")
    for options, error in (
        ({"overlap": -1}, InvalidArgument),
        ({"overlap": "1"}, InvalidType),
        ({"max_age": -1}, InvalidArgument),
        ({"max_age": "1d"}, InvalidType),
        ({"columns": "close"}, InvalidType),
        ({"columns": ["close", "close"]}, InvalidArgument),
        ({"adjustment": 1}, InvalidType),
    ):
        with pytest.raises(error):
            ask(cache, vendor, "A", "2023-01-01", "2023-01-02", **options)
    with pytest.raises(InvalidArgument, match="2023-01-31"):
        ask(cache, vendor, "A", "first", "last", offline=True)
    with pytest.raises(InvalidArgument, match="source of its own"):
        cache.get_or_fetch("A", "2023-01-01", "2023-01-02", "1d", Vendor(), vendor)
    assert vendor.calls == []


# --- identity ---------------------------------------------------------------------------------


def test_source_resolution_and_adjustment_tell_series_apart(cache, vendor):
    request = (["A"], "2023-01-01", "2023-01-05")
    ask(cache, vendor, *request)
    ask(cache, vendor, *request, "daily")
    assert len(vendor.calls) == 1, "one resolution in two spellings"
    ask(cache, vendor, *request, adjustment="raw")
    cache.get_or_fetch(*request, "1d", "other", vendor)
    ask(cache, vendor, *request, "1h")
    assert len(vendor.calls) == 4
    ask(cache, vendor, *request, adjustment="raw")
    assert len(vendor.calls) == 4


# --- shapes -----------------------------------------------------------------------------------


def test_an_empty_answer_has_the_columns_of_the_sources_answers(make, vendor):
    cache = make()
    schema = ask(cache, vendor, "A", "2023-01-01", "2023-01-05").schema
    cache.close()
    cache = make()
    vendor.calls.clear()
    for _ in range(2):
        empty = ask(cache, vendor, "A", "2022-01-01", "2022-01-05")
        assert (empty.height, empty.schema) == (0, schema)
    assert len(vendor.calls) == 1, "that there is nothing is known"


def test_bars_without_symbol_column_get_one_where_there_are_several_symbols(cache):
    vendor = Vendor(symbol_column=None)
    one = ask(cache, vendor, ["A"], "2023-01-01", "2023-01-05")
    assert one.columns == ["close", "timestamp"]
    ask(cache, vendor, ["B"], "2023-01-01", "2023-01-05")
    vendor.calls.clear()
    both = ask(cache, vendor, ["B", "A"], "2023-01-01", "2023-01-05")
    assert vendor.calls == []
    assert both["symbol"].to_list() == ["A"] * 5 + ["B"] * 5


@pytest.mark.parametrize(
    "kind", ["wide", "doubled", "no time", "null time", "other names", "null symbol"]
)
def test_what_is_no_bars_is_cached_as_a_whole(cache, kind):
    day = pl.date_range(date(2023, 1, 1), date(2023, 1, 5), eager=True)
    frame = {
        "wide": pl.DataFrame({"date": day, "A": range(5), "B": range(5)}),
        "doubled": pl.DataFrame({"date": [*day, *day], "symbol": ["A"] * 10}),
        "no time": pl.DataFrame({"close": range(5), "symbol": ["A"] * 5}),
        "null time": pl.DataFrame({"date": [*day, None], "symbol": ["A"] * 6}),
        "other names": pl.DataFrame({"date": day, "symbol": ["A.US"] * 4 + ["B.US"]}),
        "null symbol": pl.DataFrame({"date": day, "symbol": ["A", "B", None, "A", "B"]}),
    }[kind]
    calls = []

    def vendor(*request):
        calls.append(request)
        return frame

    request = (["A", "B"], "2023-01-01", "2023-01-05")
    for _ in range(3):
        assert_frame_equal(ask(cache, vendor, *request), frame)
    assert len(calls) == 1
    key = cache.generate_cache_key(*request, "1d", "vendor")
    assert cache.entries() == [key]
    cache.clear_cache(key)
    assert_frame_equal(ask(cache, vendor, *request), frame)
    assert len(calls) == 2


def test_a_gap_that_is_no_bars_lets_the_whole_be_fetched(cache, vendor):
    ask(cache, vendor, "A", "2023-01-01", "2023-01-05")
    odd = pl.DataFrame({"close": [1.0]})
    asked = []

    def turned(*request):
        asked.append(request[1:3])
        return odd

    assert_frame_equal(ask(cache, turned, "A", "2023-01-01", "2023-01-09"), odd)
    assert asked[-1] == ("2023-01-01", "2023-01-09")


def test_rows_out_of_order_come_in_order(cache, vendor):
    def backwards(*request):
        return vendor(*request).sample(fraction=1.0, shuffle=True, seed=3)

    answer = ask(cache, backwards, ["B", "A"], "2023-01-01", "2023-01-20")
    assert_frame_equal(answer, vendor(["A", "B"], "2023-01-01", "2023-01-20", "1d"))


def test_types_that_change_are_brought_together(cache, vendor):
    ask(cache, vendor, "A", "2023-01-01", "2023-01-05")

    def widened(*request):
        return vendor(*request).with_columns(pl.col("close").cast(pl.Float64), extra=pl.lit("x"))

    answer = ask(cache, widened, "A", "2023-01-01", "2023-01-09")
    assert answer["close"].dtype == pl.Float64
    assert answer["close"].to_list() == [float(number) for number in range(31, 40)]
    assert answer["extra"].to_list() == [None] * 5 + ["x"] * 4


def test_a_pandas_frame_is_bars_too(cache, vendor):
    def fetch(*request):
        return vendor(*request).to_pandas().set_index("timestamp")

    answer = ask(cache, fetch, ["A", "B"], "2023-01-01", "2023-01-05")
    assert answer.height == 10
    ask(cache, fetch, ["A"], "2023-01-02", "2023-01-04")
    assert len(vendor.calls) == 1


def test_columns_are_chosen_and_in_order(cache, vendor):
    request = (["A"], "2023-01-01", "2023-01-05")
    for _ in range(3):
        answer = ask(cache, vendor, *request, columns=["close", "timestamp"])
        assert answer.columns == ["close", "timestamp"]
    assert ask(cache, vendor, *request).columns == ["close", "timestamp", "symbol"]
    with pytest.raises(ColumnNotFound, match="nonsense"):
        ask(cache, vendor, *request, columns=["nonsense"])


def test_the_answer_is_the_callers_own(cache, vendor):
    for _ in range(3):
        answer = ask(cache, vendor, "A", "2023-01-01", "2023-01-05")
        assert answer.columns == ["close", "timestamp", "symbol"]
        answer.insert_column(0, pl.lit(1).alias("mine"))


# --- entries from before ----------------------------------------------------------------------


def test_an_entry_under_the_exact_key_is_adopted(cache, vendor):
    frame = vendor(["A", "B"], "2023-01-01", "2023-01-20", "1d")
    key = cache.generate_cache_key(["A", "B"], "2023-01-01", "2023-01-20", "1d", "vendor")
    cache.put_cached_data(key, frame, dataset_id=1)
    vendor.calls.clear()
    assert_frame_equal(ask(cache, vendor, ["A", "B"], "2023-01-01", "2023-01-20"), frame)
    cache.clear_cache(key)
    part = ask(cache, vendor, ["B"], "2023-01-05", "2023-01-09")
    assert part["symbol"].to_list() == ["B"] * 5
    assert vendor.calls == []


def test_an_entry_that_is_no_bars_is_found_by_its_key(cache, vendor):
    key = cache.generate_cache_key(["A"], "2023-01-01", "2023-01-20", "1d", "vendor")
    frame = pl.DataFrame({"close": [1.0]})
    cache.put_cached_data(key, frame, dataset_id=1)
    assert_frame_equal(ask(cache, vendor, ["A"], "2023-01-01", "2023-01-20"), frame)
    assert vendor.calls == []


def test_a_read_only_cache_answers_from_what_is_there_and_keeps_nothing(make, vendor, events):
    writer = make()
    ask(writer, vendor, "A", "2023-01-01", "2023-01-05")
    frame = vendor(["B"], "2023-01-01", "2023-01-05", "1d")
    key = writer.generate_cache_key(["B"], "2023-01-01", "2023-01-05", "1d", "vendor")
    writer.put_cached_data(key, frame, dataset_id=1)
    count = len(writer)
    writer.close()
    reader = make(read_only=True)
    vendor.calls.clear()
    assert ask(reader, vendor, "A", "2023-01-02", "2023-01-04").height == 3
    assert_frame_equal(ask(reader, vendor, "B", "2023-01-01", "2023-01-05"), frame)
    assert vendor.calls == []
    assert ask(reader, vendor, "A", "2023-01-02", "2023-01-09").height == 8
    assert len(vendor.calls) == 1
    assert len(reader) == count
    assert events.named("bars_not_kept") == [], "as was asked for"


# --- what is gone -----------------------------------------------------------------------------


def segments(cache):
    return [key for key in cache.entries() if key.startswith("seg:")]


def test_a_segment_that_is_gone_is_fetched_again_whoever_removed_it(make, vendor):
    import sqlite3

    cache = make()
    request = ("A", "2023-01-01", "2023-01-05")
    whole = ask(cache, vendor, *request)

    def by_key():
        cache.clear_cache(segments(cache)[0])

    def by_another_program():
        with sqlite3.connect(cache.db_path) as other:
            other.execute("DELETE FROM cache_entries")
        other.close()

    def by_damage():
        file = cache.cache_directory / cache.lookup_cache(segments(cache)[0])["parquet_path"]
        file.write_bytes(b"damaged")

    def by_loss():
        (cache.cache_directory / cache.lookup_cache(segments(cache)[0])["parquet_path"]).unlink()

    def by_eviction():
        cache.cold_cache_size_mb = 1e-6
        assert cache.evict() == 1

    def by_rustybt():
        rustybt = RustyBTEmulation(cache.db_path, cache.cache_directory)
        rustybt.clear()
        rustybt.close()

    def by_rustybts_eviction():
        rustybt = RustyBTEmulation(cache.db_path, cache.cache_directory)
        rustybt.evict(1)
        rustybt.close()

    removers = (by_key, by_another_program, by_damage, by_loss)
    for remove in (*removers, by_eviction, by_rustybt, by_rustybts_eviction):
        remove()
        cache.close()
        cache = make()
        vendor.calls.clear()
        assert_frame_equal(ask(cache, vendor, *request), whole)
        assert len(vendor.calls) == 1, remove
        assert_frame_equal(ask(cache, vendor, *request), whole)
        assert len(vendor.calls) == 1, remove
    cache.clear_cache()
    assert_frame_equal(ask(cache, vendor, *request), whole)
    assert len(vendor.calls) == 2


def test_a_remembered_answer_is_forgotten_with_its_segment(make, vendor):
    cache, other = make(), make()
    request = ("A", "2023-01-01", "2023-01-05")
    for _ in range(3):
        ask(cache, vendor, *request)
    assert len(vendor.calls) == 1
    other.clear_cache(segments(other)[0])
    ask(cache, vendor, *request)
    assert len(vendor.calls) == 2


def test_a_cache_too_small_for_its_segments_still_answers(make, vendor):
    cache = make(cold_cache_size_mb=0.001)
    for _ in range(3):
        answer = ask(cache, vendor, ["A", "B", "C"], "2023-01-01", "2023-02-10")
        assert_frame_equal(answer, vendor(["A", "B", "C"], "2023-01-01", "2023-02-10", "1d"))


def test_bars_that_cannot_be_stored_are_the_answer_all_the_same(cache, vendor, events, monkeypatch):
    def full(*_):
        raise CacheFull(28, "no space left")

    monkeypatch.setattr(type(cache), "_put_frames", full, raising=False)
    assert ask(cache, vendor, "A", "2023-01-01", "2023-01-05").height == 5
    line = events.named("bars_not_kept")[0]
    assert line.levelname == "WARNING"
    assert "no space" in line.error
    monkeypatch.undo()
    ask(cache, vendor, "A", "2023-01-01", "2023-01-05")
    assert len(vendor.calls) == 2


# --- when the source fails --------------------------------------------------------------------


def test_a_source_that_fails_changes_nothing_and_what_came_before_is_kept(cache, vendor):
    ask(cache, vendor, "A", "2023-01-10", "2023-01-15")
    count = 0

    def fails_the_second_time(*request):
        nonlocal count
        count += 1
        if count == 2:
            raise ConnectionError("no line")
        return vendor(*request)

    with pytest.raises(ConnectionError):
        ask(cache, fails_the_second_time, "A", "2023-01-01", "2023-01-20", overlap=0)
    vendor.calls.clear()
    ask(cache, vendor, "A", "2023-01-01", "2023-01-20", overlap=0)
    assert vendor.calls == [(("A",), "2023-01-16", "2023-01-20")]


def test_offline_says_what_is_missing(cache, vendor):
    with pytest.raises(PartialCoverage) as nothing:
        ask(cache, vendor, ["A"], "2023-01-01", "2023-01-05", offline=True)
    assert nothing.value.frame.height == 0
    ask(cache, vendor, ["A"], "2023-01-01", "2023-01-05")
    vendor.calls.clear()
    held = ask(cache, vendor, ["A"], "2023-01-02", "2023-01-04", offline=True)
    assert held.height == 3
    with pytest.raises(PartialCoverage, match="B 2023-01-01 to 2023-01-09") as partial:
        ask(cache, vendor, ["A", "B"], "2023-01-01", "2023-01-09", offline=True)
    assert partial.value.frame["symbol"].to_list() == ["A"] * 5
    assert partial.value.missing == {
        "A": [("2023-01-06", "2023-01-09")],
        "B": [("2023-01-01", "2023-01-09")],
    }
    assert vendor.calls == []


def test_stale_if_error_serves_what_is_there(cache, vendor, events):
    cache._bar_reader.clock = lambda: datetime(2023, 1, 6, 12, tzinfo=UTC).timestamp()
    ask(cache, vendor, ["A"], "2023-01-01", "2023-01-06")
    vendor.error = ConnectionError("no line")
    with pytest.raises(ConnectionError):
        ask(cache, vendor, ["A"], "2023-01-01", "2023-01-06")
    stale = ask(cache, vendor, ["A"], "2023-01-01", "2023-01-06", stale_if_error=True)
    assert stale.height == 6
    assert events.named("stale_bars_served")[0].error == "no line"
    with pytest.raises(PartialCoverage, match="no line") as partial:
        ask(cache, vendor, ["A"], "2023-01-01", "2023-01-09", stale_if_error=True)
    assert partial.value.missing == {"A": [("2023-01-07", "2023-01-09")]}
    assert partial.value.frame.height == 6
    assert isinstance(partial.value.__cause__, ConnectionError)


# --- age and finality -------------------------------------------------------------------------


def test_the_newest_bars_alone_are_fetched_again_until_they_are_final(cache, vendor):
    now = datetime(2023, 1, 10, 12, tzinfo=UTC)
    cache._bar_reader.clock = lambda: now.timestamp()
    request = ("A", "2023-01-01", "2023-01-10")
    ask(cache, vendor, *request, overlap=0)
    ask(cache, vendor, *request, overlap=0)
    assert vendor.calls[1:] == [(("A",), "2023-01-09", "2023-01-10")]
    now += timedelta(days=2)
    ask(cache, vendor, *request, overlap=0)
    ask(cache, vendor, *request, overlap=0)
    assert len(vendor.calls) == 3, "final one resolution after their end"


def test_max_age_overrides_finality(cache, vendor):
    now = datetime(2023, 1, 10, 12, tzinfo=UTC)
    cache._bar_reader.clock = lambda: now.timestamp()
    request = ("A", "2023-01-01", "2023-01-10")
    ask(cache, vendor, *request)
    for _ in range(3):
        ask(cache, vendor, *request, max_age=timedelta(hours=1))
    assert len(vendor.calls) == 1
    now += timedelta(hours=2)
    ask(cache, vendor, *request, max_age=timedelta(hours=1), overlap=0)
    assert vendor.calls[1:] == [(("A",), "2023-01-01", "2023-01-10")]
    ask(cache, vendor, *request, max_age=0)
    ask(cache, vendor, *request, max_age=0)
    assert len(vendor.calls) == 4, "nothing is younger than that"


def test_no_bars_is_believed_for_a_resolution_and_after_30_days_for_good(cache, vendor):
    now = datetime(2023, 1, 30, tzinfo=UTC)
    cache._bar_reader.clock = lambda: now.timestamp()
    request = ("A", "2022-11-10", "2022-11-20")
    vendor.times = lambda: pl.Series([], dtype=pl.Datetime("us"))
    now = datetime(2022, 12, 1, tzinfo=UTC)
    ask(cache, vendor, *request)
    now += timedelta(hours=23)
    ask(cache, vendor, *request)
    assert len(vendor.calls) == 1
    now += timedelta(hours=2)
    ask(cache, vendor, *request)
    assert len(vendor.calls) == 2
    now += timedelta(days=60)
    ask(cache, vendor, *request)
    now += timedelta(days=60)
    ask(cache, vendor, *request)
    assert len(vendor.calls) == 3


# --- restatements -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("split", {"close": 0.5, "volume": 2.0}),
        ("dividend", {"close": 0.98, "volume": 1.0}),
        ("correction", {"close": 1.0, "volume": 3.0}),
    ],
)
def test_a_restatement_is_noticed_named_and_fetched_anew(cache, vendor, events, kind, change):
    def plain(*request):
        bars = vendor(*request)
        return bars.select(
            "timestamp", "symbol", close=pl.col("close") * 10.0, volume=pl.col("close") * 100.0
        )

    def restated(*request):
        return plain(*request).with_columns(pl.col(name) * by for name, by in change.items())

    old = ask(cache, plain, ["A", "B"], "2023-01-01", "2023-01-10", backtest_id="old")
    before = cache.entries("old")
    vendor.calls.clear()
    answer = ask(cache, restated, ["A"], "2023-01-05", "2023-01-15")
    assert [(line.symbol, line.kind) for line in events.named("bars_restated")] == [("A", kind)]
    assert vendor.calls == [
        (("A",), "2023-01-10", "2023-01-15"),
        (("A",), "2023-01-01", "2023-01-10"),
    ]
    vendor.calls.clear()
    assert_frame_equal(answer, restated(["A"], "2023-01-05", "2023-01-15", "1d"))
    vendor.calls.clear()
    newest = ask(cache, restated, ["A"], "2023-01-01", "2023-01-15")
    assert vendor.calls == []
    assert_frame_equal(newest, restated(["A"], "2023-01-01", "2023-01-15", "1d"))
    kept = pl.concat(cache.get_many(before)).sort("symbol", "timestamp")
    assert_frame_equal(kept, old), "the old version is there by its keys"
    assert ask(cache, restated, ["B"], "2023-01-01", "2023-01-10")["close"][0] == old["close"][0]


def test_a_restatement_met_at_one_gap_is_settled_for_the_next(cache, vendor, events):
    ask(cache, vendor, "A", "2023-01-10", "2023-01-12")
    vendor.calls.clear()

    def halved(*request):
        return vendor(*request).with_columns(pl.col("close") * 0.5)

    answer = ask(cache, halved, "A", "2023-01-01", "2023-01-20")
    assert vendor.calls == [
        (("A",), "2023-01-01", "2023-01-10"),
        (("A",), "2023-01-10", "2023-01-12"),
        (("A",), "2023-01-13", "2023-01-20"),
    ]
    assert len(events.named("bars_restated")) == 1
    assert_frame_equal(answer, halved(["A"], "2023-01-01", "2023-01-20", "1d"))


def test_noise_in_the_last_digits_is_no_restatement(cache, vendor, events):
    ask(cache, vendor, "A", "2023-01-01", "2023-01-10")

    def noisy(*request):
        return vendor(*request).with_columns(pl.col("close") * (1 + 1e-12))

    ask(cache, noisy, "A", "2023-01-01", "2023-01-12")
    assert events.named("bars_restated") == []


# --- sharing and links ------------------------------------------------------------------------


def test_threads_fetch_a_gap_once(cache, vendor):
    ask(cache, vendor, "A", "2023-01-01", "2023-01-05")
    vendor.calls.clear()
    started, go_on = threading.Event(), threading.Event()

    def held(*request):
        started.set()
        assert go_on.wait(TIME_LIMIT_S)
        return vendor(*request)

    answers = []

    def run():
        answers.append(ask(cache, held, ["A"], "2023-01-01", "2023-01-20", backtest_id="bt"))

    threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert started.wait(TIME_LIMIT_S)
    (flight,) = cache._flights._running.values()
    while len(flight.future._condition._waiters) < 7:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join(TIME_LIMIT_S)
    assert len(vendor.calls) == 1
    expected = vendor(["A"], "2023-01-01", "2023-01-20", "1d")
    assert len(answers) == 8
    for answer in answers:
        assert_frame_equal(answer, expected)


def test_segments_are_linked_to_the_backtests_that_used_them(cache, vendor):
    request = ("A", "2023-01-01", "2023-01-05")
    ask(cache, vendor, *request, backtest_id="bt-1")
    with cache.backtest("bt-2"):
        ask(cache, vendor, *request)
    for number in (3, 4):  # Read, and remembered.
        ask(cache, vendor, *request, backtest_id=f"bt-{number}")
    (key,) = segments(cache)
    assert cache.backtests(key) == ["bt-1", "bt-2", "bt-3", "bt-4"]
    assert cache.lookup_cache(key)["access_count"] == 4
    assert cache._entry(key)["request"].startswith('{"data_source": "vendor"')
    assert cache.session_stats["miss_count"] == 1
    assert cache.session_stats["hit_count"] == 3


class Exchange:
    """A source with a calendar."""

    source_id = "exchange"
    calendar = "XNYS"

    def __init__(self, vendor):
        self.fetch = vendor


def test_a_source_with_a_calendar_is_final_after_its_close(cache):
    pytest.importorskip("exchange_calendars")
    vendor = Vendor()

    now = datetime(2023, 1, 10, 22, tzinfo=UTC)  # An hour after the close.
    cache._bar_reader.clock = lambda: now.timestamp()
    for _ in range(2):
        cache.get_or_fetch("A", "2023-01-03", "2023-01-10", "1d", Exchange(vendor))
    assert len(vendor.calls) == 1


def test_the_bar_of_an_open_session_alone_is_fetched_again(cache):
    pytest.importorskip("exchange_calendars")
    vendor = Vendor()

    now = datetime(2023, 1, 10, 16, tzinfo=UTC)  # Half of the session is over.
    cache._bar_reader.clock = lambda: now.timestamp()
    for _ in range(3):
        cache.get_or_fetch("A", "2023-01-03", "2023-01-10", "1d", Exchange(vendor), overlap=0)
    today = (("A",), "2023-01-10", "2023-01-10")
    assert vendor.calls == [(("A",), "2023-01-03", "2023-01-10"), today, today]


def test_a_segment_that_cannot_be_read_is_fetched_and_never_left_out(cache, vendor, monkeypatch):
    request = ("A", "2023-01-01", "2023-01-05")
    whole = ask(cache, vendor, *request)
    monkeypatch.setattr(type(cache), "_answer_bars", lambda *_: None, raising=False)
    monkeypatch.setattr(
        type(cache), "get_many", lambda *keys, **_: [None] * len(keys[1]), raising=False
    )
    assert_frame_equal(ask(cache, vendor, *request), whole)
    assert len(vendor.calls) == 2


def test_segments_that_vanish_all_the_time_are_an_error_not_a_hole(cache, vendor, monkeypatch):
    ask(cache, vendor, "A", "2023-01-01", "2023-01-05")
    monkeypatch.setattr(type(cache), "_answer_bars", lambda *_: None, raising=False)
    monkeypatch.setattr("barcache.bars.reader._Run._read", lambda *_: None)
    with pytest.raises(CatalogBusy, match="ask again"):
        ask(cache, vendor, "A", "2023-01-01", "2023-01-05")
