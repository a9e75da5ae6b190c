"""Bars from crypto exchanges, by the package ccxt (``pip install "barcache[ccxt]"``).

Answers have the columns ``timestamp`` (Datetime in UTC), ``symbol``, ``open``, ``high``, ``low``,
``close`` and ``volume``, and go on page by page until the end of the request. Some exchanges keep
only their newest bars (Kraken 720 of each resolution): what they do not give cannot be told from
what was never traded.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from barcache.errors import InvalidArgument, RangeUnavailable, SymbolNotFound
from barcache.resolution import Resolution, parse_resolution
from barcache.sources.bars import check_bars
from barcache.sources.base import ALWAYS_OPEN, as_argument
from barcache.sources.ranges import within
from barcache.sources.vendor_errors import source_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barcache.sources.retry import RateLimiter

_SCHEMA: Final = {
    "timestamp": pl.Datetime("us", "UTC"), "symbol": pl.String(), "open": pl.Float64(),
    "high": pl.Float64(), "low": pl.Float64(), "close": pl.Float64(), "volume": pl.Float64(),
}  # fmt: skip
_SPELLING: Final = {"wk": "w", "mo": "M"}


class CCXTSource:
    """Bars from one exchange.

    Args:
        exchange: the exchange's id in ccxt, such as ``"binance"``, or an exchange object of ccxt.
        options: for the exchange's constructor; ``enableRateLimit`` is on unless it says otherwise.
        page: bars to ask for at once.
        limiter: lets each request through, beside ccxt's own limit.

    Thread safety: that of ccxt. Nothing is retried: see ``with_retry``.
    """

    calendar = ALWAYS_OPEN
    supports_live = True

    def __init__(
        self,
        exchange: Any = "binance",
        *,
        options: Mapping[str, Any] | None = None,
        page: int = 1000,
        limiter: RateLimiter | None = None,
    ):
        if page < 2:
            raise InvalidArgument(f"page={page} bars at once make no sense: use 2 or more")
        self._given = exchange
        self._id = exchange if isinstance(exchange, str) else exchange.id
        self._options = {"enableRateLimit": True, **(options or {})}
        self._page = page
        self._limiter = limiter
        self._lock = threading.Lock()
        self._made: Any = None

    @property
    def source_id(self) -> str:
        """``ccxt:`` and the exchange."""
        return f"ccxt:{self._id}"

    def fetch(self, symbols: Sequence[str], start: Any, end: Any, resolution: str) -> pl.DataFrame:
        """The bars of ``symbols`` from ``start`` to ``end``, both included; both in UTC.

        Raises:
            ImportError: ccxt is not installed.
            InvalidArgument: ccxt has no such exchange.
            RangeUnavailable: the exchange has no bars of that resolution.
            SymbolNotFound, RateLimited, SourceUnavailable, AccessDenied: what the exchange said.
            InvalidBars: bars that cannot be right.
        """
        step = parse_resolution(resolution)
        exchange = self._exchange()
        timeframe = self._timeframe(exchange, step)
        self._require_known(exchange, symbols)
        first_ms = _as_ms(as_argument(start, "datetime"))
        last_ms = _as_ms(as_argument(end, "datetime", whole_day=True))
        frames = [pl.DataFrame(schema=_SCHEMA)]
        for symbol in symbols:
            rows = self._pages(exchange, symbol, timeframe, first_ms, last_ms, step)
            frames.append(_as_bars(symbol, rows))
        bars = pl.concat(frames).filter(within("timestamp", _SCHEMA["timestamp"], start, end))
        bars = bars.sort("symbol", "timestamp")
        check_bars(bars, step, source=self.source_id)
        return bars

    def _pages(
        self, exchange: Any, symbol: str, timeframe: str, first: int, last: int, step: Resolution
    ) -> dict[int, list[float]]:
        """The bars by their time in milliseconds; a later answer for the same time holds."""
        step_ms = step.seconds * 1000
        found: dict[int, list[float]] = {}
        since = first
        while since <= last:
            rows = self._call(exchange.fetch_ohlcv, symbol, timeframe, since, self._page)
            rows = [row for row in rows if row[0] >= since]
            found.update((int(row[0]), row) for row in rows)
            if rows:
                since = int(max(row[0] for row in rows)) + 1
                if since - 1 + step_ms > last:
                    break
            else:  # Nothing on this page does not say that there is nothing beyond it.
                since += self._page * step_ms
        return found

    def _call(self, method: Any, *arguments: Any) -> Any:
        if self._limiter is not None:
            self._limiter.acquire()
        try:
            return method(*arguments)
        except Exception as error:
            found = source_error(error)
            if found is None:
                raise
            raise found from error

    def _exchange(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._given
                if isinstance(self._given, str):
                    self._made = _exchange_class(self._given)(dict(self._options))
            return self._made

    def _require_known(self, exchange: Any, symbols: Sequence[str]) -> None:
        with self._lock:
            markets = getattr(exchange, "markets", None) or self._call(exchange.load_markets)
        unknown = [symbol for symbol in symbols if symbol not in markets]
        if unknown:
            raise SymbolNotFound(
                f"{self._id} does not trade {', '.join(unknown)}: write a pair as BTC/USDT", unknown
            )

    def _timeframe(self, exchange: Any, step: Resolution) -> str:
        timeframe = f"{step.count}{_SPELLING.get(step.unit, step.unit)}"
        offered = getattr(exchange, "timeframes", None) or {}
        if offered and timeframe not in offered:
            raise RangeUnavailable(
                f"{self._id} has no bars of {step}: there are {', '.join(offered)}"
            )
        return timeframe


def _as_ms(moment: datetime) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def _as_bars(symbol: str, rows: dict[int, list[float]]) -> pl.DataFrame:
    times = pl.Series(sorted(rows), dtype=pl.Int64)
    columns: dict[str, Any] = {
        "timestamp": (times * 1000).cast(_SCHEMA["timestamp"]),
        "symbol": [symbol] * len(times),
    }
    for place, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
        values = [None if rows[t][place] is None else float(rows[t][place]) for t in times]
        columns[name] = pl.Series(values, dtype=pl.Float64)
    return pl.DataFrame(columns, schema=_SCHEMA)


def _exchange_class(name: str) -> Any:
    try:
        import ccxt
    except ImportError as error:
        raise ImportError(
            'this source needs ccxt; install it with: pip install "barcache[ccxt]"'
        ) from error
    if name not in ccxt.exchanges:
        raise InvalidArgument(f"ccxt has no exchange {name!r}: see ccxt.exchanges")
    return getattr(ccxt, name)
