"""Keys of hostile texts are those that Python's own json and hashlib make."""

from __future__ import annotations

import hashlib
import json
import random

import pytest
from barcache import CacheManager

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
