"""`make compare`: the server counts what it sends, wrong answers stop it, the page is true."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import compare
from benchmarks.compare_child import closes, digest
from benchmarks.yahoo_server import YahooServer

if TYPE_CHECKING:
    from collections.abc import Iterator

DAYS = ("2023-07-03", "2023-07-06")  # The 4th is a holiday.


@pytest.fixture
def server() -> Iterator[YahooServer]:
    with YahooServer(["AAA", "BBB"], date(2023, 6, 1), date(2023, 7, 31)) as running:
        yield running


def get(server: YahooServer, path: str) -> tuple[Any, int]:
    with urlopen(server.url + path, timeout=30) as answer:
        body = answer.read()
    return json.loads(body), len(body)


def epoch(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def test_the_server_sends_the_sessions_asked_for_and_counts(server: YahooServer) -> None:
    query = f"?period1={epoch('2023-07-03')}&period2={epoch('2023-07-07')}&interval=1d"
    found, size = get(server, f"/v8/finance/chart/BBB{query}")
    result = found["chart"]["result"][0]
    first, last = (date.fromisoformat(day) for day in DAYS)
    bars = server.bars["BBB"].filter(pl.col("timestamp").dt.date().is_between(first, last))
    assert bars["timestamp"].dt.day().to_list() == [3, 5, 6]
    assert result["timestamp"] == bars["timestamp"].dt.epoch("s").to_list()
    assert result["indicators"]["quote"][0]["close"] == bars["close"].to_list()
    about, more = get(server, "/v10/finance/quoteSummary/BBB?modules=quoteType")
    assert about["quoteSummary"]["result"][0]["quoteType"]["exchange"] == "NMS"
    assert server.counted == {
        "requests": 2,
        "requests for bars": 1,
        "bars": 3,
        "bytes": size + more,
    }
    server.reset()
    assert not server.counted


def test_the_server_knows_its_symbols_only_and_fails_when_told(server: YahooServer) -> None:
    with pytest.raises(HTTPError, match="404"):
        get(server, "/v8/finance/chart/NIX?range=1d&interval=1d")
    server.failures = [(429, b"{}")]
    with pytest.raises(HTTPError, match="429"):
        get(server, "/v8/finance/chart/AAA?range=1d&interval=1d")
    with pytest.raises(HTTPError, match="404"):
        get(server, "/elsewhere")
    assert server.counted["requests"] == 3
    assert server.counted["bars"] == 0


def test_replays_are_the_same_each_time_and_overlap() -> None:
    for _, make in compare.REPLAYS.values():
        requests = make()
        assert requests == make()
        assert all("2016-01-01" <= start < end <= "2023-12-31" for _, start, end in requests)
    windows = [(start, end) for _, start, end in compare.walk_forward()]
    assert windows[:3] == [
        ("2016-01-01", "2017-12-31"),
        ("2018-01-01", "2018-06-30"),
        ("2016-07-01", "2018-06-30"),
    ]
    drawn = [json.dumps(request) for request in compare.random_windows()]
    assert len(drawn) == 150
    assert 100 < len(set(drawn)) < 140


def test_frames_of_pandas_and_polars_are_compared_alike(server: YahooServer) -> None:
    bars = pl.concat(server.bars.values())
    by_symbol = {
        symbol: frame.to_pandas().rename(columns={"close": "Close"}).set_index("timestamp")
        for symbol, frame in server.bars.items()
    }
    assert closes(bars) == closes(by_symbol)
    everything = (["AAA", "BBB"], "2023-06-01", "2023-07-31")
    assert compare.expected(server, [everything]) == digest([closes(bars)])
    changed = bars.with_columns(pl.col("close") + pl.when(pl.int_range(pl.len()) == 7).then(0.01))
    assert compare.expected(server, [everything]) != digest([closes(changed.drop_nulls("close"))])


def test_a_contender_with_other_bars_stops_everything(
    server: YahooServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "REPLAYS", {"one": ("", lambda: [(["AAA"], *DAYS)])})
    monkeypatch.setattr(compare, "ask", lambda *_: {"digest": "other", "seconds": 1.0})
    with pytest.raises(AssertionError, match="barcache answered one with other bars"):
        compare.measure(server, ["barcache"], rounds=1)


def test_seconds_are_medians_and_traffic_is_that_of_a_round(
    server: YahooServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = (["AAA"], *DAYS)
    right = compare.expected(server, [request])
    seconds = iter([9.0, 0.1, 2.0, 0.3, 3.0, 0.2])

    def ask(*_: Any) -> dict[str, Any]:
        get(server, "/v8/finance/chart/AAA?range=1d&interval=1d")
        return {"digest": right, "seconds": next(seconds)}

    monkeypatch.setattr(compare, "REPLAYS", {"one": ("", lambda: [request])})
    monkeypatch.setattr(compare, "ask", ask)
    found = compare.measure(server, ["barcache"], rounds=3)["one"]["contenders"]["barcache"]
    assert (found["first"]["seconds"], found["again"]["seconds"]) == (3.0, 0.2)
    assert (found["first"]["requests"], found["first"]["bars"]) == (1, 1)


@pytest.mark.parametrize("name", ["yfinance alone", "barcache"])
def test_a_contender_in_its_process(server: YahooServer, tmp_path: Path, name: str) -> None:
    pytest.importorskip("yfinance", reason="in the tests of make test-vendors and make compare")
    requests = [(["AAA", "BBB"], "2023-06-05", "2023-06-30"), (["BBB"], "2023-06-12", "2023-06-16")]
    for phase in ("first", "again"):
        server.reset()
        found = compare.ask(name, server.url, str(tmp_path), requests)
        assert found["digest"] == compare.expected(server, requests)
        assert (server.counted["bars"] == 0) == (name == "barcache" and phase == "again")


def test_the_page_is_written_from_its_numbers() -> None:
    results = json.loads((compare.PLACE / "ranges.json").read_text(encoding="utf-8"))
    assert (compare.PLACE / "ranges.md").read_text(encoding="utf-8") == compare.page(results)
    assert results["rounds"] >= 3
    for found in results["replays"].values():
        contenders = found["contenders"]
        assert list(contenders) == list(compare.CONTENDERS)
        assert contenders["barcache"]["again"]["requests"] == 0
        assert contenders["yfinance alone"]["first"]["requests"] > found["requests"]


def test_it_runs_with_the_polars_and_pyarrow_that_barcache_is_built_for() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (compare.ROOT / "requirements" / name).read_text(encoding="utf-8")
        return dict(re.findall(r"^([\w-]+)==(\S+)", text, re.M))

    ours, theirs = pins("test.txt"), pins("compare.txt")
    for package in ("polars", "polars-runtime-32", "pyarrow"):
        assert ours[package] == theirs[package]
