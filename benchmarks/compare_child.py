"""One contender of `make compare`, in a process of its own: replays requests, prints JSON.

`python -m benchmarks.compare_child NAME URL FOLDER` reads requests from stdin: a JSON list of
[symbols, first day, last day]. It prints how many seconds they took, imports left out, and a
digest of the closes that were answered. What the contender caches is in FOLDER.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import json
import os
import sys
import time
import warnings
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from benchmarks.yahoo_server import ask_local_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUILD = Path(__file__).resolve().parent.parent / "build" / "bench"

Request = tuple[list[str], str, str]
Ask = "Callable[[Request], Any]"


def yahoo(session: Any, folder: Path) -> Iterator[Any]:  # noqa: ARG001
    """yfinance alone: each request goes to the source."""
    yield _source().fetch


def barcache(session: Any, folder: Path) -> Iterator[Any]:  # noqa: ARG001
    """get_or_fetch of barcache."""
    from barcache import CacheManager

    source = _source()
    with CacheManager(folder / "metadata.db", folder / "cache") as cache:
        yield lambda symbols, start, end, step: cache.get_or_fetch(
            symbols, start, end, step, source
        )


def rustybt(session: Any, folder: Path) -> Iterator[Any]:  # noqa: ARG001
    """CachedDataSource of RustyBT over the same source; its own adapter waits between requests."""
    import pandas

    from benchmarks import rustybt_source

    os.environ["ZIPLINE_ROOT"] = str(folder)
    module = rustybt_source.load_module(BUILD, "rustybt.data.sources.cached_source")
    source = _source()

    class Adapter:
        async def fetch(
            self, symbols: list[str], start: Any, end: Any, frequency: str
        ) -> pl.DataFrame:
            return source.fetch(symbols, start.date(), end.date(), frequency)

    with asyncio.Runner() as runner:
        cached = module.CachedDataSource(Adapter(), cache_dir=folder / "cache")
        # Its own program makes the tables when it makes its database of assets.
        tables = importlib.import_module("rustybt.assets.asset_db_schema")
        tables.metadata.create_all(cached.catalog.engine)
        yield lambda symbols, start, end, step: runner.run(
            cached.fetch(symbols, pandas.Timestamp(start), pandas.Timestamp(end), step)
        )


def yfinance_cache(session: Any, folder: Path) -> Iterator[Any]:
    """Ticker.history of yfinance-cache, symbol by symbol."""
    import yfinance_cache as cached
    from yfinance_cache import yfc_cache_manager

    (folder / "prices").mkdir(exist_ok=True)
    yfc_cache_manager.SetCacheDirpath(str(folder / "prices"))
    tickers: dict[str, Any] = {}

    def ask(symbols: list[str], start: str, end: str, step: str) -> dict[str, Any]:
        after = (date.fromisoformat(end) + timedelta(days=1)).isoformat()
        found = {}
        for symbol in symbols:
            if symbol not in tickers:
                tickers[symbol] = cached.Ticker(symbol, session=session)
            found[symbol] = tickers[symbol].history(
                interval=step, start=start, end=after, adjust_splits=True, adjust_divs=False
            )
        return found

    yield ask


CONTENDERS: dict[str, Callable[[Any, Path], Iterator[Any]]] = {
    "yfinance alone": yahoo,
    "barcache": barcache,
    "RustyBT CachedDataSource": rustybt,
    "yfinance-cache": yfinance_cache,
}


def _source() -> Any:
    from barcache.sources import YFinanceSource

    return YFinanceSource(adjustment="splits")


def closes(answer: Any) -> list[tuple[str, str, str]]:
    """Symbol, day and close of each bar, in order."""
    if isinstance(answer, pl.DataFrame):
        rows = answer.select("symbol", pl.col("timestamp").cast(pl.Date), "close").rows()
    else:
        rows = [
            (symbol, moment.date(), close)
            for symbol, frame in answer.items()
            for moment, close in frame["Close"].items()
        ]
    return sorted((symbol, str(day), f"{close:.4f}") for symbol, day, close in rows)


def digest(answers: list[list[tuple[str, str, str]]]) -> str:
    """Of all answers."""
    return hashlib.sha256(json.dumps(answers).encode()).hexdigest()


def main() -> int:
    name, url, folder = sys.argv[1:]
    requests = json.loads(sys.stdin.read())
    warnings.simplefilter("ignore")
    place = Path(folder)
    with contextlib.redirect_stdout(sys.stderr):
        session = ask_local_server(url, str(place / "yfinance"))
        opened = CONTENDERS[name](session, place)
        ask = next(opened)
        began = time.perf_counter()
        answers = [ask(symbols, start, end, "1d") for symbols, start, end in requests]
        seconds = time.perf_counter() - began
        next(opened, None)
        found = [closes(answer) for answer in answers]
    print(json.dumps({"seconds": seconds, "digest": digest(found)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
