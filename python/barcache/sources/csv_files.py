"""Bars from CSV files: columns by mapping, delimiter, dates and zones found out, never guessed.

Answers have the columns ``timestamp`` (Date if the file has mere days, else Datetime in UTC),
``symbol``, ``open``, ``high``, ``low``, ``close``, ``volume`` and those of ``extra``, numbers as
Float64, sorted by symbol and time, and are checked. docs/csv.md tells it with examples.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from barcache.errors import InvalidArgument, InvalidBars, RangeUnavailable
from barcache.resolution import parse_resolution
from barcache.sources.bars import PRICES, SYMBOL_NAMES, TIME_NAMES, BarReport, check_bars
from barcache.sources.files import files_id, found_files
from barcache.sources.ranges import within
from barcache.sources.time_text import TimeFormat, detect_format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DELIMITERS: Final = (";", "\t", "|", ",")
MISSING: Final = ("fail", "skip", "interpolate")
SUFFIXES: Final = (".csv", ".tsv", ".txt", ".gz", ".zst")
_SNIFFED_LINES = 50
_NO_NUMBER = ("", "-", "na", "n/a", "nan", "none", "null")
_NUMBERS = (*PRICES, "volume")
_OTHER_NAMES = {"volume": ("volume", "vol", "tickvol")}


@dataclass(frozen=True)
class SchemaMapping:
    """Which column of the file is what; names without regard to case, or positions from 0.

    None: found by its usual names. ``time_column`` is for files with the clock time in a column of
    its own beside the date.
    """

    date_column: str | int | None = None
    open_column: str | int | None = None
    high_column: str | int | None = None
    low_column: str | int | None = None
    close_column: str | int | None = None
    volume_column: str | int | None = None
    symbol_column: str | int | None = None
    time_column: str | int | None = None


class CSVSource:
    """Bars from CSV files.

    Args:
        paths: a file, a glob pattern, a folder, or several; or one of RustyBT's CSVConfig, which
            stands for all arguments that it has.
        schema_mapping: a SchemaMapping (RustyBT's too), or a dict of its fields, with or without
            ``_column``.
        delimiter: found out from the first lines if None.
        has_header: whether the first line names the columns.
        date_format: in the notation of strptime, or ``epoch s``, ``ms``, ``us``, ``ns``; found out
            from the whole column if None, and refused if that leaves a doubt.
        timezone: of times without an offset.
        missing: of a row without a price or volume: ``"fail"``; ``"skip"`` it; or
            ``"interpolate"`` between the rows of its symbol around it.
        symbol: of files without a symbol column; the file's name without its suffix if None.
        extra: other columns of numbers to keep, ``{name: column}``.
        decimal_comma: whether 2,5 is two and a half.
        resolution: the files'; another one is refused. None: whatever is asked for.
        name: the source id. Default: from the files, their size and time, and these arguments, so
            that a changed file is another source.

    Thread safety: safe; what was found out is kept per state of a file.

    Raises:
        InvalidArgument: an argument that makes no sense.
        SourceUnavailable: no such file.
    """

    argument_type = "as given"

    def __init__(
        self,
        paths: Any,
        schema_mapping: Any = None,
        *,
        delimiter: str | None = None,
        has_header: bool = True,
        date_format: str | None = None,
        timezone: str = "UTC",
        missing: str = "fail",
        symbol: str | None = None,
        extra: Mapping[str, str | int] | None = None,
        decimal_comma: bool = False,
        resolution: str | None = None,
        name: str | None = None,
    ):
        if hasattr(paths, "file_path"):  # RustyBT's CSVConfig.
            config = paths
            schema_mapping, paths = config.schema_mapping, config.file_path
            delimiter, has_header = config.delimiter, config.has_header
            date_format, timezone = config.date_format, config.timezone
            missing = config.missing_data_strategy
            symbol = symbol or "CSV_DATA"
        # The reference gives all rows of a file without symbols, whatever was asked for.
        self._serves_any_symbol = symbol == "CSV_DATA"
        if missing not in MISSING:
            raise InvalidArgument(
                f"missing={missing!r} is unknown: use one of {', '.join(MISSING)}"
            )
        if delimiter is not None and len(delimiter) != 1:
            raise InvalidArgument(f"delimiter={delimiter!r} is not one character")
        require_zone(timezone)
        self._paths = paths
        self._mapping = as_mapping(schema_mapping)
        self._delimiter = delimiter
        self._has_header = has_header
        self._format = None if date_format is None else TimeFormat(date_format)
        self._zone = timezone
        self._missing = missing
        self._symbol = symbol
        self._extra = dict(extra or {})
        self._decimal_comma = decimal_comma
        self._resolution = None if resolution is None else parse_resolution(resolution)
        self._name = name
        self._detected: dict[str, TimeFormat] = {}
        found_files(paths, SUFFIXES)

    @property
    def source_id(self) -> str:
        """See ``name``."""
        if self._name is not None:
            return self._name
        options = {
            "mapping": asdict(self._mapping),
            "format": None if self._format is None else self._format.text,
            "options": [self._delimiter, self._has_header, self._zone, self._missing],
            "more": [self._symbol, self._extra, self._decimal_comma],
        }
        return files_id("csv", found_files(self._paths, SUFFIXES), options)

    def fetch(self, symbols: Sequence[str], start: Any, end: Any, resolution: str) -> pl.DataFrame:
        """The bars of ``symbols`` (all, if empty) from ``start`` to ``end``, both included.

        Raises:
            InvalidArgument: a doubt that an argument has to settle (date_format, schema_mapping).
            InvalidBars: rows that are no bars, or cannot be right; its report names them.
            RangeUnavailable: another resolution than the files'.
            SourceUnavailable: the files are gone.
        """
        step = parse_resolution(resolution)
        if self._resolution is not None and step != self._resolution:
            raise RangeUnavailable(
                f"the files of {self.source_id} hold bars of {self._resolution}, not of {step}"
            )
        rows = self.scan()
        dtype = rows.collect_schema()["timestamp"]
        if self._missing == "interpolate":
            # Between the rows of the whole file: an answer must not depend on the request's ends.
            rows = _interpolated(rows.sort("symbol", "timestamp"))
        # Rows without a time or symbol are kept, so that they are found to be bad.
        time, name = pl.col("timestamp"), pl.col("symbol")
        rows = rows.filter(within("timestamp", dtype, start, end) | time.is_null())
        if symbols and not self._serves_any_symbol:
            rows = rows.filter(name.is_in(list(symbols)) | name.is_null())
        if self._missing == "skip":
            rows = rows.drop_nulls(_NUMBERS)
        bars = self._collected(rows.sort("symbol", "timestamp", maintain_order=True))
        check_bars(bars, step, require=_NUMBERS, source=self.source_id)
        return bars.drop("line")

    def scan(self) -> pl.LazyFrame:
        """All rows of all files, lazily: unsorted, unchecked, with their ``line`` in the file."""
        files = [_File(file, self) for file in found_files(self._paths, SUFFIXES)]
        form = self._format or self._detected_format(files)
        return pl.concat([file.rows(form) for file in files])

    def _detected_format(self, files: list[_File]) -> TimeFormat:
        key = files_id("csv", [file.path for file in files], {})
        known = self._detected.get(key)
        if known is None:
            texts = pl.concat([file.time_texts() for file in files]).unique()
            column = files[0].found["date"]
            what = f"column {column!r} of {files[0].path.name}" + (
                f" and {len(files) - 1} more files" if len(files) > 1 else ""
            )
            known = detect_format(texts.sort(), what)
            self._detected = {key: known}
        return known

    def _collected(self, rows: pl.LazyFrame) -> pl.DataFrame:
        try:
            return rows.collect()
        except pl.exceptions.PolarsError as error:
            for file in found_files(self._paths, SUFFIXES):
                _File(file, self).require_numbers()
            raise InvalidBars(
                f"{self.source_id} cannot be read: {str(error).splitlines()[0]}; if it is about a "
                "time that does not exist, or exists twice, where the clocks are changed, say the "
                "zone that the file is in with timezone='...'"
            ) from error


class _File:
    """One file, with its columns found. Everything is read as text first."""

    def __init__(self, path: Path, source: CSVSource):
        self.path = path
        self._source = source
        self._delimiter = source._delimiter or detect_delimiter(path)
        columns = self._scan().collect_schema().names()
        columns.remove("line")
        self.found = find_columns(
            columns, source._mapping, source._extra, path.name, has_header=source._has_header
        )
        self._numbers = [n for n in self.found if n not in ("date", "time", "symbol")]

    def rows(self, form: TimeFormat) -> pl.LazyFrame:
        """The bars, numbered by the line they stand on."""
        return self._scan().select(
            "line",
            timestamp=form.read(self._time_text(), self._source._zone),
            symbol=self._symbol(),
            **{name: self._text(name).cast(pl.Float64) for name in self._numbers},
        )

    def time_texts(self) -> pl.Series:
        """The times as they are written."""
        return self._collected(self._scan().select(t=self._time_text())).to_series()

    def require_numbers(self) -> None:
        """Refuse the file, with its bad rows named, if a number in it is none."""
        text = self._collected(self._scan())
        wrong = []
        for name in self._numbers:
            number = self._text(name).cast(pl.Float64, strict=False)
            is_wrong = self._text(name).is_not_null() & number.is_null()
            wrong.append(pl.when(is_wrong).then(pl.lit(f"{name} is not a number")))
        reasons = pl.concat_str(wrong, separator="; ", ignore_nulls=True)
        bad = text.with_row_index("row").with_columns(reason=reasons).filter(pl.col("reason") != "")
        if not bad.is_empty():
            report = BarReport(text.height, (), bad)
            raise InvalidBars(
                f"{self.path.name} has rows that are no bars (decimal_comma=True reads 2,5): "
                f"{report}",
                report,
            )

    def _collected(self, rows: pl.LazyFrame) -> pl.DataFrame:
        try:
            return rows.collect()
        except pl.exceptions.PolarsError as error:
            raise InvalidBars(
                f"{self.path.name} is not read: {str(error).splitlines()[0]}; every line needs as "
                "many parts as the first one, in UTF-8"
            ) from error

    def _text(self, name: str) -> pl.Expr:
        text = pl.col(self.found[name]).str.strip_chars()
        if self._source._decimal_comma:
            text = text.str.replace(",", ".", literal=True)
        return pl.when(~text.str.to_lowercase().is_in(_NO_NUMBER)).then(text)

    def _time_text(self) -> pl.Expr:
        day = pl.col(self.found["date"]).str.strip_chars()
        if "time" in self.found:
            day = day + " " + pl.col(self.found["time"]).str.strip_chars()
        return pl.when(day != "").then(day)

    def _symbol(self) -> pl.Expr:
        if "symbol" in self.found:
            symbol = pl.col(self.found["symbol"]).str.strip_chars()
            return pl.when(symbol != "").then(symbol)
        return pl.lit(self._source._symbol or self.path.name.partition(".")[0])

    def _scan(self) -> pl.LazyFrame:
        try:
            rows = pl.scan_csv(
                self.path,
                separator=self._delimiter,
                has_header=self._source._has_header,
                infer_schema=False,
                row_index_name="line",
                row_index_offset=2 if self._source._has_header else 1,
            )
            rows.collect_schema()
        except pl.exceptions.NoDataError as error:
            raise InvalidBars(f"{self.path.name} is empty") from error
        except pl.exceptions.ComputeError as error:
            raise InvalidBars(
                f"{self.path.name} is not read: {str(error).splitlines()[0]}"
            ) from error
        return rows


def _interpolated(rows: pl.LazyFrame) -> pl.LazyFrame:
    numbers = [pl.col(name).interpolate().over("symbol") for name in _NUMBERS]
    return rows.with_columns(numbers)


def require_zone(name: str) -> None:
    """Refuse a zone that does not exist.

    Raises:
        InvalidArgument: no such zone.
    """
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise InvalidArgument(
            f"timezone={name!r} is unknown: use a name such as UTC or America/New_York"
        ) from error


def as_mapping(mapping: Any) -> SchemaMapping:
    """A SchemaMapping from None, a dict, or any object with its fields (RustyBT's).

    What RustyBT's says by default, the standard names, is found without regard to case.

    Raises:
        InvalidArgument: a key that is no field.
    """
    if mapping is None:
        return SchemaMapping()
    known = [field.name for field in fields(SchemaMapping)]
    if isinstance(mapping, dict):
        given = {}
        for key, column in mapping.items():
            field = "date" if key in TIME_NAMES and key != "time" else key
            field = field if field.endswith("_column") else f"{field}_column"
            if field not in known:
                names = ", ".join(name.removesuffix("_column") for name in known)
                raise InvalidArgument(f"schema_mapping has no {key!r}: use {names}")
            given[field] = column
        return SchemaMapping(**given)
    given = {name: getattr(mapping, name, None) for name in known}
    return SchemaMapping(**given)


def find_columns(
    columns: list[str],
    mapping: SchemaMapping,
    extra: Mapping[str, str | int],
    file: str,
    *,
    has_header: bool = True,
) -> dict[str, str]:
    """Which of ``columns`` is the date, time, symbol, open, high, low, close, volume, and extras.

    Raises:
        InvalidArgument: one that is mapped, or needed, is not there.
    """
    plain: dict[str, str] = {}
    for given in columns:
        plain.setdefault(given.strip().strip("<>").lower(), given)
    wanted: dict[str, str | int | None] = {
        field.name.removesuffix("_column"): getattr(mapping, field.name)
        for field in fields(SchemaMapping)
    }
    wanted.update(extra)
    usual = ("date", *_NUMBERS)
    if not has_header and len(columns) == len(usual) and mapping == SchemaMapping():
        wanted.update({name: place for place, name in enumerate(usual)})
    found: dict[str, str] = {}
    for name, column in wanted.items():
        if isinstance(column, int) and 0 <= column < len(columns):
            found[name] = columns[column]
        elif isinstance(column, str) and (column in columns or column.lower() in plain):
            found[name] = column if column in columns else plain[column.lower()]
        elif column is not None:
            raise InvalidArgument(
                f"{file} has no column {column!r} for {name!r}: there are {', '.join(columns)}"
            )
        elif usual_name := next((plain[n] for n in _usual_names(name) if n in plain), None):
            found[name] = usual_name
    if found.get("time") == found.get("date"):
        found.pop("time", None)
    lacking = [name for name in ("date", *_NUMBERS) if name not in found]
    if lacking:
        raise InvalidArgument(
            f"{file} has no column for {', '.join(lacking)}: say which with schema_mapping, as in "
            f"{{{lacking[0]!r}: '...'}}; there are {', '.join(columns)}"
        )
    return found


def _usual_names(name: str) -> Sequence[str]:
    if name == "date":
        return TIME_NAMES
    if name == "symbol":
        return SYMBOL_NAMES
    return _OTHER_NAMES.get(name, (name,))


def detect_delimiter(path: Path) -> str:
    """The delimiter that splits the first lines into equally many parts, the most; else a comma."""
    counts: dict[str, Counter[int]] = {delimiter: Counter() for delimiter in DELIMITERS}
    for line in _first_lines(path):
        quoted = False
        seen: Counter[str] = Counter()
        for letter in line:
            quoted ^= letter == '"'
            if not quoted and letter in DELIMITERS:
                seen[letter] += 1
        for delimiter in DELIMITERS:
            counts[delimiter][seen[delimiter]] += 1
    best = max(DELIMITERS, key=lambda d: _consistency(counts[d]))
    return best if _consistency(counts[best]) > (0, 0) else ","


def _consistency(counts: Counter[int]) -> tuple[int, int]:
    """How many lines have the usual number of a delimiter, and that number."""
    splitting = Counter({number: lines for number, lines in counts.items() if number})
    if not splitting:
        return (0, 0)
    number, lines = splitting.most_common(1)[0]
    return (lines, number)


def _first_lines(path: Path) -> list[str]:
    if path.suffix.lower() in (".gz", ".zst"):
        text = pl.read_csv(
            path, separator="\x01", has_header=False, n_rows=_SNIFFED_LINES, quote_char=None,
            infer_schema=False,
        )  # fmt: skip
        return [str(line) for line in text.to_series().drop_nulls()]
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = [line for _, line in zip(range(_SNIFFED_LINES), file, strict=False)]
    return [line for line in lines if line.strip()]
