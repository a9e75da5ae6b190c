"""Bad input: a typed error that says what to do, and nothing lost, half-written or left behind."""

import contextlib
import os
import pickle
import resource
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import barcache
import polars as pl
import pytest
from barcache import (
    BarcacheError,
    CacheFull,
    CacheIOError,
    CacheManager,
    CatalogBusy,
    InvalidArgument,
    InvalidType,
    NotACatalog,
    ReadOnly,
    UnsupportedCatalog,
    UnsupportedFrame,
)
from polars.testing import assert_frame_equal


class Everything:
    """What a cache holds on disk, for a comparison before and after."""

    def __init__(self, cache):
        self.cache = cache
        self.before = self.now()

    def now(self):
        directory = self.cache.cache_directory
        files = {path.name: path.read_bytes() for path in directory.iterdir()}
        with sqlite3.connect(self.cache.db_path) as connection:
            rows = {
                table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
                for table in ("cache_entries", "backtest_cache_links", "cache_statistics")
            }
        connection.close()
        return files, rows

    def check(self):
        assert self.now() == self.before


@pytest.fixture
def filled(cache, bars):
    cache.put_cached_data("key1", bars, dataset_id=1, backtest_id="bt-1")
    cache.put_cached_data("key2", bars, dataset_id=1)
    return cache


# --- opening --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"eviction_policy": "bogus"}, InvalidArgument, "'lru', 'size', 'hybrid'"),
        ({"eviction_policy": "LRU"}, InvalidArgument, "'lru'"),
        ({"eviction_policy": ""}, InvalidArgument, "'lru'"),
        ({"eviction_policy": None}, InvalidType, "eviction_policy must be a str"),
        ({"hot_cache_size_mb": -1}, InvalidArgument, "hot_cache_size_mb=-1.*at least 0"),
        ({"cold_cache_size_mb": -0.01}, InvalidArgument, "cold_cache_size_mb.*at least 0"),
        ({"hot_cache_size_mb": float("nan")}, InvalidArgument, "hot_cache_size_mb"),
        ({"cold_cache_size_mb": float("inf")}, InvalidArgument, "cold_cache_size_mb"),
        ({"cold_cache_size_mb": 1e300}, InvalidArgument, "cold_cache_size_mb.*megabytes"),
        ({"cold_cache_size_mb": 10**400}, InvalidArgument, "cold_cache_size_mb"),
        ({"hot_cache_size_mb": "1024"}, InvalidType, "hot_cache_size_mb must be a number"),
        ({"hot_cache_size_mb": True}, InvalidType, "hot_cache_size_mb must be a number"),
        ({"cold_cache_size_mb": None}, InvalidType, "cold_cache_size_mb must be a number"),
        ({"durability": "extra"}, InvalidArgument, "durability.*normal, full"),
        ({"durability": ["full"]}, InvalidArgument, "durability"),
        ({"decode_budget_mb": -5}, InvalidArgument, "decode_budget_mb"),
        ({"busy_timeout_s": -1}, InvalidArgument, "busy_timeout_s"),
        ({"busy_timeout_s": "soon"}, InvalidType, "busy_timeout_s"),
        ({"busy_timeout_s": 1e300}, InvalidArgument, "busy_timeout_s"),
    ],
)
def test_settings_that_make_no_sense_are_named(tmp_path, options, error, says):
    with pytest.raises(error, match=says) as caught:
        CacheManager(tmp_path / "a" / "m.db", tmp_path / "cache", **options)

    assert isinstance(caught.value, BarcacheError)
    assert isinstance(caught.value, TypeError if error is InvalidType else ValueError)
    assert list(tmp_path.iterdir()) == []  # Nothing was made.


@pytest.mark.parametrize("argument", ["db_path", "cache_directory"])
@pytest.mark.parametrize(
    ("path", "error"),
    [("", InvalidArgument), ("a\0b", InvalidArgument), (None, InvalidType), (5, InvalidType)],
)
def test_paths_that_are_none_are_named(tmp_path, argument, path, error):
    paths = {"db_path": tmp_path / "m.db", "cache_directory": tmp_path / "cache"}
    paths[argument] = path
    with pytest.raises(error, match=argument):
        CacheManager(**paths)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"no database at all, just text" * 50, b"x", os.urandom(5000)], ids=range(3)
)
def test_a_file_that_is_no_database_is_left_alone(tmp_path, content):
    path = tmp_path / "m.db"
    path.write_bytes(content)
    with pytest.raises(NotACatalog, match=r"m\.db") as caught:
        CacheManager(path, tmp_path / "cache")

    assert isinstance(caught.value, BarcacheError)
    assert path.read_bytes() == content
    assert "db_path" in str(caught.value)


def test_another_programs_database_is_left_alone(tmp_path):
    path = tmp_path / "m.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE datasets (name TEXT, favourite_colour TEXT)")
        connection.execute("INSERT INTO datasets VALUES ('mine', 'green')")
    connection.close()
    with pytest.raises(NotACatalog, match="datasets"):
        CacheManager(path, tmp_path / "cache")

    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT * FROM datasets").fetchall() == [("mine", "green")]
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert tables == [("datasets",)]


def test_a_catalog_of_a_newer_release_is_left_alone(make, tmp_path, bars):
    cache = make()
    cache.put_cached_data("key1", bars, dataset_id=1)
    cache.close()
    with sqlite3.connect(tmp_path / "metadata.db") as connection:
        changed = connection.execute(
            "UPDATE barcache_meta SET value = '99' WHERE name LIKE '%version%'"
        ).rowcount
    connection.close()
    assert changed == 1
    with pytest.raises(UnsupportedCatalog, match="99"):
        make()
    with pytest.raises(UnsupportedCatalog, match="99"):
        make(read_only=True)

    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_directory_where_a_file_is_needed_and_the_reverse(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    with pytest.raises((CacheIOError, NotACatalog), match="folder"):
        CacheManager(tmp_path / "folder", tmp_path / "cache")
    with pytest.raises(CacheIOError, match="file") as caught:
        CacheManager(tmp_path / "m.db", tmp_path / "file")
    assert isinstance(caught.value, OSError)
    assert caught.value.errno
    with pytest.raises(CacheIOError, match="file"):
        CacheManager(tmp_path / "file" / "m.db", tmp_path / "cache")

    assert (tmp_path / "file").read_text() == "text"


KINDS = {
    "a FIFO": lambda path, _: os.mkfifo(path),
    "a folder": lambda path, _: path.mkdir(),
    "a socket": lambda path, _: bind_socket(path),
    "a link to a file": lambda path, elsewhere: path.symlink_to(elsewhere / "prey"),
    "a link to nothing": lambda path, elsewhere: path.symlink_to(elsewhere / "nowhere"),
    "a link to a device": lambda path, _: path.symlink_to("/dev/zero"),
}


def bind_socket(path):
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_beside_the_catalog_is_named_and_nobody_waits(tmp_path, kind, read_only):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "prey").write_bytes(b"precious" * 2000)
    for name in ("m.db-journal", "m.db-wal", "m.db-shm", "m.db-barcache"):
        folder = tmp_path / name
        with CacheManager(folder / "m.db", folder / "cache") as cache:
            cache.put_cached_data("key1", pl.DataFrame({"x": [1]}), dataset_id=1)
        (folder / name).unlink(missing_ok=True)
        KINDS[kind](folder / name, elsewhere)
        with pytest.raises(CacheIOError, match=name):
            CacheManager(folder / "m.db", folder / "cache", read_only=read_only)
        commands = [["ls"], ["verify"], ["verify", "--repair"]]
        for command in commands if kind == "a FIFO" and not read_only else []:
            place = ["--db", folder / "m.db", "--cache-dir", folder / "cache"]
            done = subprocess.run(
                [sys.executable, "-m", "barcache", *command, *place],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode != 0
            assert name in done.stdout + done.stderr
            assert "Traceback" not in done.stderr
    assert {path.name for path in elsewhere.iterdir()} == {"prey"}
    assert (elsewhere / "prey").read_bytes() == b"precious" * 2000


def as_nobody(script, *arguments):
    """Runs a script that permissions bind, which they do not do to root."""
    if os.geteuid() == 0:
        head = "import os, sys\nimport barcache, polars\nos.setgid(65534); os.setuid(65534)\n"
    else:
        head = "import sys, barcache, polars\n"
    return subprocess.run(
        [sys.executable, "-c", head + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


OPEN = """
try:
    barcache.CacheManager(sys.argv[1], sys.argv[2])
except barcache.BarcacheError as error:
    print(type(error).__name__, isinstance(error, OSError), getattr(error, "errno", None), error)
else:
    print("opened")
"""


def test_a_directory_without_permission_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    closed.chmod(0o500 if os.geteuid() else 0o700)
    result = as_nobody(OPEN, open_to_all / "m.db", closed / "cache")
    assert result.stdout.startswith("CacheIOError True 13"), result
    assert "closed" in result.stdout
    result = as_nobody(OPEN, closed / "m.db", open_to_all / "cache")
    assert "closed" in result.stdout, result
    assert result.stdout.split()[0] in ("CacheIOError", "ReadOnly"), result
    closed.chmod(0o700)

    assert list(closed.iterdir()) == []


# --- put ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("", InvalidArgument),
        ("a\0b", InvalidArgument),
        ("\ud800", InvalidArgument),
        (None, InvalidType),
        (5, InvalidType),
        (b"key1", InvalidType),
    ],
)
def test_keys_that_are_none_are_refused(filled, bars, key, error):
    everything = Everything(filled)
    with pytest.raises(error, match="key"):
        filled.put_cached_data(key, bars, dataset_id=1)

    everything.check()


@pytest.mark.parametrize("key", [None, 5, b"key1", ["key1"]])
def test_keys_of_other_types_are_refused_everywhere(filled, key):
    everything = Everything(filled)
    calls = [filled.get_cached_data, filled.lookup_cache, filled.backtests]
    if key is not None:
        calls.append(filled.clear_cache)
        calls.append(filled.entries)
    for call in calls:
        with pytest.raises(InvalidType):
            call(key)

    everything.check()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([1, 2, 3], "list"),
        (None, "NoneType"),
        ({"close": [1.0]}, "dict"),
        ("close", "str"),
        (pl.Series("close", [1.0]), "Series"),
        (pl.DataFrame, "type"),
    ],
)
def test_what_is_no_frame_is_refused(filled, data, says):
    everything = Everything(filled)
    with pytest.raises(InvalidType, match=says) as caught:
        filled.put_cached_data("key1", data, dataset_id=1)

    assert "Polars" in str(caught.value)
    everything.check()


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(pl.DataFrame({"o": [object()]}, schema={"o": pl.Object}), id="Object"),
        pytest.param(pl.DataFrame({"o": pl.Series([1], dtype=pl.Int128)}), id="Int128"),
        pytest.param(pl.DataFrame({"o": pl.Series([[]], dtype=pl.Array(pl.Int8, 0))}), id="Array"),
        pytest.param(
            pl.DataFrame({"o": pl.Series([{}], dtype=pl.Struct([]))}), id="Struct without fields"
        ),
        pytest.param(
            pl.DataFrame({"o": pl.Series([[1]], dtype=pl.List(pl.Int128))}), id="inside a List"
        ),
        pytest.param(pl.DataFrame(height=5), id="rows without columns"),
    ],
)
def test_frames_that_cannot_come_back_are_refused_before_a_byte_is_written(filled, frame):
    everything = Everything(filled)
    for key in ("key1", "new"):
        with pytest.raises(UnsupportedFrame):
            filled.put_cached_data(key, frame, dataset_id=1, backtest_id="bt-2")
        everything.check()
    assert filled.get_cached_data("new") is None
    assert filled.get_cached_data("key1").height == 4


@pytest.mark.parametrize(
    ("dataset_id", "error"),
    [
        (None, InvalidType),
        ("1", InvalidType),
        (1.0, InvalidType),
        (True, InvalidType),
        (2**63, InvalidArgument),
    ],
)
def test_datasets_that_are_no_number_are_refused(filled, bars, dataset_id, error):
    everything = Everything(filled)
    with pytest.raises(error, match="dataset_id"):
        filled.put_cached_data("key1", bars, dataset_id)

    everything.check()


def test_backtests_that_are_none_are_refused(filled, bars):
    everything = Everything(filled)
    for backtest_id, error in [(5, InvalidType), ("\ud800", InvalidArgument)]:
        with pytest.raises(error, match="backtest_id"):
            filled.put_cached_data("key1", bars, dataset_id=1, backtest_id=backtest_id)
        with pytest.raises(error, match="backtest_id"):
            filled.get_cached_data("key1", backtest_id=backtest_id)
        with pytest.raises(error, match="backtest_id"), filled.backtest(backtest_id):
            pass
        with pytest.raises(error, match="backtest_id"):
            filled.clear_cache(backtest_id=backtest_id)
        with pytest.raises(error, match="backtest_id"):
            filled.entries(backtest_id)
    with pytest.raises(InvalidArgument, match="backtest_id"), filled.backtest(""):
        pass
    with pytest.raises(InvalidType, match="backtest_id"), filled.backtest(None):
        pass

    everything.check()


# --- the rest -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"cache_key": ""}, "no argument"),
        ({"backtest_id": ""}, "backtest_id"),
        ({"cache_key": "key1", "backtest_id": "bt-1"}, "not both"),
        ({"cache_key": "", "backtest_id": ""}, "not both"),
        ({"keep_shared": True}, "backtest_id"),
        ({"cache_key": "key1", "keep_shared": True}, "backtest_id"),
    ],
)
def test_a_clear_that_is_not_meant_clears_nothing(filled, arguments, says):
    everything = Everything(filled)
    with pytest.raises(InvalidArgument, match=says):
        filled.clear_cache(**arguments)

    everything.check()
    assert filled.get_cached_data("key1") is not None


def test_settings_that_make_no_sense_change_nothing(filled):
    for name, value, error in [
        ("cold_cache_size_mb", -1, InvalidArgument),
        ("cold_cache_size_mb", "10", InvalidType),
        ("cold_cache_size_mb", float("nan"), InvalidArgument),
        ("eviction_policy", "bogus", InvalidArgument),
        ("eviction_policy", 5, InvalidType),
        ("eviction_policy", None, InvalidType),
        ("hot_cache", None, InvalidType),
        ("hot_cache", 1024, InvalidType),
    ]:
        before = getattr(filled, name)
        with pytest.raises(error, match=name if name != "eviction_policy" else "policy"):
            setattr(filled, name, value)
        assert getattr(filled, name) == before
    filled._check_cold_cache_eviction()
    assert len(filled) == 2


def test_a_read_only_cache_refuses_every_write_and_serves(make, bars):
    first = make()
    first.put_cached_data("key1", bars, dataset_id=1, backtest_id="bt-1")
    first.get_cached_data("key2")
    first.close()
    cache = make(read_only=True)
    everything = Everything(cache)

    for call in (
        lambda: cache.put_cached_data("key1", bars, dataset_id=1),
        lambda: cache.clear_cache(),
        lambda: cache.clear_cache(cache_key="key1"),
        lambda: cache.clear_cache(backtest_id="bt-1"),
        lambda: cache.record_daily_statistics(),
        lambda: cache.evict(),
        lambda: cache._check_cold_cache_eviction(),
        lambda: cache.check(repair=True),
        lambda: cache.clear_unused_since(0),
    ):
        with pytest.raises(ReadOnly, match="read_only"):
            call()
    for _ in range(2):
        assert_frame_equal(cache.get_cached_data("key1", backtest_id="bt-2"), bars)
    assert cache.get_cached_data("unknown") is None
    assert cache.backtests("key1") == ["bt-1"]
    assert cache.get_cache_statistics()["miss_count"] == 2
    assert cache.check()["clean"]
    assert cache.read_only
    everything.check()
    cache.close()
    everything.check()


def test_a_read_only_cache_makes_nothing(tmp_path):
    with pytest.raises(BarcacheError):
        CacheManager(tmp_path / "m.db", tmp_path / "cache", read_only=True)

    assert list(tmp_path.iterdir()) == []


def test_a_read_only_cache_leaves_corrupt_files_where_they_are(make, bars):
    first = make()
    first.put_cached_data("key1", bars, dataset_id=1)
    first.close()
    [path] = first.cache_directory.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    cache = make(read_only=True)

    assert cache.get_cached_data("key1") is None
    assert path.read_bytes() == content
    assert cache.lookup_cache("key1") is not None


def test_a_busy_catalog_is_a_typed_error_in_time_and_changes_nothing(make, bars, tmp_path):
    cache = make(busy_timeout_s=0.2)
    cache.put_cached_data("key1", bars, dataset_id=1)
    everything = Everything(cache)
    blocker = sqlite3.connect(tmp_path / "metadata.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(CatalogBusy) as caught:
            cache.put_cached_data("key2", bars, dataset_id=1)
        assert isinstance(caught.value, TimeoutError)
        assert "busy_timeout_s" in str(caught.value) or "another" in str(caught.value)
        with pytest.raises(CatalogBusy):
            cache.clear_cache()
        assert_frame_equal(cache.get_cached_data("key1"), bars)  # Reading goes on.
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    everything.check()
    cache.put_cached_data("key2", bars, dataset_id=1)
    assert len(cache) == 2


WRITERS = {
    "put": lambda cache, bars: cache.put_cached_data("key2", bars, dataset_id=1),
    "put_many": lambda cache, bars: cache.put_many({"key2": bars, "key3": bars}, dataset_id=1),
    "clear a key": lambda cache, _: cache.clear_cache("key1"),
    "clear a backtest": lambda cache, _: cache.clear_cache(backtest_id="bt"),
    "clear the unused": lambda cache, _: cache.clear_unused_since(int(time.time()) + 60),
    "evict": lambda cache, _: cache.evict(),
    "record": lambda cache, _: cache.record_daily_statistics(),
    "flush": lambda cache, _: cache.flush(),
    "pin": lambda cache, _: cache.pin("key1"),
    "unpin": lambda cache, _: cache.unpin("key1"),
    "check": lambda cache, _: cache.check(repair=True),
    "close": lambda cache, _: cache.close(),
}
READERS = {
    "get": lambda cache, _: cache.get_cached_data("key1", backtest_id="bt-2"),
    "get_many": lambda cache, _: cache.get_many(["key1", "absent"]),
    "scan": lambda cache, _: cache.scan("key1"),
    "get_or_fetch": lambda cache, bars: cache.get_or_fetch(
        ["A"], "2023-01-01", "2023-01-05", "1d", "vendor", lambda *_: bars
    ),
    "statistics": lambda cache, _: cache.get_cache_statistics(),
    "lookup": lambda cache, _: cache.lookup_cache("key1"),
    "coverage": lambda cache, _: cache.coverage(),
    "open": lambda cache, _: CacheManager(
        cache.db_path, str(cache.cache_directory), busy_timeout_s=0.05
    ),
}


@pytest.fixture
def busy_cache(make, bars, tmp_path):
    """A cache with uses that are still to be written, while another program writes."""
    cache = make(busy_timeout_s=0.05)
    cache.put_cached_data("key1", bars, dataset_id=1, backtest_id="bt")
    cache.get_cached_data("key1")
    blocker = sqlite3.connect(tmp_path / "metadata.db", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    yield cache
    blocker.execute("ROLLBACK")
    blocker.close()


@pytest.mark.parametrize("call", WRITERS)
def test_no_call_says_that_the_database_is_locked(busy_cache, bars, call):
    with pytest.raises(CatalogBusy, match="for 50 ms; try again") as caught:
        WRITERS[call](busy_cache, bars)
    assert "locked" not in str(caught.value)


@pytest.mark.parametrize("call", READERS)
def test_who_reads_does_not_mind_a_busy_catalog(busy_cache, bars, call):
    READERS[call](busy_cache, bars)


def test_a_full_disk_is_a_typed_error_and_changes_nothing(tmp_path):
    """A limit on the size of files stands in for the disk: write fails in the middle."""
    script = """
import resource, signal, sys
import barcache, polars as pl
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cache = barcache.CacheManager(sys.argv[1], sys.argv[2])
small = pl.DataFrame({"i": [1, 2]})
large = pl.DataFrame({"i": pl.int_range(200_000, eager=True).hash()})
cache.put_cached_data("key1", small, dataset_id=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
for key in ("key1", "key2"):
    try:
        cache.put_cached_data(key, large, dataset_id=1)
    except barcache.BarcacheError as error:
        print(type(error).__name__, isinstance(error, OSError), error.errno)
assert cache.get_cached_data("key1").equals(small)
cache.hot_cache.clear()
assert cache.get_cached_data("key1").equals(small)
assert cache.get_cached_data("key2") is None
assert cache.entries() == ["key1"]
print(len(list(cache.cache_directory.iterdir())))
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "m.db"), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == lines[1]
    assert lines[0].split()[0] in ("CacheIOError", "CacheFull")
    assert lines[0].split()[1] == "True"
    assert lines[2] == "1"  # No half-written file stays.


def test_a_cache_directory_that_went_away_is_a_typed_error(make, bars, tmp_path):
    cache = make()
    cache.put_cached_data("key1", bars, dataset_id=1)
    shutil.rmtree(tmp_path / "cache")
    cache.hot_cache.clear()

    assert cache.get_cached_data("key1") is None
    with pytest.raises(CacheIOError):
        cache.put_cached_data("key2", bars, dataset_id=1)
    assert cache.entries() == []


def test_the_errors_are_what_they_say():
    for name in barcache.__all__:
        error = getattr(barcache, name)
        if isinstance(error, type) and issubclass(error, Exception):
            assert issubclass(error, BarcacheError)
            assert error.__doc__
            made = error("what, and what to do")
            assert str(made) == "what, and what to do"
            assert str(pickle.loads(pickle.dumps(made))) == str(made)
    assert issubclass(InvalidArgument, ValueError)
    assert issubclass(InvalidType, TypeError)
    assert issubclass(UnsupportedFrame, InvalidArgument)
    assert issubclass(CacheFull, CacheIOError)
    assert issubclass(CacheIOError, OSError)
    assert issubclass(CatalogBusy, TimeoutError)
    assert CacheIOError(13, "x").errno == 13


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_NOFILE"), reason="needs limits")
def test_running_out_of_file_handles_is_no_loss(tmp_path):
    script = """
import os, resource, sys
import barcache, polars as pl
cache = barcache.CacheManager(sys.argv[1], sys.argv[2])
frame = pl.DataFrame({"i": [1, 2]})
cache.put_cached_data("key1", frame, dataset_id=1)
cache.hot_cache.clear()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
print(cache.get_cached_data("key1"))
try:
    cache.put_cached_data("key2", frame, dataset_id=1)
except barcache.BarcacheError as error:
    print(type(error).__name__)
for descriptor in held:
    os.close(descriptor)
print(cache.get_cached_data("key1").equals(frame), cache.entries())
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "m.db"), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:2] == ["None", "CacheIOError"]
    assert lines[2] == "True ['key1']"


def test_files_and_folders_are_for_their_owner_alone(tmp_path, bars):
    old = os.umask(0)
    try:
        with CacheManager(tmp_path / "a" / "b" / "m.db", tmp_path / "c" / "d") as cache:
            cache.put_cached_data("key1", bars, dataset_id=1)
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    finally:
        os.umask(old)

    assert len(modes) >= 7
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


@pytest.mark.parametrize("stored", [True, False], ids=["hit", "miss"])
def test_an_unknown_kind_of_frame_is_refused_hit_or_miss(tmp_path: Path, stored: bool) -> None:
    with barcache.CacheManager(str(tmp_path / "m.db"), str(tmp_path / "cache")) as cache:
        if stored:
            cache.put_cached_data("key1", pl.DataFrame({"close": [1.0]}), dataset_id=1)
        for ask in (
            lambda: cache.get_cached_data("key1", frame="numpy"),
            lambda: cache.get_many(["key1"], frame="numpy"),
        ):
            with pytest.raises(barcache.InvalidArgument, match="polars, pandas, arrow"):
                ask()
        assert cache.session_stats["hit_count"] == cache.session_stats["miss_count"] == 0
