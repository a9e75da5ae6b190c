"""Bars that a source gives differently than before: what kind of difference it is.

Thread safety: pure functions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from barcache.sources.bars import PRICES

if TYPE_CHECKING:
    import polars as pl

    from barcache.bars.frames import BarShape

# How far the ratios of prices may lie apart and still be one: vendors round to cents.
RATIO_TOLERANCE = 2e-3
# A volume that moved by less than this did not move with a split.
VOLUME_TOLERANCE = 2e-2


def kind_of_restatement(held: pl.DataFrame, fetched: pl.DataFrame, shape: BarShape) -> str:
    """``"split"``, ``"dividend"`` or ``"correction"``.

    All prices moved by one ratio: a split if volumes moved by its inverse, or where there is no
    volume if it is near a ratio of small whole numbers; else an adjustment for a dividend.
    Anything else, also bars that came or went, or times of another type, is a correction.
    """
    time = shape.columns.time
    if held.schema.get(time) != fetched.schema.get(time):
        return "correction"
    both = held.join(fetched, on=time, how="inner", suffix="_fetched", maintain_order="left")
    if both.height == 0 or held.height != fetched.height:
        return "correction"
    prices = [name for name in held.columns if name.lower() in PRICES]
    ratio = _common_ratio(both, prices)
    if ratio is None or abs(ratio - 1) <= 1e-9:
        return "correction"
    volumes = [name for name in held.columns if name.lower() == "volume"]
    volume_ratio = _common_ratio(both, volumes, VOLUME_TOLERANCE) if volumes else None
    if volume_ratio is not None and abs(volume_ratio * ratio - 1) <= VOLUME_TOLERANCE:
        return "split"
    if volume_ratio is None and _is_split_ratio(ratio):
        return "split"
    return "dividend"


def _common_ratio(
    both: pl.DataFrame, names: list[str], tolerance: float = RATIO_TOLERANCE
) -> float | None:
    """New over old where it is the same for all; None where it is not, or there is nothing."""
    ratios: list[float] = []
    for name in names:
        if f"{name}_fetched" not in both.columns:
            return None
        pairs = zip(both[name].to_list(), both[f"{name}_fetched"].to_list(), strict=True)
        for old, new in pairs:
            if old is None or new is None or float(old) == 0.0:
                continue
            ratios.append(float(new) / float(old))
    if not ratios or not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        return None
    if max(ratios) - min(ratios) > tolerance * max(ratios):
        return None
    return sum(ratios) / len(ratios)


def _is_split_ratio(ratio: float) -> bool:
    larger = max(ratio, 1 / ratio)
    return any(
        abs(larger * below - round(larger * below)) <= RATIO_TOLERANCE * below and larger >= 1.2
        for below in (1, 2, 3, 4, 5)
    )
