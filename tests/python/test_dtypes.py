# Every Polars dtype comes back exactly through both tiers, alone and inside of others, and is
# what any Polars reads from the file; what cannot come back is refused before a byte is written.

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from barcache import CacheManager, UnsupportedFrame
from polars.testing import assert_frame_equal

if TYPE_CHECKING:
    from collections.abc import Iterator

NAIVE = [dt.datetime(2020, 1, 1, 12, 30, 5, 123000), dt.datetime(1969, 1, 1), None]
FLOATS = [float("nan"), float("-inf"), float("inf"), -0.0, 1.5, None]
LONG = "a text of more than twelve bytes"


def values() -> Iterator[tuple[Any, list[Any]]]:
    for bits in (8, 16, 32, 64):
        yield getattr(pl, f"Int{bits}"), [-(1 << (bits - 1)), (1 << (bits - 1)) - 1, 0, None]
        yield getattr(pl, f"UInt{bits}"), [0, (1 << bits) - 1, 7, None]
    for dtype in (pl.Float16, pl.Float32, pl.Float64):
        yield dtype, FLOATS
    yield pl.Decimal(10, 2), [Decimal("1.25"), Decimal("-99999999.99"), None]
    yield pl.Decimal(38, 0), [Decimal(10**37), Decimal(-(10**37)), None]
    yield pl.Boolean, [True, False, None]
    yield pl.String, ["", "ab", "x" * 12, LONG, "é中" * 20, None]
    yield pl.Binary, [b"", b"\xff\x00", b"z" * 40, None]
    yield pl.Date, [dt.date(1, 1, 1), dt.date(9999, 12, 31), None]
    yield pl.Time, [dt.time(0), dt.time(23, 59, 59, 999999), None]
    for unit in ("ms", "us", "ns"):
        yield pl.Duration(unit), [dt.timedelta(days=-3, milliseconds=5), dt.timedelta(0), None]
        for zone in (None, "UTC", "Etc/UTC", "Europe/Berlin", "America/New_York"):
            yield pl.Datetime(unit, zone), NAIVE
    yield pl.Categorical, ["a", "b", "a", None, LONG]
    yield pl.Categorical(pl.Categories("own", "space", pl.UInt8)), ["a", "b", None, LONG]
    yield pl.Enum(["zz", "a", "unused", LONG]), ["a", "zz", None, LONG]
    yield pl.Enum([str(i) for i in range(300)]), ["7", "299", None]
    yield pl.Enum([]), [None, None]
    yield pl.Null, [None, None, None]


def series(dtype: Any, content: list[Any]) -> pl.Series:
    zone = getattr(dtype, "time_zone", None)
    if zone is None:
        return pl.Series("c", content, dtype=dtype)
    naive = pl.Series("c", content, dtype=pl.Datetime(dtype.time_unit))
    return naive.dt.replace_time_zone(zone)


def shapes(column: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    """The column alone, without and with nothing but nulls, sliced, and nested."""

    def null(like: pl.Series, count: int = 1) -> pl.Series:
        return pl.Series("c", [None] * count, dtype=like.dtype)

    lists = pl.concat([column.implode(), null(column.implode()), column.clear().implode()])
    structs = pl.DataFrame({"x": column, "y": range(len(column))}).to_struct("c")
    structs = pl.concat([structs, null(structs), structs])
    even = len(column) // 2 * 2
    arrays = column.slice(0, even).reshape((-1, 2))
    arrays = pl.concat([arrays, null(arrays), arrays])
    yield "alone", column
    yield "without nulls", column.drop_nulls()
    yield "many", pl.concat([column] * 2000)
    yield "list", lists
    yield "list of lists", pl.concat([lists.implode(), null(lists.implode())])
    yield "list of structs", pl.DataFrame({"x": lists}).to_struct("c").implode()
    yield "struct", structs
    yield "many structs", pl.concat([structs] * 500)
    yield "array", arrays
    yield "array of arrays", pl.Series("c", [[None, None], None], dtype=pl.Array(arrays.dtype, 2))
    yield "list of arrays", pl.concat([arrays.implode(), null(arrays.implode())])
    yield "struct of arrays", pl.DataFrame({"x": arrays}).to_struct("c")


def variants(column: pl.Series) -> Iterator[tuple[str, pl.DataFrame]]:
    for name, shape in shapes(column):
        frame = shape.alias("c").to_frame()
        yield name, frame
        yield f"{name}, a slice", frame.slice(1, 1)
        yield f"{name}, no rows", frame.clear()
        yield f"{name}, all null", pl.DataFrame({"c": [None] * 3}, schema=frame.schema)


def assert_same(actual: pl.DataFrame, expected: pl.DataFrame, what: str) -> None:
    assert actual.schema == expected.schema, what
    assert_frame_equal(actual, expected, check_exact=True)
    # Tells -0.0 from 0.0, and one NaN from none.
    assert repr(actual.to_dict(as_series=False)) == repr(expected.to_dict(as_series=False)), what


@pytest.fixture
def place(tmp_path: Path) -> dict[str, Any]:
    return {"db_path": str(tmp_path / "m.db"), "cache_directory": str(tmp_path / "cache")}


@pytest.mark.parametrize(
    ("dtype", "content"), [pytest.param(*v, id=str(v[0])[:40]) for v in values()]
)
def test_comes_back_exactly(place: dict[str, Any], dtype: Any, content: list[Any]) -> None:
    frames = dict(variants(series(dtype, content)))
    with CacheManager(**place) as cache:
        for name, frame in frames.items():
            cache.put_cached_data(name, frame, dataset_id=1)
            assert_same(cache.get_cached_data(name), frame, f"{name}, hot")
    with CacheManager(**place) as cache:
        for name, frame in frames.items():
            assert_same(cache.get_cached_data(name), frame, f"{name}, cold")
        assert cache.session_stats["cold_hits"] == len(frames)
        for name, frame in frames.items():
            row = cache.lookup_cache(name)
            path = Path(place["cache_directory"]) / row["parquet_path"]
            assert_same(pl.read_parquet(path), frame, f"{name}, read by Polars")


@pytest.mark.parametrize("rows", [3, 10_000])
def test_nan_payloads_survive(place: dict[str, Any], rows: int) -> None:
    bits = np.resize(np.array([0x7FF8000000001234, 0xFFF8000000000001], dtype=np.uint64), rows)
    with CacheManager(**place) as cache:
        cache.put_cached_data("k", pl.DataFrame({"f": bits.view(np.float64)}), dataset_id=1)
    with CacheManager(**place) as cache:
        again = cache.get_cached_data("k")["f"].to_numpy().view(np.uint64)
    assert (again == bits).all()


def test_no_columns(place: dict[str, Any]) -> None:
    with CacheManager(**place) as cache:
        cache.put_cached_data("k", pl.DataFrame(), dataset_id=1)
    with CacheManager(**place) as cache:
        assert cache.get_cached_data("k").shape == (0, 0)


def refused() -> Iterator[tuple[str, pl.DataFrame, str]]:
    int128 = pl.Series("big", [1], dtype=pl.Int128)
    width0 = pl.Series("none", [[]], dtype=pl.Array(pl.Int8, 0))
    fieldless = pl.Series("bare", [{}], dtype=pl.Struct([]))
    yield "Object", pl.DataFrame({"thing": [object()]}), "column 'thing' .* Object"
    yield "Int128", int128.to_frame(), "column 'big' is of type Int128"
    yield "UInt128", int128.cast(pl.UInt128).to_frame(), "UInt128"
    yield "width 0", width0.to_frame(), r"column 'none' is of type Array\(width 0\)"
    yield "no fields", fieldless.to_frame(), "column 'bare' is of type Struct without fields"
    yield "rows only", pl.DataFrame(height=3), "3 rows but no columns"
    for name, column in [("Int128", int128), ("width 0", width0), ("no fields", fieldless)]:
        yield f"{name} in a list", column.implode().to_frame(), f"'{column.name}\\[\\]'"
        yield f"{name} in a struct", column.to_frame().to_struct("s").to_frame(), "'s\\."


@pytest.mark.parametrize(("frame", "message"), [pytest.param(*r[1:], id=r[0]) for r in refused()])
def test_is_refused_before_a_byte_is_written(
    place: dict[str, Any], frame: pl.DataFrame, message: str
) -> None:
    with CacheManager(**place) as cache:
        with pytest.raises(UnsupportedFrame, match=message):
            cache.put_cached_data("k", frame, dataset_id=1)
        assert cache.lookup_cache("k") is None
        assert list(Path(place["cache_directory"]).glob("**/*.parquet")) == []


def arrow_arrays() -> Iterator[pa.Array]:
    yield from (pa.array(["a", None, LONG], t) for t in (pa.string(), pa.large_string()))
    yield from (pa.array([b"a", None], t) for t in (pa.binary(), pa.large_binary()))
    yield pa.array([86_400_000, None], pa.date64())
    yield from (pa.array([1, None], pa.time32(u)) for u in ("s", "ms"))
    yield from (pa.array([1, None], pa.timestamp("s", z)) for z in (None, "UTC", "+02:00"))
    yield pa.array([1, None], pa.duration("s"))
    yield from (pa.array([Decimal("1.5"), None], t(5, 2)) for t in (pa.decimal32, pa.decimal64))
    yield pa.array([[1, None], None], pa.list_(pa.int8()))
    yield pa.array([[1, 2], None], pa.list_(pa.int8(), 2))
    yield pa.array([{"k": 1}, None], pa.map_(pa.string(), pa.int32()))
    yield pa.array(["a", None, "a"]).dictionary_encode()
    yield pa.array([7, None]).dictionary_encode()
    yield pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array(["a", None]))
    yield pa.nulls(2)


@pytest.mark.parametrize("array", [pytest.param(a, id=str(a.type)) for a in arrow_arrays()])
def test_arrow_tables_come_back_as_polars_takes_them(
    place: dict[str, Any], array: pa.Array
) -> None:
    table = pa.table({"c": array})
    expected = pl.from_arrow(table)
    assert isinstance(expected, pl.DataFrame)
    with CacheManager(**place) as cache:
        cache.put_cached_data("k", table, dataset_id=1)
        assert_same(cache.get_cached_data("k"), expected, "hot")
    with CacheManager(**place) as cache:
        assert_same(cache.get_cached_data("k"), expected, "cold")
