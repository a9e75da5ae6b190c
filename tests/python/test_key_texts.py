"""Keys of hostile texts are those that Python's own json and hashlib make."""

from __future__ import annotations

import hashlib
import json
import random
import re
from datetime import date

import polars as pl
import pytest
from barcache import CacheManager, InvalidArgument

TEXTS = [
    "", "AAPL", 'quo"te', "back\\slash", "'; DROP TABLE cache_entries; --", "%s%n",
    "../../etc/passwd", "/", ".", "..", "é",
    "e\u0301", "\u202etxt.exe", "\u05d0\u05d1", "\U0001f4c8", "\ufeff",
    "\u2028\u2029", "\x7f\x80\x9f", "\ud800", "\udfff\ud800",
    "line\nbreak\ttab\r", "a\0b", "x" * 2**20,
]  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    place = tmp_path_factory.mktemp("keys")
    with CacheManager(str(place / "metadata.db"), str(place / "cache")) as manager:
        yield manager


def _expected(symbols: list[str], start: str, end: str, resolution: str, source: str) -> str:
    params = {
        "symbols": sorted(symbols),
        "start_date": start,
        "end_date": end,
        "resolution": resolution,
        "data_source": source,
    }
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:16]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:24])
def test_a_hostile_text_in_every_place(cache, text):
    for place in range(5):
        request = [["A", "B"], "2023-01-01", "2023-12-31", "1d", "yfinance"]
        request[place] = [text, "A", text] if place == 0 else text
        assert cache.generate_cache_key(*request) == _expected(*request)


def test_thousands_of_random_requests(cache):
    dice = random.Random(20260101)

    def text() -> str:
        top = dice.choice((0x7F, 0xFF, 0xFFFF, 0x10FFFF))
        return "".join(chr(dice.randint(0, top)) for _ in range(dice.randint(0, 9)))

    for _ in range(3000):
        symbols = [text() for _ in range(dice.randint(0, 4))]
        request = (symbols, text(), text(), text(), text())
        assert cache.generate_cache_key(*request) == _expected(*request)


def _is_text(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:24])
def test_a_hostile_backtest_is_only_a_name(make, tmp_path, text):
    cache = make()
    frame = pl.DataFrame({"close": [1.5]})
    cache.put_cached_data("key1", frame, dataset_id=1, backtest_id="bt")
    before = sorted(tmp_path.parent.rglob("*"))
    if not _is_text(text):
        with pytest.raises(InvalidArgument, match="backtest_id"):
            cache.get_cached_data("key1", backtest_id=text)
        assert cache.backtests("key1") == ["bt"]
        return
    assert cache.get_cached_data("key1", backtest_id=text).equals(frame)
    if not text:  # None, as for RustyBT.
        assert cache.backtests("key1") == ["bt"]
        return
    assert cache.backtests("key1") == sorted(["bt", text])
    assert cache.entries(text) == ["key1"]
    cache.clear_cache(backtest_id=text, keep_shared=True)
    assert cache.backtests("key1") == ["bt"]
    assert cache.get_cached_data("key1").equals(frame)
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:24])
def test_bars_of_a_hostile_symbol_and_source(make, tmp_path, text):
    around = {path.name for path in tmp_path.parent.iterdir()}
    calls = []

    def vendor(symbols, start, end, _):
        calls.append(symbols)
        days = pl.date_range(date.fromisoformat(start), date.fromisoformat(end), eager=True)
        bars = pl.DataFrame({"date": days, "close": [1.0] * len(days)})
        return pl.concat(bars.with_columns(symbol=pl.lit(symbol)) for symbol in symbols)

    cache = make()
    for symbols, source in (([text, "A"], "vendor"), (["A"], text)):
        ask = (symbols, "2023-01-01", "2023-01-03", "1d", source, vendor)
        calls.clear()
        if not _is_text(text):
            for refused in (cache.get_or_fetch, lambda *call: cache.explain(*call[:5])):
                with pytest.raises(InvalidArgument, match="lone surrogate"):
                    refused(*ask)
            assert calls == []
            continue
        frame = cache.get_or_fetch(*ask)
        assert frame["symbol"].to_list() == [name for name in sorted(symbols) for _ in range(3)]
        assert cache.get_or_fetch(*ask).equals(frame)
        assert len(calls) == 1
    assert cache.check()["clean"]
    names = {path.name for path in (tmp_path / "cache").iterdir()}
    assert all(re.fullmatch(r"[0-9a-f]{32}~\d+~[0-9a-f]{32}\.parquet", name) for name in names)
    assert {path.name for path in tmp_path.parent.iterdir()} == around
