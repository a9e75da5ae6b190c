"""Resolutions: ``1m``, ``4h``, ``1d``, ``1wk``, ``1mo`` and the other spellings of the same.

A bar is named by its beginning and ends one resolution later, in its own calendar: a month after
2023-02-01 is 2023-03-01. Thread safety: plain values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from barcache.errors import InvalidArgument, InvalidType

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "wk": 7 * 86_400, "mo": 2_629_746}
_POLARS = {"wk": "w"}
_WORDS = {
    "daily": "1d",
    "hourly": "1h",
    "minutely": "1m",
    "monthly": "1mo",
    "quarterly": "3mo",
    "weekly": "1wk",
}
# By the spelling in lower case; a lone "M" is a month (ccxt, pandas) and is looked at before.
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "t", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), "wk"),
    **dict.fromkeys(("mo", "mon", "month", "months", "me", "ms"), "mo"),
}
_LARGER = {"s": (60, "m"), "m": (60, "h")}


@dataclass(frozen=True, order=False)
class Resolution:
    """The length of a bar: ``count`` times ``unit`` (s, m, h, d, wk or mo)."""

    count: int
    unit: str

    @property
    def name(self) -> str:
        """The one spelling that barcache uses: ``5m``, ``1h``, ``1d``, ``1wk``, ``1mo``."""
        return f"{self.count}{self.unit}"

    @property
    def every(self) -> str:
        """The spelling of Polars' durations (``1w`` for a week)."""
        return f"{self.count}{_POLARS.get(self.unit, self.unit)}"

    @property
    def seconds(self) -> int:
        """The length in seconds; of a month the mean of a Gregorian month."""
        return self.count * _SECONDS[self.unit]

    @property
    def is_intraday(self) -> bool:
        """Whether bars are shorter than a day, so that a date alone does not name one."""
        return self.unit in ("s", "m", "h")

    def __str__(self) -> str:
        return self.name


@lru_cache(maxsize=256)
def _parse(text: str) -> Resolution:
    word = _WORDS.get(text.strip().lower(), text.strip())
    match = re.fullmatch(r"(\d*)\s*([A-Za-z]+)", word)
    unit = None
    if match is not None:
        unit = "mo" if match[2] == "M" else _UNITS.get(match[2].lower())
    count = int(match[1] or 1) if match is not None else 0
    if unit is None or count < 1:
        raise InvalidArgument(
            f"{text!r} is not a resolution: use a number and a unit, as in 1m, 5m, 1h, 4h, 1d, "
            "1wk, 1mo (m is a minute, mo or M a month)"
        )
    while unit in _LARGER and count % _LARGER[unit][0] == 0:
        count, unit = count // _LARGER[unit][0], _LARGER[unit][1]
    return Resolution(count, unit)


def parse_resolution(value: str | Resolution) -> Resolution:
    """The resolution that ``value`` spells.

    Known are barcache's and RustyBT's spellings (``1m``, ``1h``, ``1d``, ``1wk``, ``1mo``),
    yfinance's (``60m``), ccxt's (``1w``, ``1M``: a month), pandas' (``1min``, ``D``, ``ME``) and
    words (``daily``, ``1 hour``).

    Raises:
        InvalidArgument: no such resolution.
        InvalidType: not text.

    >>> [parse_resolution(text).name for text in ("60m", "1w", "1M", "1min", "daily", "D")]
    ['1h', '1wk', '1mo', '1m', '1d', '1d']
    """
    if isinstance(value, Resolution):
        return value
    if not isinstance(value, str):
        raise InvalidType(f"a resolution is text such as '1d', not {type(value).__name__}")
    return _parse(value)
