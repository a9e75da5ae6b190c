"""A request for bars, and what was found out about it so far. Thread safety: values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from barcache.errors import InvalidArgument, InvalidType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from barcache.bars.ends import Ends
    from barcache.freshness import Finality
    from barcache.resolution import Resolution
    from barcache.sources import Source
    from barcache.sources.patience import Retry


@dataclass(slots=True)
class BarRequest:
    """What get_or_fetch was asked, checked. Not to be changed: ``replace`` makes another.

    Attributes:
        symbols: each once, in order.
        ends: both ends, included.
        resolution_text: as the caller spelt it: so the source is asked.
        resolution: what it means; part of the identity of a series.
        source: where bars come from; ``source.name`` is part of the identity.
        adjustment: mode of price adjustment, part of the identity; "" for the source's own.
        rule: from when on bars are final.
        columns: only these, in this order; None: all.
        max_age_s: answers older than this do not count, younger ones do; None: by finality.
        overlap: how many bars each top-up fetches again at each edge.
        offline: nothing is fetched.
        stale_if_error: where the source fails, old answers count.
        backtest_id: what entries are linked to.
        exact_key: the key under which the request would be cached as a whole.
        symbols_given: as the caller gave them.
        fetch_fn: what to call in the place of the source, with symbols and ends as given.
        is_async: a task asks, which awaits the source.
        retry: how long to wait for the end of rate limits; None: not at all.
    """

    symbols: tuple[str, ...]
    ends: Ends
    resolution_text: str
    resolution: Resolution
    source: Source
    adjustment: str
    rule: Finality
    columns: tuple[str, ...] | None = None
    max_age_s: int | None = None
    overlap: int = 1
    offline: bool = False
    stale_if_error: bool = False
    backtest_id: str | None = None
    exact_key: str = ""
    symbols_given: Any = None
    fetch_fn: Callable[..., Any] | None = None
    is_async: bool = False
    retry: Retry | None = None

    @property
    def identity(self) -> tuple[str, str, str]:
        """Source, resolution and adjustment: what its series share."""
        return self.source.name, self.resolution.name, self.adjustment

    def series_name(self, symbol: str) -> tuple[str, str, str, str]:
        """The name of a symbol's series."""
        return (*self.identity, symbol)


def checked_symbols(symbols: Any) -> tuple[str, ...]:
    """Each symbol once, in order; a lone str is one symbol.

    >>> checked_symbols(["MSFT", "AAPL", "MSFT"]), checked_symbols("AAPL")
    (('AAPL', 'MSFT'), ('AAPL',))
    """
    if isinstance(symbols, str):
        require_unicode("symbols", symbols)
        return (symbols,)
    try:
        names = tuple(sorted(set(symbols)))
    except TypeError as error:
        raise InvalidType(f"symbols must be a list of str, not {symbols!r}") from error
    for name in names:
        if not isinstance(name, str):
            raise InvalidType(f"symbols must be a list of str: {name!r} is none")
    if not names:
        raise InvalidArgument("symbols is empty: name at least one")
    require_unicode("symbols", "".join(names))
    return names


def require_unicode(what: str, text: str) -> None:
    """InvalidArgument for a text that cannot be the name of a series."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{what} holds a lone surrogate, {text[error.start]!r}, which is not text: pass another"
        ) from None


def checked_max_age(max_age: Any) -> int | None:
    """Seconds, of a number or timedelta; None stays None.

    >>> checked_max_age(timedelta(hours=1)), checked_max_age(None)
    (3600, None)
    """
    if max_age is None:
        return None
    seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidType(f"max_age must be seconds or a timedelta, not {max_age!r}")
    if not seconds >= 0:
        raise InvalidArgument(f"max_age={max_age!r} must be 0 or more")
    return int(min(seconds, 2**40))


def checked_columns(columns: Sequence[str] | None) -> tuple[str, ...] | None:
    """The columns as a tuple; None stays None."""
    if columns is None:
        return None
    if isinstance(columns, str) or not all(isinstance(name, str) for name in columns):
        raise InvalidType("columns must be a list of column names, each a str")
    names = tuple(columns)
    if len(set(names)) != len(names):
        raise InvalidArgument(f"columns names one twice: {', '.join(names)}")
    return names
