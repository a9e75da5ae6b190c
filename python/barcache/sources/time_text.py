"""Times written as text: which format a whole column is in, and how it is read.

A format is only taken if every value of the column has it, and if no other format that all values
have as well would read them as other times: 03/04/2023 is never guessed at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Final

import polars as pl

from barcache.errors import InvalidArgument, InvalidBars

_SAMPLE = 200
_YEARS = (1800, 2200)
_DAYS_FIRST: Final = [f"%d{s}%m{s}%{y}" for s in "/.-" for y in "Yy"]
_MONTHS_FIRST: Final = [f"%m{s}%d{s}%{y}" for s in "/.-" for y in "Yy"]
_DAYS: Final = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    *_MONTHS_FIRST,
    *_DAYS_FIRST,
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %b %Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%B %d, %Y",
]
_CLOCKS: Final = [
    f"{before}{clock}{zone}"
    for before, clock, zone in product(
        (" ", "T", ", "),
        ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%H%M%S"),
        ("", "%#z", " %#z", " UTC"),
    )
]
_EPOCHS: Final = {"s": (9, 11), "ms": (12, 14), "us": (15, 17), "ns": (18, 20)}


@dataclass(frozen=True)
class TimeFormat:
    """How text is a time: ``text`` is a strptime format, or ``epoch s``, ``ms``, ``us``, ``ns``."""

    text: str

    @property
    def is_epoch(self) -> bool:
        """Whether it counts from 1970."""
        return self.text.startswith("epoch ")

    @property
    def has_zone(self) -> bool:
        """Whether each value says its offset from UTC, or is in UTC."""
        return self.is_epoch or bool(re.search(r"%[:#]?z|%Z|\sUTC$|Z$", self.text))

    @property
    def has_clock(self) -> bool:
        """Whether it names a time of day, not a mere day."""
        return self.is_epoch or bool(re.search(r"%[HIkMSTRXcs]|%#?z", self.text))

    def read(self, column: pl.Expr, zone: str = "UTC") -> pl.Expr:
        """The times: Date for mere days, else Datetime in UTC, null where it is not this format.

        A time without an offset is one of ``zone``; collecting fails (ComputeError) where the
        clocks there are changed and it does not exist, or exists twice.
        """
        trimmed = column.str.strip_chars()
        if self.is_epoch:
            number = trimmed.cast(pl.Int64, strict=False)
            scale = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}[self.text.removeprefix("epoch ")]
            number = number // 1000 if self.text == "epoch ns" else number * scale
            return number.cast(pl.Datetime("us", "UTC"))
        text = re.sub(r"\.%f", "%.f", self.text)
        if not self.has_clock:
            return trimmed.str.to_date(text, strict=False)
        if re.search(r"%[:#]?z", text):
            return trimmed.str.to_datetime(text, time_unit="us", time_zone="UTC", strict=False)
        naive = trimmed.str.to_datetime(text, time_unit="us", strict=False)
        zone = "UTC" if self.has_zone else zone
        return naive.dt.replace_time_zone(zone).dt.convert_time_zone("UTC")

    def fits(self, values: pl.Series) -> pl.Series:
        """Where the text is in this format and names a day of our times."""
        if self.is_epoch:
            least, most = _EPOCHS[self.text.removeprefix("epoch ")]
            return values.str.strip_chars().str.contains(rf"^-?\d{{{least},{most}}}$")
        read = values.to_frame("t").select(self.read(pl.col("t"))).to_series()
        if self.text.startswith("%Y%m%d"):
            read = (
                read.to_frame("r")
                .select(pl.when(values.str.strip_chars().str.contains(r"^\d{8}")).then(pl.col("r")))
                .to_series()
            )
        return read.dt.year().is_between(*_YEARS).fill_null(value=False)


# What a directive can match, to pass over most formats without asking Polars.
_SHAPES: Final = {
    "%Y%m%d": r"\d{8}",
    "%H%M%S": r"\d{6}",
    "%Y": r"\d{4}",
    "%b": r"[A-Za-z]{3}",
    "%B": r"[A-Za-z]{3,9}",
    "%.f": r"(?:\.\d+)?",
    "%p": r"[AaPp][Mm]",
    "%#z": r"(?:Z|[+-]\d{2}(?::?\d{2})?)",
}


@cache
def _shape(text: str) -> re.Pattern[str]:
    parts = re.split(r"(%Y%m%d|%H%M%S|%[.#]?\w)", text)
    return re.compile(
        "".join(
            _SHAPES.get(part, r"\d{1,2}") if part.startswith("%") else re.escape(part)
            for part in parts
        )
    )


def _candidates(value: str) -> list[TimeFormat]:
    """The formats that this one value may be in."""
    value = value.strip()
    found = []
    for day in _DAYS:
        if (begin := _shape(day).match(value)) is not None:
            rest = value[begin.end() :]
            clocks = [clock for clock in ("", *_CLOCKS) if _shape(clock).fullmatch(rest)]
            found += [TimeFormat(day + clock) for clock in clocks]
    return found + [TimeFormat(f"epoch {unit}") for unit in _EPOCHS]


def detect_format(values: pl.Series, what: str) -> TimeFormat:
    """The one format of all ``values`` (text; nulls are passed over).

    Args:
        values: the whole column.
        what: names it in errors, such as ``column 'Date' of bars.csv``.

    Raises:
        InvalidArgument: several formats fit, and would read different times; or no format does.
        InvalidBars: most values have a format, but some do not.

    >>> detect_format(pl.Series(["31/01/2023", "01/02/2023"]), "the column").text
    '%d/%m/%Y'
    """
    values = values.drop_nulls().unique(maintain_order=True)
    if values.is_empty():
        return TimeFormat("%Y-%m-%d")
    sample = values.gather_every(max(1, len(values) // _SAMPLE))
    fitting = [found for found in _candidates(sample[0]) if found.fits(sample).all()]
    fitting = [found for found in fitting if found.fits(values).all()]
    if not fitting:
        _say_what_does_not_fit(values, what)
    first, *others = fitting
    read = _read(values, first)
    for other in others:
        differs = _read(values, other) != read
        if differs.any():
            example = values.filter(differs)[0]
            raise InvalidArgument(
                f"{what} can be read in two ways, as {first.text!r} and as {other.text!r}: "
                f"{example!r} would be {read.filter(differs)[0]} or "
                f"{_read(values, other).filter(differs)[0]}, and no value decides; "
                f"say which with date_format={first.text!r} or date_format={other.text!r}"
            )
    return first


def _read(values: pl.Series, form: TimeFormat) -> pl.Series:
    times = values.to_frame("t").select(form.read(pl.col("t"))).to_series()
    return (
        times.cast(pl.Datetime("us"))
        if times.dtype == pl.Date
        else times.dt.replace_time_zone(None)
    )


def _say_what_does_not_fit(values: pl.Series, what: str) -> None:
    possible = dict.fromkeys(found for value in values.head(20) for found in _candidates(value))
    counts = [(int(found.fits(values.head(5000)).sum()), found) for found in possible]
    most, best = max(counts, key=lambda pair: pair[0])
    if most == 0:
        raise InvalidArgument(
            f"{what} is in no format that is known (such as {values[0]!r}): say which with "
            "date_format='...' in the notation of strptime"
        )
    odd = values.filter(~best.fits(values))
    raise InvalidBars(
        f"{what} has {len(odd)} values that are not in the format {best.text!r} of the others, "
        f"such as {odd[0]!r}: correct them, or say the format with date_format='...'"
    )
