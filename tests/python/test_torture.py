"""The frame of the torture tests: its lists are complete, and its figures are those of the run."""

import importlib
import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.torture import (  # noqa: E402
    calls,
    forks,
    hostile,
    kills,
    program,
    report,
    rot,
    run,
    storm,
)
from tests.torture.goals import GOALS, Goal  # noqa: E402
from tests.torture.mutants import MUTANTS  # noqa: E402
from tests.torture.outcome import Effort, Outcome  # noqa: E402

EFFORT = Effort("ci", seed=7, seconds=1.0, processes=2)


def in_sources(call: str) -> set[str]:
    sources = [path for path in (ROOT / "src").rglob("*.cc") if not path.stem.endswith("_test")]
    sources += (ROOT / "src").rglob("*.h")
    texts = [path.read_text() for path in sources if path.name not in ("failpoint.h",)]
    return {name for text in texts for name in re.findall(rf'\b{call}\("([\w.]+)"\)', text)}


def test_every_mutant_is_in_the_list_and_in_the_sources():
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names))
    assert set(names) == in_sources("Mutant")


def test_a_failpoint_that_no_scenario_passes_is_a_failure(monkeypatch):
    names = kills.failpoints_in_sources()
    assert {"rebuild.drafted", "file.renamed", "catalog.committed"} <= names
    said = "\n".join(names - {"rebuild.drafted"})
    monkeypatch.setattr(
        kills.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, said)
    )
    outcome = Outcome("kills")
    kills.check_failpoints(outcome)
    assert outcome.counts["failpoints"] == len(names) - 1
    (broken,) = outcome.broken
    assert "rebuild.drafted" in broken


def test_every_part_can_be_run_and_has_its_section():
    page = (ROOT / "docs" / "reliability.md").read_text()
    for goal in GOALS:
        assert callable(importlib.import_module(f"tests.torture.{goal.part}").run)
        assert f"**{goal.part}**" in page, f"docs/reliability.md does not say what {goal.part} does"


def test_a_full_run_that_does_too_little_has_failed(monkeypatch):
    goal = Goal("lazy", "Does nothing.", {"kills": 2})
    lazy = type(sys)("tests.torture.lazy")
    lazy.run = lambda _: Outcome("lazy", Counter(kills=1))
    monkeypatch.setitem(sys.modules, "tests.torture.lazy", lazy)
    assert run._run_part(goal, EFFORT).broken == ["lazy: 1 kills, not 2"]
    assert run._run_part(goal, Effort("sample", 7, 1.0, 2)).broken == []


def test_what_could_not_be_done_is_no_failure_but_is_said(monkeypatch, capsys):
    goal = Goal("barred", "Needs root.", {"cuts": 2})
    barred = type(sys)("tests.torture.barred")
    barred.run = lambda _: Outcome("barred", skipped=Counter({"no loop device": 3}))
    monkeypatch.setitem(sys.modules, "tests.torture.barred", barred)
    monkeypatch.setattr(run, "GOALS", (goal,))
    monkeypatch.setattr(sys, "argv", ["run", "ci"])
    assert run.main() == 0
    said = capsys.readouterr().out
    assert "skipped 3: no loop device\n" in said
    assert "torture: 1 passed, 0 failed" in said


def test_the_figures_are_those_of_the_run(monkeypatch):
    goal = Goal("storm", "about", {"storm operations": 5})
    monkeypatch.setattr(report, "GOALS", (goal,))
    outcome = Outcome("storm", Counter({"storm operations": 1234}), ["what"], Counter({"why": 2}))
    row = report.table([outcome]).splitlines()[-1]
    assert row == "| storm | 1,234 storm operations | 5 storm operations | 1 | 2: why | 0 |"


def test_a_full_run_is_as_large_as_promised():
    least = {what: number for goal in GOALS for what, number in goal.least.items()}
    promised = {
        "kills": 2_000,
        "flips and truncations": 150_000,
        "power cuts, full": 500,
        "power cuts, normal": 500,
        "failing calls": 3_000,
        "storm operations": 2_000_000,
        "hostile Parquet files": 140,
        "keys compared with Python's": 200_000,
    }
    for goal in GOALS:
        if goal.part in ("kills", "storm"):  # Both count kills.
            least[f"kills, {goal.part}"] = goal.least["kills"]
    least["kills"] = least["kills, kills"]
    assert {what: least[what] for what in promised if least[what] < promised[what]} == {}
    assert least["kills, storm"] > 0
    assert least["stops"] > 0
    assert (storm.PROCESSES, storm.THREADS) == (8, 8)
    assert len(MUTANTS) >= 25


def test_the_page_shows_a_run_that_reached_every_goal_in_time():
    page = report.PAGE.read_text(encoding="utf-8")
    figures = page[page.index(report.BEGIN) : page.index(report.END)]
    rows = [line.strip("| ").split(" | ") for line in figures.splitlines() if line.startswith("| ")]
    shown = {row[0]: row for row in rows[1:]}
    assert set(shown) == {goal.part for goal in GOALS}
    for goal in GOALS:
        _, done, _, broken, skipped, _ = (cell.strip() for cell in shown[goal.part])
        counts = {
            what: int(number.replace(",", ""))
            for number, what in (text.split(" ", 1) for text in done.split("<br>"))
        }
        for what, least in goal.least.items():
            assert counts[what] >= least, f"{goal.part}: {counts[what]} {what}"
        assert (broken, skipped) == ("0", ""), goal.part
    assert sum(float(row[-1]) for row in shown.values()) <= run.WHOLE_S["ci"] == 25 * 60


@pytest.fixture
def two_parts(monkeypatch):
    """The efforts that two parts are given which do nothing; the second one finds something."""
    efforts = []

    def play(part):
        def run(effort):
            efforts.append(effort)
            outcome = Outcome(part)
            if part == "second":
                outcome.breaks("a put was lost", ["torture", "--seed", str(effort.seed)])
            return outcome

        module = type(sys)(f"tests.torture.{part}")
        module.run = run
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return Goal(part, "Does nothing.", {})

    monkeypatch.setattr(run, "GOALS", (play("first"), play("second")))
    return efforts


def test_hours_are_shared_by_the_parts_and_each_run_has_a_seed(two_parts, monkeypatch, capsys):
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["run", "hours", "--hours", "0.5"])
        assert run.main() == 1
        said = capsys.readouterr().out
        effort = two_parts[-1]
        assert (effort.name, effort.seconds) == ("hours", 900.0)
        assert f"torture hours, seed {effort.seed}\n" in said
        assert f"BROKEN a put was lost\n    replay: torture --seed {effort.seed}\n" in said
        assert "1 passed, 1 failed" in said
    assert two_parts[0].seed == two_parts[1].seed != two_parts[2].seed
    monkeypatch.setattr(sys, "argv", ["run", "ci", "--part", "first", "--seed", "77"])
    assert run.main() == 0
    assert two_parts[-1].seed == 77
    made = ["make", "--dry-run", "torture", "HOURS=3"]
    done = subprocess.run(made, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tests.torture.run hours --hours 3" in done.stdout


BROKEN_SEED = 9  # The third round of those below finds something.


def break_calls(monkeypatch):
    def tried(_, *pair):
        return 1, ["lost"] if pair == ("replace", "eio", BROKEN_SEED) else []

    monkeypatch.setattr(calls, "_pairs", list)
    monkeypatch.setattr(calls, "_try_pair", tried)


def break_forks(monkeypatch):
    def forked(command, _):
        is_broken = command[-2:] == ["--seed", str(BROKEN_SEED)]
        return (1, ["lost"]) if is_broken else (0, ["acknowledged 3"])

    monkeypatch.setattr(forks, "_run", forked)


def break_hostile(monkeypatch):
    def compared(effort, outcome):
        if effort.seed == BROKEN_SEED:
            outcome.breaks("lost", hostile._replay(effort))

    monkeypatch.setattr(hostile, "_traced", lambda _: None)
    monkeypatch.setattr(hostile, "_crafted", lambda *_: None)
    monkeypatch.setattr(hostile, "_keys", compared)


def break_rot(monkeypatch):
    def jobs(*arguments):
        return [rot.Job("flips", ("rot-file",), {"seed": str(arguments[-1])})]

    found = {str(BROKEN_SEED): ["lost"]}
    monkeypatch.setattr(rot, "_file_jobs", jobs)
    monkeypatch.setattr(rot, "_catalog_jobs", lambda *_: [])
    monkeypatch.setattr(rot, "_run", lambda job, _: (job, 1, found.get(job.options["seed"], [])))


def break_storm(monkeypatch):
    found = {BROKEN_SEED: ["lost"]}
    monkeypatch.setattr(storm.Round, "start", lambda *_: None)
    monkeypatch.setattr(storm, "_hurt", lambda *_: [])
    monkeypatch.setattr(storm, "_end", lambda *_, **__: [])
    monkeypatch.setattr(storm, "_check", lambda one, _: found.get(one.seed, []))


@pytest.mark.parametrize(
    ("part", "breaks"),
    [
        (calls, break_calls),
        (forks, break_forks),
        (hostile, break_hostile),
        (rot, break_rot),
        (storm, break_storm),
    ],
)
def test_what_a_later_round_finds_is_seen_again_from_its_seed(part, breaks, monkeypatch):
    breaks(monkeypatch)
    clock = itertools.count()
    monkeypatch.setattr(part, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    (broken,) = part.run(Effort("hours", seed=7, seconds=12.0, processes=1)).broken
    replay = broken.rpartition("replay: ")[2]
    name = part.__name__.rpartition(".")[2]
    assert replay == f"python -m tests.torture.run hours --part {name} --seed {BROKEN_SEED}"
    (again,) = part.run(Effort("hours", seed=BROKEN_SEED, seconds=3.0, processes=1)).broken
    assert again == broken


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("torture-ci", "-m tests.torture.run ci --write"),
        ("torture-sample", "-m tests.torture.run sample"),
        ("mutants", "-m tests.torture.mutants"),
        ("test-bars", "BARCACHE_BAR_SEQUENCES=2000"),
    ],
)
def test_each_target_does_all_of_its_work(target, command):
    made = ["make", "--dry-run", target]
    done = subprocess.run(made, cwd=ROOT, capture_output=True, text=True, check=True)
    assert command in done.stdout
    assert "--part" not in done.stdout


def test_what_every_change_has_to_pass_holds_a_sample_of_each_part(two_parts, monkeypatch):
    checks = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "torture-sample" in re.search(r"^for command in (.*); do$", checks, re.M)[1].split()
    monkeypatch.setattr(sys, "argv", ["run", "sample"])
    run.main()
    assert [effort.name for effort in two_parts] == ["sample", "sample"]


@pytest.mark.usefixtures("two_parts")
def test_a_run_that_takes_longer_than_it_may_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run", "sample", "--part", "first"])
    assert run.main() == 0
    assert "SLOW" not in capsys.readouterr().out
    assert run.WHOLE_S["sample"] == 3 * 60
    monkeypatch.setitem(run.WHOLE_S, "sample", -1)
    assert run.main() == 0
    assert "SLOW: 0 s, not -1" in capsys.readouterr().out


def test_what_the_program_finds_is_printed_with_its_replay(tmp_path, monkeypatch):
    fake = tmp_path / "torture"
    fake.write_text("#!/bin/sh\nprintf 'count kills 3\\nbroken\\tlost\\t--seed 5 --at 3\\n'\n")
    fake.chmod(0o700)
    monkeypatch.setattr(program, "PROGRAM", fake)
    outcome = Outcome("kills")
    program.run_program(outcome, ["kills"], str(tmp_path), EFFORT, hangs_after_s=60)
    assert outcome.counts == {"kills": 3}
    (broken,) = outcome.broken
    assert broken.endswith(f"replay: {fake} kills --folder /tmp/barcache-kills --seed 5 --at 3")


def test_figures_go_between_the_marks_only():
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.with_figures(page, "new") == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    with pytest.raises(ValueError, match="lacks"):
        report.with_figures("no marks", "new")
