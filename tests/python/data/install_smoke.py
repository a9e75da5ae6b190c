"""Run by scripts/test-install with an installed barcache, outside the source tree: what is
installed can put, get hot and cold, verify and measure itself, and says honestly what it was built
for.

    python -I install_smoke.py <pyarrow major>
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from pathlib import Path


def main() -> None:
    major = int(sys.argv[1])
    from barcache import CacheManager, LRUCache

    # Nothing but Polars and the module was needed so far, and the module found its Arrow by
    # itself; pyarrow's own import must then agree on the same copy.
    assert "pyarrow" not in sys.modules
    import barcache._core
    import polars as pl
    import pyarrow as pa

    assert int(pa.__version__.split(".")[0]) == major, pa.__version__
    requires = importlib.metadata.requires("barcache") or []
    (needed,) = [line for line in requires if line.startswith("pyarrow")]
    assert f"<{major + 1}" in needed, needed
    assert f">={major}" in needed, needed
    place = Path(barcache._core.__file__).parent
    assert (place / "py.typed").exists()
    assert (place / "_core.pyi").exists()
    maps = Path("/proc/self/maps").read_text()
    copies = {line.split()[-1] for line in maps.splitlines() if "/libarrow.so" in line}
    assert len(copies) == 1, copies

    bars = pl.DataFrame({"close": [187.15, 184.92, 185.4], "symbol": ["AAPL", "AAPL", None]})
    with tempfile.TemporaryDirectory() as folder:
        settings = {"db_path": f"{folder}/metadata.db", "cache_directory": f"{folder}/cache"}
        with CacheManager(**settings) as cache:
            key = cache.generate_cache_key(["AAPL"], "2024-01-02", "2024-01-04", "1d", "example")
            cache.put_cached_data(key, bars, dataset_id=1)
            assert cache.get_cached_data(key).equals(bars)
            cache.hot_cache = LRUCache(max_size_bytes=1 << 20)
            assert cache.get_cached_data(key).equals(bars)
            assert cache.session_stats["cold_hits"] == 1
        (file,) = Path(settings["cache_directory"]).glob("*.parquet")
        damaged = bytearray(file.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        file.write_bytes(damaged)
        with CacheManager(**settings) as cache:
            assert cache.get_cached_data(key) is None, "damaged bytes were served"
    with tempfile.TemporaryDirectory() as folder:
        from barcache.bench import runner
        from barcache.bench.measure import Effort

        plan = runner.Plan(
            operations=("hot", "cold"), cases=("import",), efforts={252: Effort(1, 4)}
        )
        results = runner.run(plan, Path(folder))
        assert not results["failed"], results["failed"]
        assert {one["operation"] for one in results["measurements"]} == {"hot", "cold"}
    print(f"barcache {importlib.metadata.version('barcache')}: {place}, {needed}: works")


main()
