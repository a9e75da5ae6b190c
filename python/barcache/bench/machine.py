"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "barcache",
    "polars",
    "pyarrow",
    "numpy",
    "sqlalchemy",
    "structlog",
    "diskcache",
    "joblib",
    "arcticdb",
    "pandas",
)


def _first(path: str, prefix: str) -> str:
    try:
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(prefix):
                return line.split("=" if "=" in line else ":", 1)[1].strip().strip('"')
    except OSError:
        pass
    return "unknown"


def _file_system_of(directory: Path) -> str:
    best, kind = "", "unknown"
    here = str(directory.resolve())
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, point, mounted, *_ = line.split(" ")
        inside = here == point or here.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, mounted
    return kind


def describe(directory: Path) -> dict[str, Any]:
    """Processor, memory, system and file system."""
    flags = _first("/proc/cpuinfo", "flags").split()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _first("/proc/cpuinfo", "model name"),
        "processors": os.cpu_count(),
        "virtual": "hypervisor" in flags,
        "sha_instructions": "sha_ni" in flags,
        "memory_gb": round(total / (1 << 30), 1),
        "system": f"{_first('/etc/os-release', 'PRETTY_NAME')}, Linux {platform.release()}",
        "file_system": _file_system_of(directory),
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Of Python, SQLite and whatever takes part."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def one_line(machine: dict[str, Any]) -> str:
    """The machine in one line, for under a table."""
    return (
        f"{machine['processor']}, {machine['processors']} processors"
        f"{' (virtual machine)' if machine['virtual'] else ''}, {machine['memory_gb']:g} GB, "
        f"{machine['file_system']}, {machine['system']}"
    )
