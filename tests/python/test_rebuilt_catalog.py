"""A catalog that was lost or is damaged: rebuilt by opening, or by `barcache verify --repair`."""

import json
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from barcache import CacheManager
from barcache.errors import CatalogCorrupt, NotACatalog


def bars(number):
    return pl.DataFrame({"price": [float(number), number + 0.5], "symbol": ["A", "B"]})


@pytest.fixture
def filled(make, tmp_path):
    with make() as cache:
        for number in range(4):
            cache.put_cached_data(
                f"key{number}", bars(number), dataset_id=1, backtest_id=f"bt-{number}"
            )
    return tmp_path


def damage(directory):
    path = directory / "metadata.db"
    content = bytearray(path.read_bytes())
    content[:64] = b"\xa5" * 64
    path.write_bytes(content)
    return bytes(content)


def kept(directory):
    return sorted(path.name for path in directory.glob("metadata.db.corrupt-*"))


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "barcache", *arguments], capture_output=True, text=True, check=False
    )


def assert_all_served(cache):
    for number in range(4):
        assert cache.get_cached_data(f"key{number}").equals(bars(number))


@pytest.mark.parametrize("loss", ["damaged", "empty", "missing"])
def test_opening_rebuilds_it_and_says_so(make, filled, events, loss):
    if loss == "damaged":
        damage(filled)
    elif loss == "empty":
        (filled / "metadata.db").write_bytes(b"")
    else:
        (filled / "metadata.db").unlink()
    cache = make()

    (record,) = events.named("catalog_rebuilt")
    assert record.levelname == "WARNING"
    assert_all_served(cache)
    assert cache.backtests("key2") == (["bt-2"] if loss == "damaged" else [])
    assert len(kept(filled)) == (0 if loss == "missing" else 1)
    assert cache.check()["clean"]


def test_what_was_kept_is_named_after_the_moment_in_utc(make, filled, monkeypatch):
    damage(filled)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        make()
    finally:
        monkeypatch.undo()
        time.tzset()
    (name,) = kept(filled)
    kept_at = datetime.strptime(name, "metadata.db.corrupt-%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert timedelta(0) <= datetime.now(UTC) - kept_at < timedelta(minutes=10)


def test_a_read_only_cache_rebuilds_nothing(make, filled):
    before = damage(filled)
    with pytest.raises(NotACatalog, match=r"metadata\.db"):
        make(read_only=True)
    assert (filled / "metadata.db").read_bytes() == before
    assert kept(filled) == []


def test_what_rustybt_shares_is_repaired_when_asked(make, filled):
    with sqlite3.connect(filled / "metadata.db") as connection:
        connection.execute("INSERT INTO symbols VALUES (1, 1, 'AAPL', 'equity', 'XNAS')")
    connection.close()
    make().close()
    before = damage(filled)
    with pytest.raises(CatalogCorrupt, match="verify --repair"):
        make()
    assert (filled / "metadata.db").read_bytes() == before

    done = run("verify", str(filled), "--repair", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["catalog_rebuilt"]
    assert report["clean_after_repair"]
    assert (filled / kept(filled)[0]).read_bytes() == before
    assert_all_served(make())
    again = json.loads(run("verify", str(filled), "--repair", "--json").stdout)
    assert not again["catalog_rebuilt"]


def test_repair_of_a_missing_catalog(filled):
    (filled / "metadata.db").unlink()
    assert run("verify", str(filled)).returncode == 2
    done = run("verify", str(filled), "--repair")
    assert done.returncode == 0, done.stderr
    assert "rebuilt" in done.stderr + done.stdout
    with CacheManager(str(filled / "metadata.db"), str(filled / "cache")) as cache:
        assert_all_served(cache)


def test_doctor_names_what_was_kept(make, filled):
    damage(filled)
    make().close()
    (name,) = kept(filled)
    checks = json.loads(run("doctor", str(filled), "--json").stdout)
    (found,) = [check for check in checks if check["name"] == "damaged catalogs"]
    assert found["found"] == name
    assert found["verdict"] == "note"
