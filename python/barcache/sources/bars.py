"""Which columns of a frame are its bars' time and symbol, and whether bars can be right.

Names are compared without regard to case. Pure functions of Polars frames; thread-safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from barcache.errors import InvalidBars, InvalidType
from barcache.resolution import parse_resolution

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from barcache.resolution import Resolution

# In the order of preference. "index" is what an unnamed index of a pandas frame is called.
TIME_NAMES = ("timestamp", "datetime", "date", "time", "open_time", "bar_time", "ts", "index")
SYMBOL_NAMES = ("symbol", "ticker", "instrument", "asset", "code", "sid")
PRICES = ("open", "high", "low", "close")
_SHOWN_ROWS = 12


class BarColumns(NamedTuple):
    """The names, in the frame's own spelling, of the time and symbol columns."""

    time: str
    symbol: str | None


def bar_columns(
    frame: pl.DataFrame | pl.LazyFrame | Mapping[str, pl.DataType],
) -> BarColumns | None:
    """The columns that hold the bars' time and symbol; None without a time to recognise.

    The time is a Date or Datetime column of one of TIME_NAMES, or else the only column of these
    types. A date beside a clock time of its own (a Time column) is no bar time. The symbol is a
    text, Categorical, Enum or integer column of one of SYMBOL_NAMES, None if there is none.

    >>> bar_columns({"Date": pl.Date(), "Ticker": pl.String(), "Close": pl.Float64()})
    BarColumns(time='Date', symbol='Ticker')
    """
    schema = _schema(frame)
    times = {name: t for name, t in schema.items() if isinstance(t, pl.Date | pl.Datetime)}
    if any(isinstance(t, pl.Time) for t in schema.values()) and not any(
        isinstance(t, pl.Datetime) for t in times.values()
    ):
        return None
    time = _first_of(TIME_NAMES, times)
    if time is None and len(times) == 1:
        time = next(iter(times))
    if time is None:
        return None
    words = (pl.String, pl.Categorical, pl.Enum)
    symbols = [n for n, t in schema.items() if isinstance(t, words) or t.is_integer()]
    return BarColumns(time, _first_of(SYMBOL_NAMES, symbols))


def _schema(
    frame: pl.DataFrame | pl.LazyFrame | Mapping[str, pl.DataType],
) -> Mapping[str, pl.DataType]:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect_schema()
    return frame.schema if isinstance(frame, pl.DataFrame) else frame


def _first_of(wanted: Iterable[str], names: Iterable[str]) -> str | None:
    by_lower: dict[str, str] = {}
    for name in names:
        by_lower.setdefault(name.lower(), name)
    return next((by_lower[name] for name in wanted if name in by_lower), None)


@dataclass(frozen=True)
class BarReport:
    """What is wrong with some bars.

    Attributes:
        rows: how many bars were looked at.
        problems: what is wrong with the frame as a whole, one sentence each.
        bad: the bad rows as they came, with ``row`` (counted from 0) in front and ``reason`` (all
            reasons of the row, joined by "; ") at the end.
    """

    rows: int
    problems: tuple[str, ...]
    bad: pl.DataFrame

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and self.bad.is_empty()

    def text(self) -> str:
        """The report on one screen."""
        if self.ok:
            return f"{self.rows} bars, nothing wrong"
        lines = [f"{self.rows} bars, {self.bad.height} of them bad"]
        lines += [f"- {problem}" for problem in self.problems]
        for row in self.bad.head(_SHOWN_ROWS).iter_rows(named=True):
            place, reason = row.pop("row"), row.pop("reason")
            values = ", ".join(f"{name}={value}" for name, value in list(row.items())[:8])
            lines.append(f"- row {place}: {reason} ({values})")
        if self.bad.height > _SHOWN_ROWS:
            lines.append(f"- and {self.bad.height - _SHOWN_ROWS} more (report.bad has them all)")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def check_bars(
    frame: pl.DataFrame,
    resolution: str | Resolution | None = None,
    *,
    require: Iterable[str] = (),
    tolerance: float = 1e-6,
    columns: BarColumns | None = None,
    source: str = "the source",
) -> BarReport:
    """Look at every bar.

    The frame needs a time column (``columns``, else found by :func:`bar_columns`), numbers in the
    columns open, high, low, close and volume as far as it has them, and the columns named in
    ``require``. A bar is bad if its time or symbol is missing, another has the same symbol and
    time, it comes before the bar above it of the same symbol, a price is missing or not finite,
    high or low do not hold the other prices between them (beyond ``tolerance`` times the price:
    vendors round), the volume is negative, or, at a resolution of a day, another bar has its day.
    Bars may be sorted by time or grouped by symbol.

    Returns:
        The report, whose ``ok`` is then True.

    Raises:
        InvalidBars: something is wrong; it carries the report.
        InvalidType: ``frame`` is no Polars DataFrame.
    """
    report = report_on_bars(
        frame, resolution, require=require, tolerance=tolerance, columns=columns
    )
    if not report.ok:
        raise InvalidBars(f"{source} gave bars that cannot be right: {report.text()}", report)
    return report


def report_on_bars(
    frame: pl.DataFrame,
    resolution: str | Resolution | None = None,
    *,
    require: Iterable[str] = (),
    tolerance: float = 1e-6,
    columns: BarColumns | None = None,
) -> BarReport:
    """The report of :func:`check_bars`, which is not raised but returned."""
    if not isinstance(frame, pl.DataFrame):
        raise InvalidType(f"bars are checked as a Polars DataFrame, not {type(frame).__name__}")
    columns = columns or bar_columns(frame)
    problems = _column_problems(frame, columns, require)
    checks: list[tuple[str, pl.Expr]] = []
    if columns is not None:
        step = None if resolution is None else parse_resolution(resolution)
        checks += _time_checks(frame, columns, step)
    checks += _value_checks(frame, tolerance)
    return BarReport(frame.height, tuple(problems), _bad_rows(frame, checks))


def _column_problems(
    frame: pl.DataFrame, columns: BarColumns | None, require: Iterable[str]
) -> list[str]:
    problems = []
    if columns is None:
        problems.append(
            f"no time column: one named {', '.join(TIME_NAMES[:4])} of type Date or Datetime is "
            f"needed, there are {_described(frame)}"
        )
    lower = [name.lower() for name in frame.columns]
    for name in dict.fromkeys((*require, *PRICES, "volume")):
        if name in require and name not in lower:
            problems.append(f"no column {name!r}: there are {_described(frame)}")
        if lower.count(name) > 1:
            problems.append(f"several columns are named {name!r} but for upper and lower case")
    problems += [
        f"column {name!r} has the type {dtype}, a number is needed"
        for name, dtype in frame.schema.items()
        if name.lower() in (*PRICES, "volume") and not (dtype.is_numeric() or dtype == pl.Null)
    ]
    return problems


def _described(frame: pl.DataFrame) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in frame.schema.items()) or "no columns"


def _time_checks(
    frame: pl.DataFrame, columns: BarColumns, step: Resolution | None
) -> list[tuple[str, pl.Expr]]:
    time = pl.col(columns.time)
    key = [columns.time] if columns.symbol is None else [columns.symbol, columns.time]
    before = time.shift(1) if columns.symbol is None else time.shift(1).over(columns.symbol)
    known = pl.all_horizontal(pl.col(name).is_not_null() for name in key)
    checks = [
        ("no time", time.is_null()),
        ("same symbol and time as another row", pl.struct(key).is_duplicated() & known),
        ("earlier than the row above it", (time < before).fill_null(value=False)),
    ]
    if columns.symbol is not None:
        checks.append(("no symbol", pl.col(columns.symbol).is_null()))
    is_datetime = isinstance(frame.schema[columns.time], pl.Datetime)
    if step is not None and step.unit == "d" and is_datetime:
        day = [time.dt.date().alias("day"), *key[:-1]]
        twice = pl.struct(day).is_duplicated() & ~pl.struct(key).is_duplicated() & known
        checks.append(("another row has the same day", twice))
    return checks


def _value_checks(frame: pl.DataFrame, tolerance: float) -> list[tuple[str, pl.Expr]]:
    found: dict[str, pl.Expr] = {}
    for name, dtype in frame.schema.items():
        if name.lower() in (*PRICES, "volume") and (dtype.is_numeric() or dtype == pl.Null):
            found.setdefault(name.lower(), pl.col(name).cast(pl.Float64).fill_nan(None))
    checks = []
    for name, value in found.items():
        checks.append((f"{name} is missing", value.is_null()))
        checks.append((f"{name} is infinite", value.is_infinite()))
    # An infinite slack would make a NaN, which Polars holds to be the largest number.
    found = {name: pl.when(value.is_finite()).then(value) for name, value in found.items()}
    if "volume" in found:
        checks.append(("volume is negative", found["volume"] < 0))
    for name in PRICES:
        if name not in found:
            continue
        slack = found[name].abs() * tolerance
        if "high" in found and name != "high":
            checks.append((f"high is below {name}", found["high"] < found[name] - slack))
        if "low" in found and name not in ("low", "high"):
            checks.append((f"low is above {name}", found["low"] > found[name] + slack))
    return [(reason, mask.fill_null(value=False)) for reason, mask in checks]


def _bad_rows(frame: pl.DataFrame, checks: list[tuple[str, pl.Expr]]) -> pl.DataFrame:
    numbered = frame.rename({n: f"{n}_" for n in ("row", "reason") if n in frame.columns})
    if frame.is_empty() or not checks:
        return numbered.head(0).with_row_index("row").with_columns(reason=pl.lit(""))
    masks = frame.select(mask.alias(str(place)) for place, (_, mask) in enumerate(checks))
    failed = [place for place, column in enumerate(masks.iter_columns()) if column.any()]
    if not failed:
        return numbered.head(0).with_row_index("row").with_columns(reason=pl.lit(""))
    reasons = pl.concat_str(
        [pl.when(pl.col(str(place))).then(pl.lit(checks[place][0])) for place in failed],
        separator="; ",
        ignore_nulls=True,
    )
    return (
        numbered.with_row_index("row")
        .with_columns(masks.select(reason=reasons))
        .filter(masks.select(pl.any_horizontal(pl.all())).to_series())
    )
