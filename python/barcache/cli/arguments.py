"""How a command line names a cache, an age and a size."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from barcache import CacheManager

Command = TypeVar("Command", bound=Callable[..., Any])

_AGE_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


@dataclass(frozen=True)
class Location:
    """Where a cache is: its catalog and the directory of its files."""

    db_path: Path
    cache_directory: Path

    def open(self, *, read_only: bool, **settings: Any) -> CacheManager:
        """Opens a cache that exists; never makes one.

        A usage error (exit code 2) if there is nothing at that place.
        """
        if not self.db_path.is_file():
            raise click.UsageError(
                f"there is no catalog at {self.db_path}. Name the cache by a directory that holds "
                "metadata.db and cache/, or by --db and --cache-dir."
            )
        if not self.cache_directory.is_dir():
            raise click.UsageError(
                f"there is no cache directory at {self.cache_directory}. Name it by --cache-dir."
            )
        from barcache import CacheManager

        return CacheManager(
            str(self.db_path),
            str(self.cache_directory),
            hot_cache_size_mb=0,
            read_only=read_only,
            record_on_close=False,
            **settings,
        )

    def repair_catalog(self) -> bool:
        """Rebuilds a catalog that is lost or damaged; returns whether it was."""
        if not self.cache_directory.is_dir():
            return False
        if not self.db_path.is_file() and not Path(f"{self.db_path}-barcache").is_file():
            return False
        from barcache import CacheManager

        return CacheManager._repair_catalog(str(self.db_path), str(self.cache_directory))


class Age(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases
    """`30d`, `12h`, `90m`, `45s` or `2w`, as seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, or a usage error that shows how to write one."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+)([smhdw])", str(value).strip().lower())
        if match is None:
            self.fail(f"{value!r} is not an age; write for instance 30d, 12h or 2w.", param, ctx)
        return int(match[1]) * _AGE_UNITS_S[match[2]]


class Size(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases
    """`5GB`, `500MB` or `2T`, in units of 1024, as bytes. A bare number is bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, or a usage error that shows how to write one."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", str(value).strip().lower())
        if match is None:
            self.fail(f"{value!r} is not a size; write for instance 500MB or 5GB.", param, ctx)
        return int(float(match[1]) * _SIZE_UNITS[match[2]])


def location_options(command: Command) -> Command:
    """Adds DIRECTORY, --db and --cache-dir; the command receives a `Location | None`."""

    def find(directory: str | None, db: str | None, cache_dir: str | None) -> Location | None:
        if directory is not None:
            if db is not None or cache_dir is not None:
                raise click.UsageError("name the cache by DIRECTORY or by --db, not by both.")
            return Location(Path(directory) / "metadata.db", Path(directory) / "cache")
        db = db or os.environ.get("BARCACHE_DB") or None
        cache_dir = cache_dir or os.environ.get("BARCACHE_CACHE_DIR") or None
        if db is None and cache_dir is None:
            return None
        if db is None:
            raise click.UsageError("--cache-dir names the files; name the catalog by --db too.")
        return Location(Path(db), Path(cache_dir) if cache_dir else Path(db).parent / "cache")

    import functools

    @functools.wraps(command)
    def wrapped(
        *args: Any,
        directory: str | None,
        db: str | None,
        cache_dir: str | None,
        **kwargs: Any,
    ) -> Any:
        return command(*args, location=find(directory, db, cache_dir), **kwargs)

    decorators = (
        click.argument("directory", required=False, type=click.Path()),
        click.option("--db", type=click.Path(), help="The catalog (else $BARCACHE_DB)."),
        click.option(
            "--cache-dir",
            type=click.Path(),
            help="The files (else $BARCACHE_CACHE_DIR, else cache/ beside the catalog).",
        ),
    )
    decorated: Any = wrapped
    for decorate in reversed(decorators):
        decorated = decorate(decorated)
    result: Command = decorated
    return result


def required(location: Location | None) -> Location:
    """The location, or a usage error that says how to give one."""
    if location is None:
        raise click.UsageError(
            "which cache? Give a directory that holds metadata.db and cache/, or --db and "
            "--cache-dir, or set BARCACHE_DB and BARCACHE_CACHE_DIR."
        )
    return location
