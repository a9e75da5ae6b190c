"""All spellings of a resolution are one value."""

import pytest
from barcache import InvalidArgument, InvalidType
from barcache.resolution import parse_resolution


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        *[(name, name) for name in ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1wk", "1mo")],
        ("60m", "1h"), ("90m", "90m"), ("3600s", "1h"), ("240min", "4h"), ("5d", "5d"),
        ("1w", "1wk"), ("1W", "1wk"), ("1M", "1mo"), ("3mo", "3mo"), ("1ME", "1mo"),
        ("D", "1d"), ("H", "1h"), ("1T", "1m"), ("1D", "1d"), ("24h", "24h"),
        ("daily", "1d"), ("minute", "1m"), ("hourly", "1h"), ("Weekly", "1wk"), ("monthly", "1mo"),
        ("1 hour", "1h"), ("15Min", "15m"), ("day", "1d"),
    ],
)  # fmt: skip
def test_a_spelling(spelling, name):
    resolution = parse_resolution(spelling)

    assert resolution.name == name
    assert parse_resolution(resolution.name) == resolution
    assert parse_resolution(resolution) is resolution


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1.5h", "1x", "d1", "1", "fortnightly"])
def test_anything_else_is_refused(text):
    with pytest.raises(InvalidArgument, match="resolution"):
        parse_resolution(text)


def test_a_number_is_no_resolution():
    with pytest.raises(InvalidType):
        parse_resolution(60)


def test_what_a_resolution_knows():
    assert parse_resolution("4h").seconds == 4 * 3600
    assert parse_resolution("4h").is_intraday
    assert not parse_resolution("1wk").is_intraday
    assert parse_resolution("1wk").every == "1w"
    assert parse_resolution("1mo").every == "1mo"
