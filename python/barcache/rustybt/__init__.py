"""The drop-in switch: code written for RustyBT's cache runs on barcache, unchanged.

    python -m barcache.rustybt script.py args...        # or: -m module args...
    import barcache.rustybt; barcache.rustybt.install()
    %load_ext barcache.rustybt                          # in IPython and Jupyter

While it is on, ``from rustybt.data.polars.cache_manager import CacheManager, LRUCache`` gives
barcache's classes, whether RustyBT is installed or not. With RustyBT only that module is replaced.
Without it the switch also supplies ``rustybt.data.polars.metadata_catalog`` and empty parents,
marked ``__barcache_stub__``; everything else of RustyBT stays a ModuleNotFoundError.

The environment variable ``BARCACHE_DISABLE=1`` makes :func:`install` do nothing.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import threading
import warnings
from typing import Any, Literal, NamedTuple

from barcache.rustybt.finder import (
    CACHE_MANAGER,
    METADATA_CATALOG,
    PARENTS,
    REPLACED_NAMES,
    SwitchFinder,
    is_supplied,
    real_rustybt_installed,
    supplied_module,
)

__all__ = ["SwitchStatus", "install", "status", "uninstall"]


class SwitchStatus(NamedTuple):
    """Which CacheManager an import from ``rustybt`` gives now."""

    live: Literal["barcache", "rustybt", "none"]
    installed: bool  # The switch is on.
    disabled: bool  # BARCACHE_DISABLE keeps install() from turning it on.
    rustybt_version: str | None  # None: RustyBT is not installed.

    def __str__(self) -> str:
        what = {
            "barcache": "rustybt.data.polars.cache_manager is barcache's",
            "rustybt": "rustybt.data.polars.cache_manager is RustyBT's own",
            "none": "rustybt.data.polars.cache_manager cannot be imported",
        }[self.live]
        switch = "on" if self.installed else "off, disabled" if self.disabled else "off"
        rustybt = f"RustyBT {self.rustybt_version or 'is not installed'}"
        return f"{what} (switch {switch}; {rustybt})"


class _Switch:
    """What is turned on, and what must be put back."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.finder: SwitchFinder | None = None
        self.replaced_module: Any = None
        # (namespace, name, RustyBT's object), for each name that was rebound.
        self.rebound: list[tuple[dict[str, Any], str, Any]] = []


_switch = _Switch()


def install() -> SwitchStatus:
    """Turn the switch on; a second call changes nothing.

    If RustyBT's cache manager was imported before, it is replaced in place, in every module that
    holds its classes, with a RuntimeWarning; objects made from them stay RustyBT's.

    >>> install().live
    'barcache'
    >>> uninstall().installed
    False
    """
    with _switch.lock:
        if _switch.finder is None and not _disabled():
            _switch.finder = SwitchFinder()
            sys.meta_path.insert(0, _switch.finder)
            real = sys.modules.get(CACHE_MANAGER)
            if real is not None and not is_supplied(real):
                _replace_imported(real)
    return status()


def uninstall() -> SwitchStatus:
    """Turn the switch off and put back what :func:`install` replaced.

    Names that were imported while it was on stay barcache's.
    """
    with _switch.lock:
        if _switch.finder is not None:
            sys.meta_path.remove(_switch.finder)
            _switch.finder = None
            for namespace, name, original in _switch.rebound:
                namespace[name] = original
            _switch.rebound.clear()
            for module_name in (CACHE_MANAGER, METADATA_CATALOG, *reversed(PARENTS)):
                if is_supplied(sys.modules.get(module_name)):
                    _forget(module_name)
            if _switch.replaced_module is not None:
                _bind_module(_switch.replaced_module)
                _switch.replaced_module = None
    return status()


def status() -> SwitchStatus:
    """Which cache manager is live: barcache's, RustyBT's own, or none.

    >>> print(status())  # doctest: +ELLIPSIS
    rustybt.data.polars.cache_manager ...
    """
    installed = _switch.finder is not None
    imported = sys.modules.get(CACHE_MANAGER)
    live: Literal["barcache", "rustybt", "none"]
    if imported is not None:
        live = "barcache" if is_supplied(imported) else "rustybt"
    elif installed:
        live = "barcache"
    else:
        live = "rustybt" if real_rustybt_installed() else "none"
    return SwitchStatus(live, installed, _disabled(), _rustybt_version())


def load_ipython_extension(ipython: Any) -> None:  # noqa: ARG001
    """What ``%load_ext barcache.rustybt`` calls."""
    sys.stdout.write(f"{install()}\n")


def unload_ipython_extension(ipython: Any) -> None:  # noqa: ARG001
    """What ``%unload_ext barcache.rustybt`` calls."""
    sys.stdout.write(f"{uninstall()}\n")


def _replace_imported(real: Any) -> None:
    ours = supplied_module(CACHE_MANAGER)
    replacements = [
        (getattr(real, name), getattr(ours, name)) for name in REPLACED_NAMES if hasattr(real, name)
    ]
    holders = []
    for module_name, module in list(sys.modules.items()):
        namespace = getattr(module, "__dict__", None)
        if type(namespace) is not dict:
            continue
        for name, value in list(namespace.items()):
            for original, replacement in replacements:
                if value is original:
                    namespace[name] = replacement
                    _switch.rebound.append((namespace, name, original))
                    holders.append(module_name)
    _switch.replaced_module = real
    _bind_module(ours)
    warnings.warn(
        f"{CACHE_MANAGER} was imported before the switch was turned on; its classes are now "
        f"barcache's in {', '.join(sorted(set(holders)))}. Objects made before stay RustyBT's: "
        "turn the switch on first.",
        RuntimeWarning,
        stacklevel=3,
    )


def _bind_module(module: Any) -> None:
    """Make ``module`` what both import forms find."""
    sys.modules[CACHE_MANAGER] = module
    parent, _, name = CACHE_MANAGER.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], name, module)


def _forget(module_name: str) -> None:
    module = sys.modules.pop(module_name)
    parent, _, name = module_name.rpartition(".")
    namespace = getattr(sys.modules.get(parent), "__dict__", {})
    if namespace.get(name) is module:
        del namespace[name]


def _disabled() -> bool:
    return os.environ.get("BARCACHE_DISABLE", "") not in ("", "0")


def _rustybt_version() -> str | None:
    try:
        return importlib.metadata.version("rustybt")
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version" if real_rustybt_installed() else None
