# The tool that measures eviction: its traces are the same every time and what they say they are,
# its tables show what was measured.

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import eviction, eviction_traces

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("workload", eviction_traces.WORKLOADS)
def test_a_trace_is_the_same_every_time(workload: str) -> None:
    trace = eviction_traces.make_trace(workload, 8000)
    assert trace == eviction_traces.make_trace(workload, 8000)
    assert trace[:500] == eviction_traces.make_trace(workload, 500)
    assert trace != eviction_traces.make_trace(workload, 8000, seed=2)
    assert len(trace) == 8000


@pytest.mark.parametrize("workload", eviction_traces.WORKLOADS)
def test_an_entry_has_one_size_and_comes_back(workload: str) -> None:
    trace = eviction_traces.make_trace(workload, 8000)
    assert len(set(trace)) == len(dict(trace)), "an entry has two sizes"
    assert len(dict(trace)) < len(trace) * 0.8
    assert all(size > 0 for _, size in trace)


def a_case(policy: str, **figures: Any) -> dict[str, Any]:
    return {
        "workload": "mixed",
        "capacity_share": 0.1,
        "capacity_bytes": 1_000_000,
        "policy": policy,
        "requests": 1000,
        "requested_bytes": 10_000,
        "misses_shipped": 500,
        "missed_bytes_shipped": 5000,
        "misses_exact": 490,
        "misses_libcachesim": None,
    } | figures


def test_tables_show_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(eviction, "WORKLOADS", {"mixed": None})
    monkeypatch.setattr(eviction, "SHARES", (0.1,))
    cases = [a_case(policy) for policy in eviction.POLICIES]
    cases[0] |= {"misses_shipped": 123, "misses_libcachesim": 500}
    results = {"date": "2026-01-01", "requests": 1000, "libcachesim": "1.2", "cases": cases}
    document = tmp_path / "eviction.md"
    document.write_text(
        f"before\n{eviction.BEGIN}\nof last time\n{eviction.END}\nafter\n", encoding="utf-8"
    )
    eviction.write_document(document, results)
    text = document.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "of last time" not in text
    assert "| mixed | 10% | **12.3%** | 50.0% | 50.0% | 50.0% | 50.0% |" in text
    assert "| `lru` | 1 | 490 | 500 | 2.000% |" in text
    assert "| `gdsf` |" not in text.partition("without batches")[2], "nobody measured it"
    eviction.write_document(document, results)
    assert document.read_text(encoding="utf-8") == text, "the markers are still there"


def test_the_document_holds_the_figures_of_the_file() -> None:
    results = json.loads((DOCS / "benchmarks" / "eviction.json").read_text())
    assert eviction.render(results) in (DOCS / "eviction.md").read_text(encoding="utf-8")


def test_the_policies_agree_with_libcachesim() -> None:
    results = json.loads((DOCS / "benchmarks" / "eviction.json").read_text())
    for policy in eviction.SIMULATED:
        compared = [
            eviction.deviation(case) for case in results["cases"] if case["policy"] == policy
        ]
        assert len(compared) == len(eviction.WORKLOADS) * len(eviction.SHARES)
        assert all(value is not None and value <= 0.005 for value in compared), policy
