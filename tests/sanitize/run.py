"""`make sanitize`: the C++ tests under sanitizers; one report fails.

    python -m tests.sanitize.run asan|tsan ... [--program NAME ...] [--jobs N] [--timeout SECONDS]

Runs what the build of each flavour has as tests: the rooms' programs in shards, and the replay of
the fuzz corpora; then storms of threads and processes. Every report is counted, that of a forked
child too: the runtimes write them into files of a folder of their own, or into the program's
output. Before that the probe (probe.cc) commits one fault of each kind: a fault that is not
reported fails too, so that a build without its sanitizer cannot pass.
Exit code 0: every test ran, or was skipped for a reason that is said, and there was no report.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS_PER_SHARD = 60
# Storms (tests/torture/storm.py) for what races between threads; their history is checked there.
# Its storms of forks are not for a sanitizer: the runtimes of GCC hold locks of their own at a
# fork, and a child of a process whose threads allocate at that moment hangs in them.
STORM_ROUNDS = (("lru", 0), ("size", 1), ("hybrid", 0), ("gdsf", 1), ("s3fifo", 0))
STORM_PROCESSES = 3
STORM_OPERATIONS = 1000  # Of each of a process's eight threads.

# A report's first line. A refused allocation is none: the tests ask for more than there is.
REPORT = re.compile(
    r"(?:ERROR|WARNING): \w+Sanitizer(?! failed to allocate)|: runtime error: |\w+Sanitizer: CHECK"
    r"|FATAL: \w+Sanitizer|^==\d+==\w+Sanitizer: dup",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Flavour:
    """A build under sanitizers: how its runtimes are set, and which faults they have to see."""

    name: str
    options: dict[str, str]  # Variable of a runtime: its settings.
    probes: dict[str, str]  # Fault of probe.cc: what its report has to say.
    environment: dict[str, str]


# What Arrow allocates, which is not built with a sanitizer, goes through the sanitizer's malloc.
ARROW = {"ARROW_DEFAULT_MEMORY_POOL": "system"}

FLAVOURS = {
    "asan": Flavour(
        "asan",
        options={
            # The tests ask for more memory than there is, to see it refused.
            "ASAN_OPTIONS": "allocator_may_return_null=1:detect_stack_use_after_return=1"
            ":strict_string_checks=1:check_initialization_order=1:detect_leaks=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        },
        probes={
            "heap-overflow": "heap-buffer-overflow",
            "use-after-free": "heap-use-after-free",
            "use-after-give": "use-after-poison",
            "leak": "LeakSanitizer: detected memory leaks",
            "signed-overflow": "runtime error: signed integer overflow",
            "heap-overflow-in-child": "heap-buffer-overflow",
            "signed-overflow-in-child": "runtime error: signed integer overflow",
        },
        environment=ARROW,
    ),
    "tsan": Flavour(
        "tsan",
        options={
            # They fork while threads run; what the child may do then is what they are about.
            "TSAN_OPTIONS": "halt_on_error=0:die_after_fork=0:allocator_may_return_null=1"
            ":second_deadlock_stack=1:history_size=4",
        },
        probes={
            "data-race": "ThreadSanitizer: data race",
            "lock-order": "ThreadSanitizer: lock-order-inversion",
            "data-race-in-child": "ThreadSanitizer: data race",
        },
        # The thread of an allocator inside Arrow, which is not used here, would make every fork one
        # of a program with threads, and in the child of such a one the sanitizer sees little.
        environment={**ARROW, "JE_ARROW_MALLOC_CONF": "background_thread:false"},
    ),
}


@dataclass
class Result:
    """What came of one program, or of one shard of it."""

    program: str
    tests: int = 0  # That began, the skipped ones included.
    skipped: Counter[str] = field(default_factory=Counter)  # Reason: how many tests.
    reports: int = 0
    broken: list[str] = field(default_factory=list)  # Failures, with what there is to read.
    seconds: float = 0.0

    def add(self, other: Result) -> None:
        self.tests += other.tests
        self.skipped += other.skipped
        self.reports += other.reports
        self.broken += other.broken
        self.seconds += other.seconds


@dataclass(frozen=True)
class Job:
    """A command to be run, and the part of it that this run does."""

    program: str
    command: list[str]
    is_gtest: bool
    shard: int = 0
    shards: int = 1


class Runner:
    """Runs programs of one build so that no report is lost."""

    def __init__(self, flavour: Flavour, build: Path, scratch: Path, timeout_s: float):
        self._flavour = flavour
        self._build = build
        self._scratch = scratch
        self._timeout_s = timeout_s

    def _environment(self, folder: Path) -> dict[str, str]:
        logs = folder / "report"
        options = {
            variable: f"{settings}:log_path={logs}-{variable.split('_')[0].lower()}"
            for variable, settings in self._flavour.options.items()
        }
        return {**os.environ, **self._flavour.environment, **options}

    def execute(
        self, command: list[str], extra: dict[str, str], name: str
    ) -> tuple[int, str, list[str]]:
        """Exit code, output, and reports of the program and of all its children."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._scratch))
        output = folder / "output"
        # GCC's ThreadSanitizer finds no room beside addresses that are spread too widely.
        still = ["setarch", platform.machine(), "--addr-no-randomize"]
        with output.open("wb") as out:
            process = subprocess.Popen(
                [*still, *command],
                cwd=self._build,
                env={**self._environment(folder), **extra},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(self._timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = -signal.SIGKILL
        text = output.read_text(errors="replace")
        if code == -signal.SIGKILL:
            text += f"\nkilled, after {self._timeout_s:.0f} s at most"
        logs = [path.read_text(errors="replace") for path in sorted(folder.glob("report-*"))]
        # GCC's UndefinedBehaviorSanitizer beside AddressSanitizer writes to stderr all the same.
        return code, text, [report for report in [text, *logs] if REPORT.search(report)]

    def probe(self, fault: str, expected: str) -> str:
        """What is wrong with the sanitizer; "" where it reports the fault."""
        program = str(self._build / "tests" / "sanitize" / "sanitizer_probe")
        code, text, reports = self.execute([program, fault], {}, f"probe-{fault}")
        if any(expected in report for report in reports):
            return ""
        return f"the fault {fault!r} was not reported (exit code {code}): {text[-500:]}"

    def innocent(self) -> str:
        """What is wrong where the probe does nothing; "" where nothing is reported."""
        program = str(self._build / "tests" / "sanitize" / "sanitizer_probe")
        code, text, reports = self.execute([program, "nothing"], {}, "probe-nothing")
        if code == 0 and not reports:
            return ""
        return f"reported without a fault (exit code {code}): {[*reports, text][0][-2000:]}"

    def run(self, job: Job) -> Result:
        began = time.monotonic()
        result = Result(job.program)
        extra, xml = {}, self._scratch / f"{Path(job.program).name}-{job.shard}.xml"
        if job.is_gtest:
            extra = {
                "GTEST_TOTAL_SHARDS": str(job.shards),
                "GTEST_SHARD_INDEX": str(job.shard),
                "GTEST_OUTPUT": f"xml:{xml}",
                "GTEST_BRIEF": "1",
            }
        name = job.program.replace("/", "-")
        code, text, reports = self.execute(job.command, extra, name)
        where = f"{job.program} ({job.shard + 1} of {job.shards})"
        for report in reports:
            result.reports += max(1, len(REPORT.findall(report)))
            result.broken.append(f"{where}: {report.strip()[:6000]}")
        if code != 0 and not (reports and code > 0):
            result.broken.append(f"{where} ended with {code}:\n{text[-3000:]}")
        if not job.is_gtest:
            result.tests = 1
        elif xml.exists():
            _read_tests(xml, result)
        result.seconds = time.monotonic() - began
        return result

    def storm(self, policy: str, roomy: int) -> Result:
        """One round: processes of eight threads on one directory, doing everything at once."""
        began = time.monotonic()
        result = Result("storms", tests=1)
        place = Path(tempfile.mkdtemp(prefix="storm-", dir=self._scratch))
        for folder in ("cache", "log"):
            (place / folder).mkdir()
        options = {
            "dir": place / "cache",
            "log": place / "log",
            "threads": 8,
            "operations": STORM_OPERATIONS,
            "keys": 24,
            "seed": 1,
            "roomy": roomy,
            "policy": policy,
            "durability": "normal",
        }
        texts = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        program = str(self._build / "tests" / "torture" / "torture")
        commands = [
            [program, "storm-worker", *texts, "--worker", str(worker)]
            for worker in range(STORM_PROCESSES)
        ]
        with ThreadPoolExecutor(STORM_PROCESSES) as pool:
            done = list(pool.map(lambda command: self.execute(command, {}, "storm"), commands))
        for code, text, reports in done:
            for report in reports:
                result.reports += len(REPORT.findall(report))
                result.broken.append(f"storm of {policy}: {report.strip()[:6000]}")
            if code != 0 and not reports:
                result.broken.append(f"storm of {policy} ended with {code}: {text[-3000:]}")
        result.seconds = time.monotonic() - began
        return result


def _read_tests(xml: Path, result: Result) -> None:
    for test in ElementTree.parse(xml).iter("testcase"):
        if test.get("status") != "run":
            continue
        result.tests += 1
        for skip in test.iter("skipped"):
            message = skip.get("message", "")
            result.skipped[message.splitlines()[-1] if message else "no reason given"] += 1


def tests_of(build: Path) -> tuple[dict[str, list[str]], Counter[str]]:
    """The programs that ctest knows in a build: their commands, and how many tests each has."""
    listed = subprocess.run(
        ["ctest", "--test-dir", str(build), "--show-only=json-v1"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    commands: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for test in json.loads(listed)["tests"]:
        command = [word for word in test["command"] if not word.startswith("--gtest_")]
        program = Path(command[0]).name
        commands[program] = command
        counts[program] += 1
    return commands, counts


def jobs_of(commands: dict[str, list[str]], counts: Counter[str]) -> list[Job]:
    """Programs with the most tests first, so that the last minutes are not one program's."""
    jobs = []
    for program, _ in counts.most_common():
        is_gtest = program.endswith("_test")
        shards = max(1, -(-counts[program] // TESTS_PER_SHARD)) if is_gtest else 1
        jobs += [
            Job(program, commands[program], is_gtest, shard, shards) for shard in range(shards)
        ]
    return jobs


def _print(flavour: str, result: Result, listed: int) -> None:
    verdict = "ok" if not result.broken else "FAILED"
    skipped = sum(result.skipped.values())
    print(
        f"{flavour:5} {result.program:14} {verdict:6} {result.tests - skipped:4} of {listed:4}"
        f" tests  {skipped:2} skipped  {result.reports:2} reports  {result.seconds:6.1f} s",
        flush=True,
    )
    for reason, often in sorted(result.skipped.items()):
        print(f"{'':20} skipped {often}: {reason}")
    for text in result.broken[:5]:
        print(f"  {text}")


def run_flavour(
    flavour: Flavour, build: Path, scratch: Path, programs: list[str], jobs: int, timeout_s: float
) -> Result:
    """All of one flavour; prints a line for each program."""
    runner = Runner(flavour, build, scratch, timeout_s)
    total = Result(flavour.name)
    wrong = [why for fault, says in flavour.probes.items() if (why := runner.probe(fault, says))]
    wrong += [why for why in [runner.innocent()] if why]
    total.broken += wrong
    verdict = f"{len(flavour.probes)} faults, {len(wrong)} wrong answers"
    print(f"{flavour.name:5} probe: {verdict}", *wrong, sep="\n  ", flush=True)
    commands, counts = tests_of(build)
    if unknown := set(programs) - {*commands, "storms"}:
        raise SystemExit(f"no such programs: {', '.join(sorted(unknown))}")
    chosen = [job for job in jobs_of(commands, counts) if not programs or job.program in programs]
    results = {job.program: Result(job.program) for job in chosen}
    left = Counter(job.program for job in chosen)
    with ThreadPoolExecutor(jobs) as pool:
        for done in pool.map(runner.run, chosen):
            result = results[done.program]
            result.add(done)
            left[done.program] -= 1
            if left[done.program] > 0:
                continue
            if result.tests != counts[done.program]:
                missing = counts[done.program] - result.tests
                result.broken.append(f"{done.program}: {missing} tests did not run to their end")
            _print(flavour.name, result, counts[done.program])
            total.add(result)
    if not programs or "storms" in programs:
        storms = Result("storms")
        for policy, roomy in STORM_ROUNDS:
            storms.add(runner.storm(policy, roomy))
        _print(flavour.name, storms, len(STORM_ROUNDS))
        total.add(storms)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("flavours", nargs="+", choices=list(FLAVOURS))
    parser.add_argument("--program", action="append", default=[], help="this one alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one shard")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="holds asan and tsan")
    arguments = parser.parse_args()
    failed = False
    for name in arguments.flavours:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="barcache-sanitize-") as scratch:
            total = run_flavour(
                FLAVOURS[name],
                arguments.build / name,
                Path(scratch),
                arguments.program,
                arguments.jobs,
                arguments.timeout,
            )
        failed = failed or bool(total.broken)
        skipped = sum(total.skipped.values())
        print(
            f"sanitize {name}: {total.tests - skipped} tests run, {skipped} skipped,"
            f" {total.reports} reports, {len(total.broken)} failures,"
            f" {time.monotonic() - began:.0f} s",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
