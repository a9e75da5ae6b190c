"""Stand-ins for the modules yfinance and ccxt, in the shapes that their documentation shows.

The answers are made by hand from bars of the test; nothing was recorded from a vendor.
"""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl


class YFPricesMissingError(Exception):
    """Named as yfinance's: nothing in that range, or an answer that it did not understand."""


class YFTickerMissingError(Exception):
    """Named as yfinance's: no such symbol."""


class YFRateLimitError(Exception):
    """Named as yfinance's."""


class Yahoo:
    """A module ``yfinance`` with a Ticker whose history has the documented shape.

    ``bars`` has the columns of a source, with ``timestamp`` as Date or as Datetime in UTC.
    """

    def __init__(self, bars, zone="America/New_York"):
        self.bars, self.zone = bars, zone
        self.calls = []
        self.errors = []
        self.describes = True  # Whether its answers describe the symbol, bars or not.

    def Ticker(self, symbol):  # noqa: N802
        return SimpleNamespace(
            history=lambda **options: self._history(symbol, **options),
            history_metadata={"symbol": symbol} if self.describes else {},
        )

    def _history(
        self, symbol, *, start, end, interval, auto_adjust, actions, timeout, raise_errors
    ):
        assert raise_errors
        assert not actions
        assert timeout > 0
        self.calls.append((symbol, start, end, interval, auto_adjust))
        if self.errors:
            raise self.errors.pop(0)
        bars = self.bars.filter(pl.col("symbol") == symbol)
        if bars.is_empty():
            raise YFTickerMissingError(f"${symbol}: possibly delisted; no timezone found")
        index = pd.DatetimeIndex(bars["timestamp"].to_list())
        if bars["timestamp"].dtype == pl.Date:
            index = index.tz_localize(self.zone)
        else:
            index = index.tz_convert(self.zone)
        first, stop = (pd.Timestamp(day, tz=self.zone) for day in (start, end))
        inside = np.asarray((index >= first) & (index < stop))
        if not inside.any():
            raise YFPricesMissingError(f"${symbol}: no price data found ({interval})")
        factor = 0.5 if auto_adjust else 1.0
        frame = pd.DataFrame(
            {name.capitalize(): bars[name].to_numpy() for name in ("open", "high", "low", "close")},
            index=index,
        )
        frame["Adj Close"] = frame["Close"] * 0.5
        frame["Volume"] = bars["volume"].to_numpy().astype("int64")
        frame[["Open", "High", "Low", "Close"]] *= factor
        if auto_adjust:
            frame = frame.drop(columns="Adj Close")
        frame.index.name = "Date" if bars["timestamp"].dtype == pl.Date else "Datetime"
        return frame[inside]


class BadSymbol(Exception):
    """Named as ccxt's."""


class RateLimitExceeded(Exception):
    """Named as ccxt's."""


class Exchange:
    """An exchange object of ccxt: pages of [milliseconds, open, high, low, close, volume]."""

    id = "binance"
    timeframes = {"1m": "1m", "1h": "1h", "1d": "1d", "1w": "1w", "1M": "1M"}  # noqa: RUF012

    def __init__(self, bars, options=None, largest_page=5):
        self.bars, self.options, self.largest_page = bars, options, largest_page
        self.markets = None
        self.calls = []
        self.errors = []

    def load_markets(self):
        self.markets = dict.fromkeys(self.bars["symbol"].unique())
        return self.markets

    def fetch_ohlcv(self, symbol, timeframe, since, limit):
        self.calls.append((symbol, timeframe, since, limit))
        if self.errors:
            raise self.errors.pop(0)
        rows = []
        for bar in self.bars.filter(pl.col("symbol") == symbol).iter_rows(named=True):
            moment = bar["timestamp"]
            if not isinstance(moment, datetime):
                moment = datetime.combine(moment, datetime.min.time(), UTC)
            values = [bar[name] for name in ("open", "high", "low", "close", "volume")]
            rows.append([int(moment.timestamp() * 1000), *values])
        return [row for row in rows if row[0] >= since][: min(limit, self.largest_page)]


def daily_bars(symbols=("AAPL", "MSFT"), first=date(2023, 1, 2), days=30):
    """Weekdays with a price of their own for each symbol and day."""
    rows = []
    for place, symbol in enumerate(symbols):
        for day in (first + timedelta(days=n) for n in range(days)):
            if day.weekday() < 5:
                price = 100.0 * (place + 1) + day.day
                rows.append((day, symbol, price, price + 2, price - 2, price + 1, 1000.0 + day.day))
    return _frame(rows, pl.Date)


def minute_bars(symbols=("AAPL", "MSFT"), first=datetime(2023, 1, 3, 14, 30), minutes=30, days=3):
    """The first minutes of some days in a row, in UTC."""
    rows = []
    for place, symbol in enumerate(symbols):
        for day in range(days):
            for minute in range(minutes):
                moment = first + timedelta(days=day, minutes=minute)
                price = 100.0 * (place + 1) + minute
                rows.append((moment, symbol, price, price + 2, price - 2, price + 1, 10.0 + minute))
    return _frame(rows, pl.Datetime("us")).with_columns(
        pl.col("timestamp").dt.replace_time_zone("UTC")
    )


def _frame(rows, time_type):
    numbers = dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64)
    schema = {"timestamp": time_type, "symbol": pl.String, **numbers}
    return pl.DataFrame(rows, schema=schema, orient="row")
