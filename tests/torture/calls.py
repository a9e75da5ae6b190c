"""Failing calls: every call that an operation makes fails in turn, alone or with all after it.

`failing-calls` (faults/) stands in front of the C library, memory and SQLite. After each trial the
state is the old one or the new one, errors are typed and say what to do, nothing temporary and no
descriptor is left, and the next operation works. The system's own limits: limits.py.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from tests.torture.outcome import PROGRAM, Effort, Outcome, folder_in_memory

TRIALS_PROGRAM = PROGRAM.parent / "failing-calls"
MOST = {"sample": 2, "ci": 12, "hours": 1_000_000}  # Trials of one operation, kind and way to fail.
MOST_OF_MEMORY = {"sample": 10, "ci": 60}  # An operation takes memory some thousand times.
PAIRS = {"sample": 30}  # Of an operation and a kind, beside these, of which every call is tried:
ALWAYS = (
    ("open-after-kill", "enospc"),
    ("replace", "eio"),
    ("rebuild-lost", "emfile"),
    ("rebuild", "enolck"),
)
HANGS_AFTER_S = 300.0


def _pairs() -> list[tuple[str, str]]:
    listed = subprocess.run(
        [TRIALS_PROGRAM, "--list", "1"], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    words = [line.split() for line in listed if line]
    operations = [name for what, name in words if what == "operation"]
    kinds = [name for what, name in words if what == "kind"]
    return [(operation, kind) for operation in operations for kind in kinds]


def _try_pair(effort: Effort, operation: str, kind: str, seed: int) -> tuple[int, list[str]]:
    """All trials of one pair: how many calls failed, and what was broken."""
    with tempfile.TemporaryDirectory(prefix="barcache-calls-", dir=folder_in_memory()) as place:
        command = [str(TRIALS_PROGRAM), "--operation", operation, "--kind", kind]
        most = 100 if (operation, kind) in ALWAYS else MOST[effort.name]
        if kind == "malloc":
            most = MOST_OF_MEMORY.get(effort.name, most)
        command += ["--place", f"{place}/x", "--most", str(most), "--seed", str(seed)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env={**os.environ, **effort.environment},
                timeout=HANGS_AFTER_S,
                check=False,
            )
            said, code = done.stdout + done.stderr, done.returncode
        except subprocess.TimeoutExpired as hung:
            said = hung.stdout.decode() if isinstance(hung.stdout, bytes) else ""
            code = -1
    lines = said.splitlines()
    trial = "before the first trial"
    broken = []
    for line in lines:
        if line.startswith("trial "):
            trial = line
        elif line.startswith("broken "):
            broken.append(f"{operation}, {kind}, {trial}: {line.removeprefix('broken ')}")
    summary = [line.split() for line in lines if line.startswith("trials ")]
    if not summary:
        broken.append(f"{operation}, {kind}, {trial}: ended with {code}: {' '.join(lines[-2:])}")
    return int(summary[0][1]) if summary else 0, broken


def run(effort: Effort) -> Outcome:
    """Each operation against each kind of fault, or a sample of the pairs."""
    outcome = Outcome("calls")
    began = time.monotonic()
    number = 0
    while number == 0 or (effort.name == "hours" and time.monotonic() - began < effort.seconds):
        seed = effort.seed + number
        pairs = _pairs()
        random.Random(seed).shuffle(pairs)
        pairs = pairs[: PAIRS.get(effort.name, len(pairs))]
        pairs += [pair for pair in ALWAYS if pair not in pairs]
        with ThreadPoolExecutor(effort.processes) as crew:
            done = crew.map(lambda pair, seed=seed: _try_pair(effort, *pair, seed), pairs)
            for failed, broken in done:
                outcome.counts["failing calls"] += failed
                for text in broken:
                    replay = ["python", "-m", "tests.torture.run", effort.name, "--part", "calls"]
                    outcome.breaks(text, [*replay, "--seed", str(seed)])
        number += 1
    return outcome
