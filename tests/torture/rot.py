"""Bit rot: files, catalog and log go bad in every byte, and no wrong frame comes out.

Plain damage to an entry's file is caught by its checksum. Sealed damage comes with the checksum of
the damaged bytes in row and name, as from somebody who may write the catalog too: then decoder and
stamp stand alone. The catalog, its write-ahead log and the change counters are damaged in a copy
that is opened anew each time.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from tests.torture.outcome import PROGRAM, Effort, Outcome, folder_in_memory

HANGS_AFTER_S = 900.0  # For a whole job, also on a busy machine.
# In memory, where there is room: nothing here depends on what reached a disk.
# Of how many places one is tried, by effort: about 3 000 in a sample, every one else.
EVERY = {"sample": {"file": 131, "catalog": 149}}


@dataclass(frozen=True)
class Job:
    """One process: a part of one kind of damage to one file."""

    counts_as: str
    command: tuple[str, ...]
    options: dict[str, str]

    def argv(self, place: Path) -> list[str]:
        named = {**self.options, "dir": str(place / "work"), "progress": str(place / "at")}
        texts = [text for name, value in named.items() for text in (f"--{name}", value)]
        return [str(PROGRAM), *self.command, *texts]


def _flat_bars() -> pl.DataFrame:
    """Some 12 KB of bars as they are usually kept."""
    rows = 340
    prices = [100.0 + ((i * 7919) % 1000) / 100 for i in range(rows)]
    return pl.DataFrame(
        {
            "timestamp": [datetime(2023, 1, 2) + timedelta(minutes=i) for i in range(rows)],
            "open": prices,
            "close": [price + (i * 104729) % 97 / 100 for i, price in enumerate(prices)],
            "volume": [(i * 15485863) % 1_000_003 for i in range(rows)],
        }
    )


def _rich_frame() -> pl.DataFrame:
    """Nulls, texts, categories, zones, decimals and nesting: the ways through Arrow's reader."""
    rows = 60
    words = [None if i % 7 == 3 else f"text {i * 31 % 17} of some length" for i in range(rows)]
    return pl.DataFrame(
        {
            "text": words,
            "symbol": pl.Series([f"S{i % 5}" for i in range(rows)], dtype=pl.Categorical),
            "side": pl.Series(["buy", "sell"] * (rows // 2), dtype=pl.Enum(["buy", "sell"])),
            "when": pl.Series(
                [datetime(2024, 1, 1) + timedelta(hours=i) for i in range(rows)],
                dtype=pl.Datetime("us", "America/New_York"),
            ),
            "price": pl.Series([f"{i}.25" for i in range(rows)]).cast(pl.Decimal(20, 4)),
            "flags": [None if i % 11 == 0 else i % 3 == 0 for i in range(rows)],
            "levels": [[float(i), None, i / 3] if i % 4 else [] for i in range(rows)],
            "quote": [{"bid": float(i), "venue": f"V{i % 3}"} for i in range(rows)],
        }
    )


def _studied_bars() -> pl.DataFrame:
    """Over 1024 rows: dictionaries, differences, runs."""
    rows = 1500
    return pl.DataFrame(
        {
            "timestamp": [1_600_000_000 + 60 * i + i % 3 for i in range(rows)],
            "symbol": [("A", "A SYMBOL THAT IS LONG", None)[i * 7 % 3] for i in range(rows)],
            "close": [float((i * 7919) % 50) / 4 for i in range(rows)],
        }
    )


def _make_image(place: Path, page_size: int) -> Path:
    image = place / f"image-{page_size}"
    image.mkdir()
    with sqlite3.connect(image / "metadata.db") as database:
        database.execute(f"PRAGMA page_size={page_size}")
        database.execute("PRAGMA user_version=0")
        database.execute("VACUUM")
    database.close()
    command = [str(PROGRAM), "rot-image", "--dir", str(image), "--phase"]
    subprocess.run([*command, "1"], check=True)
    with sqlite3.connect(image / "metadata.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    # What is put now stays in the log.
    subprocess.run([*command, "2"], check=True)
    return image


def _file_jobs(place: Path, effort: Effort, seed: int) -> list[Job]:
    frames = {"flat": _flat_bars(), "rich": _rich_frame(), "studied": _studied_bars()}
    for name, frame in frames.items():
        frame.write_parquet(place / f"{name}.parquet")
    step = EVERY.get(effort.name, {}).get("file", 1)
    jobs = []
    for name in frames:
        for what in ("flips", "sealed-flips", "lengths", "sealed-lengths", "blocks"):
            jobs += [
                Job(
                    "truncations" if what.endswith("lengths") else "flips",
                    ("rot-file",),
                    {
                        "frame": str(place / f"{name}.parquet"),
                        "what": what,
                        "part": str(part),
                        "parts": str(effort.processes),
                        "step": str(step),
                        "seed": str(seed),
                    },
                )
                for part in range(effort.processes)
            ]
    return jobs


def _catalog_jobs(place: Path, effort: Effort, seed: int) -> list[Job]:
    small = _make_image(place, 512)  # A page has little slack: each byte says something.
    usual = _make_image(place, 4096)
    step = EVERY.get(effort.name, {}).get("catalog", 1)
    shapes = [
        (small, "metadata.db", "flips", step),
        (small, "metadata.db-wal", "flips", step),
        (small, "metadata.db-wal", "lengths", 13 * step),
        (small, "metadata.db", "lengths", 13 * step),
        (small, "metadata.db", "blocks", 1),
        (usual, "metadata.db", "flips", 17 * step),
        (usual, "metadata.db-wal", "flips", 17 * step),
        (small, "metadata.db-barcache", "flips", 61 * step),
    ]
    return [
        Job(
            "catalog truncations" if kind == "lengths" else "catalog flips",
            ("rot-catalog",),
            {
                "image": str(image),
                "file": name,
                "kind": kind,
                "part": str(part),
                "parts": str(effort.processes),
                "step": str(every),
                "seed": str(seed),
            },
        )
        for image, name, kind, every in shapes
        for part in range(effort.processes)
    ]


def _place_of(progress: Path) -> str:
    data = progress.read_bytes() if progress.exists() else b""
    return str(struct.unpack("=Q", data)[0]) if len(data) == 8 else "the beginning"


def _run(job: Job, effort: Effort) -> tuple[Job, int, list[str]]:
    """How many were tried, and what broke."""
    place = Path(tempfile.mkdtemp(prefix="barcache-rot-", dir=folder_in_memory()))
    (place / "work").mkdir()
    try:
        done = subprocess.run(
            job.argv(place),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=HANGS_AFTER_S,
            env={**os.environ, **effort.environment},
            check=False,
        )
        *said, last = done.stdout.splitlines() or [""]
        if last.startswith("tried "):
            return job, int(last.split()[1]), said
        said = [*said, last, f"ended with {done.returncode} at {_place_of(place / 'at')}"]
        return job, 0, [line for line in [*said, done.stderr[-1000:]] if line]
    except subprocess.TimeoutExpired:
        return job, 0, [f"hung for {HANGS_AFTER_S:.0f} s at {_place_of(place / 'at')}"]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run_once(effort: Effort, seed: int, outcome: Outcome) -> None:
    place = Path(tempfile.mkdtemp(prefix="barcache-rot-", dir=folder_in_memory()))
    try:
        jobs = [*_file_jobs(place, effort, seed), *_catalog_jobs(place, effort, seed)]
        with ThreadPoolExecutor(effort.processes) as pool:
            results = list(pool.map(lambda job: _run(job, effort), jobs))
        for job, tried, said in results:
            outcome.counts[job.counts_as] += tried
            outcome.counts["flips and truncations"] += tried
            if not said:
                continue
            replay = ["python", "-m", "tests.torture.run", effort.name, "--part", "rot"]
            what = " ".join(f"{name}={value}" for name, value in job.options.items())
            text = "\n      ".join([f"{job.command[0]} {what}", *said[:10]])
            outcome.breaks(text, [*replay, "--seed", str(seed)])
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run(effort: Effort) -> Outcome:
    """Every place once; with hours to spend, again with other bits, blocks and bytes."""
    outcome = Outcome("rot")
    began = time.monotonic()
    seed = effort.seed
    while True:
        _run_once(effort, seed, outcome)
        seed += 1
        spent = time.monotonic() - began
        if effort.name != "hours" or spent > effort.seconds:
            return outcome
