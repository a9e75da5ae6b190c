# The benchmarks measure and report what they say: the arithmetic with a clock that the cases
# themselves move, the rendering with results made by hand.

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from barcache import CacheManager
from barcache.bench import (
    bars_case,
    children,
    contenders,
    entries_case,
    fetch_case,
    frames,
    goals,
    large_catalog,
    measure,
    plot,
    process_cases,
    runner,
    universe,
)
from barcache.bench import report as tables
from barcache.bench.figures import Figure, Setting

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import report, run, rustybt_source

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


def test_a_contender_may_be_closed_before_and_after_it_was_used(tmp_path: Path) -> None:
    present, _ = contenders.all_contenders()
    for contender in present:
        contender.close()
        place = tmp_path / contender.name
        place.mkdir()
        contender.cases(place, frames.bars(20))
        contender.close()
        contender.close()


def test_absent_peers_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("diskcache", "joblib", "arcticdb"):
        monkeypatch.setitem(sys.modules, name, None)

    def no_download(_: Path) -> Any:
        raise RuntimeError("pip could not download")

    monkeypatch.setattr("benchmarks.rustybt_source.load", no_download)
    more = run.plan(tmp_path, quick=True).more_contenders
    present, absent = contenders.all_contenders(more)
    assert set(absent) == {"RustyBT", "diskcache", "joblib", "ArcticDB"}
    assert "pip could not download" in absent["RustyBT"]
    assert absent["joblib"] == 'joblib is not installed: pip install "barcache[bench]"'
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
        "seconds": 300.0,
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
        "figures": [],
        "measurements": [
            one("hot", "barcache", 0.5, 1),
            one("hot", "RustyBT", 2000.0, 0.00025),
            one("put", "barcache", 250.0, 1),
            one("put", "RustyBT", 1_500_000.0, 2.0),
        ],
    }


def test_the_table() -> None:
    assert tables.table(results_by_hand()) == [
        ["operation", "rows", "barcache", "RustyBT"],
        ["hot hit", "252", "0.5 us", "2 ms (4000x)"],
        ["put", "252", "250 us", "1.5 s (0.5x)"],
    ]


def test_page_and_plot() -> None:
    import xml.etree.ElementTree as ET

    page = report.page(results_by_hand())
    for text in ("2 warm-up rounds, 10 counted", "joblib: not installed", "A & B", "9,000 bytes"):
        assert text in page
    drawn = ET.fromstring(plot.svg(plot.draw(results_by_hand())))
    assert "A & B" in "".join(drawn.itertext())


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
    assert set(runner.EFFORTS) == {252, 100_000, 2_000_000}
    for effort in runner.EFFORTS.values():
        assert effort.warm_up >= 2
        assert effort.rounds >= 9


# --- goals


def results_that_are(value: float) -> report.Results:
    """Every ratio, time and figure has this value."""
    results = results_by_hand()
    results["measurements"] = [
        {
            "operation": operation,
            "rows": rows,
            "contender": contender,
            "median_us": value,
            "barcache_ratio": value,
        }
        for operation in contenders.OPERATIONS
        for rows in (252, 100_000, 2_000_000)
        for contender in ("barcache", "dict + clone", "polars Parquet", "diskcache")
    ]
    results["file_sizes"] = {
        str(rows): {"barcache": 1000 * value, "RustyBT": 1000} for rows in (252, 100_000, 2_000_000)
    }
    names = [
        f"put at the limit, {policy}, {entries} entries"
        for policy in entries_case.POLICIES
        for entries in ("1 000", "1 000 000")
    ]
    names += [
        "miss, the catalog is asked",
        "hot hit beside a writer by one without",
        "open until the first hit, 1 000 000 entries",
        "lookup_cache, 1 000 000 entries",
        "get_cache_statistics, 1 000 000 entries",
        "memory of the catalog an entry, 1 000 000 entries",
        "loop of 500 cold gets by get_many",
        "get_or_fetch, one symbol-year, asked before",
        "get_or_fetch, one symbol-year, a new range",
        "get_or_fetch, 500 symbol-years, asked before, by pl.concat",
        "get_or_fetch, 500 symbol-years, a new range, by pl.concat",
        "memory of a full hot tier by its limit, 252 rows",
        "memory of a full hot tier by its limit, 100000 rows",
        "import barcache after polars",
    ]
    results["figures"] = [{"name": name, "value": value, "unit": "x"} for name in names]
    return results


def test_goals_are_met_or_not_by_the_numbers() -> None:
    def verdicts(value: float) -> dict[str, str]:
        return {row[0]: row[3] for row in goals.goal_table(results_that_are(value))[1:]}

    tiny, huge = verdicts(0.01), verdicts(1000.0)
    flat = {what for what in tiny if what.startswith("put at the limit")}
    assert len(flat) == 5
    upside_down = {"loop of 500 cold gets"}
    bands = {what for what in tiny if what.startswith("memory of a full hot tier")}
    for what in set(tiny) - upside_down - bands:
        assert tiny[what] == "yes", what
        assert huge[what] == ("yes" if what in flat else "**no**"), what
    assert tiny["loop of 500 cold gets"] == "**no**"
    assert huge["loop of 500 cold gets"] == "yes"
    assert {tiny[what] for what in bands} == {huge[what] for what in bands} == {"**no**"}
    assert {verdicts(1.04)[what] for what in bands} == {"yes"}
    assert {verdicts(0.94)[what] for what in bands} == {"**no**"}


def test_growth_is_the_last_by_the_first() -> None:
    results = results_that_are(100.0)
    for one in results["figures"]:
        if one["name"] == "put at the limit, size, 1 000 000 entries":
            one["value"] = 131.0
    rows = {row[0]: row for row in goals.goal_table(results)}
    assert rows["put at the limit, size, 1 000 000 entries"][2:] == ["1.31 x", "**no**"]
    assert rows["put at the limit, lru, 1 000 000 entries"][2:] == ["1 x", "yes"]


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    empty = {**results_by_hand(), "measurements": [], "file_sizes": {}, "figures": []}
    assert {tuple(row[2:]) for row in goals.goal_table(empty)[1:]} == {("not measured", "")}


# --- cases


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path, quick=True, progress=lambda _: None)


def test_a_large_catalog_is_one_that_barcache_takes_for_its_own(tmp_path: Path) -> None:
    made = large_catalog.make(tmp_path / "made", 400)
    with made.open() as cache:
        assert len(cache) == 401
        assert cache.get_cached_data(large_catalog.REAL_KEY).equals(frames.bars(252))
        rows = cache.entry_infos()
        found = cache.check()
    assert not found["totals_differ"]
    assert not found["catalog_damaged"]
    assert found["missing_files"] == []
    assert found["orphan_files"] == []
    assert all(row["generation"] and row["request"] for row in rows if row["cache_key"] != "bars")
    assert len(made.full_files) == 400  # So few that evictions can reach each of them.


def test_puts_at_the_limit_evict_under_every_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries_case, "WARM_UP_PUTS", 1)
    monkeypatch.setattr(entries_case, "BATCHES", 2)
    monkeypatch.setattr(entries_case, "PUTS_PER_BATCH", 2)
    catalogs = [large_catalog.make(tmp_path / str(count), count) for count in (150, 300)]
    for policy in entries_case.POLICIES:
        with catalogs[0].open() as cache:
            before = cache._total_size_bytes()
        figures = {one.name: one.value for one in entries_case.limit_figures(catalogs, policy)}
        assert figures[f"put at the limit, {policy}, 150 entries"] > 0
        assert figures[f"put at the limit, {policy}, 300 entries, slowest"] > 0
        with catalogs[0].open() as cache:
            assert cache._total_size_bytes() <= before
    share = entries_case._full_victims(catalogs)
    assert 0.5 < share.value <= 1.0


def test_fetching(setting: Setting) -> None:
    found = {one.name: one.value for one in fetch_case.fetching(setting)}
    assert set(found) == {
        "get_or_fetch, hot hit",
        "key and get by hand, hot hit",
        "get_or_fetch, miss",
        "key, get and put by hand, miss",
    }
    assert 0 < found["get_or_fetch, hot hit"] < found["get_or_fetch, miss"]


def test_warm_bars(setting: Setting) -> None:
    figures = bars_case.warm_bars(setting)  # The source refuses all but the first request.
    values = {one.name: one.value for one in figures}
    assert values["get_or_fetch, one symbol-year, asked before"] > 0
    assert values["get_or_fetch, 20 symbol-years, from disk"] > 0
    assert not any("500" in name for name in values)  # What a quick run did decides no goal.
    ratio = values["get_or_fetch, 20 symbol-years, a new range, by pl.concat"]
    assert ratio > values["get_or_fetch, 20 symbol-years, asked before, by pl.concat"] > 0


@pytest.mark.parametrize(("resolution", "a_day"), [("1d", 1), ("1m", 390)])
def test_a_universe_answers_for_exactly_what_it_is_asked(resolution: str, a_day: int) -> None:
    made = universe.Universe(3, date(2023, 1, 1), date(2023, 1, 15), resolution)
    again = universe.Universe(3, date(2023, 1, 1), date(2023, 1, 15), resolution)
    assert made.times.len() == 10 * a_day
    assert made.times.is_sorted()
    week = made.fetch(made.symbols[:2], "2023-01-08", date(2023, 1, 14), resolution)
    assert week.equals(again.fetch(made.symbols[:2], "2023-01-08", "2023-01-14", resolution))
    assert week["symbol"].to_list() == ["S0000"] * 5 * a_day + ["S0001"] * 5 * a_day
    assert set(week["timestamp"].dt.date()) == {date(2023, 1, day) for day in range(9, 14)}
    first = made.times[0]
    assert made.fetch(["S0002"], first, first, resolution).height == 1
    assert made.fetch(["S0002"], "2024-01-01", "2024-02-01", resolution).is_empty()
    with pytest.raises(ValueError, match="not of 1h"):
        made.fetch(["S0002"], "2023-01-01", "2023-01-02", "1h")


def test_asked_misses_and_many(setting: Setting) -> None:
    figures = process_cases.asked_misses(setting) + process_cases.many_at_once(setting)
    values = {one.name: one.value for one in figures}
    assert values["miss, the catalog is asked"] > 0
    assert values["get_many of 50 cold entries"] > 0
    assert not any("500" in name for name in values)  # What a quick run did decides no goal.


def test_the_writer_writes_while_hits_are_counted(setting: Setting) -> None:
    values = {one.name: one.value for one in process_cases.beside_a_writer(setting)}
    assert values["hot hit beside a writer"] > 0
    assert 20 < values["puts of that writer"] < 200


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    with children.children(2, "count_hits", directory=str(tmp_path), key="a", seconds=1) as two:
        processes = [one._process for one in two]
    assert [process.poll() for process in processes] == [0, 0]
    started: list[children.Child] = []

    def interrupted() -> None:
        with children.children(1, "write_puts", directory=str(tmp_path), per_second=50) as writers:
            started.extend(writers)
            writers[0].tell("go")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert started[0]._process.poll() == 0


def test_a_task_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="absent is a miss"):
        children.ask("first_hit", directory=str(tmp_path), key="absent")


def test_tasks_in_fresh_processes(tmp_path: Path) -> None:
    keys = [f"bars{number}" for number in range(30)]
    with CacheManager(tmp_path / "metadata.db", tmp_path / "cache") as cache:
        cache.put_many(dict.fromkeys(keys, frames.bars(252)), dataset_id=1)
    where = str(tmp_path)
    opened = children.ask("first_hit", directory=where, key="bars1")
    assert 0 < opened["open_ms"] < opened["ms"]
    assert children.ask("catalog_memory", directory=where, key="bars1")["bytes"] > 0
    held = children.ask("hot_memory", directory=where, count=30, budget_mb=0.2)
    assert 0.1 < held["charged_bytes"] / (0.2 * 1024 * 1024) <= 1


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_a_case_that_fails_is_named_and_its_files_are_removed(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(setting: Setting) -> list[Figure]:
        (setting.directory / "left").write_text("x")
        raise failure

    def works(setting: Setting) -> list[Figure]:
        return [Figure(f"in {setting.directory.name}", 1.5, "us")]

    monkeypatch.setitem(runner.CASES, "import", runner.CaseOfFigures("fails", 1, fails))
    monkeypatch.setitem(runner.CASES, "memory", runner.CaseOfFigures("works", 1, works))
    plan = runner.Plan(operations=(), cases=("import", "memory"))
    if isinstance(failure, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            runner.run(plan, tmp_path)
    else:
        results = runner.run(plan, tmp_path)
        assert results["failed"] == {"import": "ValueError: no"}
        assert results["figures"] == [{"name": "in memory", "value": 1.5, "unit": "us"}]
    assert list(tmp_path.iterdir()) == []


# --- the command


def bench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    return subprocess.run(
        [sys.executable, "-m", "barcache", "bench", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env=environment,
        timeout=60,
    )


QUICK = ("--quick", "--operation", "hot", "--operation", "miss", "--rows", "252")


def test_the_command_prints_tables_and_writes_a_plot(tmp_path: Path) -> None:
    from PIL import Image

    done = bench(*QUICK, "--plot", "times.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hot hit\t252\t" in done.stdout
    assert "hot hit, 252 rows\t<= 1 x dict lookup + clone\t" in done.stdout
    assert "252 rows: 5 warm-up rounds, 30 counted" in done.stderr
    assert "load average" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["times.png"]
    with Image.open(tmp_path / "times.png") as image:
        assert image.size[0] > 400
        colours = {colour for _, colour in image.getcolors(1 << 20)}
    assert (0x0B, 0x6E, 0x4F) in colours  # barcache's bars.


def test_the_command_prints_json_and_a_plot_as_svg(tmp_path: Path) -> None:
    done = bench(*QUICK, "--json", "--plot", "times.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {one["operation"] for one in found["measurements"]} == {"hot", "miss"}
    assert found["effort"] == {"252": {"warm_up": 5, "rounds": 30}}
    assert found["figures"] == []
    assert "hot hit, 252 rows" in (tmp_path / "times.svg").read_text()


def test_the_command_shows_its_progress_on_a_terminal(tmp_path: Path) -> None:
    main, side = pty.openpty()
    arguments = ["--quick", "--operation", "miss", "--operation", "import", "--rows", "252"]
    process = subprocess.Popen(
        [sys.executable, "-m", "barcache", "bench", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=side,
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(side)
    shown = b""
    while piece := _read(main):
        shown += piece
    os.close(main)
    table, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"import barcache" in shown  # What is measured at the moment.
    assert b"import barcache after polars\t" in table
    assert list(tmp_path.iterdir()) == []


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the other side is closed.
        return b""


def test_the_command_refuses_before_it_measures(tmp_path: Path) -> None:
    assert bench("--plot", "times.pdf", cwd=tmp_path).returncode == 2
    assert "no directory" in bench("--plot", "nowhere/times.svg", cwd=tmp_path).stderr
    assert bench("--directory", "nowhere", cwd=tmp_path).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_plot_as_png_without_pillow_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from barcache.cli import main

    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["bench", "--plot", str(tmp_path / "times.png")]) == 1
    assert 'pip install "barcache[bench]"' in capsys.readouterr().err


def test_the_commands_choices_are_what_there_is_to_measure() -> None:
    from barcache.cli.bench import CASES, OPERATIONS

    assert contenders.OPERATIONS == OPERATIONS
    assert tuple(runner.CASES) == CASES
    assert rustybt_source.RustyBT.name == "RustyBT"
