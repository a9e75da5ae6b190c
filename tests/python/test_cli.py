# The command line: what it prints, what it changes, and its exit codes.

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import barcache
import polars as pl
import pytest
from barcache import CacheManager

AAPL = "4ff5fe09fae53c37"
MSFT = "b73988a4ad36b973"
FRAME = pl.DataFrame({"close": [1.0, 2.5, 3.25], "symbol": ["x", "y", "z"]})


def environment(**changes: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BARCACHE_", "NO_COLOR", "FORCE_COLOR"))
    }
    return {**kept, "TERM": "xterm-256color", **changes}


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "barcache", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment(**changes),
        timeout=60,
    )


def run_on_terminal(*arguments: str, typed: str = "", **changes: str) -> tuple[int, str]:
    """The exit code, and all that appears on a terminal of 120 columns."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "barcache", *arguments],
        stdin=side,
        stdout=side,
        stderr=side,
        env=environment(COLUMNS="120", **changes),
        start_new_session=True,
    )
    os.close(side)
    os.write(main, typed.encode())
    shown = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:  # EIO: the other side is closed.
            break
        if not piece:
            break
        shown += piece
    os.close(main)
    return process.wait(timeout=60), shown.decode()


def manager(directory: Path, **settings: Any) -> CacheManager:
    return CacheManager(str(directory / "metadata.db"), str(directory / "cache"), **settings)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A cache with AAPL (b1, b2), MSFT (b1) and an unfriendly key."""
    with manager(tmp_path) as cache:
        for symbol in ("AAPL", "MSFT"):
            key = cache.generate_cache_key([symbol], "2023-01-01", "2023-12-31", "1d", "yfinance")
            cache.put_cached_data(key, FRAME, dataset_id=7, backtest_id="b1")
        cache.get_cached_data(AAPL, backtest_id="b2")
        cache.put_cached_data("od\x1b[31md\nkey", FRAME, dataset_id=1)
        cache.get_cached_data("absent")
    return tmp_path


def contents(directory: Path) -> dict[str, bytes]:
    """Names and bytes; of SQLite's shared memory, which readers mark, the name alone."""
    return {
        str(path.relative_to(directory)): b"" if path.name.endswith("-shm") else path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def keys(directory: Path) -> list[str]:
    with manager(directory, read_only=True) as cache:
        return list(cache.entries())


# --- looking --------------------------------------------------------------------------------


def test_stats(filled: Path) -> None:
    done = run("stats", str(filled), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["entry_count"] == 3
    assert (found["hit_count"], found["miss_count"]) == (1, 1)
    assert found["hit_rate"] == 0.5
    assert "session_stats" not in found
    lines = dict(line.split("\t") for line in run("stats", str(filled)).stdout.splitlines())
    assert lines["entries"] == "3"
    assert lines["hit rate"] == "50.0%"


def test_stats_of_days_without_use(filled: Path) -> None:
    done = run("stats", str(filled), "--from", "2001-01-01", "--to", "2001-01-31", "--json")
    assert json.loads(done.stdout)["hit_count"] == 0


def test_a_malformed_day_is_an_error(filled: Path) -> None:
    done = run("stats", str(filled), "--from", "soon")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "soon" in done.stderr
    assert "Traceback" not in done.stderr


def test_ls_prints_lines_for_programs(filled: Path) -> None:
    done = run("ls", str(filled), "--sort", "key")
    assert done.returncode == 0, done.stderr
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert header == ["KEY", "REQUEST", "SIZE", "USES", "LAST USED", "PINNED"]
    assert [row[0] for row in rows] == [AAPL, MSFT, r"od\x1b[31md\nkey"]
    assert rows[0][1] == "AAPL 1d 2023-01-01..2023-12-31 yfinance"
    assert rows[0][3] == "2"
    assert "\x1b" not in done.stdout


def test_ls_json(filled: Path) -> None:
    found = json.loads(run("ls", str(filled), "--json", "--sort", "key").stdout)
    assert [row["cache_key"] for row in found] == [AAPL, MSFT, "od\x1b[31md\nkey"]
    assert found[0]["request"]["symbols"] == ["AAPL"]
    assert found[2]["request"] is None
    assert found[0]["dataset_id"] == 7


def test_ls_of_a_backtest_and_limit(filled: Path) -> None:
    of_b2 = json.loads(run("ls", str(filled), "--json", "--backtest", "b2").stdout)
    assert [row["cache_key"] for row in of_b2] == [AAPL]
    assert len(json.loads(run("ls", str(filled), "--json", "--limit", "2").stdout)) == 2
    assert json.loads(run("ls", str(filled), "--json", "--backtest", "nobody").stdout) == []


def test_show(filled: Path) -> None:
    found = json.loads(run("show", AAPL, str(filled), "--json").stdout)
    assert found["backtests"] == ["b1", "b2"]
    assert found["request"]["data_source"] == "yfinance"
    assert found["file"]["rows"] == 3
    assert [column["name"] for column in found["file"]["columns"]] == ["close", "symbol"]
    text = run("show", AAPL, str(filled)).stdout
    assert "AAPL 1d 2023-01-01..2023-12-31 yfinance" in text
    assert "b1, b2" in text
    assert found["checksum"] in text


def test_show_of_an_unknown_key(filled: Path) -> None:
    done = run("show", "nothing", str(filled))
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing" in done.stderr


def test_show_reads_no_file_outside_the_cache(filled: Path) -> None:
    import sqlite3

    FRAME.write_parquet(filled / "outside.parquet")
    with sqlite3.connect(filled / "metadata.db") as connection:
        connection.execute(
            "UPDATE cache_entries SET parquet_path = '../outside.parquet' WHERE cache_key = ?",
            (AAPL,),
        )
    connection.close()
    found = json.loads(run("show", AAPL, str(filled), "--json").stdout)
    assert "out of the cache" in found["file"]["problem"]
    assert "rows" not in found["file"]


def test_show_parses_nothing_that_was_not_put(filled: Path) -> None:
    damage(filled, AAPL)
    found = json.loads(run("show", AAPL, str(filled), "--json").stdout)
    assert "wrong bytes" in found["file"]["problem"]
    assert "rows" not in found["file"]
    next((filled / "cache").glob(f"{MSFT}~*.parquet")).unlink()
    assert "missing" in run("show", MSFT, str(filled)).stdout


def test_looking_changes_and_creates_nothing(filled: Path) -> None:
    before = contents(filled)
    for arguments in (["stats"], ["ls"], ["verify"], ["doctor"], ["show", AAPL]):
        done = run(*arguments, str(filled))
        assert done.returncode == 0, (arguments, done.stderr)
    assert contents(filled) == before


def test_looking_at_nothing_creates_nothing(tmp_path: Path) -> None:
    for command in (
        ["stats"],
        ["ls"],
        ["verify"],
        ["show", "key"],
        ["evict", "--max-size", "1"],
        ["clear", "--all"],
    ):
        done = run(*command, str(tmp_path / "none"), *(["--yes"] if command[0] == "clear" else []))
        assert done.returncode == 2, command
        assert "none" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_cache_of_rustybt_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "rustybt"
    shutil.copytree(Path(__file__).parent / "data" / "rustybt-0.3.3-cache", place)
    before = contents(place)
    listed = json.loads(run("ls", str(place), "--json").stdout)
    assert AAPL in [row["cache_key"] for row in listed]
    shown = run("show", AAPL, str(place)).stdout
    assert "written by\tRustyBT" in shown
    assert "bt-001, bt-002" in shown
    assert run("verify", str(place)).returncode == 0
    assert json.loads(run("stats", str(place), "--json").stdout)["entry_count"] == len(listed)
    assert contents(place) == before


# --- naming a cache -------------------------------------------------------------------------


def test_ways_to_name_a_cache(filled: Path) -> None:
    db, files = str(filled / "metadata.db"), str(filled / "cache")
    for arguments, changes in (
        (["--db", db, "--cache-dir", files], {}),
        (["--db", db], {}),
        ([], {"BARCACHE_DB": db, "BARCACHE_CACHE_DIR": files}),
        ([str(filled)], {"BARCACHE_DB": "/nowhere/metadata.db"}),
    ):
        done = run("stats", "--json", *arguments, **changes)
        assert done.returncode == 0, (arguments, done.stderr)
        assert json.loads(done.stdout)["entry_count"] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls"],
        ["ls", "place", "--db", "x"],
        ["ls", "--cache-dir", "x"],
        ["nonsense"],
        ["ls", "--sort", "colour"],
        ["evict", "--max-size", "many"],
        ["clear", "--older-than", "long", "--yes"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage:" in done.stderr


def test_a_file_that_is_no_catalog(tmp_path: Path) -> None:
    (tmp_path / "metadata.db").write_bytes(b"not a database, but long enough to look at" * 50)
    (tmp_path / "cache").mkdir()
    done = run("ls", str(tmp_path))
    assert done.returncode == 1
    assert "metadata.db" in done.stderr
    assert "Traceback" not in done.stderr


# --- verifying ------------------------------------------------------------------------------


def damage(directory: Path, key: str) -> None:
    path = next((directory / "cache").glob(f"{key}~*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def test_verify_finds_and_repairs(filled: Path) -> None:
    assert run("verify", str(filled)).returncode == 0
    damage(filled, AAPL)
    next((filled / "cache").glob(f"{MSFT}~*.parquet")).unlink()
    (filled / "cache" / "notes.txt").write_text("mine")

    found = run("verify", str(filled), "--json")
    assert found.returncode == 1
    report = json.loads(found.stdout)
    assert report["corrupt_files"] == [AAPL]
    assert report["missing_files"] == [MSFT]
    assert report["foreign_files"] == ["notes.txt"]
    assert AAPL in keys(filled)  # Looking has changed nothing.

    text = run("verify", str(filled))
    assert text.returncode == 1
    assert f"wrong bytes\t{AAPL}" in text.stdout
    assert f"file missing\t{MSFT}" in text.stdout
    assert "notes.txt" in text.stderr

    repaired = run("verify", str(filled), "--repair")
    assert repaired.returncode == 0, repaired.stderr
    assert keys(filled) == ["od\x1b[31md\nkey"]
    assert run("verify", str(filled)).returncode == 0
    assert (filled / "cache" / "notes.txt").read_text() == "mine"


# --- making room ----------------------------------------------------------------------------


def test_evict(filled: Path) -> None:
    assert run("evict", str(filled)).returncode == 2  # No limit is guessed.
    roomy = run("evict", str(filled), "--max-size", "1GB", "--json")
    assert json.loads(roomy.stdout)["evicted"] == 0
    done = run("evict", str(filled), "--max-size", "1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["evicted"] == 3
    assert report["size_mb_after"] == 0
    assert keys(filled) == []
    assert list((filled / "cache").glob("*.parquet")) == []


def test_clear_needs_a_yes_without_a_terminal(filled: Path) -> None:
    done = run("clear", str(filled), "--all")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert len(keys(filled)) == 3


@pytest.mark.parametrize(
    "arguments",
    [[], ["--all", "--key", AAPL], ["--key", ""], ["--backtest", ""], ["--all", "--keep-shared"]],
)
def test_clear_wants_one_target(filled: Path, arguments: list[str]) -> None:
    assert run("clear", str(filled), "--yes", *arguments).returncode == 2
    assert len(keys(filled)) == 3


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--key", AAPL], [MSFT, "od\x1b[31md\nkey"]),
        (["--backtest", "b1"], ["od\x1b[31md\nkey"]),
        (["--backtest", "b1", "--keep-shared"], [AAPL, "od\x1b[31md\nkey"]),
        (["--older-than", "1d"], [AAPL, MSFT, "od\x1b[31md\nkey"]),
        (["--all"], []),
        (["--key", "absent"], [AAPL, MSFT, "od\x1b[31md\nkey"]),
    ],
)
def test_clear(filled: Path, arguments: list[str], left: list[str]) -> None:
    done = run("clear", str(filled), "--yes", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"removed": 3 - len(left)}
    assert keys(filled) == left


def test_clear_older_than_goes_by_last_use(filled: Path) -> None:
    import sqlite3

    with sqlite3.connect(filled / "metadata.db") as connection:
        connection.execute(
            "UPDATE cache_entries SET last_accessed = ? WHERE cache_key = ?",
            (int(time.time()) - 40 * 86400, MSFT),
        )
    connection.close()
    assert run("clear", str(filled), "--older-than", "30d", "--yes").returncode == 0
    assert keys(filled) == [AAPL, "od\x1b[31md\nkey"]


# --- terminals, pipes, signals --------------------------------------------------------------


def test_clear_asks_on_a_terminal(filled: Path) -> None:
    code, shown = run_on_terminal("clear", str(filled), "--all", typed="n\n")
    assert code == 1
    assert "Remove 3 entries" in shown
    assert len(keys(filled)) == 3
    code, shown = run_on_terminal("clear", str(filled), "--all", typed="y\n")
    assert code == 0, shown
    assert keys(filled) == []


def test_tables_and_colour_are_for_terminals(filled: Path) -> None:
    _, shown = run_on_terminal("ls", str(filled))
    assert "\x1b[36m" in shown
    assert "\t" not in shown
    _, shown = run_on_terminal("ls", str(filled), NO_COLOR="1")
    assert "\x1b[36m" not in shown
    assert AAPL in shown
    _, shown = run_on_terminal("ls", str(filled), TERM="dumb")
    assert "\x1b" not in shown
    assert "\x1b[36m" in run("ls", str(filled), FORCE_COLOR="1", COLUMNS="120").stdout


def test_a_key_cannot_steer_the_terminal(filled: Path) -> None:
    _, shown = run_on_terminal("ls", str(filled))
    assert "\x1b[31m" not in shown
    assert r"\x1b[31m" in shown


def test_a_reader_that_leaves_is_no_error(filled: Path) -> None:
    command = f"{sys.executable} -m barcache ls {filled} | head -c 1; exit ${{PIPESTATUS[0]}}"
    with manager(filled) as cache:
        for number in range(300):
            cache.put_cached_data(f"{number:060}", FRAME, dataset_id=1)
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment(), timeout=60
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_interrupt(filled: Path) -> None:
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "barcache", "clear", str(filled), "--all"],
        stdin=side,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        # A parent in the background may have left it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    shown = b""
    while b"?" not in shown:  # It asks: now it waits for an answer.
        shown += process.stderr.read1(100)
    for _ in range(10):  # A signal just before the read of the answer is not noticed by Python.
        process.send_signal(signal.SIGINT)
        # Long enough to end in: one more signal would meet an interpreter without its handler.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
            break
    assert process.returncode == 130
    assert b"Traceback" not in process.stderr.read()
    os.close(main)
    os.close(side)
    assert len(keys(filled)) == 3


# --- doctor, completion, version ------------------------------------------------------------


def test_doctor(filled: Path) -> None:
    done = run("doctor", str(filled), "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0, checks
    assert checks["polars"]["found"] == pl.__version__
    for name in ("platform", "pyarrow", "SQLite", "SQLite copies", "SHA-256 in the processor"):
        assert checks[name]["found"]
    assert checks["catalog"]["verdict"] == "ok"
    assert "free" in checks["disk"]["found"]
    assert run("doctor").returncode == 0
    missing = run("doctor", str(filled / "nowhere"))
    assert missing.returncode == 1
    assert "not there" in missing.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert "_BARCACHE_COMPLETE" in done.stdout


def test_completion_completes() -> None:
    done = run(COMP_WORDS="barcache sh", COMP_CWORD="1", _BARCACHE_COMPLETE="bash_complete")
    assert "show" in done.stdout


def test_version() -> None:
    done = run("--version")
    assert done.stdout == f"barcache, version {barcache.__version__}\n"


def test_every_command_explains_itself() -> None:
    listed = run("--help").stdout
    for command in ("stats", "ls", "show", "verify", "evict", "clear", "doctor", "completion"):
        assert command in listed
        done = run(command, "--help")
        assert done.returncode == 0
        assert "Usage: barcache" in done.stdout


def test_without_click_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "click").mkdir()
    (tmp_path / "click" / "__init__.py").write_text("raise ModuleNotFoundError('no', name='click')")
    path = os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    done = run("ls", PYTHONPATH=path)
    assert done.returncode == 1
    assert 'pip install "barcache[cli]"' in done.stderr
    assert "Traceback" not in done.stderr
