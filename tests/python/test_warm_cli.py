# `barcache warm`: plan files, what is printed, what is sent.

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from barcache import InvalidArgument, WarmPlan
from barcache.warming.plan_file import read_plans
from test_cli import manager, run, run_on_terminal

HERE = str(Path(__file__).parent)
MODULE = """
from pathlib import Path
from warm_sources import Logged

source = Logged(Path(__file__).with_name("calls.txt"), refused=["BAD"])
"""
PLAN = """
source = "my_bars:source"
resolution = "1d"
start = 2023-01-01
end = "2023-01-10"
symbols = ["A", "B", "C"]
"""
GIVEN = {"start": "2023-01-01", "end": "2023-01-10", "resolution": "1d", "source": "acme"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my_bars.py").write_text(MODULE)
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path


def warm(folder, *arguments, plan="plan.toml", on_terminal=False):
    command = ("warm", str(folder / plan), str(folder / "data"), *arguments)
    path = f"{folder}:{HERE}"
    return (run_on_terminal if on_terminal else run)(*command, PYTHONPATH=path)


def calls(folder):
    log = folder / "calls.txt"
    return log.read_text().splitlines() if log.exists() else []


def test_a_dry_run_makes_and_sends_nothing(folder):
    done = warm(folder, "--dry-run", "--batch-size", "2", "--json")
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)
    assert (said["symbols"], said["requests"], said["rows"]) == (3, 2, 30)
    assert calls(folder) == []
    assert not (folder / "data").exists()


def test_a_plan_is_fetched_once_into_a_cache_that_is_made(folder):
    done = warm(folder, "--batch-size", "1", "--workers", "2", "--rate", "1000", "--backtest", "b1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split("\t") == [
        "1d", "2023-01-01", "2023-01-10", "3", "0", "3", "30", "0",
    ]  # fmt: skip
    assert done.stderr == ""
    assert len(calls(folder)) == 3
    with manager(folder / "data") as cache:
        assert len(cache.entries("b1")) == 3
    assert warm(folder).stdout.splitlines()[1].split("\t")[4:6] == ["3", "0"]
    assert len(calls(folder)) == 3
    dry = json.loads(warm(folder, "--dry-run", "--json").stdout)
    assert (dry[0]["covered"], dry[0]["requests"]) == (3, 0)


def test_failures_are_said_and_told_by_the_exit_code(folder):
    (folder / "plan.csv").write_text("name,symbol\nApple,A\nNone,BAD\n")
    options = ("--start", "2023-01-01", "--end", "2023-01-10", "--resolution", "1d")
    source = ("--source", "my_bars:source", "--batch-size", "1")
    done = warm(folder, *options, *source, plan="plan.csv")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split("\t")[-1] == "1"
    assert done.stderr == "BAD  2023-01-01 to 2023-01-10 (OddError: BAD)\n"
    told = json.loads(warm(folder, *options, *source, "--json", plan="plan.csv").stdout)
    assert told[0]["failures"] == {"BAD": "OddError: BAD"}
    assert len(calls(folder)) == 1


def test_a_source_that_cannot_be_found_is_wrong_usage(folder):
    for source in ("nobody", "no_such_module:source", "my_bars:other"):
        done = warm(folder, "--source", source)
        assert done.returncode == 2
        assert "source" in done.stderr
    assert not (folder / "data").exists()


def test_nothing_is_evicted_unless_a_limit_is_given(folder):
    with manager(folder / "data") as cache:
        cache.get_or_fetch("Z", "2023-01-01", "2023-01-10", "1d", "other", _bars)
    assert warm(folder).returncode == 0
    with manager(folder / "data") as cache:
        assert len(cache) == 4
    (folder / "more.toml").write_text(PLAN.replace("2023-01-01", "2022-01-01"))
    assert warm(folder, "--max-size", "3000", plan="more.toml").returncode == 1
    with manager(folder / "data") as cache:
        assert len(cache) < 4


def _bars(symbols, start, end, _resolution):
    from warm_sources import daily

    return daily(symbols, start, end)


def test_a_terminal_shows_a_bar(folder):
    code, shown = warm(folder, "--batch-size", "1", on_terminal=True)
    assert code == 0
    assert "of 3 batches" in shown
    assert "━" in shown


# --- plan files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "A\nB\n"),
        ("p.csv", "\ufeffTicker,name\nA,x\n\nB,\n"),
        ("p.csv", "name,Symbol\r\nx,A\r\ny,B\r\n"),
        ("p.txt", "A\n\nB"),
        ("p.json", '["A", "B"]'),
        ("p.json", '{"symbols": ["A", "B"]}'),
        ("p.json", '[{"symbols": ["A", "B"], "start": "1999-01-01"}]'),
        ("p.toml", 'symbols = ["A", "B"]'),
        ("p.toml", '[[plan]]\nsymbols = ["A", "B"]\nstart = 1999-01-01'),
    ],
)
def test_symbols_come_in_many_kinds_of_files(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    expected = WarmPlan(("A", "B"), "2023-01-01", "2023-01-10", "1d", "acme")
    assert read_plans(path, GIVEN) == [expected]


def test_a_file_holds_several_plans(tmp_path):
    path = tmp_path / "plans.toml"
    day = 'source = "acme"\nstart = 2023-01-01\nend = 2023-01-31\nsymbols = ["A"]\n'
    path.write_text(
        f'[[plan]]\nresolution = "1d"\n{day}[[plan]]\nresolution = "1h"\nadjustment = "raw"\n{day}'
    )
    daily, hourly = read_plans(path, {"start": None})
    assert (daily.resolution, hourly.resolution, hourly.adjustment) == ("1d", "1h", "raw")
    assert daily.start_date == date(2023, 1, 1)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.toml", "symbols = [", "cannot be read"),
        ("p.json", "{", "cannot be read"),
        ("p.csv", '"A', "cannot be read"),
        ("p.xls", "", "not .xls"),
        ("p.json", "[]", "holds no plan|symbols"),
        ("p.json", "1", "holds no plan"),
        ("p.toml", 'symbols = ["A"]\nsymbol = "B"', "'symbol'"),
        ("p.toml", 'symbols = "A"', "list of text"),
        ("p.json", '[{"symbols": [1]}]', "plan 1: symbols is a list"),
        ("p.toml", 'symbols = ["A"]\nadjustment = 1', "adjustment"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidArgument, match=said):
        read_plans(path, GIVEN)
    with pytest.raises(InvalidArgument):
        read_plans(path, {})
