"""Bars from a query: any DB-API connection, a SQLAlchemy engine, or DuckDB.

The query names what it needs as ``:symbols``, ``:start``, ``:end`` and ``:resolution``, for example
``SELECT * FROM bars WHERE symbol IN (:symbols) AND day BETWEEN :start AND :end``. They are bound
by the driver, never written into the text; ``:symbols`` becomes as many placeholders as there are
symbols. A colon within quotes or comments, and a ``::`` cast, is left alone.
"""

from __future__ import annotations

import re
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from barcache.errors import InvalidArgument, InvalidType
from barcache.resolution import parse_resolution
from barcache.sources.bars import TIME_NAMES, bar_columns, check_bars
from barcache.sources.time_text import detect_format

if TYPE_CHECKING:
    from collections.abc import Sequence

PARAMETERS: Final = ("symbols", "start", "end", "resolution")
PARAMSTYLES: Final = ("qmark", "numeric", "named", "format", "pyformat")
_PIECES = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|::|(?<![\w:]):(?P<name>[A-Za-z_]\w*)""",
    re.DOTALL,
)


class SQLSource:
    """Bars from a SQL query.

    Args:
        connect: a function without arguments that opens a DB-API (or DuckDB) connection, which is
            closed after each fetch; or a SQLAlchemy Engine.
        query: with ``:symbols``, ``:start``, ``:end`` and ``:resolution`` as it needs them. Its
            answer has a time column, and a symbol column for several symbols (``bar_columns``);
            times as ISO text are read.
        name: the source id.
        argument_type: what start and end are bound as: ``"datetime"``, ``"date"``, ``"str"`` (for
            SQLite, whose times are text), ``"timestamp"`` or ``"as given"``. An end that is a mere
            day is its last microsecond for bars within the day, unless it stays as given.
        paramstyle: of the driver, if its module does not say.
        calendar: of the bars' exchange, see ``as_source``.
        data_delay_s: likewise.

    Thread safety: that of ``connect``.

    Raises:
        InvalidArgument: an unknown parameter in the query, or an unknown paramstyle.
        InvalidType: ``connect`` is neither of these.
    """

    def __init__(
        self,
        connect: Any,
        query: str,
        *,
        name: str,
        argument_type: str = "datetime",
        paramstyle: str | None = None,
        calendar: str | None = None,
        data_delay_s: float = 0.0,
    ):
        if paramstyle is not None and paramstyle not in PARAMSTYLES:
            raise InvalidArgument(
                f"paramstyle={paramstyle!r} is unknown: use one of {', '.join(PARAMSTYLES)}"
            )
        unknown = {m["name"] for m in _PIECES.finditer(query) if m["name"]} - {*PARAMETERS}
        if unknown:
            raise InvalidArgument(
                f"the query has the parameter :{min(unknown)}, which is unknown: there are "
                f"{', '.join(f':{parameter}' for parameter in PARAMETERS)}"
            )
        if not callable(connect) and not hasattr(connect, "connect"):
            raise InvalidType(
                f"{connect!r} opens no connection: pass a function without arguments that returns "
                "one, or a SQLAlchemy Engine"
            )
        self._connect = connect
        self._query = query
        self._paramstyle = paramstyle
        self.source_id = name
        self.argument_type = argument_type
        self.calendar = calendar
        self.data_delay_s = data_delay_s

    def fetch(self, symbols: Sequence[str], start: Any, end: Any, resolution: str) -> pl.DataFrame:
        """What the query answers, sorted by symbol and time, and checked.

        What the driver raises comes out as it is.

        Raises:
            InvalidArgument: text for the time that is in no known format.
            InvalidBars: bars that cannot be right.
        """
        values = {"symbols": list(symbols), "start": start, "end": end, "resolution": resolution}
        if hasattr(self._connect, "connect") and not callable(self._connect):
            frame = _from_engine(self._connect, self._query, values)
        else:
            with closing(self._connect()) as connection:
                style = self._paramstyle or paramstyle_of(connection)
                frame = _from_connection(connection, *bound(self._query, values, style))
        if frame.is_empty():  # Most drivers do not say the types of no rows.
            return frame
        frame = _with_read_times(frame)
        if (columns := bar_columns(frame)) is not None:
            frame = frame.sort(columns.symbol or columns.time, columns.time, maintain_order=True)
        check_bars(frame, parse_resolution(resolution), source=self.source_id)
        return frame


class DuckDBSource(SQLSource):
    """Bars from a query of DuckDB.

    Args:
        database: a file, opened read-only for each fetch; or None: the query reads files itself,
            as in ``FROM read_parquet('bars/*.parquet')``.
        query: see :class:`SQLSource`.
        name: the source id.
        options: the other arguments of :class:`SQLSource`.

    Raises:
        ImportError: duckdb is not installed; at the first fetch.
    """

    def __init__(self, database: Any, query: str, *, name: str, **options: Any):
        def connect() -> Any:
            try:
                import duckdb
            except ImportError as error:
                raise ImportError(
                    'this source needs DuckDB; install it with: pip install "barcache[duckdb]"'
                ) from error
            if database is None:
                return duckdb.connect()
            return duckdb.connect(str(database), read_only=True)

        super().__init__(connect, query, name=name, paramstyle="qmark", **options)


def paramstyle_of(connection: Any) -> str:
    """The paramstyle that the connection's driver declares.

    Raises:
        InvalidArgument: it declares none.
    """
    module = type(connection).__module__
    while module:
        style = getattr(sys.modules.get(module), "paramstyle", None)
        if style in PARAMSTYLES:
            return str(style)
        module = module.rpartition(".")[0]
    raise InvalidArgument(
        f"the driver of {type(connection).__module__} does not say how parameters are marked: pass "
        f"paramstyle='...', one of {', '.join(PARAMSTYLES)}"
    )


def bound(query: str, values: dict[str, Any], style: str) -> tuple[str, Any]:
    """The query with the driver's placeholders, and the values in their order or by name.

    >>> bound("a IN (:symbols) AND b > :start", {"symbols": ["X", "Y"], "start": 3}, "qmark")
    ('a IN (?, ?) AND b > ?', ['X', 'Y', 3])
    """
    in_order: list[Any] = []
    by_name: dict[str, Any] = {}

    def placeholder(name: str, value: Any) -> str:
        in_order.append(value)
        by_name[name] = value
        marks = {"named": f":{name}", "pyformat": f"%({name})s", "numeric": f":{len(in_order)}"}
        return marks.get(style, "?" if style == "qmark" else "%s")

    def replaced(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return _escaped(match[0], style)
        if name != "symbols":
            return placeholder(name, values[name])
        marks = [placeholder(f"symbol_{n}", s) for n, s in enumerate(values["symbols"])]
        return ", ".join(marks) or "NULL"

    parts, end = [], 0
    for match in _PIECES.finditer(query):
        parts += [_escaped(query[end : match.start()], style), replaced(match)]
        end = match.end()
    text = "".join([*parts, _escaped(query[end:], style)])
    return text, by_name if style in ("named", "pyformat") else in_order


def _escaped(text: str, style: str) -> str:
    return text.replace("%", "%%") if style in ("format", "pyformat") else text


def _from_connection(connection: Any, query: str, parameters: Any) -> pl.DataFrame:
    if type(connection).__module__.partition(".")[0] in ("duckdb", "_duckdb"):
        # By Arrow: with the exact types, also of no rows.
        relation = connection.sql(query, params=parameters)
        return pl.DataFrame() if relation is None else pl.DataFrame(relation.to_arrow_table())
    cursor = connection.cursor()
    try:
        cursor.execute(query, parameters)
        names = [column[0] for column in cursor.description or ()]
        rows = [tuple(row) for row in cursor.fetchall()]
        return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)
    finally:
        cursor.close()


def _from_engine(engine: Any, query: str, values: dict[str, Any]) -> pl.DataFrame:
    import sqlalchemy

    used = {m["name"] for m in _PIECES.finditer(query) if m["name"]}
    # An expanding parameter brings its own parentheses.
    text = sqlalchemy.text(re.sub(r"\(\s*:symbols\s*\)", ":symbols", query))
    if "symbols" in used:
        text = text.bindparams(sqlalchemy.bindparam("symbols", expanding=True))
    with engine.connect() as connection:
        result = connection.execute(text, {name: values[name] for name in used})
        names, rows = list(result.keys()), [tuple(row) for row in result.fetchall()]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


def _with_read_times(frame: pl.DataFrame) -> pl.DataFrame:
    """Times that came as text, read."""
    if bar_columns(frame) is not None:
        return frame
    for wanted in TIME_NAMES:
        for name, dtype in frame.schema.items():
            if name.lower() == wanted and dtype == pl.String:
                form = detect_format(frame[name], f"the query's column {name!r}")
                return frame.with_columns(form.read(pl.col(name)))
    return frame
