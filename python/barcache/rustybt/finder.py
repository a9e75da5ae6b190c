"""The import hook of the drop-in switch, and the modules that it supplies.

It answers for ``rustybt.data.polars.cache_manager`` always; for its parents and for
``metadata_catalog`` only where no other finder has them.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

PARENTS = ("rustybt", "rustybt.data", "rustybt.data.polars")
CACHE_MANAGER = "rustybt.data.polars.cache_manager"
METADATA_CATALOG = "rustybt.data.polars.metadata_catalog"
REPLACED_NAMES = ("CacheManager", "LRUCache")
_MARK = "__barcache_stub__"


class SwitchFinder(importlib.abc.MetaPathFinder):
    """First on ``sys.meta_path`` while the switch is on."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a module that the switch supplies, else None."""
        if fullname == CACHE_MANAGER:
            return _spec(fullname)
        if fullname in PARENTS or fullname == METADATA_CATALOG:
            return None if _others_find(fullname, path) else _spec(fullname)
        return None


class _SupplyLoader(importlib.abc.Loader):
    """Fills a supplied module."""

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, _MARK, True)
        module.__dict__.update(_contents(module.__name__))


def is_supplied(module: Any) -> bool:
    """Whether a module is one that the switch made."""
    return getattr(module, "__dict__", {}).get(_MARK) is True


def supplied_module(name: str) -> ModuleType:
    """A new module as an import would make it."""
    module = importlib.util.module_from_spec(_spec(name))
    _SupplyLoader().exec_module(module)
    return module


def real_rustybt_installed() -> bool:
    """Whether RustyBT itself can be found, without importing it."""
    loaded = sys.modules.get("rustybt")
    if loaded is not None and not is_supplied(loaded):
        return True
    return _others_find("rustybt", None)


def _spec(name: str) -> importlib.machinery.ModuleSpec:
    return importlib.machinery.ModuleSpec(
        name, _SupplyLoader(), origin="barcache.rustybt", is_package=name in PARENTS
    )


def _others_find(name: str, path: Sequence[str] | None) -> bool:
    for finder in list(sys.meta_path):
        if isinstance(finder, SwitchFinder) or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(name, path)
        # A folder of that name without a module in it is not the package.
        if spec is not None and spec.loader is not None and not _is_namespace(spec):
            return True
    return False


def _is_namespace(spec: importlib.machinery.ModuleSpec) -> bool:
    return spec.origin is None and spec.submodule_search_locations is not None


def _contents(name: str) -> dict[str, Any]:
    if name in PARENTS:
        return {"__doc__": "Empty stand-in by barcache.rustybt: RustyBT is not installed."}
    from barcache.metadata_catalog import ParquetMetadataCatalog, calculate_file_checksum

    catalog_names = {
        "ParquetMetadataCatalog": ParquetMetadataCatalog,
        "calculate_file_checksum": calculate_file_checksum,
    }
    if name == METADATA_CATALOG:
        return catalog_names
    from barcache import CacheManager, LRUCache

    return {"CacheManager": CacheManager, "LRUCache": LRUCache, **catalog_names}
