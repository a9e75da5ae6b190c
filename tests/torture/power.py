"""Power cuts: a writer works on a real ext4 file system, which goes down at a random moment.

`torture power` makes an ext4 image in memory, lets a child put, replace, remove and evict there,
shuts the file system down after some acknowledgement without letting the journal out (the ioctl
EXT4_IOC_SHUTDOWN), kills the child, mounts anew, and lets a fresh process compare what is there
with an oracle outside the image. Needs root and loop devices.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from tests.torture.outcome import Effort, Outcome
from tests.torture.program import run_program

CUTS = {"sample": 8, "ci": 275, "hours": 1000}  # Of each durability and way of mounting.
CUTS_OF_A_MUTANT = 80  # It ends with the first that shows something.


def _run_cuts(durability: str, data: str, seed: int, cuts: int, effort: Effort) -> Outcome:
    outcome = Outcome("power")
    words = ["power", "--durability", durability, "--data", data, "--seed", str(seed)]
    words += ["--cuts", str(cuts), "--seconds", str(int(effort.seconds))]
    with tempfile.TemporaryDirectory(prefix="barcache-power-") as folder:
        place, hangs_after_s = f"{folder}/cuts", effort.seconds + 120
        run_program(outcome, words, place, effort, hangs_after_s=hangs_after_s, tries=cuts)
    return outcome


def run(effort: Effort) -> Outcome:
    """Both durabilities on both ways of mounting; under "hours" again and again."""
    outcome = Outcome("power")
    deadline = time.monotonic() + effort.seconds
    cuts = CUTS_OF_A_MUTANT if "BARCACHE_MUTANT" in os.environ else CUTS[effort.name]
    ways = list(itertools.product(("normal", "full"), ("ordered", "writeback")))
    for turn in itertools.count():
        with ThreadPoolExecutor(effort.processes) as workers:
            runs = [
                workers.submit(_run_cuts, *way, effort.seed * 1000 + turn * 10 + i, cuts, effort)
                for i, way in enumerate(ways)
            ]
            for one in runs:
                outcome.add(one.result())
        over = outcome.broken or outcome.skipped or time.monotonic() > deadline
        if effort.name != "hours" or over:
            break
    return outcome
