"""How a process may end while its threads use a cache: nothing hangs, and what was put is there."""

import signal
import subprocess
import sys
import textwrap

import polars as pl
import pytest
from barcache import CacheManager

ENDS_WITHIN_S = 5 * 4  # Five seconds on a quiet machine.

# Threads put and get for ever; the main thread ends in the way that is tested. Each acknowledged
# put is written down.
PROGRAM = """
    import os, signal, sys, threading, time
    import polars as pl
    from barcache import CacheManager

    folder, ending = sys.argv[1:]
    acked = os.open(f"{folder}/acked", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    cache = CacheManager(f"{folder}/metadata.db", f"{folder}/cache")
    started = threading.Barrier(5)

    def work(number):
        count = 0
        while True:
            key = f"key-{number}-{count}"
            cache.put_cached_data(key, pl.DataFrame({"n": [count]}), 1, "bt")
            os.write(acked, f"{key} {count}\\n".encode())
            cache.get_cached_data(key, backtest_id="bt-2")
            cache.get_many([key, "absent"])
            count += 1
            if count == 5:
                started.wait()

    for number in range(4):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    started.wait()
"""

ENDINGS = {
    "the interpreter ends": "",
    "sys.exit": "sys.exit(0)",
    "an exception": "raise RuntimeError('the end')",
    "os._exit": "os._exit(0)",
    "close, then the end": "cache.close()",
    "the last reference goes": "del cache",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "SIGTERM with a handler": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
        "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
    ),
    "SIGINT": (
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
    ),
    "a thread exits the interpreter": (
        "threading.Thread(target=sys.exit).start(); threading.Thread(target=lambda: None).start()"
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_ends_in_time_and_its_puts_are_there(tmp_path, ending):
    program = textwrap.dedent(PROGRAM) + ENDINGS[ending] + "\n"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), ending],
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )
    expected = {"SIGTERM": -signal.SIGTERM, "SIGINT": -signal.SIGINT, "an exception": 1}
    assert done.returncode == expected.get(ending, 0), done.stderr
    acked = [line.split() for line in (tmp_path / "acked").read_text().splitlines()]
    assert len(acked) >= 20
    with CacheManager(tmp_path / "metadata.db", tmp_path / "cache") as cache:
        for key, count in acked:
            assert cache.get_cached_data(key).equals(pl.DataFrame({"n": [int(count)]}))
            assert "bt" in cache.backtests(key)
