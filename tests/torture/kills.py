"""Kills: a process dies at every moment at which something outside it changes.

`torture kills` does a scripted operation in a child and kills it before each of its system calls
that change something, or at each failpoint, and at each of those of the recovery afterwards; a
fresh process compares what it finds with an oracle outside the directory.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.torture.outcome import PROGRAM, ROOT, Effort, Outcome, folder_in_memory
from tests.torture.program import run_program

if TYPE_CHECKING:
    from collections.abc import Iterator

DURABILITIES = ("normal", "full")
# Beside these another process has the cache open, its frames in memory.
SURVIVED = ("put", "put_left", "replace", "put_many", "evict_lru", "clear", "drop", "checkpoint")
SURVIVED += ("pins", "flight", "fill_gaps", "restate", "merge")

Options = dict[str, str | int]


def _sweeps(effort: Effort, scenarios: list[str], turn: int) -> Iterator[Options]:
    """What `torture kills` shall do, as its options."""
    chance = random.Random(effort.seed * 1000 + turn)
    sample = effort.name == "sample"
    for number, scenario in enumerate(scenarios):
        for durability in DURABILITIES:
            common: Options = {"scenario": scenario, "durability": durability}
            if sample and durability == DURABILITIES[(number + effort.seed) % 2]:
                stride = 20
                calls = {"stride": stride, "offset": chance.randint(1, stride)}
                yield {**common, "kind": "calls", **calls}
                continue
            if not sample:
                yield {**common, "kind": "calls"}
                term = {"signal": "term", "stride": 9, "offset": chance.randint(1, 9)}
                yield {**common, "kind": "calls", **term}
            nested = 16 if sample else 6
            step = {"stride": 3, "offset": chance.randint(1, 3)} if sample else {}
            yield {**common, "kind": "failpoints", "nested": nested, **step}
        if scenario in SURVIVED:
            durability = chance.choice(DURABILITIES)
            beside: Options = {"scenario": scenario, "durability": durability, "survivor": 1}
            yield {**beside, "kind": "failpoints"}
            if not sample:
                yield {**beside, "kind": "calls", "stride": 3, "offset": chance.randint(1, 3)}


def failpoints_in_sources() -> set[str]:
    """The names of all failpoints but those of the sources' own tests."""
    sources = [path for path in (ROOT / "src").rglob("*.cc") if not path.stem.endswith("_test")]
    sources += (ROOT / "src").rglob("*.h")
    texts = (path.read_text(encoding="utf-8") for path in sources)
    return {name for text in texts for name in re.findall(r'\bFailpoint\("([\w.]+)"\)', text)}


def check_failpoints(outcome: Outcome) -> None:
    """Each failpoint is passed by a scenario, so that somebody is killed there."""
    with tempfile.TemporaryDirectory(prefix="barcache-kills-", dir=folder_in_memory()) as folder:
        command = [str(PROGRAM), "failpoints", "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    passed = set(done.stdout.split())
    in_sources = failpoints_in_sources()
    outcome.counts["failpoints"] = len(passed & in_sources)
    for name in sorted(in_sources - passed):
        outcome.breaks(f"no scenario passes the failpoint {name}", command)


def _run_sweep(options: Options, effort: Effort, deadline: float) -> Outcome:
    """One run of the program; nothing once the time is up."""
    outcome = Outcome("kills")
    if time.monotonic() >= deadline:
        return outcome
    words = [
        "kills",
        *(word for name, value in options.items() for word in (f"--{name}", str(value))),
    ]
    with tempfile.TemporaryDirectory(prefix="barcache-kills-", dir=folder_in_memory()) as folder:
        run_program(outcome, words, folder, effort, hangs_after_s=300)
    return outcome


def run(effort: Effort) -> Outcome:
    """Every scenario in both durabilities; under "hours" again and again."""
    outcome = Outcome("kills")
    if "BARCACHE_MUTANT" not in os.environ and not effort.mutant:
        check_failpoints(outcome)
    names = subprocess.run([PROGRAM, "scenarios"], capture_output=True, text=True, check=True)
    scenarios = names.stdout.split()
    deadline = time.monotonic() + effort.seconds
    for turn in range(1_000_000):
        with ThreadPoolExecutor(effort.processes) as workers:
            sweeps = list(_sweeps(effort, scenarios, turn))
            # Where the time is up before all are done, others are left out each time.
            random.Random(effort.seed + turn).shuffle(sweeps)
            parts = workers.map(lambda options: _run_sweep(options, effort, deadline), sweeps)
            for part in parts:
                outcome.add(part)
                if outcome.broken and "BARCACHE_MUTANT" in os.environ:
                    workers.shutdown(cancel_futures=True)
                    return outcome  # It is caught.
        if effort.name != "hours" or outcome.broken or time.monotonic() > deadline:
            break
    return outcome
