"""What `barcache doctor` looks at, each with a verdict and, where needed, advice.

Nothing is changed; a check that cannot be made says so and does not stop the others.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import barcache
from barcache.cli.output import format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from barcache.cli.arguments import Location

# Network file systems: their locks and their mmap do not hold what the catalog needs.
_REMOTE_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "ceph", "lustre", "glusterfs", "fuse.sshfs")
_LOW_DISK_BYTES = 1 << 30
_LOW_DESCRIPTORS = 256


@dataclass(frozen=True)
class Check:
    """One finding: verdict is 'ok', 'note', 'warn' or 'fail'."""

    name: str
    found: str
    verdict: str = "ok"
    advice: str = ""


def examine(location: Location | None) -> list[Check]:
    """All checks, in the order in which they are printed."""
    checks: list[Check] = []
    for look in (_platform, _versions, _arrow, _sqlite, _sha256, _limits):
        checks += _safely(look)
    if location is not None:
        checks += _safely(lambda: _place(location))
    return checks


def _safely(look: Callable[[], list[Check]]) -> list[Check]:
    try:
        return look()
    except Exception as error:  # A check must not take the others with it.
        name = getattr(look, "__name__", "place").strip("_<>")
        return [Check(name, f"could not be examined: {error}", "warn")]


def _platform() -> list[Check]:
    machine = platform.machine()
    found = f"{platform.system()} {machine}, Python {platform.python_version()}"
    if sys.platform != "linux" or machine not in ("x86_64", "aarch64"):
        return [Check("platform", found, "fail", "barcache runs on Linux, x86-64 or aarch64.")]
    return [Check("platform", found)]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _versions() -> list[Check]:
    checks = [Check("barcache", barcache.__version__)]
    for name in ("polars", "pyarrow", "sqlalchemy", "click", "rich"):
        found = _installed(name)
        if found is not None:
            checks.append(Check(name, found))
        elif name == "sqlalchemy":
            checks.append(Check(name, "not installed", "note"))
        else:
            checks.append(Check(name, "not installed", "fail", f"pip install {name}"))
    return checks


def _arrow() -> list[Check]:
    """The module is built for one major version of pyarrow's libraries."""
    import polars
    import pyarrow

    major = int(pyarrow.__version__.split(".")[0])
    if not 25 <= major < 27 or pyarrow.__version__ == "25.0.0":
        return [
            Check(
                "pyarrow and the module",
                f"pyarrow {pyarrow.__version__}",
                "fail",
                'supported is >=25.0.1,<27: pip install "pyarrow>=25.0.1,<27"',
            )
        ]
    frame = polars.DataFrame({"price": [1.0, 2.5], "symbol": ["A", "B"]})
    try:
        import barcache._core  # noqa: F401 - loads libarrow and libparquet.

        back = polars.DataFrame(pyarrow.table(frame))
    except ImportError as error:
        return [
            Check(
                "pyarrow and the module",
                str(error),
                "fail",
                "reinstall barcache for this pyarrow: pip install --force-reinstall barcache",
            )
        ]
    if not back.equals(frame):
        return [Check("polars and pyarrow", "a frame came back different", "fail")]
    return [Check("polars and pyarrow", f"exchange frames, Arrow {major}")]


def _sqlite() -> list[Check]:
    from barcache import sqlite_dbapi

    python_version = sqlite3.sqlite_version
    copies = sqlite_dbapi.sqlite_copies()
    one = sqlite_dbapi.same_sqlite()
    checks = [
        Check(
            "SQLite copies",
            f"{len(copies)}: {', '.join(copies)}",
            "ok" if one else "warn",
            ""
            if one
            else "Python's sqlite3 and barcache use different copies, which do not see each "
            "other's locks. barcache's own engine is safe; in this process open the catalog in no "
            "other way.",
        )
    ]
    numbers = tuple(int(part) for part in python_version.split("."))
    race = (3, 7, 0) <= numbers < (3, 51, 3)
    checks.append(
        Check(
            "SQLite",
            python_version,
            "note" if race else "ok",
            "another program must not write to the catalog at the very moment that barcache does "
            "(SQLite before 3.51.3 has a race there); one after the other is safe."
            if race
            else "",
        )
    )
    return checks


def _sha256() -> list[Check]:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    flags: set[str] = set()
    for line in text.splitlines():
        if line.lower().startswith(("flags", "features")):
            flags.update(line.split(":", 1)[1].split())
            break
    if flags & {"sha_ni", "sha2"}:
        return [Check("SHA-256 in the processor", "yes")]
    return [
        Check(
            "SHA-256 in the processor",
            "no",
            "note",
            "cold reads are verified about four times slower; a larger hot cache makes up for it.",
        )
    ]


def _limits() -> list[Check]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = soft != resource.RLIM_INFINITY and soft < _LOW_DESCRIPTORS
    checks = [
        Check(
            "open files",
            f"{soft} (at most {hard})",
            "warn" if low else "ok",
            f"raise it: ulimit -n {min(hard, 4096) if hard > 0 else 4096}" if low else "",
        )
    ]
    for name, limit in (("memory", resource.RLIMIT_AS), ("file size", resource.RLIMIT_FSIZE)):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            checks.append(Check(f"{name} limit", format_size(soft), "note"))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    checks.append(Check("memory", format_size(total)))
    return checks


def _place(location: Location) -> list[Check]:
    """Catalog and directory: there, local, with room."""
    checks = []
    for name, path, there in (
        ("catalog", location.db_path, location.db_path.is_file()),
        ("cache directory", location.cache_directory, location.cache_directory.is_dir()),
    ):
        if not there:
            checks.append(Check(name, f"{path}: not there", "fail", "check the path."))
            continue
        kind = _file_system_of(path)
        remote = kind.startswith(_REMOTE_FILE_SYSTEMS)
        checks.append(
            Check(
                name,
                f"{path} on {kind}",
                "fail" if remote else "ok",
                "a network file system loses SQLite's locks: move the cache to a local disk."
                if remote
                else "",
            )
        )
    kept = sorted(
        path.name
        for path in location.db_path.parent.glob(f"{location.db_path.name}.corrupt-*")
        if not path.name.endswith(("-wal", "-shm", "-journal"))
    )
    if kept:
        checks.append(
            Check(
                "damaged catalogs",
                ", ".join(kept),
                "note",
                "each was damaged, and rebuilt from the files: look at the disk. They are not used "
                "any more; remove them when you need nothing out of them.",
            )
        )
    if location.cache_directory.is_dir():
        free = shutil.disk_usage(location.cache_directory).free
        low = free < _LOW_DISK_BYTES
        checks.append(
            Check(
                "disk",
                f"{format_size(free)} free",
                "warn" if low else "ok",
                "lower cold_cache_size_mb, or run `barcache evict --max-size`." if low else "",
            )
        )
        if not os.access(location.cache_directory, os.W_OK):
            checks.append(Check("permissions", "the cache directory is read-only", "note"))
    return checks


def _file_system_of(path: Path) -> str:
    """The kind of the file system that holds `path`, as /proc/mounts names it."""
    resolved = str(path.resolve())
    best, kind = "", "unknown"
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    for line in mounts.splitlines():
        _, mount_point, mounted_kind, *_ = line.split(" ")
        mount_point = mount_point.replace("\\040", " ")
        inside = resolved == mount_point or resolved.startswith(mount_point.rstrip("/") + "/")
        if inside and len(mount_point) >= len(best):
            best, kind = mount_point, mounted_kind
    return kind
