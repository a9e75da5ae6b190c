"""yfinance and ccxt, played by stand-ins in their documented shapes; for real with -m network."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from barcache import (
    AccessDenied,
    InvalidArgument,
    InvalidBars,
    RangeUnavailable,
    RateLimited,
    SourceUnavailable,
    SymbolNotFound,
)
from barcache.sources import CCXTSource, RateLimiter, YFinanceSource, as_source, with_retry
from vendor_fakes import (
    BadSymbol,
    Exchange,
    RateLimitExceeded,
    Yahoo,
    YFPricesMissingError,
    YFRateLimitError,
    daily_bars,
    minute_bars,
)

DAYS = ("2023-01-03", "2023-01-05")


@pytest.fixture
def yahoo(monkeypatch):
    fake = Yahoo(daily_bars())
    monkeypatch.setitem(sys.modules, "yfinance", fake)
    return fake


def clock():
    return datetime(2023, 1, 31, tzinfo=UTC).timestamp()


# --- yfinance


@pytest.mark.parametrize("adjustment", ["all", "splits"])
def test_one_symbol_is_adjusted_as_many_are(yahoo, adjustment):
    """B33: the reference adjusts one symbol, and several not."""
    source = YFinanceSource(adjustment)
    one = source.fetch(["AAPL"], *DAYS, "1d")
    many = source.fetch(["AAPL", "MSFT"], *DAYS, "1d")

    assert many.filter(pl.col("symbol") == "AAPL").equals(one)
    assert {call[4] for call in yahoo.calls} == {adjustment == "all"}
    assert one["close"][0] == 104.0 * (0.5 if adjustment == "all" else 1.0)
    assert as_source(source).adjustment == adjustment


@pytest.mark.usefixtures("yahoo")
def test_what_is_adjusted_for_splits_only_says_the_rest_beside_it():
    bars = YFinanceSource("splits").fetch(["AAPL"], *DAYS, "1d")
    assert bars["adj_close"].to_list() == [close * 0.5 for close in bars["close"]]
    assert "adj_close" not in YFinanceSource().fetch(["AAPL"], *DAYS, "1d").columns
    with pytest.raises(InvalidArgument, match="adjustment='raw'"):
        YFinanceSource("raw")


def test_a_day_is_the_exchange_s_own(yahoo):
    bars = YFinanceSource().fetch(["AAPL"], *DAYS, "1d")
    assert bars["timestamp"].to_list() == [date(2023, 1, d) for d in (3, 4, 5)]
    assert yahoo.calls[0][:4] == ("AAPL", "2023-01-03", "2023-01-06", "1d")
    yahoo.zone = "Asia/Tokyo"
    assert YFinanceSource().fetch(["AAPL"], *DAYS, "1d").equals(bars)


def test_the_source_tells_about_itself(yahoo):
    source = as_source(YFinanceSource(calendar="XNYS"))
    assert (source.name, source.calendar) == ("yfinance", "XNYS")
    assert source.data_delay_s == 900
    assert not yahoo.calls


def test_minutes_are_asked_for_in_pages_that_yahoo_answers(monkeypatch):
    fake = Yahoo(minute_bars(first=datetime(2023, 1, 4, 14, 30), days=20))
    monkeypatch.setitem(sys.modules, "yfinance", fake)
    bars = YFinanceSource(clock=clock).fetch(["AAPL"], "2023-01-05", "2023-01-20", "1m")

    assert bars.height == 16 * 30
    assert bars["timestamp"][0] == datetime(2023, 1, 5, 14, 30, tzinfo=UTC)
    for (_, _, stop, _, _), (_, start, _, _, _) in zip(fake.calls, fake.calls[1:], strict=False):
        assert start == stop
    for _, start, stop, _, _ in fake.calls:
        assert (date.fromisoformat(stop) - date.fromisoformat(start)).days <= 7


@pytest.mark.parametrize(
    ("resolution", "first_available"),
    [("1m", date(2023, 1, 2)), ("5m", date(2022, 12, 3)), ("60m", date(2021, 2, 1))],
)
def test_bars_of_too_long_ago_are_refused(yahoo, resolution, first_available):
    source = YFinanceSource(clock=clock)
    before = first_available - timedelta(days=1)
    with pytest.raises(RangeUnavailable, match=f"ask for {first_available} or later"):
        source.fetch(["AAPL"], before, "2023-01-31", resolution)
    assert not yahoo.calls
    source.fetch(["AAPL"], first_available, first_available, resolution)
    assert yahoo.calls


def test_a_resolution_that_yahoo_does_not_have(yahoo):
    with pytest.raises(RangeUnavailable, match="no bars of 4h: there are"):
        YFinanceSource().fetch(["AAPL"], *DAYS, "4h")
    assert not yahoo.calls


@pytest.mark.usefixtures("yahoo")
def test_no_bars_are_an_answer_and_no_symbol_is_not():
    assert YFinanceSource().fetch(["AAPL"], "2023-01-07", "2023-01-08", "1d").is_empty()
    with pytest.raises(SymbolNotFound, match="Yahoo does not know 'NIX'") as caught:
        YFinanceSource().fetch(["AAPL", "NIX"], *DAYS, "1d")
    assert caught.value.symbols == ("NIX",)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (YFRateLimitError("Too Many Requests"), RateLimited),
        (ConnectionResetError("gone"), SourceUnavailable),
        (KeyError("chart"), KeyError),
    ],
)
def test_an_error_of_yahoo_is_never_taken_for_no_bars(yahoo, error, kind):
    yahoo.errors = [error]
    with pytest.raises(kind):
        YFinanceSource().fetch(["AAPL"], *DAYS, "1d")
    yahoo.errors = [YFPricesMissingError("none")]
    assert YFinanceSource().fetch(["AAPL"], *DAYS, "1d").is_empty()
    yahoo.describes, yahoo.errors = False, [YFPricesMissingError("none")]
    with pytest.raises(SourceUnavailable, match="Yahoo did not answer for 'AAPL'"):
        YFinanceSource().fetch(["AAPL"], *DAYS, "1d")


def test_a_rate_limit_is_waited_out_with_retry(yahoo):
    slept = []
    yahoo.errors = [YFRateLimitError("Too Many Requests")] * 2
    source = with_retry(YFinanceSource(), sleep=slept.append)
    assert source.fetch(["AAPL"], *DAYS, "1d").height == 3
    assert len(slept) == 2


def test_each_request_passes_the_limiter(yahoo):
    waits = []
    limiter = RateLimiter(1, clock=lambda: 0.0, sleep=waits.append)
    YFinanceSource(limiter=limiter).fetch(["AAPL", "MSFT"], *DAYS, "1d")
    assert waits == [1.0]
    assert len(yahoo.calls) == 2


# --- ccxt


def test_pages_are_read_to_the_end():
    exchange = Exchange(minute_bars(("BTC/USDT",)), largest_page=7)
    bars = CCXTSource(exchange).fetch(["BTC/USDT"], "2023-01-03", "2023-01-05", "1m")

    assert bars.height == 90
    assert bars["timestamp"].is_unique().all()
    assert all(since > before for (_, _, before, _), (_, _, since, _)
               in zip(exchange.calls, exchange.calls[1:], strict=False))  # fmt: skip


def test_an_empty_page_is_not_the_end():
    """An exchange that answers for a window of time only, with a gap wider than a page."""

    class Window(Exchange):
        def fetch_ohlcv(self, symbol, timeframe, since, limit):
            rows = super().fetch_ohlcv(symbol, timeframe, since, limit)
            return [row for row in rows if row[0] < since + limit * 60_000]

    bars = CCXTSource(Window(minute_bars(("BTC/USDT",))), page=60).fetch(
        ["BTC/USDT"], "2023-01-03", "2023-01-05", "1m"
    )
    assert bars.height == 90


def test_an_exchange_that_repeats_itself_is_not_asked_for_ever():
    class Stubborn(Exchange):
        def fetch_ohlcv(self, symbol, timeframe, since, limit):
            self.calls.append(since)
            return Exchange.fetch_ohlcv(self, symbol, timeframe, 0, limit)

    stubborn = Stubborn(minute_bars(("BTC/USDT",), days=1), largest_page=100)
    bars = CCXTSource(stubborn).fetch(["BTC/USDT"], "2023-01-03", "2023-01-05", "1m")
    assert bars.height == 30
    assert len(stubborn.calls) < 20


def test_the_exchange_is_part_of_the_name():
    source = as_source(CCXTSource(Exchange(daily_bars())))
    assert (source.name, source.calendar) == ("ccxt:binance", "24/7")
    assert as_source(CCXTSource("kraken")).name == "ccxt:kraken"


def test_spellings_of_ccxt():
    exchange = Exchange(daily_bars(("BTC/USDT",)))
    source = CCXTSource(exchange)
    for resolution, timeframe in (("1wk", "1w"), ("1mo", "1M"), ("60m", "1h")):
        exchange.calls.clear()
        source.fetch(["BTC/USDT"], "2023-01-07", "2023-01-07", resolution)
        assert exchange.calls[0][1] == timeframe
    with pytest.raises(RangeUnavailable, match="binance has no bars of 5m"):
        source.fetch(["BTC/USDT"], *DAYS, "5m")


def test_a_pair_that_is_not_traded():
    with pytest.raises(SymbolNotFound, match="does not trade NIX/USDT") as caught:
        CCXTSource(Exchange(daily_bars())).fetch(["AAPL", "NIX/USDT"], *DAYS, "1d")
    assert caught.value.symbols == ("NIX/USDT",)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RateLimitExceeded("slow down"), RateLimited),
        (BadSymbol("no"), SymbolNotFound),
        (type("ExchangeNotAvailable", (type("NetworkError", (Exception,), {}),), {})(),
         SourceUnavailable),
        (type("PermissionDenied", (Exception,), {})("no"), AccessDenied),
        (ZeroDivisionError(), ZeroDivisionError),
    ],
)  # fmt: skip
def test_errors_of_an_exchange(error, kind):
    exchange = Exchange(daily_bars())
    exchange.errors = [error]
    with pytest.raises(kind):
        CCXTSource(exchange).fetch(["AAPL"], *DAYS, "1d")


def test_missing_numbers_of_an_exchange_are_named():
    bars = daily_bars().with_columns(volume=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(InvalidBars, match="volume is missing"):
        CCXTSource(Exchange(bars)).fetch(["AAPL"], *DAYS, "1d")


def test_an_exchange_by_name(monkeypatch):
    made = []

    class Ccxt:
        exchanges = ("binance",)

        @staticmethod
        def binance(options):
            made.append(Exchange(daily_bars(), options))
            return made[-1]

    monkeypatch.setitem(sys.modules, "ccxt", Ccxt)
    source = CCXTSource("binance", options={"apiKey": "k"})
    assert not made  # Made late, and once.
    source.fetch(["AAPL"], *DAYS, "1d")
    source.fetch(["AAPL"], *DAYS, "1d")
    assert [exchange.options for exchange in made] == [{"enableRateLimit": True, "apiKey": "k"}]
    with pytest.raises(InvalidArgument, match="no exchange 'nix'"):
        CCXTSource("nix").fetch(["AAPL"], *DAYS, "1d")
    with pytest.raises(InvalidArgument, match="page=1"):
        CCXTSource(page=1)


@pytest.mark.parametrize("source", ["yfinance", "ccxt"])
def test_a_missing_package_says_how_to_install_it(source):
    script = f"""
import sys
sys.modules["{source}"] = None
from barcache.sources import YFinanceSource, CCXTSource
source = YFinanceSource() if "{source}" == "yfinance" else CCXTSource()
try:
    source.fetch(["AAPL"], "2023-01-03", "2023-01-04", "1d")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f'pip install "barcache[{source}]"' in done.stdout, done.stderr


# --- For real


@pytest.mark.network
@pytest.mark.parametrize("symbols", [["AAPL"], ["AAPL", "MSFT"]])
def test_yahoo_for_real(symbols):
    pytest.importorskip("yfinance")
    bars = YFinanceSource().fetch(symbols, "2023-01-03", "2023-01-05", "1d")
    assert bars.height == 3 * len(symbols)


@pytest.mark.network
def test_an_exchange_for_real():
    pytest.importorskip("ccxt")
    bars = CCXTSource("kraken").fetch(["BTC/USD"], date.today().replace(day=1), date.today(), "1d")
    assert bars.height == date.today().day
