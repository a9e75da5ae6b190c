"""barcache and RustyBT take turns on one directory; nobody ever sees a wrong frame."""

import random
import sqlite3
import time

import polars as pl
import pytest
from barcache import CacheManager
from rustybt_emulation import RealRustyBT, RustyBTEmulation

KEYS = [f"key{number}" for number in range(5)]
BACKTESTS = ["bt-1", "bt-2"]
NOTICED_WITHIN_S = 1.0
TURNS = 40


def frame(serial):
    return pl.DataFrame({"serial": [serial] * 60, "close": [serial + i / 4 for i in range(60)]})


def serial_of(found):
    """Which frame this is; fails on one that nobody put."""
    if found is None:
        return None
    serial = found["serial"][0]
    assert found.equals(frame(serial))
    return serial


class Model:
    """Which frame may be under which key."""

    def __init__(self, db_path):
        self.connection = sqlite3.connect(db_path)
        self.current = dict.fromkeys(KEYS)
        # (time, key, serial) of what was replaced or removed.
        self.past = []
        # Keys whose file a failed put of RustyBT overwrote: their frame may be lost.
        self.doomed = set()

    def set(self, key, serial):
        if self.current[key] != serial:
            self.past.append((time.monotonic(), key, self.current[key]))
        self.current[key] = serial
        self.doomed.discard(key)

    def recent(self, key):
        """What barcache may not have noticed yet to be gone."""
        since = time.monotonic() - NOTICED_WITHIN_S
        return {serial for moment, k, serial in self.past if k == key and moment >= since}

    def rows(self):
        return dict(
            self.connection.execute("SELECT cache_key, parquet_path FROM cache_entries").fetchall()
        )

    def follow_removals(self):
        present = self.rows()
        for key in KEYS:
            if key not in present:
                self.set(key, None)

    def allowed(self, key):
        return {self.current[key], None} if key in self.doomed else {self.current[key]}

    def check_tables(self):
        one = self.connection.execute
        assert one("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert one(
            "SELECT count(*) FROM backtest_cache_links WHERE cache_key NOT IN "
            "(SELECT cache_key FROM cache_entries)"
        ).fetchone() == (0,)


def put_by_rustybt(other, model, key, serial, backtest):
    path = model.rows().get(key)
    try:
        other.put(key, frame(serial), 1, backtest)
    except other.duplicate_key:
        assert path is not None
        if path == f"{key}.parquet":
            model.doomed.add(key)
        return
    assert path is None
    model.set(key, serial)


def take_turn(chance, cache, other, model, serial):
    key, backtest = chance.choice(KEYS), chance.choice(BACKTESTS)
    limit_bytes = chance.choice([1500, 3000, 6000])
    action = chance.choice(["put"] * 5 + ["delete", "backtest", "evict", "clear"])
    ours = chance.random() < 0.5
    if action == "put" and ours:
        cache.put_cached_data(key, frame(serial), 1, backtest)
        model.set(key, serial)
    elif action == "put":
        put_by_rustybt(other, model, key, serial, backtest)
    elif action == "delete":
        cache.clear_cache(cache_key=key) if ours else other.delete(key)
    elif action == "backtest":
        cache.clear_cache(backtest_id=backtest) if ours else other.clear_backtest(backtest)
    elif action == "clear":
        cache.clear_cache() if ours else other.clear()
    elif ours:
        cache.cold_cache_size_mb = limit_bytes / 1024 / 1024
        cache._check_cold_cache_eviction()
        cache.cold_cache_size_mb = 100
    else:
        other.evict(limit_bytes)
    model.follow_removals()
    return f"{'barcache' if ours else 'rustybt'} {action} {key}"


def read_by_barcache(cache, model, key, history):
    """A get returns what is there, or for at most a second what was there before."""
    while True:
        recent = model.recent(key)  # Asked before the get: what it allows can only shrink.
        serial = serial_of(cache.get_cached_data(key))
        if serial in model.allowed(key):
            return
        assert serial in recent, f"{history}: {key} is {serial}, not {model.allowed(key)}"
        time.sleep(0.01)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("hot_cache_size_mb", [0, 64], ids=["cold", "hot"])
@pytest.mark.parametrize(
    "party",
    [
        pytest.param(RustyBTEmulation, id="emulation"),
        pytest.param(RealRustyBT, id="real", marks=pytest.mark.rustybt),
    ],
)
def test_turns(tmp_path, party, hot_cache_size_mb, seed):
    chance = random.Random(seed)
    db_path, directory = str(tmp_path / "metadata.db"), str(tmp_path / "cache")
    with CacheManager(db_path, directory, hot_cache_size_mb=hot_cache_size_mb) as cache:
        other, model = party(db_path, directory), Model(db_path)
        history = []
        for serial in range(1, TURNS + 1):
            history.append(take_turn(chance, cache, other, model, serial))
            for key in chance.sample(KEYS, len(KEYS)):
                present = key in model.rows()
                assert (cache.lookup_cache(key) is not None) == present, history
                read_by_barcache(cache, model, key, history)
                model.follow_removals()
                assert serial_of(other.get(key)) in model.allowed(key), history
                model.follow_removals()
            model.check_tables()
        statistics = cache.get_cache_statistics()
        [(count, size_bytes)] = model.connection.execute(
            "SELECT count(*), coalesce(sum(size_bytes), 0) FROM cache_entries"
        ).fetchall()
        assert statistics["entry_count"] == len(cache) == count
        assert statistics["total_size_mb"] == size_bytes / 1024 / 1024
        report = cache.check()
        assert report["corrupt_files"] == report["missing_files"] == []
        other.close()
        model.connection.close()
