"""Hostile content: crafted files under a memory budget, hostile texts, and nothing outside touched.

Each crafted file is read in a process of its own with its checksum in the row: a sound frame or a
miss, within 512 MB. Keys are compared with Python's own json and hashlib. A run under strace shows
that nothing is opened for writing, made, removed or renamed outside the cache's places.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import struct
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.torture.hostile_parquet import cases
from tests.torture.outcome import PROGRAM, Effort, Outcome

MOST_MB = 512
HANGS_AFTER_S = 60.0
EVERY = {"sample": 12}  # Of how many crafted files one is read.
KEYS = {"sample": 5_000, "ci": 200_000, "hours": 1_000_000}
# What may change beside the cache's own places.
HARMLESS = ("/dev/null", "/dev/tty", "/proc/self/")
WRITES = "open,openat,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link"
WRITES += ",linkat,symlink,symlinkat,truncate,chmod,fchmodat,mknod,mknodat"


def _replay(effort: Effort) -> list[str]:
    run = ["python", "-m", "tests.torture.run", effort.name, "--part", "hostile"]
    return [*run, "--seed", str(effort.seed)]


def _read(name: str, data: bytes, effort: Effort) -> tuple[str, str, list[str]]:
    """Reads one crafted file; its name, the answer, and what broke."""
    place = Path(tempfile.mkdtemp(prefix="barcache-hostile-"))
    try:
        (place / "file").write_bytes(data)
        options = ["--dir", str(place), "--file", str(place / "file"), "--most-mb", str(MOST_MB)]
        done = subprocess.run(
            [str(PROGRAM), "hostile-file", *options],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=HANGS_AFTER_S,
            env={**os.environ, **effort.environment},
            check=False,
        )
        *said, answer = done.stdout.splitlines() or [""]
        if done.returncode != 0 and not said:
            said = [f"ended with {done.returncode}: {done.stderr[-500:]}"]
        return name, answer, said
    except subprocess.TimeoutExpired:
        return name, "", [f"hung for {HANGS_AFTER_S:.0f} s"]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _crafted(effort: Effort, outcome: Outcome) -> None:
    every = EVERY.get(effort.name, 1)
    files = list(cases().items())
    chosen = [files[0], *files[1 + effort.seed % every :: every]]
    with ThreadPoolExecutor(effort.processes) as pool:
        results = list(pool.map(lambda each: _read(each[0], each[1], effort), chosen))
    for name, answer, said in results:
        outcome.counts["hostile Parquet files"] += 1
        outcome.counts["of them a frame"] += answer.startswith("frame")
        if name == "sound" and not answer.startswith("frame 100,"):
            said = [*said, f"the sound file is {answer or 'nothing'}"]
        if said:
            outcome.breaks(f"crafted file '{name}': {'; '.join(said[:5])}", _replay(effort))


# --- keys -------------------------------------------------------------------------------------

TEXTS = (
    "",
    "AAPL",
    "a\0b",
    'quo"te',
    "back\\slash",
    "'; DROP TABLE cache_entries; --",
    "%s%n%d",
    "../../etc/passwd",
    "/",
    ".",
    "..",
    "é",
    "e\u0301",
    "\u202etxt.exe",
    "\u05d0\u05d1",
    "\U0001f4c8",
    "\ufeff",
    "\u2028\u2029",
    "\x7f\x80\x9f",
    "\ud800",
    "\udfff\ud800",
    "line\nbreak\ttab\r",
    "{}[],:",
    "\x00",
    "0",
    "null",
)


def _text(dice: random.Random) -> str:
    roll = dice.random()
    if roll < 0.4:
        return dice.choice(TEXTS)
    if roll < 0.9:
        top = dice.choice((0x7F, 0xFF, 0xFFFF, 0x10FFFF))
        return "".join(chr(dice.randint(0, top)) for _ in range(dice.randint(0, 12)))
    if roll < 0.9995:
        return "".join(dice.choice(TEXTS) for _ in range(dice.randint(1, 6)))
    return dice.choice(TEXTS) * 20_000


def _packed(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return struct.pack("=I", len(data)) + data


def _request(dice: random.Random) -> bytes:
    symbols = [_text(dice) for _ in range(dice.choice((0, 1, 1, 2, 3, 10)))]
    if symbols and dice.random() < 0.1:
        symbols.append(dice.choice(symbols))
    start, end, resolution, source = (_text(dice) for _ in range(4))
    record = struct.pack("=I", len(symbols)) + b"".join(_packed(symbol) for symbol in symbols)
    record += b"".join(_packed(text) for text in (start, end, resolution, source))
    params = {
        "symbols": sorted(symbols),
        "start_date": start,
        "end_date": end,
        "resolution": resolution,
        "data_source": source,
    }
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()
    return record + digest[:16].encode()


def _keys(effort: Effort, outcome: Outcome) -> None:
    dice = random.Random(effort.seed)
    with tempfile.NamedTemporaryFile(prefix="barcache-hostile-") as file:
        for _ in range(KEYS[effort.name]):
            file.write(_request(dice))
        file.flush()
        done = subprocess.run(
            [str(PROGRAM), "compare-keys", "--file", file.name],
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, **effort.environment},
            check=False,
        )
    *said, last = done.stdout.splitlines() or [""]
    if last.startswith("compared "):
        outcome.counts["keys compared with Python's"] += int(last.split()[1])
    if done.returncode != 0:
        outcome.breaks(f"keys: {[*said, last][:5]} {done.stderr[-300:]}", _replay(effort))


# --- nothing outside --------------------------------------------------------------------------


def _outside(line: str, place: Path) -> bool:
    """Whether a traced call changes something beyond the cache's places."""
    if " = -1 " in line or "O_RDONLY" in line:
        return False
    # strace -y names the folder behind a descriptor: openat(5</tmp/x/cache>, "name", ...).
    call = line.split("(", 1)[1] if "(" in line else ""
    # AT_FDCWD<...> is where the program runs; a path of its own is not beneath it here.
    call = re.sub(r"AT_FDCWD<[^>]*>, ", "", call)
    folders = re.findall(r"\d+<([^>]*)>", call)
    paths = re.findall(r'"((?:[^"\\]|\\.)*)"', call)
    named = [path for path in paths if path.startswith("/")] + folders
    plain = [path for path in paths if not path.startswith("/")]
    if plain and not folders:
        return True
    climbs = any(".." in path.split("/") or "/" in path for path in plain)
    inside = (*HARMLESS, f"{place}/", str(place / "cache"))
    return climbs or not all(path.startswith(inside) for path in named)


def _traced(outcome: Outcome) -> None:
    strace = shutil.which("strace")
    if strace is None:
        outcome.skipped["strace is not installed"] += 1
        return
    place = Path(tempfile.mkdtemp(prefix="barcache-hostile-")).resolve()
    trace = place.parent / f"{place.name}.trace"
    try:
        command = [strace, "-f", "-y", "-qq", "-o", str(trace), "-e", f"trace={WRITES}"]
        command += [str(PROGRAM), "hostile-paths", "--dir", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if "ptrace" in done.stderr:
            outcome.skipped["strace may not trace here"] += 1
            return
        lines = trace.read_text(errors="replace").splitlines()
        wrong = [line for line in lines if _outside(line, place)]
        outcome.counts["traced calls that write"] += len(lines)
        if done.returncode != 0:
            outcome.breaks(f"hostile-paths: {done.stdout[-500:]} {done.stderr[-300:]}", command)
        if not any("unlinkat" in line for line in lines):
            outcome.breaks("the trace shows no removal at all", command)
        if wrong:
            outcome.breaks("outside: " + "\n      ".join(wrong[:5]), command)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        trace.unlink(missing_ok=True)


def run(effort: Effort) -> Outcome:
    """Crafted files once; keys with the seed's texts; one traced run."""
    outcome = Outcome("hostile")
    began = time.monotonic()
    _traced(outcome)
    _crafted(effort, outcome)
    seed = effort.seed
    while True:
        _keys(Effort(effort.name, seed, effort.seconds, effort.processes, effort.mutant), outcome)
        seed += 1
        if effort.name != "hours" or time.monotonic() - began > effort.seconds:
            return outcome
