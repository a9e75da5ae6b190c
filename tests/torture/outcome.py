"""What a part of the torture tests is told and what it answers."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build" / "torture" / "tests" / "torture" / "torture"


@dataclass(frozen=True)
class Effort:
    """How much a part shall do."""

    name: str  # "sample": within seconds; "ci": the counts of goals.py; "hours": until time is up.
    seed: int
    seconds: float  # "hours": go on this long; else no part may take longer than this.
    processes: int  # How many may be busy at once.
    mutant: str = ""  # Step that the program leaves out: something must break.

    @property
    def environment(self) -> dict[str, str]:
        """What the program's environment gains."""
        return {"BARCACHE_MUTANT": self.mutant} if self.mutant else {}


@dataclass
class Outcome:
    """What a part did and found."""

    part: str
    counts: Counter[str] = field(default_factory=Counter)  # What was done, by goals.py's names.
    broken: list[str] = field(default_factory=list)  # Promises broken, each with its replay.
    skipped: Counter[str] = field(default_factory=Counter)  # Why this machine could not: how often.
    seconds: float = 0.0

    def breaks(self, what: str, replay: list[str]) -> None:
        """Notes a broken promise and the command that shows it again."""
        self.broken.append(f"{what}\n    replay: {shlex.join(replay)}")

    def add(self, part: Outcome) -> None:
        """Adds what a share of the work did and found."""
        self.counts += part.counts
        self.skipped += part.skipped
        self.broken += part.broken


def folder_in_memory() -> str | None:
    """Where thousands of small caches are made; None: wherever temporary files go.

    A kill loses nothing that was written, on a disk or not.
    """
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None
