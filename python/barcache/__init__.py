"""barcache: a two-tier cache of market data for backtests.

Hot in memory as Polars frames, cold on disk as Snappy Parquet whose SHA-256 is verified on every
read, with a SQLite catalog that knows which backtest used what.

>>> import tempfile, polars as pl
>>> from barcache import CacheManager
>>> folder = tempfile.mkdtemp()
>>> with CacheManager(db_path=f"{folder}/metadata.db", cache_directory=f"{folder}/cache") as cache:
...     key = cache.generate_cache_key(["AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance")
...     cache.get_cached_data(key) is None
...     cache.put_cached_data(key, pl.DataFrame({"close": [1.5, 2.5]}), dataset_id=1)
...     cache.get_cached_data(key)["close"].to_list()
True
[1.5, 2.5]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from barcache._core import LRUCache
from barcache.cache_manager import CacheManager
from barcache.errors import (
    AccessDenied,
    BarcacheError,
    CacheClosed,
    CacheFull,
    CacheIOError,
    CatalogBusy,
    CatalogCorrupt,
    ColumnNotFound,
    EntryCorrupt,
    FetchFailed,
    ForkedPolars,
    InvalidArgument,
    InvalidBars,
    InvalidType,
    NotACatalog,
    OverBudget,
    PartialCoverage,
    RangeUnavailable,
    RateLimited,
    ReadOnly,
    SourceError,
    SourceUnavailable,
    SymbolNotFound,
    UnsupportedCatalog,
    UnsupportedFrame,
)
from barcache.late_names import late_names

if TYPE_CHECKING:
    from barcache.warming import WarmPlan, WarmReport

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "BarcacheError",
    "CacheClosed",
    "CacheFull",
    "CacheIOError",
    "CacheManager",
    "CatalogBusy",
    "CatalogCorrupt",
    "ColumnNotFound",
    "EntryCorrupt",
    "FetchFailed",
    "ForkedPolars",
    "InvalidArgument",
    "InvalidBars",
    "InvalidType",
    "LRUCache",
    "NotACatalog",
    "OverBudget",
    "PartialCoverage",
    "RangeUnavailable",
    "RateLimited",
    "ReadOnly",
    "SourceError",
    "SourceUnavailable",
    "SymbolNotFound",
    "UnsupportedCatalog",
    "UnsupportedFrame",
    "WarmPlan",
    "WarmReport",
    "__version__",
]

# These are loaded when they are asked for: importing barcache must not take their time.
_HOMES = {"WarmPlan": "barcache.warming", "WarmReport": "barcache.warming"}

if not TYPE_CHECKING:  # Else no type checker would find a name that there is not.
    __getattr__, __dir__ = late_names(globals(), _HOMES)
