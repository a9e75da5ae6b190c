"""Forgetting: what the ledger knows of an interval is taken back, so that it is asked for anew.

Thread safety: a function of a cache, as thread-safe as that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from barcache.bars.ends import Ends, zone_of
from barcache.bars.frames import remembered_shape
from barcache.bars.look import NO_LIMIT_NS, without
from barcache.errors import CatalogBusy

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from barcache import _core
    from barcache.bars.asking import AskingCore
    from barcache.bars.ends import Interval

MOST_TRIES = 20


def forget(
    cache: AskingCore,
    concerns: Callable[[tuple[str, str, str, str]], bool],
    start: Any = None,
    end: Any = None,
) -> None:
    """Forget what is known between two ends, both included; None: from or to wherever it is.

    The bars stay readable by the keys of their segments until these are evicted.

    Args:
        cache: whose ledger.
        concerns: is asked with the name of each series (source, resolution, adjustment, symbol).
        start: as for get_or_fetch.
        end: likewise.

    Raises:
        InvalidArgument: an end before the start, or text that is no ISO date or time.
        CatalogBusy: others changed a series as fast as it was read.
    """
    _interval(start, end, zone_of(None))  # Refuses what makes no sense before anything is done.
    for series in cache._ledger_all():
        if concerns(series.name):
            _forget(cache, series, start, end)


def _forget(cache: AskingCore, series: _core.Series, start: Any, end: Any) -> None:
    shape = remembered_shape(series.schema_text)
    interval = _interval(start, end, zone_of(None) if shape is None else shape.zone)
    name = series.name
    for _ in range(MOST_TRIES):
        known = list(series.coverage)
        rest = [(*part, *row[2:]) for row in known for part in without([row[:2]], [interval])]
        if rest == known or cache._ledger_record([(*name, "", rest, True, known)]):
            return
        (series,) = cache._ledger_look(*name[:3], [name[3]])
    raise CatalogBusy(f"others changed the series of {name[3]} as fast as it was read: ask again")


def _interval(start: Any, end: Any, zone: tzinfo) -> Interval:
    if start is not None and end is not None:
        return Ends(start, end).interval(zone)
    begin = -NO_LIMIT_NS if start is None else Ends(start, start).interval(zone)[0]
    return begin, NO_LIMIT_NS if end is None else Ends(end, end).interval(zone)[1]
