"""What put accepts beside Polars frames, and what get gives back: pandas, Arrow, lazy queries."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from barcache import ColumnNotFound, InvalidArgument, InvalidType, UnsupportedFrame
from pandas.testing import assert_frame_equal as assert_pandas_equal
from polars.testing import assert_frame_equal


def yfinance_frame(symbols=("AAPL", "MSFT")):
    """The shape of yfinance.download: dates as the index, (Price, Ticker) as columns."""
    fields = ["Close", "High", "Low", "Open", "Volume"]
    columns = pd.MultiIndex.from_product([fields, symbols], names=["Price", "Ticker"])
    days = pd.DatetimeIndex(["2023-01-03", "2023-01-04", "2023-01-05"], name="Date")
    values = np.arange(3 * len(columns), dtype="float64").reshape(3, len(columns)) / 4
    frame = pd.DataFrame(values, index=days, columns=columns)
    volumes = [column for column in columns if column[0] == "Volume"]
    return frame.astype(dict.fromkeys(volumes, "int64"))


def both_tiers(cache, key, **options):
    """The frame as the hot and as the cold tier give it."""
    hot = cache.get_cached_data(key, **options)
    hot_hits = cache.session_stats["hot_hits"]
    cold_hits = cache.session_stats["cold_hits"]
    cache.hot_cache.clear()
    cold = cache.get_cached_data(key, **options)
    assert cache.session_stats["hot_hits"] == hot_hits
    assert cache.session_stats["cold_hits"] == cold_hits + 1
    return hot, cold


class Stream:
    """Any object with the Arrow stream method alone."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class Array:
    """Any object with the Arrow array method alone."""

    def __init__(self, batch):
        self.batch = batch

    def __arrow_c_array__(self, requested_schema=None):
        return self.batch.__arrow_c_array__(requested_schema)


TABLE = pa.table(
    {
        "symbol": ["AAPL", None, "MSFT"],
        "close": pa.array([1.5, None, float("nan")]),
        "volume": pa.array([1, 2, None], pa.int32()),
        "day": pa.array([date(2023, 1, 3), None, date(2023, 1, 5)]),
        "tags": pa.array([["a", None], None, []]),
    }
)


# --- Polars and Arrow -----------------------------------------------------------------------


def test_a_lazy_frame_is_collected(cache, bars):
    cache.put_cached_data("key1", bars.lazy().select("close", "volume"), dataset_id=1)

    for got in both_tiers(cache, "key1"):
        assert_frame_equal(got, bars.select("close", "volume"))


def test_a_lazy_frame_that_fails_leaves_what_was_there(cache, bars):
    cache.put_cached_data("key1", bars, dataset_id=1)
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        cache.put_cached_data("key1", bars.lazy().select("no such column"), dataset_id=1)

    for got in both_tiers(cache, "key1"):
        assert_frame_equal(got, bars)


@pytest.mark.parametrize(
    "make_data",
    [
        pytest.param(lambda: TABLE, id="table"),
        pytest.param(lambda: TABLE.to_batches()[0], id="record batch"),
        pytest.param(lambda: TABLE.to_reader(max_chunksize=2), id="reader"),
        pytest.param(lambda: Stream(TABLE), id="any stream"),
        pytest.param(lambda: Array(TABLE.to_batches()[0]), id="any array"),
        pytest.param(lambda: pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]), id="chunks"),
        pytest.param(
            lambda: pa.concat_tables([TABLE, TABLE, TABLE]).slice(3, 3), id="slice of chunks"
        ),
    ],
)
def test_arrow_data_comes_back_as_polars_would_read_it(cache, make_data):
    cache.put_cached_data("key1", make_data(), dataset_id=1)

    for got in both_tiers(cache, "key1"):
        assert_frame_equal(got, pl.from_arrow(TABLE))


def test_a_reader_is_read_to_its_end_and_no_further(cache):
    reader = TABLE.to_reader(max_chunksize=1)
    reader.read_next_batch()
    cache.put_cached_data("key1", reader, dataset_id=1)

    assert_frame_equal(cache.get_cached_data("key1"), pl.from_arrow(TABLE.slice(1)))


def test_a_stream_that_fails_half_way_leaves_what_was_there(cache, bars):
    def batches():
        yield TABLE.to_batches()[0]
        raise RuntimeError("the source went away")

    cache.put_cached_data("key1", bars, dataset_id=1)
    reader = pa.RecordBatchReader.from_batches(TABLE.schema, batches())
    with pytest.raises(InvalidArgument, match="the source went away"):
        cache.put_cached_data("key1", reader, dataset_id=1)

    for got in both_tiers(cache, "key1"):
        assert_frame_equal(got, bars)
    assert len(list(cache.cache_directory.iterdir())) == 1


def test_frame_arrow_is_a_table_of_the_same_values(cache):
    cache.put_cached_data("key1", TABLE, dataset_id=1)

    for got in both_tiers(cache, "key1", frame="arrow"):
        assert isinstance(got, pa.Table)
        got.validate(full=True)
        assert got.column_names == TABLE.column_names
        plain = TABLE.replace_schema_metadata(None)
        # NaN is no equal of itself in to_pylist.
        assert repr(got.to_pylist()) == repr(plain.to_pylist())


def test_frame_arrow_of_chosen_columns(cache):
    cache.put_cached_data("key1", TABLE, dataset_id=1)

    for got in both_tiers(cache, "key1", frame="arrow", columns=["volume", "symbol"]):
        assert got.column_names == ["volume", "symbol"]
        assert got["volume"].to_pylist() == [1, 2, None]


def test_an_unknown_kind_of_frame_is_refused(cache, bars):
    cache.put_cached_data("key1", bars, dataset_id=1)

    for kind in ("numpy", "", "Polars"):
        with pytest.raises(InvalidArgument, match="polars, pandas, arrow"):
            cache.get_cached_data("key1", frame=kind)
    with pytest.raises(InvalidType):
        cache.get_cached_data("key1", frame=None)
    with pytest.raises(InvalidType):
        cache.get_cached_data("key1", frame=5)


@pytest.mark.parametrize("tier", ["hot", "cold"])
def test_unknown_columns_are_named(cache, bars, tier):
    cache.put_cached_data("key1", bars, dataset_id=1)
    if tier == "cold":
        cache.hot_cache.clear()
    with pytest.raises(ColumnNotFound, match="vwap"):
        cache.get_cached_data("key1", columns=["close", "vwap"])
    for bad in ("close", 5, [5], [None], [b"close"]):
        with pytest.raises(InvalidType, match="columns"):
            cache.get_cached_data("key1", columns=bad)
    with pytest.raises(InvalidArgument, match="close"):
        cache.get_cached_data("key1", columns=["close", "close"])
    assert_frame_equal(cache.get_cached_data("key1"), bars)


# --- pandas ---------------------------------------------------------------------------------


def indexed_frames():
    days = pd.date_range("2023-01-03", periods=3, freq="D")
    yield "default index", pd.DataFrame({"close": [1.5, 2.5, 3.5], "symbol": ["a", "b", None]})
    yield (
        "named index",
        pd.DataFrame({"close": [1.5, 2.5, 3.5]}, index=pd.Index(["x", "y", "z"], name="id")),
    )
    yield "unnamed index", pd.DataFrame({"close": [1.5, 2.5, 3.5]}, index=["x", "y", "z"])
    yield "dates with a frequency", pd.DataFrame({"close": [1.5, 2.5, 3.5]}, index=days)
    yield (
        "dates with a zone",
        pd.DataFrame(
            {"close": [1.5, 2.5, 3.5]}, index=days.tz_localize("America/New_York").rename("Date")
        ),
    )
    yield (
        "a range that is not the default",
        pd.DataFrame({"close": [1.5, 2.5]}, index=pd.RangeIndex(10, 14, 2)),
    )
    yield "a named range", pd.DataFrame({"close": [1.5]}, index=pd.RangeIndex(1, name="row"))
    yield "an index with repeated labels", pd.DataFrame({"close": [1.5, 2.5]}, index=["x", "x"])
    yield (
        "MultiIndex rows",
        pd.DataFrame(
            {"close": [1.5, 2.5, 3.5]},
            index=pd.MultiIndex.from_tuples(
                [("AAPL", days[0]), ("AAPL", days[1]), ("MSFT", days[0])], names=["symbol", "Date"]
            ),
        ),
    )
    yield (
        "MultiIndex rows without names",
        pd.DataFrame(
            {"close": [1.5, 2.5]}, index=pd.MultiIndex.from_tuples([("AAPL", 1), ("MSFT", 2)])
        ),
    )
    yield "yfinance", yfinance_frame()
    yield "yfinance, one symbol", yfinance_frame(["AAPL"])


def labelled_frames():
    days = pd.date_range("2023-01-03", periods=3, freq="D")
    yield "integers as labels", pd.DataFrame({0: [1.5, 2.5], 1: [3.5, 4.5]})
    yield "dates as labels", pd.DataFrame({day: [1.5, 2.5] for day in days})
    yield "yfinance, the dates a column", yfinance_frame().reset_index()
    yield (
        "weeks",
        pd.DataFrame(
            {"close": [1.5, 2.5]}, index=pd.date_range("2023-01-01", periods=2, freq="W-FRI")
        ),
    )
    yield "no columns, no rows", pd.DataFrame()
    yield "no rows", pd.DataFrame({"close": pd.Series([], dtype="float64")})
    yield "no rows, an index", yfinance_frame().iloc[:0]


def typed_frames():
    days = pd.date_range("2023-01-03", periods=3, freq="D")
    yield (
        "nullable types",
        pd.DataFrame(
            {
                "i": pd.array([1, None, 3], dtype="Int64"),
                "f": pd.array([1.5, None, 3.5], dtype="Float64"),
                "b": pd.array([True, None, False], dtype="boolean"),
                "s": pd.array(["a", None, "c"], dtype="string"),
            }
        ),
    )
    yield (
        "numpy types",
        pd.DataFrame(
            {
                "i8": np.array([1, -2, 3], "int8"),
                "u64": np.array([1, 2, 2**64 - 1], "uint64"),
                "f32": np.array([1.5, np.nan, np.inf], "float32"),
                "b": [True, False, True],
                "day": days,
                "span": pd.to_timedelta([1, 2, 3], unit="D"),
            }
        ),
    )
    yield (
        "categories",
        pd.DataFrame(
            {
                "c": pd.Categorical(["a", "b", "a"], categories=["b", "a", "unused"]),
                "o": pd.Categorical(["lo", None, "hi"], categories=["lo", "hi"], ordered=True),
            }
        ),
    )
    yield "categories of numbers", pd.DataFrame({"c": pd.Categorical([3, 1, 3], [3, 2, 1])})
    yield (
        "a categorical index",
        pd.DataFrame({"close": [1.5, 2.5]}, index=pd.CategoricalIndex(["b", "a"], name="kind")),
    )
    yield (
        "decimals and dates as objects",
        pd.DataFrame(
            {
                "price": [Decimal("1.25"), Decimal("2.50"), None],
                "day": [date(2023, 1, 3), None, date(2023, 1, 5)],
            }
        ),
    )
    yield "lists", pd.DataFrame({"tags": [["a"], ["b", "c"], []]})


def pandas_frames():
    yield from indexed_frames()
    yield from labelled_frames()
    yield from typed_frames()


@pytest.mark.parametrize("frame", [pytest.param(frame, id=name) for name, frame in pandas_frames()])
def test_a_pandas_frame_comes_back_as_it_was(cache, frame):
    before = frame.copy(deep=True)
    cache.put_cached_data("key1", frame, dataset_id=1)

    assert_pandas_equal(frame, before)
    for got in both_tiers(cache, "key1", frame="pandas"):
        if "tags" in frame:  # Lists come back as arrays.
            got["tags"] = [list(tags) for tags in got["tags"]]
        assert_pandas_equal(got, before)
        assert got.index.names == before.index.names


def test_after_a_restart_a_pandas_frame_comes_back_too(make):
    cache = make()
    cache.put_cached_data("key1", yfinance_frame(), dataset_id=1)
    cache.close()

    assert_pandas_equal(make().get_cached_data("key1", frame="pandas"), yfinance_frame())


def test_as_polars_the_index_is_a_column_and_labels_are_flat(cache):
    cache.put_cached_data("yfinance", yfinance_frame(), dataset_id=1)
    got = cache.get_cached_data("yfinance")
    assert got.columns == [
        "Close_AAPL",
        "Close_MSFT",
        "High_AAPL",
        "High_MSFT",
        "Low_AAPL",
        "Low_MSFT",
        "Open_AAPL",
        "Open_MSFT",
        "Volume_AAPL",
        "Volume_MSFT",
        "Date",
    ]
    assert got["Date"].to_list()[0] == datetime(2023, 1, 3)
    assert got["Volume_MSFT"].dtype == pl.Int64

    def columns(index):
        frame = pd.DataFrame({"close": [1.5, 2.5]}, index=index)
        cache.put_cached_data("key1", frame, dataset_id=1)
        return cache.get_cached_data("key1").columns

    assert columns(None) == ["close"]
    assert columns(["x", "y"]) == ["close", "index"]
    assert columns(pd.Index([5, 6], name="row")) == ["close", "row"]
    assert columns(pd.RangeIndex(5, 7)) == ["close", "index"]
    pairs = [("AAPL", 1), ("MSFT", 2)]
    assert columns(pd.MultiIndex.from_tuples(pairs)) == ["close", "level_0", "level_1"]
    named = pd.MultiIndex.from_tuples(pairs, names=["symbol", None])
    assert columns(named) == ["close", "symbol", "level_1"]


def test_labels_are_text_and_empty_parts_are_left_out(cache):
    columns = pd.MultiIndex.from_tuples([("Date", ""), ("Close", "AAPL"), ("x", 1)])
    frame = pd.DataFrame([["2023-01-03", 1.5, 2]], columns=columns)
    cache.put_cached_data("key1", frame, dataset_id=1)

    assert cache.get_cached_data("key1").columns == ["Date", "Close_AAPL", "x_1"]


def test_nan_of_pandas_is_null(cache):
    frame = pd.DataFrame({"close": [1.5, float("nan")], "symbol": ["a", None]})
    cache.put_cached_data("key1", frame, dataset_id=1)

    for got in both_tiers(cache, "key1"):
        assert got.to_dict(as_series=False) == {"close": [1.5, None], "symbol": ["a", None]}
    assert_pandas_equal(cache.get_cached_data("key1", frame="pandas"), frame)


def test_chosen_columns_as_pandas(cache):
    cache.put_cached_data("key1", yfinance_frame(), dataset_id=1)
    got = cache.get_cached_data("key1", frame="pandas", columns=["Close_AAPL", "Date"])

    assert list(got.columns) == ["Close_AAPL", "Date"]
    assert got["Close_AAPL"].tolist() == yfinance_frame()["Close", "AAPL"].tolist()


def test_frames_of_polars_and_arrow_can_be_had_as_pandas(cache, bars):
    cache.put_cached_data("polars", bars, dataset_id=1)
    cache.put_cached_data("arrow", TABLE, dataset_id=1)

    for got in both_tiers(cache, "polars", frame="pandas"):
        assert list(got.columns) == bars.columns
        assert got["close"].tolist()[:2] == [1.5, 2.5]
        assert got["symbol"].tolist()[:3] == ["AAPL", "AAPL", "MSFT"]
        assert isinstance(got.index, pd.RangeIndex)
    for got in both_tiers(cache, "arrow", frame="pandas"):
        assert list(got.columns) == TABLE.column_names
        assert got["day"].tolist()[0] == date(2023, 1, 3)


def test_every_polars_type_can_be_had_as_pandas_and_arrow(cache):
    frame = pl.DataFrame(
        {
            "enum": pl.Series(["a", None], dtype=pl.Enum(["a", "b"])),
            "category": pl.Series(["a", None], dtype=pl.Categorical),
            "span": [timedelta(hours=1), None],
            "moment": pl.Series(
                [datetime(2023, 1, 3), None], dtype=pl.Datetime("ms", "Europe/Berlin")
            ),
            "price": pl.Series([Decimal("1.25"), None], dtype=pl.Decimal(20, 2)),
            "nothing": [None, None],
            "struct": [{"a": 1, "b": "x"}, None],
            "array": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
            "bytes": [b"x", None],
        }
    )
    cache.put_cached_data("key1", frame, dataset_id=1)

    for got in both_tiers(cache, "key1", frame="pandas"):
        assert list(got.columns) == frame.columns
        assert got["enum"].tolist()[0] == "a"
        assert got["price"].tolist()[0] == Decimal("1.25")
        assert got["struct"].tolist()[0] == {"a": 1, "b": "x"}
        assert got["bytes"].tolist()[0] == b"x"
    for got in both_tiers(cache, "key1", frame="arrow"):
        got.validate(full=True)
        assert got["enum"].to_pylist() == ["a", None]
        assert_frame_equal(pl.from_arrow(got), frame)


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        pytest.param(pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a'", id="two columns"),
        pytest.param(pd.DataFrame({"a": [1], "b": [object()]}), "b", id="objects"),
        pytest.param(pd.DataFrame({"a": [1, "x"]}), "a", id="mixed"),
        pytest.param(pd.DataFrame({"a": [1 + 2j]}), "a", id="complex"),
        pytest.param(pd.DataFrame({1: [1], "1": [2]}), "'1'", id="labels alike as text"),
        pytest.param(
            pd.DataFrame({"a": [1]}, index=pd.Index([5], name="a")), "'a'", id="index alike"
        ),
        pytest.param(
            pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a_b", "")])),
            "'a_b'",
            id="flat labels alike",
        ),
    ],
)
def test_pandas_frames_that_cannot_come_back_are_refused(cache, bars, frame, named):
    cache.put_cached_data("key1", bars, dataset_id=1)
    with pytest.raises(UnsupportedFrame, match=named) as caught:
        cache.put_cached_data("key1", frame, dataset_id=1)

    assert "before put" in str(caught.value)
    assert_frame_equal(cache.get_cached_data("key1"), bars)


def test_rustybts_example_hands_out_one_type_on_miss_and_hit(cache):
    for _ in range(2):
        df = cache.get_cached_data("key1", frame="pandas")
        if df is None:
            df = yfinance_frame()
            cache.put_cached_data("key1", df, dataset_id=1)
        assert df["Close"]["AAPL"].loc["2023-01-04"] == 2.5


# --- nobody changes what is cached ----------------------------------------------------------


def numpy_sources(values):
    """Frames whose memory is that of `values`, or as near to it as the library allows."""
    yield "pandas", pd.DataFrame(values.reshape(-1, 1), columns=["close"], copy=False)
    yield (
        "pyarrow",
        pa.table(
            {
                "close": pa.Array.from_buffers(
                    pa.float64(), len(values), [None, pa.py_buffer(values)]
                )
            }
        ),
    )
    yield (
        "stream",
        Stream(
            pa.table(
                {
                    "close": pa.Array.from_buffers(
                        pa.float64(), len(values), [None, pa.py_buffer(values)]
                    )
                }
            )
        ),
    )
    yield "polars", pl.DataFrame({"close": values})
    yield "polars over numpy", pl.DataFrame(values.reshape(-1, 1), schema=["close"])


@pytest.mark.parametrize("name", ["pandas", "pyarrow", "stream", "polars", "polars over numpy"])
def test_changing_the_source_after_put_never_reaches_the_cache(cache, name):
    values = np.arange(1000, dtype="float64")
    source = dict(numpy_sources(values))[name]
    cache.put_cached_data("key1", source, dataset_id=1)
    values[:] = -1.0

    for got in both_tiers(cache, "key1"):
        assert got["close"].to_list() == list(range(1000))
    for got in both_tiers(cache, "key1", frame="pandas"):
        assert got["close"].tolist() == list(range(1000))


def test_changing_a_pandas_source_in_place_never_reaches_the_cache(cache):
    source = yfinance_frame()
    cache.put_cached_data("key1", source, dataset_id=1)
    source.iloc[0, 0] = -99.0
    source.loc[:, ("Close", "MSFT")] = -99.0
    source.index.name = "changed"

    for got in both_tiers(cache, "key1", frame="pandas"):
        assert_pandas_equal(got, yfinance_frame())


@pytest.mark.parametrize("start", ["put", "cold", "restart"])
def test_changing_a_polars_answer_never_reaches_the_cache(make, bars, start):
    cache = make()
    source = bars.clone()
    cache.put_cached_data("key1", source, dataset_id=1)
    if start == "cold":
        cache.hot_cache.clear()
    if start == "restart":
        cache.close()
        cache = make()
    for frame in (source, cache.get_cached_data("key1"), cache.get_cached_data("key1")):
        frame[0, "close"] = -99.0
        series = frame["volume"]
        series[1] = -99
        frame.insert_column(0, pl.Series("extra", [0] * 4))
        frame.replace_column(1, pl.Series("symbol", ["x"] * 4))
        frame.drop_in_place("volume")
        frame.columns = ["a", "b", "c"]
        frame.extend(frame)

    for got in both_tiers(cache, "key1"):
        assert_frame_equal(got, bars)


@pytest.mark.parametrize("tier", ["hot", "cold"])
@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(pd.DataFrame({"close": [1.5, 2.5, 3.5]}), id="one column"),
        pytest.param(pd.DataFrame({"close": [1.5, 2.5], "open": [1.0, 2.0]}), id="one block"),
        pytest.param(pd.DataFrame({"c": [1.5, 2.5], "v": [1, 2], "s": ["a", "b"]}), id="mixed"),
        pytest.param(yfinance_frame(), id="yfinance"),
    ],
)
def test_a_pandas_answer_can_be_changed_and_never_reaches_the_cache(cache, frame, tier):
    cache.put_cached_data("key1", frame, dataset_id=1)
    for _ in range(2):
        if tier == "cold":
            cache.hot_cache.clear()
        got = cache.get_cached_data("key1", frame="pandas")
        assert_pandas_equal(got, frame)
        got.iloc[0, 0] = -99.0
        got.loc[got.index[1], got.columns[0]] = -99.0
        got.insert(0, ("extra", "") if got.columns.nlevels == 2 else "extra", 1)
        assert got.iloc[0, 1] == -99.0

    assert_pandas_equal(cache.get_cached_data("key1", frame="pandas"), frame)


def test_the_memory_of_an_answer_cannot_be_written(cache):
    cache.put_cached_data("key1", pl.DataFrame({"close": [1.5, 2.5]}), dataset_id=1)

    for got in both_tiers(cache, "key1"):
        view = got["close"].to_numpy()
        with pytest.raises(ValueError, match="read-only"):
            view[0] = -99.0
    for got in both_tiers(cache, "key1", frame="arrow"):
        view = got["close"].chunk(0).to_numpy(zero_copy_only=True)
        with pytest.raises(ValueError, match="read-only"):
            view[0] = -99.0
        assert not got["close"].chunk(0).buffers()[1].is_mutable


def test_answers_outlive_their_cache(make, bars):
    cache = make()
    cache.put_cached_data("key1", bars, dataset_id=1)
    cache.put_cached_data("arrow", TABLE, dataset_id=1)
    answers = [*both_tiers(cache, "key1"), *both_tiers(cache, "arrow", frame="arrow")]
    cache.clear_cache()
    cache.close()
    del cache

    for answer in answers[:2]:
        assert_frame_equal(answer, bars)
    for answer in answers[2:]:
        answer.validate(full=True)
        assert answer["volume"].to_pylist() == [1, 2, None]


def test_zones_of_pandas_and_fixed_offsets(cache):
    moments = pd.DatetimeIndex(
        [datetime(2023, 1, 3, 9, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))]
    )
    frame = pd.DataFrame({"close": [1.5]}, index=moments)
    cache.put_cached_data("key1", frame, dataset_id=1)

    for got in both_tiers(cache, "key1", frame="pandas"):
        assert got.index[0] == frame.index[0]


OFFSETS = {
    "+04:30": "Asia/Kabul",
    "+05:30": "Asia/Kolkata",
    "+05:45": "Asia/Kathmandu",
    "+06:30": "Asia/Yangon",
    "+08:45": "Australia/Eucla",
    "+09:30": "Australia/Darwin",
    "-09:30": "Pacific/Marquesas",
    "-00:30": "UTC",
    "+03:30": "UTC",
    "+02:00": "Etc/GMT-2",
}


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("offset", OFFSETS)
def test_an_offset_that_polars_does_not_have_is_a_zone_of_it(make, offset, unit):
    cache = make()
    times = pa.array([datetime(2023, 1, 3, 9, 30), None], pa.timestamp(unit, offset))
    table = pa.table({"time": times, "nested": pa.array([{"t": t} for t in times])})
    cache.put_cached_data("key1", table, dataset_id=1)
    moments = [moment and moment.timestamp() for moment in times.to_pylist()]
    for got in both_tiers(cache, "key1"):
        assert got.schema["time"] == pl.Datetime(unit, OFFSETS[offset])
        assert got.schema["nested"] == pl.Struct({"t": got.schema["time"]})
        assert [moment and moment.timestamp() for moment in got["time"]] == moments
        wall = got["time"][0].replace(tzinfo=None)
        assert wall == times[0].as_py().replace(tzinfo=None) or OFFSETS[offset] == "UTC"
    for got in both_tiers(cache, "key1", frame="arrow"):
        assert got["time"].type == times.type, "as it was put"
    scanned = cache.scan("key1").collect()
    assert scanned.schema["time"] == pl.Datetime(unit, OFFSETS[offset])


ROWS = 200_000  # Large columns take other ways than small ones.
WAYS_IN = {
    "polars of numpy": lambda array: pl.DataFrame({"close": array}),
    "polars of pandas": lambda array: pl.from_pandas(pd.DataFrame({"close": array}, copy=False)),
    "polars of arrow": lambda array: pl.from_arrow(pa.table({"close": pa.array(array)})),
    "pandas": lambda array: pd.DataFrame({"close": array}, copy=False),
    "arrow": lambda array: pa.table({"close": pa.array(array)}),
}


@pytest.mark.parametrize("rows", [10, ROWS])
@pytest.mark.parametrize("way", WAYS_IN.values(), ids=WAYS_IN)
def test_what_was_put_stays_when_its_memory_is_written_to(cache, way, rows):
    array = np.arange(rows, dtype=float)
    expected = pl.DataFrame({"close": array.copy()})
    frame = way(array)
    cache.put_cached_data("put", frame, dataset_id=1)
    cache.put_many([("many", frame)], dataset_id=1)
    cache.hot_cache.put("by hand", frame)
    request = (["A"], "2023-01-01", "2023-12-31", "no bars", "vendor")
    cache.get_or_fetch(*request, lambda *_: frame)  # What this returns is the source's.
    array[:] = -1.0
    for key in ("put", "many", "by hand"):
        hot = cache.hot_cache.get(key)
        assert hot.equals(expected), key
    again = cache.get_or_fetch(*request, lambda *_: pytest.fail("fetched twice"))
    assert again.equals(expected)
