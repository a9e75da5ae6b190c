"""The figures of docs/reliability.md, written by a full run."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.torture.goals import GOALS
from tests.torture.outcome import ROOT

if TYPE_CHECKING:
    from tests.torture.outcome import Effort, Outcome

PAGE = ROOT / "docs" / "reliability.md"
BEGIN = "<!-- figures: written by make torture-ci -->"
END = "<!-- end of figures -->"


def table(outcomes: list[Outcome]) -> str:
    """A row a part: what was done, what was asked for, what broke, what could not be done."""
    least = {goal.part: goal.least for goal in GOALS}
    lines = [
        "| part | done | at least | broken | skipped | seconds |",
        "|---|---|---|---:|---|---:|",
    ]
    for outcome in outcomes:
        done = "<br>".join(f"{number:,} {what}" for what, number in sorted(outcome.counts.items()))
        goal = "<br>".join(f"{number:,} {what}" for what, number in least[outcome.part].items())
        skipped = "<br>".join(f"{often:,}: {why}" for why, often in sorted(outcome.skipped.items()))
        cells = [outcome.part, done, goal, str(len(outcome.broken)), skipped]
        lines.append("| " + " | ".join(cells) + f" | {outcome.seconds:.0f} |")
    return "\n".join(lines)


def with_figures(page: str, text: str) -> str:
    """The page with what stands between its marks replaced."""
    before, mark, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def write(effort: Effort, outcomes: list[Outcome]) -> None:
    """Puts the figures of this run into docs/reliability.md."""
    day = datetime.now(UTC).date().isoformat()
    head = f"One run on {day}, Linux {platform.release()}, {effort.processes} processors, "
    text = f"{head}seed {effort.seed}.\n\n{table(outcomes)}"
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
