"""Log lines of barcache: an event name and its fields, through the logger ``barcache``.

A line reads ``event_name field=value ...``; the record carries ``event`` and each field as
attributes, so that a handler need not parse the text. Nothing is printed unless the
application configures logging.
"""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger("barcache")
logger.addHandler(logging.NullHandler())


def log_event(level: int, event: str, **fields: Any) -> None:
    """Log one event. Costs a level check when nobody listens.

    >>> log_event(logging.DEBUG, "dataset_created", dataset_id=1, source="csv")
    """
    if logger.isEnabledFor(level):
        text = "".join(f" {name}={value}" for name, value in fields.items())
        logger.log(level, "%s%s", event, text, extra={"event": event, **fields}, stacklevel=3)
