"""explain and coverage: what the ledger says, as data, as text and on the command line."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from barcache import InvalidArgument
from barcache.bars.explanation import SHOWN_LINES, timeline

NOW = datetime(2023, 1, 20, 12, tzinfo=UTC)


def vendor(symbols, start, end, resolution):
    assert resolution == "1d"
    days = pl.date_range(date.fromisoformat(start), date.fromisoformat(end), eager=True)
    days = days.filter(days <= NOW.date())
    frame = pl.DataFrame({"date": days}).with_columns(close=pl.lit(1.0))
    return pl.concat(frame.with_columns(symbol=pl.lit(symbol)) for symbol in symbols)


@pytest.fixture
def filled(make):
    """A: 1st to 20th, of which one segment is gone, and the newest bars are provisional."""
    cache = make()
    cache._bar_reader.clock = NOW.timestamp
    ask = ("2023-01-01", "2023-01-05"), ("2023-01-06", "2023-01-10"), ("2023-01-11", "2023-01-20")
    for start, end in ask:
        cache.get_or_fetch("A", start, end, "1d", "vendor", vendor)
    gone = cache.coverage().filter(pl.col("begin").dt.day() == 6)["segment_key"].item()
    cache.clear_cache(gone)
    return cache


def explained(cache, symbols, start, end):
    return cache.explain(symbols, start, end, "1d", "vendor")


def test_each_interval_is_named_with_its_reason(filled):
    stats = dict(filled.session_stats)
    said = explained(filled, ["A", "B"], "2023-01-03", "2023-01-20")
    assert [(p["start"], p["end"], p["from"], p["why"]) for p in said["symbols"]["A"]] == [
        ("2023-01-03", "2023-01-05", "hot", ""),
        ("2023-01-06", "2023-01-10", "source", "evicted"),
        ("2023-01-11", "2023-01-18", "hot", ""),
        ("2023-01-19", "2023-01-20", "source", "provisional"),
    ]
    assert [(p["from"], p["why"]) for p in said["symbols"]["B"]] == [("source", "never asked")]
    assert said["calls"] == 3
    assert dict(filled.session_stats) == stats, "nothing was read"
    text = str(said)
    assert "2023-01-06 to 2023-01-10  source (evicted)" in text
    assert len(text.splitlines()) < 24


def test_its_text_fits_a_screen_whatever_is_asked(make):
    cache = make()
    cache._bar_reader.clock = NOW.timestamp
    symbols = [f"S{number:02}" for number in range(30)]
    for day in range(1, 20, 2):
        cache.get_or_fetch(
            symbols, f"2022-12-{day:02}", f"2022-12-{day:02}", "1d", "vendor", vendor, overlap=0
        )
    for count in range(1, 31):
        said = explained(cache, symbols[:count], "2022-12-01", "2022-12-31")
        text = str(said)
        assert len(text.splitlines()) <= 24
        assert "S00" in text
        assert "2022-12-01 to 2022-12-01  " in text
        assert len(said["symbols"]) == count
        assert all(len(parts) == 20 for parts in said["symbols"].values())
    assert text.endswith("and 23 more symbols")


def test_a_damaged_segment_is_called_corrupt_and_a_cold_one_cold(filled, make):
    first = filled.coverage()["segment_key"][0]
    other = make()
    other._bar_reader.clock = NOW.timestamp
    parts = explained(other, "A", "2023-01-01", "2023-01-05")["symbols"]["A"]
    assert [part["from"] for part in parts] == ["cold"]
    file = other.cache_directory / other.lookup_cache(first)["parquet_path"]
    file.write_bytes(b"damaged")
    assert other.get_cached_data(first) is None
    parts = explained(other, "A", "2023-01-01", "2023-01-05")["symbols"]["A"]
    assert [(part["from"], part["why"]) for part in parts] == [("source", "corrupt")]


def test_where_there_are_no_bars_it_says_so_until_that_is_stale(make):
    cache = make()
    now = datetime(2023, 1, 20, tzinfo=UTC)
    cache._bar_reader.clock = lambda: now.timestamp()

    def nothing(*_):
        return pl.DataFrame(schema={"date": pl.Date, "close": pl.Float64})

    cache.get_or_fetch("A", "2023-01-01", "2023-01-05", "1d", "vendor", nothing)
    (part,) = explained(cache, "A", "2023-01-01", "2023-01-05")["symbols"]["A"]
    assert part["from"] == "nowhere"
    now += timedelta(days=2)
    (part,) = explained(cache, "A", "2023-01-01", "2023-01-05")["symbols"]["A"]
    assert (part["from"], part["why"]) == ("source", "stale")


def test_a_stretch_without_bars_lies_between_those_with_bars(make):
    cache = make()
    cache._bar_reader.clock = datetime(2024, 1, 1, tzinfo=UTC).timestamp

    def without_the_holidays(symbols, start, end, resolution):
        bars = vendor(symbols, start, end, resolution)
        return bars.filter(~pl.col("date").dt.day().is_between(6, 9))

    for first, last in ((1, 5), (6, 9), (10, 12)):
        request = (f"2023-01-{first:02}", f"2023-01-{last:02}", "1d", "vendor")
        cache.get_or_fetch("A", *request, without_the_holidays, overlap=0)
    said = explained(cache, "A", "2023-01-02", "2023-01-11")
    assert [(p["start"], p["end"], p["from"]) for p in said["symbols"]["A"]] == [
        ("2023-01-02", "2023-01-05", "hot"),
        ("2023-01-06", "2023-01-09", "nowhere"),
        ("2023-01-10", "2023-01-11", "hot"),
    ]
    assert said["calls"] == 0
    assert "more" not in str(said)
    ((_, first, last, drawn),) = timeline(cache.coverage(), 12)
    assert (first, last, drawn) == ("2023-01-01", "2023-01-12", "#####....###")


@pytest.mark.parametrize("symbols", [1, 2, 7])
def test_what_fits_a_screen_is_all_shown(make, symbols):
    cache = make()
    cache._bar_reader.clock = datetime(2024, 1, 1, tzinfo=UTC).timestamp
    names = [f"S{number}" for number in range(symbols)]
    shown = SHOWN_LINES // symbols - 2
    for day in range(1, shown + 1, 2):  # Held and missing take turns.
        cache.get_or_fetch(
            names, f"2023-01-{day:02}", f"2023-01-{day:02}", "1d", "vendor", vendor, overlap=0
        )
    exact = explained(cache, names, "2023-01-01", f"2023-01-{shown:02}")
    assert {len(parts) for parts in exact["symbols"].values()} == {shown}
    assert "more" not in str(exact)
    assert len(str(exact).splitlines()) == 1 + symbols * (1 + shown)


def test_coverage_is_the_ledger_as_a_frame(filled):
    filled.get_or_fetch("B", "2023-01-01", "2023-01-02", "1d", "other", vendor)
    rows = filled.coverage()
    assert rows.filter(symbol="A")["state"].to_list() == ["data", "evicted", "data", "provisional"]
    first = rows.filter(symbol="A").row(0, named=True)
    assert first["begin"] == datetime(2023, 1, 1, tzinfo=UTC)
    assert first["end"] == datetime(2023, 1, 6, tzinfo=UTC)
    assert first["asked_at"] == NOW
    assert first["expires_at"] is None
    assert filled.coverage(symbol="B", source="other").height == 1
    assert filled.coverage(symbol="B", source="vendor").height == 0


def test_the_timeline_shows_what_is_known(filled):
    ((name, first, last, drawn),) = timeline(filled.coverage(), 20)
    assert (name, first, last) == ("vendor 1d A", "2023-01-01", "2023-01-20")
    assert drawn == "#####xxxxx########++"


def test_a_request_that_makes_no_sense_is_refused(filled):
    with pytest.raises(InvalidArgument):
        explained(filled, "A", "2023-01-05", "2023-01-01")
    with pytest.raises(InvalidArgument, match="name at least one"):
        explained(filled, [], "2023-01-01", "2023-01-05")


def run(cache, *arguments):
    place = ["--db", cache.db_path, "--cache-dir", str(cache.cache_directory)]
    command = [sys.executable, "-m", "barcache", *arguments, *place]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_line_prints_both(filled):
    request = ("--symbol", "A", "--start", "2023-01-03", "--end", "2023-01-08")
    named = ("--resolution", "1d", "--source", "vendor")
    done = run(filled, "explain", *request, *named)
    assert done.returncode == 0, done.stderr
    assert "2023-01-06 to 2023-01-08  source (evicted)" in done.stdout
    done = run(filled, "explain", *request, *named, "--json")
    assert json.loads(done.stdout)["symbols"]["A"][1]["why"] == "evicted"
    done = run(filled, "coverage")
    assert "vendor 1d A" in done.stdout
    assert "#" in done.stdout
    assert json.loads(run(filled, "coverage", "--json").stdout)[0]["symbol"] == "A"
    assert run(filled, "coverage", "--symbol", "Z").returncode == 1
