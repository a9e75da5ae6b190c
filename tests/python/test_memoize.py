# memoize: what names a call, what is called once, and what is refused.

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from barcache import CacheManager
from barcache.cli.describe import describe_request
from barcache.errors import InvalidArgument, InvalidType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

calls: list[Any] = []


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[CacheManager]:
    calls.clear()
    with CacheManager(tmp_path / "metadata.db", tmp_path / "cache") as cache:
        yield cache


def made(*what: Any) -> pl.DataFrame:
    calls.append(what)
    return pl.DataFrame({"what": [str(what)]})


def test_equal_calls_run_once(cache: CacheManager, tmp_path: Path) -> None:
    def study(symbol: str, days: int = 5, *more: int, scale: float = 1.0, **options: int) -> Any:
        """Something dear."""
        return made(symbol, days, more, scale, options)

    memoized = cache.memoize(study)
    assert memoized.__name__ == "study"
    assert memoized.__doc__ == "Something dear."
    assert memoized.uncached is study
    first = memoized("AAPL")
    assert memoized(days=5, symbol="AAPL").equals(first)
    assert memoized("AAPL", 5, scale=1.0).equals(first)
    assert len(calls) == 1
    assert memoized.key("AAPL", a=1, b=2) == memoized.key("AAPL", b=2, a=1)
    different = [
        memoized.key("AAPL"),
        memoized.key("AAPL", 6),
        memoized.key("AAPL", 5.0),
        memoized.key("AAPL", 5, 7),
        memoized.key("AAPL", a=7),
        memoized.key("AAPL", True),
        memoized.key("AAPL", scale=float("nan")),
    ]
    assert len(set(different)) == len(different)
    assert memoized.key("AAPL").startswith("memo:test_equal_calls_run_once.study:")
    with CacheManager(tmp_path / "metadata.db", tmp_path / "cache") as other:  # Kept on disk.
        assert other.memoize(study)("AAPL").equals(first)
    assert len(calls) == 1


def test_show_explains_the_call(cache: CacheManager) -> None:
    @cache.memoize(version="1", backtest_id="bt")
    def study(symbol: str, days: int = 5) -> Any:
        return made(symbol, days)

    study("AAPL")
    key = study.key("AAPL")
    request = cache._entry(key)["request"]
    assert json.loads(request)["arguments"] == {"symbol": "AAPL", "days": 5}
    assert describe_request(request).endswith("study(days=5, symbol='AAPL')")
    assert cache.backtests(key) == ["bt"]


def test_forgotten_it_is_called_again(cache: CacheManager) -> None:
    study = cache.memoize(lambda number: made(number))
    study(1)
    assert study.forget(1)
    assert not study.forget(1)
    study(1)
    assert len(calls) == 2


class Side(enum.Enum):
    BUY = 1
    SELL = 2


@dataclass(frozen=True)
class Order:
    side: Side
    price: Decimal


ZONE = dt.timezone(dt.timedelta(hours=2))
VALUES: list[Any] = [
    None, True, 1, 1.0, "1", b"1", Decimal("1"), Decimal("1.0"), float("inf"), [1], (1,), {1},
    frozenset({1}), {1: 2}, {"1": 2}, range(1), Side.BUY, Side.SELL, Order(Side.BUY, Decimal(1)),
    dt.date(2023, 1, 1), dt.datetime(2023, 1, 1), dt.datetime(2023, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2023, 1, 1, 2, tzinfo=ZONE), dt.time(1), dt.timedelta(1),
    pd.Timestamp("2023-01-01"),
    pd.Timestamp("2023-01-01") + pd.Timedelta(1), pd.Timedelta(1), np.int64(1), np.int8(1),
    np.float64(1), np.datetime64("2023-01-01"), np.array([1, 2]), np.array([[1, 2]]),
    pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]}), pl.DataFrame({"b": [1]}),
    pl.DataFrame({"a": [1]}, schema={"a": pl.Int8}), pl.Series("a", [1]),
    pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}, index=[7]), pd.Series([1], name="a"),
    pa.table({"a": [1]}),
]  # fmt: skip


def test_different_values_have_different_keys_and_equal_ones_the_same(cache: CacheManager) -> None:
    study = cache.memoize(lambda value: made(value))
    keys = [study.key(value) for value in VALUES]
    assert len(set(keys)) == len(keys)
    again = [study.key(value) for value in VALUES]
    assert keys == again
    assert study.key({"b", "a", "c"}) == study.key({"c", "b", "a"})
    whole = pl.DataFrame({"a": [1, 2, 3]})
    parts = pl.concat([whole[:1], whole[1:]], rechunk=False)
    assert study.key(whole) == study.key(parts)


@pytest.mark.parametrize("value", [object(), [object()], {"client": object()}, lambda: 1, int])
def test_what_no_key_can_be_made_of_is_named(cache: CacheManager, value: Any) -> None:
    def study(symbol: str, client: Any) -> Any:
        return made(symbol) if client else None

    with pytest.raises(InvalidType, match=r"client holds a .*ignore=\('client',\)"):
        cache.memoize(study)("AAPL", value)
    ignoring = cache.memoize(study, ignore=("client",))
    ignoring("AAPL", value)
    ignoring("AAPL", client=object())
    assert len(calls) == 1
    with pytest.raises(InvalidArgument, match="broker"):
        cache.memoize(study, ignore=("broker",))


def test_variables_around_the_function_count(cache: CacheManager) -> None:
    def study_of(symbol: str, client: Any = None, ignore: Any = ()) -> Any:
        @cache.memoize(ignore=ignore)
        def study() -> Any:
            assert client is client
            return made(symbol)

        return study

    study_of("AAPL")()
    study_of("MSFT")()
    study_of("AAPL")()
    assert len(calls) == 2
    with pytest.raises(InvalidType, match="client"):
        study_of("AAPL", object())()
    study_of("AAPL", object(), ("client",))()


def test_methods(cache: CacheManager) -> None:
    class Desk:
        @cache.memoize(ignore=("self",))
        def study(self, symbol: str) -> Any:
            return made(symbol)

        @cache.memoize
        def careful(self) -> Any:
            return made()

        @staticmethod
        @cache.memoize
        def plain(symbol: str) -> Any:
            return made(symbol)

    Desk().study("AAPL")
    Desk().study("AAPL")
    Desk.plain("AAPL")
    assert len(calls) == 2
    with pytest.raises(InvalidType, match="self"):
        Desk().careful()
    with pytest.raises(InvalidType, match="below @staticmethod"):
        cache.memoize(staticmethod(made))


def compiled(body: str, module: str = "one") -> Any:
    space: dict[str, Any] = {"made": made, "__name__": module}
    exec(f"def study(number):\n    {body}\n", space)
    return space["study"]


def test_a_changed_body_is_called_unless_the_version_says_otherwise(cache: CacheManager) -> None:
    body = "return made(number, 1)"
    cache.memoize(compiled(body))(1)
    cache.memoize(compiled(f"\n\n    {body}"))(1)  # Moved.
    cache.memoize(compiled(f"'''Documented.'''\n    {body}"))(1)
    assert len(calls) == 1
    for number, changed in enumerate(("return made(number, 2)", "return made(1, number)")):
        cache.memoize(compiled(changed))(1)
        assert len(calls) == 2 + number
    nested = "return (lambda: made(number, {}))()"
    keys = {cache.memoize(compiled(nested.format(value))).key(1) for value in (1, 2)}
    assert len(keys) == 2
    cache.memoize(compiled("return made(number, 2)"), version="7")(1)
    cache.memoize(compiled("return made(number, 3)"), version="7")(1)
    assert len(calls) == 4
    cache.memoize(compiled("return made(number, 3)"), version="8")(1)
    assert len(calls) == 5


def test_two_functions_of_one_name_are_told_apart(cache: CacheManager) -> None:
    body = "return made(number)"
    keys = {cache.memoize(compiled(body, name), version="1").key(1) for name in ("one", "two")}
    assert len(keys) == 2


def test_keys_are_the_same_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "studies.py").write_text(
        "import sys, tempfile\n"
        "from barcache import CacheManager\n"
        "cache = CacheManager(':memory:', tempfile.mkdtemp())\n"
        "@cache.memoize\n"
        "def study(names, side):\n"
        "    return side in {'buy', 'sell', 'hold'}\n"
    )
    code = "import studies; print(studies.study.key({'a', 'b', 'c'}, 1)); studies.cache.close()"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join([str(tmp_path), *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


def test_threads_that_ask_at_once_share_one_call(cache: CacheManager) -> None:
    entered = threading.Barrier(9, timeout=30)
    go = threading.Event()

    @cache.memoize(ignore=("go",))
    def study(number: int) -> Any:
        assert go.wait(30)
        return made(number)

    def ask() -> Any:
        entered.wait()
        return study(1)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask) for _ in range(8)]
        entered.wait()
        go.set()
        frames = [each.result() for each in asked]
    assert len(calls) == 1
    assert all(each.equals(frames[0]) for each in frames)


def test_async_functions(cache: CacheManager) -> None:
    @cache.memoize
    async def study(number: int) -> Any:
        await asyncio.sleep(0)
        return made(number)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(study(1) for _ in range(5)))

    assert asyncio.iscoroutinefunction(study)
    frames = asyncio.run(ask())
    asyncio.run(study(1))
    assert len(calls) == 1
    assert all(each.equals(frames[0]) for each in frames)


def test_one_argument_may_be_ignored_by_its_name_alone(cache: CacheManager) -> None:
    @cache.memoize(ignore="client")
    def study(number: int, client: Any) -> Any:
        del client
        return made(number)

    assert study(1, client=object()).equals(study(1, client=None))
    assert len(calls) == 1


def test_hits_of_either_tier_are_linked(cache: CacheManager) -> None:
    def study(number: int) -> Any:
        return made(number)

    async def async_study(number: int) -> Any:
        return made(number)

    def ask(function: Any, backtest_id: str | None) -> str:
        memoized = cache.memoize(function, backtest_id=backtest_id)
        answer = memoized(1)
        if asyncio.iscoroutine(answer):
            asyncio.run(answer)
        return memoized.key(1)

    for function in (study, async_study):
        ask(function, "miss")
        ask(function, "hot")
        cache.hot_cache.clear()
        ask(function, "cold")
        with cache.backtest("block, hot"):
            ask(function, None)
        cache.hot_cache.clear()
        with cache.backtest("block, cold"):
            key = ask(function, None)
        assert cache.backtests(key) == ["block, cold", "block, hot", "cold", "hot", "miss"]
        assert cache.lookup_cache(key)["access_count"] == 5
    assert len(calls) == 2


def test_exceptions_are_not_kept(cache: CacheManager) -> None:
    @cache.memoize
    def study(number: int) -> Any:
        if len(calls) < 2:
            calls.append(number)
            raise ConnectionError("busy")
        return made(number)

    for _ in range(2):
        with pytest.raises(ConnectionError):
            study(1)
    assert study(1).height == 1
    assert len(cache) == 1


def test_what_is_no_frame_is_refused(cache: CacheManager) -> None:
    async def coroutine() -> None:
        pass

    answers: list[tuple[Any, str]] = [
        (lambda: None, "returned None"),
        (lambda: (each for each in [made()]), "returned a generator"),
        (lambda: coroutine(), "returned a coroutine"),
        (lambda: 3, r"<lambda>\(\) returned is no frame"),
    ]
    for answer, message in answers:
        with pytest.raises(InvalidType, match=message):
            cache.memoize(answer, ignore=answer.__code__.co_freevars)()
    assert len(cache) == 0

    def generator() -> Any:
        yield made()

    for wrong in (generator, print, CacheManager, 3):
        with pytest.raises(InvalidType, match=r"generator|made by def"):
            cache.memoize(wrong)


def test_other_frames_come_back_as_polars(cache: CacheManager) -> None:
    study = cache.memoize(lambda: pd.DataFrame({"a": [1]}), dataset_id=7)
    assert isinstance(study(), pl.DataFrame)
    assert study().equals(pl.DataFrame({"a": [1]}))
    assert cache._entry(study.key())["dataset_id"] == 7
