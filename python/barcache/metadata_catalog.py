"""The catalog as Python sees it: ParquetMetadataCatalog, with RustyBT's tables and methods.

``cache.metadata_catalog`` is one of these, beside the native catalog and over the same database.
It can also be opened by itself: the drop-in switch supplies this module as
``rustybt.data.polars.metadata_catalog`` where RustyBT is not installed.

SQLAlchemy is imported on first use of the engine, a table or a method.

Thread safety: all methods may be called from any thread.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barcache.catalog_engine import (
    CatalogCore,
    CatalogEngine,
    open_stand_alone,
    require_sqlalchemy,
)
from barcache.errors import NotACatalog
from barcache.events import log_event

if TYPE_CHECKING:
    import sqlalchemy

_DAY_S = 86_400
_CHECKSUM_CHUNK_BYTES = 8 * 1024 * 1024
_TABLES = (
    "datasets",
    "symbols",
    "date_ranges",
    "checksums",
    "cache_entries",
    "backtest_cache_links",
    "cache_statistics",
)
_LAZY = frozenset({"engine", "metadata_obj", *_TABLES})
_CACHE_ENTRY_COLUMNS = (
    "cache_key",
    "dataset_id",
    "parquet_path",
    "checksum",
    "created_at",
    "last_accessed",
    "access_count",
    "size_bytes",
)
_PARTITION = re.compile(r"(?:^|/)(year|month|day|date)=([0-9]{1,4}(?:-[0-9]{2}-[0-9]{2})?)(?=/)")


class ParquetMetadataCatalog:
    """Datasets, symbols, date ranges and checksums, beside the cache's own three tables.

    ``db_path`` is made if missing (file 0600, directories 0700); ``":memory:"`` lives with this
    object. With ``core`` the catalog belongs to a CacheManager, which has opened the database.
    ``own_driver`` is for tests: whether the engine runs on the core's copy of SQLite.

    Attributes: ``db_path`` (Path), ``engine`` (a SQLAlchemy engine), ``metadata_obj`` and the
    tables ``datasets symbols date_ranges checksums cache_entries backtest_cache_links
    cache_statistics``.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> catalog = ParquetMetadataCatalog(f"{folder}/metadata.db")
    >>> dataset_id = catalog.create_dataset("yfinance", "1d")
    >>> catalog.get_dataset_info(dataset_id)["source"]
    'yfinance'
    """

    if TYPE_CHECKING:
        engine: sqlalchemy.Engine
        metadata_obj: sqlalchemy.MetaData
        datasets: sqlalchemy.Table
        symbols: sqlalchemy.Table
        date_ranges: sqlalchemy.Table
        checksums: sqlalchemy.Table
        cache_entries: sqlalchemy.Table
        backtest_cache_links: sqlalchemy.Table
        cache_statistics: sqlalchemy.Table

    def __init__(
        self,
        db_path: str | Path,
        *,
        core: CatalogCore | None = None,
        own_driver: bool | None = None,
    ) -> None:
        self.db_path = Path(db_path)
        self._core = core
        self._own_driver = own_driver
        self._owner: CatalogEngine | None = None
        self._lock = threading.Lock()
        self._memory_guard: Any = None
        if core is not None:
            self._target = core.connection_target
            return
        warnings.warn(
            "ParquetMetadataCatalog is deprecated and will be removed in v2.0. "
            "Use BundleMetadata from rustybt.data.bundles.metadata instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        sa = require_sqlalchemy()
        self._target, self._memory_guard = open_stand_alone(self.db_path)
        try:
            self.metadata_obj.create_all(self.engine)
        except sa.exc.DatabaseError as error:
            if "not a database" in str(error.orig):
                raise NotACatalog(
                    f"{db_path} is not a SQLite database; choose another db_path"
                ) from error
            raise
        log_event(logging.INFO, "metadata_catalog_initialized", db_path=str(db_path))

    def __getattr__(self, name: str) -> Any:
        """Make the engine, or all tables, when first asked for."""
        if name not in _LAZY:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with self._lock:
            if name in self.__dict__:
                return self.__dict__[name]
            if name == "engine":
                self._owner = CatalogEngine(
                    self._target,
                    str(self.db_path),
                    core=self._core,
                    own_driver=self._own_driver,
                )
                self.__dict__["engine"] = self._owner.engine
            else:
                require_sqlalchemy()
                from barcache.catalog_tables import define_tables

                metadata = define_tables()
                self.__dict__.update({table: metadata.tables[table] for table in _TABLES})
                self.__dict__["metadata_obj"] = metadata
            return self.__dict__[name]

    def __repr__(self) -> str:
        return f"ParquetMetadataCatalog({str(self.db_path)!r})"

    def close(self) -> None:
        """Close the engine's idle connections; the engine reopens them if used again."""
        if self._owner is not None:
            self._owner.close()

    def create_dataset(self, source: str, resolution: str, schema_version: int = 1) -> int:
        """Add a dataset; return its id."""
        now_s = int(time.time())
        dataset_id = self._insert(
            self.datasets,
            source=source,
            resolution=resolution,
            schema_version=schema_version,
            created_at=now_s,
            updated_at=now_s,
        )
        log_event(
            logging.INFO,
            "dataset_created",
            dataset_id=dataset_id,
            source=source,
            resolution=resolution,
            schema_version=schema_version,
        )
        return dataset_id

    def add_symbol(
        self,
        dataset_id: int,
        symbol: str,
        asset_type: str | None = None,
        exchange: str | None = None,
    ) -> int:
        """Add a symbol to a dataset; return the symbol's id."""
        fields: dict[str, Any] = {
            "dataset_id": dataset_id,
            "symbol": symbol,
            "asset_type": asset_type,
            "exchange": exchange,
        }
        symbol_id = self._insert(self.symbols, **fields)
        log_event(logging.INFO, "symbol_added", symbol_id=symbol_id, **fields)
        return symbol_id

    def update_date_range(
        self, dataset_id: int, start_date: date | str, end_date: date | str
    ) -> None:
        """Widen the dataset's date range so that it covers both dates, which are UTC days.

        Raises ValueError for text that is not an ISO date, and when start is after end.
        """
        sa = require_sqlalchemy()
        start, end = _as_date(start_date), _as_date(end_date)
        if start > end:
            raise ValueError(
                f"start_date {start} is after end_date {end}; give the earlier date first"
            )
        start_s = _first_second(start)
        end_s = _first_second(end) + _DAY_S - 1
        ranges = self.date_ranges
        # The update comes first: a transaction that has read cannot wait for another's write.
        widen = (
            ranges.update()
            .where(ranges.c.dataset_id == dataset_id)
            .values(
                start_date=sa.func.min(ranges.c.start_date, start_s),
                end_date=sa.func.max(ranges.c.end_date, end_s),
            )
        )
        with self.engine.begin() as connection:
            if connection.execute(widen).rowcount == 0:
                connection.execute(
                    ranges.insert().values(
                        dataset_id=dataset_id, start_date=start_s, end_date=end_s
                    )
                )
        log_event(
            logging.INFO,
            "date_range_updated",
            dataset_id=dataset_id,
            start_date=str(start),
            end_date=str(end),
        )

    def get_date_range(self, dataset_id: int) -> dict[str, Any] | None:
        """``{dataset_id, start_date, end_date}`` with dates, or None.

        Ranges that RustyBT stored as local midnights come back as the days that were meant, for
        every zone from UTC-11:59 to UTC+12.
        """
        row = self._first(
            self.date_ranges.select().where(self.date_ranges.c.dataset_id == dataset_id)
        )
        if row is None:
            return None
        return {
            "dataset_id": row.dataset_id,
            "start_date": _nearest_day(row.start_date),
            "end_date": _nearest_day(row.end_date + 1) - timedelta(days=1),
        }

    def add_checksum(self, dataset_id: int, parquet_path: str, checksum: str) -> int:
        """Add or replace the checksum of a file of a dataset; return the row's id."""
        sa = require_sqlalchemy()
        now_s = int(time.time())
        table = self.checksums
        same_file = sa.and_(table.c.dataset_id == dataset_id, table.c.parquet_path == parquet_path)
        with self.engine.begin() as connection:
            replaced = connection.execute(
                table.update().where(same_file).values(checksum=checksum, last_updated=now_s)
            )
            if replaced.rowcount == 0:
                connection.execute(
                    table.insert().values(
                        dataset_id=dataset_id,
                        parquet_path=parquet_path,
                        checksum=checksum,
                        last_updated=now_s,
                    )
                )
            checksum_id = int(
                connection.execute(sa.select(sa.func.min(table.c.id)).where(same_file)).scalar_one()
            )
        log_event(
            logging.INFO,
            "checksum_added",
            checksum_id=checksum_id,
            dataset_id=dataset_id,
            parquet_path=parquet_path,
        )
        return checksum_id

    def verify_checksum(
        self, parquet_path: str, actual_checksum: str, *, dataset_id: int | None = None
    ) -> bool:
        """Whether ``actual_checksum`` is the one stored for this path.

        One path may belong to several datasets: with ``dataset_id`` only that dataset's checksum
        counts, without it any of them.
        """
        table = self.checksums
        query = (
            require_sqlalchemy()
            .select(table.c.checksum)
            .where(table.c.parquet_path == parquet_path)
        )
        if dataset_id is not None:
            query = query.where(table.c.dataset_id == dataset_id)
        stored = [row.checksum for row in self._all(query)]
        if not stored:
            log_event(logging.WARNING, "checksum_not_found", parquet_path=parquet_path)
            return False
        if actual_checksum in stored:
            return True
        log_event(
            logging.ERROR,
            "checksum_mismatch",
            parquet_path=parquet_path,
            stored=stored[0],
            actual=actual_checksum,
        )
        return False

    def find_parquet_files(
        self,
        dataset_id: int,
        start_date: date | str | None = None,
        end_date: date | str | None = None,
    ) -> list[str]:
        """Paths of the dataset's files that can hold data of the days asked for.

        The days of a file are read from its partitions (``year=2023/month=01/day=05/`` or
        ``date=2023-01-05/``); a file without partitions is taken to span the dataset's date
        range, or all time where there is none.
        """
        query = (
            require_sqlalchemy()
            .select(self.checksums.c.parquet_path)
            .where(self.checksums.c.dataset_id == dataset_id)
        )
        paths: list[str] = [row.parquet_path for row in self._all(query.order_by("id"))]
        if start_date is None and end_date is None:
            return paths
        first = date.min if start_date is None else _as_date(start_date)
        last = date.max if end_date is None else _as_date(end_date)
        known = self.get_date_range(dataset_id)
        whole = (known["start_date"], known["end_date"]) if known else (date.min, date.max)

        def overlaps(path: str) -> bool:
            begin, end = _partition_days(path) or whole
            return begin <= last and end >= first

        return [path for path in paths if overlaps(path)]

    def get_dataset_info(self, dataset_id: int) -> dict[str, Any] | None:
        """The dataset's row as a dict, or None."""
        row = self._first(self.datasets.select().where(self.datasets.c.dataset_id == dataset_id))
        return None if row is None else dict(row._mapping)

    def get_symbols(self, dataset_id: int) -> list[dict[str, Any]]:
        """The dataset's symbols, each as a dict."""
        query = self.symbols.select().where(self.symbols.c.dataset_id == dataset_id)
        return [dict(row._mapping) for row in self._all(query)]

    def get_all_symbols(self) -> list[dict[str, Any]]:
        """The symbols of all datasets, each as a dict."""
        return [dict(row._mapping) for row in self._all(self.symbols.select())]

    def get_cache_entries(self) -> list[dict[str, Any]]:
        """All rows of cache_entries, each as a dict with the guide's eight columns."""
        rows = self._all(self.cache_entries.select())
        return [{name: getattr(row, name) for name in _CACHE_ENTRY_COLUMNS} for row in rows]

    def count_symbols(self) -> int:
        """The number of symbols in all datasets."""
        sa = require_sqlalchemy()
        row = self._first(sa.select(sa.func.count().label("total")).select_from(self.symbols))
        return int(row.total)

    def _insert(self, table: sqlalchemy.Table, **values: Any) -> int:
        with self.engine.begin() as connection:
            key = connection.execute(table.insert().values(**values)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _all(self, query: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(query).fetchall())

    def _first(self, query: Any) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(query).first()


def calculate_file_checksum(file_path: str | Path) -> str:
    """The SHA-256 of a file, as 64 hex letters; read in pieces of 8 MiB.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     calculate_file_checksum(file.name)[:16]
    'e3b0c44298fc1c14'
    """
    digest = hashlib.sha256()
    with Path(file_path).open("rb") as file:
        while chunk := file.read(_CHECKSUM_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _as_date(value: date | str) -> date:
    """A day: of a date, a datetime (its own calendar day) or ISO text."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).date()
    return value.date() if isinstance(value, datetime) else value


def _first_second(day: date) -> int:
    return (day - date(1970, 1, 1)).days * _DAY_S


def _nearest_day(seconds: int) -> date:
    """The UTC day whose midnight is nearest: undoes the shift of a local midnight."""
    return datetime.fromtimestamp((seconds + _DAY_S // 2) // _DAY_S * _DAY_S, tz=UTC).date()


def _partition_days(path: str) -> tuple[date, date] | None:
    """First and last day that the partitions in ``path`` allow; None without any.

    >>> _partition_days("AAPL/year=2023/month=02/data.parquet")
    (datetime.date(2023, 2, 1), datetime.date(2023, 2, 28))
    """
    parts = dict(_PARTITION.findall(path))
    try:
        if "date" in parts:
            day = date.fromisoformat(parts["date"])
            return day, day
        if "year" not in parts:
            return None
        year = int(parts["year"])
        if "month" not in parts:
            return date(year, 1, 1), date(year, 12, 31)
        month = int(parts["month"])
        if "day" in parts:
            day = date(year, month, int(parts["day"]))
            return day, day
        following = date(year + month // 12, month % 12 + 1, 1)
        return date(year, month, 1), following - timedelta(days=1)
    except ValueError:
        return None
