"""A cache whose process was killed, and whose disk can then no longer be written."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

TIME_LIMIT_S = 120

KILLED = """
import os, signal, sys
import polars as pl
from barcache import CacheManager
cache = CacheManager(sys.argv[1] + "/m.db", sys.argv[1] + "/cache")
for number in range(3):
    frame = pl.DataFrame({"close": [float(number), 2.5], "symbol": ["AAPL", None]})
    cache.put_cached_data(f"key{number}", frame, dataset_id=1, backtest_id="bt-1")
os.kill(os.getpid(), signal.SIGKILL)
"""

READER = """
import os, sys
import polars as pl
import barcache
from polars.testing import assert_frame_equal
if sys.argv[2] == "nobody" and os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    open(sys.argv[1] + "/new", "w")
except OSError:
    pass
else:
    sys.exit("the folder can be written")
database, folder = sys.argv[1] + "/m.db", sys.argv[1] + "/cache"
cache = barcache.CacheManager(database, folder, read_only=True)
for number in range(3):
    expected = pl.DataFrame({"close": [float(number), 2.5], "symbol": ["AAPL", None]})
    for _ in range(2):
        assert_frame_equal(cache.get_cached_data(f"key{number}", backtest_id="bt-2"), expected)
    assert cache.lookup_cache(f"key{number}")["access_count"] == 1
assert cache.get_cached_data("unknown") is None
assert cache.backtests("key1") == ["bt-1"]
assert len(cache.entries()) == 3
statistics = cache.get_cache_statistics()
assert statistics["entry_count"] == 3 and statistics["hit_count"] == 6, statistics
assert cache.check()["clean"]
for call in (
    lambda: cache.put_cached_data("key9", expected, dataset_id=1),
    lambda: cache.clear_cache(),
    lambda: cache.clear_cache(cache_key="key1"),
    lambda: cache.evict(),
):
    try:
        call()
    except barcache.ReadOnly as error:
        assert "read_only" in str(error), error
    else:
        sys.exit("not refused")
cache.close()
try:
    barcache.CacheManager(database, folder)
except barcache.ReadOnly as error:
    assert "read_only" in str(error), error
else:
    sys.exit("opened for writing")
print("all as it should be")
"""

MOUNT = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" || exit 77; exec "$@"'


def as_killed(tmp_path, with_index):
    place = tmp_path / "place"
    place.mkdir()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, place], timeout=TIME_LIMIT_S, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert (place / "m.db-wal").stat().st_size > 0
    if not with_index:
        (place / "m.db-shm").unlink()
    return place


def contents(place):
    return {path.name: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("with_index", [True, False])
def test_hits_are_served_from_a_read_only_file_system(tmp_path, with_index):
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting read-only needs root and unshare")
    place = as_killed(tmp_path, with_index)
    before = contents(place)
    command = [sys.executable, "-c", READER, place, "root"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", MOUNT, place, *command],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip(f"nothing can be mounted here: {done.stderr}")
    assert done.stdout == "all as it should be\n", done.stderr
    assert contents(place) == before


@pytest.mark.parametrize("with_index", [True, False])
def test_hits_are_served_without_permission_to_write(tmp_path, with_index):
    place = as_killed(tmp_path, with_index)
    before = contents(place)
    (place / "m.db-barcache").unlink()  # Of another user it would be refused.
    folders = [place, place / "cache"]
    for path in place.rglob("*"):
        path.chmod(0o444)
    for folder in folders:
        folder.chmod(0o555)
    try:
        for parent in tmp_path.parents:  # pytest's own are for one user.
            if parent.name.startswith("pytest-"):
                parent.chmod(0o755)
        tmp_path.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", READER, place, "nobody"],
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.stdout == "all as it should be\n", done.stderr
    del before["m.db-barcache"]
    assert contents(place) == before
