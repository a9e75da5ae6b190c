"""Warming: fetching a universe of symbols ahead of the runs that will ask for it."""

from __future__ import annotations

from barcache.warming.plan import WarmPlan
from barcache.warming.report import WarmReport

__all__ = ["WarmPlan", "WarmReport"]
