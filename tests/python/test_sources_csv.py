"""CSV files: columns, delimiters, dates and zones are found out, and doubts are errors."""

import gzip
import os
import re
import types
from datetime import UTC, date, datetime

import polars as pl
import pytest
from barcache import InvalidArgument, InvalidBars, RangeUnavailable, SourceUnavailable
from barcache.sources import CSVSource, SchemaMapping, as_source
from barcache.sources.time_text import detect_format
from hypothesis import given, settings
from hypothesis import strategies as st

HEADER = "timestamp,open,high,low,close,volume"
NUMBERS = "10,11,9,10.5,100"
ALL = (None, None)


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.fixture
def write(tmp_path):
    def write(text, name="AAPL.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def dated(*times, header=HEADER, numbers=NUMBERS):
    return header + "\n" + "".join(f"{time},{numbers}\n" for time in times)


def times_of(path, resolution="1m", **options):
    return CSVSource(path, **options).fetch([], *ALL, resolution)["timestamp"].to_list()


# --- Columns


def test_a_plain_file(write):
    bars = CSVSource(write(dated("2023-01-03", "2023-01-04"))).fetch(
        ["AAPL"], "2023-01-04", "2023-01-31", "1d"
    )

    assert bars.schema == {
        "timestamp": pl.Date, "symbol": pl.String, "open": pl.Float64, "high": pl.Float64,
        "low": pl.Float64, "close": pl.Float64, "volume": pl.Float64,
    }  # fmt: skip
    assert bars.rows() == [(date(2023, 1, 4), "AAPL", 10.0, 11.0, 9.0, 10.5, 100.0)]


@pytest.mark.parametrize(
    ("header", "mapping"),
    [
        ("Date,Open,High,Low,Close,Volume", None),
        ("<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", None),
        ("when,o,h,l,c,v", {"date": "when", "open": "o", "high": "H", "low": "l", "close": "c",
                            "volume": "v"}),
        ("when,o,h,l,c,v", {"timestamp": 0, "open": 1, "high": 2, "low": 3, "close": 4,
                            "volume": 5}),
        ("DAY,OPEN,HIGH,LOW,CLOSE,VOLUME", SchemaMapping(date_column="day")),
        ("DAY,OPEN,HIGH,LOW,CLOSE,VOLUME", {"date_column": "day"}),
    ],
)  # fmt: skip
def test_columns_are_found_or_mapped(write, header, mapping):
    bars = CSVSource(write(dated("2023-01-03", header=header)), mapping).fetch([], *ALL, "1d")
    assert bars.rows() == [(date(2023, 1, 3), "AAPL", 10.0, 11.0, 9.0, 10.5, 100.0)]


def test_without_a_header(write):
    path = write(f"2023-01-03,{NUMBERS}\n")
    assert times_of(path, "1d", has_header=False) == [date(2023, 1, 3)]
    other = write(f"100,2023-01-03,{NUMBERS}\n", "other.csv")
    with pytest.raises(InvalidArgument, match="no column for date"):
        times_of(other, "1d", has_header=False)
    places = {"date": 1, "open": 2, "high": 3, "low": 4, "close": 5, "volume": 6}
    assert times_of(other, "1d", has_header=False, schema_mapping=places) == [date(2023, 1, 3)]


def test_a_clock_of_its_own(write):
    path = write("<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\n"
                 "2023.01.03\t10:05:00\t10\t11\t9\t10.5\t100\n")  # fmt: skip
    mapping = {"date": "<DATE>", "time": "<TIME>"}
    assert times_of(path, schema_mapping=mapping) == [utc(2023, 1, 3, 10, 5)]
    assert times_of(path) == [utc(2023, 1, 3, 10, 5)]


@pytest.mark.parametrize("name", ["time", "Time", "<TIME>", "datetime", "Timestamp", "date"])
def test_a_single_column_holds_date_and_clock(write, name):
    path = write(f"{name},open,high,low,close,volume\n2023-01-03 10:05,10,11,9,10.5,100\n")
    assert times_of(path) == [utc(2023, 1, 3, 10, 5)]


def test_extra_columns(write):
    path = write(f"{HEADER},Adj Close\n2023-01-03,{NUMBERS},5.25\n")
    bars = CSVSource(path, extra={"adj_close": "Adj Close"}).fetch([], *ALL, "1d")
    assert bars["adj_close"].to_list() == [5.25]


def test_a_column_that_is_not_there(write):
    with pytest.raises(InvalidArgument, match=r"no column for volume.*schema_mapping.*turnover"):
        times_of(write(dated("2023-01-03", header=HEADER[:-6] + "turnover")))
    with pytest.raises(InvalidArgument, match="no column 'nix' for 'date'"):
        times_of(write(dated("2023-01-03")), schema_mapping={"date": "nix"})
    with pytest.raises(InvalidArgument, match="schema_mapping has no 'dat'"):
        CSVSource(write(dated("2023-01-03")), {"dat": "x"})


# --- Symbols


def test_a_file_grouped_by_symbol(write):
    """B36: the reference refuses it as unsorted."""
    path = write(
        "symbol," + HEADER + "\n"
        + "".join(f"{s},2023-01-0{d},{NUMBERS}\n" for s in "BA" for d in (4, 3))
    )  # fmt: skip
    bars = CSVSource(path).fetch(["A", "B", "NONE"], "2023-01-01", "2023-01-31", "1d")

    assert bars["symbol"].to_list() == ["A", "A", "B", "B"]
    assert bars["timestamp"].to_list() == [date(2023, 1, 3), date(2023, 1, 4)] * 2
    assert CSVSource(path).fetch(["B"], *ALL, "1d")["symbol"].to_list() == ["B", "B"]
    assert CSVSource(path).fetch(["C"], *ALL, "1d").is_empty()
    assert CSVSource(path).fetch(["C"], *ALL, "1d").schema == bars.schema


def test_a_ticker_named_NA_is_a_symbol(write):  # noqa: N802
    path = write(f"Ticker,{HEADER}\nNA,2023-01-03,{NUMBERS}\nNULL,2023-01-03,{NUMBERS}\n")
    assert CSVSource(path).fetch([], *ALL, "1d")["symbol"].to_list() == ["NA", "NULL"]


def test_the_name_of_a_file_is_its_symbol(write, tmp_path):
    write(dated("2023-01-03"), "AAPL.csv")
    write(dated("03/01/2023", "13/01/2023").replace(",", ";"), "MSFT.csv")
    assert CSVSource(tmp_path / "AAPL.csv", symbol="X").fetch(["X"], *ALL, "1d").height == 1
    assert CSVSource(tmp_path / "AAPL.csv").fetch(["X"], *ALL, "1d").is_empty()
    (tmp_path / "MSFT.csv").write_text(dated("2023-01-04"))
    for paths in (
        tmp_path,
        str(tmp_path / "*.csv"),
        [tmp_path / "AAPL.csv", tmp_path / "MSFT.csv"],
    ):
        bars = CSVSource(paths).fetch(["AAPL", "MSFT"], *ALL, "1d")
        assert bars["symbol"].to_list() == ["AAPL", "MSFT"]


def test_a_row_without_a_symbol_or_time_is_bad(write):
    path = write(f"symbol,{HEADER}\n,2023-01-03,{NUMBERS}\nA,,{NUMBERS}\nA,2023-01-03,{NUMBERS}\n")
    with pytest.raises(InvalidBars) as caught:
        CSVSource(path).fetch(["A"], "2023-01-01", "2023-01-31", "1d")
    bad = caught.value.report.bad
    assert sorted(zip(bad["line"], bad["reason"], strict=True)) == [
        (2, "no symbol"),
        (3, "no time"),
    ]


# --- Delimiters and numbers


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(write, delimiter):
    path = write(dated("2023-01-03", "2023-01-04").replace(",", delimiter))
    assert len(times_of(path, "1d")) == 2
    assert len(times_of(path, "1d", delimiter=delimiter)) == 2


def test_a_comma_for_the_fraction(write):
    path = write(dated("2023-01-03").replace(",", ";").replace(".", ","))
    bars = CSVSource(path, decimal_comma=True).fetch([], *ALL, "1d")
    assert bars["close"].to_list() == [10.5]
    with pytest.raises(InvalidBars, match=r"(?s)decimal_comma=True.*close is not a number"):
        times_of(path, "1d")


def test_a_delimiter_within_quotes(write):
    path = write('timestamp,open,high,low,close,volume\n"Jan 3, 2023",10,11,9,10.5,"100"\n')
    assert times_of(path, "1d") == [date(2023, 1, 3)]


def test_a_byte_order_mark_and_line_ends_of_windows(write):
    assert times_of(write("\ufeff" + dated("2023-01-03").replace("\n", "\r\n")), "1d")


def test_a_compressed_file(tmp_path):
    with gzip.open(tmp_path / "AAPL.csv.gz", "wt") as file:
        file.write(dated("2023-01-03").replace(",", ";"))
    bars = CSVSource(tmp_path / "AAPL.csv.gz").fetch(["AAPL"], *ALL, "1d")
    assert bars.height == 1


def test_text_in_a_number_is_named_with_its_line(write):
    path = write(HEADER + f"\n2023-01-03,{NUMBERS}\n2023-01-04,10,x,9,10.5,1e2\n")
    with pytest.raises(InvalidBars, match="high is not a number") as caught:
        times_of(path, "1d")
    assert caught.value.report.bad["line"].to_list() == [3]


@pytest.mark.parametrize("option", [{"delimiter": ",,"}, {"timezone": "Mars"}, {"missing": "no"}])
def test_options_that_make_no_sense(write, option):
    with pytest.raises(InvalidArgument, match=next(iter(option))):
        CSVSource(write(dated("2023-01-03")), **option)


# --- Dates


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2023-01-31", date(2023, 1, 31)), ("2023/01/31", date(2023, 1, 31)),
        ("20230131", date(2023, 1, 31)), ("31.01.2023", date(2023, 1, 31)),
        ("31/1/2023", date(2023, 1, 31)), ("1/31/2023", date(2023, 1, 31)),
        ("31-Jan-2023", date(2023, 1, 31)), ("31 January 2023", date(2023, 1, 31)),
        ("01/31/23", date(2023, 1, 31)),
        ("2023-01-31T09:30:00", utc(2023, 1, 31, 9, 30)),
        ("2023-01-31 09:30", utc(2023, 1, 31, 9, 30)),
        ("2023-01-31 09:30:00.250", utc(2023, 1, 31, 9, 30, 0, 250_000)),
        ("2023-01-31T09:30:00Z", utc(2023, 1, 31, 9, 30)),
        ("2023-01-31 09:30:00-05:00", utc(2023, 1, 31, 14, 30)),
        ("2023-01-31T09:30:00+0100", utc(2023, 1, 31, 8, 30)),
        ("1/31/2023 2:30 PM", utc(2023, 1, 31, 14, 30)),
        ("20230131 093000", utc(2023, 1, 31, 9, 30)),
        ("1675157400", utc(2023, 1, 31, 9, 30)), ("1675157400000", utc(2023, 1, 31, 9, 30)),
        ("1675157400000000", utc(2023, 1, 31, 9, 30)),
        ("1675157400000000000", utc(2023, 1, 31, 9, 30)),
    ],
)  # fmt: skip
def test_a_format_is_found(write, text, day):
    assert times_of(write(dated(f'"{text}"'))) == [day]


@pytest.mark.parametrize(
    "days", [("01/02/2023",), ("03.04.2023", "04.05.2023"), ("1/2/23 9:30 AM",)]
)
def test_an_order_of_day_and_month_in_doubt_is_never_guessed(write, days):
    """B36: the reference takes the American order if it fits."""
    with pytest.raises(InvalidArgument, match=r"read in two ways.*date_format='%"):
        times_of(write(dated(*days)))


def test_one_value_decides_for_the_whole_column(write):
    days = [f"{d:02}/02/2023" for d in range(1, 13)]
    with pytest.raises(InvalidArgument, match="two ways"):
        times_of(write(dated(*days)))
    assert times_of(write(dated(*days, "13/02/2023")))[0] == date(2023, 2, 1)
    assert times_of(write(dated("02/13/2023", *days)))[0] == date(2023, 1, 2)
    assert times_of(write(dated(*days)), date_format="%d/%m/%Y")[0] == date(2023, 2, 1)


def test_the_value_that_decides_may_come_late():
    days = [f"{1 + n % 12:02}/{1 + n // 12 % 12:02}/{2000 + n // 144}" for n in range(2000)]
    with pytest.raises(InvalidArgument, match="two ways"):
        detect_format(pl.Series(days), "x")
    for place in (0, 7, 1003, 2000):  # Most of them in no sample of every tenth value.
        late = [*days[:place], "31/01/2023", *days[place:]]
        assert detect_format(pl.Series(late), "x").text == "%d/%m/%Y"
        odd = [*days[:place], "soon", *days[place:]]
        with pytest.raises(InvalidBars, match=r"1 values .* such as 'soon'"):
            detect_format(pl.Series(["31/01/2024", *odd]), "x")


def test_days_that_are_the_same_either_way_are_no_doubt(write):
    assert times_of(write(dated("01/01/2023", "02/02/2023")))[1] == date(2023, 2, 2)


def test_a_value_in_another_format_is_named(write):
    with pytest.raises(InvalidBars, match=r"1 values .* such as '2023-13-01'"):
        times_of(write(dated("2023-01-03", "2023-13-01", "2023-01-04")))
    with pytest.raises(InvalidArgument, match="in no format that is known"):
        times_of(write(dated("soon")))


def test_a_value_that_a_given_format_does_not_fit_is_bad(write):
    with pytest.raises(InvalidBars, match="no time"):
        times_of(write(dated("2023-01-03", "03.01.2023")), date_format="%Y-%m-%d")


def test_the_file_s_zone(write):
    path = write(dated("2023-01-03 09:30", "2023-07-03 09:30"))
    assert times_of(path, timezone="America/New_York") == [
        utc(2023, 1, 3, 14, 30), utc(2023, 7, 3, 13, 30),
    ]  # fmt: skip
    bars = CSVSource(path, timezone="America/New_York").fetch(
        [], utc(2023, 1, 3, 14, 30), utc(2023, 1, 3, 14, 30), "1m"
    )
    assert bars.height == 1


@pytest.mark.parametrize(
    ("text", "date_format"),
    [
        ("2023-01-03T09:30:00+02:00", None),
        ("2023-01-03T07:30:00Z", None),
        ("2023-01-03 09:30+0200", "%Y-%m-%d %H:%M%z"),
        ("03.01.2023 09:30 +02:00", "%d.%m.%Y %H:%M %:z"),
        ("1672731000", None),
    ],
)
def test_a_time_that_says_its_offset_is_in_no_zone_of_the_file(write, text, date_format):
    path = write(dated(text))
    found = times_of(path, timezone="America/New_York", date_format=date_format)
    assert found == [utc(2023, 1, 3, 7, 30)]


@pytest.mark.parametrize("local", ["2023-03-12 02:30", "2023-11-05 01:30"])
def test_a_time_that_the_clocks_skip_or_repeat_is_refused(write, local):
    with pytest.raises(InvalidBars, match="timezone="):
        times_of(write(dated(local)), timezone="America/New_York")


def test_the_last_day_is_whole(write):
    path = write(dated("2023-01-03 00:00", "2023-01-03 23:59", "2023-01-04 00:00"))
    got = CSVSource(path).fetch([], "2023-01-03", date(2023, 1, 3), "1m")
    assert got["timestamp"].to_list() == [utc(2023, 1, 3), utc(2023, 1, 3, 23, 59)]


# --- Missing values, bad bars

GAP = f"{HEADER}\n2023-01-03,10,12,8,10,100\n2023-01-04,,,,,\n2023-01-05,20,22,18,20,300\n"


def test_a_missing_value_fails(write):
    with pytest.raises(InvalidBars, match="open is missing; high is missing"):
        times_of(write(GAP), "1d")
    with pytest.raises(InvalidBars, match="missing"):
        times_of(write(GAP.replace(",,,,,", ",nan,NA,null,-,")), "1d")


def test_or_its_row_is_skipped(write):
    assert times_of(write(GAP), "1d", missing="skip") == [date(2023, 1, 3), date(2023, 1, 5)]


@pytest.mark.parametrize("start", ["2023-01-03", "2023-01-04"])
def test_or_interpolated_whatever_the_request(write, start):
    source = CSVSource(write(GAP), missing="interpolate")
    bars = source.fetch([], start, "2023-01-04", "1d")
    assert bars.rows()[-1] == (date(2023, 1, 4), "AAPL", 15.0, 17.0, 13.0, 15.0, 200.0)


def test_nothing_is_interpolated_between_symbols(write):
    path = write(
        f"symbol,{HEADER}\nA,2023-01-03,{NUMBERS}\nA,2023-01-04,,,,,\nB,2023-01-05,{NUMBERS}\n"
    )
    with pytest.raises(InvalidBars, match="open is missing"):
        CSVSource(path, missing="interpolate").fetch(["A", "B"], *ALL, "1d")


def test_bars_that_cannot_be_right_are_named(write):
    text = dated("2023-01-03", "2023-01-04", "2023-01-04")
    with pytest.raises(InvalidBars, match=r"(?s)AAPL\.csv.*same symbol and time") as caught:
        times_of(write(text), "1d")
    assert caught.value.report.bad["line"].to_list() == [3, 4]


@pytest.mark.parametrize("text", ["", HEADER, HEADER + "\n"])
def test_a_file_without_rows(write, text):
    if not text:
        with pytest.raises(InvalidBars, match="is empty"):
            times_of(write(text))
    else:
        assert times_of(write(text)) == []


# --- The files


@pytest.mark.parametrize("date_format", [None, "%Y-%m-%d"])
@pytest.mark.parametrize(
    "bad", [b"2023-01-05,1,2,3,4,5,6,7,8\n", b"\xff\xfe,10,11,9,10.5,100\n", b'"2023-01-05,1\n']
)
def test_a_damaged_file_is_named(write, bad, date_format):
    path = write(dated("2023-01-03"))
    path.write_bytes(path.read_bytes() + bad)
    with pytest.raises(InvalidBars, match=r"AAPL\.csv"):
        CSVSource(path, date_format=date_format).fetch([], *ALL, "1d")


def test_the_name_changes_with_the_file_and_its_reading(write):
    path = write(dated("2023-01-03"))
    first = CSVSource(path)
    name = as_source(first).name

    assert name.startswith("csv:AAPL.csv@")
    assert CSVSource(path).source_id == name
    assert CSVSource(path, timezone="Asia/Tokyo").source_id != name
    assert CSVSource(path, missing="skip").source_id != name
    assert CSVSource(path, name="mine").source_id == "mine"
    os.utime(path, (1, 1))
    assert first.source_id != name


def test_a_file_that_changed_is_read_anew(write):
    path = write(dated("13/01/2023"))
    source = CSVSource(path)
    assert source.fetch([], *ALL, "1d").height == 1
    write(dated("2023-01-03", "2023-01-04"))
    assert source.fetch([], *ALL, "1d").height == 2


def test_missing_files(tmp_path):
    for paths in ("nix.csv", "*.csv", "."):
        target = tmp_path / paths
        with pytest.raises(SourceUnavailable):
            CSVSource(str(target))


def test_another_resolution_is_refused(write):
    source = CSVSource(write(dated("2023-01-03")), resolution="1d")
    assert source.fetch([], *ALL, "daily").height == 1
    with pytest.raises(RangeUnavailable, match="bars of 1d, not of 1h"):
        source.fetch([], *ALL, "1h")


def test_a_configuration_of_rustybt(write):
    mapping = types.SimpleNamespace(
        date_column="Date", open_column="Open", high_column="High", low_column="Low",
        close_column="Close", volume_column="Volume", symbol_column=None,
    )  # fmt: skip
    path = write(dated("2023-01-03", header="date,open,high,low,close,volume"))
    config = types.SimpleNamespace(
        file_path=str(path), schema_mapping=mapping, delimiter=None, has_header=True,
        date_format=None, timezone="UTC", missing_data_strategy="fail",
    )  # fmt: skip
    bars = CSVSource(config).fetch(["AAPL"], "2023-01-01", "2023-12-31", "1d")
    assert bars["symbol"].to_list() == ["CSV_DATA"]
    mapping.symbol_column = "Nix"
    with pytest.raises(InvalidArgument, match="'Nix'"):
        CSVSource(config).fetch(["AAPL"], *ALL, "1d")


def test_a_large_volume_is_kept(write):
    """B34: the reference's decimals cannot hold it."""
    path = write(dated("2023-01-03", numbers="10,11,9,10.5,12345678901"))
    assert CSVSource(path).fetch([], *ALL, "1d")["volume"].to_list() == [12_345_678_901.0]


FORMATS = [
    day + clock
    for day in ("%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m-%d-%Y", "%d-%m-%y",
                "%m/%d/%y", "%Y%m%d", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y")
    for clock in ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p", "T%H:%M:%SZ")
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2038, 1, 1)), min_size=1, max_size=20),
)
def test_dates_are_read_as_they_were_meant_or_refused(form, moments):
    """Whatever the format of a column: never another time than the one that was written."""
    text = [moment.strftime(form) for moment in moments]
    meant = [datetime.strptime(t, form) for t in text]
    if re.search("%m.%d|%d.%m", form) and all(moment.day <= 12 for moment in meant):
        # No day of the month decides; only days that are the same either way may be read.
        try:
            found = detect_format(pl.Series(text), "the column")
        except InvalidArgument:
            return
    else:
        found = detect_format(pl.Series(text), "the column")
    read = pl.DataFrame({"t": text}).select(found.read(pl.col("t")).cast(pl.Datetime("us", "UTC")))
    assert read["t"].dt.replace_time_zone(None).to_list() == meant
