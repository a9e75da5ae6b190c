"""RustyBT's own cache code, from its source distribution, run in place.

A few of its files are all that is measured; they need polars, SQLAlchemy and structlog, the cache
of a data source pandas too. The package around them is not built or imported: empty packages stand
in for its parents.
"""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import tarfile
import types
import warnings
from typing import TYPE_CHECKING, Any

from barcache.bench.contenders import TwoTier

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "0.3.3"


def unpacked(build_directory: Path) -> Path:
    """The folder `rustybt` of the source distribution, downloaded by pip at the first call."""
    root = build_directory / f"rustybt-{VERSION}"
    package = root / "rustybt"
    if package.is_dir():
        return package
    build_directory.mkdir(parents=True, exist_ok=True)
    archive = build_directory / f"rustybt-{VERSION}.tar.gz"
    if not archive.is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", "rustybt", "--ignore-requires-python"]
        command += ["--dest", str(build_directory), f"rustybt=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0 or not archive.is_file():
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise RuntimeError(f"pip could not download its source distribution: {lines[-1]}")
    with tarfile.open(archive) as opened:
        opened.extractall(build_directory, filter="data")
    return package


PACKAGES = (
    "rustybt",
    "rustybt.assets",
    "rustybt.data",
    "rustybt.data.bundles",
    "rustybt.data.polars",
    "rustybt.data.sources",
    "rustybt.utils",
)


def load_module(build_directory: Path, module: str) -> Any:
    """A module of one of these packages, by its name."""
    package = unpacked(build_directory)
    for name in PACKAGES:
        parent = types.ModuleType(name)
        parent.__path__ = [str(package.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = parent
    import structlog

    # Its log goes to stdout by default; what printing costs is not what is compared.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="rustybt")
    return importlib.import_module(module)


def load(build_directory: Path) -> Any:
    """The module rustybt.data.polars.cache_manager."""
    return load_module(build_directory, "rustybt.data.polars.cache_manager")


class RustyBT(TwoTier):
    name = "RustyBT"
    about = (
        "its own CacheManager, logging switched off; cold: SHA-256 verified; each hit and each put "
        "commits to SQLite and waits for the disk"
    )

    def __init__(self, build_directory: Path) -> None:
        super().__init__(load(build_directory).CacheManager)
