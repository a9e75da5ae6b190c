# examples/demo.py runs through and tells what it should.

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.py"


def bars_are_installed() -> bool:
    from importlib.metadata import PackageNotFoundError, files

    try:
        return any(file.name == "GOOG.csv" for file in files("backtesting") or [])
    except PackageNotFoundError:
        return False


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

    # A second run starts anew; a directory with somebody else's cache is refused.
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0
    (tmp_path / "demo" / "barcache-demo").unlink()
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1
    assert "another cache" in refused.stderr
