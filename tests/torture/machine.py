"""The Python API against a model (tests/python/test_state_machine.py), more sequences of calls."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.torture.outcome import ROOT, Effort, Outcome

RUNS = {"sample": 30, "ci": 400, "hours": 400}
TEST = "tests/python/test_state_machine.py"


def run(effort: Effort) -> Outcome:
    """One run of pytest; under "hours" again and again with other seeds."""
    outcome = Outcome("machine")
    began = time.monotonic()
    number = 0
    while number == 0 or (effort.name == "hours" and time.monotonic() - began < effort.seconds):
        runs = RUNS[effort.name]
        command = [sys.executable, "-m", "pytest", "-q", TEST, "--no-header", "-p", "no:logging"]
        command += ["--hypothesis-seed", str(effort.seed + number)]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "BARCACHE_MACHINE_RUNS": str(runs)},
            capture_output=True,
            text=True,
            check=False,
        )
        outcome.counts["sequences"] += runs
        if done.returncode != 0:
            replay = ["env", f"BARCACHE_MACHINE_RUNS={runs}", *command]
            outcome.breaks(done.stdout[-3000:], replay)
            break
        number += 1
    return outcome
