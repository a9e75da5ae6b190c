"""Tables of a result: text for a terminal, Markdown for a page. Nothing is measured here."""

from __future__ import annotations

from typing import Any

from barcache.bench.figures import grouped

TITLES = {
    "hot": "hot hit",
    "cold": "cold hit",
    "put": "put",
    "miss": "miss",
}

Results = dict[str, Any]


def duration(us: float) -> str:
    """Three digits and a unit."""
    if us < 1000:
        return f"{us:.3g} us"
    if us < 1_000_000:
        return f"{us / 1000:.3g} ms"
    return f"{us / 1_000_000:.3g} s"


def multiple(barcache_ratio: float) -> str:
    """Two digits: 0.035 -> '29x', since the other one takes 29 times as long."""
    times = 1 / barcache_ratio
    return f"{times:.0f}x" if times >= 100 else f"{times:.2g}x"


def sizes_of(results: Results) -> list[int]:
    """The sizes that were measured, in rows."""
    return sorted({one["rows"] for one in results["measurements"]})


def operations_of(results: Results) -> list[str]:
    """The operations that were measured, in the order of the tables."""
    found = {one["operation"] for one in results["measurements"]}
    return [operation for operation in TITLES if operation in found]


def cells_of(results: Results) -> dict[tuple[str, int, str], dict[str, Any]]:
    """The measurements by operation, rows and contender."""
    return {
        (one["operation"], one["rows"], one["contender"]): one for one in results["measurements"]
    }


def table(results: Results) -> list[list[str]]:
    """Header and rows: the median, and in brackets how many times barcache's time that is."""
    cells = cells_of(results)
    contenders = list(results["contenders"])
    rows = [["operation", "rows", *contenders]]
    for operation in operations_of(results):
        for size in sizes_of(results):
            row = [TITLES[operation], grouped(size)]
            for contender in contenders:
                cell = cells.get((operation, size, contender))
                if cell is None:
                    row.append("")
                elif contender == "barcache":
                    row.append(duration(cell["median_us"]))
                else:
                    row.append(
                        f"{duration(cell['median_us'])} ({multiple(cell['barcache_ratio'])})"
                    )
            rows.append(row)
    return rows


def figure_table(results: Results) -> list[list[str]]:
    """Header and rows: every figure that is not one of the contenders' times."""
    rows = [["figure", "value"]]
    for one in results.get("figures", ()):
        value, unit = one["value"], one["unit"]
        if unit == "us":
            text = duration(value)
        elif unit == "per s":
            text = f"{grouped(round(value))} per s"
        else:
            text = f"{value:.3g} {unit}".strip()
        rows.append([one["name"], text])
    return rows


def effort_line(results: Results) -> str:
    """How often everything was measured."""
    return "; ".join(
        f"{grouped(int(size))} rows: {effort['warm_up']} warm-up rounds, {effort['rounds']} counted"
        for size, effort in results["effort"].items()
    )


def markdown_table(rows: list[list[str]]) -> str:
    """The rows as Markdown, the first one as the header."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * (len(rows[0]) - 1))
    return "\n".join(lines)


def plain_table(rows: list[list[str]]) -> str:
    """The rows in columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
