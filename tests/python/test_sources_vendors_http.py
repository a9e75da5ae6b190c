"""YFinanceSource and CCXTSource with the real packages, over HTTP, against servers of the test.

`make test-vendors` installs the packages and runs this. What the servers say has the shape that
the vendors document; nothing was recorded from them.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from barcache import RateLimited, SourceUnavailable, SymbolNotFound
from barcache.sources import CCXTSource, YFinanceSource, with_retry

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.local_server import LocalServer
from benchmarks.yahoo_server import YahooServer, ask_local_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from barcache import CacheManager

WEEK = ("2023-07-03", "2023-07-07")  # The 4th is a holiday.
PAGE = b"<html><body>Service Unavailable</body></html>"


# --- Yahoo


@pytest.fixture
def yahoo(tmp_path: Path) -> Iterator[YahooServer]:
    pytest.importorskip("yfinance", reason="not installed: make test-vendors")
    with YahooServer(["AAA", "BBB"], date(2023, 6, 1), date(2023, 7, 31)) as server:
        ask_local_server(server.url, str(tmp_path / "yfinance"))
        _forget()
        yield server


def _forget() -> None:
    from yfinance.data import YfData

    YfData.cache_get.cache_clear()


def _expected(server: YahooServer, symbol: str, first: str, last: str) -> list[tuple[date, float]]:
    days = server.bars[symbol].select(pl.col("timestamp").dt.date(), "close")
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    return days.filter(pl.col("timestamp").is_between(begin, end)).rows()


def test_yahoo_s_bars_are_those_that_the_server_sends(yahoo: YahooServer) -> None:
    bars = YFinanceSource().fetch(["BBB", "AAA"], *WEEK, "1d")
    assert bars["symbol"].to_list() == ["AAA"] * 4 + ["BBB"] * 4
    for symbol in ("AAA", "BBB"):
        found = bars.filter(pl.col("symbol") == symbol).select("timestamp", "close").rows()
        assert found == _expected(yahoo, symbol, *WEEK)
    assert bars["timestamp"].to_list()[:4] == [date(2023, 7, day) for day in (3, 5, 6, 7)]
    assert yahoo.counted["bars"] == 2 * 4 + 2  # One each to learn the exchange's zone.
    splits = YFinanceSource("splits").fetch(["AAA"], *WEEK, "1d")
    assert splits["adj_close"].to_list() == splits["close"].to_list()


def test_yahoo_without_bars_and_without_the_symbol(yahoo: YahooServer) -> None:
    assert YFinanceSource().fetch(["AAA"], "2023-07-08", "2023-07-09", "1d").is_empty()
    reason = {"code": "Bad Request", "description": "Data doesn't exist for startDate = 1"}
    answer = json.dumps({"chart": {"result": None, "error": reason}}).encode()
    yahoo.failures = [(400, answer)] * 2
    assert YFinanceSource().fetch(["AAA"], "2023-07-15", "2023-07-16", "1d").is_empty()
    with pytest.raises(SymbolNotFound, match="Yahoo does not know 'NIX'"):
        YFinanceSource().fetch(["NIX"], *WEEK, "1d")
    reason = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    answer = json.dumps({"chart": {"result": None, "error": reason}}).encode()
    yahoo.failures = [(404, answer)] * 2
    with pytest.raises(SymbolNotFound, match="Yahoo does not know 'AAA'"):  # Its zone is known.
        YFinanceSource().fetch(["AAA"], *WEEK, "1d")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b"Too Many Requests", RateLimited),
        (500, b"{}", SourceUnavailable),
        (503, PAGE, SourceUnavailable),
        (
            401,
            b'{"finance": {"result": null, "error": {"description": "Invalid Crumb"}}}',
            SourceUnavailable,
        ),
        (
            500,
            b'{"chart": {"result": null, "error": {"code": "x", "description": "Internal"}}}',
            SourceUnavailable,
        ),
    ],
)
def test_an_error_of_yahoo_is_never_no_bars_and_passes(
    yahoo: YahooServer, cache: CacheManager, status: int, body: bytes, kind: type[Exception]
) -> None:
    source = YFinanceSource()
    source.fetch(["AAA"], "2023-06-01", "2023-06-02", "1d")  # The zone is known now.
    yahoo.failures = [(status, body)] * 2  # yfinance asks twice by itself.
    with pytest.raises(kind):
        source.fetch(["AAA"], *WEEK, "1d")
    if kind is not RateLimited:  # Which get_or_fetch waits out.
        yahoo.failures = [(status, body)] * 2
        with pytest.raises(kind):
            cache.get_or_fetch(["AAA"], *WEEK, "1d", source)
        assert cache.coverage().is_empty()
    assert cache.get_or_fetch(["AAA"], *WEEK, "1d", source).height == 4

    yahoo.failures = [(status, body)] * 4
    slept: list[float] = []
    retrying = with_retry(source, sleep=slept.append)
    assert retrying.fetch(["AAA"], "2023-06-05", "2023-06-09", "1d").height == 5
    assert len(slept) == 2


def test_yahoo_is_asked_for_gaps_only(yahoo: YahooServer, cache: CacheManager) -> None:
    source = YFinanceSource()
    cache.get_or_fetch(["AAA", "BBB"], *WEEK, "1d", source)
    yahoo.reset()
    both = cache.get_or_fetch(["AAA", "BBB"], "2023-07-05", "2023-07-14", "1d", source)
    assert yahoo.counted["requests for bars"] == 2
    assert yahoo.counted["bars"] == 2 * (5 + 1)  # The new week, and the bar before it.
    found = both.filter(pl.col("symbol") == "BBB").select("timestamp", "close").rows()
    assert found == _expected(yahoo, "BBB", "2023-07-05", "2023-07-14")


def test_a_yahoo_that_is_not_there(yahoo: YahooServer) -> None:
    source = YFinanceSource(timeout_s=5)
    source.fetch(["AAA"], *WEEK, "1d")
    yahoo.stop()
    with pytest.raises(SourceUnavailable):
        source.fetch(["AAA"], "2023-06-05", "2023-06-09", "1d")


# --- An exchange


class ExchangeServer(LocalServer):
    """Answers like Binance: one pair, with a bar each hour; at most 500 bars a page."""

    FIRST = datetime(2023, 7, 1, tzinfo=UTC)
    HOURS = 24 * 60

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, str]] = []
        self.failures: list[tuple[int, bytes]] = []

    def close(self, hour: int) -> float:
        return 30_000.0 + hour

    def answer(self, target: str) -> tuple[int, bytes]:
        """As an exchange would."""
        parts = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.endswith("/exchangeInfo"):
            return 200, json.dumps({"symbols": [self._pair()]}).encode()
        if not parts.path.endswith("/klines"):
            return 404, b"{}"
        self.asked.append(asked)
        if self.failures:
            return self.failures.pop(0)
        first_ms = int(self.FIRST.timestamp() * 1000)
        begin = max(0, -(-(int(asked["startTime"]) - first_ms) // 3_600_000))
        hours = range(begin, min(self.HOURS, begin + min(500, int(asked["limit"]))))
        return 200, json.dumps([self._bar(first_ms, hour) for hour in hours]).encode()

    def _bar(self, first_ms: int, hour: int) -> list[Any]:
        begin, price = first_ms + hour * 3_600_000, self.close(hour)
        prices = [str(value) for value in (price, price + 2, price - 2, price)]
        return [begin, *prices, "1.5", begin + 3_599_999, "0", 1, "0", "0", "0"]

    def _pair(self) -> dict[str, Any]:
        return {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "isSpotTradingAllowed": True,
            "permissions": ["SPOT"],
            "orderTypes": ["LIMIT"],
            "filters": [],
        }


@pytest.fixture
def exchange() -> Iterator[ExchangeServer]:
    pytest.importorskip("ccxt", reason="not installed: make test-vendors")
    with ExchangeServer() as server:
        yield server


@pytest.fixture
def binance(exchange: ExchangeServer) -> Callable[[], CCXTSource]:
    options = {
        "urls": {"api": {"public": f"{exchange.url}/api/v3"}},
        "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False},
        "enableRateLimit": False,
        "timeout": 5000,
    }
    return lambda: CCXTSource("binance", options=options)


PAIR = ["BTC/USDT"]


def test_an_exchange_s_pages_are_read_to_the_end(
    exchange: ExchangeServer, binance: Callable[[], CCXTSource]
) -> None:
    bars = binance().fetch(PAIR, "2023-07-02", "2023-08-20", "1h")
    hours = range(24, 24 * 51)
    assert bars["close"].to_list() == [exchange.close(hour) for hour in hours]
    assert bars["timestamp"][0] == exchange.FIRST + timedelta(hours=24)
    assert bars["symbol"].unique().to_list() == PAIR
    assert len(exchange.asked) == 3
    assert {one["interval"] for one in exchange.asked} == {"1h"}
    assert binance().fetch(PAIR, "2023-05-01", "2023-05-02", "1h").is_empty()


def test_a_pair_that_the_exchange_does_not_trade(
    exchange: ExchangeServer, binance: Callable[[], CCXTSource]
) -> None:
    with pytest.raises(SymbolNotFound, match="binance does not trade NIX/USDT"):
        binance().fetch([*PAIR, "NIX/USDT"], "2023-07-02", "2023-07-03", "1h")
    assert exchange.asked == []


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b'{"code": -1003, "msg": "Too many requests."}', RateLimited),
        (503, PAGE, SourceUnavailable),
        (418, b'{"code": -1003, "msg": "Banned"}', RateLimited),
    ],
)
def test_errors_of_an_exchange_are_kept_apart_and_pass(
    exchange: ExchangeServer,
    binance: Callable[[], CCXTSource],
    cache: CacheManager,
    status: int,
    body: bytes,
    kind: type[Exception],
) -> None:
    source = binance()
    exchange.failures = [(status, body)]
    with pytest.raises(kind):
        source.fetch(PAIR, "2023-07-02", "2023-07-03", "1h")
    if kind is not RateLimited:  # Which get_or_fetch waits out.
        exchange.failures = [(status, body)]
        with pytest.raises(kind):
            cache.get_or_fetch(PAIR, "2023-07-02", "2023-07-03", "1h", source)
        assert cache.coverage().is_empty()
    assert cache.get_or_fetch(PAIR, "2023-07-02", "2023-07-03", "1h", source).height == 48
    exchange.failures = [(status, body)]
    slept: list[float] = []
    retrying = with_retry(source, sleep=slept.append)
    assert retrying.fetch(PAIR, "2023-07-02", "2023-07-03", "1h").height == 48
    assert len(slept) == 1


def test_an_exchange_is_asked_for_gaps_only(
    exchange: ExchangeServer, binance: Callable[[], CCXTSource], cache: CacheManager
) -> None:
    source = binance()
    noon = datetime(2023, 7, 3, 12, tzinfo=UTC)
    cache.get_or_fetch(PAIR, noon, noon + timedelta(days=1), "1h", source)
    exchange.asked.clear()
    bars = cache.get_or_fetch(PAIR, noon, noon + timedelta(days=2), "1h", source)
    assert bars["close"].to_list() == [exchange.close(60 + hour) for hour in range(49)]
    begin = exchange.FIRST + timedelta(hours=84)  # The last hour that is held is compared.
    assert [int(one["startTime"]) for one in exchange.asked] == [int(begin.timestamp() * 1000)]


def test_an_exchange_that_is_not_there(
    exchange: ExchangeServer, binance: Callable[[], CCXTSource]
) -> None:
    source = binance()
    source.fetch(PAIR, "2023-07-02", "2023-07-02", "1h")
    exchange.stop()
    with pytest.raises(SourceUnavailable):
        source.fetch(PAIR, "2023-07-03", "2023-07-03", "1h")
