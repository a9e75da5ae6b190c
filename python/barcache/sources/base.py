"""What a source is, and how anything that can fetch becomes one.

A *source* is any callable, or object with a method ``fetch``, that takes ``(symbols, start, end,
resolution)`` by position (RustyBT's two interfaces name them differently), sync or async, and
returns any frame that put accepts: exactly the bars of these symbols whose time lies between
``start`` and ``end``, both included. ``as_source`` wraps it; the rest of barcache sees only
:class:`Source`. What a wrapper cannot know it asks the object for, by attributes that it may have:

=================  ==========================================  =================================
attribute          meaning                                     without it
=================  ==========================================  =================================
``source_id``      name of the source in keys                  ``name``, see :func:`as_source`
``data_delay_s``   seconds until a finished bar is published   ``get_metadata().data_delay``, 0
``adjustment``     mode of price adjustment                    None
``supports_live``  answers may still change (value or method)  False
``call_cost_s``    what a call costs, in a symbol's seconds    0
``calendar``       name of an exchange_calendars calendar      ``"24/7"`` for ccxt, else None
``argument_type``  what start and end are, ARGUMENT_TYPES      ``"timestamp"`` for RustyBT's,
                                                               else ``"as given"``
=================  ==========================================  =================================
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from barcache.errors import InvalidArgument, InvalidType
from barcache.resolution import parse_resolution
from barcache.sources.registry import get

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

ARGUMENT_TYPES: Final = ("as given", "str", "date", "datetime", "timestamp")
ALWAYS_OPEN: Final = "24/7"
_LAST_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Source:
    """One source, wrapped. As thread-safe as what it wraps.

    Attributes:
        name: the source id in keys and in the ledger, such as ``yfinance`` or ``ccxt:binance``.
        fetcher: what is called, by position.
        data_delay_s: seconds between a bar's end and its publication.
        adjustment: the mode of price adjustment, part of a series' identity; None: one only.
        supports_live: answers for the present may still change.
        call_cost_s: what a call costs, whatever it asks for, in seconds of one symbol's history:
            symbols whose gaps differ share a call where fewer seconds than that are then fetched
            needlessly. 0: never; ``math.inf``: always.
        calendar: name for exchange_calendars, ``"24/7"``, or None if not known.
        argument_type: what ``fetch`` hands on as start and end: ``"as given"``, or that type.
        wrapped: the object that ``as_source`` was given.
        retries: it waits out limits by itself.
    """

    name: str
    fetcher: Callable[..., Any]
    data_delay_s: float = 0.0
    adjustment: str | None = None
    supports_live: bool = False
    call_cost_s: float = 0.0
    calendar: str | None = None
    argument_type: str = "as given"
    wrapped: Any = None
    retries: bool = False

    def fetch(self, symbols: Sequence[str], start: Any, end: Any, resolution: str) -> Any:
        """The source's answer. An async source is run to its end, wherever this is called.

        What the source raises comes out as it is.
        """
        call = self._arguments(symbols, start, end, resolution)
        if is_async(self.fetcher):
            return _run(self.fetcher(*call))
        answer = self.fetcher(*call)
        return _run(_awaited(answer)) if inspect.isawaitable(answer) else answer

    async def afetch(self, symbols: Sequence[str], start: Any, end: Any, resolution: str) -> Any:
        """The same for async callers: a sync source runs in a thread, an async one right here."""
        call = self._arguments(symbols, start, end, resolution)
        if is_async(self.fetcher):
            return await self.fetcher(*call)
        import asyncio

        answer = await asyncio.to_thread(self.fetcher, *call)
        return await answer if inspect.isawaitable(answer) else answer

    def _arguments(
        self, symbols: Sequence[str], start: Any, end: Any, resolution: str
    ) -> tuple[list[str], Any, Any, str]:
        intraday = self.argument_type != "as given" and parse_resolution(resolution).is_intraday
        return (
            list(symbols),
            as_argument(start, self.argument_type),
            as_argument(end, self.argument_type, whole_day=intraday),
            resolution,
        )


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    from barcache.sources.event_loop import SOURCES_LOOP  # asyncio takes long to load.

    return SOURCES_LOOP.run(coroutine)


async def _awaited(answer: Any) -> Any:
    return await answer


def is_async(fetcher: Any) -> bool:
    """Whether calling it gives a coroutine, as far as can be seen without calling it."""
    unwrapped = inspect.unwrap(fetcher)
    while isinstance(unwrapped, functools.partial):
        unwrapped = unwrapped.func
    return inspect.iscoroutinefunction(unwrapped) or (
        not inspect.isroutine(unwrapped)
        and inspect.iscoroutinefunction(getattr(unwrapped, "__call__", None))  # noqa: B004
    )


def as_argument(value: Any, argument_type: str, *, whole_day: bool = False) -> Any:
    """``value`` (ISO text, date, datetime or pd.Timestamp) as ``argument_type``.

    A zone is kept, and none is added; only a midnight as text is a mere day. With ``whole_day`` a
    value that is a mere day becomes that day's last microsecond (an end, for bars within the day),
    else its first.

    Raises:
        InvalidArgument: text that is no ISO date or time, or an unknown ``argument_type``.
        InvalidType: none of these types.

    >>> as_argument("2023-01-31", "datetime", whole_day=True)
    datetime.datetime(2023, 1, 31, 23, 59, 59, 999999)
    >>> as_argument(date(2023, 1, 31), "str")
    '2023-01-31'
    """
    if argument_type == "as given":
        return value
    if argument_type not in ARGUMENT_TYPES:
        raise InvalidArgument(
            f"argument_type={argument_type!r} is unknown: use one of {', '.join(ARGUMENT_TYPES)}"
        )
    moment = as_day_or_moment(value)
    if argument_type == "str" and (isinstance(moment, datetime) or not whole_day):
        if isinstance(value, str):
            return value
        if isinstance(moment, datetime) and moment.time() == time.min and not whole_day:
            return moment.date().isoformat()
        return value.isoformat()
    if argument_type == "date":
        return moment.date() if isinstance(moment, datetime) else moment
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time.min)
        if whole_day:
            moment += timedelta(days=1) - _LAST_MICROSECOND
    if argument_type == "str":
        return moment.isoformat()
    if argument_type == "datetime":
        return moment
    import pandas

    return value if isinstance(value, pandas.Timestamp) else pandas.Timestamp(moment)


def as_day_or_moment(value: Any) -> date | datetime:
    """A date if ``value`` names a mere day, else a datetime with the zone it had, if any.

    Raises:
        InvalidArgument: text that is no ISO date or time.
        InvalidType: neither text nor a date, datetime or pd.Timestamp.
    """
    if isinstance(value, str):
        try:
            if len(value) <= len("2023-01-31"):
                return date.fromisoformat(value)
            return datetime.fromisoformat(value)
        except ValueError:
            raise InvalidArgument(
                f"{value!r} is not an ISO date or time: write 2023-01-31 or 2023-01-31T09:30"
            ) from None
    if hasattr(value, "to_pydatetime"):
        moment: datetime = value.to_pydatetime()
        return moment
    if isinstance(value, date):  # A datetime is one.
        return value
    raise InvalidType(
        f"{value!r} is not a date or time: pass ISO text, a date, a datetime or a pd.Timestamp"
    )


def as_source(obj: Any, name: str | None = None) -> Source:
    """The source that ``obj`` is.

    Args:
        obj: a callable, an object with ``fetch``, one of RustyBT's adapters or data sources
            (known by their shape; rustybt is not imported), a registered name, or a Source.
        name: the source id. Default: ``source_id``, or of ``get_metadata()`` its source_type with
            ``":" + exchange`` if there is one, or the name it is registered under, or ``name``, or
            a function's module and name.

    Raises:
        InvalidArgument: a name that nothing is registered under, or something without a lasting
            name (a lambda, a partial) and no ``name``.
        InvalidType: nothing that can fetch.
    """
    if isinstance(obj, str):
        found = get(obj)
        has_name = isinstance(found, Source) or any(
            hasattr(found, known) for known in ("source_id", "get_metadata")
        )
        return as_source(found, name or (None if has_name else obj))
    if isinstance(obj, Source):
        return obj if name is None else replace(obj, name=name)
    if type(obj) is FunctionType and not obj.__dict__ and name and isinstance(name, str):
        return Source(name, obj, wrapped=obj)  # It has no attributes to be asked for.
    fetcher = getattr(obj, "fetch", None)
    if isinstance(obj, type) or not callable(fetcher):
        fetcher = None if isinstance(obj, type) else obj
    if not callable(fetcher):
        raise InvalidType(
            f"{obj!r} is not a source: pass a function (symbols, start, end, resolution) -> frame, "
            "an object with such a method fetch, or a registered name"
        )
    metadata = _metadata(obj)
    kind = getattr(metadata, "source_type", None)
    argument_type = getattr(obj, "argument_type", None)
    if argument_type is None:
        argument_type = "timestamp" if _is_rustybt(obj, fetcher) else "as given"
    source_id = name or _name_of(obj, kind, metadata)
    if not isinstance(source_id, str):
        raise InvalidType(f"the name of a source is text, not {type(source_id).__name__}")
    return Source(
        name=source_id,
        fetcher=fetcher,
        data_delay_s=_delay_s(obj, metadata),
        adjustment=getattr(obj, "adjustment", None),
        supports_live=_value(getattr(obj, "supports_live", False)),
        call_cost_s=_seconds("call cost", getattr(obj, "call_cost_s", 0)),
        calendar=getattr(obj, "calendar", ALWAYS_OPEN if kind == "ccxt" else None),
        argument_type=argument_type,
        wrapped=obj,
    )


def _value(attribute: Any) -> bool:
    return bool(attribute() if callable(attribute) else attribute)


def _metadata(obj: Any) -> Any:
    describe = getattr(obj, "get_metadata", None)
    return describe() if callable(describe) else None


def _delay_s(obj: Any, metadata: Any) -> float:
    delay = getattr(obj, "data_delay_s", None)
    if delay is None:
        delay = getattr(metadata, "data_delay", None) or 0  # RustyBT: minutes.
        delay *= 60
    return _seconds("delay", delay)


def _seconds(what: str, given: Any) -> float:
    seconds = given.total_seconds() if isinstance(given, timedelta) else float(given)
    if not seconds >= 0:
        raise InvalidArgument(f"a source's {what} of {seconds} s makes no sense: use 0 or more")
    return seconds


def _is_rustybt(obj: Any, fetcher: Any) -> bool:
    if callable(getattr(obj, "get_metadata", None)) and hasattr(obj, "supports_live"):
        return True
    if not hasattr(obj, "standardize"):
        return False
    try:
        names = list(inspect.signature(fetcher).parameters)
    except (TypeError, ValueError):
        return False
    return names[:4] == ["symbols", "start_date", "end_date", "resolution"]


def _name_of(obj: Any, kind: str | None, metadata: Any) -> Any:
    if (given := getattr(obj, "source_id", None)) is not None:
        return given
    if kind is not None:
        more = getattr(metadata, "additional_info", None) or {}
        exchange = (
            more.get("exchange") or more.get("exchange_id") or getattr(obj, "exchange_id", None)
        )
        if kind == "csv":  # Several files are several sources.
            exchange = getattr(metadata, "source_url", None)
        return f"{kind}:{exchange}" if exchange else kind
    given = getattr(obj, "name", None)
    if given is not None:
        return (
            given.lower().removesuffix("adapter").removesuffix("datasource")
            if hasattr(obj, "standardize")
            else given
        )
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    if (
        named.__qualname__ == "<lambda>"
        or not hasattr(named, "__module__")
        or (named.__module__ == "functools")
    ):
        raise InvalidArgument(f"{obj!r} has no lasting name: pass name='...' with it")
    return f"{named.__module__}.{named.__qualname__}"
