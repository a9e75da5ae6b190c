"""Queries: values are bound by the driver, and text in the query stays what it is."""

import sqlite3
import subprocess
import sys
from datetime import date, datetime

import polars as pl
import pytest
from barcache import InvalidArgument, InvalidBars, InvalidType
from barcache.sources import DuckDBSource, SQLSource
from barcache.sources.sql_query import bound

VALUES = {"symbols": ["A", "B"], "start": 1, "end": 2, "resolution": "1d"}
EVIL = "x'); DROP TABLE bars; --"


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "bars.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bars (day TEXT, symbol TEXT, close REAL)")
    db.execute("INSERT INTO bars VALUES ('2023-01-03', 'A', 1.5), ('2023-01-04', 'A', 2.5)")
    db.commit()
    db.close()
    return path


def source(path, where="symbol IN (:symbols) AND day BETWEEN :start AND :end", **options):
    query = f"SELECT day AS date, symbol, close FROM bars WHERE {where}"
    options = {"name": "db", "argument_type": "str", **options}
    return SQLSource(lambda: sqlite3.connect(path), query, **options)


@pytest.mark.parametrize(
    ("style", "text", "parameters"),
    [
        ("qmark", "s IN (?, ?) AND t >= ? AND t <= ?", ["A", "B", 1, 2]),
        ("numeric", "s IN (:1, :2) AND t >= :3 AND t <= :4", ["A", "B", 1, 2]),
        ("format", "s IN (%s, %s) AND t >= %s AND t <= %s", ["A", "B", 1, 2]),
        (
            "named",
            "s IN (:symbol_0, :symbol_1) AND t >= :start AND t <= :end",
            {"symbol_0": "A", "symbol_1": "B", "start": 1, "end": 2},
        ),
        (
            "pyformat",
            "s IN (%(symbol_0)s, %(symbol_1)s) AND t >= %(start)s AND t <= %(end)s",
            {"symbol_0": "A", "symbol_1": "B", "start": 1, "end": 2},
        ),
    ],
)
def test_every_way_to_mark_a_parameter(style, text, parameters):
    query = "s IN (:symbols) AND t >= :start AND t <= :end"
    assert bound(query, VALUES, style) == (text, parameters)


@pytest.mark.parametrize(
    "left_alone",
    [
        "':start'",
        '":end"',
        "-- :start\n",
        "/* :end\n:x */",
        "day::date",
        "'it''s :start'",
        "a:start",
    ],
)
def test_what_is_no_parameter_is_left_alone(left_alone):
    assert bound(f"{left_alone} = :start", VALUES, "qmark") == (f"{left_alone} = ?", [1])


def test_a_percent_sign_of_the_query_survives():
    assert bound("s LIKE 'A%' AND 5 % 2 = :start", VALUES, "format") == (
        "s LIKE 'A%%' AND 5 %% 2 = %s", [1],
    )  # fmt: skip
    assert bound("s LIKE 'A%'", VALUES, "qmark")[0] == "s LIKE 'A%'"


def test_no_symbols_are_none():
    assert bound("s IN (:symbols)", {"symbols": []}, "qmark") == ("s IN (NULL)", [])


def test_a_symbol_that_is_sql_is_a_symbol(database):
    assert source(database).fetch([EVIL], "2023-01-01", EVIL, "1d").is_empty()
    bars = source(database).fetch(["A", EVIL], "2023-01-01", "2023-01-31", "1d")
    assert bars.rows() == [(date(2023, 1, 3), "A", 1.5), (date(2023, 1, 4), "A", 2.5)]


def test_an_unknown_parameter_is_refused(database):
    with pytest.raises(InvalidArgument, match=":begin, which is unknown"):
        source(database, "day > :begin")
    with pytest.raises(InvalidArgument, match="paramstyle='x'"):
        source(database, paramstyle="x")
    with pytest.raises(InvalidType, match="opens no connection"):
        SQLSource(None, "SELECT 1", name="db")


def test_a_driver_that_does_not_say_its_paramstyle():
    class Connection:
        def close(self):
            pass

    with pytest.raises(InvalidArgument, match="pass paramstyle="):
        SQLSource(Connection, "SELECT 1", name="db").fetch(["A"], "2023-01-01", "2023-01-02", "1d")


def test_the_connection_is_closed_also_after_an_error(database):
    opened = []

    def connect():
        opened.append(sqlite3.connect(database))
        return opened[-1]

    broken = SQLSource(connect, "SELECT * FROM nix", name="db")
    with pytest.raises(sqlite3.OperationalError, match="nix"):
        broken.fetch(["A"], "2023-01-01", "2023-01-02", "1d")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


def test_bars_that_cannot_be_right_are_refused(database):
    with sqlite3.connect(database) as db:
        db.execute("INSERT INTO bars VALUES ('2023-01-04', 'A', 3.5)")
    db.close()
    with pytest.raises(InvalidBars, match=r"(?s)db gave.*same symbol and time"):
        source(database).fetch(["A"], "2023-01-01", "2023-01-31", "1d")


def test_duckdb_reads_and_does_not_write(tmp_path):
    import duckdb

    path = tmp_path / "bars.duckdb"
    with duckdb.connect(str(path)) as db:
        db.execute("CREATE TABLE bars AS SELECT TIMESTAMP '2023-01-03 10:00' AS ts, 'A' AS symbol")
    query = "SELECT * FROM bars WHERE symbol IN (:symbols) AND ts BETWEEN :start AND :end"
    ours = DuckDBSource(path, query, name="duck")
    bars = ours.fetch(["A"], datetime(2023, 1, 3), datetime(2023, 1, 3, 10), "1h")

    assert bars.rows() == [(datetime(2023, 1, 3, 10), "A")]
    assert bars.schema["ts"] == pl.Datetime("us")
    with pytest.raises(duckdb.Error):
        DuckDBSource(path, "DROP TABLE bars", name="x").fetch(["A"], 1, 2, "1d")


def test_a_missing_duckdb_says_how_to_install_it():
    script = """
import sys
sys.modules["duckdb"] = None
from barcache.sources import DuckDBSource
try:
    DuckDBSource(None, "SELECT 1", name="x").fetch(["A"], 1, 2, "1d")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert 'pip install "barcache[duckdb]"' in done.stdout, done.stderr
