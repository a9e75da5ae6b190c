"""The parts of the torture tests and what each must reach in `make torture-ci`.

A part is a module of this folder with `run(effort: Effort) -> Outcome`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A part, what it does in one sentence, and the least counts of a full run."""

    part: str
    about: str
    least: dict[str, int]


GOALS: tuple[Goal, ...] = (
    Goal(
        "kills",
        "A process dies at every moment of every operation; a fresh one finds all promises kept.",
        {"kills": 2000, "kills during recovery": 1000},
    ),
    Goal(
        "power",
        "The power of a real ext4 file system is cut; what each durability promises is there.",
        {"power cuts, full": 500, "power cuts, normal": 500},
    ),
    Goal(
        "replay",
        "The calls of each operation are replayed up to a power cut, what no fsync kept in part.",
        {"states after a power cut": 5_000},
    ),
    Goal(
        "storm",
        "Eight processes of eight threads do everything at once; no get is wrong or stale.",
        {"storm operations": 2_000_000, "kills": 20, "stops": 20},
    ),
    Goal(
        "forks",
        "A process forks while its threads get and put; children work, and nothing is lost.",
        {"forks": 300},
    ),
    Goal(
        "machine",
        "Random sequences of Python calls, with damage to files between them, agree with a model.",
        {"sequences": 300},
    ),
    Goal(
        "rot",
        "Files, catalog and log go bad in every byte; no wrong frame comes out and nothing dies.",
        {"flips and truncations": 150_000},
    ),
    Goal(
        "hostile",
        "Crafted files, texts and rows: a sound frame or a miss within 512 MB, nothing outside.",
        {"hostile Parquet files": 140, "keys compared with Python's": 200_000},
    ),
    Goal(
        "calls",
        "Each call that an operation makes fails in turn: the old state or the new, typed errors.",
        {"failing calls": 3_000},
    ),
    Goal(
        "limits",
        "Disk, names, descriptors or memory run out for real: gets go on, puts are refused.",
        {"limits met": 50, "calls refused at a limit": 500},
    ),
)
