"""Runs the coroutines of async sources for callers that are not async.

There is one thread with one event loop for the process, started when first needed: what an async
adapter opens (sessions, locks, limiters) belongs to the loop it was opened in, so every call of it
has to happen there. The thread is a daemon; a forked child starts its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


class LoopThread:
    """An event loop in a thread of its own. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of ``coroutine``; its exception is raised here.

        Safe also where an event loop runs in the calling thread (that loop waits meanwhile). A
        call out of the thread itself, by an async source that asks another one synchronously, gets
        a loop of its own. KeyboardInterrupt cancels the coroutine.
        """
        loop = self._started()
        if threading.current_thread() is self._thread:
            return _run_in_new_thread(coroutine)
        future = asyncio.run_coroutine_threadsafe(_outcome(coroutine), loop)
        try:
            result, error = future.result()
        except BaseException:
            future.cancel()
            raise
        if error is not None:
            raise error
        return result

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._pid = os.getpid()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="barcache-sources", daemon=True
                )
                self._thread.start()
            return self._loop

    def renew_lock(self) -> None:
        """In a forked child: the lock may have been held by a thread that is no more."""
        self._lock = threading.Lock()


async def _outcome(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, Exception | None]:
    """Result and error as values: a future would put another one in a TimeoutError's place."""
    try:
        return await coroutine, None
    except Exception as error:
        return None, error


def _run_in_new_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    outcomes: list[tuple[Any, Exception | None]] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(asyncio.run(_outcome(coroutine))),
        name="barcache-sources-nested",
        daemon=True,
    )
    thread.start()
    thread.join()
    result, error = outcomes[0]
    if error is not None:
        raise error
    return result


SOURCES_LOOP = LoopThread()
os.register_at_fork(after_in_child=SOURCES_LOOP.renew_lock)
