"""The SQLAlchemy engine over a cache's catalog.

Promises
- One copy of SQLite touches the database: the interpreter's, when the core uses that one as well,
  else the core's, through :mod:`barcache.sqlite_dbapi`.
- A commit through the engine is announced to the core, so that no reader goes on serving what the
  commit changed. A connection never moves the write-ahead log into the database by itself.
- Before a fork every connection is closed; both processes open new ones on first use. A session
  that was open across a fork fails at its next statement, it never loses another's rows silently.

Thread safety: engines may be shared by threads, connections may not (as with SQLAlchemy).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from barcache.errors import BarcacheError
from barcache.events import log_event
from barcache.sqlite_copies import same_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import sqlalchemy

BUSY_TIMEOUT_S = 30.0
CACHED_STATEMENTS = 128
INSTALL_SQLALCHEMY = 'pip install "barcache[sqlalchemy]"'

READING = frozenset({"SELECT", "PRAGMA", "BEGIN", "SAVEPOINT", "ROLLBACK", "EXPLAIN", "VALUES"})
_CHANGING = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})
_FIRST_WORD = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*([A-Za-z]*)", re.DOTALL)
COMMITTING = frozenset({"COMMIT", "END", "RELEASE"})


class CatalogCore(Protocol):
    """What the engine needs of the native catalog that it stands beside."""

    @property
    def connection_target(self) -> str:
        """A path, or for ``:memory:`` a URI ``file:/...?vfs=memdb``."""

    @property
    def same_sqlite(self) -> bool:
        """Whether the core and the interpreter's :mod:`sqlite3` are one copy of SQLite."""

    @property
    def read_only(self) -> bool:
        """Whether nothing may be written."""

    @property
    def closed(self) -> bool:
        """Whether the core answers no more."""

    def flush(self) -> None:
        """Write what hits have left pending: uses and links."""

    def begin_engine_commit(self) -> None:
        """Tell readers that a commit is under way."""

    def end_engine_commit(self) -> None:
        """Tell readers that it is over."""


def require_sqlalchemy() -> Any:
    """The module ``sqlalchemy``, or an ImportError that says how to install it."""
    try:
        import sqlalchemy
    except ImportError as error:
        raise ImportError(
            "the catalog's tables and engine need SQLAlchemy, which is not installed; "
            f"install it with: {INSTALL_SQLALCHEMY}",
            name="sqlalchemy",
        ) from error
    return sqlalchemy


def first_word(sql: str) -> str:
    """The first keyword of a statement, in capitals; comments before it are skipped.

    >>> first_word("  /* daily */ insert into t values (1)")
    'INSERT'
    """
    match = _FIRST_WORD.match(sql)
    return match[1].upper() if match else ""


class _AnnouncedCursor(sqlite3.Cursor):
    """A cursor whose statements tell the core when they commit."""

    def execute(self, sql: str, parameters: Any = (), /) -> _AnnouncedCursor:
        with self._announced(sql):
            super().execute(sql, parameters)
        return self

    def executemany(self, sql: str, parameters: Any, /) -> _AnnouncedCursor:
        with self._announced(sql):
            super().executemany(sql, parameters)
        return self

    def executescript(self, sql_script: str, /) -> _AnnouncedCursor:
        try:
            super().executescript(sql_script)
        finally:
            self._owner().announce_done()
        return self

    def _owner(self) -> _AnnouncedConnection:
        assert isinstance(self.connection, _AnnouncedConnection)
        return self.connection

    @contextlib.contextmanager
    def _announced(self, sql: str) -> Iterator[None]:
        owner = self._owner()
        word = first_word(sql)
        if word in COMMITTING:
            with owner.announced():
                yield
            return
        # A statement outside a transaction commits when it ends. It may wait for the write lock
        # before, so it is announced afterwards: a bracket around the wait could block the very
        # writer that is waited for.
        commits_itself = (
            not owner.in_transaction
            and word not in READING
            and (owner.isolation_level is None or word not in _CHANGING)
        )
        try:
            yield
        finally:
            if commits_itself:
                owner.announce_done()


class _AnnouncedConnection(sqlite3.Connection):
    """A connection of the interpreter's sqlite3 whose commits are announced to the core."""

    core: CatalogCore | None = None

    def cursor(self, factory: Any = _AnnouncedCursor) -> Any:
        return super().cursor(factory)

    def commit(self) -> None:
        with self.announced():
            super().commit()

    def __exit__(self, *exc_info: Any) -> Any:
        with self.announced():
            return super().__exit__(*exc_info)

    @contextlib.contextmanager
    def announced(self) -> Iterator[None]:
        """Bracket a commit that holds SQLite's write lock already, and so never waits for it."""
        if self.core is None or not self.in_transaction:
            yield
            return
        self.core.begin_engine_commit()
        try:
            yield
        finally:
            self.core.end_engine_commit()

    def announce_done(self) -> None:
        """Tell readers that a statement committed by itself."""
        if self.core is not None:
            self.core.begin_engine_commit()
            self.core.end_engine_commit()


class CatalogEngine:
    """Owner of one SQLAlchemy engine and of the connections that it opened.

    ``target`` is what SQLite opens (path or memdb URI), ``shown_path`` what ``engine.url`` shows.
    ``core`` is None for a catalog used without a cache. ``own_driver`` forces (True) or forbids
    (False) the driver over the core's SQLite; None chooses.
    """

    def __init__(
        self,
        target: str,
        shown_path: str,
        *,
        core: CatalogCore | None = None,
        own_driver: bool | None = None,
    ) -> None:
        sa = require_sqlalchemy()
        self._target = target
        self._core = core
        self._read_only = core is not None and core.read_only
        self._is_uri = target.startswith("file:") and "vfs=memdb" in target
        self._live: weakref.WeakSet[Any] = weakref.WeakSet()
        self._inherited: list[Any] = []
        if own_driver is None:
            own_driver = not (same_sqlite() if core is None else core.same_sqlite)
            if own_driver:
                log_event(
                    logging.WARNING,
                    "sqlite_copies_differ",
                    db_path=shown_path,
                    advice="do not open this file with the sqlite3 module in this process",
                )
        self.engine: sqlalchemy.Engine = sa.create_engine(
            sa.URL.create("sqlite", database=shown_path),
            module=_own_dbapi() if own_driver else sqlite3,
            creator=self._connect_own if own_driver else self._connect_stdlib,
            poolclass=sa.pool.QueuePool,
        )
        sa.event.listen(self.engine, "begin", self._show_pending)
        _watch_forks()
        _engines.add(self)

    def close(self) -> None:
        """Close the idle connections. The engine opens new ones if it is used again."""
        self.engine.dispose()

    def _show_pending(self, _connection: Any) -> None:
        """Make links and uses of the latest hits visible to the transaction that begins."""
        core = self._core
        if core is None or self._read_only or core.closed:
            return
        # While a connection of ours writes, the core would wait for it: they then appear later.
        if any(_writes(connection) for connection in list(self._live)):
            return
        try:
            core.flush()
        except BarcacheError as error:  # A query must not fail for what it did not ask.
            log_event(logging.WARNING, "pending_uses_not_written", reason=str(error))

    def _connect_stdlib(self) -> sqlite3.Connection:
        with _fork_gate:
            connection = sqlite3.connect(
                self._target,
                timeout=BUSY_TIMEOUT_S,
                check_same_thread=False,
                uri=self._is_uri,
                cached_statements=CACHED_STATEMENTS,
                factory=_AnnouncedConnection,
            )
            assert isinstance(connection, _AnnouncedConnection)
            connection.core = self._core
            self._prepare(connection)
            return connection

    def _connect_own(self) -> Any:
        with _fork_gate:
            connection = _own_dbapi().connect(
                self._target,
                timeout=BUSY_TIMEOUT_S,
                uri=self._is_uri,
                cached_statements=CACHED_STATEMENTS,
                core=self._core,
            )
            self._prepare(connection)
            return connection

    def _prepare(self, connection: Any) -> None:
        self._live.add(connection)
        cursor = connection.cursor()
        cursor.execute("PRAGMA wal_autocheckpoint=0")
        cursor.execute("PRAGMA trusted_schema=OFF")  # The file may come from anywhere.
        if self._read_only:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    def close_for_fork(self) -> None:
        """Close every connection, also those in use: none may be open in both processes."""
        if self._is_uri:
            return  # A database in memory has no locks that a child could break.
        self.engine.dispose()
        for connection in list(self._live):
            with contextlib.suppress(Exception):
                connection.close()

    def restart_in_child(self) -> None:
        """Give the child a pool of its own: the parent's may have been locked by a thread."""
        if self._is_uri:
            # Its connections came over open, and may be locked too: never touched, not even freed.
            self._inherited.append((self.engine.pool, list(self._live)))
        self.engine.dispose(close=False)


def _writes(connection: Any) -> bool:
    try:
        return bool(connection.in_transaction)
    except sqlite3.Error:
        return False  # It is closed.


def open_stand_alone(db_path: Path) -> tuple[str, Any]:
    """What SQLite opens for a catalog without a cache, and a guard that keeps it alive.

    Missing directories are made with mode 0700, a missing file with mode 0600.
    """
    if str(db_path) == ":memory:":
        target = f"file:/barcache-{os.urandom(8).hex()}?vfs=memdb"
        if same_sqlite():
            return target, sqlite3.connect(target, uri=True, check_same_thread=False)
        return target, _own_dbapi().connect(target, uri=True)
    path = db_path.absolute()
    make_private_directory(path.parent)
    with contextlib.suppress(FileExistsError):
        # The file is new: closing it cannot release a lock that SQLite holds on it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    return str(path), None


def make_private_directory(path: Path) -> None:
    """Make ``path`` and its missing parents, each with mode 0700."""
    if not path.is_dir():
        make_private_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)


def _own_dbapi() -> Any:
    from barcache import sqlite_dbapi

    return sqlite_dbapi


# Held from before a fork until after it, so that no connection is opened in between.
_fork_gate = threading.RLock()
_engines: weakref.WeakSet[CatalogEngine] = weakref.WeakSet()
_watching = False


def _for_each_engine(action: Callable[[CatalogEngine], None]) -> None:
    for engine in list(_engines):
        action(engine)


def _before_fork() -> None:
    _fork_gate.acquire()
    _for_each_engine(CatalogEngine.close_for_fork)


def _after_fork_in_parent() -> None:
    _fork_gate.release()


def _after_fork_in_child() -> None:
    _for_each_engine(CatalogEngine.restart_in_child)
    _fork_gate.release()


def _watch_forks() -> None:
    """Register the fork handlers, once.

    This happens at the first engine, which is late: what registers last is called first before a
    fork, so that the engine's connections close while the core still answers their commits.
    """
    global _watching
    with _fork_gate:
        if not _watching:
            os.register_at_fork(
                before=_before_fork,
                after_in_parent=_after_fork_in_parent,
                after_in_child=_after_fork_in_child,
            )
            _watching = True
