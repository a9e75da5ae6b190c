"""The native core of barcache. Use the names of the package `barcache`."""

import collections
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import polars


class ArrowExport:
    """A frame as an Arrow producer; copies nothing."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

class LRUCache:
    """
    Polars frames in memory, bounded by bytes, least recently used first.

    A frame handed out is a shallow clone: changing it never reaches the cache.
    Safe with threads.
    """

    def __init__(self, max_size_bytes: float = 1073741824) -> None: ...

    def get(self, key: str) -> polars.DataFrame | None:
        """
        The frame under ``key``, now the most recently used; None if there is none.
        """

    def put(self, key: str, df: polars.DataFrame) -> None:
        """
        Keep ``df`` under ``key``. One that alone exceeds the limit is not kept.

        Takes what ``put_cached_data`` takes; gives back Polars.
        """

    def clear(self) -> None:
        """Forget every frame."""

    def get_stats(self) -> dict[str, int | float]:
        """``entry_count`` and ``total_size_mb``."""

    @property
    def max_size_bytes(self) -> int:
        """The limit. Lowering it evicts at once."""

    @max_size_bytes.setter
    def max_size_bytes(self, max_size_bytes: object | None) -> None: ...

    @property
    def current_size_bytes(self) -> int:
        """Bytes charged now."""

    @property
    def cache(self) -> collections.OrderedDict[str, polars.DataFrame]:
        """
        The frames by key, least recently used first. A snapshot: changing it changes nothing here.
        """

    def __len__(self) -> int: ...

    def __contains__(self, arg: object, /) -> bool: ...

class Flight:
    """
    Something done once among processes: see docs/concurrency.md. One that is dropped while it leads lands.
    """

    def poll(self) -> Literal['leading', 'waiting', 'landed', 'failed']:
        """Looks, if it waits, whether that is over."""

    def land(self) -> None:
        """Ends a flight that leads: others look again."""

    def fail(self, type: str, message: str) -> None:
        """Ends a flight that leads: those who wait at this moment are told."""

    @property
    def error(self) -> tuple[str, str]:
        """Type and message of a flight that failed."""

class FrameScan:
    """An entry held open: each read verifies the file anew."""

    def read(self, columns: list[str] | None) -> polars.DataFrame:
        """
        The columns named, or all; EntryCorrupt if the bytes are no longer those put.
        """

class CacheCore:
    """The native base of CacheManager: use that."""

    def __init__(self, db_path: str, cache_directory: str, hot_capacity_bytes: int, cold_capacity_bytes: int, eviction_policy: str, full_durability: bool, read_only: bool, record_on_close: bool, decode_budget_bytes: int, busy_timeout_ms: int, lease_ms: int, backtest_variable: object) -> None: ...

    def get_cached_data(self, cache_key: str, *, backtest_id: str | None = None, columns: list[str] | None = None, frame: str = 'polars') -> Any:
        """
        The frame under ``cache_key``, or None on a miss.

        Args:
            cache_key: as put; anything that is no key is a miss.
            backtest_id: links the entry to this backtest on a hit.
            columns: only these, in this order; never kept in memory under the key.
            frame: "polars" (a ``pl.DataFrame``), "pandas" (the pandas frame that was put, index and
                MultiIndex columns included) or "arrow" (a ``pyarrow.Table``).

        Raises:
            ColumnNotFound: the entry has no column of that name.

        Bad bytes on disk are a miss: the entry is dropped and logged.
        """

    def get_many(self, cache_keys: Iterable[str], *, backtest_id: str | None = None, columns: list[str] | None = None, frame: str = 'polars') -> list[Any]:
        """
        As get_cached_data for each key, read side by side: the frames in the order of the keys, None
        for a miss.
        """

    def _open_scan(self, cache_key: str, backtest_id: str | None) -> tuple[FrameScan, polars.DataFrame] | None: ...

    def _put_frames(self, frames: list[tuple[str, Any, bool, str]], dataset_id: int, backtest_id: str | None, fetch_cost_s: float | None = None) -> None: ...

    def _generate_key(self, arg0: Sequence[bytes], arg1: bytes, arg2: bytes, arg3: bytes, arg4: bytes, /) -> str: ...

    def _remember_request(self, arg0: str, arg1: str, /) -> None: ...

    def _import_frame(self, arg0: object, arg1: bool, arg2: str, /) -> FetchedFrame: ...

    def _put_fetched(self, cache_key: str, fetched: FetchedFrame, dataset_id: int, backtest_id: str | None, fetch_cost_s: float) -> None: ...

    def _get_hot(self, cache_key: str, backtest_id: str | None) -> polars.DataFrame | None: ...

    def _look_again(self, cache_key: str, backtest_id: str | None) -> polars.DataFrame | None: ...

    def _begin_flight(self, name: str) -> Flight: ...

    def _dataset_of(self, source: str, resolution: str) -> tuple[int, bool]: ...

    def _note_use(self, cache_key: str, backtest_id: str | None) -> None: ...

    def lookup_cache(self, cache_key: str) -> dict[str, Any] | None:
        """The entry's row, uses not yet written included; None if there is none."""

    def _entry(self, cache_key: str) -> dict[str, Any] | None: ...

    def entry_infos(self) -> list[dict[str, Any]]:
        """
        Every entry's row, ordered by key, with ``generation``, ``request`` and ``pinned``.
        """

    def _backtests(self, arg: object, /) -> list[str]: ...

    def _keys_of(self, arg: str, /) -> list[str]: ...

    def _statistics(self, from_s: int | None, to_s: int | None) -> dict[str, Any]: ...

    def _session_stats(self) -> dict[str, int]: ...

    def _set_session_stats(self, arg0: int, arg1: int, arg2: int, arg3: int, /) -> None: ...

    def record_daily_statistics(self) -> None:
        """Add what was counted since the last record to today's row (UTC)."""

    def _entry_count(self) -> int: ...

    def _total_size_bytes(self) -> int: ...

    @staticmethod
    def _repair_catalog(db_path: str, cache_directory: str) -> bool: ...

    def _check(self, repair: bool) -> dict[str, Any]: ...

    def _erase(self, arg: object, /) -> int: ...

    def _erase_backtest(self, arg0: str, arg1: bool, /) -> int: ...

    def _erase_unused_since(self, arg: int, /) -> int: ...

    def _clear(self) -> int: ...

    def _evict(self) -> int: ...

    def _pin(self, arg: str, /) -> int: ...

    def _pin_backtest(self, arg: str, /) -> int: ...

    def _unpin(self, arg: str, /) -> int: ...

    def _unpin_backtest(self, arg: str, /) -> int: ...

    def _pinned(self) -> list[str]: ...

    @property
    def _cold_capacity_bytes(self) -> int: ...

    @_cold_capacity_bytes.setter
    def _cold_capacity_bytes(self, arg: int, /) -> None: ...

    @property
    def eviction_policy(self) -> str:
        """
        Who leaves first: "lru", "size", "hybrid", "gdsf", "s3fifo". Assigning evicts nothing.
        """

    @eviction_policy.setter
    def eviction_policy(self, name: str, /) -> None: ...

    def _hot_tier(self) -> LRUCache: ...

    def _set_hot_tier(self, arg: LRUCache, /) -> None: ...

    def _begin_backtest(self) -> None: ...

    def _end_backtest(self) -> None: ...

    def flush(self) -> None:
        """
        Write pending uses and links now; they would be written within a second anyway.
        """

    def _close(self) -> None: ...

    @property
    def closed(self) -> bool: ...

    @property
    def catalog_id(self) -> str: ...

    @property
    def connection_target(self) -> str: ...

    def begin_engine_commit(self) -> None: ...

    def end_engine_commit(self) -> None: ...

    def _ledger_look(self, source: str, resolution: str, adjustment: str, symbols: Sequence[str]) -> list[Series]: ...

    def _ledger_all(self) -> list[Series]: ...

    def _ledger_record(self, answers: Sequence[tuple[str, str, str, str, str, Sequence[tuple[int, int, int, str, int, int | None]], bool, Sequence[tuple[int, int, int, str, int, int | None]]]]) -> int:
        """
        Answers: source, resolution, adjustment, symbol, schema, coverage, forget_others,
        in_place_of. Returns how many were recorded.
        """

    def _unchanged(self, watch: SeriesWatch) -> bool: ...

    def _count_hits(self, watch: SeriesWatch, backtest_id: str) -> None: ...

    def _fetched_bars(self, before: Sequence[Series], time_column: str) -> None:
        """
        Answers were recorded in these series: has their small segments merged.
        """

    def _merge_now(self, source: str, resolution: str, adjustment: str, symbols: Sequence[str], time_column: str, merge_at: int = 8) -> int:
        """Merges them before it returns. Returns how many segments are gone."""

    def _drain_merges(self) -> None:
        """Waits for the background."""

    def _set_aside(self, bytes: int) -> None:
        """So much memory is kept beside the hot tier, and counts in it."""

    def _series_set(self, source: str, resolution: str, adjustment: str, symbols: Sequence[str]) -> SeriesSet: ...

    def _look_again_at(self, before: SeriesSet) -> SeriesSet:
        """The same series as they are now."""

    def _answer_bars(self, series: SeriesSet, shapes: list[tuple[str, int, int]], now_s: int, max_age_s: int | None, any_age: bool, symbol_column: str, backtest_id: str) -> tuple[polars.DataFrame | list[tuple[str, polars.DataFrame]], SeriesWatch, int | None, int] | None:
        """
        Shapes: time column, begin_ns, end_ns, one for each schema text. Returns bars (by symbol where
        they are not alike), what they were made of, until when they are fresh, and the bytes they
        keep alive; None: not all is there.
        """

class FetchedFrame:
    """A frame read once, to be stored and handed out."""

    def polars(self) -> polars.DataFrame:
        """What a hit would hand out."""

class Series:
    """What the ledger knew of one symbol's bars when it was asked."""

    @property
    def key(self) -> str: ...

    @property
    def known(self) -> bool: ...

    @property
    def schema_text(self) -> str: ...

    @property
    def name(self) -> tuple[str, str, str, str]:
        """source, resolution, adjustment, symbol."""

    @property
    def coverage(self) -> list[tuple[int, int, int, str, int, int | None]]:
        """begin_ns, end_ns, state, segment key, asked_at, expires_at; by begin."""

    def plan(self, begin_ns: int, end_ns: int, now_s: int, max_age_s: int | None, any_age: bool, since_s: int | None) -> tuple[list[tuple[int, int, str]], list[tuple[int, int, str]], int | None]:
        """Pieces (with segment key), lacks (with reason), fresh_until_s."""

    def neighbour(self, moment_ns: int, after: bool, now_s: int) -> tuple[int, int, str] | None:
        """The final piece next to a moment, with nothing unknown between."""

class SeriesWatch:
    """What a frame was made of: series as they were, and segments."""

    def __init__(self, series: Sequence[Series], segment_keys: Sequence[str]) -> None: ...

def plan_calls(gaps: Sequence[tuple[int, int, int]], call_cost_ns: int) -> list[tuple[int, int, list[int]]]:
    """
    Gaps (symbol's place, begin_ns, end_ns) to calls (begin_ns, end_ns, places).
    """

def schema_text(data_frame: polars.DataFrame) -> str: ...

def empty_frame(schema_text: str) -> polars.DataFrame: ...

class SeriesSet:
    """The series of a list of symbols, as they were."""

    @property
    def schema_texts(self) -> list[str]:
        """How their bars look, each once."""

class SqliteFailure(Exception):
    pass

def sqlite_version() -> str: ...

class SqliteStatement:
    def bind(self, values: object) -> None: ...

    def step(self) -> tuple[Any, ...] | None: ...

    def fetch(self, limit: int) -> list[tuple[Any, ...]]: ...

    def reset(self) -> None: ...

    def columns(self) -> list[str]: ...

    @property
    def read_only(self) -> bool: ...

class SqliteConnection:
    def __init__(self, target: str, busy_timeout_ms: int) -> None: ...

    def prepare(self, sql: str) -> SqliteStatement | None: ...

    def execute_script(self, sql: str) -> None: ...

    def create_function(self, name: str, argument_count: int, function: object | None, deterministic: bool) -> None: ...

    def close(self) -> None: ...

    def interrupt(self) -> None: ...

    @property
    def changes(self) -> int: ...

    @property
    def total_changes(self) -> int: ...

    @property
    def last_insert_rowid(self) -> int: ...

    @property
    def in_transaction(self) -> bool: ...

def in_forked_child() -> bool:
    """Whether this process was forked from one that had a cache open."""
