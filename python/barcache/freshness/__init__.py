"""Whether what is cached is still right: finality of bars, and RustyBT's freshness policies.

:func:`finality` answers for each bar, and is what get_or_fetch goes by; the policies answer for a
whole fetch, in the shape of ``rustybt.data.sources.freshness``.
"""

from __future__ import annotations

from barcache.freshness.calendars import Calendar, calendar_of, named_calendar
from barcache.freshness.factory import FreshnessPolicyFactory, load_config
from barcache.freshness.finality import Finality, finality
from barcache.freshness.policies import (
    AlwaysStaleFreshnessPolicy,
    CacheFreshnessPolicy,
    HybridFreshnessPolicy,
    MarketCloseFreshnessPolicy,
    NeverStaleFreshnessPolicy,
    TTLFreshnessPolicy,
    ttl_of,
)

__all__ = [
    "AlwaysStaleFreshnessPolicy",
    "CacheFreshnessPolicy",
    "Calendar",
    "Finality",
    "FreshnessPolicyFactory",
    "HybridFreshnessPolicy",
    "MarketCloseFreshnessPolicy",
    "NeverStaleFreshnessPolicy",
    "TTLFreshnessPolicy",
    "calendar_of",
    "finality",
    "load_config",
    "named_calendar",
    "ttl_of",
]
