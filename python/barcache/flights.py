"""Flights: what several threads, tasks and processes ask for at once is done once.

A flight has a name, any text. In a process, whoever asks first leads; the others wait for its
answer in memory and get the same object, or have the same exception raised. Between processes the
leaders agree by a lease (``_core.Flight``, docs/concurrency.md): one of them does it, the others
look again when it has landed.

An *errand* says what is to be done: look (is it there already?), fetch, store. Waiting for other
processes polls change counters, with pauses that grow to 50 ms.

Thread safety: all methods of Flights may be called from any thread and any event loop.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import inspect
import os
import threading
import time
import weakref
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from barcache.errors import FetchFailed, InvalidArgument, InvalidType
from barcache.steps import adrive, drive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from barcache import _core

T = TypeVar("T")

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
_BOOKKEEPING_THREADS = 4


@dataclass(frozen=True)
class Errand(Generic[T]):
    """What a flight is for.

    Attributes:
        begin: Begins the flight among processes (``CacheCore._begin_flight``).
        look: The answer if it is there by now, else None.
        fetch: Gets what is missing: the caller's own code. For ``arun`` it may be a coroutine
            function, or return an awaitable.
        store: Makes the answer out of what was fetched and the seconds that took, and stores it
            for others. Must not raise because it could not be stored. It may be a generator
            function that yields further fetches, as ``fetch``, and is sent what they got.
    """

    begin: Callable[[str], _core.Flight]
    look: Callable[[], T | None]
    fetch: Callable[[], Any]
    store: Callable[[Any, float], T | Generator[Any, Any, T]]


@dataclass(frozen=True)
class Answer(Generic[T]):
    """``value``, and whether it came from another call of this process that led."""

    value: T
    is_shared: bool


class _Running:
    """One flight of this process, over the catalog ``place``. ``thread`` leads it."""

    def __init__(self, place: str, name: str) -> None:
        self.place = place
        self.name = name
        self.thread = threading.get_ident()
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.future.set_running_or_notify_cancel()  # From now on no waiter can cancel it.


_ABANDONED = object()
# What the current thread or task leads at present.
_leading: ContextVar[tuple[_Running, ...]] = ContextVar("barcache_leading", default=())
_all_flights: weakref.WeakSet[Flights] = weakref.WeakSet()


class Flights:
    """The flights of one cache in one process; ``place`` names its catalog."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._start_anew()
        _all_flights.add(self)

    def _start_anew(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None

    def run(self, name: str, errand: Errand[T]) -> Answer[T]:
        """The answer of the errand, done by this thread or by whoever leads.

        Raises:
            FetchFailed: another process led, and failed while this one waited.
            InvalidArgument: the errand of this name asks for itself.
            Whatever the errand raised, in the leader and in each waiter of this process.
        """
        while True:
            running, leads = self._join(name)
            if leads:
                return Answer(self._lead(running, errand), is_shared=False)
            self._refuse_own(running, waits_in_thread=True)
            outcome = running.future.result()
            if outcome is not _ABANDONED:
                return Answer(outcome, is_shared=True)

    async def arun(self, name: str, errand: Errand[T]) -> Answer[T]:
        """As run, without ever blocking the event loop."""
        import asyncio

        while True:
            running, leads = self._join(name)
            if leads:
                return Answer(await self._alead(running, errand), is_shared=False)
            self._refuse_own(running, waits_in_thread=False)
            outcome = await asyncio.wrap_future(running.future)
            if outcome is not _ABANDONED:
                return Answer(outcome, is_shared=True)

    async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """``call`` on a thread kept for short calls that wait for no flight."""
        import asyncio

        with self._lock:
            if self._threads is None:
                self._threads = concurrent.futures.ThreadPoolExecutor(
                    _BOOKKEEPING_THREADS, thread_name_prefix="barcache"
                )
            threads = self._threads
        context = copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, context.run, call, *arguments)

    # --- in the process ----------------------------------------------------------------------

    def _join(self, name: str) -> tuple[_Running, bool]:
        with self._lock:
            running = self._running.get(name)
            if running is not None:
                return running, False
            running = self._running[name] = _Running(self._place, name)
            return running, True

    def _refuse_own(self, running: _Running, *, waits_in_thread: bool) -> None:
        own = any(flight is running for flight in _leading.get())
        if own or (waits_in_thread and running.thread == threading.get_ident()):
            _refuse_itself(running.name)

    def _refuse_outer(self, name: str) -> None:
        """Refuse to wait for a lease that the same thread or task holds by another manager."""
        outer = _leading.get()[:-1]
        if any((flight.place, flight.name) == (self._place, name) for flight in outer):
            _refuse_itself(name)

    def _settle(self, running: _Running, outcome: Any, error: Exception | None = None) -> None:
        with self._lock:
            if self._running.get(running.name) is running:
                del self._running[running.name]
        if error is None:
            running.future.set_result(outcome)
        else:
            running.future.set_exception(error)

    def _lead(self, running: _Running, errand: Errand[T]) -> T:
        before = _leading.set((*_leading.get(), running))
        try:
            value = self._fly(running.name, errand)
        except Exception as error:
            self._settle(running, None, error)
            raise
        except BaseException:  # Of this thread alone: the others try by themselves.
            self._settle(running, _ABANDONED)
            raise
        finally:
            _leading.reset(before)
        self._settle(running, value)
        return value

    async def _alead(self, running: _Running, errand: Errand[T]) -> T:
        before = _leading.set((*_leading.get(), running))
        try:
            value = await self._afly(running.name, errand)
        except Exception as error:
            self._settle(running, None, error)
            raise
        except BaseException:  # Cancelled, for instance.
            self._settle(running, _ABANDONED)
            raise
        finally:
            with contextlib.suppress(ValueError):  # Thrown away, out of another context.
                _leading.reset(before)
        self._settle(running, value)
        return value

    # --- among processes ---------------------------------------------------------------------

    def _fly(self, name: str, errand: Errand[T]) -> T:
        flight = errand.begin(name)
        for pause_s in _pauses():
            state = flight.poll()
            if state != "waiting":
                break
            self._refuse_outer(name)
            time.sleep(pause_s)
        _raise_if_failed(state, flight)
        try:
            found = errand.look()
            if found is None:
                begin_s = time.perf_counter()
                fetched = _fetch(errand.fetch)
                stored: Any = errand.store(fetched, time.perf_counter() - begin_s)
                if inspect.isgenerator(stored):
                    stored = drive(stored, _fetch)
                found = stored
        except Exception as error:
            flight.fail(*_description(error))
            raise
        finally:
            flight.land()
        assert found is not None
        return found

    async def _afly(self, name: str, errand: Errand[T]) -> T:
        import asyncio

        flight = await self.in_thread(errand.begin, name)
        try:
            for pause_s in _pauses():
                state = await self.in_thread(flight.poll)
                if state != "waiting":
                    break
                self._refuse_outer(name)
                await asyncio.sleep(pause_s)
            _raise_if_failed(state, flight)
            found: T | None = await self.in_thread(errand.look)
            if found is None:
                begin_s = time.perf_counter()
                fetched = await afetch(errand.fetch)
                cost_s = time.perf_counter() - begin_s
                stored: Any = await self.in_thread(errand.store, fetched, cost_s)
                if inspect.isgenerator(stored):
                    stored = await adrive(stored, afetch, self.in_thread)
                found = stored
        except Exception as error:
            await self.in_thread(flight.fail, *_description(error))
            raise
        except BaseException:
            # Nothing may be awaited any more. The lease goes back on its own thread.
            with contextlib.suppress(RuntimeError):  # No loop: it lands when it is dropped.
                asyncio.get_running_loop().run_in_executor(self._threads, flight.land)
            raise
        await self.in_thread(flight.land)
        assert found is not None
        return found


def _fetch(fetch: Callable[[], Any]) -> Any:
    fetched = fetch()
    if inspect.isawaitable(fetched):
        _refuse_awaitable(fetched)
    return fetched


async def afetch(fetch: Callable[[], Any]) -> Any:
    """What an errand's ``fetch`` gets, without blocking the event loop."""
    import asyncio

    if is_async_function(fetch):
        return await fetch()
    fetched = await asyncio.to_thread(fetch)
    return await fetched if inspect.isawaitable(fetched) else fetched


def is_async_function(function: Any) -> bool:
    """Whether calling it gives a coroutine, as far as can be told without calling it.

    >>> is_async_function(print)
    False
    """
    if type(function) is FunctionType and not function.__dict__:  # Most are; ten times faster.
        return bool(function.__code__.co_flags & inspect.CO_COROUTINE)
    call = type(function).__call__  # An object may have an async one.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def refuse_async(function: Any) -> NoReturn:
    """Raise the InvalidType that names the async method."""
    raise InvalidType(
        f"fetch_fn={function!r} is async: use 'await cache.aget_or_fetch(...)' for it"
    )


def _refuse_awaitable(fetched: Any) -> None:
    if inspect.iscoroutine(fetched):
        fetched.close()
    refuse_async(fetched)


def _refuse_itself(name: str) -> NoReturn:
    raise InvalidArgument(
        f"fetching {name!r} asked for itself and would wait for ever: let fetch_fn ask for other "
        "keys only, or for none"
    )


def _pauses() -> Any:
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)


def _raise_if_failed(state: str, flight: _core.Flight) -> None:
    if state == "failed":
        error_type, error_message = flight.error
        raise FetchFailed(
            f"the process that fetched this failed with {error_type}: {error_message}; ask "
            "again to try it here",
            error_type,
            error_message,
        )


def _description(error: Exception) -> tuple[str, str]:
    """Type and message, as text that any process can read."""
    message = ""
    with contextlib.suppress(Exception):
        message = str(error)
    return type(error).__name__, message.encode("utf-8", "backslashreplace").decode()


def _start_all_anew() -> None:
    for flights in list(_all_flights):
        flights._start_anew()


# Whoever led in the parent does not exist in the child.
os.register_at_fork(after_in_child=_start_all_anew)
