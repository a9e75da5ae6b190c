"""What the exceptions of vendors' packages mean, known by the names of their classes.

Nothing of theirs is imported: RustyBT's, ccxt's, yfinance's, requests' and the built-in ones are
told apart by name, so that an adapter of any of them can be retried and reported alike.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any, Final

from barcache.errors import (
    AccessDenied,
    InvalidBars,
    RateLimited,
    SourceError,
    SourceUnavailable,
    SymbolNotFound,
)

# From the particular to the general: a class and its bases are looked up in the order of its MRO.
_MEANINGS: Final[dict[str, type[SourceError]]] = {
    "QuotaExceededError": RateLimited,  # RustyBT
    "RateLimitError": RateLimited,
    "RateLimitExceeded": RateLimited,  # ccxt
    "DDoSProtection": RateLimited,
    "YFRateLimitError": RateLimited,  # yfinance
    "AuthenticationError": AccessDenied,  # RustyBT, ccxt
    "PermissionDenied": AccessDenied,  # ccxt
    "SymbolNotFoundError": SymbolNotFound,  # RustyBT
    "BadSymbol": SymbolNotFound,  # ccxt
    "YFTickerMissingError": SymbolNotFound,  # yfinance
    "DataParsingError": InvalidBars,  # RustyBT
    "DataValidationError": InvalidBars,
    "InvalidDataError": InvalidBars,
    "ValidationError": InvalidBars,
    "NetworkError": SourceUnavailable,  # RustyBT, ccxt
    "OperationFailed": SourceUnavailable,  # ccxt: it may succeed another time
    "YFDataException": SourceUnavailable,  # yfinance: Yahoo is down
    "ConnectionError": SourceUnavailable,  # built in, requests
    "TimeoutError": SourceUnavailable,  # built in
    "RequestException": SourceUnavailable,  # requests, curl_cffi
    "ClientConnectionError": SourceUnavailable,  # aiohttp
    "TransportError": SourceUnavailable,  # httpx
    "URLError": SourceUnavailable,  # urllib
    "JSONDecodeError": SourceUnavailable,  # json: a page that says something else
}


def source_error(error: BaseException) -> SourceError | None:
    """The typed error that ``error`` amounts to; itself if it is one; None if it is of no source.

    An HTTP status says more than the class: 429 is a limit, and so is 503 with a Retry-After (in
    seconds, or a date of HTTP), 401 and 403 are refusals, other 5xx may pass, other ones are plain
    SourceErrors. Of a class that is not known a status 429 or a number ``retry_after`` says that
    it is a limit. ``reset_after`` (RustyBT) and ``reset_after_s`` of a rate limit are carried over,
    and so are ``symbol`` and ``symbols``. The result's ``__cause__`` is ``error``.

    >>> type(source_error(ConnectionResetError("gone"))).__name__
    'SourceUnavailable'
    """
    if isinstance(error, SourceError):
        return error
    status = _http_status(error)
    if status is not None:
        return _of_status(error, status)
    kind = next(
        (_MEANINGS[c.__name__] for c in type(error).__mro__ if c.__name__ in _MEANINGS), None
    )
    if kind is None and isinstance(error, Exception) and _asks_to_wait(error):
        kind = RateLimited
    if kind is None:
        return None
    text = f"{type(error).__name__}: {error}"
    found: SourceError
    if kind is RateLimited:
        told = _seconds(error)
        found = RateLimited(text, _retry_after_s(error) if told is None else told)
    elif kind is SymbolNotFound:
        symbol = getattr(error, "symbol", None)
        found = SymbolNotFound(text, getattr(error, "symbols", None) or filter(None, [symbol]))
    else:
        found = kind(text)
    found.__cause__ = error
    return found


def _http_status(error: Any) -> int | None:
    """Of urllib's, requests', httpx' and aiohttp's errors for an answer with such a status."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if not names & {"HTTPError", "HTTPStatusError", "ClientResponseError"}:
        return None
    return next((status for status in _statuses(error) if 400 <= status < 600), None)


def _statuses(error: Any) -> list[int]:
    response = getattr(error, "response", None)
    places = ((error, "code"), (error, "status"), (error, "status_code"), (response, "status_code"))
    values = (getattr(holder, name, None) for holder, name in (*places, (response, "status")))
    return [value for value in values if isinstance(value, int)]


def _asks_to_wait(error: Any) -> bool:
    """Whether an error of a package that is not known is a rate limit."""
    return 429 in _statuses(error) or isinstance(getattr(error, "retry_after", None), int | float)


def _of_status(error: Any, status: int) -> SourceError:
    text = f"HTTP status {status}: {error}"
    found: SourceError
    wait_s = _retry_after_s(error)
    if status == 429 or (status == 503 and wait_s is not None):
        found = RateLimited(text, wait_s)
    elif status in (401, 403):
        found = AccessDenied(text)
    elif status >= 500:
        found = SourceUnavailable(text)
    else:
        found = SourceError(text)
    found.__cause__ = error
    return found


def _retry_after_s(error: Any) -> float | None:
    headers: Any = getattr(error, "headers", None) or getattr(
        getattr(error, "response", None), "headers", None
    )
    value = headers.get("Retry-After") if hasattr(headers, "get") else None
    if value is None or str(value).strip().isdigit():
        return None if value is None else float(value)
    try:
        moment = parsedate_to_datetime(str(value))
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def _seconds(error: Any) -> float | None:
    for name in ("reset_after_s", "reset_after", "retry_after"):
        value = getattr(error, name, None)
        if isinstance(value, int | float) and value >= 0:
            return float(value)
    return None
