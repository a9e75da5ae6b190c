"""Anything that can fetch is a source: functions, objects, RustyBT's adapters by their shape."""

import asyncio
import functools
import os
import threading
from collections import namedtuple
from datetime import UTC, date, datetime, timedelta, timezone
from unittest import mock

import pandas as pd
import polars as pl
import pytest
from barcache import InvalidArgument, InvalidType, SourceError
from barcache.sources import Source, as_source, get, names, register, unregister
from barcache.sources.base import as_argument

DAY = date(2023, 1, 31)


def echo(symbols, start, end, resolution):
    return pl.DataFrame({"symbol": symbols}), start, end, resolution


async def async_echo(symbols, start, end, resolution):
    await asyncio.sleep(0)
    return echo(symbols, start, end, resolution)


class Adapter:
    """The shape of RustyBT's BaseDataAdapter."""

    def __init__(self):
        self.name = "PolygonAdapter"
        self.seen = []

    def standardize(self, df):
        return df

    async def fetch(self, symbols, start_date, end_date, resolution):
        self.seen.append((symbols, start_date, end_date, resolution))
        return pl.DataFrame({"symbol": symbols})


Metadata = namedtuple("Metadata", "source_type source_url supports_live data_delay additional_info")


class DataSource:
    """The shape of RustyBT's DataSource."""

    def __init__(self, source_type="ccxt", url="", delay=15, **more):
        self.metadata = Metadata(source_type, url, True, delay, more)
        self.seen = []

    def get_metadata(self):
        return self.metadata

    def supports_live(self):
        return True

    async def fetch(self, symbols, start, end, frequency):
        self.seen.append((symbols, start, end, frequency))
        return pl.DataFrame({"symbol": symbols})


# --- What is a source


def test_a_function_gets_what_the_caller_gave():
    frame, start, end, resolution = as_source(echo).fetch(("A",), "2023-01-01", DAY, "1d")

    assert frame["symbol"].to_list() == ["A"]
    assert (start, end, resolution) == ("2023-01-01", DAY, "1d")
    assert as_source(echo).name == f"{echo.__module__}.echo"
    assert as_source(echo, "mine").name == "mine"


def test_an_adapter_of_rustybt_gets_timestamps_by_position():
    adapter = Adapter()
    source = as_source(adapter)
    source.fetch(["A"], "2023-01-01", DAY, "1d")
    source.fetch(["A"], "2023-01-01", DAY, "1m")

    assert source.name == "polygon"
    (_, start, end, _), (_, _, late, _) = adapter.seen
    assert type(start) is type(end) is pd.Timestamp
    assert (start, end) == (pd.Timestamp("2023-01-01"), pd.Timestamp("2023-01-31"))
    assert late == pd.Timestamp("2023-01-31T23:59:59.999999")  # The whole last day.


def test_a_data_source_of_rustybt_tells_about_itself():
    source = as_source(DataSource(exchange_id="binance"))

    assert source.name == "ccxt:binance"
    assert source.calendar == "24/7"
    assert source.data_delay_s == 15 * 60
    assert source.supports_live
    assert source.argument_type == "timestamp"
    assert as_source(DataSource("yfinance", delay=None)).data_delay_s == 0
    assert as_source(DataSource("yfinance")).name == "yfinance"
    assert as_source(DataSource("csv", "file:///a.csv")).name == "csv:file:///a.csv"


def test_an_object_tells_about_itself_by_attributes():
    class Mine:
        source_id = "mine"
        data_delay_s = 60
        adjustment = "all"
        supports_live = True
        call_cost_s = timedelta(days=2)
        calendar = "XNYS"
        argument_type = "date"

        def fetch(self, symbols, start, end, resolution):
            return symbols, start, end, resolution

    source = as_source(Mine())
    assert (source.name, source.data_delay_s, source.adjustment) == ("mine", 60, "all")
    assert (source.supports_live, source.calendar) == (True, "XNYS")
    assert source.call_cost_s == 2 * 86_400
    assert source.fetch(["A"], "2023-01-01T10:00", DAY, "1m") == (
        ["A"], date(2023, 1, 1), DAY, "1m",
    )  # fmt: skip


def test_a_source_stays_itself_and_can_be_renamed():
    source = as_source(echo, "a")

    assert as_source(source) is source
    assert as_source(source, "b") == Source("b", echo, wrapped=echo)


@pytest.mark.parametrize("nothing", [3, None, object(), Adapter, {"fetch": echo}])
def test_what_cannot_fetch_is_refused(nothing):
    if nothing is Adapter:  # A class would be called with four arguments.
        with pytest.raises(InvalidType):
            as_source(nothing)
    else:
        with pytest.raises(InvalidType, match="is not a source"):
            as_source(nothing)


@pytest.mark.parametrize("nameless", [lambda *a: a, functools.partial(echo, resolution="1d")])
def test_what_has_no_lasting_name_needs_one(nameless):
    with pytest.raises(InvalidArgument, match="name="):
        as_source(nameless)
    assert as_source(nameless, "mine").name == "mine"


def test_a_negative_delay_or_cost_is_refused():
    with pytest.raises(InvalidArgument, match="delay"):
        as_source(DataSource(delay=-1))
    for cost in (-1, float("nan")):
        adapter = DataSource()
        adapter.call_cost_s = cost
        with pytest.raises(InvalidArgument, match="call cost"):
            as_source(adapter)


# --- Sync and async


def sleepless(value):
    return as_source(async_echo, value)


def test_an_async_source_is_run_for_a_sync_caller():
    assert as_source(async_echo).fetch(["A"], 1, 2, "1d")[1:] == (1, 2, "1d")


def test_also_within_a_running_loop():
    async def inside():
        return as_source(async_echo).fetch(["A"], 1, 2, "1d")

    assert asyncio.run(inside())[1:] == (1, 2, "1d")


@pytest.mark.parametrize("fetcher", [echo, async_echo, lambda *a: async_echo(*a)])
def test_async_callers_await(fetcher):
    answer = asyncio.run(as_source(fetcher, "x").afetch(["A"], 1, 2, "1d"))
    assert answer[1:] == (1, 2, "1d")


@pytest.mark.parametrize(
    "fetcher",
    [
        lambda *a: async_echo(*a),
        functools.partial(async_echo),
        type("Callable", (), {"__call__": lambda _, *a: async_echo(*a)})(),
    ],
)
def test_every_way_to_be_async_is_seen(fetcher):
    assert as_source(fetcher, "x").fetch(["A"], 1, 2, "1d")[1:] == (1, 2, "1d")


def test_what_an_async_source_opened_lives_on_in_its_loop():
    loops = []

    async def fetch(*_):
        loops.append(asyncio.get_running_loop())

    as_source(fetch, "x").fetch([], 1, 2, "1d")
    as_source(fetch, "x").fetch([], 1, 2, "1d")

    assert loops[0] is loops[1]
    assert not loops[0].is_closed()


def test_an_async_source_may_ask_another_one_synchronously():
    async def outer(*arguments):
        return as_source(async_echo).fetch(*arguments)

    assert as_source(outer, "outer").fetch(["A"], 1, 2, "1d")[1:] == (1, 2, "1d")


def test_many_threads_share_an_async_source():
    source, answers = as_source(async_echo), []
    threads = [
        threading.Thread(target=lambda i=i: answers.append(source.fetch(["A"], i, i, "1d")[1]))
        for i in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(20))


@pytest.mark.parametrize("depth", [1, 2])
def test_errors_come_out_as_they_are(depth):
    async def fail(*_):
        raise ConnectionResetError("gone")

    async def ask(*arguments):
        return as_source(fail, "fail").fetch(*arguments)

    with pytest.raises(ConnectionResetError, match="gone"):
        as_source(fail if depth == 1 else ask, "x").fetch([], 1, 2, "1d")


def test_a_forked_child_has_a_loop_of_its_own():
    source = as_source(async_echo)
    source.fetch(["A"], 1, 2, "1d")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if asyncio_answer(source) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def asyncio_answer(source):
    async def one(*_):
        return 1

    return as_source(one, "one").fetch([], 1, 2, "1d") if source else None


# --- Arguments


@pytest.mark.parametrize("zone", [None, UTC, timezone(timedelta(hours=-5))])
def test_a_zone_is_kept(zone):
    moment = datetime(2023, 1, 2, 9, 30, tzinfo=zone)

    assert as_argument(moment, "timestamp") == pd.Timestamp(moment)
    assert as_argument(pd.Timestamp(moment), "datetime") == moment
    assert as_argument(moment.isoformat(), "datetime") == moment
    assert as_argument(moment, "str") == moment.isoformat()
    assert as_argument(moment, "as given") is moment


@pytest.mark.parametrize("value", ["2023-13-01", "yesterday", "01/02/2023 10:00"])
def test_text_that_is_no_date_is_refused(value):
    with pytest.raises(InvalidArgument, match="ISO"):
        as_argument(value, "date")


def test_a_number_is_no_date():
    with pytest.raises(InvalidType):
        as_argument(20230101, "date")


# --- The registry


@pytest.fixture
def named():
    yield "test-source"
    unregister("test-source")


def test_registered_by_name(named):
    register(named, echo)

    assert named in names()
    assert get(named) is echo
    assert as_source(named).name == named
    register(named, async_echo)
    assert get(named) is async_echo
    unregister(named)
    with pytest.raises(InvalidArgument, match="no source is registered as 'test-source'"):
        as_source(named)


def test_a_registered_name_is_all_that_get_or_fetch_needs(named, cache):
    calls = []

    def bars(symbols, start, end, resolution):
        calls.append((symbols, start, end, resolution))
        days = pl.date_range(date.fromisoformat(start), date.fromisoformat(end), eager=True)
        return pl.DataFrame({"date": days, "symbol": symbols * len(days)})

    request = (["A"], "2023-01-01", "2023-01-05", "1d", named)
    with pytest.raises(InvalidType, match=f"no source is registered as '{named}'"):
        cache.get_or_fetch(*request)
    register(named, bars)
    assert cache.get_or_fetch(*request).height == 5
    assert asyncio.run(cache.aget_or_fetch(*request)).height == 5
    assert calls == [request[:4]]
    given = cache.get_or_fetch(["B"], *request[1:], bars)  # The function goes before the name.
    assert given["symbol"].to_list() == ["B"] * 5
    assert cache.coverage(source=named)["symbol"].to_list() == ["A", "B"]


def test_a_factory_makes_it_once(named):
    made = []

    def factory():
        made.append(DataSource(exchange_id="kraken"))
        return made[-1]

    register(named, factory)
    assert get(named) is get(named) is made[0]
    assert as_source(named).calendar == "24/7"
    assert as_source(named).name == "ccxt:kraken"  # It knows its own name.
    register(named, DataSource)
    assert isinstance(get(named), DataSource)


def test_names_are_cheap_to_ask_for(named, monkeypatch):
    from barcache.sources import registry

    names()
    monkeypatch.setattr(registry, "entry_points", None)  # Would fail if it were called.
    register(named, echo)
    assert named in names()
    assert get(named) is echo


def test_a_factory_that_fails_says_so(named):
    register(named, lambda: 1 / 0)
    with pytest.raises(SourceError, match="'test-source' could not be made: ZeroDivisionError"):
        get(named)


def test_only_sources_are_registered(named):
    for wrong in (3, "yfinance", None):
        with pytest.raises(InvalidArgument):
            register(named, wrong)
    with pytest.raises(InvalidArgument):
        register("", echo)
    with pytest.raises(InvalidType):
        register(3, echo)


def test_packages_offer_sources_that_are_loaded_late(tmp_path, monkeypatch):
    info = tmp_path / "offering-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[barcache.sources]\noffered = offered_module:fetch\nbroken = broken_module:fetch\n"
    )
    (tmp_path / "offered_module.py").write_text("def fetch(symbols, a, b, r):\n    return a\n")
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert {"offered", "broken"} <= set(names())
    assert as_source("offered").fetch([], 7, 8, "1d") == 7
    with pytest.raises(SourceError, match=r"'broken' of offering .*RuntimeError: no licence"):
        as_source("broken")
    unregister("offered")


def test_a_mock_is_a_source_too():
    """As RustyBT's own tests make adapters; it has every attribute that it is asked for."""
    adapter = mock.Mock(spec=Adapter, fetch=mock.AsyncMock(return_value="bars"))
    source = as_source(adapter, name="mocked")

    assert source.fetch(["AAPL"], DAY, DAY, "1d") == "bars"
    assert asyncio.run(source.afetch(["AAPL"], DAY, DAY, "1d")) == "bars"
    assert adapter.fetch.await_count == 2
