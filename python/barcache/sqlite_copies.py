"""Which copies of SQLite are in the process, and whether the core and Python share one."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import Any

from barcache import _core

# In every copy of SQLite, and in nothing else.
_SQLITE_SIGNATURE = (
    b"CREATE TABLE x(type text,name text,tbl_name text,rootpage int,sql text)",
    b"SQLite format 3\0",
)


def same_sqlite() -> bool:
    """Whether the core and the interpreter's sqlite3 are one copy of SQLite.

    >>> isinstance(same_sqlite(), bool)
    True
    """
    import _sqlite3
    import ctypes

    def address(module: Any) -> int | None:
        # A module built into the interpreter has no file: look in the program itself.
        library = ctypes.CDLL(getattr(module, "__file__", None))
        try:
            return ctypes.cast(library.sqlite3_libversion, ctypes.c_void_p).value
        except AttributeError:
            return None  # Linked in statically, with its symbols hidden.

    core = address(_core)
    return core is not None and core == address(_sqlite3)


def sqlite_copies() -> list[str]:
    """The files mapped into this process that hold a copy of SQLite, in order.

    More than one is dangerous only if two of them open the same database; ``barcache doctor``
    shows this list.

    >>> len(sqlite_copies()) >= 1
    True
    """
    lines = Path("/proc/self/maps").read_text().splitlines()
    mapped = {match[1] for line in lines if (match := re.search(r" r-xp .* (/.*)$", line))}
    return sorted(path for path in mapped if _holds_sqlite(path))


def _holds_sqlite(path: str) -> bool:
    try:
        with (
            Path(path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return all(content.find(mark) >= 0 for mark in _SQLITE_SIGNATURE)
    except (OSError, ValueError):
        return False  # Deleted since, or empty.
