"""The part of CacheManager that answers requests for bars.

Thread safety: all methods may be called from any thread.
"""

from __future__ import annotations

from dataclasses import replace
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypedDict

from barcache.bars.ends import Ends
from barcache.bars.fetching import NotBars
from barcache.bars.get_or_fetch import (
    bar_request,
    ends_of,
    memo_key,
    named_source,
    source_of,
)
from barcache.errors import InvalidArgument
from barcache.fetching import FetchingCore, require_callable
from barcache.flights import is_async_function, refuse_async
from barcache.steps import adrive, drive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from concurrent.futures import Executor
    from contextvars import ContextVar
    from datetime import timedelta

    import polars as pl

    from barcache import _core
    from barcache.bars.explanation import Explanation
    from barcache.bars.reader import BarReader
    from barcache.bars.request import BarRequest
    from barcache.sources import Source
    from barcache.sources.patience import Retry
    from barcache.warming import WarmPlan, WarmReport

    Flying = Generator[Any, Any, pl.DataFrame]  # Yields flights, is sent their answers.


Call = tuple[Any, Any, Any, Any]  # symbols, start_date, end_date, resolution


class BarOptions(TypedDict):
    """The options of get_or_fetch: see AskingCore."""

    backtest_id: str | None
    columns: Sequence[str] | None
    max_age: float | timedelta | None
    adjustment: str | None
    overlap: int
    offline: bool
    stale_if_error: bool


class AskingCore(FetchingCore):
    """get_or_fetch: the base of CacheManager.

    Each top-up fetches a few bars again that are held (``overlap``): if the source now says
    something else of them (a split, a dividend, a correction), the history of the symbol is
    fetched anew. Bars that are not final yet are fetched again (docs/guide.md).
    """

    _bar_reader: BarReader
    _backtest: ContextVar[str | None]
    _hot_cache: _core.LRUCache

    def get_or_fetch(
        self,
        symbols: Sequence[str] | str,
        start_date: Any,
        end_date: Any,
        resolution: str,
        data_source: Any,
        fetch_fn: Callable[..., Any] | None = None,
        *,
        backtest_id: str | None = None,
        columns: Sequence[str] | None = None,
        max_age: float | timedelta | None = None,
        adjustment: str | None = None,
        overlap: int = 1,
        offline: bool = False,
        stale_if_error: bool = False,
    ) -> pl.DataFrame:
        """The bars of these symbols between two dates, both included; fetched where missing.

        Bars are kept per symbol and interval: a request is answered from what earlier ones
        brought, whatever their symbols and dates, and only the gaps are fetched. What threads and
        processes miss at the same time is fetched once. An answer that is no bars (without a time
        column, or rows that cannot be told apart) is cached as a whole, under the request's key.

        Args:
            symbols: A str is one symbol.
            start_date: ISO text, a date, datetime or pd.Timestamp; without a zone, in the bars'.
            end_date: Likewise; included, a mere day as a whole.
            resolution: ``"1d"``, ``"1h"``, ``"5m"`` and so on.
            data_source: A source (``barcache.sources``), the name of a registered one, or any name.
            fetch_fn: ``fetch_fn(symbols, start_date, end_date, resolution)`` where data_source is
                but a name; the ends of a gap come in the types of the request's.
            backtest_id: Links the entries to this backtest.
            columns: Only these, in this order.
            max_age: Seconds or a timedelta: younger answers count, final or not.
            adjustment: The mode of price adjustment; modes are kept apart.
            overlap: Bars that a top-up fetches again at each edge of a gap.
            offline: Nothing is fetched; what is held counts, however old.
            stale_if_error: If the source fails, what is held counts, however old.

        Returns:
            A frame with exactly the bars asked for, by symbol and time; without any it has the
            columns of the source's answers. What could not be stored is returned all the same.

        Raises:
            Whatever the source raises, in every thread that waited; what it gave before is kept. A
                rate limit is waited for first (``retry`` of the manager).
            FetchFailed: another process fetched, failed, and this one had waited.
            PartialCoverage: offline or stale_if_error, and not all is held: see there.
            InvalidArgument, InvalidType: what the message names.
        """
        call = (symbols, start_date, end_date, resolution)
        key = memo_key(*call, data_source, columns, max_age, adjustment)
        known = self._bar_reader.recall(self, key, backtest_id)
        if known is None:
            options = BarOptions(
                backtest_id=backtest_id,
                columns=columns,
                max_age=max_age,
                adjustment=adjustment,
                overlap=overlap,
                offline=offline,
                stale_if_error=stale_if_error,
            )
            known = self._found_or_steps(call, data_source, fetch_fn, options, key)
            if isinstance(known, GeneratorType):
                known = drive(known, self._fly)
        frame: pl.DataFrame = known
        return frame

    async def aget_or_fetch(
        self,
        symbols: Sequence[str] | str,
        start_date: Any,
        end_date: Any,
        resolution: str,
        data_source: Any,
        fetch_fn: Callable[..., Any] | None = None,
        *,
        backtest_id: str | None = None,
        columns: Sequence[str] | None = None,
        max_age: float | timedelta | None = None,
        adjustment: str | None = None,
        overlap: int = 1,
        offline: bool = False,
        stale_if_error: bool = False,
    ) -> pl.DataFrame:
        """As get_or_fetch, for async code: the event loop is never blocked.

        A source or fetch_fn may be async, and is awaited in this loop; a plain one runs in a
        thread. Async and other calls for one gap share one fetch. When the task that fetches is
        cancelled, one that waits takes over; a task that waits can be cancelled without any effect
        on the others.

        >>> import asyncio, tempfile, polars as pl
        >>> from barcache import CacheManager
        >>> cache = CacheManager(":memory:", tempfile.mkdtemp())
        >>> async def vendor(symbols, start_date, end_date, resolution):
        ...     return pl.DataFrame({"close": [1.0, 2.0]})
        >>> request = (["AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance")
        >>> asyncio.run(cache.aget_or_fetch(*request, vendor)).height
        2
        >>> cache.close()
        """
        call = (symbols, start_date, end_date, resolution)
        key = memo_key(*call, data_source, columns, max_age, adjustment)
        known = self._bar_reader.recall_hot(self, key, backtest_id)
        if known is not None:
            frame: pl.DataFrame = known
            return frame
        options = BarOptions(
            backtest_id=backtest_id,
            columns=columns,
            max_age=max_age,
            adjustment=adjustment,
            overlap=overlap,
            offline=offline,
            stale_if_error=stale_if_error,
        )
        steps = self._answering(call, data_source, fetch_fn, options, key, is_async=True)
        return await adrive(steps, self._afly, self._flights.in_thread)

    def explain(
        self,
        symbols: Sequence[str] | str,
        start_date: Any,
        end_date: Any,
        resolution: str,
        data_source: Any,
        *,
        max_age: float | timedelta | None = None,
        adjustment: str | None = None,
    ) -> Explanation:
        """Where get_or_fetch would take each interval of a request from, and why; fetches nothing.

        Args:
            symbols: With the next four the request, as for get_or_fetch.
            start_date: Part of the request.
            end_date: Part of the request.
            resolution: Part of the request.
            data_source: A source, or the name of one, registered or not.
            max_age: As for get_or_fetch.
            adjustment: As for get_or_fetch.

        Returns:
            A dict, whose text fits on a screen.

        Raises:
            InvalidArgument, InvalidType: what the message names.
        """
        from barcache.bars.explanation import explain

        request = bar_request(
            symbols,
            Ends(start_date, end_date),
            resolution,
            named_source(data_source),
            max_age=max_age,
            adjustment=adjustment,
        )
        return explain(self, request, int(self._bar_reader.clock()))

    def warm(
        self,
        plan: WarmPlan,
        *,
        dry_run: bool = False,
        executor: Executor | None = None,
        batch_size: int = 50,
        requests_per_second: float | None = None,
        progress: Callable[[str, float], None] | bool | None = None,
        backtest_id: str | None = None,
        max_age: float | timedelta | None = None,
    ) -> WarmReport:
        """Fetch a universe ahead: what of the plan is not in the cache yet.

        What came is recorded call by call: after an interruption of any kind, the same call goes
        on from there. Ctrl-C without an executor gives up the call under way; with one nothing
        more is begun, and the calls under way are waited for and kept (a second one leaves them).

        Args:
            plan: What to fetch.
            dry_run: Send nothing; the report says what would be sent.
            executor: Any of concurrent.futures; None: in this thread. Another process opens a
                cache of its own, and the source has to go through a pickle.
            batch_size: Symbols a batch; those of them that lack the same share a request.
            requests_per_second: At most so many calls of the source, by all threads and
                processes together.
            progress: Called as ``progress(what, share)`` after each batch; None: a bar if stderr
                is a terminal (and ``barcache[cli]`` is installed), False: nothing.
            backtest_id: Links the entries to this backtest.
            max_age: As for get_or_fetch.

        Returns:
            A report. Errors of the source are in it, and do not stop the other batches.

        Raises:
            ReadOnly: nothing could be kept.
            InvalidArgument, InvalidType: what the message names; a source that cannot be sent to
                the processes of a ProcessPoolExecutor.
            ForkedPolars: the executor forks; one of processes has to spawn them.

        >>> import datetime, tempfile, polars as pl
        >>> from barcache import CacheManager, WarmPlan
        >>> def fetch(symbols, start, end, resolution):
        ...     return pl.DataFrame({"date": [start] * len(symbols), "symbol": symbols})
        >>> cache = CacheManager(":memory:", tempfile.mkdtemp())
        >>> day = datetime.date(2023, 1, 2)
        >>> plan = WarmPlan(["AAPL", "MSFT", "TSLA"], day, day, "1d", fetch)
        >>> print(cache.warm(plan, dry_run=True, batch_size=2))
        3 symbols, 0 of them covered before; to send: 2 requests, for about 3 bars
        >>> print(cache.warm(plan, batch_size=2).rows, cache.warm(plan).requests)
        3 0
        >>> cache.close()
        """
        from barcache.warming import run

        options = _default_options(backtest_id or self._backtest.get(), max_age, plan.adjustment)
        if dry_run:
            source = named_source(plan.data_source)
            return run.dry_run(self, plan, source, options, batch_size)
        return run.warm(
            self,
            plan,
            source_of(plan.data_source, None),
            options,
            executor=executor,
            batch_size=batch_size,
            requests_per_second=requests_per_second,
            progress=progress,
        )

    def coverage(self, symbol: str | None = None, source: str | None = None) -> pl.DataFrame:
        """The ledger: which intervals were asked for, and what the sources said.

        Returns:
            One row an answer, with source, resolution, adjustment, symbol, ``begin`` and ``end``
            (the first moment not covered), ``state`` (``data``, ``provisional``, ``none``,
            ``evicted``, ``corrupt``), segment_key, asked_at and expires_at (null: final).
        """
        from barcache.bars.explanation import coverage

        return coverage(self, symbol, source)

    def _answering(
        self,
        call: Call,
        data_source: Any,
        fetch_fn: Any,
        options: BarOptions,
        key: Any,
        *,
        is_async: bool = False,
    ) -> Flying:
        found: Any = self._found_or_steps(
            call, data_source, fetch_fn, options, key, is_async=is_async
        )
        if isinstance(found, GeneratorType):
            found = yield from found
        frame: pl.DataFrame = found
        return frame

    def _found_or_steps(
        self,
        call: Call,
        data_source: Any,
        fetch_fn: Any,
        options: BarOptions,
        key: Any,
        *,
        is_async: bool = False,
    ) -> pl.DataFrame | Flying:
        """The frame if the cache alone has it, else the steps to it."""
        source = self._source_of(data_source, fetch_fn, is_async=is_async)
        ends = ends_of(*call)
        if ends is None:
            _refuse_options(call, options)
            return self._whole(call, source, fetch_fn, options, is_async=is_async)
        request = bar_request(call[0], ends, call[3], source, **options)
        known = self._bar_reader.from_cache(self, request, key)
        if known is not None:
            return known
        return self._fetching_bars(call, request, fetch_fn, options, key, is_async=is_async)

    def _fetching_bars(
        self,
        call: Call,
        request: BarRequest,
        fetch_fn: Any,
        options: BarOptions,
        key: Any,
        *,
        is_async: bool,
    ) -> Flying:
        source = request.source
        request = self._to_fetch(request, call, fetch_fn, is_async=is_async)
        try:
            return (yield from self._bar_reader.answering(self, request))
        except NotBars as not_bars:
            whole = not_bars.frame
        if whole is None:  # Of a part of the request: the rest is not known.
            whole = yield from self._whole(call, source, fetch_fn, options, is_async=is_async)
        if request.columns is not None:
            return whole.select(request.columns)
        self._bar_reader.remember_whole(key, request.exact_key)
        return whole

    def _request(
        self, call: Call, source: Source, fetch_fn: Any, options: BarOptions
    ) -> BarRequest:
        symbols, start_date, end_date, resolution = call
        ends = Ends(start_date, end_date)
        request = bar_request(symbols, ends, resolution, source, **options)
        return self._to_fetch(request, call, fetch_fn, is_async=False)

    def _to_fetch(
        self, request: BarRequest, call: Call, fetch_fn: Any, *, is_async: bool
    ) -> BarRequest:
        """The request with what only a fetch needs."""
        symbols, start_date, end_date, resolution = call
        given = [symbols] if isinstance(symbols, str) else symbols
        start, end = (e if isinstance(e, str) else e.isoformat() for e in (start_date, end_date))
        exact = self.generate_cache_key(list(given), start, end, resolution, request.source.name)
        return replace(
            request,
            exact_key=exact,
            symbols_given=given,
            fetch_fn=fetch_fn,
            is_async=is_async,
            retry=self._retry_of(request.source),
        )

    def _retry_of(self, source: Source) -> Retry | None:
        return None if source.retries else self.retry

    def _whole(
        self, call: Call, source: Source, fetch_fn: Any, options: BarOptions, *, is_async: bool
    ) -> Flying:
        fetch = source.afetch if is_async else source.fetch
        return self._fetching_whole(
            call,
            source.name,
            fetch_fn or fetch,
            backtest_id=options["backtest_id"],
            is_async=is_async,
            retry=self._retry_of(source),
        )

    def _source_of(self, data_source: Any, fetch_fn: Any, *, is_async: bool) -> Source:
        if fetch_fn is not None:
            require_callable(fetch_fn)
            if not is_async and is_async_function(fetch_fn):
                refuse_async(fetch_fn)
        return source_of(data_source, fetch_fn)


def _refuse_options(call: Call, options: BarOptions) -> None:
    """Options that mean nothing where the parts of a request only name a frame."""
    given = [
        name
        for name in ("columns", "max_age", "adjustment", "offline", "stale_if_error")
        if options[name]
    ]
    if given:
        raise InvalidArgument(
            f"{call!r} cannot be read as symbols, two dates and a resolution, so that "
            f"{', '.join(given)} means nothing: write dates as 2023-01-31 and a resolution as "
            "1d, or leave it out"
        )


def _default_options(
    backtest_id: str | None, max_age: float | timedelta | None, adjustment: str | None
) -> BarOptions:
    return BarOptions(
        backtest_id=backtest_id,
        columns=None,
        max_age=max_age,
        adjustment=adjustment,
        overlap=1,
        offline=False,
        stale_if_error=False,
    )
