"""An acknowledged put survives kill -9; what a kill interrupts is a miss or the older frame."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import polars as pl
import pytest
from barcache import CacheManager

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import sys
import polars as pl
from barcache import CacheManager

cache = CacheManager(sys.argv[1], sys.argv[2], cold_cache_size_mb=0.2, durability=sys.argv[3])
number = 0
while True:
    number += 1
    key = f"key{number % 7}"
    if number % 11 == 0:
        print("clear", key, number, flush=True)
        cache.clear_cache(cache_key=key)
        print("cleared", key, number, flush=True)
        continue
    print("put", key, number, flush=True)
    cache.put_cached_data(key, pl.DataFrame({"number": [number] * 50}), dataset_id=1)
    print("stored", key, number, flush=True)
"""


def possible_numbers(lines: list[str]) -> dict[str, set[int | None]]:
    """What each key may hold, by what the writer said before it died."""
    possible: dict[str, set[int | None]] = {f"key{number}": {None} for number in range(7)}
    for line in lines:
        word, key, text = line.split()
        if word == "put":
            possible[key] = possible[key] | {int(text)}
        elif word == "clear":
            possible[key] = possible[key] | {None}
        else:
            possible[key] = {int(text) if word == "stored" else None}
    return possible


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_a_put_that_returned_survives_kill_9(tmp_path: Path, durability: str) -> None:
    chance = random.Random(1)
    db_path, directory = str(tmp_path / "metadata.db"), str(tmp_path / "cache")
    for _ in range(4):
        with CacheManager(db_path, directory) as cache:
            cache.clear_cache()
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, db_path, directory, durability],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(chance.randint(20, 300))]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        writer.wait()
        lines = [line for line in lines if line.endswith("\n")]
        with CacheManager(db_path, directory) as cache:
            for key, numbers in possible_numbers(lines).items():
                df = cache.get_cached_data(key)
                held = None if df is None else df["number"][0]
                assert held in numbers, f"{key} holds {held}, not one of {numbers}"
                assert df is None or df.equals(pl.DataFrame({"number": [held] * 50}))
            report = cache.check()
            assert not report["missing_files"], "a row without its file"
            assert not report["corrupt_files"]
            assert not report["totals_differ"]
