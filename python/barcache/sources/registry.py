"""Sources by name: those registered here, and those that other packages offer.

A package offers sources as entry points of the group ``barcache.sources``; the name is the entry
point's, the object a source, or a class or function without parameters that makes one. They are
loaded when first asked for, so one that fails disturbs nobody else. Thread-safe.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from barcache.errors import InvalidArgument, InvalidType, SourceError

GROUP = "barcache.sources"


class Registry:
    """Names and what they stand for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._registered: dict[str, Any] = {}
        self._made: dict[str, Any] = {}
        self._offered: tuple[tuple[str, ...], dict[str, EntryPoint]] | None = None

    def register(self, name: str, source_or_factory: Any) -> None:
        """See :func:`register`."""
        if not isinstance(name, str):
            raise InvalidType(f"the name of a source is text, not {type(name).__name__}")
        if (
            not name
            or isinstance(source_or_factory, str)
            or not callable(getattr(source_or_factory, "fetch", source_or_factory))
        ):
            raise InvalidArgument(
                f"cannot register {source_or_factory!r} as {name!r}: give a name and a source, or "
                "a function without parameters that makes one"
            )
        with self._lock:
            self._registered[name] = source_or_factory
            self._made.pop(name, None)

    def get(self, name: str) -> Any:
        """See :func:`get`."""
        with self._lock:
            if name in self._made:
                return self._made[name]
            known = name in self._registered
            found = self._registered[name] if known else self._load(name)
            self._made[name] = made = _make(name, found)
            return made

    def names(self) -> list[str]:
        """See :func:`names`."""
        with self._lock:
            return sorted({*self._registered, *self._offers()})

    def remove(self, name: str) -> None:
        """See :func:`unregister`."""
        with self._lock:
            self._registered.pop(name, None)
            self._made.pop(name, None)

    def renew_lock(self) -> None:
        """In a forked child: the lock may have been held by a thread that is no more."""
        self._lock = threading.RLock()

    def _load(self, name: str) -> Any:
        offered = self._offers().get(name)
        if offered is None:
            known = ", ".join(self.names()) or "none"
            raise InvalidArgument(
                f"no source is registered as {name!r} (registered: {known}): register one with "
                "barcache.sources.register, or pass the source itself"
            )
        return _load_entry_point(offered)

    def _offers(self) -> dict[str, EntryPoint]:
        """Entry points by name; looked for anew when sys.path has changed."""
        path = tuple(sys.path)
        if self._offered is None or self._offered[0] != path:
            self._offered = (path, {entry.name: entry for entry in entry_points(group=GROUP)})
        return self._offered[1]


def _load_entry_point(entry: EntryPoint) -> Any:
    package = entry.dist.name if entry.dist is not None else "an unknown package"
    try:
        return entry.load()
    except Exception as error:
        raise SourceError(
            f"the source {entry.name!r} of {package} ({entry.value}) cannot be loaded: "
            f"{type(error).__name__}: {error}; repair or update {package}"
        ) from error


def _make(name: str, found: Any) -> Any:
    """``found`` itself if it is a source, else what the factory makes."""
    if not isinstance(found, type):
        if hasattr(found, "fetch"):
            return found
        try:
            parameters = inspect.signature(found).parameters.values()
        except (TypeError, ValueError):
            return found
        if any(p.kind is not p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
            return found  # A source: it wants the symbols at least.
    try:
        return found()
    except Exception as error:
        raise SourceError(
            f"the source registered as {name!r} could not be made: {type(error).__name__}: {error}"
        ) from error


_REGISTRY = Registry()
os.register_at_fork(after_in_child=_REGISTRY.renew_lock)


def register(name: str, source_or_factory: Any) -> None:
    """From now on ``name`` stands for this source, whatever it stood for before.

    A class, or a function that can be called without arguments, makes the source when it is first
    asked for.

    Raises:
        InvalidArgument: no name, or nothing that can fetch or make a source.
        InvalidType: a name that is not text.
    """
    _REGISTRY.register(name, source_or_factory)


def unregister(name: str) -> None:
    """Forget what was registered as ``name``; an entry point of that name is found again."""
    _REGISTRY.remove(name)


def get(name: str) -> Any:
    """What ``name`` stands for; the same object at each call.

    Raises:
        InvalidArgument: nothing.
        SourceError: an entry point or factory that failed, and why.
    """
    return _REGISTRY.get(name)


def names() -> list[str]:
    """All names: registered ones and entry points, which are not loaded for this."""
    return _REGISTRY.names()
