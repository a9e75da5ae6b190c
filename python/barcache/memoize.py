"""Memoized functions: a call is answered from the cache, or made once and stored.

Thread safety: a memoized function may be called from any thread and event loop.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from typing import TYPE_CHECKING, Any, Protocol, cast

from barcache.call_keys import NotCanonical, canonical, code_hash, type_name
from barcache.errors import InvalidArgument, InvalidType
from barcache.fetching import errand_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from barcache.fetching import FetchingCore

_LONGEST_NAME = 80


class Memoized(Protocol):
    """A memoized function. Of a method, ``key`` and ``forget`` take the object first.

    Attributes:
        uncached: The function itself.
    """

    uncached: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The frame of this call; of an async function a coroutine."""

    def key(self, *args: Any, **kwargs: Any) -> str:
        """The key of the entry that this call is answered from; nothing is called."""

    def forget(self, *args: Any, **kwargs: Any) -> bool:
        """Remove the entry of this call; whether there was one."""


def memoized(
    core: FetchingCore,
    function: Any,
    *,
    version: str | None,
    ignore: Iterable[str],
    backtest_id: str | None,
    dataset_id: int | None,
) -> Memoized:
    """The function over the cache; see CacheManager.memoize."""
    _require_function(function)
    call = _Call(core, function, version, (ignore,) if isinstance(ignore, str) else tuple(ignore))
    dataset = (call.name, "memo") if dataset_id is None else dataset_id

    def errand(key: str, text: str, fetch: Callable[[], Any]) -> Any:
        core._remember_request(key, text)  # The put stores it.
        return errand_of(
            core,
            key,
            dataset,
            fetch,
            backtest_id=backtest_id,
            stores=core._stores,
            what=f"{call.name}()",
        )

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def answer(*args: Any, **kwargs: Any) -> Any:
            in_thread = core._flights.in_thread
            key, text = call.key_and_text(args, kwargs)
            found = core._get_hot(key, backtest_id)
            if found is None:
                found = await in_thread(core._get, key, backtest_id)
            if found is not None:
                return found

            async def fetch() -> Any:
                return _checked(call.name, await function(*args, **kwargs))

            landed = await core._flights.arun(key, errand(key, text, fetch))
            return await in_thread(core._own, key, landed, backtest_id)

    else:

        @functools.wraps(function)
        def answer(*args: Any, **kwargs: Any) -> Any:
            key, text = call.key_and_text(args, kwargs)
            found = core._get(key, backtest_id)
            if found is not None:
                return found

            def fetch() -> Any:
                return _checked(call.name, function(*args, **kwargs))

            landed = core._flights.run(key, errand(key, text, fetch))
            return core._own(key, landed, backtest_id)

    def key(*args: Any, **kwargs: Any) -> str:
        return call.key_and_text(args, kwargs)[0]

    result = cast("Any", answer)
    result.uncached = function
    result.key = key
    result.forget = lambda *args, **kwargs: core._erase(key(*args, **kwargs)) > 0
    return cast("Memoized", result)


class _Call:
    """Keys of the calls of one function."""

    def __init__(
        self, core: FetchingCore, function: Any, version: str | None, ignore: tuple[str, ...]
    ) -> None:
        self._core = core
        self._signature = inspect.signature(function)
        self._ignore = frozenset(ignore)
        self.name = type_name(function)
        self._short_name = function.__qualname__.replace("<locals>.", "")[:_LONGEST_NAME]
        # The cell of its own name holds the memoized function.
        own = {"__class__", function.__name__}
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        self._cells = [(name, cell) for name, cell in cells if name not in own]
        self._base: dict[str, Any] = {"call": self.name}
        if version is None:
            self._base["code"] = code_hash(function)
        else:
            self._base["version"] = version
        known = {*self._signature.parameters, *function.__code__.co_freevars}
        for name in self._ignore - known:
            raise InvalidArgument(
                f"ignore={name!r}: {self.name} has no such argument; it has "
                f"{', '.join(self._signature.parameters) or 'none'}"
            )

    def key_and_text(self, args: Any, kwargs: Any) -> tuple[str, str]:
        """The key of a call, and the text that it is made from."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if name in self._ignore:
                continue
            if self._signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                arguments[name] = {each: self._canonical(each, value[each]) for each in value}
            else:
                arguments[name] = self._canonical(name, value)
        request = {**self._base, "arguments": arguments}
        around = {
            name: self._canonical(name, cell.cell_contents)
            for name, cell in self._cells
            if name not in self._ignore
        }
        if around:
            request["around"] = around
        text = json.dumps(request, sort_keys=True)
        return f"memo:{self._short_name}:{hashlib.sha256(text.encode()).hexdigest()[:16]}", text

    def _canonical(self, name: str, value: Any) -> Any:
        try:
            return canonical(self._core, value)
        except NotCanonical as error:
            raise InvalidType(
                f"{self.name}: {name} holds a {type_name(type(error.value))}, of which no key can "
                f"be made; if the answer does not depend on it, use "
                f"@cache.memoize(ignore=({name!r},))"
            ) from None


def _require_function(function: Any) -> None:
    if isinstance(function, classmethod | staticmethod):
        raise InvalidType(
            f"memoize was given a {type(function).__name__}: put @cache.memoize below "
            f"@{type(function).__name__}, right above the def"
        )
    if not inspect.isfunction(function):
        raise InvalidType(
            f"memoize needs a function made by def or lambda, not {type(function).__name__}: "
            "wrap it in one"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidType(
            f"{type_name(function)} is a generator, and only frames can be stored: return one "
            "frame, as pl.concat of the parts"
        )


def _checked(name: str, fetched: Any) -> Any:
    """What a function returned, unless it can be no frame."""
    if fetched is None:
        raise InvalidType(
            f"{name}() returned None, which would look like a miss: return a frame, empty if there "
            "is nothing"
        )
    if inspect.isgenerator(fetched) or inspect.isawaitable(fetched):
        close = getattr(fetched, "close", None)
        if close is not None:
            close()
        raise InvalidType(
            f"{name}() returned a {type(fetched).__name__}: return a frame; what awaits is an "
            "async def"
        )
    return fetched
