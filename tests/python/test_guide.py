"""The guide's code blocks run as they stand, through the drop-in switch.

Stubs stand for what the guide leaves to the reader: fetch_data_from_yfinance,
fetch_data_from_source, fetch_and_resample, yfinance and run_backtest. The guide uses two names
that it never defines, LRUCache (of the module it imports from) and dataset_id: both are given.
"""

import re
import subprocess
import sys
from pathlib import Path

import barcache
import barcache.rustybt as switch
import pytest

pd = pytest.importorskip("pandas")

GUIDE = (Path(__file__).parent / "data" / "caching-guide.md").read_text()

STUBS = '''
import types
from datetime import datetime, timedelta

import pandas as pd
import polars as pl

from rustybt.data.polars.cache_manager import LRUCache

dataset_id = 1
calls = []


def bars(rows=20):
    days = [datetime(2023, 1, 2) + timedelta(days=day) for day in range(rows)]
    return pl.DataFrame({"timestamp": days, "close": [100.0 + day / 4 for day in range(rows)]})


def fetch_data_from_yfinance(*args):
    calls.append("fetch_data_from_yfinance")
    return bars()


def fetch_data_from_source(*args):
    calls.append("fetch_data_from_source")
    return bars()


def fetch_and_resample(symbol, resolution):
    calls.append(f"fetch_and_resample {symbol} {resolution}")
    return bars()


def download(symbol, start, end):
    """As yfinance: a pandas frame with a Date index and two levels of columns."""
    calls.append(f"download {symbol}")
    columns = pd.MultiIndex.from_product([["Close", "Open"], [symbol]], names=["Price", "Ticker"])
    index = pd.date_range(start, periods=5, name="Date")
    return pd.DataFrame([[1.5, 2.5]] * 5, index=index, columns=columns)


yfinance = types.SimpleNamespace(download=download)


def run_backtest(df, backtest_id):
    calls.append(f"run_backtest {backtest_id} {len(df)}")
'''


def python_blocks():
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 13
    return blocks


@pytest.fixture
def guide(tmp_path, monkeypatch, capsys):
    """Runs all blocks in one namespace, in a fresh folder; returns the namespace."""
    monkeypatch.chdir(tmp_path)
    switch.install()
    namespace = {"__name__": "guide"}
    exec(STUBS, namespace)
    for number, block in enumerate(python_blocks()):
        exec(compile(block, f"block {number} of the guide", "exec"), namespace)
    namespace["printed"] = capsys.readouterr().out
    yield namespace
    namespace["cache"].close()
    switch.uninstall()


def test_every_block_runs_and_says_what_the_guide_says(guide):
    printed = guide["printed"]
    cache = guide["cache"]
    assert isinstance(cache, barcache.CacheManager)
    # Linkage: the entry that the block put is linked to the backtest it named.
    assert "Backtest: backtest-001, Linked: 1" in printed
    # Troubleshooting: the entry was cleared above, so the guide's check finds none.
    assert re.search(r"Cache entry (not )?found", printed)
    assert re.search(r"Total Cache Size: \d+\.\d\d MB", printed)
    # Example 1: three symbols, three backtests; only the first fetches. 6 of 9 are hits.
    assert "Cache Hit Rate: 66.67%" in printed
    assert guide["calls"].count("run_backtest bt-003 5") == 3
    downloads = [call for call in guide["calls"] if call.startswith("download")]
    assert downloads == ["download AAPL", "download MSFT", "download GOOGL"]
    # Example 2: each resolution is fetched once.
    assert [c for c in guide["calls"] if "resample" in c] == [
        f"fetch_and_resample AAPL {resolution}" for resolution in ("1m", "5m", "1h", "1d")
    ]
    # Example 3: a hundred hits, and the dashboard.
    assert len(re.findall(r"^Backtest \d+: Latency = \d+\.\d\dms$", printed, re.MULTILINE)) == 100
    assert "Total Hits: 106\nTotal Misses: 7\n" in printed
    assert "Hit Rate: 93.81%" in printed
    assert "Entry Count: 7" in printed


@pytest.mark.parametrize(
    "rustybt",
    [
        pytest.param(None, id="as-it-is"),
        pytest.param("installed", id="beside-rustybt", marks=pytest.mark.rustybt),
    ],
)
def test_the_same_through_the_command_line(tmp_path, rustybt):
    if rustybt is not None:
        assert switch.real_rustybt_installed()
    program = tmp_path / "guide.py"
    program.write_text(STUBS + "\n".join(python_blocks()))
    done = subprocess.run(
        [sys.executable, "-m", "barcache.rustybt", str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Cache Hit Rate: 66.67%" in done.stdout
    assert "Total Hits: 106" in done.stdout
    assert (tmp_path / "data" / "bundles" / "quandl" / "metadata.db").is_file()


def test_key_block_is_the_request_that_the_key_hashes(guide):
    """The guide's dict of a key's parts hashes to the key of its first example."""
    import hashlib
    import json

    [block] = [block for block in python_blocks() if block.startswith("{")]
    parts = eval(block)
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    key = guide["cache"].generate_cache_key(
        ["MSFT", "AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance"
    )
    assert key == digest[:16] == "8a3c9ff46519d39e"


def test_schema_tables_of_the_guide_exist(guide):
    """Each table and column that the guide's schema section lists is in the catalog."""
    section = GUIDE.split("## Database Schema")[1].split("## Backtest Linkage")[0]
    tables = guide["cache"].metadata_catalog.metadata_obj.tables
    found = re.findall(r"### (\w+) Table\n\n.*?\n\n", section, re.DOTALL)
    assert found == ["cache_entries", "backtest_cache_links", "cache_statistics"]
    for name, body in zip(found, section.split("### ")[1:], strict=True):
        columns = re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE)
        assert columns == [column.name for column in tables[name].columns]
