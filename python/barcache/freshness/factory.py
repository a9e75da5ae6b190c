"""The policy that fits a source and a frequency, and what a configuration file says instead.

Keys are ``<source>.<setting>``, the source in lower case as in ``yfinance``:

==================================  ========================================================
``yfinance.daily``, ``.intraday``   policy: ``market_close`` ``ttl`` ``hybrid`` ``never_stale``
                                    ``always_stale``
``yfinance.daily_ttl``              seconds; also ``hourly_ttl``, ``minute_ttl``, or of one
                                    frequency ``5m_ttl``, which goes first
``yfinance.calendar``               name for exchange_calendars, or ``24/7``
``live``                            true: nothing is ever served from the cache
==================================  ========================================================
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barcache.errors import InvalidArgument
from barcache.freshness.calendars import ALWAYS_OPEN
from barcache.freshness.policies import (
    SETTLING_S,
    AlwaysStaleFreshnessPolicy,
    CacheFreshnessPolicy,
    HybridFreshnessPolicy,
    MarketCloseFreshnessPolicy,
    NeverStaleFreshnessPolicy,
    TTLFreshnessPolicy,
    ttl_of,
)
from barcache.resolution import parse_resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_FILE = "cache_freshness.yaml"
POLICIES = ("market_close", "ttl", "hybrid", "never_stale", "always_stale")
_FILES = ("csv", "parquet")  # Sources of files that do not change under one name.
_US_ONLY = {"polygon": "XNYS", "alpaca": "XNYS"}
_EQUITIES = ("yfinance", "polygon", "alpaca", "alphavantage")
_GROUP = {"s": "minute", "m": "minute", "h": "hourly", "d": "daily", "wk": "daily", "mo": "daily"}
_TTL_NAMES = ("daily_ttl", "hourly_ttl", "minute_ttl")
_SETTINGS = ("daily", "intraday", "calendar", *_TTL_NAMES)


class FreshnessPolicyFactory:
    """Chooses policies. Thread-safe: it holds nothing."""

    @staticmethod
    def create(
        adapter: Any,
        frequency: str,
        config: Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> CacheFreshnessPolicy:
        """The policy for ``adapter`` at ``frequency``.

        Without a configuration: files are never stale; daily bars of equities go by the market's
        close, daily bars of ccxt are fresh for a day, bars within the day are hybrid, all else is
        fresh for an hour. That a source could stream (``supports_live``) says nothing of its past.

        Args:
            adapter: a source, one of RustyBT's adapters, or the name of one.
            frequency: of its bars.
            config: settings as in the module's text, as :func:`load_config` returns them.
            clock: of the policy, Unix seconds.

        Raises:
            InvalidArgument: a setting of ``config`` that is unknown or has no such value.
        """
        settings = dict(config or {})
        require_known_settings(settings)
        if settings.get("live"):
            return AlwaysStaleFreshnessPolicy(clock=clock)
        name = source_name(adapter)
        group = _group(frequency)
        chosen = settings.get(f"{name}.{'daily' if group == 'daily' else 'intraday'}")
        kind = chosen or _usual_policy(name, group)
        calendar = settings.get(f"{name}.calendar") or _calendar(adapter, name)
        ttl = _ttl(settings, name, frequency, group)
        delay = _delay_s(adapter)
        if kind == "market_close":
            settling = SETTLING_S if delay is None else max(delay, 0.0)
            return MarketCloseFreshnessPolicy(calendar=calendar, data_delay_s=settling, clock=clock)
        if kind == "hybrid":
            seconds = ttl_of(frequency) if ttl is None else ttl
            return HybridFreshnessPolicy(
                seconds, calendar=calendar, data_delay_s=delay or 0.0, clock=clock
            )
        if kind == "never_stale":
            return NeverStaleFreshnessPolicy(clock=clock)
        if kind == "always_stale":
            return AlwaysStaleFreshnessPolicy(clock=clock)
        return TTLFreshnessPolicy(ttl, clock=clock)


def source_name(adapter: Any) -> str:
    """The source in settings: ``ccxt`` for ``ccxt:binance``, ``yfinance`` for a YFinanceAdapter.

    >>> source_name("ccxt:binance")
    'ccxt'
    """
    name = adapter if isinstance(adapter, str) else None
    describe = getattr(adapter, "get_metadata", None)
    if name is None and callable(describe):
        name = getattr(describe(), "source_type", None)
    for attribute in ("source_id", "name"):
        found = getattr(adapter, attribute, None)
        if name is None and isinstance(found, str):
            name = found
    if name is None:
        name = type(adapter).__name__
    plain = name.partition(":")[0].partition("(")[0].lower()
    return plain.removesuffix("adapter").removesuffix("datasource").removesuffix("source")


def _group(frequency: str) -> str:
    try:
        return _GROUP[parse_resolution(frequency).unit]
    except InvalidArgument:
        return "other"


def _usual_policy(name: str, group: str) -> str:
    if name in _FILES:
        return "never_stale"
    if group == "daily" and name in _EQUITIES:
        return "market_close"
    return "hybrid" if group in ("hourly", "minute") else "ttl"


def _calendar(adapter: Any, name: str) -> Any:
    return getattr(adapter, "calendar", None) or (
        ALWAYS_OPEN if name == "ccxt" else _US_ONLY.get(name)
    )


def _delay_s(adapter: Any) -> float | None:
    given = getattr(adapter, "data_delay_s", None)
    if isinstance(given, int | float):
        return float(given)
    describe = getattr(adapter, "get_metadata", None)
    minutes = getattr(describe(), "data_delay", None) if callable(describe) else None
    return None if minutes is None else 60.0 * float(minutes)


def _ttl(settings: dict[str, Any], name: str, frequency: str, group: str) -> float | None:
    names = [f"{frequency}_ttl", f"{group}_ttl"]
    if group != "other":
        names.insert(1, f"{parse_resolution(frequency).name}_ttl")
    return next((settings[f"{name}.{n}"] for n in names if f"{name}.{n}" in settings), None)


def require_known_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what would be without effect.

    Raises:
        InvalidArgument: a key that nothing reads, or a value that makes no sense.
    """
    for key, value in settings.items():
        setting = key.rpartition(".")[2]
        is_ttl = setting.endswith("_ttl")
        known = key == "live" or ("." in key and setting in _SETTINGS)
        if is_ttl and not known and "." in key:
            parse_resolution(setting.removesuffix("_ttl"))
            known = True
        if not known:
            raise InvalidArgument(
                f"the freshness setting {key!r} is unknown: use 'live' or '<source>.' with one of "
                f"{', '.join(_SETTINGS)}, or a frequency with '_ttl' as in '5m_ttl'"
            )
        if is_ttl and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise InvalidArgument(f"{key}: {value!r} is no number of seconds: use 0 or more")
        if setting in ("daily", "intraday") and value not in POLICIES:
            raise InvalidArgument(f"{key}: {value!r} is no policy: use {', '.join(POLICIES)}")


def load_config(path: str | Path | None = None) -> dict[str, Any]:
    """The settings of a YAML, TOML or JSON file, nested tables flattened to ``source.setting``.

    A top level ``cache_freshness`` or ``freshness`` may stand around them.

    Args:
        path: default ``cache_freshness.yaml`` in the current folder, which may be missing.

    Raises:
        ImportError: a YAML file, and PyYAML is not installed.
        InvalidArgument: not such a file, or settings that are unknown.
        FileNotFoundError: ``path`` was given, and is not there.
    """
    if path is None and not Path(DEFAULT_FILE).exists():
        return {}
    file = Path(path or DEFAULT_FILE)
    content = _read(file)
    if content is None:
        return {}
    if isinstance(content, dict) and len(content) == 1:
        around = next(iter(content))
        if around in ("cache_freshness", "freshness"):
            content = content[around]
    if not isinstance(content, dict):
        raise InvalidArgument(f"{file} holds no settings: write 'source:' and settings below it")
    settings = _flattened(content)
    require_known_settings(settings)
    return settings


def _read(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    try:
        if file.suffix == ".toml":
            import tomllib

            return tomllib.loads(text)
        if file.suffix == ".json":
            return json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"{file} is not read: {error}") from error
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            f"{file} is YAML, which needs PyYAML; install it with: pip install "
            '"barcache[yaml]", or write the settings as TOML or JSON'
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{file} is not read: {error}") from error


def _flattened(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{above}{key}"
        if isinstance(value, dict):
            flat.update(_flattened(value, f"{name}."))
        else:
            flat[name] = value
    return flat
