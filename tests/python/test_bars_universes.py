"""Requests for real bars and for universes: a sample of `make test-universes`, and its faults."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from barcache.bench.universe import Universe

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import universes
from benchmarks.real_bars import RealBars
from benchmarks.universe_play import KINDS, Play, SourceDown, play

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE = ("2022-01-01", "2022-03-31")


MADE = {
    "synthetic days": lambda: Universe(20, date(2021, 1, 1), date(2022, 12, 31)),
    "synthetic minutes": lambda: Universe(3, date(2023, 1, 1), date(2023, 2, 10), "1m"),
    "GOOG": lambda: RealBars("GOOG", "1d"),
    "EURUSD": lambda: RealBars("EURUSD", "1h"),
}


@pytest.fixture(scope="module", params=list(MADE))
def universe(request: pytest.FixtureRequest) -> Universe | RealBars:
    return MADE[request.param]()


@pytest.mark.parametrize("seed", range(8))
def test_each_bar_is_accounted_for(universe: Universe | RealBars, seed: int) -> None:
    counted, sent = play(universe, seed, 30)
    assert counted["requests"] > 10
    assert sent["never sent before"] > 0
    assert set(sent) <= set(KINDS)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Play]:
    """A quarter of three symbols is cached, and final; an overlap of 1."""
    seeds = (number for number in range(50))
    made = Universe(3, date(2022, 1, 1), date(2022, 12, 31))
    one = next(
        play
        for seed in seeds
        if (play := Play(made, seed, tmp_path / str(seed))).overlap == 1 or play.cache.close()
    )
    ask(one, *WHOLE)
    assert one.account.sent["never sent before"] == 3 * 64
    yield one
    one.cache.close()


def ask(play: Play, start: Any, end: Any, symbols: int = 3) -> None:
    play.random.choice = lambda options: options[0]  # type: ignore[method-assign]  # No failure.
    play.request(play.universe.symbols[:symbols], start, end)


def test_gaps_cost_the_new_bars_and_one_at_each_edge(small: Play) -> None:
    ask(small, "2022-01-10", "2022-03-01", symbols=2)
    assert small.source.calls == []
    ask(small, "2022-03-01", "2022-04-08")
    assert small.account.sent == {"never sent before": 3 * 70, "overlap": 3} | dict.fromkeys(
        ("not final before", "removed before"), 0
    )


def test_a_bar_that_is_fetched_twice_is_noticed(small: Play) -> None:
    small.cache.clear_cache()  # Nobody told the account.
    with pytest.raises(AssertionError, match="fetched twice: 64 bars of"):
        ask(small, *WHOLE)


def test_more_overlap_than_was_set_is_noticed(small: Play) -> None:
    small.overlap = 2
    with pytest.raises(AssertionError, match="fetched twice: 2 bars of"):
        ask(small, "2022-03-01", "2022-04-08")


def test_whole_days_are_no_excuse_for_days_that_are_held(tmp_path: Path) -> None:
    one = Play(Universe(2, date(2023, 1, 1), date(2023, 2, 10), "1m"), 1, tmp_path)
    ask(
        one, "2023-01-02", "2023-01-05", symbols=1
    )  # Of the outer ones the ends may be asked again.
    one.cache.clear_cache()
    with pytest.raises(AssertionError, match="fetched twice: 2 whole days"):
        ask(one, "2023-01-02", "2023-01-04", symbols=1)
    one.cache.close()


def test_an_answer_that_is_not_the_sources_is_noticed(small: Play) -> None:
    symbol = small.universe.symbols[1]
    frame = small.universe.frames[symbol]
    small.universe.frames[symbol] = frame.with_columns(pl.col("close") + 0.01)
    with pytest.raises(AssertionError, match="another answer than the source's"):
        ask(small, "2022-02-01", "2022-02-28")


def test_a_source_that_is_down_stays_so_until_it_is_asked_again(small: Play) -> None:
    small.source.calls_until_failure = 0
    with pytest.raises(SourceDown):
        small.source.fetch(["S0000"], *WHOLE, "1d")


def test_the_page_is_written_from_its_numbers() -> None:
    results = json.loads((universes.PLACE / "universes.json").read_text(encoding="utf-8"))
    assert (universes.PLACE / "universes.md").read_text(encoding="utf-8") == universes.page(results)
    for one, size in zip(results["universes"], universes.SIZES, strict=True):
        assert one["about"] == size.about
        assert one["sequences"] >= 20
        assert one["sent"]["never sent before"] > one["sent"]["overlap"] > 0
