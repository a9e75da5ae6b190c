"""CacheManager: the guide's API over the native core.

The class is a subclass of the native one, so that a hit goes straight into it; what stands here
is what needs Python: types of arguments, other libraries' frames, dates, notebooks, pickling.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from barcache import _core, session_stats
from barcache.bars import AskingCore, BarReader
from barcache.conversion import frame_to_put
from barcache.errors import InvalidArgument, InvalidType
from barcache.flights import Flights
from barcache.session_stats import SessionStats
from barcache.sources.patience import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    import polars as pl

    from barcache.metadata_catalog import ParquetMetadataCatalog

BYTES_PER_MB = 1024 * 1024
DAY_S = 86_400
DURABILITIES = ("normal", "full")

_open_managers: weakref.WeakSet[CacheManager] = weakref.WeakSet()


class CacheManager(AskingCore):
    """A two-tier cache of market-data frames: memory over verified Parquet files.

    Args:
        db_path: The SQLite catalog; it and its folder are made if missing. ``":memory:"`` keeps
            the catalog in memory, with the cache directory's files of this run alone.
        cache_directory: The folder of the Parquet files; made if missing.
        hot_cache_size_mb: Limit of the frames in memory; 0 keeps none.
        cold_cache_size_mb: Limit of the files; 0 keeps none.
        eviction_policy: ``"lru"``, ``"size"``, ``"hybrid"``, ``"gdsf"`` or ``"s3fifo"``.
        durability: ``"normal"``: a stored frame survives ``kill -9``; ``"full"``: a power cut too.
        read_only: Serve what is there, write nothing.
        record_on_close: Add this run's hits and misses to today's statistics when closed.
        decode_budget_mb: No file is decoded to more than this (or 100 times its size).
        busy_timeout_s: How long to wait for another process before CatalogBusy.
        retry: How often get_or_fetch asks a source again that is over its rate limit, and how long
            it waits (``barcache.sources.Retry``); None: the error comes out at once.

    Raises:
        InvalidArgument, InvalidType: what the message names.
        NotACatalog: ``db_path`` is no SQLite database, or another program's.
        UnsupportedCatalog: a newer barcache wrote the catalog.
        CacheIOError: a folder or file cannot be used.

    Safe with threads, with several processes on one directory, and across fork. Any attribute
    may be set on a manager.

    >>> import tempfile, polars as pl
    >>> folder = tempfile.mkdtemp()
    >>> cache = CacheManager(db_path=f"{folder}/metadata.db", cache_directory=f"{folder}/cache")
    >>> cache.put_cached_data("key1", pl.DataFrame({"close": [1.0, 2.0]}), dataset_id=1)
    >>> cache.get_cached_data("key1").shape
    (2, 1)
    >>> cache.close()
    """

    _lease_s = 10.0  # A fetch of another process that was silent for so long is taken over.

    def __init__(
        self,
        db_path: str | os.PathLike[str],
        cache_directory: str | os.PathLike[str],
        hot_cache_size_mb: float = 1024,
        cold_cache_size_mb: float = 10240,
        eviction_policy: str = "lru",
        *,
        durability: str = "normal",
        read_only: bool = False,
        record_on_close: bool = True,
        decode_budget_mb: float = 512,
        busy_timeout_s: float = 30.0,
        retry: Retry | None = Retry(),  # noqa: B008 - a value.
    ) -> None:
        _require_text("eviction_policy", eviction_policy)
        if durability not in DURABILITIES:
            raise InvalidArgument(
                f"durability={durability!r} is unknown: use one of {', '.join(DURABILITIES)}"
            )
        self._settings: dict[str, Any] = {
            "db_path": _path_text("db_path", db_path),
            "cache_directory": _path_text("cache_directory", cache_directory),
            "hot_cache_size_mb": hot_cache_size_mb,
            "cold_cache_size_mb": cold_cache_size_mb,
            "eviction_policy": eviction_policy,
            "durability": durability,
            "read_only": bool(read_only),
            "record_on_close": bool(record_on_close),
            "decode_budget_mb": decode_budget_mb,
            "busy_timeout_s": busy_timeout_s,
        }
        self._backtest: ContextVar[str | None] = ContextVar("barcache_backtest", default=None)
        super().__init__(
            self._settings["db_path"],
            self._settings["cache_directory"],
            _bytes_of_mb("hot_cache_size_mb", hot_cache_size_mb),
            _bytes_of_mb("cold_cache_size_mb", cold_cache_size_mb),
            eviction_policy,
            durability == "full",
            self._settings["read_only"],
            self._settings["record_on_close"],
            _bytes_of_mb("decode_budget_mb", decode_budget_mb),
            _milliseconds("busy_timeout_s", busy_timeout_s),
            _milliseconds("_lease_s", self._lease_s),
            self._backtest,
        )
        if retry is not None and not isinstance(retry, Retry):
            raise InvalidType(f"retry must be a Retry or None, not {type(retry).__name__}")
        self.retry = retry
        self._flights = Flights(self._settings["db_path"])
        self._stores = not self._settings["read_only"]
        self._cold_cache_size_mb = cold_cache_size_mb
        self._hot_cache = self._hot_tier()
        self._metadata_catalog: ParquetMetadataCatalog | None = None
        self._bar_reader = BarReader()
        _open_managers.add(self)

    # --- frames ----------------------------------------------------------------------------

    def put_cached_data(
        self, cache_key: str, df: Any, dataset_id: int, backtest_id: str | None = None
    ) -> None:
        """Store ``df`` under ``cache_key`` in both tiers, replacing what was there.

        Once this returns, the frame survives ``kill -9``; if it raises, what was there before
        still is. A replacement keeps the links of the key.

        Args:
            cache_key: Any text but ``""``, without NUL.
            df: A Polars DataFrame or LazyFrame, a pandas DataFrame, a pyarrow Table or
                RecordBatch, or anything with ``__arrow_c_stream__``.
            dataset_id: Row of ``datasets`` that the frame belongs to; not enforced.
            backtest_id: Links the entry to this backtest; None or ``""`` to none.

        Raises:
            UnsupportedFrame: a type that could not come back exactly (Object, Int128, ...).
            InvalidArgument, InvalidType: what the message names.
            CacheFull, CacheIOError, CatalogBusy, ReadOnly.
        """
        _require_text("cache_key", cache_key)
        number = _dataset_number(dataset_id)
        if backtest_id is not None:
            _require_text("backtest_id", backtest_id)
        frame = frame_to_put(df)
        linked = backtest_id or None
        self._put_frames([(cache_key, frame.data, frame.is_polars, frame.origin)], number, linked)

    def put_many(
        self,
        frames: Mapping[str, Any] | Iterable[tuple[str, Any]],
        dataset_id: int,
        backtest_id: str | None = None,
    ) -> None:
        """Store several frames by key: encoded side by side, in one transaction.

        If this raises, none of them is stored. Of two frames for one key the later one stands.

        Args:
            frames: A mapping from key to frame, or pairs of them; frames as for put_cached_data.
            dataset_id: As for put_cached_data, for all of them.
            backtest_id: Links every entry to this backtest.

        Raises:
            As put_cached_data.

        >>> import tempfile, polars as pl
        >>> cache = CacheManager(":memory:", tempfile.mkdtemp())
        >>> bars = pl.DataFrame({"close": [1.0]})
        >>> cache.put_many({"AAPL": bars, "MSFT": bars}, dataset_id=1)
        >>> [df.height if df is not None else None for df in cache.get_many(["AAPL", "GOOG"])]
        [1, None]
        >>> cache.close()
        """
        number = _dataset_number(dataset_id)
        if backtest_id is not None:
            _require_text("backtest_id", backtest_id)
        pairs = frames.items() if isinstance(frames, Mapping) else frames
        ready: list[tuple[str, Any, bool, str]] = []
        for cache_key, df in pairs:
            _require_text("cache_key", cache_key)
            frame = frame_to_put(df)
            ready.append((cache_key, frame.data, frame.is_polars, frame.origin))
        if ready:
            self._put_frames(ready, number, backtest_id or None)

    def scan(self, cache_key: str, *, backtest_id: str | None = None) -> pl.LazyFrame | None:
        """The entry as a Polars LazyFrame, or None on a miss.

        The file is held open from now on: each collect reads it once, verifies the bytes read and
        decodes only the columns that the query needs, also after the entry was evicted or the
        cache closed. Nothing is kept in memory under the key.

        Raises:
            EntryCorrupt: at collect, when the bytes are no longer those that were put.

        >>> import tempfile, polars as pl
        >>> cache = CacheManager(":memory:", tempfile.mkdtemp())
        >>> bars = pl.DataFrame({"close": [1.0, 2.0], "volume": [10, 20]})
        >>> cache.put_cached_data("key1", bars, dataset_id=1)
        >>> cache.scan("key1").filter(pl.col("close") > 1).select("volume").collect().item()
        20
        >>> cache.close()
        """
        from barcache.scan import lazy_frame

        opened = self._open_scan(cache_key, backtest_id or None)
        return None if opened is None else lazy_frame(*opened)

    @contextlib.contextmanager
    def backtest(self, backtest_id: str) -> Iterator[Self]:
        """Link every get and put inside the block to ``backtest_id``.

        The block binds the current thread or task only. An explicit ``backtest_id`` wins.

        >>> import tempfile, polars as pl
        >>> cache = CacheManager(":memory:", tempfile.mkdtemp())
        >>> with cache.backtest("bt-001"):
        ...     cache.put_cached_data("key1", pl.DataFrame({"close": [1.0]}), dataset_id=1)
        >>> with cache.backtest("bt-002"):
        ...     df = cache.get_cached_data("key1")
        >>> cache.backtests("key1")
        ['bt-001', 'bt-002']
        >>> cache.close()
        """
        _require_backtest(backtest_id)
        self._begin_backtest()
        token = self._backtest.set(backtest_id)
        try:
            yield self
        finally:
            self._backtest.reset(token)
            self._end_backtest()

    def backtests(self, cache_key: str) -> list[str]:
        """The backtests linked to an entry, in alphabetical order."""
        _require_text("cache_key", cache_key)
        return self._backtests(cache_key)

    def entries(self, backtest_id: str | None = None) -> list[str]:
        """The keys linked to a backtest, or all keys."""
        if backtest_id is None:
            return [entry["cache_key"] for entry in self.entry_infos()]
        _require_backtest(backtest_id)
        return self._keys_of(backtest_id)

    # --- functions -------------------------------------------------------------------------

    def memoize(
        self,
        function: Callable[..., Any] | None = None,
        *,
        version: str | None = None,
        ignore: Iterable[str] = (),
        backtest_id: str | None = None,
        dataset_id: int | None = None,
    ) -> Any:
        """Answer the calls of a function that returns frames from this cache (a decorator).

        Equal calls of all threads, tasks and processes run the function once, as get_or_fetch
        does. ``f.key(...)`` is the entry's key, ``f.forget(...)`` removes it, ``f.uncached`` is
        the function. A call is named by the function's module and qualified name, its version, and
        its arguments with defaults applied: plain values, dates, containers of them, enums,
        dataclasses, NumPy's scalars and arrays, and frames by their content. Variables of an
        enclosing function count as arguments; globals are not looked at.

        Args:
            function: The function, plain or ``async def``.
            version: Change it when old answers are no longer right. Not given: the hash of the
                function's own code (not of what it calls), so that a changed body is called anew,
                and so is every function once after an upgrade of Python.
            ignore: Names of arguments that the answer does not depend on (a client, ``self``).
            backtest_id: Links the entries to this backtest.
            dataset_id: Row of ``datasets``; not given: one made for the function.

        Returns:
            The function, memoized; it returns Polars DataFrames, as get_or_fetch.

        Raises:
            InvalidType: here, of a generator or no function; at a call, of an argument that no
                key can be made of, or when None or no frame was returned.
            InvalidArgument: ``ignore`` names no argument.
            What the function raises; nothing is stored then.

        >>> import tempfile, polars as pl
        >>> cache = CacheManager(":memory:", tempfile.mkdtemp())
        >>> @cache.memoize(version="1")
        ... def returns(symbol, days=5):
        ...     print("computing", symbol)
        ...     return pl.DataFrame({"day": range(days)})
        >>> returns("AAPL").height
        computing AAPL
        5
        >>> returns(days=5, symbol="AAPL").height
        5
        >>> returns.forget("AAPL")
        True
        >>> cache.close()
        """
        from barcache.memoize import memoized

        if backtest_id is not None:
            _require_backtest(backtest_id)
        if version is not None:
            _require_text("version", version)
        number = None if dataset_id is None else _dataset_number(dataset_id)

        def decorate(chosen: Any) -> Any:
            return memoized(
                self,
                chosen,
                version=version,
                ignore=ignore,
                backtest_id=backtest_id,
                dataset_id=number,
            )

        return decorate if function is None else decorate(function)

    # --- statistics ------------------------------------------------------------------------

    def get_cache_statistics(
        self, start_date: str | date | None = None, end_date: str | date | None = None
    ) -> dict[str, Any]:
        """Hits and misses of the recorded days, and what the cache holds now.

        Args:
            start_date: First day, inclusive, as ``"2023-01-01"`` or a date; days are UTC.
            end_date: Last day, inclusive.

        Returns:
            hit_count, miss_count, hit_rate (0..1; with this run's unrecorded part when the range
            includes today), total_size_mb, entry_count, avg_access_count (all current), and
            session_stats.

        Raises:
            InvalidArgument: a malformed date, or an end before the start.
        """
        first = _day_seconds("start_date", start_date)
        last = _day_seconds("end_date", end_date)
        if first is not None and last is not None and last // DAY_S < first // DAY_S:
            raise InvalidArgument(f"end_date {end_date} is before start_date {start_date}")
        return self._statistics(first, last)

    @property
    def session_stats(self) -> SessionStats:
        """hit_count, miss_count, hot_hits and cold_hits of this run."""
        return SessionStats(self)

    @session_stats.setter
    def session_stats(self, counters: dict[str, int]) -> None:
        session_stats.store(self, counters)

    # --- removal ---------------------------------------------------------------------------

    def clear_cache(
        self,
        cache_key: str | None = None,
        backtest_id: str | None = None,
        *,
        keep_shared: bool = False,
    ) -> None:
        """Remove one entry, the entries of a backtest, or (without arguments) everything.

        Args:
            cache_key: The entry to remove; an unknown one is no error.
            backtest_id: Remove every entry linked to it.
            keep_shared: With ``backtest_id``: leave entries that other backtests also use.

        Raises:
            InvalidArgument: ``""`` for either, or both at once: nothing is removed.
        """
        if cache_key is not None and backtest_id is not None:
            raise InvalidArgument(
                "clear_cache takes cache_key or backtest_id, not both: call it twice"
            )
        if keep_shared and backtest_id is None:
            raise InvalidArgument("keep_shared=True needs a backtest_id")
        if cache_key is not None:
            _require_text("cache_key", cache_key)
            if cache_key == "":
                raise InvalidArgument(
                    'clear_cache(cache_key="") would name no entry: pass a key, or no argument '
                    "to clear everything"
                )
            self._erase(cache_key)
        elif backtest_id is not None:
            _require_backtest(backtest_id)
            self._erase_backtest(backtest_id, keep_shared)
        else:
            self._clear()

    def clear_unused_since(self, unix_seconds: int) -> int:
        """Remove the entries last used before that moment; returns how many."""
        return self._erase_unused_since(int(unix_seconds))

    # --- pins ------------------------------------------------------------------------------

    def pin(self, cache_key: str | None = None, *, backtest_id: str | None = None) -> int:
        """Keep an entry, or the entries of a backtest, from eviction; returns how many are new.

        A pin is kept in the catalog: it holds in every process and after reopening. It keeps the
        entry on disk, not in memory, and counts against ``cold_cache_size_mb`` all the same. A
        replacement keeps it; it goes with the entry when a caller clears that, when its bytes
        turn out to be wrong, or when another program deletes its row. A put whose frame does not
        fit beside the pinned entries stores nothing, as one larger than the limit.

        Args:
            cache_key: The entry to pin.
            backtest_id: Pin the entries that are linked to it now. What it uses later is not
                pinned: call again.

        Raises:
            CacheFull: the pinned entries would exceed ``cold_cache_size_mb``; none is pinned.
            InvalidArgument: no such entry on disk; not exactly one of both arguments.
            CatalogBusy, ReadOnly.

        >>> import tempfile, polars as pl
        >>> cache = CacheManager(":memory:", tempfile.mkdtemp())
        >>> cache.put_cached_data("key1", pl.DataFrame({"close": [1.0]}), dataset_id=1)
        >>> cache.pin("key1")
        1
        >>> cache.pinned()
        ['key1']
        >>> cache.unpin("key1")
        1
        >>> cache.close()
        """
        name, is_key = _entry_or_backtest("pin", cache_key, backtest_id)
        return self._pin(name) if is_key else self._pin_backtest(name)

    def unpin(self, cache_key: str | None = None, *, backtest_id: str | None = None) -> int:
        """Let pinned entries go; returns how many. They count as just used.

        Args:
            cache_key: The entry; one that is not pinned, or not there, is no error.
            backtest_id: All pinned entries that are linked to it now.

        Raises:
            InvalidArgument: not exactly one of both arguments.
            CatalogBusy, ReadOnly.
        """
        name, is_key = _entry_or_backtest("unpin", cache_key, backtest_id)
        return self._unpin(name) if is_key else self._unpin_backtest(name)

    def pinned(self) -> list[str]:
        """The keys of the pinned entries, in alphabetical order."""
        return self._pinned()

    # --- room ------------------------------------------------------------------------------

    def evict(self) -> int:
        """Evict from disk if above the limit; returns how many entries left."""
        return self._evict()

    def check(self, repair: bool = False) -> dict[str, Any]:
        """Compare every row with its file and every file with its row.

        With ``repair``, bad rows and orphaned files of ours are removed and totals recounted.
        """
        return self._check(repair)

    def _check_cold_cache_eviction(self) -> None:
        self._evict()

    def _get_total_cache_size_mb(self) -> float:
        return self._total_size_bytes() / BYTES_PER_MB

    # Names of RustyBT's own, which its users have called as well.

    def _delete_cache_entry(self, cache_key: str) -> None:
        self._erase(cache_key)

    def _update_cache_access(self, cache_key: str) -> None:
        entries = self.metadata_catalog.cache_entries
        with self.metadata_catalog.engine.begin() as connection:
            connection.execute(
                entries.update()
                .where(entries.c.cache_key == cache_key)
                .values(last_accessed=int(time.time()), access_count=entries.c.access_count + 1)
            )

    def _evict_lru(self) -> None:
        self._evict_by("lru")

    def _evict_by_size(self) -> None:
        self._evict_by("size")

    def _evict_hybrid(self) -> None:
        self._evict_by("hybrid")

    def _evict_by(self, policy: str) -> None:
        chosen = self.eviction_policy
        self.eviction_policy = policy
        try:
            self._evict()
        finally:
            self.eviction_policy = chosen

    # --- settings --------------------------------------------------------------------------

    @property
    def cache_directory(self) -> Path:
        """The folder of the Parquet files, absolute."""
        return Path(self._settings["cache_directory"])

    @property
    def db_path(self) -> str:
        """The catalog's path, absolute; or ``":memory:"``."""
        return str(self._settings["db_path"])

    @property
    def read_only(self) -> bool:
        """Whether the cache was opened read-only."""
        return bool(self._settings["read_only"])

    @property
    def cold_cache_size_mb(self) -> float:
        """Limit of the files. Assigning evicts nothing by itself; the next put does."""
        return self._cold_cache_size_mb

    @cold_cache_size_mb.setter
    def cold_cache_size_mb(self, size_mb: float) -> None:
        self._cold_capacity_bytes = _bytes_of_mb("cold_cache_size_mb", size_mb)
        self._cold_cache_size_mb = size_mb

    @property
    def hot_cache(self) -> _core.LRUCache:
        """The frames in memory; assign an LRUCache to change the limit."""
        return self._hot_cache

    @hot_cache.setter
    def hot_cache(self, lru_cache: _core.LRUCache) -> None:
        if not isinstance(lru_cache, _core.LRUCache):
            raise InvalidType(
                f"hot_cache must be a barcache.LRUCache, not {type(lru_cache).__name__}"
            )
        self._set_hot_tier(lru_cache)
        self._hot_cache = lru_cache

    @property
    def metadata_catalog(self) -> ParquetMetadataCatalog:
        """The catalog as SQLAlchemy tables and engine (needs ``barcache[sqlalchemy]``)."""
        if self._metadata_catalog is None:
            from barcache.metadata_catalog import ParquetMetadataCatalog

            self._metadata_catalog = ParquetMetadataCatalog(self.db_path, core=self)
        return self._metadata_catalog

    @metadata_catalog.setter
    def metadata_catalog(self, catalog: ParquetMetadataCatalog) -> None:
        self._metadata_catalog = catalog

    @property
    def same_sqlite(self) -> bool:
        """Whether the core and the interpreter's sqlite3 are one copy of SQLite."""
        from barcache.sqlite_dbapi import same_sqlite

        return same_sqlite()

    # --- life ------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what is pending, record the statistics, close every handle. May be repeated."""
        if self._metadata_catalog is not None:
            with contextlib.suppress(AttributeError):
                self._metadata_catalog.close()
        self._close()
        _open_managers.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._entry_count()

    def __bool__(self) -> bool:
        return True  # An empty cache is a cache.

    def __contains__(self, cache_key: object) -> bool:
        return isinstance(cache_key, str) and self.lookup_cache(cache_key) is not None

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self)} entries"
        return f"CacheManager({self.db_path!r}, {str(self.cache_directory)!r}, {state})"

    def _repr_html_(self) -> str:
        import html

        rows: Iterable[tuple[str, str]]
        if self.closed:
            rows = [("state", "closed")]
        else:
            statistics = self.get_cache_statistics()
            hot = self.hot_cache
            in_memory = (
                f"{hot.current_size_bytes / BYTES_PER_MB:,.1f} of "
                f"{hot.max_size_bytes / BYTES_PER_MB:,.0f} MB, {len(hot):,} frames"
            )
            rows = [
                ("catalog", self.db_path),
                ("directory", str(self.cache_directory)),
                ("entries", f"{statistics['entry_count']:,}"),
                (
                    "on disk",
                    f"{statistics['total_size_mb']:,.1f} of {self.cold_cache_size_mb:,} MB",
                ),
                ("in memory", in_memory),
                ("eviction policy", self.eviction_policy),
                ("hit rate", f"{statistics['hit_rate']:.1%}"),
            ]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in rows
        )
        return f"<table><caption>barcache.CacheManager</caption>{cells}</table>"

    def __reduce__(self) -> Any:
        if self._settings["db_path"] == ":memory:":
            import pickle

            raise pickle.PicklingError(
                'a cache with db_path=":memory:" lives in this process alone and cannot be '
                "pickled: open it on a file"
            )
        settings = dict(self._settings)
        settings["cold_cache_size_mb"] = self.cold_cache_size_mb
        settings["eviction_policy"] = self.eviction_policy
        settings["retry"] = self.retry
        settings["hot_cache_size_mb"] = self.hot_cache.max_size_bytes / BYTES_PER_MB
        return _reopen, (type(self), settings)


def _reopen(cls: type[CacheManager], settings: dict[str, Any]) -> CacheManager:
    return cls(**settings)


def _require_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidType(f"{name} must be a str, not {type(value).__name__}")


def _entry_or_backtest(
    method: str, cache_key: str | None, backtest_id: str | None
) -> tuple[str, bool]:
    """The one of both that was given, and whether it is the key."""
    if (cache_key is None) == (backtest_id is None):
        raise InvalidArgument(f"{method} takes a cache_key or a backtest_id: give one of them")
    if backtest_id is not None:
        _require_backtest(backtest_id)
        return backtest_id, False
    _require_text("cache_key", cache_key)
    if not cache_key:
        raise InvalidArgument(f'{method}(cache_key="") would name no entry: pass its key')
    return cache_key, True


def _require_backtest(backtest_id: object) -> None:
    _require_text("backtest_id", backtest_id)
    if backtest_id == "":
        raise InvalidArgument('backtest_id="" names no backtest: pass its id, or None')
    try:
        str(backtest_id).encode()
    except UnicodeEncodeError:
        raise InvalidArgument(
            f"backtest_id={backtest_id!r} holds a lone surrogate, which is not text: pass "
            "another id"
        ) from None


def _dataset_number(dataset_id: object) -> int:
    if type(dataset_id) is int and -(2**63) <= dataset_id < 2**63:
        return dataset_id
    if isinstance(dataset_id, bool) or not isinstance(dataset_id, SupportsIndex):
        raise InvalidType(f"dataset_id must be an int, not {type(dataset_id).__name__}")
    number = dataset_id.__index__()
    if not -(2**63) <= number < 2**63:
        raise InvalidArgument(f"dataset_id={number} does not fit into 64 bits: use a smaller one")
    return number


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidType(f"{name} must be a number, not {type(value).__name__}")
    if not 0 <= value < float("inf"):
        raise InvalidArgument(f"{name}={value!r} must be a number of at least 0")
    return value


def _milliseconds(name: str, seconds: object) -> int:
    milliseconds = int(_number(name, seconds) * 1000)
    if milliseconds >= 2**31:
        raise InvalidArgument(f"{name}={seconds!r} is longer than 24 days: give it in seconds")
    return milliseconds


def _bytes_of_mb(name: str, size_mb: object) -> int:
    size_bytes = int(_number(name, size_mb) * BYTES_PER_MB)
    if size_bytes >= 2**62:
        raise InvalidArgument(f"{name}={size_mb!r} is beyond any disk: it is counted in megabytes")
    return size_bytes


def _path_text(name: str, path: object) -> str:
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str):
        raise InvalidType(f"{name} must be a str or a path, not {type(path).__name__}")
    if path == "" or "\0" in path:
        raise InvalidArgument(f"{name}={path!r} is no path: give it one")
    # The process may go elsewhere, and a pickle may be read elsewhere.
    return path if name == "db_path" and path == ":memory:" else os.path.abspath(path)  # noqa: PTH100


def _day_seconds(name: str, day: str | date | None) -> int | None:
    """Unix seconds of a day given as text, date or datetime; a naive one is UTC."""
    if day is None:
        return None
    if isinstance(day, str):
        try:
            day = datetime.fromisoformat(day)
        except ValueError as error:
            raise InvalidArgument(f"{name}={day!r} is no date: write it as '2023-01-31'") from error
    if not isinstance(day, date):
        raise InvalidType(f"{name} must be a str or a date, not {type(day).__name__}")
    if not isinstance(day, datetime):
        day = datetime(day.year, day.month, day.day)
    moment = day if day.tzinfo is not None else day.replace(tzinfo=UTC)
    return int(moment.timestamp())


@atexit.register
def _close_all() -> None:
    for manager in list(_open_managers):
        with contextlib.suppress(Exception):
            manager.close()


def _close_all_at_child_exit(_: object) -> None:
    sys.modules["multiprocessing.util"].Finalize(None, _close_all, exitpriority=0)


# A process of multiprocessing leaves by os._exit: atexit never comes, its own finalizers do.
# Whoever begins one has loaded it by then, or loads barcache in it; importing it takes long.
def _follow_multiprocessing() -> None:
    if util := sys.modules.get("multiprocessing.util"):
        util.register_after_fork(_close_all, _close_all_at_child_exit)


_follow_multiprocessing()
os.register_at_fork(before=_follow_multiprocessing)
