"""Sources of bars: what to write so that barcache can fetch, and those that come with it.

>>> import datetime, polars as pl
>>> def fetch(symbols, start, end, resolution):
...     return pl.DataFrame({"timestamp": [start] * len(symbols), "symbol": symbols})
>>> source = as_source(fetch, name="example")
>>> source.fetch(["A", "B"], datetime.date(2023, 1, 2), datetime.date(2023, 1, 2), "1d").height
2
"""

from __future__ import annotations

from barcache.sources.bars import BarColumns, BarReport, bar_columns, check_bars, report_on_bars
from barcache.sources.base import ALWAYS_OPEN, Source, as_source
from barcache.sources.ccxt_source import CCXTSource
from barcache.sources.csv_files import CSVSource, SchemaMapping
from barcache.sources.parquet_files import ParquetSource
from barcache.sources.registry import get, names, register, unregister
from barcache.sources.retry import RateLimiter, with_retry
from barcache.sources.sql_query import DuckDBSource, SQLSource
from barcache.sources.vendor_errors import source_error
from barcache.sources.yfinance_source import YFinanceSource

__all__ = [
    "ALWAYS_OPEN",
    "BarColumns",
    "BarReport",
    "CCXTSource",
    "CSVSource",
    "DuckDBSource",
    "ParquetSource",
    "RateLimiter",
    "SQLSource",
    "SchemaMapping",
    "Source",
    "YFinanceSource",
    "as_source",
    "bar_columns",
    "check_bars",
    "get",
    "names",
    "register",
    "report_on_bars",
    "source_error",
    "unregister",
    "with_retry",
]
