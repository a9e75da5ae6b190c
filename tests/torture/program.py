"""A run of the program `torture`, whose lines become a part's outcome."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.torture.outcome import PROGRAM

if TYPE_CHECKING:
    from tests.torture.outcome import Effort, Outcome


def run_program(
    outcome: Outcome,
    words: list[str],
    folder: str,
    effort: Effort,
    *,
    hangs_after_s: float,
    tries: int = 1,
) -> None:
    """Runs `torture`, a part's name and its options, in `folder`, and notes what it says.

    Its lines are "count <what> <number>", "broken<tab><what><tab><options that show it again>" and
    "skipped<tab><why>", which leaves out as many `tries`.
    """
    command = [str(PROGRAM), *words]
    try:
        done = subprocess.run(
            [*command, "--folder", folder],
            capture_output=True,
            text=True,
            env={**os.environ, **effort.environment},
            timeout=hangs_after_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        outcome.breaks(f"took more than {hangs_after_s:.0f} s", command)
        return
    for line in done.stdout.splitlines():
        kind, _, rest = line.partition("\t")
        if kind == "broken":
            what, _, replay = rest.partition("\t")
            again = ["--folder", f"/tmp/barcache-{outcome.part}", *replay.split()]
            outcome.breaks(what, [str(PROGRAM), words[0], *again])
        elif kind == "skipped":
            outcome.skipped[rest] += tries
        elif line.startswith("count "):
            what, _, number = line.removeprefix("count ").rpartition(" ")
            outcome.counts[what] += int(number)
    if done.returncode != 0 and not outcome.broken:
        outcome.breaks(f"exit code {done.returncode}: {done.stderr[-500:]}", command)
