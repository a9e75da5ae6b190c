# examples/demo.py runs through and tells what it should.

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.py"


def bars_are_installed() -> bool:
    from importlib.metadata import PackageNotFoundError, files

    try:
        return any(file.name == "GOOG.csv" for file in files("backtesting") or [])
    except PackageNotFoundError:
        return False


def days_of_goog() -> pl.Series:
    from importlib.metadata import files

    path = next(file for file in files("backtesting") or [] if file.name == "GOOG.csv")
    return pl.read_csv(str(path.locate()), try_parse_dates=True).to_series(0)


def check_walk_forward(output: str) -> None:
    """Each step fetches the bars that no step before it had, and one that is compared."""
    days = days_of_goog()

    def bars(first: str, last: str) -> int:
        return int(days.is_between(date.fromisoformat(first), date.fromisoformat(last)).sum())

    day = r"(\d{4}-\d\d-\d\d)"
    pattern = rf"^{day}\.\.{day} +{day}\.\.{day} +\d+/\d+ +[-\d.]+% +(\d+) +(\d+) +(\d+)$"
    steps = re.findall(pattern, output, re.M)
    assert len(steps) == 12
    assert (steps[0][0], steps[-1][3]) == ("2005-01-01", "2012-12-31")
    sums = [0, 0, 0]
    for place, (begin, end, later_begin, later_end, *counts) in enumerate(steps):
        training, validation = bars(begin, end), bars(later_begin, later_end)
        new = validation if place else training + validation
        expected = [20 * training + validation, new + 1, training + validation]
        assert [int(count) for count in counts] == expected
        sums = [one + more for one, more in zip(sums, expected, strict=True)]
    assert sums[1] == bars("2005-01-01", "2012-12-31") + 12
    assert re.search(rf"^all steps: 252 requests +{sums[0]} +{sums[1]} +{sums[2]}$", output, re.M)
    again = re.search(r"^again, three years .*: 210 requests +\d+ +(\d+) +(\d+)$", output, re.M)
    assert again is not None
    assert int(again[1]) == 0
    assert int(again[2]) > 7000


@pytest.mark.skipif(
    not bars_are_installed(), reason="the bars are in the PyPI package `backtesting` (make demo)"
)
def test_the_demo(tmp_path: Path) -> None:
    command = [sys.executable, str(DEMO), "--directory", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # Progress is for terminals.
    passes = re.findall(r"^(without|first|second|third).*? (\d+) +(\d+) ", done.stdout, re.M)
    assert [(name, int(count) >= 200, int(fetches)) for name, count, fetches in passes] == [
        ("without", True, int(passes[0][1])),
        ("first", True, 2),
        ("second", True, 0),
        ("third", True, 0),
    ]
    assert re.search(r"240 backtests: goog-005-070", done.stdout)
    for resolution in ("1h", "4h", "1d", "1w"):
        assert re.search(rf"^{resolution} +\d+ ", done.stdout, re.M)
    assert re.search(r"Hit rate +99\.", done.stdout)
    check_walk_forward(done.stdout)

    # A second run starts anew; a directory with somebody else's cache is refused.
    second = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert second.returncode == 0
    check_walk_forward(second.stdout)
    (tmp_path / "demo" / "barcache-demo").unlink()
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1
    assert "another cache" in refused.stderr
