"""A batch: some symbols of a plan, fetched by a thread of this process or by another process.

A job is called where it is, with the cache it was made for. Pickled, it becomes one that opens a
cache of its own on the same directory: so it runs on any executor.
"""

from __future__ import annotations

import contextlib
import pickle
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from barcache import _core
from barcache.bars.fetching import Fetching, NotBars
from barcache.bars.look import look_at, missing_of
from barcache.bars.reader import MOST_LOOKS
from barcache.errors import (
    ForkedPolars,
    InvalidBars,
    InvalidType,
    SourceError,
    SymbolNotFound,
)
from barcache.sources.vendor_errors import source_error
from barcache.steps import drive
from barcache.warming.pace import Stopped
from barcache.warming.report import WarmReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barcache import CacheManager
    from barcache.bars.asking import AskingCore, BarOptions
    from barcache.bars.request import BarRequest
    from barcache.sources import Source
    from barcache.warming.pace import Pace

MOST_STORINGS = 20
PAUSE_S = 0.005


@dataclass(frozen=True)
class Work:
    """What all batches of a plan have in common.

    Attributes:
        start_date, end_date, resolution: as in the plan.
        source: wrapped.
        named: what the plan calls it.
        options: of the request.
        pace: of the calls.
    """

    start_date: Any
    end_date: Any
    resolution: str
    source: Source
    named: Any
    options: BarOptions
    pace: Pace

    def __reduce__(self) -> Any:
        parts = (self.start_date, self.end_date, self.resolution, self.options, self.pace)
        return _work_from, (*parts, _source_to_send(self.source, self.named))


def _source_to_send(source: Source, named: Any) -> Any:
    """What another process makes the source of: itself, or else the name it is registered under."""
    try:
        pickle.dumps(source)
    except Exception as error:
        if isinstance(named, str):
            return named
        raise InvalidType(
            f"the source {source.name!r} cannot be sent to another process ({error}): pass a "
            "function or an object of a class at the top level of a module, or the name of a "
            "source that a package offers as an entry point, or use a ThreadPoolExecutor"
        ) from error
    return source


def _work_from(
    start_date: Any, end_date: Any, resolution: str, options: BarOptions, pace: Pace, sent: Any
) -> Work:
    from barcache.sources import as_source

    return Work(start_date, end_date, resolution, as_source(sent), sent, options, pace)


class Job:
    """A batch to be fetched by this process."""

    def __init__(self, cache: AskingCore, work: Work, symbols: tuple[str, ...]):
        self._cache, self._work, self._symbols = cache, work, symbols

    def __call__(self) -> WarmReport:
        """Fetch it."""
        return fetch_batch(self._cache, self._work, self._symbols)

    def failed(self, error: Exception) -> WarmReport:
        """What to report when it could not be called."""
        report = WarmReport(symbols=len(self._symbols))
        request = _request(self._cache, self._work, self._symbols)
        look = look_at(self._cache, request, now_s=int(self._cache._bar_reader.clock()))
        report.missing = missing_of(request, look)
        report.covered = report.symbols - len(report.missing)
        report.failures = dict.fromkeys(report.missing, error)
        return report

    def __reduce__(self) -> Any:
        manager, settings = cast("Any", self._cache.__reduce__())[1]
        settings = {**settings, "hot_cache_size_mb": 0, "record_on_close": False}
        return JobElsewhere, (manager, settings, self._work, self._symbols)


class JobElsewhere:
    """A batch to be fetched by a process that has no cache yet."""

    def __init__(
        self,
        manager: type[CacheManager],
        settings: dict[str, Any],
        work: Work,
        symbols: tuple[str, ...],
    ):
        self._manager, self._settings = manager, settings
        self._work, self._symbols = work, symbols

    def __call__(self) -> WarmReport:
        """Fetch it, with a cache for as long as that takes.

        Raises:
            ForkedPolars: in a process that was forked.
        """
        if _core.in_forked_child():
            raise ForkedPolars(
                "Polars cannot run queries in a forked process: give warm an executor as "
                'ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")), or a '
                "ThreadPoolExecutor"
            )
        with self._manager(**self._settings) as cache:
            report = fetch_batch(cache, self._work, self._symbols)
        report.failures = {name: _to_send(error) for name, error in report.failures.items()}
        return report


def _to_send(error: Exception) -> Exception:
    """The error, if it comes out of a pickle: one that does not would break the executor."""
    with contextlib.suppress(Exception):  # Whatever its class does.
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    return SourceError(f"{type(error).__name__}: {error}")


def fetch_batch(cache: AskingCore, work: Work, symbols: Sequence[str]) -> WarmReport:
    """Fetch what is missing of the symbols, and say what came of it. Errors are in the report.

    A symbol that the source does not know is left out, and the others are asked for without it.
    """
    report = WarmReport(symbols=len(symbols))
    request = _request(cache, work, symbols)
    parts = look_at(cache, request, now_s=int(cache._bar_reader.clock())).symbols
    report.covered = sum(not part.lacks for part in parts)
    waiting = [tuple(part.symbol for part in parts if part.lacks)]
    while waiting:
        some = waiting.pop()
        if some:
            waiting += _fetch(cache, work, some, report)
    return report


class _Asking:
    """Calls of the source, counted and at their pace; their answers, until they are stored."""

    def __init__(self, work: Work, report: WarmReport):
        self._work, self._report = work, report
        self._answers: list[tuple[Any, Any]] = []
        self.only_kept = False

    def __call__(self, *call: Any) -> Any:
        for kept, answer in self._answers:
            if kept == call:
                return answer
        if self.only_kept:
            raise Stopped
        self._work.pace.wait_turn()
        self._report.requests += 1
        answer = self._work.source.fetch(*call)
        self._answers.append((call, answer))
        return answer


def _request(
    cache: AskingCore, work: Work, symbols: Sequence[str], asking: _Asking | None = None
) -> BarRequest:
    call = (list(symbols), work.start_date, work.end_date, work.resolution)
    request = cache._request(call, work.source, None, work.options)
    retry = request.retry and replace(request.retry, sleep=work.pace.wait)
    return replace(request, fetch_fn=asking, retry=retry)


def _fetch(
    cache: AskingCore, work: Work, symbols: tuple[str, ...], report: WarmReport
) -> list[tuple[str, ...]]:
    """Fetch the gaps of symbols. Returns those that are to be asked for once more."""
    asking = _Asking(work, report)
    request = _request(cache, work, symbols, asking)
    now_s = int(cache._bar_reader.clock())
    fetching = Fetching(cache, request, now_s)
    failure: Exception | None = None
    try:
        _fill(cache, request, fetching, now_s)
    except Stopped:
        pass
    except KeyboardInterrupt:
        asking.only_kept = True
        _store_what_came(cache, request, now_s)
        raise
    except NotBars:
        failure = InvalidBars(
            f"the answer of {request.source.name} has no times to recognise, or rows that cannot "
            "be told apart: it can be cached by get_or_fetch as a whole, not fetched ahead"
        )
    except Exception as error:
        failure = error
    report.rows += sum(frame.height for frames in fetching.frames.values() for _, frame in frames)
    look = look_at(cache, request, now_s=now_s, since_s=now_s)
    missing = missing_of(request, look)
    again = [] if failure is None else _others(tuple(missing), failure)
    for symbol in (symbol for symbols in again for symbol in symbols):
        del missing[symbol]
    report.missing.update(missing)
    if failure is not None:
        report.failures.update(dict.fromkeys(missing, failure))
    return again


def _store_what_came(cache: AskingCore, request: BarRequest, now_s: int) -> None:
    """After an interrupt: once more, with the answers that are there.

    Polars raises an interrupt in every thread that works at that moment, and goes on to raise it
    until all of these have noticed.
    """
    for _ in range(MOST_STORINGS):
        try:
            _fill(cache, request, Fetching(cache, request, now_s), now_s)
        except KeyboardInterrupt:
            time.sleep(PAUSE_S)
        except (Stopped, Exception):
            return
        else:
            return


def _fill(cache: AskingCore, request: BarRequest, fetching: Fetching, now_s: int) -> None:
    since_s: int | None = None
    for _ in range(MOST_LOOKS):
        look = look_at(cache, request, now_s=now_s, since_s=since_s)
        if look.complete:
            return
        if not fetching.adopt(look) and drive(fetching.fetch(look), cache._fly):
            return
        since_s = now_s  # Others fetched some of it: their answers count.


def _others(symbols: tuple[str, ...], failure: Exception) -> list[tuple[str, ...]]:
    """Whom to ask for again when the source knew none, or one, of several symbols."""
    meaning = source_error(failure)
    if not isinstance(meaning, SymbolNotFound) or len(symbols) < 2:
        return []
    known = tuple(symbol for symbol in symbols if symbol not in meaning.symbols)
    if len(known) < len(symbols):
        return [known]
    middle = len(symbols) // 2
    return [symbols[:middle], symbols[middle:]]
