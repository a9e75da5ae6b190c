"""RustyBT's seven tables as SQLAlchemy objects.

Imports SQLAlchemy: :mod:`barcache.metadata_catalog` imports this module on first use.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def _serial(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=True)


def _required(name: str, kind: Any, *args: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *args, nullable=False, **options)


def _dataset() -> sa.Column[Any]:
    return _required("dataset_id", sa.Integer, sa.ForeignKey("datasets.dataset_id"))


def define_tables() -> sa.MetaData:
    """RustyBT's seven tables: names, columns, indexes and constraints are a contract."""
    metadata = sa.MetaData()
    _define_dataset_tables(metadata)
    _define_cache_tables(metadata)
    return metadata


def _define_dataset_tables(metadata: sa.MetaData) -> None:
    sa.Table(
        "datasets",
        metadata,
        _serial("dataset_id"),
        _required("source", sa.Text),
        _required("resolution", sa.Text),
        _required("schema_version", sa.Integer, default=1),
        _required("created_at", sa.Integer),
        _required("updated_at", sa.Integer),
    )
    sa.Table(
        "symbols",
        metadata,
        _serial("symbol_id"),
        _dataset(),
        _required("symbol", sa.Text),
        sa.Column("asset_type", sa.Text),
        sa.Column("exchange", sa.Text),
        sa.Index("idx_symbols_symbol", "symbol"),
        sa.Index("idx_symbols_dataset", "dataset_id"),
    )
    sa.Table(
        "date_ranges",
        metadata,
        _serial("id"),
        _dataset(),
        _required("start_date", sa.Integer),
        _required("end_date", sa.Integer),
        sa.Index("idx_date_ranges_dataset", "dataset_id"),
        sa.Index("idx_date_ranges_dates", "start_date", "end_date"),
    )
    sa.Table(
        "checksums",
        metadata,
        _serial("id"),
        _dataset(),
        _required("parquet_path", sa.Text),
        _required("checksum", sa.Text),
        _required("last_updated", sa.Integer),
        sa.Index("idx_checksums_dataset", "dataset_id"),
    )


def _define_cache_tables(metadata: sa.MetaData) -> None:
    sa.Table(
        "cache_entries",
        metadata,
        sa.Column("cache_key", sa.Text, primary_key=True),
        _dataset(),
        _required("parquet_path", sa.Text),
        _required("checksum", sa.Text),
        _required("created_at", sa.Integer),
        _required("last_accessed", sa.Integer),
        _required("access_count", sa.Integer, default=1),
        _required("size_bytes", sa.Integer),
        sa.Index("idx_cache_entries_dataset", "dataset_id"),
        sa.Index("idx_cache_entries_accessed", "last_accessed"),
    )
    sa.Table(
        "backtest_cache_links",
        metadata,
        _serial("id"),
        _required("backtest_id", sa.Text),
        _required("cache_key", sa.Text, sa.ForeignKey("cache_entries.cache_key")),
        _required("linked_at", sa.Integer),
        sa.Index("idx_backtest_links_backtest", "backtest_id"),
        sa.Index("idx_backtest_links_cache", "cache_key"),
    )
    sa.Table(
        "cache_statistics",
        metadata,
        _serial("id"),
        _required("stat_date", sa.Integer),
        _required("hit_count", sa.Integer, default=0),
        _required("miss_count", sa.Integer, default=0),
        _required("total_size_mb", sa.Float, default=0.0),
        sa.UniqueConstraint("stat_date", name="unique_stat_date"),
    )
