"""Freshness policies in RustyBT's shape, without its mistakes."""

import subprocess
import sys
from collections import namedtuple
from datetime import UTC, datetime

import pandas as pd
import pytest
from barcache import InvalidArgument
from barcache.freshness import (
    AlwaysStaleFreshnessPolicy,
    CacheFreshnessPolicy,
    FreshnessPolicyFactory,
    HybridFreshnessPolicy,
    MarketCloseFreshnessPolicy,
    NeverStaleFreshnessPolicy,
    TTLFreshnessPolicy,
    load_config,
)

# 2023-01-06 is a Friday; New York is open from 14:30 to 21:00 UTC.
FRIDAY_NOON = "2023-01-06T17:00"
BELL = "2023-01-06T21:00:01"
FRIDAY_EVENING = "2023-01-06T22:00"
SATURDAY = "2023-01-07T15:00"
MONDAY_EARLY = "2023-01-09T13:00"
MONDAY_NOON = "2023-01-09T17:00"
MONDAY_EVENING = "2023-01-09T22:00"


def seconds(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def fetched(text):
    return {"fetch_timestamp": seconds(text)}


def at(text):
    return lambda: seconds(text)


def stamp(text):
    return pd.Timestamp(text, tz="UTC")


# --- Market close


@pytest.mark.parametrize(
    ("fetch", "now", "fresh"),
    [
        (FRIDAY_EVENING, SATURDAY, True),
        (FRIDAY_EVENING, MONDAY_NOON, True),
        (FRIDAY_EVENING, MONDAY_EVENING, False),
        (FRIDAY_NOON, FRIDAY_EVENING, False),
        (FRIDAY_NOON, SATURDAY, False),
        (BELL, "2023-01-06T21:10", True),  # Nothing newer is published yet.
        (BELL, FRIDAY_EVENING, False),  # It was not final: B26.
        (MONDAY_NOON, SATURDAY, True),  # Of the future.
    ],
)
def test_market_close(fetch, now, fresh):
    policy = MarketCloseFreshnessPolicy(calendar="XNYS", clock=at(now))
    assert policy.is_fresh(fetched(fetch), "1d") == fresh


def test_market_close_knows_when_to_ask_again():
    def refresh(fetch, now, **options):
        policy = MarketCloseFreshnessPolicy(clock=at(now), **options)
        return policy.get_next_refresh_time(fetched(fetch), "1d", "XNYS")

    assert refresh(FRIDAY_EVENING, SATURDAY, data_delay_s=0) == stamp("2023-01-09T21:00")
    assert refresh(FRIDAY_EVENING, SATURDAY, data_delay_s=1800) == stamp("2023-01-09T21:30")
    assert refresh(BELL, "2023-01-06T21:10") == stamp("2023-01-06T21:15")
    assert refresh(FRIDAY_NOON, SATURDAY) == stamp(SATURDAY)
    assert isinstance(refresh(FRIDAY_NOON, SATURDAY), pd.Timestamp)


def test_a_calendar_of_the_call_goes_before_the_policy_s():
    import exchange_calendars

    policy = MarketCloseFreshnessPolicy(calendar="XNYS", clock=at("2023-01-09T12:00"))
    tokyo = exchange_calendars.get_calendar("XTKS")
    assert policy.is_fresh(fetched(FRIDAY_EVENING), "1d")
    # A holiday in Tokyo: its last close was Friday's too.
    assert policy.is_fresh(fetched(FRIDAY_EVENING), "1d", tokyo)
    assert not policy.is_fresh(fetched("2023-01-06T05:00"), "1d", tokyo)


@pytest.mark.parametrize("calendar", [None, "24/7"])
def test_without_market_hours_an_hour(calendar):
    policy = MarketCloseFreshnessPolicy(calendar=calendar, clock=at(SATURDAY))
    assert policy.is_fresh(fetched("2023-01-07T14:01"), "1d")
    assert not policy.is_fresh(fetched("2023-01-07T14:00"), "1d")
    refresh = policy.get_next_refresh_time(fetched("2023-01-07T14:01"), "1d")
    assert refresh == stamp("2023-01-07T15:01")


@pytest.mark.parametrize("kind", [MarketCloseFreshnessPolicy, HybridFreshnessPolicy])
@pytest.mark.parametrize("century", ["1900", "2200"])
def test_where_a_calendar_ends_there_are_no_market_hours_either(kind, century):
    policy = kind(calendar="XNYS", clock=at(f"{century}-01-07T15:00"))
    assert policy.is_fresh(fetched(f"{century}-01-07T14:01"), "1h")
    assert not policy.is_fresh(fetched(f"{century}-01-07T14:00"), "1h")
    refresh = policy.get_next_refresh_time(fetched(f"{century}-01-07T14:01"), "1h")
    assert refresh == stamp(f"{century}-01-07T15:01")


# --- Hybrid


@pytest.mark.parametrize(
    ("fetch", "now", "fresh"),
    [
        ("2023-01-06T16:30", FRIDAY_NOON, True),
        ("2023-01-06T15:30", FRIDAY_NOON, False),
        (FRIDAY_NOON, SATURDAY, False),  # Mid-session: B25.
        (FRIDAY_EVENING, SATURDAY, True),
        (FRIDAY_EVENING, MONDAY_EARLY, True),
        ("2022-12-30T22:00", MONDAY_EARLY, False),  # A week old: B25.
        (FRIDAY_EVENING, MONDAY_NOON, False),
    ],
)
def test_hybrid(fetch, now, fresh):
    policy = HybridFreshnessPolicy(3600, calendar="XNYS", clock=at(now))
    assert policy.is_fresh(fetched(fetch), "1h") == fresh


def test_hybrid_waits_for_a_delayed_source():
    policy = HybridFreshnessPolicy(60, calendar="XNYS", data_delay_s=900, clock=at(SATURDAY))
    assert not policy.is_fresh(fetched("2023-01-06T21:14"), "1m")
    assert policy.is_fresh(fetched("2023-01-06T21:15"), "1m")
    soon = HybridFreshnessPolicy(
        60, calendar="XNYS", data_delay_s=900, clock=at("2023-01-06T21:05")
    )
    assert not soon.is_fresh(fetched("2023-01-06T21:03"), "1m")


def test_hybrid_knows_when_to_ask_again():
    def refresh(fetch, now):
        policy = HybridFreshnessPolicy(3600, clock=at(now))
        return policy.get_next_refresh_time(fetched(fetch), "1h", "XNYS")

    assert refresh("2023-01-06T16:30", FRIDAY_NOON) == stamp("2023-01-06T17:30")
    assert refresh(FRIDAY_EVENING, SATURDAY) == stamp("2023-01-09T14:30")
    assert refresh(FRIDAY_NOON, SATURDAY) == stamp(SATURDAY)


# --- TTL, never, always


@pytest.mark.parametrize(
    ("frequency", "ttl"),
    [("1d", 86_400), ("1h", 3600), ("5m", 300), ("1m", 300), ("4h", 3600), ("tick", 3600)],
)
def test_ttl_by_frequency(frequency, ttl):
    now = seconds(SATURDAY)
    policy = TTLFreshnessPolicy(clock=lambda: now)

    assert policy.is_fresh({"fetch_timestamp": now - ttl + 1}, frequency)
    assert not policy.is_fresh({"fetch_timestamp": now - ttl}, frequency)
    refresh = policy.get_next_refresh_time({"fetch_timestamp": now}, frequency)
    assert refresh == pd.Timestamp(now + ttl, unit="s", tz="UTC")


def test_never_and_always():
    never = NeverStaleFreshnessPolicy()
    always = AlwaysStaleFreshnessPolicy(clock=at(SATURDAY))

    assert never.is_fresh({}, "1d")
    assert never.get_next_refresh_time({}, "1d") == stamp("2099-12-31")
    assert not always.is_fresh(fetched("2099-01-01"), "1d")
    assert always.get_next_refresh_time({}, "1d") == stamp(SATURDAY)


@pytest.mark.parametrize(
    "policy", [TTLFreshnessPolicy, MarketCloseFreshnessPolicy, HybridFreshnessPolicy]
)
def test_without_the_time_of_a_fetch_nothing_is_fresh_and_the_future_is(policy):
    made = policy(clock=at(FRIDAY_NOON))
    for calendar in (None, "XNYS"):
        assert not made.is_fresh({}, "1d", calendar)
        assert not made.is_fresh({"fetch_timestamp": None}, "1d", calendar)
        assert made.is_fresh(fetched(SATURDAY), "1d", calendar)


def test_senseless_numbers_are_refused():
    with pytest.raises(InvalidArgument, match="ttl_seconds"):
        TTLFreshnessPolicy(-1)
    with pytest.raises(InvalidArgument, match="data_delay_s"):
        MarketCloseFreshnessPolicy(data_delay_s=-1)


def test_the_base_is_abstract():
    with pytest.raises(TypeError):
        CacheFreshnessPolicy()


# --- The factory

Metadata = namedtuple("Metadata", "source_type data_delay")


class Adapter:
    def __init__(self, source_type, data_delay=None):
        self.metadata = Metadata(source_type, data_delay)

    def get_metadata(self):
        return self.metadata

    def supports_live(self):
        return True


class YFinanceAdapter:
    name = "YFinanceAdapter"


@pytest.mark.parametrize(
    ("adapter", "frequency", "policy"),
    [
        ("csv", "1d", NeverStaleFreshnessPolicy),
        ("csv:bars.csv", "1m", NeverStaleFreshnessPolicy),
        (YFinanceAdapter(), "1d", MarketCloseFreshnessPolicy),
        # That it could stream does not make its history stale: B28.
        (Adapter("polygon"), "daily", MarketCloseFreshnessPolicy),
        (Adapter("alpaca"), "1d", MarketCloseFreshnessPolicy),
        ("alphavantage", "1d", MarketCloseFreshnessPolicy),
        (Adapter("ccxt"), "1d", TTLFreshnessPolicy),
        (Adapter("ccxt"), "1m", HybridFreshnessPolicy),
        ("yfinance", "1h", HybridFreshnessPolicy),
        ("mine", "1d", TTLFreshnessPolicy),
        ("mine", "tick", TTLFreshnessPolicy),
    ],
)
def test_the_usual_policy(adapter, frequency, policy):
    assert type(FreshnessPolicyFactory.create(adapter, frequency)) is policy


def create(adapter, frequency, now, **config):
    settings = {key.replace("__", "."): value for key, value in config.items()}
    return FreshnessPolicyFactory.create(adapter, frequency, settings, clock=at(now))


def test_the_calendar_is_there_without_being_passed():
    """B24: the market's hours count in a plain is_fresh(metadata, frequency)."""
    polygon = create(Adapter("polygon"), "1d", SATURDAY)
    assert polygon.is_fresh(fetched(FRIDAY_EVENING), "1d")
    yfinance = create("yfinance", "1d", SATURDAY, yfinance__calendar="XNYS")
    assert yfinance.is_fresh(fetched(FRIDAY_EVENING), "1d")
    assert not yfinance.is_fresh(fetched(FRIDAY_NOON), "1d")
    ours = type("Ours", (), {"source_id": "yfinance", "calendar": "XNYS", "data_delay_s": 0.0})
    assert create(ours(), "1d", SATURDAY).is_fresh(fetched(BELL), "1d")


def test_the_source_s_delay_counts():
    polygon = create(Adapter("polygon", data_delay=60), "1d", SATURDAY)
    assert not polygon.is_fresh(fetched("2023-01-06T21:59"), "1d")
    assert polygon.is_fresh(fetched("2023-01-06T22:00"), "1d")


@pytest.mark.parametrize(
    ("setting", "frequency"),
    [
        ("mine__hourly_ttl", "1h"), ("mine__1h_ttl", "1h"), ("mine__hourly_ttl", "4h"),
        ("mine__minute_ttl", "5m"), ("mine__1m_ttl", "1m"), ("mine__daily_ttl", "1d"),
    ],
)  # fmt: skip
def test_a_ttl_of_either_spelling_applies(setting, frequency):
    """B28: the file says hourly_ttl, and it is heard."""
    now = seconds(SATURDAY)
    policy = create("mine", frequency, SATURDAY, **{setting: 42})
    assert policy.is_fresh({"fetch_timestamp": now - 41}, frequency)
    assert not policy.is_fresh({"fetch_timestamp": now - 42}, frequency)


def test_settings_choose_policies():
    ttl = create("yfinance", "1d", SATURDAY, yfinance__daily="ttl", yfinance__daily_ttl=60)
    assert type(ttl) is TTLFreshnessPolicy
    assert ttl.ttl_seconds == 60
    never = create("yfinance", "1m", SATURDAY, yfinance__intraday="never_stale")
    assert type(never) is NeverStaleFreshnessPolicy
    assert type(create("csv", "1d", SATURDAY, live=True)) is AlwaysStaleFreshnessPolicy


@pytest.mark.parametrize(
    "config",
    [
        {"yfinance.dayly": "ttl"}, {"yfinance.daily": "sometimes"}, {"yfinance.daily_ttl": "60"},
        {"yfinance.daily_ttl": -1}, {"daily_ttl": 60}, {"yfinance.fast_ttl": 1}, {"liv": True},
    ],
)  # fmt: skip
def test_a_setting_without_effect_is_refused(config):
    with pytest.raises(InvalidArgument):
        FreshnessPolicyFactory.create("yfinance", "1d", config)


FILES = {
    "a.yaml": "cache_freshness:\n  yfinance:\n    daily: ttl\n    hourly_ttl: 120\n  live: false\n",
    "a.toml": "live = false\n[yfinance]\ndaily = 'ttl'\nhourly_ttl = 120\n",
    "a.json": '{"yfinance": {"daily": "ttl", "hourly_ttl": 120}, "live": false}',
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_settings(name, tmp_path):
    (tmp_path / name).write_text(FILES[name])
    settings = {"yfinance.daily": "ttl", "yfinance.hourly_ttl": 120, "live": False}
    assert load_config(tmp_path / name) == load_config(str(tmp_path / name)) == settings


def test_the_default_file_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config() == {}
    (tmp_path / "cache_freshness.yaml").write_text("ccxt:\n  1m_ttl: 5\n")
    assert load_config() == {"ccxt.1m_ttl": 5}
    (tmp_path / "cache_freshness.yaml").write_text("")
    assert load_config() == {}
    with pytest.raises(FileNotFoundError):
        load_config("missing.yaml")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "a: [1"), ("a.toml", "a ="), ("a.json", "{"), ("a.yaml", "- 1"),
        ("a.yaml", "yfinance:\n  hourly: 3\n"),
        ("a.yaml", "!!python/object/apply:os.getcwd []"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidArgument):
        load_config(tmp_path / name)


def test_a_missing_yaml_says_how_to_install_it(tmp_path):
    (tmp_path / "a.yaml").write_text("live: false")
    script = f"""
import sys
sys.modules["yaml"] = None
from barcache.freshness import load_config
try:
    load_config({str(tmp_path / "a.yaml")!r})
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert 'pip install "barcache[yaml]"' in done.stdout, done.stderr
