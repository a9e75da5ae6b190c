"""Bars from Yahoo Finance, by the package yfinance (``pip install "barcache[yfinance]"``).

One symbol or many, all are asked for in the same way and with the same adjustment, which is part of
the series' identity. Answers have the columns ``timestamp`` (Date from a day on, the exchange's own
day; Datetime in UTC within the day), ``symbol``, ``open``, ``high``, ``low``, ``close``, ``volume``
and, adjusted for splits only, ``adj_close``.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from barcache.errors import (
    InvalidArgument,
    RangeUnavailable,
    SourceUnavailable,
    SymbolNotFound,
)
from barcache.resolution import Resolution, parse_resolution
from barcache.sources.bars import check_bars
from barcache.sources.base import as_argument
from barcache.sources.ranges import within
from barcache.sources.vendor_errors import source_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from barcache.sources.retry import RateLimiter

ADJUSTMENTS: Final = ("all", "splits")
# How many days back Yahoo has bars within the day, and how many of them in one answer.
LIMITS_DAYS: Final = {"1m": 30, "2m": 60, "5m": 60, "15m": 60, "30m": 60, "90m": 60, "1h": 730}
_PAGE_DAYS: Final = {"1m": 7}
_INTERVALS: Final = (*LIMITS_DAYS, "1d", "5d", "1wk", "1mo", "3mo")
_COLUMNS: Final = {
    "Open": "open", "High": "high", "Low": "low", "Close": "close", "Volume": "volume",
    "Adj Close": "adj_close",
}  # fmt: skip
_DELAY_S = 900.0


class YFinanceSource:
    """Bars from Yahoo Finance.

    Args:
        adjustment: ``"all"``: prices adjusted for splits and dividends, so that a dividend changes
            the whole history; ``"splits"``: for splits only, with ``adj_close`` beside them.
        calendar: of the symbols' exchange, a name for exchange_calendars; None: not known.
        limiter: lets each request through.
        timeout_s: of each request.
        clock: the present in Unix seconds, for Yahoo's limits of bars within the day.

    Thread safety: that of yfinance. Nothing is retried: see ``with_retry``.
    """

    source_id = "yfinance"
    data_delay_s = _DELAY_S

    def __init__(
        self,
        adjustment: str = "all",
        *,
        calendar: str | None = None,
        limiter: RateLimiter | None = None,
        timeout_s: float = 30.0,
        clock: Callable[[], float] = time.time,
    ):
        if adjustment not in ADJUSTMENTS:
            raise InvalidArgument(
                f"adjustment={adjustment!r} is unknown: use one of {', '.join(ADJUSTMENTS)}"
            )
        self.adjustment = adjustment
        self.calendar = calendar
        self._limiter = limiter
        self._timeout_s = timeout_s
        self._clock = clock

    def fetch(self, symbols: Sequence[str], start: Any, end: Any, resolution: str) -> pl.DataFrame:
        """The bars of ``symbols`` from ``start`` to ``end``, both included.

        Raises:
            ImportError: yfinance is not installed.
            RangeUnavailable: no such resolution, or bars within the day of too long ago.
            SymbolNotFound, RateLimited, SourceUnavailable: what Yahoo said.
            InvalidBars: bars that cannot be right.
        """
        step = parse_resolution(resolution)
        first, last = as_argument(start, "date"), as_argument(end, "date")
        self._require_available(step, first)
        yfinance = _imported()
        frames = [self._empty(step)]
        for symbol in symbols:
            for begin, stop in self._pages(step, first, last):
                frames.append(self._asked(yfinance, symbol, begin, stop, step))
        bars = pl.concat(frames, how="diagonal").unique(["symbol", "timestamp"], keep="last")
        bars = bars.filter(within("timestamp", bars.schema["timestamp"], start, end))
        bars = bars.sort("symbol", "timestamp")
        check_bars(bars, step, source="yfinance")
        return bars

    def _require_available(self, step: Resolution, first: date) -> None:
        if step.name not in _INTERVALS:
            raise RangeUnavailable(
                f"Yahoo has no bars of {step}: there are {', '.join(_INTERVALS)}"
            )
        oldest = self._oldest_day(step)
        if first < oldest:
            raise RangeUnavailable(
                f"Yahoo has bars of {step} for the last {LIMITS_DAYS[step.name]} days only: ask "
                f"for {oldest} or later, not for {first}, or for a longer resolution"
            )

    def _oldest_day(self, step: Resolution) -> date:
        if step.name not in LIMITS_DAYS:
            return date.min
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        return today - timedelta(days=LIMITS_DAYS[step.name] - 1)

    def _pages(self, step: Resolution, first: date, last: date) -> list[tuple[date, date]]:
        """What to ask for: days in the exchange's zone, the last one not included."""
        begin, stop = first, last + timedelta(days=1)
        if step.is_intraday:  # A day of UTC is in two days of another zone.
            begin = max(first - timedelta(days=1), self._oldest_day(step))
            stop += timedelta(days=1)
        page = _PAGE_DAYS.get(step.name)
        if page is None:
            return [(begin, stop)]
        pages = []
        while begin < stop:
            pages.append((begin, min(begin + timedelta(days=page), stop)))
            begin = pages[-1][1]
        return pages

    def _asked(
        self, yfinance: Any, symbol: str, begin: date, stop: date, step: Resolution
    ) -> pl.DataFrame:
        if self._limiter is not None:
            self._limiter.acquire()
        ticker = yfinance.Ticker(symbol)
        try:
            answer = ticker.history(
                start=begin.isoformat(),
                end=stop.isoformat(),
                interval=step.name,
                auto_adjust=self.adjustment == "all",
                actions=False,
                timeout=self._timeout_s,
                raise_errors=True,
            )
        except Exception as error:
            names = [kind.__name__ for kind in type(error).__mro__]
            found = source_error(error)
            if "YFPricesMissingError" in names and "No data found" not in str(error):
                if _has_none(ticker, error):
                    return self._empty(step)
                found = SourceUnavailable(f"Yahoo did not answer for {symbol!r}: {error}")
            _forget_answers(yfinance)
            if found is None:
                raise
            if isinstance(found, SymbolNotFound):
                found = SymbolNotFound(f"Yahoo does not know {symbol!r}: {error}", [symbol])
            raise found from error
        return self._empty(step) if answer.empty else self._as_bars(answer, symbol, step)

    def _as_bars(self, answer: Any, symbol: str, step: Resolution) -> pl.DataFrame:
        index = answer.index
        if step.is_intraday:
            index = index.tz_convert("UTC") if index.tz is not None else index.tz_localize("UTC")
        if index.tz is not None:
            index = index.tz_localize(None)
        times = pl.Series("timestamp", index.to_numpy().astype("datetime64[us]"))
        times = times.dt.replace_time_zone("UTC") if step.is_intraday else times.dt.date()
        columns = {ours: answer[theirs] for theirs, ours in _COLUMNS.items() if theirs in answer}
        numbers = {name: pl.Series(values.to_numpy("float64")) for name, values in columns.items()}
        bars = pl.DataFrame({"timestamp": times, "symbol": [symbol] * len(times), **numbers})
        return bars.select(self._empty(step).columns)

    def _empty(self, step: Resolution) -> pl.DataFrame:
        time_type = pl.Datetime("us", "UTC") if step.is_intraday else pl.Date()
        names = [n for n in _COLUMNS.values() if n != "adj_close" or self.adjustment == "splits"]
        numbers = {name: pl.Float64() for name in names}
        return pl.DataFrame(schema={"timestamp": time_type, "symbol": pl.String(), **numbers})


def _has_none(ticker: Any, error: Exception) -> bool:
    """Whether Yahoo said that there are no bars; else it failed, and yfinance does not tell.

    It raises the same for an answer without bars, which describes the symbol nevertheless, and for
    one that is something else, such as an error of the server.
    """
    if "Data doesn't exist" in str(error):
        return True
    return getattr(error, "yahoo_reason", None) is None and "symbol" in ticker.history_metadata


def _forget_answers(yfinance: Any) -> None:
    """Has yfinance ask anew: it remembers answers for past days, those that failed as well."""
    remembering = getattr(getattr(yfinance, "data", None), "YfData", None)
    clear = getattr(getattr(remembering, "cache_get", None), "cache_clear", None)
    if clear is not None:
        clear()


def _imported() -> Any:
    try:
        import yfinance
    except ImportError as error:
        raise ImportError(
            'this source needs yfinance; install it with: pip install "barcache[yfinance]"'
        ) from error
    return yfinance
