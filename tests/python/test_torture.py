"""The frame of the torture tests: its lists are complete, and its figures are those of the run."""

import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.torture import kills, report, run  # noqa: E402
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


def test_what_could_not_be_done_is_no_failure_but_is_said(monkeypatch):
    goal = Goal("barred", "Needs root.", {"cuts": 2})
    barred = type(sys)("tests.torture.barred")
    barred.run = lambda _: Outcome("barred", skipped=Counter({"no loop device": 3}))
    monkeypatch.setitem(sys.modules, "tests.torture.barred", barred)
    assert run._run_part(goal, EFFORT).broken == []


def test_the_figures_are_those_of_the_run(monkeypatch):
    goal = Goal("storm", "about", {"storm operations": 5})
    monkeypatch.setattr(report, "GOALS", (goal,))
    outcome = Outcome("storm", Counter({"storm operations": 1234}), ["what"], Counter({"why": 2}))
    row = report.table([outcome]).splitlines()[-1]
    assert row == "| storm | 1,234 storm operations | 5 storm operations | 1 | 2: why | 0 |"


def test_figures_go_between_the_marks_only():
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.with_figures(page, "new") == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    with pytest.raises(ValueError, match="lacks"):
        report.with_figures("no marks", "new")
