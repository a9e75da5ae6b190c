"""`make sanitize` cannot pass by saying nothing: what counts as a report, a skip and a failure."""

import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.sanitize import run  # noqa: E402

FLAVOUR = run.Flavour("asan", {"ASAN_OPTIONS": "x=1"}, {"leak": "LeakSanitizer"}, {"ARROW": "yes"})
REPORTS = (
    "==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1",
    "==1==ERROR: LeakSanitizer: detected memory leaks",
    "WARNING: ThreadSanitizer: data race (pid=1)",
    "a.cc:1:2: runtime error: signed integer overflow",
    "ThreadSanitizer: CHECK failed: sanitizer_deadlock_detector.h:67",
    "==1==ThreadSanitizer: dup thread with used id 0x7fff",
)


@pytest.fixture
def execute(tmp_path):
    """Runs a shell script as if it were a program of a build; arguments as `Runner.run` takes."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def execute(script, timeout_s=60.0, is_gtest=False):
        runner = run.Runner(FLAVOUR, tmp_path, scratch, timeout_s)
        return runner.run(run.Job("room_test", ["sh", "-c", script], is_gtest))

    return execute


def test_silence_is_no_report(execute):
    result = execute('[ "$ARROW" = yes ] && echo fine')
    assert (result.tests, result.reports, result.broken) == (1, 0, [])


@pytest.mark.parametrize("line", REPORTS)
def test_a_report_fails_wherever_it_is_written_and_though_the_program_passes(execute, line):
    log = 'echo "$LINE" >"${ASAN_OPTIONS##*log_path=}.123"'
    for script in (f"LINE='{line}'; {log}", f"echo '{line}' >&2"):
        result = execute(script)
        assert result.reports == 1
        assert line in result.broken[0]


def test_two_reports_are_two(execute):
    assert execute(f"echo '{REPORTS[2]}'; echo '{REPORTS[2]}'").reports == 2


def test_a_refused_allocation_is_no_report(execute):
    line = "==1==WARNING: AddressSanitizer failed to allocate 0x10000 bytes"
    assert execute(f"echo '{line}'").broken == []


def test_a_failure_without_a_report_fails(execute):
    result = execute("echo because; exit 3")
    assert result.reports == 0
    assert "ended with 3" in result.broken[0]
    assert "because" in result.broken[0]


def test_a_program_that_hangs_is_ended(execute):
    assert "killed" in execute("sleep 600", timeout_s=0.2).broken[0]


def test_skipped_tests_and_their_reasons_are_counted(execute):
    result = execute(
        """cat >"${GTEST_OUTPUT#xml:}" <<'END'
<testsuites><testsuite name="A">
<testcase name="one" status="run"/>
<testcase name="two" status="run"><skipped message="a.cc:1&#x0A;no root"/></testcase>
<testcase name="of another shard" status="notrun"/>
</testsuite></testsuites>
END""",
        is_gtest=True,
    )
    assert (result.tests, result.skipped, result.broken) == (2, Counter({"no root": 1}), [])


def build_of(tmp_path, tests, probe):
    """A build of one program with so many tests, of which one runs, and of that probe."""
    programs = {"tests/sanitize/sanitizer_probe": probe, "room_test": "exit 0"}
    programs["tests/torture/torture"] = 'echo "gets 1"'
    for name, script in programs.items():
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
    added = [f'add_test([=[room/{i}]=] "{tmp_path}/room_test")\n' for i in range(tests)]
    (tmp_path / "CTestTestfile.cmake").write_text("".join(added))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return run.run_flavour(FLAVOUR, tmp_path, scratch, [], 1, 60.0)


def test_a_report_of_a_storm_fails(tmp_path):
    program = tmp_path / "tests" / "torture" / "torture"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\n[ "$1" = storm-worker ] && echo "{REPORTS[2]}"\n')
    program.chmod(0o700)
    storm = run.Runner(FLAVOUR, tmp_path, tmp_path, 60.0).storm("lru", 0)
    assert (storm.tests, storm.reports) == (1, run.STORM_PROCESSES)
    assert len(storm.broken) == run.STORM_PROCESSES


SOUND_PROBE = f'[ "$1" = nothing ] || echo "{REPORTS[1]}"'


def test_tests_that_did_not_run_fail(tmp_path):
    total = build_of(tmp_path, 2, SOUND_PROBE)
    assert total.broken == ["room_test: 2 tests did not run to their end"]


@pytest.mark.parametrize("probe", ["exit 0", f"echo '{REPORTS[1]}'"])
def test_a_probe_that_is_silent_or_says_too_much_fails(tmp_path, probe):
    total = build_of(tmp_path, 0, probe)
    assert len(total.broken) == 1
    assert "report" in total.broken[0]


def test_every_fault_of_the_probe_is_asked_for():
    source = (ROOT / "tests" / "sanitize" / "probe.cc").read_text()
    faults = {fault for flavour in run.FLAVOURS.values() for fault in flavour.probes}
    for fault in faults | {"nothing"}:
        assert f'{{"{fault}",' in source
    assert source.count('      {"') == len(faults) + 1
