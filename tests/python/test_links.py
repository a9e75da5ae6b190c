"""Which backtest used what: links of puts and hits, the block `with cache.backtest(...)`."""

import asyncio
import contextvars
import threading
import time

import polars as pl
import pytest


def small():
    return pl.DataFrame({"close": [1.0, 2.0]})


def test_links_answer_both_ways_without_sql(cache):
    cache.put_cached_data("key1", small(), dataset_id=1, backtest_id="bt-1")
    cache.put_cached_data("key2", small(), dataset_id=1)
    cache.get_cached_data("key1", backtest_id="bt-2")
    cache.get_cached_data("key2", backtest_id="bt-2")
    cache.get_cached_data("key2", backtest_id="bt-2")
    cache.get_cached_data("unknown", backtest_id="bt-2")

    assert cache.backtests("key1") == ["bt-1", "bt-2"]
    assert cache.backtests("key2") == ["bt-2"]
    assert cache.backtests("unknown") == []
    assert sorted(cache.entries("bt-2")) == ["key1", "key2"]
    assert cache.entries("bt-1") == ["key1"]
    assert cache.entries("bt-9") == []
    assert cache.entries() == ["key1", "key2"]


def test_links_of_hits_are_in_the_tables_at_once(cache):
    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    cache.put_cached_data("key1", small(), dataset_id=1)
    cache.get_cached_data("key1", backtest_id="bt-2")
    links = cache.metadata_catalog.backtest_cache_links
    with Session(cache.metadata_catalog.engine) as session:
        rows = session.execute(sa.select(links).where(links.c.cache_key == "key1")).fetchall()

    assert [row.backtest_id for row in rows] == ["bt-2"]
    assert abs(rows[0].linked_at - time.time()) < 60


def test_a_backtest_block_links_gets_and_puts_and_ends(cache):
    with cache.backtest("bt-1") as inside:
        assert inside is cache
        cache.put_cached_data("key1", small(), dataset_id=1)
        cache.put_cached_data("key2", small(), dataset_id=1, backtest_id="bt-explicit")
        with cache.backtest("bt-inner"):
            cache.get_cached_data("key1")
        cache.put_cached_data("key3", small(), dataset_id=1)
        cache.get_cached_data("key2", columns=["close"])
        cache.get_cached_data("key3", frame="pandas")
    cache.get_cached_data("key2")
    cache.put_cached_data("key4", small(), dataset_id=1)

    assert cache.backtests("key1") == ["bt-1", "bt-inner"]
    assert cache.backtests("key2") == ["bt-1", "bt-explicit"]
    assert cache.backtests("key3") == ["bt-1"]
    assert cache.backtests("key4") == []


def test_a_backtest_block_that_raises_ends_too(cache):
    cache.put_cached_data("key1", small(), dataset_id=1)
    with pytest.raises(RuntimeError), cache.backtest("bt-1"):
        raise RuntimeError
    cache.get_cached_data("key1")

    assert cache.backtests("key1") == []


def test_a_backtest_block_binds_its_own_thread_only(cache):
    for name in ("a", "b", "c"):
        cache.put_cached_data(name, small(), dataset_id=1)
    both_inside = threading.Barrier(3)

    def run(name):
        with cache.backtest(f"bt-{name}"):
            both_inside.wait(30)
            cache.get_cached_data(name)
            both_inside.wait(30)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    both_inside.wait(30)
    cache.get_cached_data("c")  # Outside of any block, while two are open elsewhere.
    both_inside.wait(30)
    for thread in threads:
        thread.join()

    assert {name: cache.backtests(name) for name in "abc"} == {
        "a": ["bt-a"],
        "b": ["bt-b"],
        "c": [],
    }


def test_a_backtest_block_follows_its_task_through_awaits_and_threads(cache):
    for name in ("a", "b"):
        for place in ("task", "worker"):
            cache.put_cached_data(f"{name}-{place}", small(), dataset_id=1)

    async def run(name, mine, other):
        with cache.backtest(f"bt-{name}"):
            mine.set()
            await other.wait()  # Both tasks are inside their blocks.
            cache.get_cached_data(f"{name}-task")
            # to_thread takes the context along.
            await asyncio.to_thread(cache.get_cached_data, f"{name}-worker")

    async def both():
        first, second = asyncio.Event(), asyncio.Event()
        await asyncio.gather(run("a", first, second), run("b", second, first))

    asyncio.run(both())
    for name in ("a", "b"):
        assert sorted(cache.entries(f"bt-{name}")) == [f"{name}-task", f"{name}-worker"]


def test_a_backtest_block_may_be_carried_to_a_thread_by_its_context(cache):
    cache.put_cached_data("key1", small(), dataset_id=1)
    with cache.backtest("bt-1"):
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(cache.get_cached_data, "key1"))
        thread.start()
        thread.join()

    assert cache.backtests("key1") == ["bt-1"]


def test_a_backtest_block_belongs_to_its_cache(make, tmp_path):
    cache = make()
    other = make(tmp_path / "other.db", tmp_path / "other")
    with cache.backtest("bt-1"), other.backtest("bt-other"):
        cache.put_cached_data("key1", small(), dataset_id=1)
        other.put_cached_data("key1", small(), dataset_id=1)

    assert cache.backtests("key1") == ["bt-1"]
    assert other.backtests("key1") == ["bt-other"]


def test_clearing_a_backtest_removes_what_is_linked_to_it(cache):
    for key in ("mine", "shared", "theirs"):
        cache.put_cached_data(key, small(), dataset_id=1)
    for key, backtest in [
        ("mine", "bt-1"),
        ("shared", "bt-1"),
        ("shared", "bt-2"),
        ("theirs", "bt-2"),
    ]:
        cache.get_cached_data(key, backtest_id=backtest)
    cache.clear_cache(backtest_id="bt-1", keep_shared=True)
    assert cache.entries() == ["shared", "theirs"]
    assert cache.get_cached_data("mine") is None
    assert cache.backtests("shared") == ["bt-2"]  # The cleared backtest uses it no more.
    cache.clear_cache(backtest_id="bt-2")
    assert cache.entries() == []
    assert cache.get_cached_data("shared") is None
    cache.clear_cache(backtest_id="unknown")


def test_put_with_an_empty_backtest_links_nothing(cache):
    """As in RustyBT, whose callers pass "" for none."""
    cache.put_cached_data("key1", small(), dataset_id=1, backtest_id="")

    assert cache.backtests("key1") == []
