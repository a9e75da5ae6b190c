"""Whether what is cached is still right: finality of bars, and RustyBT's freshness policies.

:func:`finality` answers for each bar, and is what get_or_fetch goes by; the policies answer for a
whole fetch, in the shape of ``rustybt.data.sources.freshness``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from barcache.freshness.calendars import Calendar, calendar_of, named_calendar
from barcache.freshness.finality import Finality, finality
from barcache.late_names import late_names

if TYPE_CHECKING:
    from barcache.freshness.factory import FreshnessPolicyFactory, load_config
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

# These are loaded when they are asked for: importing barcache must not take their time.
_HOMES = {
    "AlwaysStaleFreshnessPolicy": "barcache.freshness.policies",
    "CacheFreshnessPolicy": "barcache.freshness.policies",
    "FreshnessPolicyFactory": "barcache.freshness.factory",
    "HybridFreshnessPolicy": "barcache.freshness.policies",
    "MarketCloseFreshnessPolicy": "barcache.freshness.policies",
    "NeverStaleFreshnessPolicy": "barcache.freshness.policies",
    "TTLFreshnessPolicy": "barcache.freshness.policies",
    "load_config": "barcache.freshness.factory",
    "ttl_of": "barcache.freshness.policies",
}

if not TYPE_CHECKING:  # Else no type checker would find a name that there is not.
    __getattr__, __dir__ = late_names(globals(), _HOMES)
