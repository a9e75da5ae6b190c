"""What the figures should be, and whether they are: computed from a result file alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from barcache.bench.bars_case import SYMBOLS
from barcache.bench.entries_case import POLICIES, SIZES
from barcache.bench.figures import figure, grouped
from barcache.bench.process_cases import MANY

Results = dict[str, Any]
Value = Callable[[Results], float | None]


@dataclass(frozen=True)
class Goal:
    """One line of the table. `value` computes it; None where something was not measured."""

    what: str
    limit: float
    unit: str
    compared_with: str
    value: Value
    at_least: bool = False
    band: bool = False  # The value is to be within 5 % of the limit, on either side.

    def met(self, value: float) -> bool:
        """Whether a value is what it should be."""
        if self.band:
            return abs(value - self.limit) <= 0.05 * self.limit
        return value >= self.limit if self.at_least else value <= self.limit


def cell(results: Results, operation: str, rows: int, contender: str) -> dict[str, Any] | None:
    """The measurement of one contender, or None."""
    wanted = (operation, rows, contender)
    found: list[dict[str, Any]] = results["measurements"]
    for one in found:
        if (one["operation"], one["rows"], one["contender"]) == wanted:
            return one
    return None


def _ratio(operation: str, rows: int, contender: str) -> Value:
    def value(results: Results) -> float | None:
        found = cell(results, operation, rows, contender)
        return None if found is None else float(found["barcache_ratio"])

    return value


def _median_us(operation: str, rows: int) -> Value:
    def value(results: Results) -> float | None:
        found = cell(results, operation, rows, "barcache")
        return None if found is None else float(found["median_us"])

    return value


def _file_size(rows: int) -> Value:
    def value(results: Results) -> float | None:
        sizes = results["file_sizes"].get(str(rows), {})
        if "barcache" not in sizes or "RustyBT" not in sizes:
            return None
        return float(sizes["barcache"]) / float(sizes["RustyBT"])

    return value


def _named(name: str) -> Value:
    return lambda results: figure(results, name)


def _growth(policy: str) -> Value:
    def value(results: Results) -> float | None:
        ends = [
            figure(results, f"put at the limit, {policy}, {grouped(entries)} entries")
            for entries in (SIZES[0], SIZES[-1])
        ]
        return None if ends[0] is None or ends[1] is None else ends[1] / ends[0]

    return value


_CLONE = "dict lookup + clone"
_READ = "pl.read_parquet"
_WRITE = "df.write_parquet"
_LARGEST = grouped(SIZES[-1])


def _by_rows() -> list[Goal]:
    goals = [
        Goal(
            f"hot hit, {grouped(rows)} rows", 1.0, "x", _CLONE, _ratio("hot", rows, "dict + clone")
        )
        for rows in (252, 100_000, 2_000_000)
    ]
    polars, disk = "polars Parquet", "diskcache"
    for operation, rows, limit, peer, against in (
        ("cold", 252, 0.10, polars, _READ),
        ("cold", 252, 1.0, disk, "diskcache.get"),
        ("cold", 100_000, 0.35, polars, _READ),
        ("cold", 2_000_000, 0.5, polars, _READ),
        ("put", 252, 0.25, polars, _WRITE),
        ("put", 252, 1.0, disk, "diskcache.set"),
        ("put", 100_000, 0.75, polars, _WRITE),
        ("put", 2_000_000, 0.9, polars, _WRITE),
    ):
        what = "cold hit, verified" if operation == "cold" else "put"
        goals.append(
            Goal(
                f"{what}, {grouped(rows)} rows", limit, "x", against, _ratio(operation, rows, peer)
            )
        )
    for rows in (252, 100_000, 2_000_000):
        goals.append(
            Goal(f"file size, {grouped(rows)} rows", 1.0, "x", "RustyBT's file", _file_size(rows))
        )
    return goals


def _of_bars() -> list[Goal]:
    """Requests whose bars are cached; a new range is one that nobody has asked for before."""
    goals = []
    for label in ("asked before", "a new range"):
        name = f"get_or_fetch, one symbol-year, {label}"
        goals.append(Goal(name, 10, "us", "", _named(name)))
    for label in ("asked before", "a new range"):
        name = f"get_or_fetch, {SYMBOLS} symbol-years, {label}"
        goals.append(Goal(name, 3, "x", "pl.concat of the same", _named(f"{name}, by pl.concat")))
    return goals


def all_goals() -> list[Goal]:
    """Every goal, in the order of the table."""
    writer = "hot hit beside a writer by one without"
    goals = [
        *_by_rows(),
        Goal("miss, nothing changes on disk", 1, "us", "", _median_us("miss", 252)),
        Goal("miss, the catalog is asked", 15, "us", "", _named("miss, the catalog is asked")),
    ]
    for policy in POLICIES:
        goals.append(
            Goal(
                f"put at the limit, {policy}, {_LARGEST} entries",
                1.3,
                "x",
                f"the same with {grouped(SIZES[0])} entries",
                _growth(policy),
            )
        )
    goals += [
        Goal("hot hit while another process puts", 2, "x", "hot hit, nobody else", _named(writer)),
        *(
            Goal(
                f"{name}, {_LARGEST} entries",
                limit,
                unit,
                "",
                _named(f"{name}, {_LARGEST} entries"),
            )
            for name, limit, unit in (
                ("open until the first hit", 50, "ms"),
                ("lookup_cache", 30, "us"),
                ("get_cache_statistics", 2, "ms"),
                ("memory of the catalog an entry", 200, "bytes"),
            )
        ),
        Goal(
            f"loop of {MANY} cold gets",
            1.7,
            "x",
            "get_many of the same",
            _named(f"loop of {MANY} cold gets by get_many"),
            at_least=True,
        ),
    ]
    goals += _of_bars()
    for rows in (252, 100_000):
        name = f"memory of a full hot tier by its limit, {rows} rows"
        goals.append(
            Goal(
                f"memory of a full hot tier, {grouped(rows)} rows",
                1,
                "x",
                "its limit",
                _named(name),
                band=True,
            )
        )
    goals.append(
        Goal("import barcache after polars", 30, "ms", "", _named("import barcache after polars"))
    )
    return goals


def goal_table(results: Results) -> list[list[str]]:
    """Header and rows: what, goal, measured, met. What was not measured says so."""
    rows = [["what", "goal", "measured", "met"]]
    for goal in all_goals():
        sign = ">=" if goal.at_least else "within 5 % of" if goal.band else "<="
        wanted = f"{sign} {goal.limit:g} {goal.unit}"
        if goal.compared_with:
            wanted += f" {goal.compared_with}"
        value = goal.value(results)
        if value is None:
            rows.append([goal.what, wanted, "not measured", ""])
        else:
            met = "yes" if goal.met(value) else "**no**"
            rows.append([goal.what, wanted, f"{value:.4g} {goal.unit}", met])
    return rows
