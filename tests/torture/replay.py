"""Replay: the calls of an operation are recorded, and states built that a power cut may leave.

`torture replay` records what a scripted operation does to its files, builds after each call what
must be there and a part of what need not (dropped, reordered or torn up to the next fsync, on a
file system that promises nothing more), and lets a fresh process compare that with an oracle.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.torture.outcome import PROGRAM, Effort, Outcome

STATES = {"sample": 12, "ci": 300, "hours": 2000}  # Of each scenario and durability, about.
SCENARIOS = ("put", "put_left", "replace", "put_large", "put_many", "put_many_evicting")
SCENARIOS += ("evict_lru", "evict_size", "evict_gdsf", "evict_s3fifo", "clear", "record")
SCENARIOS += ("checkpoint", "open_left")
# In normal mode a new directory's catalog may be lost while a file of it stays, which is foreign
# from then on and left alone; and with an entry that is a miss go its pin and its coverage.
FULL_ONLY = ("first_use", "pins", "fill_gaps", "restate", "merge")
HANGS_AFTER_S = 300.0


def _place() -> str | None:
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None


def _run_one(scenario: str, durability: str, seed: int, effort: Effort) -> Outcome:
    outcome = Outcome("replay")
    command = [str(PROGRAM), "replay", "--scenario", scenario, "--durability", durability]
    command += ["--seed", str(seed), "--states", str(STATES[effort.name])]
    with tempfile.TemporaryDirectory(prefix="barcache-replay-", dir=_place()) as folder:
        try:
            done = subprocess.run(
                [*command, "--folder", folder],
                capture_output=True,
                text=True,
                env={**os.environ, **effort.environment},
                timeout=HANGS_AFTER_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            outcome.breaks("hung", command)
            return outcome
    for line in done.stdout.splitlines():
        kind, _, rest = line.partition("\t")
        if kind == "broken":
            what, _, replay = rest.partition("\t")
            words = [str(PROGRAM), "replay", "--folder", "/tmp/barcache-replay", *replay.split()]
            outcome.breaks(what, words)
        elif kind == "skipped":
            outcome.skipped[rest] += 1
        elif line.startswith("count "):
            what, _, number = line.removeprefix("count ").rpartition(" ")
            outcome.counts[what] += int(number)
    if done.returncode != 0 and not outcome.broken:
        outcome.breaks(f"exit code {done.returncode}: {done.stderr[-500:]}", command)
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
                outcome.counts += part.counts
                outcome.skipped += part.skipped
                outcome.broken += part.broken
        over = outcome.broken or outcome.skipped or time.monotonic() > deadline
        if effort.name != "hours" or over:
            return outcome
    return outcome
