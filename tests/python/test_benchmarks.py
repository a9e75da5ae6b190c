# The benchmarks measure and report what they say: the arithmetic with a clock that the cases
# themselves move, the rendering with results made by hand.

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import contenders, frames, measure, report, run

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Stands where it is until a case moves it."""

    def __init__(self) -> None:
        self.now_ns = 0

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def takes(self, us: float) -> Callable[[], None]:
        def spend() -> None:
            self.now_ns += int(us * 1000)

        return spend


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(measure, "time", clock)
    return clock


def measured(cases: dict[str, contenders.Case], operation: str = "cold") -> dict[str, Any]:
    results = measure.interleaved(operation, 252, cases, measure.Effort(2, 10), lambda _: None)
    return {one.contender: one for one in results}


def test_medians_and_ratios(clock: Clock) -> None:
    found = measured(
        {
            "barcache": contenders.Case(clock.takes(50)),
            "other": contenders.Case(clock.takes(200)),
        }
    )
    assert found["barcache"].median_us == pytest.approx(50)
    assert found["other"].median_us == pytest.approx(200)
    assert found["other"].barcache_ratio == pytest.approx(0.25)
    assert found["barcache"].barcache_ratio == pytest.approx(1)


def test_what_comes_before_a_call_is_not_measured(clock: Clock) -> None:
    case = contenders.Case(clock.takes(50), before=clock.takes(10_000))
    found = measured({"barcache": case})
    assert found["barcache"].median_us == pytest.approx(50)
    assert found["barcache"].calls_per_sample == 40


def test_short_calls_are_repeated_and_puts_less(clock: Clock) -> None:
    case = contenders.Case(clock.takes(1))
    assert measured({"barcache": case})["barcache"].calls_per_sample == 2000
    assert measured({"barcache": case}, "put")["barcache"].calls_per_sample == 10
    slow = contenders.Case(clock.takes(90_000))
    assert measured({"barcache": slow})["barcache"].calls_per_sample == 1


def test_warm_up_does_not_count(clock: Clock) -> None:
    calls = 0

    def slow_at_first() -> None:
        nonlocal calls
        calls += 1
        clock.now_ns += 9_000_000 if calls <= 4 else 3_000_000

    found = measured({"barcache": contenders.Case(slow_at_first)})
    assert found["barcache"].p90_us == pytest.approx(3000)


def test_a_wrong_frame_stops_the_benchmark() -> None:
    frame = frames.bars(252)
    other = frame.with_columns(pl.col("close") + 0.01)
    measure.check_result(contenders.Case(lambda: frame.clone()), frame, "it")
    with pytest.raises(AssertionError, match="another frame"):
        measure.check_result(contenders.Case(lambda: other), frame, "it")
    with pytest.raises(AssertionError, match="NoneType"):
        measure.check_result(contenders.Case(lambda: None), frame, "it")


@pytest.mark.parametrize("rows", [252, 1001])
def test_the_frame_is_what_the_report_says(rows: int) -> None:
    frame = frames.bars(rows)
    assert frame.shape == (rows, 8)
    assert frame.equals(frames.bars(rows))
    assert frame["symbol"].n_unique() == (1 if rows < 1000 else 4)
    for name in ("open", "high", "low", "close"):
        assert (frame[name] * 100).round(6).equals((frame[name] * 100).round(0))
    assert frame.filter(pl.col("high") < pl.col("low")).is_empty()
    assert frame.n_chunks() == 1


def test_contenders_of_the_package_alone(tmp_path: Path) -> None:
    frame = frames.bars(252)
    for contender in (
        contenders.Barcache(),
        contenders.BarcacheFull(),
        contenders.PolarsParquet(),
        contenders.PolarsParquetHashed(),
        contenders.DictClone(),
    ):
        place = tmp_path / contender.name
        place.mkdir()
        for case in contender.cases(place, frame).values():
            if case.returns_frame:
                measure.check_result(case, frame, contender.name)
            else:
                case.timed()
        contender.close()


def test_absent_peers_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "diskcache", None)
    monkeypatch.setitem(sys.modules, "joblib", None)
    monkeypatch.setitem(sys.modules, "arcticdb", None)

    def no_download(_: Path) -> Any:
        raise RuntimeError("pip could not download")

    monkeypatch.setattr("benchmarks.rustybt_source.load", no_download)
    present, absent = contenders.all_contenders(tmp_path)
    assert set(absent) == {"RustyBT", "diskcache", "joblib", "ArcticDB"}
    assert "pip could not download" in absent["RustyBT"]
    assert present[0].name == "barcache"


def results_by_hand() -> report.Results:
    def one(operation: str, contender: str, us: float, ratio: float) -> dict[str, Any]:
        return {
            "operation": operation,
            "rows": 252,
            "contender": contender,
            "median_us": us,
            "barcache_ratio": ratio,
        }

    return {
        "date": "2026-01-31",
        "machine": {
            "processor": "A & B",
            "processors": 2,
            "virtual": True,
            "sha_instructions": True,
            "memory_gb": 8.0,
            "system": "Linux",
            "file_system": "ext4",
            "load_average_at_start": 0.1,
        },
        "versions": {"python": "3.11.7", "polars": "2.1.0"},
        "frame": frames.DESCRIPTION,
        "effort": {"252": {"warm_up": 2, "rounds": 10}},
        "contenders": {"barcache": "ours", "RustyBT": "theirs"},
        "absent": {"joblib": "not installed"},
        "file_sizes": {"252": {"barcache": 9000}},
        "measurements": [
            one("hot", "barcache", 0.5, 1),
            one("hot", "RustyBT", 2000.0, 0.00025),
            one("put", "barcache", 250.0, 1),
            one("put", "RustyBT", 1_500_000.0, 2.0),
        ],
    }


def test_the_table() -> None:
    assert report.table(results_by_hand()) == [
        ["operation", "rows", "barcache", "RustyBT"],
        ["hot hit", "252", "0.5 us", "2 ms (4000x)"],
        ["put", "252", "250 us", "1.5 s (0.5x)"],
    ]


def test_page_and_plot() -> None:
    import xml.etree.ElementTree as ET

    page = report.page(results_by_hand())
    for text in ("2 warm-up rounds, 10 counted", "joblib: not installed", "A & B", "9,000 bytes"):
        assert text in page
    plot = ET.fromstring(report.plot(results_by_hand()))
    assert "A & B" in "".join(plot.itertext())


def test_readme_block_is_replaced_and_nothing_else() -> None:
    results = results_by_hand()
    readme = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    renewed = report.with_figures(readme, results)
    assert renewed.startswith("before\n")
    assert renewed.endswith("\nafter\n")
    assert "old" not in renewed
    assert "2 ms (4000x)" in renewed
    assert report.with_figures(renewed, results) == renewed
    with pytest.raises(SystemExit, match="lacks the lines"):
        report.with_figures("nothing", results)


def test_every_size_of_the_full_run_has_enough_rounds() -> None:
    assert set(run.EFFORTS) == {252, 100_000, 2_000_000}
    for effort in run.EFFORTS.values():
        assert effort.warm_up >= 2
        assert effort.rounds >= 9
