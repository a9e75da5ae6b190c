"""CachedDataSource: the shape of RustyBT's, over a cache by interval."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import AsyncMock, Mock

import pandas as pd
import polars as pl
import pytest
from barcache import InvalidArgument
from barcache.freshness import (
    AlwaysStaleFreshnessPolicy,
    MarketCloseFreshnessPolicy,
    NeverStaleFreshnessPolicy,
    TTLFreshnessPolicy,
)
from barcache.freshness.calendars import Calendar
from barcache.sources import CachedDataSource
from polars.testing import assert_frame_equal

NEW_YEAR, END = pd.Timestamp("2023-01-01"), pd.Timestamp("2023-01-31")


class Adapter:
    """Shaped as RustyBT's DataSource: a bar at each step, New York days or UTC minutes."""

    def __init__(self, kind="acme", supports_live=False):
        self.kind, self.live = kind, supports_live
        self.calls = []

    async def fetch(self, symbols, start, end, frequency):
        self.calls.append((tuple(symbols), start, end, frequency))
        assert isinstance(start, pd.Timestamp)
        assert frequency in ("1d", "1h"), frequency
        every = "1d" if frequency == "1d" else "1h"
        last = end + pd.Timedelta(hours=23) if frequency == "1d" else end
        times = pl.datetime_range(start, last, every, eager=True, time_unit="us").alias("timestamp")
        if frequency == "1d":
            times = times.dt.replace_time_zone("America/New_York")
        bars = pl.DataFrame({"timestamp": times, "close": times.dt.epoch("s")})
        return pl.concat([bars.with_columns(symbol=pl.lit(symbol)) for symbol in symbols])

    def get_metadata(self):
        return SimpleNamespace(
            source_type=self.kind, supports_live=self.live, data_delay=None, additional_info={}
        )

    def supports_live(self):
        return self.live

    def ingest_to_bundle(self, *call, **options):
        return call, options


@pytest.fixture
def adapter():
    return Adapter()


@pytest.fixture
def make(tmp_path):
    opened = []

    def make(adapter, **options):
        opened.append(CachedDataSource(adapter, tmp_path / "shared", **options))
        return opened[-1]

    yield make
    for source in opened:
        source.close()


def fetch(source, symbols=("AAPL",), start=NEW_YEAR, end=END, frequency="1d"):
    return asyncio.run(source.fetch(list(symbols), start, end, frequency))


def test_a_second_fetch_and_parts_of_it_do_not_reach_the_adapter(make, adapter):
    source = make(adapter)
    first = fetch(source, ["MSFT", "AAPL"])
    assert first.height == 62
    assert_frame_equal(fetch(source, ["AAPL", "MSFT"]), first)
    part = fetch(source, ["AAPL"], NEW_YEAR + pd.Timedelta(days=3))
    assert_frame_equal(part, first.filter(pl.col("symbol") == "AAPL").slice(3))
    assert len(adapter.calls) == 1
    assert source.get_stats() == {
        "hit_rate": pytest.approx(200 / 3),
        "total_fetches": 3,
        "hits": 2,
        "misses": 1,
        "size_mb": pytest.approx(source.cache._total_size_bytes() / 2**20),
        "entries": 2,
    }


def test_the_adapter_is_asked_as_without_a_cache(make, adapter):
    fetch(make(adapter))
    assert adapter.calls == [(("AAPL",), NEW_YEAR, END, "1d")]
    fetch(make(adapter), end=END + pd.Timedelta(days=5))
    assert adapter.calls[1][1:3] == (END, END + pd.Timedelta(days=5)), "one bar of overlap"


def test_times_of_the_day_are_told_apart_within_the_day(make, adapter):
    source = make(adapter)
    day = pd.Timestamp("2023-01-04")
    hours = [pd.Timedelta(hours=hour) for hour in (9, 10, 15, 16)]
    morning = fetch(source, start=day + hours[0], end=day + hours[1], frequency="1h")
    noon = fetch(source, start=day + hours[2], end=day + hours[3], frequency="1h")
    assert (morning.height, noon.height) == (2, 2)
    assert not morning.equals(noon)
    assert len(adapter.calls) == 2


def test_symbols_and_sources_are_told_apart(make):
    one, other = Adapter("one"), Adapter("other")
    fetch(make(one), ["A", "B"])
    fetch(make(one), ["A,B"])
    fetch(make(other), ["A", "B"])
    assert (len(one.calls), len(other.calls)) == (2, 1)
    keys = {
        make(adapter)._generate_cache_key(["A"], NEW_YEAR, END, "1d") for adapter in (one, other)
    }
    assert [len(key) for key in keys] == [16, 16]


def test_words_for_frequencies_reach_adapters_as_numbers(make, adapter):
    source = make(adapter)
    fetch(source, frequency="daily")
    fetch(source, frequency="1d")
    fetch(source, frequency="hourly")
    assert [call[3] for call in adapter.calls] == ["1d", "1h"]


def test_an_adapter_that_is_not_async_will_do(make):
    adapter = Adapter()

    class Plain:
        source_id = "plain"

        def fetch(self, *call):
            return asyncio.run(adapter.fetch(*call))

    source = make(Plain())
    assert fetch(source).equals(fetch(source))
    assert source.get_stats()["misses"] == 1
    assert source.supports_live() is False


def test_tasks_that_wait_for_one_fetch_are_hits(make, adapter):
    source = make(adapter)

    async def main():
        calls = (source.fetch(["AAPL"], NEW_YEAR, END, "1d") for _ in range(5))
        return await asyncio.gather(*calls)

    assert len(asyncio.run(main())) == 5
    assert (len(adapter.calls), source.get_stats()["misses"]) == (1, 1)


# --- freshness ----------------------------------------------------------------------------------

NOW = datetime(2023, 1, 20, 15, tzinfo=UTC)


class Clock:
    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now.timestamp()


@pytest.fixture
def clock():
    return Clock()


def timed(source, clock):
    source.cache._bar_reader.clock = clock
    return source


def test_without_a_policy_only_bars_that_are_not_final_are_fetched_again(make, adapter, clock):
    source = timed(make(adapter), clock)
    fetch(source, end=pd.Timestamp("2023-01-20"))
    clock.now += timedelta(seconds=10)
    fetch(source, end=pd.Timestamp("2023-01-20"))
    assert [call[1] for call in adapter.calls] == [NEW_YEAR, pd.Timestamp("2023-01-18")]
    fetch(source, end=pd.Timestamp("2023-01-15"))
    assert len(adapter.calls) == 2


@pytest.mark.parametrize(
    ("policy", "pauses_s", "calls"),
    [
        (NeverStaleFreshnessPolicy, [1, 10**7], 1),
        (AlwaysStaleFreshnessPolicy, [0, 0], 3),
        (TTLFreshnessPolicy, [0, 300 - 1, 1, 299], 2),
    ],
)
def test_a_policy_says_how_old_an_answer_may_be(make, adapter, clock, policy, pauses_s, calls):
    ttl = {"ttl_seconds": 300} if policy is TTLFreshnessPolicy else {}
    source = timed(make(adapter, freshness_policy=policy(clock=clock, **ttl)), clock)
    fetch(source)
    for pause_s in pauses_s:
        clock.now += timedelta(seconds=pause_s)
        fetch(source)
    assert len(adapter.calls) == calls


def test_a_policy_is_given_the_calendar(make, clock):
    day = 86_400 * 10**6
    first = date(2023, 1, 2).toordinal() - date(1970, 1, 1).toordinal()
    days = tuple(first + number for number in range(60))
    opens = tuple(number * day + 14 * 3600 * 10**6 for number in days)
    closes = tuple(moment + 7 * 3600 * 10**6 for moment in opens)
    adapter = Adapter()
    adapter.calendar = Calendar("TEST", days, opens, closes)
    policy = MarketCloseFreshnessPolicy(clock=clock, data_delay_s=0)
    source = timed(make(adapter, freshness_policy=policy), clock)  # 15:00: the market is open.
    fetch(source)
    clock.now += timedelta(hours=5)
    fetch(source)
    assert len(adapter.calls) == 1
    clock.now += timedelta(hours=2)  # 22:00: it has closed since.
    fetch(source)
    fetch(source)
    assert len(adapter.calls) == 2


def test_the_configuration_chooses_a_policy(make, adapter):
    source = make(adapter, config={"cache.max_size_bytes": 2**30, "live": True})
    assert source.cache.cold_cache_size_mb == 1024
    fetch(source)
    fetch(source)
    assert len(adapter.calls) == 2
    with pytest.raises(InvalidArgument):
        make(adapter, config={"acme.no_such_setting": 1})
    assert make(adapter, max_size_mb=5).cache.cold_cache_size_mb == 5


# --- the rest of the interface ------------------------------------------------------------------


def test_warm_cache_fetches_and_returns_nothing(make, adapter):
    source = make(adapter)
    assert asyncio.run(source.warm_cache(["AAPL"], NEW_YEAR, END, "1d")) is None
    fetch(source)
    assert len(adapter.calls) == 1


def test_what_is_invalidated_is_asked_for_anew_and_nothing_else(make, adapter):
    source = make(adapter)
    fetch(source, ["AAPL", "MSFT"])
    fetch(make(Adapter("other")))
    source.invalidate(
        symbols=["AAPL"],
        start=pd.Timestamp("2023-01-10"),
        end=pd.Timestamp("2023-01-12"),
        frequency="daily",
    )
    source.invalidate(frequency="1h")
    adapter.calls.clear()
    answer = fetch(source, ["AAPL", "MSFT"])
    assert answer.height == 62
    overlap = pd.Timedelta(days=1)
    assert adapter.calls == [
        (
            ("AAPL",),
            pd.Timestamp("2023-01-10") - overlap,
            pd.Timestamp("2023-01-12") + overlap,
            "1d",
        )
    ]
    source.invalidate("MSFT", end=pd.Timestamp("2023-01-05"))
    source.invalidate(["GOOG"])
    adapter.calls.clear()
    fetch(source, ["AAPL", "MSFT"])
    assert [call[:2] for call in adapter.calls] == [(("MSFT",), NEW_YEAR)]
    source.invalidate()
    adapter.calls.clear()
    fetch(source, ["AAPL", "MSFT"])
    assert [call[1:3] for call in adapter.calls] == [(NEW_YEAR, END)]
    other = Adapter("other")
    fetch(make(other))
    assert other.calls == [], "another source's are kept"
    with pytest.raises(InvalidArgument):
        source.invalidate(start=END, end=NEW_YEAR)


def test_the_adapter_answers_what_is_its_own(make):
    adapter = Adapter(supports_live=True)
    source = make(adapter)
    assert source.get_metadata().source_type == "acme"
    assert source.supports_live() is True
    assert source.ingest_to_bundle("b", ["AAPL"], NEW_YEAR, END, "1d", x=1) == (
        ("b", ["AAPL"], NEW_YEAR, END, "1d"),
        {"x": 1},
    )
    source.catalog = adapter  # As RustyBT's tests do.
    assert source.catalog is adapter
    assert source.adapter is adapter


def test_the_folder_is_named_by_argument_or_environment(tmp_path, monkeypatch, adapter):
    monkeypatch.setenv("RUSTYBT_CACHE_DIR", str(tmp_path / "named"))
    with CachedDataSource(adapter) as source:
        fetch(source)
    assert (tmp_path / "named" / "barcache" / "metadata.db").is_file()
    monkeypatch.delenv("RUSTYBT_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with CachedDataSource(adapter) as source:
        assert source.cache_dir == tmp_path / "home" / ".rustybt" / "cache"
    assert [path.name for path in source.cache_dir.iterdir()] == ["barcache"]


def test_a_failing_adapter_raises_and_is_neither_hit_nor_miss(make, adapter):
    source = make(adapter)
    broken = AsyncMock(side_effect=OSError("the line is dead"))
    mocked = Mock(spec=Adapter, fetch=broken, get_metadata=adapter.get_metadata)
    mocked.supports_live.return_value = False
    failing = make(mocked)
    with pytest.raises(OSError, match="dead"):
        fetch(failing)
    assert failing.get_stats()["total_fetches"] == 0
    fetch(source)
    fetch(failing)  # The same source by name: all of it is there.
    assert failing.get_stats()["hit_rate"] == 100.0
