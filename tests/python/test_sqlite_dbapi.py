"""One suite over both drivers: the interpreter's sqlite3 and the core's copy as a DB-API."""

import ctypes
import re
import shutil
import sqlite3
import sys
import threading
import types
from _ctypes import dlclose
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from barcache import sqlite_dbapi
from barcache.catalog_engine import CatalogEngine, first_word
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

DRIVERS = {"stdlib": False, "own": True}


class FakeCore:
    """Counts the announcements of commits."""

    same_sqlite = True
    read_only = False
    closed = False

    def flush(self):
        pass

    def __init__(self, target):
        self.connection_target = target
        self.begun = 0
        self.ended = 0
        self._open = threading.local()

    def begin_engine_commit(self):
        assert not getattr(self._open, "bracket", False), "a bracket inside a bracket"
        self._open.bracket = True
        self.begun += 1

    def end_engine_commit(self):
        self._open.bracket = False
        self.ended += 1


@pytest.fixture(params=DRIVERS)
def owner(request, tmp_path):
    core = FakeCore(str(tmp_path / "test.db"))
    owner = CatalogEngine(
        core.connection_target, "test.db", core=core, own_driver=DRIVERS[request.param]
    )
    yield owner
    owner.close()


@pytest.fixture
def engine(owner):
    return owner.engine


class Base(DeclarativeBase):
    pass


class Parent(Base):
    __tablename__ = "parent"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.Text, unique=True)
    born: Mapped[datetime | None]
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(10, 2))
    extra: Mapped[dict | None] = mapped_column(sa.JSON)
    flag: Mapped[bool] = mapped_column(default=False)
    blob: Mapped[bytes | None]
    children: Mapped[list["Child"]] = relationship(cascade="all, delete-orphan")


class Child(Base):
    __tablename__ = "child"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(sa.ForeignKey("parent.id"), index=True)


@pytest.mark.filterwarnings("ignore:Dialect sqlite.*Decimal")
def test_orm_session_round_trips_every_common_type(engine):
    Base.metadata.create_all(engine)
    born = datetime(2024, 2, 29, 12, 30, 1, 999)
    with Session(engine) as session:
        session.add_all(
            Parent(
                name=f"n{i}",
                born=born,
                price=Decimal("12.34"),
                extra={"a": [1, None, "é"]},
                flag=True,
                blob=b"\x00\xff",
                children=[Child(), Child()],
            )
            for i in range(50)
        )
        session.commit()
    with Session(engine) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Child)) == 100
        found = session.scalars(sa.select(Parent).where(Parent.name == "n7")).one()
        assert (found.born, found.price, found.extra, found.flag, found.blob) == (
            born,
            Decimal("12.34"),
            {"a": [1, None, "é"]},
            True,
            b"\x00\xff",
        )
        session.delete(found)
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(Child)) == 98
    Base.metadata.drop_all(engine)
    assert sa.inspect(engine).get_table_names() == []


def test_integrity_error_is_mapped(engine):
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Parent(name="same"), Parent(name="same")])
        with pytest.raises(sa.exc.IntegrityError) as caught:
            session.commit()
    assert isinstance(caught.value.orig, sqlite3.IntegrityError)
    assert caught.value.orig.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"
    assert "UNIQUE constraint failed: parent.name" in str(caught.value)


def test_update_rowcount_upsert_returning_and_savepoint(engine):
    Base.metadata.create_all(engine)
    table = Parent.__table__
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"name": f"n{i}", "flag": False} for i in range(5)])
        assert connection.execute(table.update().values(flag=True)).rowcount == 5
        assert connection.execute(table.delete().where(table.c.name == "absent")).rowcount == 0
        upsert = sqlite_insert(table).values(name="n1", flag=False)
        upsert = upsert.on_conflict_do_update(index_elements=["name"], set_={"price": 1})
        connection.execute(upsert)
        rows = connection.execute(
            table.insert().values(name="new", flag=True).returning(table.c.id, table.c.name)
        ).all()
        assert rows == [(6, "new")]
        inner = connection.begin_nested()
        connection.execute(table.insert().values(name="undone", flag=True))
        inner.rollback()
    with engine.connect() as connection:
        names = connection.scalars(sa.select(table.c.name).order_by(table.c.id)).all()
        assert names == ["n0", "n1", "n2", "n3", "n4", "new"]
        assert connection.scalar(sa.select(table.c.price).where(table.c.name == "n1")) == 1


def test_rollback_undoes(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
    with engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        connection.rollback()
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0


def test_autocommit_option(engine):
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        connection.exec_driver_sql("VACUUM")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT a FROM t").scalar() == 1


def test_regular_expression_function(engine):
    with engine.connect() as connection:
        query = sa.select(sa.literal("abc").regexp_match("^a.c$"))
        assert connection.scalar(query) == 1


def test_reflection_is_the_same_with_both_drivers(tmp_path):
    seen = []
    for name, own in DRIVERS.items():
        owner = CatalogEngine(str(tmp_path / name), name, own_driver=own)
        Base.metadata.create_all(owner.engine)
        inspector = sa.inspect(owner.engine)
        seen.append(
            {
                table: (
                    [(c["name"], str(c["type"]), c["nullable"]) for c in columns],
                    inspector.get_pk_constraint(table),
                    inspector.get_foreign_keys(table),
                    inspector.get_indexes(table),
                    inspector.get_unique_constraints(table),
                )
                for table in inspector.get_table_names()
                for columns in [inspector.get_columns(table)]
            }
        )
        owner.close()
    assert seen[0] == seen[1]
    assert set(seen[0]) == {"parent", "child"}


def test_four_threads_write(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("CREATE TABLE t (thread INTEGER, i INTEGER)")
    errors = []

    def write(thread):
        try:
            for i in range(25):
                with engine.begin() as connection:
                    connection.exec_driver_sql("INSERT INTO t VALUES (?, ?)", (thread, i))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 100


def test_every_commit_is_announced(owner):
    core, engine = owner._core, owner.engine

    def announced(action):
        before = core.begun
        action()
        assert core.begun == core.ended
        return core.begun - before

    def in_transaction():
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")

    def by_itself():
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (2)")

    def raw(*statements):
        connection = engine.raw_connection()
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        connection.close()

    def script():
        connection = engine.raw_connection()
        connection.cursor().executescript("INSERT INTO t VALUES (3); INSERT INTO t VALUES (4)")
        connection.close()

    def only_reading():
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT * FROM t").all()
            connection.commit()

    assert announced(lambda: raw("CREATE TABLE t (a)")) == 1
    assert announced(in_transaction) == 1
    assert announced(by_itself) == 1
    assert announced(lambda: raw("BEGIN IMMEDIATE", "INSERT INTO t VALUES (5)", "COMMIT")) == 1
    assert announced(lambda: raw("/* x */ INSERT INTO t VALUES (6)")) == 0  # Undone on close.
    assert announced(script) >= 1
    assert announced(only_reading) == 0
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT a FROM t ORDER BY a").scalars().all() == [
            1,
            2,
            3,
            4,
            5,
        ]


def test_connections_neither_checkpoint_nor_trust_the_schema(engine):
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar() == 0
        assert connection.exec_driver_sql("PRAGMA trusted_schema").scalar() == 0


def test_memory_database_is_shared_by_the_pool():
    for own in DRIVERS.values():
        guard = sqlite_dbapi.connect("file:/shared-test?vfs=memdb")
        owner = CatalogEngine("file:/shared-test?vfs=memdb", ":memory:", own_driver=own)
        with owner.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE t (a)")
            connection.exec_driver_sql("INSERT INTO t VALUES (42)")
        with owner.engine.connect() as one, owner.engine.connect() as two:
            assert one.exec_driver_sql("SELECT a FROM t").scalar() == 42
            assert two.exec_driver_sql("SELECT a FROM t").scalar() == 42
        assert guard.execute("SELECT a FROM t").fetchall() == [(42,)]
        owner.close()
        guard.close()


# --- the DB-API by itself ------------------------------------------------------------------


@pytest.fixture(params=["stdlib", "own"])
def connection(request, tmp_path):
    module = {"stdlib": sqlite3, "own": sqlite_dbapi}[request.param]
    connection = module.connect(str(tmp_path / "raw.db"))
    yield connection
    connection.close()


def test_values_round_trip(connection):
    values = (None, 0, -(2**63), 2**63 - 1, 1.5, float("inf"), "", "é\0x", b"", b"\0\xff", True)
    marks = ", ".join("?" * len(values))
    row = connection.execute(f"SELECT {marks}", values).fetchone()
    assert row == values
    assert [type(v) for v in row] == [type(v) for v in (*values[:-1], 1)]


def test_bad_arguments(connection):
    with pytest.raises(OverflowError):
        connection.execute("SELECT ?", (2**63,))
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT ?", ())
    with pytest.raises((sqlite3.ProgrammingError, sqlite3.InterfaceError)):
        connection.execute("SELECT ?", (object(),))
    with pytest.raises(UnicodeEncodeError):
        connection.execute("SELECT ?", ("\ud800",))
    with pytest.raises((sqlite3.ProgrammingError, sqlite3.Warning)):
        connection.execute("SELECT 1; SELECT 2")
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        connection.execute("SELEC")
    assert connection.execute("SELECT 1 -- a comment").fetchall() == [(1,)]


def test_named_parameters(connection):
    assert connection.execute("SELECT :a, :b", {"a": 1, "b": "x"}).fetchone() == (1, "x")
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT :a, :b", {"a": 1})


def test_cursor_attributes_and_fetches(connection):
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
    cursor.executemany("INSERT INTO t (b) VALUES (?)", [(i,) for i in range(10)])
    assert cursor.rowcount == 10
    cursor.execute("INSERT INTO t (b) VALUES (99)")
    assert cursor.lastrowid == 11
    cursor.execute("SELECT a, b AS named FROM t ORDER BY a")
    assert [column[0] for column in cursor.description] == ["a", "named"]
    assert cursor.rowcount == -1
    assert cursor.fetchone() == (1, 0)
    assert cursor.fetchmany(2) == [(2, 1), (3, 2)]
    assert next(cursor) == (4, 3)
    assert len(cursor.fetchall()) == 7
    assert cursor.fetchone() is None
    cursor.execute("SELECT a FROM t WHERE 0")
    assert [column[0] for column in cursor.description] == ["a"]
    assert cursor.fetchall() == []
    cursor.close()
    with pytest.raises(sqlite3.ProgrammingError):
        cursor.execute("SELECT 1")


def test_implicit_transaction_and_isolation_level(connection):
    connection.execute("CREATE TABLE t (a)")
    assert not connection.in_transaction
    connection.execute("INSERT INTO t VALUES (1)")
    assert connection.in_transaction
    connection.rollback()
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    connection.isolation_level = None
    connection.execute("INSERT INTO t VALUES (1)")
    assert not connection.in_transaction
    connection.isolation_level = "IMMEDIATE"
    with connection:
        connection.execute("INSERT INTO t VALUES (2)")
    with pytest.raises(sqlite3.OperationalError), connection:
        connection.executemany("INSERT INTO t VALUES (?, nonsense(?))", [(3, 4)])
    assert connection.execute("SELECT a FROM t").fetchall() == [(1,), (2,)]


def test_a_function_in_python(connection):
    connection.create_function("twice", 1, lambda value: value * 2, deterministic=True)
    connection.create_function("fails", 0, lambda: 1 / 0)
    assert connection.execute("SELECT twice(?), twice('ab')", (4,)).fetchone() == (8, "abab")
    with pytest.raises(sqlite3.OperationalError, match="user-defined function raised exception"):
        connection.execute("SELECT fails()").fetchall()


def test_closed_connection_is_an_error_not_a_crash(connection):
    cursor = connection.execute("SELECT 1 UNION SELECT 2")
    connection.close()
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        cursor.fetchall()
    with pytest.raises(sqlite3.ProgrammingError, match=r"Cannot operate on a closed database\."):
        connection.execute("SELECT 1")


def test_busy_database_times_out_with_its_name(tmp_path):
    path = str(tmp_path / "busy.db")
    holder = sqlite_dbapi.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (a)")
    holder.execute("BEGIN EXCLUSIVE")
    waiting = sqlite_dbapi.connect(path, timeout=0.05)
    with pytest.raises(sqlite3.OperationalError, match="database is locked") as caught:
        waiting.execute("INSERT INTO t VALUES (1)")
    assert caught.value.sqlite_errorname == "SQLITE_BUSY"


def test_statements_are_kept_and_bounded(tmp_path):
    connection = sqlite_dbapi.connect(str(tmp_path / "kept.db"), cached_statements=3)
    for number in range(10):
        assert connection.execute(f"SELECT {number}").fetchall() == [(number,)]
    assert list(connection._idle) == ["SELECT 7", "SELECT 8", "SELECT 9"]
    kept = connection._idle["SELECT 9"]
    connection.execute("SELECT 9").fetchall()
    assert connection._idle["SELECT 9"] is kept


def test_select_star_sees_a_changed_table(tmp_path):
    connection = sqlite_dbapi.connect(str(tmp_path / "changed.db"))
    connection.execute("CREATE TABLE t (a)")
    connection.execute("INSERT INTO t VALUES (1)")
    assert connection.execute("SELECT * FROM t").fetchall() == [(1,)]
    connection.commit()
    connection.execute("ALTER TABLE t ADD COLUMN b")
    cursor = connection.execute("SELECT * FROM t")
    assert cursor.fetchall() == [(1, None)]
    assert [column[0] for column in cursor.description] == ["a", "b"]


def test_threads_that_misuse_one_connection_do_not_crash(tmp_path):
    connection = sqlite_dbapi.connect(str(tmp_path / "misused.db"), isolation_level=None)
    connection.create_function("slow", 1, lambda value: value)
    connection.execute("CREATE TABLE t (a)")
    connection.executemany("INSERT INTO t VALUES (?)", [(f"text {i}",) for i in range(40)])
    cursor = connection.cursor()
    wrong = []

    def work():
        for _ in range(10):
            try:
                cursor.execute("SELECT slow(a) FROM t")
                rows = cursor.fetchall()
            except sqlite3.Error:
                continue
            wrong.extend(row for row in rows if not re.fullmatch(r"text \d+", row[0]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_first_word():
    assert first_word("  insert into t") == "INSERT"
    assert first_word("-- why\n/* because */ Select 1") == "SELECT"
    assert first_word("COMMIT;") == "COMMIT"
    assert first_word("") == ""
    assert first_word("-- only a comment") == ""


def test_one_copy_of_sqlite_in_the_process():
    copies = sqlite_dbapi.sqlite_copies()
    mapped = {
        line.split()[-1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "libsqlite3" in line
    }
    assert len(mapped) <= 1
    if sqlite_dbapi.same_sqlite():
        assert len(mapped) == 1
        assert mapped <= set(copies)
    else:
        assert len(copies) >= 2


def test_the_engine_runs_on_the_cores_copy_where_the_interpreters_is_another(tmp_path, caplog):
    core = FakeCore(str(tmp_path / "test.db"))
    assert CatalogEngine(core.connection_target, "t", core=core).engine.dialect.dbapi is sqlite3
    assert caplog.records == []
    core.same_sqlite = False
    owner = CatalogEngine(core.connection_target, "t", core=core)
    assert owner.engine.dialect.dbapi is sqlite_dbapi
    with owner.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert isinstance(raw, sqlite_dbapi.Connection)
    assert [record.event for record in caplog.records] == ["sqlite_copies_differ"]


def test_another_copy_of_the_interpreter_is_noticed(tmp_path, monkeypatch):
    library = next(iter(p for p in sqlite_dbapi.sqlite_copies() if "libsqlite3" in p), None)
    if library is None or not sqlite_dbapi.same_sqlite():
        pytest.skip("this interpreter carries SQLite inside itself")
    shutil.copy(library, tmp_path / "other.so")
    stand_in = types.SimpleNamespace(__file__=str(tmp_path / "other.so"))
    monkeypatch.setitem(sys.modules, "_sqlite3", stand_in)
    assert not sqlite_dbapi.same_sqlite()
    handle = ctypes.CDLL(stand_in.__file__)._handle
    dlclose(handle)
    dlclose(handle)  # The one that same_sqlite opened.


def test_a_second_copy_is_found(tmp_path):
    """The test of the test: a mapped file with SQLite's marks in it is listed."""
    library = next(iter(p for p in sqlite_dbapi.sqlite_copies() if "libsqlite3" in p), None)
    if library is None:
        pytest.skip("this interpreter carries SQLite inside itself")
    second = tmp_path / "second.so"
    shutil.copy(library, second)
    handle = ctypes.CDLL(str(second))
    assert str(second) in sqlite_dbapi.sqlite_copies()
    # Mapped for good, unless taken out: later tests count the copies.
    dlclose(handle._handle)
    assert str(second) not in sqlite_dbapi.sqlite_copies()
