"""Limits of the system itself, met through the Python API: a full disk, no name to be had, files
that may not grow, no descriptor, no memory, a file system or a directory that cannot be written.

Each case is a process of its own, in a mount namespace of its own where it mounts something. It
fills a cache, meets the limit, goes on getting and putting there, and is freed of it. What holds:
a put is done or raises an error of a type that fits and says what to do; what was put before is
served all the while; nothing half-written is left; all works again without the limit; and a fresh
process finds everything that was acknowledged.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import logging
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import barcache
import polars as pl
from barcache import CacheManager

from tests.torture.outcome import ROOT, Effort, Outcome

ROUNDS = {"sample": 1, "ci": 8, "hours": 8}  # Of each case, with other seeds.
HANGS_AFTER_S = 120.0
CANNOT = 77  # Exit code of a case that this machine cannot do; the reason is on stderr.
NOBODY = 65534
KEPT = 6
TRIES = 25

ADVICE = re.compile(r"[;:] (free|raise|check|lower) ")

Limit = Callable[[], contextlib.AbstractContextManager[None]]


def frame_of(number: int, rows: int = 300) -> pl.DataFrame:
    """A frame that no codec shortens, another for each number."""
    noise = random.Random(number)
    return pl.DataFrame({"number": [number] * rows, "noise": [noise.random() for _ in range(rows)]})


class Limited:
    """A cache that meets a limit: what was acknowledged, and what is wrong."""

    def __init__(self, place: Path, seed: int, durability: str = "normal") -> None:
        self.place = place
        self.dice = random.Random(seed)
        self.durability = durability
        self.acknowledged: dict[str, pl.DataFrame] = {}
        self.counts: Counter[str] = Counter()
        self.cache = self.open()
        for number in range(KEPT):
            self._keep(f"kept-{number}", frame_of(number, 20_000 if number == 0 else 300))

    def open(self, *, read_only: bool = False) -> CacheManager:
        """Without a hot tier: every get reads its file."""
        return CacheManager(
            self.place / "metadata.db",
            self.place / "cache",
            hot_cache_size_mb=0,
            durability=self.durability,
            read_only=read_only,
            busy_timeout_s=5,
        )

    def _keep(self, key: str, frame: pl.DataFrame) -> None:
        self.cache.put_cached_data(key, frame, dataset_id=1)
        self.acknowledged[key] = frame

    def broken(self, what: str) -> None:
        """Says that a promise was broken."""
        print(f"broken {what}", flush=True)

    def serve(self, when: str, cache: CacheManager | None = None) -> None:
        """Everything acknowledged is there, nothing else is."""
        for key, frame in self.acknowledged.items():
            try:
                found = (cache or self.cache).get_cached_data(key)
            except Exception as error:
                self.broken(f"{when}: get of {key}: {type(error).__name__}: {error}")
                continue
            self.counts["gets served at a limit"] += 1
            if found is None or not found.equals(frame):
                self.broken(f"{when}: {key} is {'lost' if found is None else 'another frame'}")

    def put(self, key: str, frame: pl.DataFrame, errors: tuple[type[Exception], ...]) -> bool:
        """Whether it was done; else it raised one of these errors, saying what to do."""
        try:
            self._keep(key, frame)
        except errors as error:
            self.counts["calls refused at a limit"] += 1
            if isinstance(error, barcache.BarcacheError) and str(self.place) not in str(error):
                self.broken(f"an error that does not say on what: {error}")
            if not ADVICE.search(str(error)):
                self.broken(f"an error that does not say what to do: {error}")
            return False
        except BaseException as error:
            self.broken(f"put raised {type(error).__name__}: {error}")
        return True

    def put_until_refused(self, errors: tuple[type[Exception], ...]) -> None:
        """New keys and replacements, small and large; some are refused."""
        refused = 0
        for turn in range(TRIES):
            number = 1000 + turn
            rows = self.dice.choice((10, 300, 3000, 20_000))
            old = self.dice.random() < 0.3
            key = f"kept-{self.dice.randrange(KEPT)}" if old else f"new-{number}"
            refused += not self.put(key, frame_of(number, rows), errors)
        if refused == 0:
            self.broken("nothing was refused")

    def look_for_pieces(self, when: str) -> None:
        """No file but those of entries."""
        rows = {self.cache.lookup_cache(key)["parquet_path"] for key in self.cache.entries()}
        files = {path.name for path in (self.place / "cache").iterdir()}
        for name in files - {Path(row).name for row in rows}:
            self.broken(f"{when}: {name} is nobody's")

    def meet(self, limit: Limit, errors: tuple[type[Exception], ...]) -> None:
        """The whole course. A reader gets all the while."""
        stop = threading.Event()
        reader = threading.Thread(target=self._read_on, args=(stop,))
        with limit():
            reader.start()
            self.put_until_refused(errors)
            self.serve("at the limit")
            stop.set()
            reader.join()
        self.look_for_pieces("after the limit")
        for number in range(5):
            self.put(f"after-{number}", frame_of(2000 + number), ())
        self.serve("after the limit")
        self.cache.close()
        self.verify_afresh()

    def _read_on(self, stop: threading.Event) -> None:
        stays = dict(list(self.acknowledged.items())[:KEPT])
        for key in itertools.cycle(stays):
            if stop.is_set():
                return
            try:
                found = self.cache.get_cached_data(key)
            except Exception as error:
                self.broken(f"a thread that gets {key}: {type(error).__name__}: {error}")
                return
            self.counts["gets served at a limit"] += 1
            if found is None:
                self.broken(f"a thread that gets {key} misses")
                return

    def verify_afresh(self) -> None:
        """A cache opened anew: everything is there, and check finds nothing."""
        with self.open() as cache:
            self.serve("opened anew", cache)
            report = cache.check()
            if not report["clean"]:
                self.broken(f"opened anew: check says {report}")


# --- limits ---------------------------------------------------------------------------------


def mount(*arguments: str | Path) -> None:
    """Mounts something in this process's namespace, or ends with CANNOT."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"nothing can be mounted here: {done.stderr.strip()}", file=sys.stderr)
        sys.exit(CANNOT)


def tmpfs(place: Path, options: str) -> None:
    """A small file system in memory."""
    place.mkdir()
    mount("-t", "tmpfs", "-o", options, "barcache", place)


@contextlib.contextmanager
def soft_limit(what: int, value: int) -> Iterator[None]:
    """The soft limit of a resource of this process."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def fill(path: Path, leave_bytes: int) -> None:
    """Takes all but so many bytes of the file system."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    os.truncate(path, max(0, path.stat().st_size - leave_bytes))


# --- cases ----------------------------------------------------------------------------------

FULL = (barcache.CacheFull,)


class Heard(logging.Handler):
    """What barcache logs at WARNING and above while this is entered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.events: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Notes the event."""
        self.events.append(record.getMessage())

    def __enter__(self) -> None:
        logging.getLogger("barcache").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("barcache").removeHandler(self)


def fetch_at_the_limit(limited: Limited) -> None:
    """get_or_fetch gives what it fetched, and a WARNING says that it was not stored."""
    heard = Heard()
    wanted = frame_of(77, 20_000)
    with heard:
        found = limited.cache.get_or_fetch(
            ["AAPL"], "2023-01-01", "2023-12-31", "1d", "vendor", lambda *_: wanted
        )
    if not wanted.equals(found):
        limited.broken("get_or_fetch did not return what was fetched")
    if not any("cache_fetch_not_stored" in event for event in heard.events):
        limited.broken(f"no warning that the fetch was not stored: {heard.events}")
    limited.counts["calls refused at a limit"] += 1


def disk_full(place: Path, seed: int) -> Limited:
    """Another program takes the whole disk."""
    tmpfs(place / "disk", "size=6m,mode=0700")
    limited = Limited(place / "disk", seed, random.Random(seed).choice(("normal", "full")))

    @contextlib.contextmanager
    def limit() -> Iterator[None]:
        ballast = place / "disk" / "ballast"
        fill(ballast, limited.dice.choice((0, 4096, 20_000, 60_000)))
        yield
        fill(ballast, 0)
        fetch_at_the_limit(limited)
        ballast.unlink()

    limited.meet(limit, FULL)
    return limited


def opened_on_a_full_disk(place: Path, seed: int) -> Limited:
    """It is full when the cache is opened: refused, or hits are served; so they are read-only."""
    tmpfs(place / "disk", "size=6m,mode=0700")
    limited = Limited(place / "disk", seed)
    limited.cache.close()
    ballast = place / "disk" / "ballast"
    fill(ballast, limited.dice.choice((0, 4096, 30_000)))
    for read_only in (True, False):
        try:
            with limited.open(read_only=read_only) as cache:
                limited.serve(f"opened on a full disk, read_only={read_only}", cache)
        except barcache.CacheFull as error:
            limited.counts["calls refused at a limit"] += 1
            if read_only:
                limited.broken(f"opened read-only on a full disk: {error}")
    ballast.unlink()
    limited.verify_afresh()
    return limited


def no_inodes(place: Path, seed: int) -> Limited:
    """No name can be made any more."""
    tmpfs(place / "disk", "size=40m,nr_inodes=64,mode=0700")
    limited = Limited(place / "disk", seed)
    names = place / "disk" / "names"
    names.mkdir()

    @contextlib.contextmanager
    def limit() -> Iterator[None]:
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (names / str(number)).touch()
        for _ in range(limited.dice.randrange(3)):
            next(names.iterdir()).unlink()
        yield
        shutil.rmtree(names)

    limited.meet(limit, FULL)
    return limited


def file_size(place: Path, seed: int) -> Limited:
    """RLIMIT_FSIZE, with the signal ignored, as Python has it."""
    limited = Limited(place, seed)
    most = limited.dice.choice((1000, 5000, 100_000))
    limited.meet(lambda: soft_limit(resource.RLIMIT_FSIZE, most), (barcache.CacheIOError,))
    return limited


def file_size_signal(place: Path, seed: int) -> Limited:
    """The same where the signal ends the process: as any kill."""
    limited = Limited(place, seed)
    limited.cache.close()
    log = place / "acknowledged"
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        with limited.open() as cache, log.open("a", encoding="ascii") as file:
            most = (place / "metadata.db").stat().st_size + 40_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            for number in range(300):
                cache.put_cached_data(f"new-{number}", frame_of(number), dataset_id=1)
                print(number, file=file, flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGXFSZ:
        limited.broken(f"the process was not ended by SIGXFSZ, its status is {status}")
    limited.counts["calls refused at a limit"] += 1
    for number in map(int, log.read_text(encoding="ascii").split()):
        limited.acknowledged[f"new-{number}"] = frame_of(number)
    with limited.open() as cache:
        limited.serve("after SIGXFSZ", cache)
        cache.check(repair=True)
    return limited


def descriptors(place: Path, seed: int) -> Limited:
    """RLIMIT_NOFILE: what cannot be opened is a miss that is logged, and costs no entry."""
    limited = Limited(place, seed)
    heard = Heard()
    with soft_limit(resource.RLIMIT_NOFILE, 3), heard:
        limited.put_until_refused((barcache.CacheIOError,))
        for key in limited.acknowledged:
            if limited.cache.get_cached_data(key) is None:
                limited.counts["calls refused at a limit"] += 1
    if sum("_unreadable" in event for event in heard.events) < len(limited.acknowledged):
        limited.broken("misses without a word of the reason")
    limited.look_for_pieces("after the limit")
    limited.serve("after the limit")
    limited.put("after", frame_of(2000), ())
    limited.cache.close()
    limited.verify_afresh()
    return limited


def memory(place: Path, seed: int) -> Limited:
    """RLIMIT_AS: no room for a large file, to write it or to read it."""
    limited = Limited(place, seed)
    rows = 4_000_000
    large = pl.DataFrame({"noise": list(range(rows))}).select(
        pl.col("noise").hash(limited.dice.randrange(1000)).cast(pl.Float64)
    )
    limited._keep("large", large)
    limited.cache.close()  # Memory that the put has left for the next one goes with it.
    limited.cache = limited.open()
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    spare = limited.dice.choice((8, 16, 24)) << 20
    with soft_limit(resource.RLIMIT_AS, used * resource.getpagesize() + spare):
        for number in range(3):
            if limited.put(f"large-{number}", large, (MemoryError,)):
                limited.broken("a put of 32 MB was done without the memory for it")
        with contextlib.suppress(MemoryError):
            if limited.cache.get_cached_data("large") is not None:
                limited.broken("a get of 32 MB was done without the memory for it")
        limited.counts["calls refused at a limit"] += 1
        small = limited.cache.get_cached_data("kept-1")
        if small is None or not small.equals(limited.acknowledged["kept-1"]):
            limited.broken("a small entry is not served")
        limited.put("small", frame_of(5), ())
    limited.look_for_pieces("after the limit")
    limited.put("after", large, ())
    limited.serve("after the limit")
    limited.cache.close()
    limited.verify_afresh()
    return limited


def read_only_mount(place: Path, seed: int) -> Limited:
    """A read-only file system: opening for writing is refused, read-only all is served."""
    folder = place / "disk"
    tmpfs(folder, "size=40m,mode=0700")
    limited = Limited(folder, seed)
    limited.cache.close()
    del limited.cache  # It holds the counters' file as long as it is there.
    gc.collect()
    mount("-o", "remount,ro", folder)
    try:
        limited.open()
    except barcache.ReadOnly:
        limited.counts["calls refused at a limit"] += 1
    else:
        limited.broken("opened for writing on a read-only file system")
    with limited.open(read_only=True) as cache:
        limited.serve("read-only", cache)
        try:
            cache.put_cached_data("new", frame_of(9), dataset_id=1)
        except barcache.ReadOnly:
            limited.counts["calls refused at a limit"] += 1
        else:
            limited.broken("put on a read-only file system")
    mount("-o", "remount,rw", folder)
    limited.cache = limited.open()
    limited.put("after", frame_of(2000), ())
    limited.cache.close()
    limited.verify_afresh()
    return limited


def read_only_directory(place: Path, seed: int) -> Limited:
    """The directory loses its write permission under an open cache of an ordinary user."""
    if os.geteuid() == 0:
        os.chown(place, NOBODY, NOBODY)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    limited = Limited(place, seed)

    @contextlib.contextmanager
    def limit() -> Iterator[None]:
        (place / "cache").chmod(0o500)
        yield
        (place / "cache").chmod(0o700)

    limited.meet(limit, (barcache.ReadOnly, barcache.CacheIOError))
    return limited


CASES: dict[str, Callable[[Path, int], Limited]] = {
    case.__name__: case
    for case in (
        disk_full,
        opened_on_a_full_disk,
        no_inodes,
        file_size,
        file_size_signal,
        descriptors,
        memory,
        read_only_mount,
        read_only_directory,
    )
}
MOUNTS = {"disk_full", "opened_on_a_full_disk", "no_inodes", "read_only_mount"}


def run_case(name: str, seed: int, place: str) -> None:
    """A case in this process: prints what broke and what was counted."""
    os.umask(0o077)
    limited = CASES[name](Path(place), seed)
    for what, number in limited.counts.items():
        print(f"count {number} {what}")
    print("done")


# --- the part -------------------------------------------------------------------------------


def _why_not(name: str) -> str:
    """Why this machine cannot do the case; "" if it can."""
    if name not in MOUNTS:
        return ""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    return "" if shutil.which("unshare") else "there is no unshare"


def _try_case(name: str, seed: int, outcome: Outcome) -> None:
    if why := _why_not(name):
        outcome.skipped[why] += 1
        return
    command = [sys.executable, "-m", "tests.torture.limits", name, "--seed", str(seed)]
    if name in MOUNTS:
        command = ["unshare", "--mount", *command]
    with tempfile.TemporaryDirectory(prefix="barcache-limits-") as place:
        try:
            done = subprocess.run(
                [*command, "--place", place],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=HANGS_AFTER_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            outcome.breaks(f"{name} hung", command)
            return
    if done.returncode == CANNOT:
        outcome.skipped[done.stderr.strip()] += 1
        return
    lines = done.stdout.splitlines()
    for line in lines:
        if line.startswith("broken "):
            outcome.breaks(f"{name}: {line.removeprefix('broken ')}", command)
        elif line.startswith("count "):
            _, number, what = line.split(" ", 2)
            outcome.counts[what] += int(number)
    if "done" not in lines:
        outcome.breaks(f"{name} ended with {done.returncode}: {done.stderr[-800:]}", command)
    outcome.counts["limits met"] += 1


def run(effort: Effort) -> Outcome:
    """Every case, with some seeds."""
    outcome = Outcome("limits")
    began = time.monotonic()
    for turn in itertools.count():
        for name in CASES:
            _try_case(name, effort.seed * 100 + turn, outcome)
        over = time.monotonic() - began > effort.seconds
        if over or (effort.name != "hours" and turn + 1 == ROUNDS[effort.name]):
            return outcome
    return outcome


def main() -> None:
    """One case, to see it again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--place", help="an empty folder; else one is made")
    arguments = parser.parse_args()
    place = arguments.place or tempfile.mkdtemp(prefix="barcache-limits-")
    run_case(arguments.case, arguments.seed, place)


if __name__ == "__main__":
    main()
