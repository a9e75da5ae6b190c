"""Timing side by side: every round times each contender once, in turn.

A sample is the mean of a few calls in a row where one call is too short for the clock. Medians are
taken over the rounds; a ratio is the median of the ratios inside the rounds, so that a machine
that speeds up or slows down between rounds does not count for or against anybody.
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

    from barcache.bench.contenders import Case

_SAMPLE_US = 2000.0
_MOST_CALLS = 2000
_MOST_PUTS = 10  # Each leaves a file behind.


@dataclass(frozen=True)
class Effort:
    """How often: rounds that are thrown away, rounds that count."""

    warm_up: int
    rounds: int


@dataclass(frozen=True)
class Measurement:
    """What one contender needed for one operation at one size."""

    operation: str
    rows: int
    contender: str
    median_us: float
    p10_us: float
    p90_us: float
    barcache_ratio: float  # barcache's time divided by this one's.
    rounds: int
    calls_per_sample: int

    def as_json(self) -> dict[str, Any]:
        """The fields, five digits of each number."""
        return {
            key: float(f"{value:.5g}") if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def check_result(case: Case, frame: pl.DataFrame, who: str) -> None:
    """What is timed must also be right. ArcticDB's times are in ns: compared as instants."""
    if case.before is not None:
        case.before()
    result = case.timed()
    if not isinstance(result, pl.DataFrame):
        raise AssertionError(f"{who} returned {type(result).__name__}, not a Polars frame")
    if not result.select(
        pl.col("timestamp").cast(pl.Datetime("us")), pl.exclude("timestamp")
    ).equals(frame):
        raise AssertionError(f"{who} returned another frame")


def _calls_per_sample(case: Case, most: int) -> int:
    """Enough calls to fill a sample; one where a call takes longer than that."""
    _sample_us(case, 1)
    return max(1, min(most, int(_SAMPLE_US / max(0.01, _sample_us(case, 1)))))


def _sample_us(case: Case, calls: int) -> float:
    """The mean of some calls in a row. With `before`, each call is timed by itself."""
    timed, before = case.timed, case.before
    if before is None and calls > 1:
        began = time.perf_counter_ns()
        for _ in range(calls):
            timed()
        return (time.perf_counter_ns() - began) / calls / 1e3
    took = 0
    for _ in range(calls):
        if before is not None:
            before()
        began = time.perf_counter_ns()
        result = timed()
        took += time.perf_counter_ns() - began
        del result
    return took / calls / 1e3


def interleaved(
    operation: str,
    rows: int,
    cases: dict[str, Case],
    effort: Effort,
    progress: Callable[[float], None],
) -> list[Measurement]:
    """Times all cases of one operation. `cases` holds one named 'barcache'.

    `progress` is called now and then with the share that is done.
    """
    most = _MOST_PUTS if operation == "put" else _MOST_CALLS
    calls = {name: _calls_per_sample(case, most) for name, case in cases.items()}
    samples: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    all_rounds = effort.warm_up + effort.rounds
    for round_number in range(all_rounds):
        if round_number % max(1, all_rounds // 20) == 0:
            progress(round_number / all_rounds)
        gc.collect()
        # Who comes first changes from round to round: nobody always follows the same neighbour.
        turn = round_number % len(names)
        for name in names[turn:] + names[:turn]:
            took = _sample_us(cases[name], calls[name])
            if round_number >= effort.warm_up:
                samples[name].append(took)
    ours = samples["barcache"]
    results = []
    for name, theirs in samples.items():
        tenths = statistics.quantiles(theirs, n=10)
        results.append(
            Measurement(
                operation=operation,
                rows=rows,
                contender=name,
                median_us=statistics.median(theirs),
                p10_us=tenths[0],
                p90_us=tenths[-1],
                barcache_ratio=statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
                rounds=effort.rounds,
                calls_per_sample=calls[name],
            )
        )
    return results
