"""When a bar is final: by an exchange's calendar, around the clock, and without a calendar."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from barcache import InvalidArgument, InvalidType
from barcache.freshness import calendar_of, finality, named_calendar
from barcache.freshness.instants import as_us
from hypothesis import given, settings
from hypothesis import strategies as st


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ends(times, resolution, calendar=None):
    return finality(resolution, calendar).expected_bar_end(pl.Series(times)).to_list()


def zoned(text, zone):
    return pl.Series([datetime.fromisoformat(text)]).dt.replace_time_zone(zone)


# --- The end of a bar


@pytest.mark.parametrize(
    ("calendar", "day", "end"),
    [
        ("XNYS", date(2023, 1, 3), "2023-01-03T21:00"),
        ("XNYS", date(2023, 7, 5), "2023-07-05T20:00"),  # Summer time.
        ("XNYS", date(2023, 7, 3), "2023-07-03T17:00"),  # Early close.
        ("XTKS", date(2023, 1, 5), "2023-01-05T06:00"),
        ("CMES", date(2023, 1, 10), "2023-01-10T23:00"),
        ("24/7", date(2023, 1, 7), "2023-01-08T00:00"),
        (None, date(2023, 1, 7), "2023-01-08T00:00"),
        ("XNYS", date(2023, 1, 7), "2023-01-08T00:00"),  # A Saturday has no close.
        ("XNYS", date(1980, 1, 7), "1980-01-08T00:00"),  # Before the calendar's first session.
    ],
)
def test_a_day_ends_with_its_session(calendar, day, end):
    assert ends([day], "1d", calendar) == [utc(end)]
    assert ends([datetime(day.year, day.month, day.day)], "1d", calendar) == [utc(end)]


@pytest.mark.parametrize(
    ("calendar", "label"),
    [
        ("XNYS", zoned("2023-01-03", "UTC")),
        ("XNYS", zoned("2023-01-03", "America/New_York")),
        ("XNYS", zoned("2023-01-03T14:30", "UTC")),  # The session's open.
        ("XNYS", zoned("2023-01-03T05:00", "UTC")),  # New York's midnight, as Polygon has it.
    ],
)
def test_the_label_of_a_day_may_be_any_of_these(calendar, label):
    end = finality("1d", calendar).expected_bar_end(label)
    assert end.to_list() == [utc("2023-01-03T21:00")]


@pytest.mark.parametrize(
    ("calendar", "zone"), [("XNYS", "America/New_York"), ("XTKS", "Asia/Tokyo"), ("XLON", "UTC")]
)
def test_midnight_in_the_bars_zone_is_the_day_that_it_shows(calendar, zone):
    days = pl.date_range(date(2022, 12, 20), date(2023, 4, 20), eager=True)  # Holidays among them.
    midnights = days.cast(pl.Datetime("us")).dt.replace_time_zone(zone)
    rule = finality("1d", calendar)
    assert rule.expected_bar_end(midnights).to_list() == rule.expected_bar_end(days).to_list()


def test_a_midnight_east_of_greenwich_names_its_own_day():
    tokyo = zoned("2023-01-05", "Asia/Tokyo")
    rule = finality("1d", "XTKS")

    assert rule.expected_bar_end(tokyo).to_list() == [utc("2023-01-05T06:00")]
    in_utc = tokyo.dt.convert_time_zone("UTC")  # 2023-01-04 15:00Z
    assert rule.expected_bar_end(in_utc).to_list() == [utc("2023-01-05T06:00")]


@pytest.mark.parametrize(
    ("resolution", "first", "calendar", "end"),
    [
        ("1wk", date(2023, 1, 2), "XNYS", "2023-01-06T21:00"),
        ("1wk", date(2023, 4, 3), "XNYS", "2023-04-06T20:00"),  # Good Friday.
        ("1mo", date(2023, 2, 1), "XNYS", "2023-02-28T21:00"),
        ("1mo", date(2023, 12, 1), "24/7", "2024-01-01T00:00"),
        ("3mo", date(2023, 11, 30), None, "2024-02-29T00:00"),
        ("5d", date(2023, 1, 2), "24/7", "2023-01-07T00:00"),
    ],
)
def test_longer_bars_end_with_their_last_session(resolution, first, calendar, end):
    assert ends([first], resolution, calendar) == [utc(end)]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2023-01-03T14:30", "2023-01-03T15:30"),
        ("2023-01-03T20:30", "2023-01-03T21:00"),  # Cut by the close.
        ("2023-01-03T21:00", "2023-01-03T22:00"),  # After hours.
        ("2023-01-07T14:30", "2023-01-07T15:30"),
    ],
)
def test_a_bar_within_the_day_ends_at_the_close_at_the_latest(start, end):
    assert ends([utc(start)], "1h", "XNYS") == [utc(end)]
    assert ends([utc(start)], "1h", "24/7") == [utc(start) + timedelta(hours=1)]


@pytest.mark.parametrize("name", ["XNYS", "XLON", "XTKS", "XHKG", "CMES"])
def test_every_session_of_a_calendar_ends_when_the_package_says(name):
    import exchange_calendars

    schedule = exchange_calendars.get_calendar(name).schedule
    days = pl.Series([session.date() for session in schedule.index])
    closes = [close.to_pydatetime() for close in schedule["close"]]
    assert finality("1d", name).expected_bar_end(days).to_list() == closes


# --- Final or not


def test_final_after_the_close_and_the_delay():
    days = pl.Series([date(2023, 1, 3), date(2023, 1, 4)])
    rule = finality("1d", "XNYS", data_delay_s=900)

    assert rule.is_final(days, utc("2023-01-04T21:14:59")).to_list() == [True, False]
    assert rule.is_final(days, utc("2023-01-04T21:15:00")).to_list() == [True, True]
    assert rule.next_final(days, utc("2023-01-04T12:00")) == utc("2023-01-04T21:15")
    assert rule.next_final(days, utc("2023-01-03T12:00")) == utc("2023-01-03T21:15")
    assert rule.next_final(days, utc("2023-01-05T12:00")) is None


def test_without_a_calendar_one_resolution_after_the_end():
    days = pl.Series([date(2023, 1, 3)])

    assert not finality("1d").is_final(days, utc("2023-01-04T23:59:59"))[0]
    assert finality("1d").is_final(days, utc("2023-01-05T00:00"))[0]
    assert finality("1d", "24/7").is_final(days, utc("2023-01-04T00:00"))[0]
    hour = pl.Series([utc("2023-01-03T10:00")])
    assert not finality("1h").is_final(hour, utc("2023-01-03T11:59"))[0]
    assert finality("1h").is_final(hour, utc("2023-01-03T12:00"))[0]


def test_the_order_of_the_bars_does_not_matter_and_a_missing_time_is_not_final():
    days = [date(2023, 1, 5), None, date(2023, 1, 3)]
    rule = finality("1d", "XNYS")

    assert rule.is_final(pl.Series(days), utc("2023-01-04T22:00")).to_list() == [False, False, True]
    assert rule.next_final(pl.Series(days), utc("2023-01-04T22:00")) == utc("2023-01-05T21:00")
    assert rule.is_final(pl.Series([], dtype=pl.Date), 0).to_list() == []
    assert rule.next_final(pl.Series([], dtype=pl.Date), 0) is None


def test_an_answer_without_bars_expires():
    hour, day = 3_600_000_000, 86_400_000_000
    now = as_us(utc("2023-03-01T00:00"))

    assert finality("1m").none_expires_us(now - day, now) == now + hour
    assert finality("1d").none_expires_us(now - 30 * day, now) == now + day
    assert finality("1d").none_expires_us(now - 30 * day - 1, now) is None


@pytest.mark.parametrize(
    ("resolution", "ended_before", "held_for"),
    [
        ("1m", timedelta(hours=3), timedelta(hours=1)),
        ("1h", timedelta(hours=3), timedelta(hours=1)),
        ("4h", timedelta(days=2), timedelta(hours=4)),
        ("1d", timedelta(days=29, hours=23), timedelta(days=1)),
        ("1m", timedelta(days=29, hours=23), timedelta(hours=1)),
        ("1d", timedelta(days=30, hours=1), None),
        ("1m", timedelta(days=30, hours=1), None),
    ],
)
def test_get_or_fetch_believes_it_for_so_long(cache, resolution, ended_before, held_for):
    asked_at = now = utc("2023-06-15T12:00")
    cache._bar_reader.clock = lambda: now.timestamp()
    calls = []

    def nothing(*call):
        calls.append(call)
        return pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC"), "close": pl.Float64})

    end = asked_at - ended_before
    ask = ("A", end - timedelta(hours=2), end, resolution, "vendor", nothing)
    assert cache.get_or_fetch(*ask).is_empty()
    now = asked_at + (held_for or timedelta(days=1000)) - timedelta(seconds=2)
    assert cache.get_or_fetch(*ask).is_empty()
    assert len(calls) == 1
    if held_for is not None:
        now = asked_at + held_for + timedelta(seconds=2)
        assert cache.get_or_fetch(*ask).is_empty()
        assert len(calls) == 2


zones = st.sampled_from([None, "UTC", "America/New_York", "Asia/Tokyo"])
calendars = st.sampled_from([None, "24/7", "XNYS", "XTKS", "CMES"])
resolutions = st.sampled_from(["1m", "1h", "4h", "1d", "1wk", "1mo"])


@settings(max_examples=300, deadline=None)
@given(calendars, resolutions, zones, st.data())
def test_later_bars_never_become_final_before_earlier_ones(calendar, resolution, zone, data):
    rule = finality(resolution, calendar)
    first = date(2022, 1, 1)
    if rule.resolution.is_intraday:
        minutes = st.integers(0, 2 * 365 * 24 * 60)
        offsets = sorted(data.draw(st.lists(minutes, min_size=2, max_size=20, unique=True)))
        start = datetime(2022, 1, 1, tzinfo=UTC)
        labels = [as_us(start + timedelta(minutes=m)) for m in offsets]
    else:
        days = st.integers(0, 2 * 365)
        offsets = sorted(data.draw(st.lists(days, min_size=2, max_size=20, unique=True)))
        midnights = [
            datetime.combine(first + timedelta(days=n), datetime.min.time()) for n in offsets
        ]
        labels = [as_us(m.replace(tzinfo=ZoneInfo(zone or "UTC"))) for m in midnights]
    at = [rule.final_us(label, zone) for label in labels]
    assert all(a <= b for a, b in pairwise(at))
    # A bar is never final before it has begun, and the bisection agrees with looking at each.
    assert all(end > label for label, end in zip(labels, at, strict=True))
    as_of = data.draw(st.integers(labels[0], at[-1] + 1))
    expected = sum(moment <= as_of for moment in at)
    assert rule.first_provisional(labels, as_of, zone) == expected


# --- Calendars and arguments


def test_a_calendar_of_the_package_is_taken_as_it_is():
    import exchange_calendars

    ours = calendar_of(exchange_calendars.get_calendar("XNYS"))
    assert ours == named_calendar("XNYS")
    assert calendar_of(ours) is ours
    assert calendar_of(exchange_calendars.get_calendar("24/7")) is None
    assert ends([date(2023, 1, 3)], "1d", ours) == [utc("2023-01-03T21:00")]


def test_what_the_calendar_says_is_what_the_package_says():
    import exchange_calendars
    import pandas as pd

    theirs, ours = exchange_calendars.get_calendar("XNYS"), named_calendar("XNYS")
    for text in ("2023-01-03T14:29", "2023-01-03T14:30", "2023-07-03T17:30", "2023-12-25T15:00"):
        moment = pd.Timestamp(text, tz="UTC")
        us = as_us(moment)
        assert ours.is_open(us) == theirs.is_open_at_time(moment)
        assert ours.last_close(us) == as_us(theirs.previous_close(moment))
        assert ours.next_close(us) == as_us(theirs.next_close(moment))
        assert ours.next_open(us) == as_us(theirs.next_open(moment))


@pytest.mark.parametrize("calendar", ["NOSUCH", 3])
def test_an_unknown_calendar_is_refused(calendar):
    with pytest.raises(InvalidArgument, match="calendar"):
        finality("1d", calendar)


def test_a_negative_delay_and_a_moment_without_zone_are_refused():
    with pytest.raises(InvalidArgument, match="data_delay_s"):
        finality("1d", data_delay_s=-1)
    with pytest.raises(InvalidArgument, match="time zone"):
        finality("1d").is_final(pl.Series([date(2023, 1, 3)]), datetime(2023, 1, 4))
    with pytest.raises(InvalidType, match="dates or datetimes"):
        finality("1d").is_final(pl.Series(["2023-01-03"]), 0)
    with pytest.raises(InvalidType, match="no moment"):
        finality("1d").is_final(pl.Series([date(2023, 1, 3)]), "2023-01-04")


def test_the_clock_and_the_calendar_s_package_stay_out_until_needed():
    script = """
import sys
sys.modules["exchange_calendars"] = None
from barcache.freshness import finality
finality("1d", "24/7"), finality("1h")
try:
    finality("1d", "XNYS")
except ImportError as error:
    print(error)
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert 'pip install "barcache[calendars]"' in done.stdout, done.stderr
