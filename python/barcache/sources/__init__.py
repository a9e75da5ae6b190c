"""Sources of bars: what to write so that barcache can fetch, and those that come with it.

>>> import datetime, polars as pl
>>> def fetch(symbols, start, end, resolution):
...     return pl.DataFrame({"timestamp": [start] * len(symbols), "symbol": symbols})
>>> source = as_source(fetch, name="example")
>>> source.fetch(["A", "B"], datetime.date(2023, 1, 2), datetime.date(2023, 1, 2), "1d").height
2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from barcache.late_names import late_names

if TYPE_CHECKING:
    from barcache.cached_source import CachedDataSource
    from barcache.sources.bars import BarColumns, BarReport, bar_columns, check_bars, report_on_bars
    from barcache.sources.base import ALWAYS_OPEN, Source, as_source
    from barcache.sources.ccxt_source import CCXTSource
    from barcache.sources.csv_files import CSVSource, SchemaMapping
    from barcache.sources.parquet_files import ParquetSource
    from barcache.sources.patience import Retry
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
    "CachedDataSource",
    "DuckDBSource",
    "ParquetSource",
    "RateLimiter",
    "Retry",
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

# Each is loaded when it is asked for: importing barcache must not take the time of all of them.
_HOMES = {
    "ALWAYS_OPEN": "barcache.sources.base",
    "BarColumns": "barcache.sources.bars",
    "BarReport": "barcache.sources.bars",
    "CCXTSource": "barcache.sources.ccxt_source",
    "CSVSource": "barcache.sources.csv_files",
    "CachedDataSource": "barcache.cached_source",
    "DuckDBSource": "barcache.sources.sql_query",
    "ParquetSource": "barcache.sources.parquet_files",
    "RateLimiter": "barcache.sources.retry",
    "Retry": "barcache.sources.patience",
    "SQLSource": "barcache.sources.sql_query",
    "SchemaMapping": "barcache.sources.csv_files",
    "Source": "barcache.sources.base",
    "YFinanceSource": "barcache.sources.yfinance_source",
    "as_source": "barcache.sources.base",
    "bar_columns": "barcache.sources.bars",
    "check_bars": "barcache.sources.bars",
    "get": "barcache.sources.registry",
    "names": "barcache.sources.registry",
    "register": "barcache.sources.registry",
    "report_on_bars": "barcache.sources.bars",
    "source_error": "barcache.sources.vendor_errors",
    "unregister": "barcache.sources.registry",
    "with_retry": "barcache.sources.retry",
}

if not TYPE_CHECKING:  # Else no type checker would find a name that there is not.
    __getattr__, __dir__ = late_names(globals(), _HOMES)
