"""A server on 127.0.0.1 that answers like Yahoo Finance, with synthetic daily bars, and counts.

It knows the addresses that yfinance asks for bars, and those that yfinance-cache asks for about a
symbol. `LocalSession` sends what is meant for Yahoo there.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
from barcache.bench.frames import walk

from benchmarks.local_server import LocalServer

if TYPE_CHECKING:
    from datetime import date

ZONE = "America/New_York"
SESSION_S = 23_400
CHART = "/v8/finance/chart/"


def sessions(first: date, last: date) -> pl.Series:
    """When the New York Stock Exchange opened on each of its days, in UTC."""
    import exchange_calendars

    calendar = exchange_calendars.get_calendar("XNYS", start=first, end=last)
    opens = calendar.opens.dt.tz_convert("UTC").dt.tz_localize(None)
    return pl.Series("timestamp", opens.to_numpy().astype("datetime64[us]"))


class YahooServer(LocalServer):
    """The server; use it in a with block.

    Args:
        symbols: Whose bars it has.
        first: The first day of them.
        last: The last one.

    Attributes:
        bars: By symbol; ``timestamp`` is the open of the exchange, in UTC.
        counted: Requests, requests for bars, bars and bytes that were sent, since ``reset``.
        failures: Status and body with which the next requests for bars are answered.

    Thread safety: everything may be used from any thread.
    """

    def __init__(self, symbols: list[str], first: date, last: date):
        super().__init__()
        times = sessions(first, last)
        self.bars = {
            symbol: walk(symbol, times, 20 + 7 * place, 10 * (place + 3000))
            for place, symbol in enumerate(symbols)
        }
        self.counted: Counter[str] = Counter()
        self.failures: list[tuple[int, bytes]] = []
        self._opens = times.dt.epoch("s")
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Counts from nothing again."""
        with self._lock:
            self.counted = Counter()

    def answer(self, target: str) -> tuple[int, bytes]:
        """Status and body for a path with its query."""
        parts = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        symbol = asked.get("symbols", parts.path.rsplit("/", 1)[1])
        sent, status = 0, 200 if symbol in self.bars else 404
        if parts.path.startswith(CHART) and self.failures:
            status, text = self.failures.pop(0)
        else:
            if parts.path.startswith(CHART):
                body, sent = self._chart(symbol, asked)
            else:
                body = self._about(parts.path, symbol) if status == 200 else {}
                status = status if body else 404
            text = json.dumps(body).encode()
        with self._lock:
            self.counted["requests"] += 1
            self.counted["requests for bars"] += parts.path.startswith(CHART)
            self.counted["bars"] += sent
            self.counted["bytes"] += len(text)
        return status, text

    def _chart(self, symbol: str, asked: dict[str, str]) -> tuple[dict[str, Any], int]:
        if symbol not in self.bars:
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return {"chart": {"result": None, "error": error}}, 0
        bars = self.bars[symbol]
        first, after = bars.height - 1, bars.height
        if "period1" in asked:
            first = int(self._opens.search_sorted(int(asked["period1"])))
            after = int(self._opens.search_sorted(int(asked["period2"])))
        chosen = bars[first:after]
        result: dict[str, Any] = {"meta": self._meta(symbol), "indicators": {"quote": [{}]}}
        if chosen.height:
            names = ("open", "high", "low", "close", "volume")
            result["timestamp"] = self._opens[first:after].to_list()
            result["indicators"] = {
                "quote": [{name: chosen[name].to_list() for name in names}],
                "adjclose": [{"adjclose": chosen["close"].to_list()}],
            }
        return {"chart": {"result": [result], "error": None}}, chosen.height

    def _meta(self, symbol: str) -> dict[str, Any]:
        first, last = int(self._opens[0]), int(self._opens[-1])
        period = {"timezone": "EST", "start": last, "end": last + SESSION_S, "gmtoffset": -18000}
        return {
            "currency": "USD",
            "symbol": symbol,
            "exchangeName": "NMS",
            "instrumentType": "EQUITY",
            "firstTradeDate": first,
            "regularMarketTime": last + SESSION_S,
            "gmtoffset": -18000,
            "timezone": "EST",
            "exchangeTimezoneName": ZONE,
            "priceHint": 2,
            "currentTradingPeriod": dict.fromkeys(("pre", "regular", "post"), period),
            "dataGranularity": "1d",
            "range": "",
            "validRanges": ["1d", "5d", "1mo", "1y", "max"],
        }

    def _about(self, path: str, symbol: str) -> dict[str, Any]:
        kind = {"exchange": "NMS", "quoteType": "EQUITY", "symbol": symbol}
        first = int(self._opens[0])
        if path.startswith("/v10/finance/quoteSummary/"):
            kind |= {"firstTradeDateEpochUtc": first, "timeZoneFullName": ZONE}  # type: ignore[dict-item]
            return {"quoteSummary": {"result": [{"quoteType": kind}], "error": None}}
        if path.startswith("/v7/finance/quote"):
            kind |= {"firstTradeDateMilliseconds": first * 1000, "exchangeTimezoneName": ZONE}  # type: ignore[dict-item]
            return {"quoteResponse": {"result": [kind], "error": None}}
        if path.startswith("/ws/fundamentals-timeseries/"):
            return {"timeseries": {"result": [], "error": None}}
        return {}


def ask_local_server(local: str, place: str) -> Any:
    """From now on yfinance asks the server at `local`.

    Args:
        local: The server's address.
        place: A folder for what yfinance itself keeps.

    Returns:
        The session that it uses.
    """
    import yfinance
    from curl_cffi import requests
    from yfinance.data import YfData

    class LocalSession(requests.Session):
        def request(self, method: Any, url: str, *rest: Any, **options: Any) -> Any:
            parts = urlsplit(url)
            query = f"?{parts.query}" if parts.query else ""
            return super().request(method, f"{local}{parts.path}{query}", *rest, **options)

    session = LocalSession()
    yfinance.set_tz_cache_location(place)
    data = YfData(session=session)
    data._set_session(session)
    data._cookie, data._crumb = True, "local"  # What it asks for once, before everything else.
    return session
