"""What a source's answer for one symbol and interval means for the ledger.

Four things are told apart: bars that will not change any more; bars that may (*provisional*, to
be fetched again); stretches where there are none for good; and stretches where there are none
*yet*, which is believed for a while. Thread safety: pure functions.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from barcache.bars.ends import SECOND_NS, bar_slot_end
from barcache.freshness.finality import NONE_IS_FINAL_AFTER_US

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from barcache.bars.ends import Interval
    from barcache.freshness import Finality

NONE, DATA = 0, 1  # As CoverageState in src/bars/series.h.

# begin_ns, end_ns, state, segment key, asked_at, expires_at (None: final).
Coverage = tuple[int, int, int, str, int, int | None]


def final_until(rule: Finality, interval: Interval, now_s: int, zone_name: str | None) -> int:
    """Up to which moment of the interval a bar that begins there would be final by now."""
    begin, end = interval
    now_us = now_s * 1_000_000

    def is_final(ns: int) -> bool:
        return rule.final_us(ns // 1000, zone_name) <= now_us

    # A label far in the future is beyond what a calendar or a datetime can hold.
    far = (now_s + 10 * 366 * 86_400) * SECOND_NS
    low, high = begin, min(end, max(far, begin))
    if high == end and is_final(end - 1):
        return end
    while low < high:  # The first moment that is not final.
        middle = (low + high) // 2
        if is_final(middle):
            low = middle + 1
        else:
            high = middle
    return low


def coverage_of_answer(
    interval: Interval,
    times: Sequence[int],
    segment_key: str,
    *,
    rule: Finality,
    zone: tzinfo,
    zone_name: str | None,
    now_s: int,
    free_until: int,
) -> list[Coverage]:
    """The ledger's rows for an answer.

    Args:
        interval: what was asked for.
        times: of the bars in it, ascending; they lie in the segment.
        segment_key: where the bars lie; "" if there are none.
        rule: from when on bars are final.
        zone: of the bars.
        zone_name: its name; None if they have none.
        now_s: when the source was asked.
        free_until: nothing is known from the interval's end to here: the last bar may cover it, so
            that a later request need not ask whether another bar begins within it.
    """
    begin, end = interval
    cut = final_until(rule, interval, now_s, zone_name)
    final = [time for time in times if time < cut]
    rows: list[Coverage] = []
    reached = begin
    if final:
        reached = bar_slot_end(final[-1], rule.resolution, zone)
        reached = max(min(reached, max(end, free_until)), final[-1] + 1)
        if not _are_regular(times, rule, zone):
            reached = min(reached, max(end, final[-1] + 1))
        if len(times) > len(final):
            reached = times[len(final)]
        rows.append((begin, reached, DATA, segment_key, now_s, None))
    if len(times) > len(final):
        first = times[len(final)]
        rows += _nothing(reached, first, cut, rule, now_s)
        rows.append((max(first, reached), end, DATA, segment_key, now_s, now_s))
    else:
        rows += _nothing(reached, end, cut, rule, now_s)
    return [row for row in rows if row[0] < row[1]]


def _are_regular(times: Sequence[int], rule: Finality, zone: tzinfo) -> bool:
    """Whether no bar begins within another."""
    tail = times[-3:]
    return all(
        bar_slot_end(one, rule.resolution, zone) <= following
        for one, following in itertools.pairwise(tail)
    )


def _nothing(begin: int, end: int, cut: int, rule: Finality, now_s: int) -> list[Coverage]:
    """Rows for a stretch without bars."""
    old = min(max(begin, (now_s * 1_000_000 - NONE_IS_FINAL_AFTER_US) * 1000), end)
    settled = min(max(old, cut), end)
    rows: list[Coverage] = [(begin, old, NONE, "", now_s, None)]
    expires_us = rule.none_expires_us(now_s * 1_000_000, now_s * 1_000_000)
    rows.append((old, settled, NONE, "", now_s, (expires_us or 0) // 1_000_000))
    rows.append((settled, end, NONE, "", now_s, now_s))
    return rows


def in_order(coverage: list[Coverage]) -> list[Coverage]:
    """Rows of several answers by begin; where a last bar reaches into the next answer, that counts.

    >>> in_order([(4, 9, 0, "", 0, None), (0, 5, 1, "seg:a:1", 0, None)])
    [(0, 4, 1, 'seg:a:1', 0, None), (4, 9, 0, '', 0, None)]
    """
    rows = sorted(coverage, key=lambda row: row[:2])
    clipped = [
        (row[0], min(row[1], following[0]), *row[2:]) for row, following in itertools.pairwise(rows)
    ]
    return [row for row in (*clipped, *rows[-1:]) if row[0] < row[1]]
