# The documents keep their word: their Python runs, their links lead somewhere, and the figures in
# README.md are those of docs/benchmarks/results.json.

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "docs/guide.md", "docs/sources.md", "docs/csv.md"]
RESULTS = ROOT / "docs" / "benchmarks" / "results.json"


def python_blocks(document: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks_run(document: str, tmp_path: Path) -> None:
    blocks = python_blocks(document)
    assert blocks
    script = tmp_path / "blocks.py"
    script.write_text("\n\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def all_documents() -> list[str]:
    return sorted(
        str(path.relative_to(ROOT))
        for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        if path.is_file()
    )


@pytest.mark.parametrize("document", all_documents())
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("#"):
            continue
        path = (ROOT / document).parent / target.partition("#")[0]
        assert path.exists(), f"{document} links to {target}"


def test_the_promise_and_its_limits_are_in_both_places() -> None:
    def quoted(document: str) -> str:
        text = (ROOT / document).read_text(encoding="utf-8")
        return " ".join(re.findall(r"^> (.*)$", text, re.M))

    promise = quoted("docs/reliability.md")
    assert promise == quoted("README.md")
    for sentence in (
        "Never a wrong byte from disk.",
        "An acknowledged put survives kill -9, and a power cut in full mode.",
        "Whatever is in a file or in the catalog is a miss or a typed error, never a crash.",
        "Safe with threads, processes and fork.",
        "Nothing outside the cache directory is read, written or removed.",
    ):
        assert sentence in promise
    for document in ("README.md", "docs/reliability.md"):
        text = " ".join((ROOT / document).read_text(encoding="utf-8").split())
        for limit in ("swapped cannot be seen", "before 3.51.3", "across a fork", "Polars itself"):
            assert limit in text, f"{document} does not name the limit: {limit}"


def test_the_documented_commands_exist() -> None:
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    table = text[text.index("## The command line") : text.index("## In place of RustyBT")]
    documented = set(re.findall(r"^\| `(\w+)", table, re.M))
    from barcache.cli.commands import barcache

    assert documented == set(barcache.commands)


def command_lines() -> list[str]:
    lines = []
    for document in [*all_documents(), "CONTRIBUTING.md"]:
        text = (ROOT / document).read_text(encoding="utf-8")
        shown = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S))
        lines += re.findall(r"^barcache [^#\n]*", shown, re.M)
        lines += re.findall(r"`(barcache [a-z]+ [^`]*)`", text)
    return sorted({line.strip() for line in lines})


@pytest.mark.parametrize("line", command_lines())
def test_the_documented_command_lines_are_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from barcache.cli.commands import barcache

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "plan.toml").touch()
    _, name, *arguments = shlex.split(line.partition(" > ")[0].replace("/data", "data"))
    barcache.commands[name].make_context(name, arguments)


def test_the_documented_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    for document in [*all_documents(), "CONTRIBUTING.md"]:
        text = (ROOT / document).read_text(encoding="utf-8")
        named = re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M)
        assert set(named) <= targets, document


def test_the_documented_errors_exist() -> None:
    import barcache.errors

    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    table = text[text.index("## Errors") : text.index("## When something")]
    for line in re.findall(r"^\| (`.*)$", table, re.M):
        names, base, _ = (cell.strip() for cell in line.split("|", 2))
        for name in re.findall(r"`(\w+)`", names):
            kind = getattr(barcache.errors, name)
            assert issubclass(kind, barcache.errors.BarcacheError)
            for parent in re.findall(r"`(\w+)`", base):
                assert parent in [known.__name__ for known in kind.__mro__]


def test_the_documented_defaults_are_the_constructor_s() -> None:
    import inspect

    from barcache import CacheManager

    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    table = text[text.index("## Choosing") : text.index("The arguments after")]
    documented = dict(re.findall(r"^\| `(\w+)` \| `?([^`|]+?)`? \|", table, re.M))
    parameters = inspect.signature(CacheManager.__init__).parameters
    assert set(documented) == set(parameters) - {"self"}
    for name, written in documented.items():
        default = parameters[name].default
        if default is inspect.Parameter.empty:
            assert written == "required"
        elif isinstance(default, str):
            assert written == f'"{default}"'
        elif isinstance(default, int | float):
            assert written in (str(default), f"{default:g}")
        else:
            assert written == repr(default)


def test_the_documented_waits_for_a_rate_limit_are_those_of_a_retry() -> None:
    from barcache import RateLimited
    from barcache.sources import Retry

    def limited() -> None:
        raise RateLimited("slow down")

    def waits(fraction: float) -> list[float]:
        slept: list[float] = []
        with pytest.raises(RateLimited):
            Retry(sleep=slept.append, fraction=lambda: fraction).call(limited, (RateLimited,))
        return slept

    assert [2 * wait for wait in waits(0.0)] == waits(1.0)
    *first, last = (f"{wait:g}" for wait in waits(1.0))
    calls, minutes = len(first) + 2, f"{Retry().total_s / 60:g} minutes"
    for document, said in (
        ("docs/guide.md", f"{', '.join(first)} and {last} seconds (half of it at random)"),
        ("docs/guide.md", f"for {calls} calls and {minutes} at most"),
        ("docs/sources.md", f"{', '.join(first)}, {last}, ... seconds (half of it at random)"),
        ("docs/sources.md", f"for {calls} attempts and {minutes} at most"),
    ):
        assert said in " ".join((ROOT / document).read_text(encoding="utf-8").split())


@pytest.mark.skipif(not RESULTS.is_file(), reason="make bench has not been run")
def test_figures_are_those_that_were_measured() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.report", "--check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not RESULTS.is_file(), reason="make bench has not been run")
def test_results_say_how_they_were_measured() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert {"processor", "memory_gb", "file_system"} <= set(results["machine"])
    assert {"polars", "pyarrow", "python"} <= set(results["versions"])
    for effort in results["effort"].values():
        assert effort["warm_up"] >= 1
        assert effort["rounds"] >= 5
