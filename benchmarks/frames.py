"""The frames that are measured: bars as a vendor delivers them."""

from __future__ import annotations

import numpy as np
import polars as pl

DESCRIPTION = (
    "8 columns: timestamp (minutes), symbol (1 symbol below 1000 rows, else 4, one after the "
    "other), open, high, low, close (random walk, rounded to cents), volume (integer), vwap (not "
    "rounded)"
)


def bars(rows: int, seed: int = 7) -> pl.DataFrame:
    """A frame of bars with `rows` rows; the same one for the same arguments."""
    random = np.random.default_rng(seed)
    symbols = ["AAPL"] if rows < 1000 else ["AAPL", "MSFT", "GOOG", "AMZN"]
    per_symbol = rows // len(symbols)
    parts = []
    for place, symbol in enumerate(symbols):
        count = per_symbol if place else rows - per_symbol * (len(symbols) - 1)
        steps = np.clip(random.normal(0, 0.03, count), -1, 1)
        close = np.round(np.abs(100 + 40 * place + np.cumsum(steps)) + 1, 2)
        opened = np.round(close + random.normal(0, 0.02, count), 2)
        high = np.round(np.maximum(opened, close) + np.abs(random.normal(0, 0.02, count)), 2)
        low = np.round(np.minimum(opened, close) - np.abs(random.normal(0, 0.02, count)), 2)
        parts.append(
            pl.DataFrame(
                {
                    "timestamp": np.datetime64("2015-01-02T09:30", "us")
                    + np.arange(count) * np.timedelta64(60_000_000, "us"),
                    "symbol": pl.Series([symbol]).new_from_index(0, count),
                    "open": opened,
                    "high": high,
                    "low": low,
                    "close": close,
                    "volume": random.integers(100, 250_000, count),
                    "vwap": (high + low + close) / 3 + random.normal(0, 1e-3, count),
                }
            )
        )
    return pl.concat(parts).rechunk()
