"""`make torture-ci`, `make torture HOURS=n` and the sample of `.ci/run`: faults against promises.

    python -m tests.torture.run sample|ci|hours [--hours N] [--seed N] [--part NAME ...] [--write]

Each part injects one kind of fault and asks an oracle that lives outside the cache's directory
whether docs/reliability.md still holds. A broken promise is printed with the command that shows it
again. Exit code 0: none was broken, and a full run reached its counts.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time

from tests.torture import report
from tests.torture.goals import GOALS, Goal
from tests.torture.outcome import Effort, Outcome

SECONDS = {"sample": 40.0, "ci": 600.0}  # The most that one part may take.
WHOLE_S = {"sample": 180, "ci": 1500}  # What all of it may take on two idle processors.


def _run_part(goal: Goal, effort: Effort) -> Outcome:
    module = importlib.import_module(f"tests.torture.{goal.part}")
    began = time.monotonic()
    outcome: Outcome = module.run(effort)
    outcome.seconds = time.monotonic() - began
    if effort.name == "ci" and not outcome.skipped:
        for what, least in goal.least.items():
            if outcome.counts[what] < least:
                outcome.broken.append(f"{goal.part}: {outcome.counts[what]} {what}, not {least}")
    return outcome


def _print(outcome: Outcome) -> None:
    counts = ", ".join(f"{number:,} {what}" for what, number in sorted(outcome.counts.items()))
    verdict = "ok" if not outcome.broken else f"{len(outcome.broken)} BROKEN"
    print(f"{outcome.part:10} {verdict:10} {outcome.seconds:6.1f} s  {counts}", flush=True)
    for why, often in sorted(outcome.skipped.items()):
        print(f"{'':10} skipped {often:,}: {why}")
    for text in outcome.broken[:20]:
        print(f"  BROKEN {text}")
    if len(outcome.broken) > 20:
        print(f"  and {len(outcome.broken) - 20} more")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("effort", choices=["sample", "ci", "hours"])
    parser.add_argument("--hours", type=float, default=1.0, help="with 'hours': how long, in all")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--part", action="append", choices=[goal.part for goal in GOALS])
    parser.add_argument("--write", action="store_true", help="put the figures into the document")
    arguments = parser.parse_args()
    goals = [goal for goal in GOALS if not arguments.part or goal.part in arguments.part]
    seconds = SECONDS.get(arguments.effort, arguments.hours * 3600 / max(1, len(goals)))
    effort = Effort(arguments.effort, arguments.seed, seconds, os.cpu_count() or 1)
    print(f"torture {effort.name}, seed {effort.seed}", flush=True)
    outcomes = []
    for goal in goals:
        outcome = _run_part(goal, effort)
        _print(outcome)
        outcomes.append(outcome)
    failed = sum(bool(outcome.broken) for outcome in outcomes)
    if arguments.write:
        report.write(effort, outcomes)
    took_s = sum(outcome.seconds for outcome in outcomes)
    if took_s > WHOLE_S.get(arguments.effort, took_s):
        print(f"SLOW: {took_s:.0f} s, not {WHOLE_S[arguments.effort]}: are the processors busy?")
    print(f"torture: {len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
