"""The files that a source reads: found by path, list or pattern, and part of its name.

Thread safety: pure functions.
"""

from __future__ import annotations

import glob
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barcache.errors import InvalidType, SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAGIC = "*?["


def found_files(paths: Any, suffixes: Iterable[str] = ()) -> list[Path]:
    """The files that ``paths`` stands for, sorted within each pattern or folder.

    Args:
        paths: a path, a glob pattern (``**`` goes down), a folder (its files with one of
            ``suffixes``, at any depth), or several of these.
        suffixes: in lower case with the dot.

    Raises:
        SourceUnavailable: there is no such file.
        InvalidType: no path.
    """
    if isinstance(paths, str | Path):
        return _of_one(paths, tuple(suffixes))
    if not isinstance(paths, list | tuple | set) or not paths:
        raise InvalidType(f"{paths!r} is no path: pass a path, a glob pattern, or a list of them")
    found = [file for path in paths for file in found_files(path, suffixes)]
    return list(dict.fromkeys(found))


def _of_one(path: str | Path, suffixes: tuple[str, ...]) -> list[Path]:
    place = Path(path).expanduser()
    if place.is_dir():
        files = (file for file in place.rglob("*") if file.is_file())
        found = sorted(file for file in files if file.suffix.lower() in suffixes)
        if not found:
            raise SourceUnavailable(f"the folder {path} holds no {' or '.join(suffixes)} file")
        return found
    if place.exists():
        return [place]
    if any(letter in str(path) for letter in _MAGIC):
        matching = (Path(name) for name in glob.glob(str(place), recursive=True))  # noqa: PTH207
        if found := sorted(file for file in matching if file.is_file()):
            return found
        raise SourceUnavailable(f"no file matches {path}")
    raise SourceUnavailable(f"there is no file {path}")


def files_id(kind: str, files: list[Path], options: dict[str, Any]) -> str:
    """The source id of these files as they are now, read in this way.

    Path, size and time of modification of each are in it: a file that changed is another source,
    so that nothing cached from it before is served for it.
    """
    state = [
        [str(file.resolve()), stat.st_size, stat.st_mtime_ns]
        for file, stat in ((file, file.stat()) for file in files)
    ]
    text = json.dumps([state, options], sort_keys=True, default=repr)
    shown = files[0].name if len(files) == 1 else f"{len(files)} files"
    return f"{kind}:{shown}@{hashlib.sha256(text.encode()).hexdigest()[:12]}"
