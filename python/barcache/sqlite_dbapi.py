"""The core's copy of SQLite as a DB-API module (PEP 249), for SQLAlchemy.

Two copies of SQLite in one process must never open one database: each would drop the other's
file locks. Where the interpreter's :mod:`sqlite3` is not the copy that the core uses,
``metadata_catalog.engine`` runs on this module instead.

It behaves as :mod:`sqlite3` does with its defaults, and raises the same exception classes. Not
provided: adapters and converters, ``row_factory``, ``text_factory``, ``backup``, ``iterdump``.

Thread safety: level 1 of PEP 249, as threads may share the module but not a connection. Misuse
fails or waits, it never corrupts memory.
"""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
import time
from collections import OrderedDict
from sqlite3 import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,  # noqa: A004
)
from typing import TYPE_CHECKING, Any

from barcache import _core
from barcache.catalog_engine import COMMITTING, READING, first_word
from barcache.sqlite_copies import same_sqlite, sqlite_copies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from barcache.catalog_engine import CatalogCore

__all__ = [
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "same_sqlite",
    "sqlite_copies",
    "sqlite_version",
    "sqlite_version_info",
    "threadsafety",
]

apilevel = "2.0"
paramstyle = "qmark"
threadsafety = 1
sqlite_version = _core.sqlite_version()
sqlite_version_info = tuple(int(part) for part in sqlite_version.split("."))

Binary = memoryview
Date, Time, Timestamp = datetime.date, datetime.time, datetime.datetime
STRING, BINARY, NUMBER, DATETIME, ROWID = str, memoryview, float, datetime.datetime, int
PARSE_DECLTYPES, PARSE_COLNAMES = 1, 2

_CHANGING = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"})
_KINDS: dict[int, type[Exception]] = {
    2: InternalError,
    7: MemoryError,
    11: DatabaseError,
    12: InternalError,
    18: DataError,
    19: IntegrityError,
    20: IntegrityError,
    21: ProgrammingError,
    25: InterfaceError,
    26: DatabaseError,
}


def DateFromTicks(ticks: float) -> datetime.date:  # noqa: N802
    """The local date of a Unix time."""
    return Date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> datetime.time:  # noqa: N802
    """The local time of day of a Unix time."""
    return Time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime.datetime:  # noqa: N802
    """The local date and time of a Unix time."""
    return Timestamp(*time.localtime(ticks)[:6])


def connect(
    database: str,
    timeout: float = 5.0,
    isolation_level: str | None = "",
    cached_statements: int = 128,
    *,
    core: CatalogCore | None = None,
    **ignored: Any,
) -> Connection:
    """Open a database: a path, or a ``file:`` URI.

    ``core`` is told of every commit. Other options of :func:`sqlite3.connect` are accepted and
    have no effect.

    >>> connection = connect("file:/example?vfs=memdb")
    >>> connection.execute("SELECT 1 + 1").fetchone()
    (2,)
    """
    del ignored
    return Connection(str(database), timeout, isolation_level, cached_statements, core)


class Connection:
    """A connection, with the transaction control of the interpreter's sqlite3.

    A statement that changes rows opens a transaction first (``BEGIN`` + ``isolation_level``),
    unless ``isolation_level`` is None.
    """

    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    def __init__(
        self,
        database: str,
        timeout: float,
        isolation_level: str | None,
        cached_statements: int,
        core: CatalogCore | None,
    ) -> None:
        self.isolation_level = isolation_level
        self._core = core
        self._cached_statements = cached_statements
        self._idle: OrderedDict[str, _core.SqliteStatement] = OrderedDict()
        with _errors():
            self._native = _core.SqliteConnection(database, int(timeout * 1000))

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        with _errors():
            return self._native.in_transaction

    @property
    def total_changes(self) -> int:
        """Rows changed since the connection was opened."""
        with _errors():
            return self._native.total_changes

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self)

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        """Run a statement with a new cursor, and return the cursor."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Cursor:
        """Run a statement once for each set of parameters, with a new cursor."""
        return self.cursor().executemany(sql, parameters)

    def executescript(self, sql_script: str) -> Cursor:
        """Run several statements, with a new cursor."""
        return self.cursor().executescript(sql_script)

    def commit(self) -> None:
        """End the transaction, if there is one, and keep what it did."""
        if self.in_transaction:
            self._run("COMMIT")

    def rollback(self) -> None:
        """End the transaction, if there is one, and undo what it did."""
        if self.in_transaction:
            self._run("ROLLBACK")

    def close(self) -> None:
        """Close; an open transaction is undone. Closing twice is allowed."""
        self._idle.clear()
        self._native.close()

    def create_function(
        self,
        name: str,
        narg: int,
        func: Callable[..., Any] | None,
        *,
        deterministic: bool = False,
    ) -> None:
        """Make ``func`` callable from SQL (None removes it); ``narg`` -1 allows any number."""
        with _errors():
            self._native.create_function(name, narg, func, deterministic)

    def interrupt(self) -> None:
        """Make the statement that runs in another thread fail."""
        with _errors():
            self._native.interrupt()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def _run(self, sql: str) -> None:
        cursor = self.cursor()
        cursor.execute(sql)
        cursor.close()

    def _begin(self) -> None:
        self._run(f"BEGIN {self.isolation_level}")

    @contextlib.contextmanager
    def _announced(self) -> Iterator[None]:
        """Bracket a commit that holds the write lock already, and so never waits for it."""
        if self._core is None or not self.in_transaction:
            yield
            return
        self._core.begin_engine_commit()
        try:
            yield
        finally:
            self._core.end_engine_commit()

    def _announce_done(self) -> None:
        if self._core is not None:
            self._core.begin_engine_commit()
            self._core.end_engine_commit()

    def _borrow(self, sql: str) -> _core.SqliteStatement | None:
        """A prepared statement, from the cache if it has one; None for a mere comment."""
        statement = self._idle.pop(sql, None)
        if statement is None:
            if "\0" in sql:
                raise ProgrammingError("the query contains a null character")
            with _errors():
                statement = self._native.prepare(sql)
        return statement

    def _give_back(self, sql: str, statement: _core.SqliteStatement) -> None:
        statement.reset()
        self._idle[sql] = statement
        while len(self._idle) > self._cached_statements:
            self._idle.popitem(last=False)


class Cursor:
    """A cursor: runs statements and fetches their rows as tuples."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        self.description: tuple[tuple[str, None, None, None, None, None, None], ...] | None = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self._sql = ""
        self._statement: _core.SqliteStatement | None = None
        self._rows: list[tuple[Any, ...]] = []  # Fetched already, to be handed out first.
        self._closed = False

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        """Run one statement."""
        self._start()
        statement = self.connection._borrow(sql)
        if statement is None:
            return self
        self._sql, self._statement = sql, statement
        word = first_word(sql)
        try:
            with _errors():
                statement.bind(_sequence(parameters))
            changing = self._begin_if_changing(word, statement)
            with self._committing(word, statement):
                self._first_step(statement, changing)
        except BaseException:
            self._finish()
            raise
        return self

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Cursor:
        """Run one statement that returns no rows, once for each set of parameters."""
        self._start()
        statement = self.connection._borrow(sql)
        if statement is None:
            return self
        self._sql, self._statement = sql, statement
        word = first_word(sql)
        try:
            if word not in _CHANGING:
                raise ProgrammingError("executemany() can only execute DML statements.")
            self._begin_if_changing(word, statement)
            changed = 0
            with _errors(), self._committing(word, statement):
                for values in parameters:
                    statement.bind(_sequence(values))
                    if statement.fetch(-1):
                        raise ProgrammingError("executemany() cannot be used with RETURNING.")
                    changed += self.connection._native.changes
            self.rowcount = changed
        finally:
            self._finish()
        return self

    def executescript(self, sql_script: str) -> Cursor:
        """Commit, then run several statements separated by semicolons."""
        self._start()
        self.connection.commit()
        try:
            with _errors():
                self.connection._native.execute_script(sql_script)
        finally:
            self.connection._announce_done()
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        rows = self.fetchmany(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next ``size`` rows (default: ``arraysize``), or as many as are left."""
        self._check_open()
        wanted = self.arraysize if size is None else size
        rows = self._rows[:wanted]
        del self._rows[:wanted]
        if len(rows) < wanted and self._statement is not None:
            rows += self._fetch(wanted - len(rows))
        return rows

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        self._check_open()
        rows, self._rows = self._rows, []
        if self._statement is not None:
            rows += self._fetch(-1)
        return rows

    def __iter__(self) -> Cursor:
        return self

    def __next__(self) -> tuple[Any, ...]:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def close(self) -> None:
        """Free the statement; the cursor cannot be used afterwards."""
        self._finish()
        self._rows = []
        self._closed = True

    def setinputsizes(self, sizes: Any, /) -> None:
        """Has no effect (PEP 249)."""

    def setoutputsize(self, size: int, column: int | None = None, /) -> None:
        """Has no effect (PEP 249)."""

    def _start(self) -> None:
        self._check_open()
        self._finish()
        self._rows = []
        self.description = None
        self.rowcount = -1

    def _check_open(self) -> None:
        if self._closed:
            raise ProgrammingError("Cannot operate on a closed cursor.")

    def _begin_if_changing(self, word: str, statement: _core.SqliteStatement) -> bool:
        with _errors():
            changing = word in _CHANGING and not statement.read_only
        connection = self.connection
        if changing and connection.isolation_level is not None and not connection.in_transaction:
            connection._begin()
        return changing

    @contextlib.contextmanager
    def _committing(self, word: str, statement: _core.SqliteStatement) -> Iterator[None]:
        """Tell the core when this statement commits, by its nature or by itself."""
        connection = self.connection
        if word in COMMITTING:
            with connection._announced():
                yield
            return
        commits_itself = (
            word not in READING and not statement.read_only and not connection.in_transaction
        )
        yield
        if commits_itself:
            connection._announce_done()

    def _first_step(self, statement: _core.SqliteStatement, changing: bool) -> None:
        with _errors():
            if changing:
                # Rows of RETURNING too: a commit fails while a change is still being stepped.
                self._rows = statement.fetch(-1)
                self.rowcount = self.connection._native.changes
                self.lastrowid = self.connection._native.last_insert_rowid
            else:
                row = statement.step()
                self._rows = [] if row is None else [row]
            # Asked only now: the first step prepares the statement again if the schema changed.
            names = statement.columns()
        if names:
            self.description = tuple((n, None, None, None, None, None, None) for n in names)
        if changing or not self._rows:
            self._finish()

    def _fetch(self, limit: int) -> list[tuple[Any, ...]]:
        assert self._statement is not None
        try:
            with _errors():
                rows = self._statement.fetch(limit)
        except BaseException:
            self._finish()
            raise
        if limit < 0 or len(rows) < limit:
            self._finish()
        return rows

    def _finish(self) -> None:
        statement, self._statement = self._statement, None
        if statement is not None:
            self.connection._give_back(self._sql, statement)


def _sequence(parameters: Any) -> Any:
    if isinstance(parameters, (tuple, list, dict)):
        return parameters
    if hasattr(parameters, "__getitem__") and hasattr(parameters, "__len__"):
        return tuple(parameters)
    raise ProgrammingError("parameters are of unsupported type; give a sequence or a dict")


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turn failures of the native layer into the exceptions of PEP 249."""
    try:
        yield
    except _core.SqliteFailure as failure:
        code, message = failure.args
        error = _KINDS.get(code & 0xFF, OperationalError)(message)
        if isinstance(error, Error):
            error.sqlite_errorcode = code
            error.sqlite_errorname = _error_name(code)
        raise error from None
    except TypeError as failure:
        raise ProgrammingError(str(failure)) from None


def _error_name(code: int) -> str:
    """The constant of an extended result code; the number where the interpreter has no name."""
    for name, value in vars(sqlite3).items():
        if value == code and name.startswith(_ERROR_NAMES):
            return name
    return f"SQLITE_ERROR_{code}"


_ERROR_NAMES = (
    "SQLITE_ERROR",
    "SQLITE_INTERNAL",
    "SQLITE_PERM",
    "SQLITE_ABORT",
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_NOMEM",
    "SQLITE_READONLY",
    "SQLITE_INTERRUPT",
    "SQLITE_IOERR",
    "SQLITE_CORRUPT",
    "SQLITE_NOTFOUND",
    "SQLITE_FULL",
    "SQLITE_CANTOPEN",
    "SQLITE_PROTOCOL",
    "SQLITE_SCHEMA",
    "SQLITE_TOOBIG",
    "SQLITE_CONSTRAINT",
    "SQLITE_MISMATCH",
    "SQLITE_MISUSE",
    "SQLITE_AUTH",
    "SQLITE_RANGE",
    "SQLITE_NOTADB",
)
