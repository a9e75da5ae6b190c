"""The frames that are measured: bars as a vendor delivers them."""

from __future__ import annotations

import math

import polars as pl

DESCRIPTION = (
    "8 columns: timestamp (minutes), symbol (1 symbol below 1000 rows, else 4, one after the "
    "other), open, high, low, close (random walk, rounded to cents), volume (integer), vwap (not "
    "rounded)"
)
_START_US = 1_420_191_000_000_000  # 2015-01-02 09:30
_MINUTE_US = 60_000_000


def bars(rows: int, seed: int = 7) -> pl.DataFrame:
    """A frame of bars, one a minute, with `rows` rows; the same one for the same arguments."""
    symbols = ["AAPL"] if rows < 1000 else ["AAPL", "MSFT", "GOOG", "AMZN"]
    per_symbol = rows // len(symbols)
    parts = []
    for place, symbol in enumerate(symbols):
        count = per_symbol if place else rows - per_symbol * (len(symbols) - 1)
        number = pl.int_range(count, dtype=pl.Int64, eager=True)
        times = (_START_US + number * _MINUTE_US).cast(pl.Datetime("us"))
        parts.append(walk(symbol, times, 100 + 40 * place, 1000 * seed + 10 * place))
    return pl.concat(parts).rechunk()


def walk(symbol: str, times: pl.Series, start: float, stream: int) -> pl.DataFrame:
    """A random walk from `start`, a bar at each of the times; the same for the same arguments.

    Streams that are 10 apart have nothing in common.
    """
    count = times.len()
    steps = (_normal(count, stream) * 0.03).clip(-1, 1)
    close = ((start + steps.cum_sum()).abs() + 1).round(2)
    opened = (close + _normal(count, stream + 1) * 0.02).round(2)
    above = (_normal(count, stream + 2) * 0.02).abs()
    below = (_normal(count, stream + 3) * 0.02).abs()
    volume = (100 + _uniform(count, stream + 4) * 249_900).cast(pl.Int64)
    noise = _normal(count, stream + 5) * 1e-3
    return (
        pl.select(
            timestamp=times,
            symbol=pl.repeat(symbol, count),
            open=opened,
            close=close,
            highest=pl.max_horizontal(pl.lit(opened), pl.lit(close)),
            lowest=pl.min_horizontal(pl.lit(opened), pl.lit(close)),
        )
        .with_columns(
            high=(pl.col("highest") + above).round(2), low=(pl.col("lowest") - below).round(2)
        )
        .with_columns(
            volume=volume,
            vwap=(pl.col("high") + pl.col("low") + pl.col("close")) / 3 + noise,
        )
        .select("timestamp", "symbol", "open", "high", "low", "close", "volume", "vwap")
    )


def _uniform(count: int, stream: int) -> pl.Series:
    """Numbers in (0, 1): SplitMix64 (Steele, Lea and Flood, 2014) of a counter."""

    def constant(value: int) -> pl.Expr:
        return pl.lit(value, dtype=pl.UInt64)

    state = (pl.int_range(1, count + 1, dtype=pl.UInt64) + constant(stream << 32)) * constant(
        0x9E3779B97F4A7C15
    )
    state = (state ^ (state // constant(1 << 30))) * constant(0xBF58476D1CE4E5B9)
    state = (state ^ (state // constant(1 << 27))) * constant(0x94D049BB133111EB)
    state = state ^ (state // constant(1 << 31))
    return pl.select(((state // constant(1 << 11)).cast(pl.Float64) + 0.5) / (1 << 53)).to_series()


def _normal(count: int, stream: int) -> pl.Series:
    """Numbers of the standard normal distribution, by Box and Muller."""
    radius = (_uniform(count, 2 * stream).log() * -2).sqrt()
    return radius * (_uniform(count, 2 * stream + 1) * (2 * math.pi)).cos()
