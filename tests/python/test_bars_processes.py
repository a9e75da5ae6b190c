"""Several processes ask for overlapping bars on one directory, and some are killed meanwhile.

All of them merge what they find, too.
"""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl

TIME_LIMIT_S = 60
WORKER = """
import random, sys
from datetime import date, timedelta
import polars as pl
from barcache import CacheManager

folder, seed, count, log = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
FIRST = date(2020, 1, 1)
SYMBOLS = ["A", "B", "C"]


def vendor(symbols, start, end, resolution):
    with open(log, "a") as lines:
        lines.write(f"{','.join(symbols)} {start} {end}\\n")
    days = pl.date_range(start, end, eager=True)
    frame = pl.DataFrame({"date": days, "close": days.to_physical() * 1.0})
    bars = [frame.with_columns(symbol=pl.lit(symbol)) for symbol in symbols]
    return pl.concat(bars).filter(pl.col("date").dt.weekday() < 6)


cache = CacheManager(f"{folder}/metadata.db", f"{folder}/cache")
r = random.Random(seed)
print("ready", flush=True)
for _ in range(count):
    symbols = sorted(r.sample(SYMBOLS, r.randint(1, 3)))
    start = FIRST + timedelta(days=r.randint(0, 300))
    end = start + timedelta(days=r.randint(0, 120))
    answer = cache.get_or_fetch(symbols, start, end, "1d", "vendor", vendor, overlap=0)
    days = pl.date_range(start, end, eager=True)
    days = days.filter(days.dt.weekday() < 6)
    assert answer["symbol"].to_list() == [s for s in symbols for _ in days], (symbols, start, end)
    assert answer["date"].to_list() == [day for _ in symbols for day in days]
    assert (answer["close"] == answer["date"].to_physical()).all()
    if r.random() < 0.3:
        cache._merge_now("vendor", "1d", "", symbols, "date", 2)
cache.close()
"""


def start(folder: Path, seed: int, count: int) -> subprocess.Popen[str]:
    log = folder / f"calls-{seed}.txt"
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(seed), str(count), str(log)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


def finish(process: subprocess.Popen[str]) -> None:
    _, error = process.communicate(timeout=TIME_LIMIT_S)
    assert process.returncode == 0, error


def test_every_answer_is_whole_while_others_write_and_are_killed(make, tmp_path):
    rng = random.Random(11)
    survivors = [start(tmp_path, seed, 80) for seed in (1, 2)]
    for seed in range(100, 106):
        victim = start(tmp_path, seed, 10_000)
        time.sleep(rng.uniform(0.0, 0.15))
        victim.send_signal(signal.SIGKILL)
        victim.communicate(timeout=TIME_LIMIT_S)
    for process in survivors:
        finish(process)
    finish(start(tmp_path, 3, 80))  # After all of that.

    cache = make()
    rows = cache.coverage()
    ends = rows.with_columns(following=pl.col("begin").shift(-1).over("symbol"))
    assert ends.filter(pl.col("following") < pl.col("end")).is_empty(), "intervals are disjoint"
    assert cache.check()["clean"] or cache.check(repair=True)["repaired"]
    held = set(cache.entries())
    assert set(rows.filter(state="data")["segment_key"]) <= held


def test_what_one_process_fetched_no_other_one_fetches(tmp_path):
    finish(start(tmp_path, 7, 200))
    first = (tmp_path / "calls-7.txt").read_text()
    assert first
    (tmp_path / "calls-7.txt").unlink()
    finish(start(tmp_path, 7, 200))
    assert not (tmp_path / "calls-7.txt").exists(), "all of it was there"
