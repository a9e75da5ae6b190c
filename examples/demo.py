"""The guide's three examples and a walk-forward run, end to end, on real bars.

1. A moving-average crossover over a grid of parameters: every backtest has its own id and reads
   its bars through the cache. What did the first pass cost, what do the others cost, and which
   backtests used which entry?
2. One symbol in several resolutions, each made once.
3. A dashboard of the cache's statistics.
4. A walk-forward run asks for bars, not for keys: its window moves on by half a year at a time.
   How many bars does it fetch, and how many would a cache that knows only whole requests?

The bars are daily GOOG and hourly EURUSD, which the PyPI package `backtesting` carries as CSV
files; they are read as data, the package itself is never imported.

Run it with `make demo`, or `python examples/demo.py [--directory DIR]`. Without --directory the
cache lives in a temporary directory and is gone afterwards.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from barcache import CacheManager

TRAINING = ("2004-08-19", "2010-12-31")
VALIDATION = ("2011-01-01", "2013-03-01")
FAST_DAYS = range(5, 65, 4)
SLOW_DAYS = range(70, 230, 10)
VALIDATED = 12
SOURCE = "csv:backtesting"
WALK_FROM, WALK_TO = 2005, 2012  # Whole years.


def heading(title: str) -> None:
    print(f"\n{title}\n{'=' * len(title)}")


def progress(items: Iterable[Any], total: int, label: str) -> Iterator[Any]:
    """Counts on a terminal; elsewhere says nothing between the lines of the result."""
    on_terminal = sys.stderr.isatty()
    for count, item in enumerate(items, start=1):
        yield item
        if on_terminal and (count % 10 == 0 or count == total):
            bar = "#" * (30 * count // total)
            sys.stderr.write(f"\r{label} [{bar:<30}] {count}/{total}")
            sys.stderr.flush()
    if on_terminal:
        sys.stderr.write("\r\033[K")


# --- the source of the data -----------------------------------------------------------------


def csv_path(name: str) -> Path:
    """Where the installed package `backtesting` keeps one of its CSV files."""
    try:
        files = importlib.metadata.files("backtesting") or []
    except importlib.metadata.PackageNotFoundError:
        sys.exit('The demo needs its bars: pip install "barcache[demo]" (or backtesting).')
    for file in files:
        if file.name == f"{name}.csv":
            return Path(str(file.locate()))
    sys.exit(f"The installed package `backtesting` carries no {name}.csv; install another version.")


def fetch(symbol: str, start: str, end: str) -> pl.DataFrame:
    """What a data vendor would be asked: bars of a symbol, both ends included."""
    bars = pl.read_csv(csv_path(symbol), try_parse_dates=True)
    bars = bars.rename({bars.columns[0]: "timestamp"}).rename(str.lower)
    return bars.select(
        pl.col("timestamp").cast(pl.Datetime("us")),
        pl.lit(symbol).alias("symbol"),
        pl.col("open", "high", "low", "close").cast(pl.Float64),
        pl.col("volume").cast(pl.Int64),
    ).filter(
        pl.col("timestamp")
        .dt.date()
        .is_between(pl.lit(start).str.to_date(), pl.lit(end).str.to_date())
    )


# --- a strategy -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a backtest found, after costs."""

    fast: int
    slow: int
    total_return: float
    sharpe: float
    trades: int


def crossover(bars: pl.DataFrame, fast: int, slow: int, cost: float = 0.0005) -> Outcome:
    """Long while the fast average is above the slow one, decided at a close, held the next day."""
    close = pl.col("close")
    days = bars.select(
        (close / close.shift(1) - 1).alias("change"),
        (close.rolling_mean(fast) > close.rolling_mean(slow))
        .cast(pl.Int8)
        .shift(1)
        .fill_null(0)
        .alias("position"),
    ).with_columns(pl.col("position").diff().abs().fill_null(0).alias("turn"))
    gains = days.select(
        (pl.col("change") * pl.col("position") - cost * pl.col("turn")).fill_null(0).alias("gain")
    )["gain"]
    deviation = float(gains.std() or 0.0)  # type: ignore[arg-type]
    mean = float(gains.mean() or 0.0)  # type: ignore[arg-type]
    return Outcome(
        fast,
        slow,
        total_return=float((gains + 1).product()) - 1,
        sharpe=mean / deviation * 252**0.5 if deviation else 0.0,
        trades=int(days["turn"].sum()),
    )


# --- example 1 ------------------------------------------------------------------------------


@dataclass
class Pass:
    """One run of all backtests: what reading the bars cost, and the whole."""

    label: str
    read_seconds: list[float] = field(default_factory=list)
    total_seconds: float = 0.0
    fetches: int = 0


Reader = Callable[[str, tuple[str, str], str], pl.DataFrame]


def read_through(cache: CacheManager, run: Pass) -> Reader:
    """The guide's loop body: key, get, and on a miss fetch and put."""

    def read(symbol: str, span: tuple[str, str], backtest_id: str) -> pl.DataFrame:
        start, end = span
        key = cache.generate_cache_key(
            symbols=[symbol], start_date=start, end_date=end, resolution="1d", data_source=SOURCE
        )
        bars: pl.DataFrame | None = cache.get_cached_data(key, backtest_id=backtest_id)
        if bars is None:
            run.fetches += 1
            bars = fetch(symbol, start, end)
            cache.put_cached_data(key, bars, dataset_id=1, backtest_id=backtest_id)
        return bars

    return read


def read_source(run: Pass) -> Reader:
    """The same without a cache."""

    def read(symbol: str, span: tuple[str, str], backtest_id: str) -> pl.DataFrame:
        del backtest_id
        run.fetches += 1
        return fetch(symbol, *span)

    return read


def sweep(run: Pass, read: Reader) -> list[Outcome]:
    """All parameters on the training years, then the best of them on the years after."""
    began = time.perf_counter()

    def backtest(span: tuple[str, str], backtest_id: str, fast: int, slow: int) -> Outcome:
        asked = time.perf_counter()
        bars = read("GOOG", span, backtest_id)
        run.read_seconds.append(time.perf_counter() - asked)
        return crossover(bars, fast, slow)

    grid = [(fast, slow) for fast in FAST_DAYS for slow in SLOW_DAYS]
    trained = [
        backtest(TRAINING, f"goog-{fast:03}-{slow:03}", fast, slow)
        for fast, slow in progress(grid, len(grid), run.label)
    ]
    best = sorted(trained, key=lambda outcome: -outcome.sharpe)[:VALIDATED]
    validated = [
        backtest(VALIDATION, f"goog-{one.fast:03}-{one.slow:03}-validated", one.fast, one.slow)
        for one in best
    ]
    run.total_seconds = time.perf_counter() - began
    return [*best, *validated]


def print_passes(passes: list[Pass]) -> None:
    print(
        f"{'pass':<30}{'backtests':>10}{'fetches':>9}{'reading bars':>15}"
        f"{'median read':>14}{'whole pass':>13}"
    )
    for run in passes:
        print(
            f"{run.label:<30}{len(run.read_seconds):>10}{run.fetches:>9}"
            f"{sum(run.read_seconds) * 1e3:>12.2f} ms"
            f"{statistics.median(run.read_seconds) * 1e6:>11.1f} us"
            f"{run.total_seconds * 1e3:>10.0f} ms"
        )


def example_1(db_path: str, cache_directory: str) -> None:
    heading("Example 1: a grid of backtests reads through the cache")
    print(
        f"GOOG daily, moving-average crossover: {len(FAST_DAYS)} fast x {len(SLOW_DAYS)} slow "
        f"averages on {TRAINING[0]}..{TRAINING[1]},\nthe best {VALIDATED} again on "
        f"{VALIDATION[0]}..{VALIDATION[1]}.\n"
    )
    crossover(fetch("GOOG", *TRAINING), 5, 50)  # So that no pass pays for the first call.

    without = Pass("without a cache")
    sweep(without, read_source(without))
    with CacheManager(db_path, cache_directory) as cache:
        first = Pass("first pass, empty cache")
        outcomes = sweep(first, read_through(cache, first))
        second = Pass("second pass, same process")
        sweep(second, read_through(cache, second))
    with CacheManager(db_path, cache_directory) as cache:
        third = Pass("third pass, cache reopened")
        again = sweep(third, read_through(cache, third))
        print_passes([without, first, second, third])
        if again != outcomes:
            sys.exit("The passes disagree: the cache returned other bars.")
        print(
            "All passes found the same results. The source is a local file: a vendor on the "
            "network\nwould make each fetch, but none of the cached reads, slower."
        )

        print(
            f"\n{'best on the training years':<30}{'return':>10}{'Sharpe':>9}{'trades':>8}"
            f"{'later return':>15}{'later Sharpe':>14}"
        )
        for one, later in list(zip(outcomes[:VALIDATED], outcomes[VALIDATED:], strict=True))[:5]:
            print(
                f"{f'{one.fast} over {one.slow} days':<30}{one.total_return:>10.1%}"
                f"{one.sharpe:>9.2f}{one.trades:>8}{later.total_return:>15.1%}"
                f"{later.sharpe:>14.2f}"
            )

        print("\nWhich backtests used which bars?")
        for key in cache.entries():
            users = cache.backtests(key)
            row = cache.lookup_cache(key)
            assert row is not None
            print(
                f"  {key}  {row['size_bytes'] / 1024:6.1f} KB  {row['access_count']:4} uses  "
                f"{len(users):3} backtests: {', '.join(users[:2])}, ..."
            )
        winner = f"goog-{outcomes[0].fast:03}-{outcomes[0].slow:03}"
        print(f"  {winner} read {', '.join(cache.entries(winner))}")


# --- example 2 ------------------------------------------------------------------------------


def resample(bars: pl.DataFrame, resolution: str) -> pl.DataFrame:
    if resolution == "1h":
        return bars
    return (
        bars.group_by_dynamic("timestamp", every=resolution, group_by="symbol")
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
        .select(bars.columns)
    )


def example_2(db_path: str, cache_directory: str) -> None:
    heading("Example 2: one symbol, several resolutions")
    print("EURUSD hourly, aggregated once a resolution, then served from the cache.\n")
    print(
        f"{'resolution':<12}{'rows':>7}{'on disk':>12}{'fetch and resample':>22}"
        f"{'hot read':>14}{'cold read':>14}"
    )
    hot: dict[str, tuple[str, int, float, float]] = {}
    with CacheManager(db_path, cache_directory) as cache:
        for resolution in ("1h", "4h", "1d", "1w"):
            key = cache.generate_cache_key(
                symbols=["EURUSD"],
                start_date="2017-04-19",
                end_date="2018-02-07",
                resolution=resolution,
                data_source=SOURCE,
            )
            began = time.perf_counter()
            bars = cache.get_cached_data(key)
            if bars is None:
                bars = resample(fetch("EURUSD", "2017-04-19", "2018-02-07"), resolution)
                cache.put_cached_data(key, bars, dataset_id=2, backtest_id="multi-resolution")
            made = time.perf_counter() - began
            reads = []
            for _ in range(50):
                began = time.perf_counter()
                cache.get_cached_data(key)
                reads.append(time.perf_counter() - began)
            hot[resolution] = (key, bars.height, made, statistics.median(reads))
    with CacheManager(db_path, cache_directory) as cache:  # A new one: nothing is hot.
        for resolution, (key, rows, made, hot_seconds) in hot.items():
            began = time.perf_counter()
            bars = cache.get_cached_data(key)
            cold_seconds = time.perf_counter() - began
            row = cache.lookup_cache(key)
            if bars is None or row is None or bars.height != rows:
                sys.exit(f"The cache lost the {resolution} bars.")
            print(
                f"{resolution:<12}{rows:>7}{row['size_bytes'] / 1024:>9.1f} KB"
                f"{made * 1e3:>19.2f} ms{hot_seconds * 1e6:>11.1f} us"
                f"{cold_seconds * 1e6:>11.0f} us"
            )
    print("The first cold read of a manager also opens the catalog for reading.")


# --- example 3 ------------------------------------------------------------------------------


def example_3(db_path: str, cache_directory: str) -> None:
    heading("Example 3: the dashboard")
    with CacheManager(db_path, cache_directory) as cache:
        key = cache.generate_cache_key(
            symbols=["GOOG"],
            start_date=TRAINING[0],
            end_date=TRAINING[1],
            resolution="1d",
            data_source=SOURCE,
        )
        latencies = []
        for _ in range(100):
            began = time.perf_counter()
            cache.get_cached_data(key)
            latencies.append((time.perf_counter() - began) * 1e6)
        later = sorted(latencies[1:])
        print(
            f"100 reads of the same bars: the first {latencies[0]:.0f} us (from disk, verified), "
            f"then median {statistics.median(later):.1f} us,\n"
            f"95 % within {later[94]:.1f} us, slowest {later[-1]:.1f} us."
        )
        cache.record_daily_statistics()
        stats = cache.get_cache_statistics()
        session = stats["session_stats"]
        for name, value in (
            ("Hit rate", f"{stats['hit_rate']:.2%}"),
            ("Hits", f"{stats['hit_count']}"),
            ("Misses", f"{stats['miss_count']}"),
            ("Entries", f"{stats['entry_count']}"),
            ("Size on disk", f"{stats['total_size_mb']:.2f} MB"),
            ("Uses per entry", f"{stats['avg_access_count']:.1f}"),
            (
                "This session",
                (
                    f"{session['hot_hits']} hot hits, {session['cold_hits']} cold hits, "
                    f"{session['miss_count']} misses"
                ),
            ),
        ):
            print(f"  {name:<16}{value}")


# --- example 4 ------------------------------------------------------------------------------


@dataclass
class CountingSource:
    """What a vendor would be asked, and how many bars it has sent."""

    bars: int = 0

    def fetch(self, symbols: list[str], start: str, end: str, resolution: str) -> pl.DataFrame:
        del resolution
        frame = pl.concat([fetch(symbol, start, end) for symbol in symbols])
        self.bars += frame.height
        return frame


@dataclass
class Step:
    """One position of the window: what it asked for, what was fetched, what it found."""

    training: tuple[str, str]
    validation: tuple[str, str]
    requests: int = 0
    requested: int = 0
    fetched: int = 0
    fetched_by_key: int = 0
    chosen: Outcome | None = None
    later: Outcome | None = None


def half_years(first: int, last: int) -> tuple[str, str]:
    """First and last day of the half years from `first` on, before `last`; counted from 0."""

    def begin(number: int) -> date:
        return date(WALK_FROM + number // 2, 1 + 6 * (number % 2), 1)

    return begin(first).isoformat(), (begin(last) - timedelta(days=1)).isoformat()


def walk(cache: CacheManager, half_years_of_training: int) -> list[Step]:
    """Chooses averages on the training window, tries them on the half year after, moves on.

    Each backtest asks for its bars twice: by get_or_fetch, and by a key for the whole request.
    """
    by_bars, by_key = CountingSource(), CountingSource()
    grid = [(fast, slow) for fast in range(3, 15, 3) for slow in range(20, 60, 8)]

    def read(step: Step, window: tuple[str, str]) -> pl.DataFrame:
        bars = cache.get_or_fetch(["GOOG"], *window, "1d", SOURCE, by_bars.fetch)
        key = cache.generate_cache_key(["GOOG"], *window, "1d", f"{SOURCE}:by-key")
        same = cache.get_cached_data(key)
        if same is None:
            same = by_key.fetch(["GOOG"], *window, "1d")
            cache.put_cached_data(key, same, dataset_id=1)
        if not bars.equals(same):
            sys.exit(f"The cache returned other bars for {window[0]}..{window[1]}.")
        step.requests += 1
        step.requested += bars.height
        return bars

    steps = []
    for first in range(2 * (WALK_TO - WALK_FROM + 1) - half_years_of_training):
        last = first + half_years_of_training
        step = Step(half_years(first, last), half_years(last, last + 1))
        before = by_bars.bars, by_key.bars
        trained = [crossover(read(step, step.training), fast, slow) for fast, slow in grid]
        best = max(trained, key=lambda outcome: outcome.sharpe)
        step.chosen = best
        step.later = crossover(read(step, step.validation), best.fast, best.slow)
        step.fetched, step.fetched_by_key = by_bars.bars - before[0], by_key.bars - before[1]
        steps.append(step)
    return steps


def example_4(db_path: str, cache_directory: str) -> None:
    heading("Example 4: a walk-forward run asks for bars, not for keys")
    print(
        "GOOG daily: averages chosen on two years, tried on the half year after, then half a year "
        "on.\nBars asked for, bars fetched by get_or_fetch, and by a cache that knows only whole "
        "requests.\n"
    )
    print(
        f"{'training':<24}{'validation':<24}{'averages':>9}{'return':>9}{'bars':>8}"
        f"{'fetched':>9}{'by key':>8}"
    )
    with CacheManager(db_path, cache_directory) as cache:
        steps = walk(cache, 4)
        for step in steps:
            assert step.chosen is not None
            assert step.later is not None
            print(
                f"{'..'.join(step.training):<24}{'..'.join(step.validation):<24}"
                f"{f'{step.chosen.fast}/{step.chosen.slow}':>9}{step.later.total_return:>9.1%}"
                f"{step.requested:>8}{step.fetched:>9}{step.fetched_by_key:>8}"
            )
        print_sums("all steps", steps)
        print_sums("again, three years of training", walk(cache, 6))
    print(
        "Each step fetches the half year that is new, and one bar that it holds already: had the "
        "vendor\nrestated it, the whole history would be fetched anew."
    )


def print_sums(label: str, steps: list[Step]) -> None:
    sums = [
        sum(getattr(step, name) for step in steps)
        for name in ("requests", "requested", "fetched", "fetched_by_key")
    ]
    what = f"{label}: {sums[0]} requests"
    print(f"{what:<66}{sums[1]:>8}{sums[2]:>9}{sums[3]:>8}")


def run(directory: Path) -> None:
    place = (str(directory / "metadata.db"), str(directory / "cache"))
    mark = directory / "barcache-demo"  # What is cleared here is a cache of the demo's own.
    if (directory / "metadata.db").exists() and not mark.exists():
        sys.exit(f"{directory} holds another cache: give the demo a directory of its own.")
    directory.mkdir(parents=True, exist_ok=True)
    mark.touch()
    with CacheManager(*place, record_on_close=False) as cache:
        cache.clear_cache()  # The entries of an earlier run, if the directory was kept.
    example_1(*place)
    example_2(*place)
    example_3(*place)
    example_4(*place)


def main() -> None:
    parser = argparse.ArgumentParser(description="The guide's examples on real bars.")
    parser.add_argument("--directory", type=Path, help="keep the cache there (it is cleared first)")
    directory: Path | None = parser.parse_args().directory
    began = time.perf_counter()
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="barcache-demo-") as temporary:
            run(Path(temporary))
    else:
        run(directory)
        print(
            f"\nThe cache is kept: try `barcache ls {directory}` and `barcache verify {directory}`."
        )
    print(f"\nDone in {time.perf_counter() - began:.1f} s.")


if __name__ == "__main__":
    main()
