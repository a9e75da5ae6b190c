"""Who leaves first: the policies replayed over traces, beside libCacheSim's of the same name.

Builds nothing itself. It takes the program eviction_replay, which evicts with the cold tier's own
code, and, where it is installed, the package libcachesim (requirements/eviction.txt):

    cmake -S . -B build/benchmarks -G Ninja -DBARCACHE_BUILD_BENCHMARKS=ON
    cmake --build build/benchmarks --target eviction_replay
    python -m benchmarks.eviction build/benchmarks/benchmarks/eviction_replay

Writes docs/benchmarks/eviction.json and the tables in docs/eviction.md, between its markers.

--out       a directory to write eviction.json to instead; the document is left alone
--requests  requests of each trace, fewer for a quick look
--json      prints the content of eviction.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.eviction_traces import (
    REQUESTS,
    WORKLOADS,
    Trace,
    distinct_bytes,
    make_trace,
)

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ("lru", "size", "hybrid", "gdsf", "s3fifo")
SIMULATED = {"lru": "LRU", "size": "Size", "gdsf": "GDSF", "s3fifo": "S3FIFO"}
SHARES = (0.1, 0.3)  # Of the bytes of all entries of the trace.
SEED = 1
BEGIN = "<!-- written by benchmarks/eviction.py -->"
END = "<!-- end -->"


def replay(program: Path, text: str, policy: str, capacity: int, mode: str) -> dict[str, int]:
    """How many requests, and of how many bytes, missed in barcache."""
    done = subprocess.run(
        [program, policy, str(capacity), mode],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    outcome: dict[str, int] = json.loads(done.stdout)
    return outcome


def simulate(trace: Trace, policy: str, capacity: int) -> int | None:
    """How many requests missed in libCacheSim; None where it is missing or lacks the policy."""
    if policy not in SIMULATED:
        return None
    try:
        import libcachesim  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    cache = getattr(libcachesim, SIMULATED[policy])(cache_size=capacity)
    request = libcachesim.Request()
    misses = 0
    for number, size in trace:
        request.obj_id, request.obj_size = number + 1, size
        misses += not cache.get(request)
    return misses


def measure(program: Path, requests: int) -> list[dict[str, Any]]:
    """One case for each workload, capacity and policy."""

    def one(case: tuple[str, float, str]) -> dict[str, Any]:
        workload, share, policy = case
        trace, text = traces[workload]
        capacity = int(distinct_bytes(trace) * share)
        shipped = replay(program, text, policy, capacity, "shipped")
        return {
            "workload": workload,
            "capacity_share": share,
            "capacity_bytes": capacity,
            "policy": policy,
            "requests": len(trace),
            "requested_bytes": sum(size for _, size in trace),
            "misses_shipped": shipped["misses"],
            "missed_bytes_shipped": shipped["missed_bytes"],
            "misses_exact": replay(program, text, policy, capacity, "exact")["misses"],
            "misses_libcachesim": simulate(trace, policy, capacity),
        }

    traces = {}
    for workload in WORKLOADS:
        trace = make_trace(workload, requests, SEED)
        traces[workload] = trace, "".join(f"{number} {size}\n" for number, size in trace)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, product(WORKLOADS, SHARES, POLICIES)))


def deviation(case: dict[str, Any]) -> float | None:
    """By how much of libCacheSim's misses barcache's differ."""
    theirs = case["misses_libcachesim"]
    return None if theirs is None else abs(case["misses_exact"] - theirs) / theirs


def _ratio_table(cases: list[dict[str, Any]], missed: str, asked: str) -> list[str]:
    lines = [
        "| workload | limit | " + " | ".join(f"`{policy}`" for policy in POLICIES) + " |",
        "|---|---:|" + "---:|" * len(POLICIES),
    ]
    for workload, share in product(WORKLOADS, SHARES):
        ratios = {
            case["policy"]: case[missed] / case[asked]
            for case in cases
            if (case["workload"], case["capacity_share"]) == (workload, share)
        }
        best = min(ratios.values())
        cells = [
            f"**{ratio:.1%}**" if ratio == best else f"{ratio:.1%}"
            for ratio in (ratios[policy] for policy in POLICIES)
        ]
        lines.append(f"| {workload} | {share:.0%} | " + " | ".join(cells) + " |")
    return lines


def _agreement_table(cases: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| policy | cases | misses, barcache | misses, libCacheSim | largest difference |",
        "|---|---:|---:|---:|---:|",
    ]
    for policy in SIMULATED:
        of_policy = [case for case in cases if case["policy"] == policy]
        differences = [value for case in of_policy if (value := deviation(case)) is not None]
        if not differences:
            continue
        ours = sum(case["misses_exact"] for case in of_policy)
        theirs = sum(case["misses_libcachesim"] for case in of_policy)
        lines.append(
            f"| `{policy}` | {len(differences)} | {ours} | {theirs} | {max(differences):.3%} |"
        )
    return lines


def render(results: dict[str, Any]) -> str:
    """The part of docs/eviction.md that figures stand in."""
    cases = results["cases"]
    sizes = {case["workload"]: case["capacity_bytes"] / case["capacity_share"] for case in cases}
    lines = [
        BEGIN,
        "",
        f"Measured on {results['date']}: {results['requests']} requests a workload, of which "
        "these share misses under each policy; the lowest is bold. The limit is a share of what "
        "all entries of the workload take: "
        + ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in sizes.items())
        + ".",
        "",
        *_ratio_table(cases, "misses_shipped", "requests"),
        "",
        "The same by bytes: what share of all bytes asked for had to be fetched.",
        "",
        *_ratio_table(cases, "missed_bytes_shipped", "requested_bytes"),
        "",
        f"Beside libCacheSim {results['libcachesim']}, over the same cases, without batches:",
        "",
        *_agreement_table(cases),
        "",
        END,
    ]
    return "\n".join(lines)


def write_document(path: Path, results: dict[str, Any]) -> None:
    """Replaces what stands between the markers."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(before + render(results) + after, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("program", type=Path, help="the built eviction_replay")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        version: str | None = importlib.metadata.version("libcachesim")
    except importlib.metadata.PackageNotFoundError:
        version = None
        sys.stderr.write("libcachesim is not installed: nothing is compared with it\n")
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "traces": f"synthetic (benchmarks/eviction_traces.py, seed {SEED})",
        "requests": options.requests,
        "libcachesim": version,
        "cases": measure(options.program.resolve(), options.requests),
    }
    text = json.dumps(results, indent=1) + "\n"
    (options.out or ROOT / "docs" / "benchmarks").joinpath("eviction.json").write_text(text)
    if options.out is None:
        write_document(ROOT / "docs" / "eviction.md", results)
    print(text if options.json else render(results))
    worst = max((deviation(case) or 0.0 for case in results["cases"]), default=0.0)
    return 0 if worst <= 0.005 else 1


if __name__ == "__main__":
    sys.exit(main())
