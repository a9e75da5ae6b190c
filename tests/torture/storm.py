"""Storms: eight processes of eight threads do everything at once, and nothing they see is wrong.

Each put has a value of its own; what a get returned is held against all that was done, by
`torture storm-check`. Rounds take turns: tiny limits, where eviction never stops, and roomy ones,
where a miss needs somebody who erased; all policies; both durabilities; in half of the rounds
workers are killed or stopped at random moments and others take their places.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.outcome import PROGRAM, Effort, Outcome

PROCESSES = 8
THREADS = 8
KEYS = 24
OPERATIONS = {"sample": 1_000, "ci": 3_500, "hours": 3_500}  # Of one thread in one round.
TOTAL = {"sample": 150_000, "ci": 2_000_000}
POLICIES = ("lru", "size", "hybrid", "gdsf", "s3fifo")
HANGS_AFTER_S = 120.0


@dataclass
class Round:
    """One directory, the workers on it, and how each ended."""

    effort: Effort
    seed: int
    place: Path
    roomy: bool
    violent: bool
    policy: str
    durability: str
    deaths: dict[int, int] = field(default_factory=dict)
    finished_gets: int = 0
    all_ended_well: bool = True
    kills: int = 0
    stops: int = 0

    def command(self, name: str, worker: int) -> list[str]:
        options = {
            "dir": self.place / "cache",
            "log": self.place / "log",
            "worker": worker,
            "threads": THREADS,
            "operations": OPERATIONS[self.effort.name],
            "keys": KEYS,
            "seed": self.seed,
            "roomy": int(self.roomy),
            "policy": self.policy,
            "durability": self.durability,
        }
        texts = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return [str(PROGRAM), name, *texts]

    def start(self, worker: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command("storm-worker", worker),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **self.effort.environment},
        )


def _end(one: Round, worker: int, process: subprocess.Popen[str], killed: bool) -> list[str]:
    """Waits for a worker; what it had to say against the cache."""
    try:
        said, _ = process.communicate(timeout=HANGS_AFTER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        one.deaths[worker] = time.monotonic_ns()
        return [f"worker {worker} hung for {HANGS_AFTER_S:.0f} s: {said[-300:]}"]
    one.deaths[worker] = time.monotonic_ns()
    lines = said.splitlines()
    if killed and process.returncode == -signal.SIGKILL:
        one.all_ended_well = False
        return [line for line in lines if not line.startswith("gets ")]
    if lines and lines[-1].startswith("gets "):
        one.finished_gets += int(lines.pop().split()[1])
    if process.returncode != 0 and not lines:
        lines = [f"ended with {process.returncode}"]
    return [f"worker {worker}: {line}" for line in lines]


def _hurt(one: Round, dice: random.Random, running: dict[int, subprocess.Popen[str]]) -> list[str]:
    """Kills and stops workers at random moments; the dead are replaced, at most twice as many."""
    said: list[str] = []
    next_worker = len(running)
    while next_worker < 2 * PROCESSES:
        time.sleep(dice.uniform(0.02, 0.25))
        alive = [worker for worker, process in running.items() if process.poll() is None]
        if not alive:
            break
        worker = dice.choice(alive)
        if dice.random() < 0.5:
            running[worker].send_signal(signal.SIGSTOP)
            time.sleep(dice.uniform(0.0, 0.2))
            running[worker].send_signal(signal.SIGCONT)
            one.stops += 1
            continue
        running[worker].kill()
        one.kills += 1
        said += _end(one, worker, running.pop(worker), killed=True)
        running[next_worker] = one.start(next_worker)
        next_worker += 1
    return said


def _check(one: Round, outcome: Outcome) -> list[str]:
    """After the storm: the directory, the counters, and the history of every key."""
    end = subprocess.run(one.command("storm-end", 900), capture_output=True, text=True, check=False)
    lines = (end.stdout + end.stderr).splitlines()
    recorded = [int(line.split()[1]) for line in lines if line.startswith("recorded ")]
    said = [line for line in lines if not line.startswith("recorded ")]
    if end.returncode != 0 and not said:
        said.append(f"storm-end ended with {end.returncode}")
    one.deaths[900] = time.monotonic_ns()
    if recorded and one.all_ended_well and recorded[0] != one.finished_gets:
        said.append(f"{recorded[0]} gets were recorded of {one.finished_gets}")
    deaths = one.place / "deaths"
    deaths.write_text("".join(f"{worker} {ns}\n" for worker, ns in one.deaths.items()))
    look = [str(PROGRAM), "storm-check", "--log", str(one.place / "log")]
    check = subprocess.run(
        [*look, "--deaths", str(deaths), "--roomy", str(int(one.roomy))],
        capture_output=True,
        text=True,
        check=False,
    )
    *wrong, summary = check.stdout.splitlines() or ["storm-check said nothing"]
    words = summary.split()
    if words[:1] != ["operations"]:
        return [*said, *wrong, summary, check.stderr]
    outcome.counts["storm operations"] += int(words[1])
    outcome.counts["gets compared"] += int(words[3])
    return said + wrong


def _run_round(effort: Effort, seed: int, outcome: Outcome) -> None:
    """One round; its kind is its seed's, so that the seed alone shows it again."""
    dice = random.Random(seed)
    place = Path(tempfile.mkdtemp(prefix="barcache-storm-"))
    (place / "log").mkdir()
    (place / "cache").mkdir()
    one = Round(
        effort,
        seed,
        place,
        roomy=seed % 2 == 1,
        violent=seed % 4 >= 2,
        policy=POLICIES[seed % len(POLICIES)],
        durability="full" if seed % 7 == 5 else "normal",
    )
    try:
        running = {worker: one.start(worker) for worker in range(PROCESSES)}
        said = _hurt(one, dice, running) if one.violent else []
        for worker, process in running.items():
            said += _end(one, worker, process, killed=False)
        said += _check(one, outcome)
        outcome.counts["kills"] += one.kills
        outcome.counts["stops"] += one.stops
        if said:
            replay = ["python", "-m", "tests.torture.run", effort.name, "--part", "storm"]
            replay += ["--seed", str(seed)]
            text = "\n      ".join(said[:10])
            kind = f"round {seed}, {'roomy' if one.roomy else 'tiny'}, {one.policy}"
            outcome.broken.append(f"{kind}:\n      {text}\n    replay: {shlex.join(replay)}")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run(effort: Effort) -> Outcome:
    """Rounds until the operations are done, or the time is up."""
    outcome = Outcome("storm")
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < effort.seconds:
        if outcome.counts["storm operations"] >= TOTAL.get(effort.name, 1 << 62):
            break
        if outcome.broken and effort.name != "hours":
            break
        _run_round(effort, effort.seed + number, outcome)
        number += 1
    outcome.counts["rounds"] = number
    return outcome
