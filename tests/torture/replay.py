"""Replay: the calls of an operation are recorded, and states built that a power cut may leave.

`torture replay` records what a scripted operation does to its files, builds after each call what
must be there and a part of what need not (dropped, reordered or torn up to the next fsync, on a
file system that promises nothing more), and lets a fresh process compare that with an oracle.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from tests.torture.outcome import Effort, Outcome, folder_in_memory
from tests.torture.program import run_program

STATES = {"sample": 12, "ci": 300, "hours": 2000}  # Of each scenario and durability, about.
SCENARIOS = ("put", "put_left", "replace", "put_large", "put_many", "put_many_evicting")
SCENARIOS += ("evict_lru", "evict_size", "evict_gdsf", "evict_s3fifo", "clear", "record")
SCENARIOS += ("checkpoint", "open_left")
# In normal mode a new directory's catalog may be lost while a file of it stays, which is foreign
# from then on and left alone; and with an entry that is a miss go its pin and its coverage.
FULL_ONLY = ("first_use", "pins", "fill_gaps", "restate", "merge")
HANGS_AFTER_S = 300.0


def _run_one(scenario: str, durability: str, seed: int, effort: Effort) -> Outcome:
    outcome = Outcome("replay")
    words = ["replay", "--scenario", scenario, "--durability", durability, "--seed", str(seed)]
    words += ["--states", str(STATES[effort.name])]
    with tempfile.TemporaryDirectory(prefix="barcache-replay-", dir=folder_in_memory()) as folder:
        run_program(outcome, words, folder, effort, hangs_after_s=HANGS_AFTER_S)
    return outcome


def run(effort: Effort) -> Outcome:
    """Each scenario in both durabilities; under "hours" again and again."""
    outcome = Outcome("replay")
    deadline = time.monotonic() + effort.seconds
    ways = [
        *itertools.product(SCENARIOS, ("full", "normal")),
        *((one, "full") for one in FULL_ONLY),
    ]
    for turn in itertools.count():
        with ThreadPoolExecutor(effort.processes) as workers:
            seed = effort.seed + turn
            for part in workers.map(lambda way, seed=seed: _run_one(*way, seed, effort), ways):
                outcome.add(part)
        over = outcome.broken or outcome.skipped or time.monotonic() > deadline
        if effort.name != "hours" or over:
            return outcome
    return outcome
