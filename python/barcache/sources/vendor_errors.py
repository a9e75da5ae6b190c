"""What the exceptions of vendors' packages mean, known by the names of their classes.

Nothing of theirs is imported: RustyBT's, ccxt's, yfinance's, requests' and the built-in ones are
told apart by name, so that an adapter of any of them can be retried and reported alike.
"""

from __future__ import annotations

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

    An HTTP status says more than the class: 429 is a limit (with its Retry-After in seconds), 401
    and 403 are refusals, 5xx may pass, other ones are plain SourceErrors.
    ``reset_after`` (RustyBT) and ``reset_after_s`` of a rate limit are carried over, and so are
    ``symbol`` and ``symbols``. The result's ``__cause__`` is ``error``.

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
    if kind is None:
        return None
    text = f"{type(error).__name__}: {error}"
    found: SourceError
    if kind is RateLimited:
        found = RateLimited(text, _seconds(error))
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
    response = getattr(error, "response", None)
    for holder, name in ((error, "code"), (error, "status"), (response, "status_code")):
        value = getattr(holder, name, None)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None


def _of_status(error: Any, status: int) -> SourceError:
    text = f"HTTP status {status}: {error}"
    found: SourceError
    if status == 429:
        found = RateLimited(text, _retry_after_s(error))
    elif status in (401, 403):
        found = AccessDenied(text)
    elif status >= 500:
        found = SourceUnavailable(text)
    else:
        found = SourceError(text)
    found.__cause__ = error
    return found


def _retry_after_s(error: Any) -> float | None:
    headers = getattr(error, "headers", None) or getattr(
        getattr(error, "response", None), "headers", None
    )
    value = headers.get("Retry-After") if headers is not None else None
    return float(value) if value is not None and str(value).isdigit() else None


def _seconds(error: Any) -> float | None:
    for name in ("reset_after_s", "reset_after", "retry_after"):
        value = getattr(error, name, None)
        if isinstance(value, int | float) and value >= 0:
            return float(value)
    return None
