"""The part of CacheManager that knows requests: their keys, and fetching what is missing.

Thread safety: all functions and methods may be called from any thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

import polars as pl

from barcache import _core
from barcache.conversion import collect, frame_to_put
from barcache.errors import BarcacheError, CacheClosed, InvalidType, UnsupportedFrame
from barcache.events import log_event
from barcache.flights import Errand, Flights, afetch, is_async_function
from barcache.sources.patience import LIMITS, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from barcache.flights import Answer


class FetchingCore(_core.CacheCore):
    """Keys of requests, and fetching what is cached as a whole."""

    _flights: Flights
    _stores: bool  # Not read-only.
    retry: Retry | None  # How long to wait for the end of rate limits; None: not at all.

    def generate_cache_key(
        self,
        symbols: list[str],
        start_date: str,
        end_date: str,
        resolution: str,
        data_source: str,
    ) -> str:
        """The 16 hex letters that name a request; the order of the symbols does not matter.

        The request is remembered, so that a put under the key can store it beside the frame
        (``barcache show KEY``).

        >>> import tempfile
        >>> from barcache import CacheManager
        >>> cache = CacheManager(":memory:", tempfile.mkdtemp())
        >>> cache.generate_cache_key(["MSFT", "AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance")
        '8a3c9ff46519d39e'
        >>> cache.close()
        """
        names = list(symbols)
        parts = (*names, start_date, end_date, resolution, data_source)
        if all(isinstance(part, str) for part in parts):
            encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
            return self._generate_key(encoded[: len(names)], *encoded[len(names) :])
        # Other JSON values are rare; json itself refuses what is none (TypeError).
        request = {
            "symbols": sorted(names),
            "start_date": start_date,
            "end_date": end_date,
            "resolution": resolution,
            "data_source": data_source,
        }
        text = json.dumps(request, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._remember_request(key, text)
        return key

    def _fetching_whole(
        self,
        call: tuple[Any, Any, Any, Any],
        data_source: Any,
        fetch_fn: Callable[..., Any],
        *,
        backtest_id: str | None,
        is_async: bool,
        retry: Retry | None,
    ) -> Generator[Any, Any, pl.DataFrame]:
        """The frame of a request, cached as a whole under its key; yields a flight on a miss."""
        try:
            key = self.generate_cache_key(*call, data_source)
        except TypeError as error:
            raise InvalidType(
                f"{error}, so that a request with it has no key: pass symbols as a list of str, "
                "dates as ISO text, a date, a datetime or a pd.Timestamp"
            ) from error
        found = self._get(key, backtest_id)
        if found is not None:
            return found
        errand = errand_of(
            self,
            key,
            (data_source, call[3]),
            fetch_of(fetch_fn, call, is_async=is_async, retry=retry, source_name=data_source),
            backtest_id=backtest_id,
            stores=self._stores,
        )
        answer = yield key, errand
        return self._own(key, answer, backtest_id)

    def _fly(self, flight: tuple[str, Errand[Any]]) -> Answer[Any]:
        return self._flights.run(*flight)

    async def _afly(self, flight: tuple[str, Errand[Any]]) -> Answer[Any]:
        return await self._flights.arun(*flight)

    def _get(self, key: str, backtest_id: str | None) -> pl.DataFrame | None:
        found: pl.DataFrame | None = self.get_cached_data(key, backtest_id=backtest_id)
        return found

    def _own(self, key: str, answer: Answer[pl.DataFrame], backtest_id: str | None) -> pl.DataFrame:
        """A frame of the caller's own; the use of one that another thread fetched is noted."""
        frame: pl.DataFrame = answer.value
        if not answer.is_shared:
            return frame
        with contextlib.suppress(CacheClosed):
            self._note_use(key, backtest_id)
        return frame.clone()


def fetch_of(
    fetch_fn: Callable[..., Any],
    call: tuple[Any, ...],
    *,
    is_async: bool,
    retry: Retry | None,
    source_name: Any,
) -> Callable[[], Any]:
    """A call of a source as an errand's ``fetch``, which waits for the end of rate limits."""

    def tell(error: Exception, failures: int, delay_s: float) -> None:
        log_event(
            logging.WARNING,
            "source_rate_limited",
            source=source_name,
            attempt=failures,
            delay_s=round(delay_s, 3),
            error=str(error),
        )

    async def once() -> Any:
        if is_async_function(fetch_fn):
            return await fetch_fn(*call)
        return await afetch(lambda: fetch_fn(*call))

    async def in_task() -> Any:
        return await (once() if retry is None else retry.acall(once, LIMITS, tell))

    def in_thread() -> Any:
        if retry is None:
            return fetch_fn(*call)
        return retry.call(lambda: fetch_fn(*call), LIMITS, tell)

    return in_task if is_async else in_thread


def errand_of(
    core: _core.CacheCore,
    cache_key: str,
    dataset: tuple[Any, Any] | int,
    fetch: Callable[[], Any],
    *,
    backtest_id: str | None,
    stores: bool,
    what: str = "fetch_fn",
) -> Errand[pl.DataFrame]:
    """Fetching an entry: ``dataset`` is its data source and resolution, or its row's number.

    ``what`` is how messages call that which fetches.
    """

    def store(fetched: Any, cost_s: float) -> pl.DataFrame:
        imported = import_fetched(core, fetched, what)
        return store_whole(
            core, cache_key, dataset, imported, cost_s, backtest_id=backtest_id, stores=stores
        )

    return Errand(
        begin=core._begin_flight,
        look=lambda: core._look_again(cache_key, backtest_id),
        fetch=fetch,
        store=store,
    )


def store_whole(
    core: _core.CacheCore,
    cache_key: str,
    dataset: tuple[Any, Any] | int,
    imported: tuple[pl.DataFrame, _core.FetchedFrame | UnsupportedFrame],
    cost_s: float,
    *,
    backtest_id: str | None,
    stores: bool,
) -> pl.DataFrame:
    """What import_fetched made, as an entry; one that cannot be stored is logged. The frame."""
    frame, stored = imported
    if isinstance(stored, UnsupportedFrame):
        log_not_stored(cache_key, stored)
    elif stores:
        try:
            number = dataset if isinstance(dataset, int) else dataset_of(core, *dataset)
            core._put_fetched(cache_key, stored, number, backtest_id, cost_s)
        except (BarcacheError, MemoryError) as error:
            log_not_stored(cache_key, error)
    return frame


def import_fetched(
    core: _core.CacheCore, fetched: Any, what: str = "fetch_fn"
) -> tuple[pl.DataFrame, _core.FetchedFrame | UnsupportedFrame]:
    """The frame for the caller, and the one to store or why it cannot be stored.

    What is no Polars frame is read once: a stream of Arrow can be read only once.
    """
    if isinstance(fetched, pl.LazyFrame):
        fetched = collect(fetched)
    if isinstance(fetched, pl.DataFrame):
        try:
            frame_to_put(fetched)  # Refuses Object columns.
            return fetched.clone(), core._import_frame(fetched, True, "")
        except UnsupportedFrame as error:
            return fetched.clone(), error
    try:
        ready = frame_to_put(fetched)
    except InvalidType as error:
        raise InvalidType(f"what {what} returned is no frame: {error}") from None
    stored = core._import_frame(ready.data, ready.is_polars, ready.origin)
    return stored.polars(), stored


def dataset_of(core: _core.CacheCore, source: Any, resolution: Any) -> int:
    """The row of ``datasets`` for both, made if there is none."""
    names = _text(source), _text(resolution)
    dataset_id, is_new = core._dataset_of(*names)
    if is_new:
        log_event(
            logging.INFO,
            "dataset_created",
            dataset_id=dataset_id,
            source=names[0],
            resolution=names[1],
            schema_version=1,
        )
    return dataset_id


def _text(value: Any) -> str:
    """A part of a request as text for the catalog: itself, or its JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()


def log_not_stored(cache_key: str, error: Exception) -> None:
    """Say in the log that what was fetched is not kept."""
    log_event(logging.WARNING, "cache_fetch_not_stored", cache_key=cache_key, error=str(error))


def require_callable(fetch_fn: object) -> None:
    """Refuse what cannot be called.

    Raises:
        InvalidType: it cannot.
    """
    if not callable(fetch_fn):
        raise InvalidType(
            f"fetch_fn must be callable, as fetch_fn(symbols, start_date, end_date, resolution), "
            f"not {type(fetch_fn).__name__}"
        )
