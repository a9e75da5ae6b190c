"""The hot tier's budget is of memory really taken: resident memory of a process of its own."""

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import gc, os, sys, tempfile
    import polars as pl
    from barcache import CacheManager, LRUCache

    rows, budget_mb = int(sys.argv[1]), int(sys.argv[2])
    folder = sys.argv[3]

    def resident_mb():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

    def cache(hot_cache_size_mb):
        return CacheManager(f"{folder}/m.db", f"{folder}/c", hot_cache_size_mb=hot_cache_size_mb)

    if sys.argv[4] == "fill":
        columns = {f"c{i}": [float(i * row % 1009) for row in range(rows)] for i in range(7)}
        frame = pl.DataFrame({"symbol": ["AAPL"] * rows, **columns})
        count = int(1.5 * budget_mb * 2**20 / frame.estimated_size())
        with cache(0) as filler:
            filler.put_many([(f"key{i}", frame) for i in range(count)], dataset_id=1)
        sys.exit()
    reader = cache(budget_mb)
    count = len(reader)
    reader.hot_cache = LRUCache(max_size_bytes=1)
    for i in range(count):  # What SQLite keeps of the catalog is not the hot tier's.
        reader.get_cached_data(f"key{i}")
    reader.hot_cache = LRUCache(max_size_bytes=budget_mb * 2**20)
    gc.collect()
    before = resident_mb()
    for i in range(count):
        reader.get_cached_data(f"key{i}")
    gc.collect()
    print((resident_mb() - before) / budget_mb, len(reader.hot_cache) < count)
"""


@pytest.mark.parametrize(("rows", "budget_mb"), [(252, 96), (100_000, 128)])
def test_what_is_taken_stays_within_the_budget(tmp_path, rows, budget_mb):
    def run(task):
        arguments = [str(rows), str(budget_mb), str(tmp_path), task]
        command = [sys.executable, "-c", textwrap.dedent(PROGRAM), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    run("fill")
    said = run("read")
    assert said[1] == "True", "nothing was evicted"
    assert 0.75 < float(said[0]) < 1.05


def test_the_head_of_a_longer_frame_keeps_no_more_than_itself(tmp_path):
    program = """
        import gc, os, sys
        import polars as pl
        from barcache import CacheManager

        def resident_mb():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

        cache = CacheManager(f"{sys.argv[1]}/m.db", f"{sys.argv[1]}/c")
        before = resident_mb()
        for number in range(3):
            long = pl.select(close=pl.int_range(8_000_000).cast(pl.Float64))
            cache.put_cached_data(f"head{number}", long.head(200_000), dataset_id=1)
            del long
            gc.collect()
        print(resident_mb() - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(grown) < 150  # Three of 1.5 MB; the longer ones were 61 MB each.
