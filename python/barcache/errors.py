"""Everything barcache raises. A miss is not an error: it is None.

All derive from :class:`BarcacheError`; where a built-in exception fits (ValueError, TypeError,
OSError, TimeoutError), they derive from it as well. Every message says what happened, to what,
and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class BarcacheError(Exception):
    """Base of all errors of barcache."""


class InvalidArgument(BarcacheError, ValueError):
    """An argument has a value that makes no sense."""


class InvalidType(BarcacheError, TypeError):
    """An argument has the wrong type."""


class UnsupportedFrame(InvalidArgument):
    """The frame holds something that could not come back exactly; nothing was written."""


class ColumnNotFound(InvalidArgument):
    """The entry has no column of that name."""


class NotACatalog(BarcacheError):
    """``db_path`` is not a SQLite database, or one of another program."""


class UnsupportedCatalog(BarcacheError):
    """The catalog was written by a newer release of barcache."""


class CacheIOError(BarcacheError, OSError):
    """The operating system refused; ``errno`` says why where it is known."""


class CacheFull(CacheIOError):
    """The disk, quota or limit is full; what was there before is still there."""


class ReadOnly(BarcacheError):
    """The cache was opened, or can only be used, read-only."""


class CatalogBusy(BarcacheError, TimeoutError):
    """Another process held the catalog for longer than the time-out."""


class EntryCorrupt(BarcacheError):
    """Bytes on disk are not those that were put."""


class CatalogCorrupt(BarcacheError):
    """The catalog is damaged, or was replaced or removed while it was open."""


class OverBudget(BarcacheError):
    """Decoding would take more memory than ``decode_budget_mb`` allows."""


class CacheClosed(BarcacheError):
    """The cache was closed."""


class ForkedPolars(BarcacheError):
    """Polars cannot run a query in a forked child process."""


class FetchFailed(BarcacheError):
    """Another process fetched the same, failed, and this one had waited for it.

    ``error_type`` is the name of the class of its exception, ``error_message`` its text.
    """

    def __init__(self, message: str, error_type: str = "", error_message: str = ""):
        super().__init__(message)
        self.error_type = error_type
        self.error_message = error_message


class SourceError(BarcacheError):
    """A source could not answer. What was cached before is as it was."""


class RateLimited(SourceError):
    """The source asks to wait; ``reset_after_s`` says how long, None if it did not say."""

    def __init__(self, message: str, reset_after_s: float | None = None):
        super().__init__(message)
        self.reset_after_s = reset_after_s


class SourceUnavailable(SourceError):
    """The source could not be reached, or failed for a reason that may pass."""


class AccessDenied(SourceError):
    """The source refused the credentials, or what was asked with them."""


class SymbolNotFound(SourceError):
    """The source does not know ``symbols``."""

    def __init__(self, message: str, symbols: Iterable[str] = ()):
        super().__init__(message)
        self.symbols = tuple(symbols)


class RangeUnavailable(SourceError, ValueError):
    """The source never has bars of that resolution for that range."""


class InvalidBars(SourceError, ValueError):
    """Bars that cannot be right; ``report`` says which and why (None: not read as rows at all)."""

    def __init__(self, message: str, report: Any = None):
        super().__init__(message)
        self.report = report


class PartialCoverage(BarcacheError):
    """Not all bars asked for are in the cache, and the source was not, or could not be, asked.

    Attributes:
        frame: the bars that are there.
        missing: for each symbol the intervals that are not: pairs of first and last moment, in
            the types of the request's ends.
    """

    def __init__(self, message: str, frame: Any = None, missing: Any = None):
        super().__init__(message)
        self.frame = frame
        self.missing = missing
