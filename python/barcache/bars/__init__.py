"""Asking for bars instead of keys: requests by symbol and interval, answered from segments.

The ledger (what was asked of a source, and what it answered) and the arithmetic of intervals are
native; here is what needs Python: ends of requests in their many types, frames, and sources.
"""

from __future__ import annotations

from barcache.bars.asking import AskingCore
from barcache.bars.reader import BarReader

__all__ = ["AskingCore", "BarReader"]
