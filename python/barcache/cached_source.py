"""CachedDataSource: RustyBT's cached source (rustybt.data.sources.cached_source), by interval.

It is a source itself, with the interface of RustyBT's ``DataSource``, and answers from a cache of
its own what it can. Thread-safe; an async adapter is awaited in the loop of the caller.
"""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar
from dataclasses import replace
from datetime import date, datetime
from datetime import time as clock_time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barcache.cache_manager import BYTES_PER_MB, CacheManager
from barcache.errors import InvalidArgument
from barcache.resolution import parse_resolution
from barcache.sources.base import as_source, is_async

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    import polars as pl

    from barcache.sources import Source

DEFAULT_FOLDER = "~/.rustybt/cache"
SIZE_SETTING = "cache.max_size_bytes"
DEFAULT_SIZE_BYTES = 10 * 1024**3
LONGEST_AGE_S = 2.0**40


class CachedDataSource:
    """Answers what was fetched before from a cache, and asks the adapter for the rest.

    Args:
        adapter: one of RustyBT's, or any source (``barcache.sources.as_source``).
        cache_dir: the catalog and the files are in its folder ``barcache``; what RustyBT keeps
            beside it is not touched. Not given: ``$RUSTYBT_CACHE_DIR``, else ~/.rustybt/cache.
        config: ``"cache.max_size_bytes"`` (10 GB), and the settings of
            ``barcache.freshness.FreshnessPolicyFactory``.
        freshness_policy: Says how old an answer may be that is served, for a whole answer: what
            it calls fresh when fetched at some moment has to be fresh when fetched later. Not
            given: the one that ``config`` chooses, or if it says nothing of freshness, bars are
            asked for again until they are final, they alone.
        max_size_mb: instead of the setting.

    Attributes:
        cache: the CacheManager.
        catalog: what was assigned, RustyBT's DataCatalog for instance; it is not used.

    Raises:
        As CacheManager; InvalidArgument for an unknown setting.

    >>> import asyncio, datetime, tempfile, polars as pl
    >>> async def fetch(symbols, start, end, frequency):
    ...     return pl.DataFrame({"timestamp": [start], "symbol": symbols, "close": [1.0]})
    >>> day = datetime.datetime(2023, 1, 3)
    >>> with CachedDataSource(fetch, tempfile.mkdtemp()) as source:
    ...     for _ in range(4):
    ...         bars = asyncio.run(source.fetch(["AAPL"], day, day, "1d"))
    ...     source.get_stats()["hit_rate"]
    75.0
    """

    def __init__(
        self,
        adapter: Any,
        cache_dir: str | os.PathLike[str] | None = None,
        config: Mapping[str, Any] | None = None,
        freshness_policy: Any = None,
        *,
        max_size_mb: float | None = None,
    ):
        self.adapter = adapter
        self.config = dict(config or {})
        self.freshness_policy = freshness_policy
        self.catalog: Any = None
        folder = cache_dir or os.environ.get("RUSTYBT_CACHE_DIR") or DEFAULT_FOLDER
        self.cache_dir = Path(folder).expanduser()
        settings = {name: value for name, value in self.config.items() if name != SIZE_SETTING}
        if settings:
            from barcache.freshness.factory import require_known_settings

            require_known_settings(settings)
        self._freshness_settings = settings
        if max_size_mb is None:
            max_size_mb = self.config.get(SIZE_SETTING, DEFAULT_SIZE_BYTES) / BYTES_PER_MB
        source = as_source(adapter)
        self._asked: ContextVar[list[None] | None] = ContextVar("barcache_asked", default=None)
        self._source: Source = replace(
            source, fetcher=self._counted(source.fetcher), argument_type="timestamp"
        )
        self._counts = threading.Lock()
        self._hits = self._misses = 0
        self.cache: CacheManager = CacheManager(
            self.cache_dir / "barcache" / "metadata.db",
            self.cache_dir / "barcache" / "cache",
            cold_cache_size_mb=max_size_mb,
        )

    async def fetch(
        self, symbols: Sequence[str], start: Any, end: Any, frequency: str
    ) -> pl.DataFrame:
        """The bars of the symbols between start and end, both included.

        A midnight without a zone is a day where bars are days or longer, else a moment.

        Raises:
            Whatever the adapter raises, and what aget_or_fetch does.
        """
        frequency = _spelt(frequency)
        begin, last = (_end_of(moment, frequency) for moment in (start, end))
        asked: list[None] = []
        token = self._asked.set(asked)
        try:
            frame = await self.cache.aget_or_fetch(
                list(symbols),
                begin,
                last,
                frequency,
                self._source,
                max_age=self._max_age(frequency),
            )
        finally:
            self._asked.reset(token)
        with self._counts:
            self._misses += bool(asked)
            self._hits += not asked
        return frame

    async def warm_cache(
        self, symbols: Sequence[str], start: Any, end: Any, frequency: str
    ) -> None:
        """Fetch what is missing of a request; what lies in the future is asked for when it is due.

        ``cache.warm`` does the same in batches, below a rate, for sync code.
        """
        await self.fetch(symbols, start, end, frequency)

    def invalidate(
        self,
        symbols: Sequence[str] | str | None = None,
        start: Any = None,
        end: Any = None,
        frequency: str | None = None,
    ) -> None:
        """Forget what was fetched, so that it is asked for anew; all of what is not given.

        Raises:
            InvalidArgument: an end before the start, or text that is no date or resolution.
        """
        from barcache.bars.forgetting import forget

        names = None if symbols is None else {symbols} if isinstance(symbols, str) else {*symbols}
        step = None if frequency is None else parse_resolution(frequency).name
        resolution = "1d" if step is None else step

        def concerns(name: tuple[str, str, str, str]) -> bool:
            return (
                name[0] == self._source.name
                and step in (None, name[1])
                and (names is None or name[3] in names)
            )

        begin, last = (None if m is None else _end_of(m, resolution) for m in (start, end))
        forget(self.cache, concerns, begin, last)

    def get_stats(self) -> dict[str, Any]:
        """Of this object: ``hit_rate`` in percent, ``total_fetches``, ``hits`` and ``misses``.

        A hit is a fetch that did not call the adapter. Of the cache: ``size_mb`` and ``entries``.
        """
        with self._counts:
            hits, misses = self._hits, self._misses
        total = hits + misses
        statistics = self.cache.get_cache_statistics()
        return {
            "hit_rate": 100.0 * hits / total if total else 0.0,
            "total_fetches": total,
            "hits": hits,
            "misses": misses,
            "size_mb": statistics["total_size_mb"],
            "entries": statistics["entry_count"],
        }

    # --- the adapter's own ------------------------------------------------------------------

    def get_metadata(self) -> Any:
        """The adapter's."""
        return self.adapter.get_metadata()

    def supports_live(self) -> bool:
        """The adapter's."""
        return self._source.supports_live

    def ingest_to_bundle(self, bundle_name: str, *call: Any, **options: Any) -> Any:
        """The adapter's; it does not pass the cache."""
        return self.adapter.ingest_to_bundle(bundle_name, *call, **options)

    # --- life -------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the cache. May be repeated."""
        self.cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- inside -----------------------------------------------------------------------------

    def _counted(self, fetcher: Callable[..., Any]) -> Callable[..., Any]:
        """The fetcher, which tells the fetch of this task or thread that it was called."""

        def note() -> None:
            asked = self._asked.get()
            if asked is not None:
                asked.append(None)

        async def in_task(*call: Any) -> Any:
            note()
            return await fetcher(*call)

        def in_thread(*call: Any) -> Any:
            note()
            return fetcher(*call)

        return in_task if is_async(fetcher) else in_thread

    def _generate_cache_key(
        self, symbols: Sequence[str], start: Any, end: Any, frequency: str
    ) -> str:
        begin, last = (end if isinstance(end, str) else end.isoformat() for end in (start, end))
        return self.cache.generate_cache_key(
            list(symbols), begin, last, frequency, self._source.name
        )

    def _max_age(self, frequency: str) -> float | None:
        """How old an answer may be by the policy; None: finality decides."""
        policy = self.freshness_policy
        if policy is None:
            if not self._freshness_settings:
                return None
            from barcache.freshness import FreshnessPolicyFactory

            policy = FreshnessPolicyFactory.create(
                self.adapter, frequency, self._freshness_settings
            )

        def is_fresh(fetched_at: int) -> bool:
            told = {"fetch_timestamp": fetched_at}
            return bool(policy.is_fresh(told, frequency, calendar=self._source.calendar))

        now_s = int(self.cache._bar_reader.clock())
        if is_fresh(1):
            return LONGEST_AGE_S
        stale, fresh = 1, now_s + 1
        while fresh - stale > 1:  # The first moment of which a fetch is fresh.
            middle = (stale + fresh) // 2
            stale, fresh = (stale, middle) if is_fresh(middle) else (middle, fresh)
        return float(now_s + 1 - fresh)  # Younger than this: fetched then or later.


def _spelt(frequency: str) -> str:
    """Words as adapters know them: ``daily`` is ``1d``."""
    has_number = any(letter.isdigit() for letter in frequency)
    return frequency if has_number else parse_resolution(frequency).name


def _end_of(moment: Any, frequency: str) -> Any:
    """A midnight without a zone is a day where bars are."""
    if isinstance(moment, str) or parse_resolution(frequency).is_intraday:
        return moment
    if not isinstance(moment, date):
        raise InvalidArgument(f"{moment!r} is no time: pass a pd.Timestamp, a datetime or a date")
    if isinstance(moment, datetime) and moment.tzinfo is None and moment.time() == clock_time():
        return moment.date()
    return moment
