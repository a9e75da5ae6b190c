"""What `import barcache` brings along, and what it does not."""

import subprocess
import sys
from pathlib import Path

import barcache
import pytest

HEAVY = ["sqlalchemy", "pandas", "numpy", "pyarrow", "click", "rich", "structlog", "rustybt"]


def run(script, *arguments):
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


USE = """
import sys
from barcache import CacheManager, LRUCache
import polars as pl
with CacheManager(sys.argv[1] + "/m.db", sys.argv[1] + "/cache") as cache:
    key = cache.generate_cache_key(["AAPL"], "2023-01-01", "2023-12-31", "1d", "yfinance")
    cache.put_cached_data(key, pl.DataFrame({"close": [1.0], "s": ["x"]}), 1, backtest_id="bt-1")
    cache.put_cached_data("nested", pl.DataFrame({"l": [[1, 2]], "s": [{"a": 1}]}), 1)
    for tier in ("hot", "cold"):
        for name in (key, "nested"):
            assert cache.get_cached_data(name) is not None
        cache.hot_cache.clear()
    cache.put_cached_data("large", pl.DataFrame({"i": range(10_000)}), 1)
    cache.hot_cache.clear()
    assert cache.get_cached_data("large").height == 10_000
    cache.get_cached_data(key, columns=["close"], backtest_id="bt-2")
    cache.get_cache_statistics("2023-01-01", "2023-12-31")
    cache.record_daily_statistics()
    repr(cache), cache._repr_html_(), len(cache), key in cache, cache.session_stats
    cache.entries("bt-1"), cache.backtests(key), cache.check()
    cache.clear_cache(backtest_id="bt-1")
    cache.clear_cache()
"""
LOADED = "\nprint(*sorted(name for name in sys.modules if '.' not in name))\n"


def test_the_import_brings_none_of_the_heavy_packages():
    loaded = run("import sys, barcache" + LOADED).split()

    assert "polars" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_nor_do_sources_and_freshness():
    optional = ["ccxt", "duckdb", "exchange_calendars", "yaml", "yfinance"]
    made = "barcache.sources.YFinanceSource(), barcache.sources.CCXTSource()"
    script = f"import sys, barcache.sources, barcache.freshness\n{made}{LOADED}"
    loaded = run(script).split()

    assert [name for name in [*HEAVY, *optional] if name in loaded and name != "numpy"] == []


def test_nor_what_is_for_warming_alone():
    loaded = run("import sys, barcache\nprint(*sys.modules)").split()

    assert "barcache.cache_manager" in loaded
    assert [name for name in loaded if name.startswith("barcache.warming")] == []


def test_a_command_loads_what_it_prints_with_when_it_prints():
    loaded = run("import sys, barcache.cli.commands\nprint(*sys.modules)").split()

    assert "barcache.cli.progress" in loaded
    assert [name for name in loaded if name.startswith(("rich", "barcache.warming"))] == []


def test_nor_does_the_daily_use(tmp_path):
    loaded = run(USE + LOADED, tmp_path).split()

    # Polars itself may look for numpy; nothing of ours does.
    assert [name for name in HEAVY if name in loaded and name != "numpy"] == []


@pytest.mark.parametrize("package", ["pyarrow", "pandas", "sqlalchemy", "sqlite3", "duckdb"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_the_order_of_imports_does_not_matter(tmp_path, package, order):
    pytest.importorskip(package)
    other = f"import {package}\n"
    run(other + USE if order == "before" else USE + other, tmp_path)


def test_one_copy_of_arrow_serves_us_and_pyarrow(tmp_path):
    script = (
        USE
        + """
import pyarrow, pyarrow.parquet
paths = {line.split()[-1] for line in open("/proc/self/maps") if "libarrow.so" in line}
print(*paths)
"""
    )
    assert len(run(script, tmp_path).split()) == 1


def test_one_copy_of_sqlite_serves_us_and_the_interpreter(tmp_path):
    script = (
        USE
        + """
import sqlite3
sqlite3.connect(":memory:").close()
cache = CacheManager(sys.argv[1] + "/m.db", sys.argv[1] + "/cache")
with cache.metadata_catalog.engine.connect() as connection:
    connection.exec_driver_sql("SELECT * FROM cache_entries").fetchall()
print(*{line.split()[-1] for line in open("/proc/self/maps") if "libsqlite3" in line})
assert cache.same_sqlite
"""
    )
    assert len(run(script, tmp_path).split()) == 1


@pytest.mark.parametrize("package", ["barcache", "barcache.sources", "barcache.freshness"])
def test_the_names_of_the_package(package):
    script = f"""
import {package} as package
assert set(package.__all__) <= set(dir(package))
for name in package.__all__:
    assert getattr(package, name) is not None
assert not hasattr(package, "no_such_name")
from {package} import *
print(len(package.__all__))
"""
    assert int(run(script)) > 10


def test_type_checkers_see_the_names_that_there_are_and_no_others():
    """A __getattr__ that they see would have them believe in any name."""
    initials = Path(barcache.__file__).parent.rglob("__init__.py")
    late = [text for path in initials if "late_names(" in (text := path.read_text())]
    assert len(late) == 3
    for text in late:
        assert "\nif not TYPE_CHECKING:" in text
        assert "\n    __getattr__, __dir__ = late_names(" in text


def test_a_missing_option_says_how_to_install_it(tmp_path):
    script = """
import sys
sys.modules["sqlalchemy"] = None
import barcache
cache = barcache.CacheManager(sys.argv[1] + "/m.db", sys.argv[1] + "/cache")
try:
    cache.metadata_catalog.engine
except ImportError as error:
    print(error)
cache.close()
"""
    assert "barcache[sqlalchemy]" in run(script, tmp_path)
