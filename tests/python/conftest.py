"""What the tests of the package share: caches on a folder of the test, and the log as data."""

import logging

import polars as pl
import pytest
from barcache import CacheManager


@pytest.fixture
def make(tmp_path):
    """Opens caches, on one directory unless told otherwise; closes them at the end."""
    opened = []

    def make(db_path=None, cache_directory=None, **options):
        cache = CacheManager(
            str(db_path or tmp_path / "metadata.db"),
            str(cache_directory or tmp_path / "cache"),
            **options,
        )
        opened.append(cache)
        return cache

    yield make
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(make):
    return make()


class EventLog(logging.Handler):
    """The records of barcache's log, as they came."""

    def __init__(self):
        super().__init__(level=logging.DEBUG)
        self.records = []

    def emit(self, record):
        self.records.append(record)

    def named(self, name):
        return [record for record in self.records if record.event == name]

    def names(self):
        return [record.event for record in self.records]


@pytest.fixture
def events():
    logger = logging.getLogger("barcache")
    log = EventLog()
    level = logger.level
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    yield log
    logger.removeHandler(log)
    logger.setLevel(level)


@pytest.fixture
def bars():
    """One frame of a few market-data columns."""
    return pl.DataFrame(
        {
            "symbol": ["AAPL", "AAPL", "MSFT", None],
            "close": [1.5, 2.5, float("nan"), None],
            "volume": [1, 2, 3, None],
        }
    )
