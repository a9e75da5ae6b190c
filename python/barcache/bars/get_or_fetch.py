"""From the arguments of get_or_fetch to a request for bars. See CacheManager.get_or_fetch.

Thread safety: a function of a cache, as thread-safe as that.
"""

from __future__ import annotations

from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from barcache.bars.ends import Ends
from barcache.bars.request import (
    BarRequest,
    checked_columns,
    checked_max_age,
    checked_symbols,
    require_unicode,
)
from barcache.errors import InvalidArgument, InvalidType
from barcache.freshness import Finality, finality
from barcache.resolution import parse_resolution
from barcache.sources import Source, as_source, names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_OVERLAP = 10_000
_TEXTS = str, str


def memo_key(
    symbols: Any,
    start_date: Any,
    end_date: Any,
    resolution: Any,
    data_source: Any,
    columns: Any,
    max_age: Any,
    adjustment: Any,
) -> Any:
    """What calls that must be answered alike have in common; None if that is not to be told.

    Times that are equal may still differ: in kind (a date is a whole day), or in which of two equal
    clock times is meant.
    """
    kind = start_date.__class__, end_date.__class__
    if kind != _TEXTS and (_is_second(start_date) or _is_second(end_date)):
        return None
    if symbols.__class__ is not str:
        try:
            symbols = tuple(symbols)
        except TypeError:
            return None
    key: tuple[Any, ...]
    key = (symbols, start_date, end_date, kind, resolution, data_source, max_age, adjustment)
    if columns is not None:
        key = (*key, columns if isinstance(columns, str) else tuple(columns))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _is_second(moment: Any) -> bool:
    return bool(getattr(moment, "fold", 0))


@lru_cache(maxsize=256)
def _rule(resolution: str, calendar: Any, data_delay_s: float) -> Finality:
    return finality(resolution, calendar, data_delay_s)


def source_of(data_source: Any, fetch_fn: Callable[..., Any] | None) -> Source:
    """The source that the two arguments name.

    Raises:
        InvalidType: a name that nothing is registered under, and no ``fetch_fn``.
        InvalidArgument: a source, and a ``fetch_fn`` as well.
    """
    if fetch_fn is None:
        if isinstance(data_source, str) and data_source not in names():
            raise InvalidType(
                f"fetch_fn must be callable, as fetch_fn(symbols, start_date, end_date, "
                f"resolution), since no source is registered as {data_source!r}"
            )
        return as_source(data_source)
    if not isinstance(data_source, str):
        raise InvalidArgument(
            "data_source is a source of its own: pass its name with fetch_fn, or no fetch_fn"
        )
    return as_source(fetch_fn, data_source)


def named_source(data_source: Any) -> Source:
    """A source, or what stands for one that is but a name: it cannot fetch."""
    if isinstance(data_source, str) and data_source not in names():
        return Source(data_source, _never)
    return as_source(data_source)


def _never(*_: Any) -> Any:
    raise InvalidArgument("this source is only a name: register it, or pass fetch_fn")


def ends_of(symbols: Any, start_date: Any, end_date: Any, resolution: Any) -> Ends | None:
    """The ends of a request for bars.

    None: symbols, dates or resolution cannot be read, and only name a frame.

    Raises:
        InvalidType: symbols that are nothing to go through more than once.
    """
    if not hasattr(symbols, "__len__"):
        raise InvalidType(f"symbols must be a list of str, not {symbols!r}")
    # A list, since a generator takes longer.
    if not isinstance(symbols, str) and not all([isinstance(name, str) for name in symbols]):  # noqa: C419
        return None
    try:
        parse_resolution(resolution)
        return Ends(start_date, end_date) if len(symbols) > 0 else None
    except (InvalidArgument, InvalidType):
        return None


def bar_request(
    symbols: Any,
    ends: Ends,
    resolution: str,
    source: Source,
    *,
    backtest_id: str | None = None,
    columns: Sequence[str] | None = None,
    max_age: Any = None,
    adjustment: str | None = None,
    overlap: int = 1,
    offline: bool = False,
    stale_if_error: bool = False,
) -> BarRequest:
    """The request, checked.

    Raises:
        InvalidArgument, InvalidType: what the message names.
    """
    if isinstance(overlap, bool) or not isinstance(overlap, int):
        raise InvalidType(f"overlap must be a number of bars, not {overlap!r}")
    if not 0 <= overlap <= MOST_OVERLAP:
        raise InvalidArgument(f"overlap={overlap} must be from 0 to {MOST_OVERLAP} bars")
    if adjustment is not None and not isinstance(adjustment, str):
        raise InvalidType(f"adjustment must be a str, not {type(adjustment).__name__}")
    require_unicode("data_source", source.name)
    if adjustment:
        require_unicode("adjustment", adjustment)
    step = parse_resolution(resolution)
    calendar = source.calendar
    try:
        rule = _rule(step.name, calendar, source.data_delay_s)
    except TypeError:  # A calendar that cannot be a key of the memo.
        rule = finality(step, calendar, source.data_delay_s)
    request = BarRequest(
        symbols=checked_symbols(symbols),
        ends=ends,
        resolution_text=resolution,
        resolution=step,
        source=source,
        adjustment=adjustment if adjustment is not None else source.adjustment or "",
        rule=rule,
        columns=checked_columns(columns),
        max_age_s=checked_max_age(max_age),
        overlap=overlap,
        offline=bool(offline),
        stale_if_error=bool(stale_if_error),
        backtest_id=backtest_id,
    )
    ends.interval(UTC)  # Refuses what makes no sense before anything is done.
    return request
