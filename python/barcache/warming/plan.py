"""What is to be fetched ahead. Thread safety: values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from barcache.bars.request import checked_symbols
from barcache.errors import InvalidArgument, InvalidType

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class WarmPlan:
    """The bars of many symbols between two dates, from one source: a request of get_or_fetch.

    Attributes:
        symbols: a list of them, or one.
        start_date: ISO text, a date, datetime or pd.Timestamp, as for get_or_fetch.
        end_date: likewise; included.
        resolution: ``"1d"``, ``"1h"``, ``"5m"`` and so on.
        data_source: a source, or the name of a registered one (``barcache.sources``).
        adjustment: the mode of price adjustment; None: the source's own.

    >>> WarmPlan(["AAPL", "MSFT", "AAPL"], "2023-01-01", "2023-12-31", "1d", "acme").batches(1)
    [('AAPL',), ('MSFT',)]
    """

    symbols: Sequence[str] | str
    start_date: Any
    end_date: Any
    resolution: str
    data_source: Any
    adjustment: str | None = None

    def batches(self, size: int) -> list[tuple[str, ...]]:
        """The symbols, each once and in order, ``size`` at a time.

        Raises:
            InvalidArgument, InvalidType: what the message names.
        """
        if isinstance(size, bool) or not isinstance(size, int):
            raise InvalidType(f"batch_size must be a number of symbols, not {size!r}")
        if size < 1:
            raise InvalidArgument(f"batch_size={size} must be at least 1 symbol")
        names = checked_symbols(self.symbols)
        return [names[begin : begin + size] for begin in range(0, len(names), size)]
