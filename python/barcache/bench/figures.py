"""What a case of the benchmark is given, and the figures that it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """Where a case measures, and how much."""

    directory: Path  # Its own; removed when everything is measured.
    quick: bool
    progress: Callable[[float], None]  # Called with the share of the case that is done.


@dataclass(frozen=True)
class Figure:
    """One number. `name` is unique among all figures and says what it is."""

    name: str
    value: float
    unit: str  # us, ms, x, bytes, per s, or "" for a count.

    def as_json(self) -> dict[str, Any]:
        """The fields, five digits of the number."""
        return {"name": self.name, "value": float(f"{self.value:.5g}"), "unit": self.unit}


def figure(results: dict[str, Any], name: str) -> float | None:
    """The value of a figure of a result file, or None if it was not measured."""
    found: Iterable[dict[str, Any]] = results.get("figures", ())
    return next((float(one["value"]) for one in found if one["name"] == name), None)


def grouped(number: int) -> str:
    """1000000 -> '1 000 000'."""
    return f"{number:,}".replace(",", " ")
