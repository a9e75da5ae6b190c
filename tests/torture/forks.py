"""Forks: a process forks while its threads get and put; every child works, and nothing is lost.

Children get, put, fork once more, and end by exit, by closing or by SIGKILL; one that hangs for
five seconds is a broken promise. Then a fresh process reads every put that anybody acknowledged.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from tests.torture.outcome import PROGRAM, Effort, Outcome

FORKS = {"sample": 40, "ci": 500}
FORKS_OF_A_ROUND = 50
THREADS = 4


def _run(command: list[str], effort: Effort) -> tuple[int, list[str]]:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**os.environ, **effort.environment},
            timeout=60 + FORKS_OF_A_ROUND * 5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, ["the parent hung"]
    return done.returncode, (done.stdout + done.stderr).splitlines()


def run(effort: Effort) -> Outcome:
    """Rounds of forks until their number is reached, or the time is up."""
    outcome = Outcome("forks")
    began = time.monotonic()
    wanted = FORKS.get(effort.name, 1 << 62)
    number = 0
    while outcome.counts["forks"] < wanted and time.monotonic() - began < effort.seconds:
        seed = effort.seed + number
        with tempfile.TemporaryDirectory(prefix="barcache-forks-") as place:
            forks = min(FORKS_OF_A_ROUND, wanted - outcome.counts["forks"])
            common = ["--dir", f"{place}/cache", "--acked", f"{place}/acked"]
            Path(place, "cache").mkdir()
            storm = [str(PROGRAM), "fork-storm", *common, "--forks", str(forks)]
            storm += ["--threads", str(THREADS), "--seed", str(seed)]
            code, said = _run(storm, effort)
            end_code, end_said = _run([str(PROGRAM), "fork-end", *common], effort)
            acknowledged = [line for line in end_said if line.startswith("acknowledged ")]
            said += [line for line in end_said if line not in acknowledged]
        outcome.counts["forks"] += forks
        outcome.counts["acknowledged puts"] += sum(int(line.split()[1]) for line in acknowledged)
        if code != 0 or end_code != 0 or not acknowledged:
            replay = ["python", "-m", "tests.torture.run", effort.name, "--part", "forks"]
            outcome.breaks("\n      ".join(said[:10]), [*replay, "--seed", str(seed)])
            break
        number += 1
    return outcome
