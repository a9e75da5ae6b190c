"""The real bars of the demo, as a universe: daily GOOG and hourly EURUSD.

The PyPI package `backtesting` carries them as CSV files; they are read as data, the package itself
is never imported.
"""

from __future__ import annotations

import importlib.metadata

import polars as pl


class RealBars:
    """One symbol of them; has what a play asks of a `Universe`.

    Args:
        symbol: ``"GOOG"`` or ``"EURUSD"``.
        resolution: Theirs.
    """

    def __init__(self, symbol: str, resolution: str):
        files = importlib.metadata.files("backtesting") or []
        path = next(file for file in files if file.name == f"{symbol}.csv")
        bars = pl.read_csv(str(path.locate()), try_parse_dates=True)
        bars = bars.rename({bars.columns[0]: "timestamp"}).rename(str.lower)
        self.resolution = resolution
        self.symbols = [symbol]
        self.frames = {
            symbol: bars.select(
                pl.col("timestamp").cast(pl.Datetime("us")),
                pl.lit(symbol).alias("symbol"),
                pl.col("open", "high", "low", "close").cast(pl.Float64),
                pl.col("volume").cast(pl.Int64),
            )
        }
        self.times = self.frames[symbol]["timestamp"]
