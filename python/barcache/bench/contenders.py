"""Who is measured, and what each does for the four operations.

hot:  a frame that was read a moment ago, from memory.
cold: a frame from the disk (page cache warm), into a Polars frame. barcache and RustyBT verify the
      SHA-256 of the file; the others read whatever is there.
put:  a frame under a new name, until the call returns.
miss: a name that is not there.

`before` runs before each timed call, outside the measured time.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

OPERATIONS = ("hot", "cold", "put", "miss")


@dataclass(frozen=True)
class Case:
    """One thing to time. `returns_frame`: its result must equal the frame that was put."""

    timed: Callable[[], Any]
    before: Callable[[], Any] | None = None
    returns_frame: bool = False


class Names:
    """New names, one a call: put never overwrites."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0

    def __call__(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count:06}"


class Contender:
    """Cases for one frame in one directory; `close` when done."""

    name = ""
    about = ""

    def cases(self, directory: Path, frame: pl.DataFrame) -> dict[str, Case]:
        """What can be timed, by operation. Opens what it needs in `directory`."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes what `cases` opened, if anything."""


class TwoTier(Contender):
    """barcache and RustyBT have the same API."""

    def __init__(self, manager: Callable[..., Any]) -> None:
        self._manager = manager
        self._cache: Any = None

    def cases(self, directory: Path, frame: pl.DataFrame) -> dict[str, Case]:
        cache = self._manager(str(directory / "metadata.db"), str(directory / "cache"))
        self._cache = cache
        new_name = Names("put")
        cache.put_cached_data("bars", frame, dataset_id=1)

        def put() -> None:
            cache.put_cached_data(new_name(), frame, dataset_id=1)

        return {
            "hot": Case(lambda: cache.get_cached_data("bars"), returns_frame=True),
            "cold": Case(
                lambda: cache.get_cached_data("bars"),
                before=lambda: cache.hot_cache.clear(),
                returns_frame=True,
            ),
            "put": Case(put),
            "miss": Case(lambda: cache.get_cached_data("absent")),
        }

    def close(self) -> None:
        close = getattr(self._cache, "close", None)
        if close is not None:
            close()
        self._cache = None


class Barcache(TwoTier):
    name = "barcache"
    about = (
        "hot: counters, order of use and coherence check included; cold: SHA-256 verified; put: "
        "kill-safe, does not wait for the disk"
    )

    def __init__(self) -> None:
        from barcache import CacheManager

        super().__init__(CacheManager)


class BarcacheFull(Barcache):
    name = "barcache, full"
    about = 'put with durability="full": waits for the disk, survives a power cut'

    def __init__(self) -> None:
        from barcache import CacheManager

        TwoTier.__init__(self, functools.partial(CacheManager, durability="full"))

    def cases(self, directory: Path, frame: pl.DataFrame) -> dict[str, Case]:
        return {"put": super().cases(directory, frame)["put"]}


class DictClone(Contender):
    name = "dict + clone"
    about = "the least that a memory cache can do: a Python dict lookup and DataFrame.clone()"

    def cases(self, directory: Path, frame: pl.DataFrame) -> dict[str, Case]:  # noqa: ARG002
        kept = {"bars": frame}
        return {
            "hot": Case(lambda: kept["bars"].clone(), returns_frame=True),
            "miss": Case(lambda: kept.get("absent")),
        }


class PolarsParquet(Contender):
    name = "polars Parquet"
    about = "write_parquet(compression='snappy') and read_parquet, no checksum, no catalog"

    def cases(self, directory: Path, frame: pl.DataFrame) -> dict[str, Case]:
        new_name = Names("put")
        path = directory / "bars.parquet"
        frame.write_parquet(path, compression="snappy")
        return {
            "cold": Case(lambda: pl.read_parquet(path), returns_frame=True),
            "put": Case(
                lambda: frame.write_parquet(
                    directory / f"{new_name()}.parquet", compression="snappy"
                )
            ),
        }


class PolarsParquetHashed(Contender):
    name = "polars + SHA-256"
    about = "the same, hashing what was written and verifying what is read, no catalog"

    def cases(self, directory: Path, frame: pl.DataFrame) -> dict[str, Case]:
        new_name = Names("put")
        path = directory / "bars.parquet"
        frame.write_parquet(path, compression="snappy")
        expected = hashlib.sha256(path.read_bytes()).hexdigest()

        def read() -> pl.DataFrame:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != expected:
                raise ValueError("wrong bytes")
            return pl.read_parquet(io.BytesIO(content))

        def write() -> str:
            written = directory / f"{new_name()}.parquet"
            frame.write_parquet(written, compression="snappy")
            with written.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

        return {"cold": Case(read, returns_frame=True), "put": Case(write)}


class DiskCache(Contender):
    name = "diskcache"
    about = "Cache.get and Cache.set: pickle files behind SQLite, no checksum"

    def __init__(self) -> None:
        import diskcache

        self._open = diskcache.Cache
        self._cache: Any = None

    def cases(self, directory: Path, frame: pl.DataFrame) -> dict[str, Case]:
        cache = self._open(str(directory), size_limit=1 << 40)
        self._cache = cache
        new_name = Names("put")
        cache.set("bars", frame)
        return {
            "cold": Case(lambda: cache.get("bars"), returns_frame=True),
            "put": Case(lambda: cache.set(new_name(), frame)),
            "miss": Case(lambda: cache.get("absent")),
        }

    def close(self) -> None:
        if self._cache is not None:
            self._cache.close()
        self._cache = None


_JOBLIB_FRAMES: dict[str, pl.DataFrame] = {}


def _joblib_source(name: str, which: str) -> pl.DataFrame:
    """The function that joblib memoises; its work is a dict lookup."""
    del name
    return _JOBLIB_FRAMES[which]


class Joblib(Contender):
    name = "joblib"
    about = "Memory.cache of a function of two strings: pickle files, no checksum"

    def __init__(self) -> None:
        import joblib

        self._memory = joblib.Memory

    def cases(self, directory: Path, frame: pl.DataFrame) -> dict[str, Case]:
        which = str(frame.height)
        _JOBLIB_FRAMES[which] = frame
        function = self._memory(str(directory), verbose=0).cache(_joblib_source)
        new_name = Names("put")
        function("bars", which)
        return {
            "cold": Case(lambda: function("bars", which), returns_frame=True),
            "put": Case(lambda: function(new_name(), which)),
            "miss": Case(lambda: function.check_call_in_cache("absent", which)),
        }


class ArcticDB(Contender):
    name = "ArcticDB"
    about = (
        "LMDB storage; put goes through to_pandas() and waits for the disk, the read gives Polars "
        "(times in ns)"
    )

    def __init__(self) -> None:
        import arcticdb

        self._arcticdb = arcticdb
        self._library: Any = None

    def cases(self, directory: Path, frame: pl.DataFrame) -> dict[str, Case]:
        store = self._arcticdb.Arctic(
            f"lmdb://{directory}?map_size=40GB", output_format=self._arcticdb.OutputFormat.POLARS
        )
        library = store.get_library("bars", create_if_missing=True)
        self._library = library
        new_name = Names("put")
        library.write("bars", frame.to_pandas())
        return {
            "cold": Case(lambda: library.read("bars").data, returns_frame=True),
            "put": Case(lambda: library.write(new_name(), frame.to_pandas())),
            "miss": Case(lambda: library.has_symbol("absent")),
        }

    def close(self) -> None:
        self._library = None


Maker = Callable[[], Contender]


def all_contenders(
    more: Mapping[str, Maker] | None = None,
) -> tuple[list[Contender], dict[str, str]]:
    """Those that can run here, barcache first, and why the others cannot.

    `more` are contenders that only the caller knows; they come after barcache.
    """
    makers: dict[str, Maker] = {
        "barcache": Barcache,
        "barcache, full": BarcacheFull,
        **(more or {}),
        "dict + clone": DictClone,
        "polars Parquet": PolarsParquet,
        "polars + SHA-256": PolarsParquetHashed,
        "diskcache": DiskCache,
        "joblib": Joblib,
        "ArcticDB": ArcticDB,
    }
    present: list[Contender] = []
    absent: dict[str, str] = {}
    for name, make in makers.items():
        try:
            present.append(make())
        except ModuleNotFoundError as error:
            if name.startswith("barcache"):
                raise
            absent[name] = f'{error.name} is not installed: pip install "barcache[bench]"'
        except (ImportError, RuntimeError, OSError) as error:
            absent[name] = f"{type(error).__name__}: {error}"
    return present, absent
