"""What a long run does at present: one line on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys


def status_line(what: str) -> None:
    """Says it in the place of what was said before; "" clears the line."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{what}")
        sys.stderr.flush()
