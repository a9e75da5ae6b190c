// The schema as text. See schema_sql.h; every object is explained in docs/on-disk-format.md.
#include "catalog/schema_sql.h"

namespace barcache {

namespace {

constexpr SchemaObject kRustyBtSchema[] = {
    {"table", "datasets",
     "CREATE TABLE datasets (\n\tdataset_id INTEGER NOT NULL, \n\tsource TEXT NOT NULL, "
     "\n\tresolution TEXT NOT NULL, \n\tschema_version INTEGER NOT NULL, \n\tcreated_at INTEGER "
     "NOT NULL, \n\tupdated_at INTEGER NOT NULL, \n\tPRIMARY KEY (dataset_id)\n)"},
    {"table", "cache_statistics",
     "CREATE TABLE cache_statistics (\n\tid INTEGER NOT NULL, \n\tstat_date INTEGER NOT NULL, "
     "\n\thit_count INTEGER NOT NULL, \n\tmiss_count INTEGER NOT NULL, \n\ttotal_size_mb FLOAT NOT "
     "NULL, \n\tPRIMARY KEY (id), \n\tCONSTRAINT unique_stat_date UNIQUE (stat_date)\n)"},
    {"table", "symbols",
     "CREATE TABLE symbols (\n\tsymbol_id INTEGER NOT NULL, \n\tdataset_id INTEGER NOT NULL, "
     "\n\tsymbol TEXT NOT NULL, \n\tasset_type TEXT, \n\texchange TEXT, \n\tPRIMARY KEY "
     "(symbol_id), \n\tFOREIGN KEY(dataset_id) REFERENCES datasets (dataset_id)\n)"},
    {"index", "idx_symbols_dataset", "CREATE INDEX idx_symbols_dataset ON symbols (dataset_id)"},
    {"index", "idx_symbols_symbol", "CREATE INDEX idx_symbols_symbol ON symbols (symbol)"},
    {"table", "date_ranges",
     "CREATE TABLE date_ranges (\n\tid INTEGER NOT NULL, \n\tdataset_id INTEGER NOT NULL, "
     "\n\tstart_date INTEGER NOT NULL, \n\tend_date INTEGER NOT NULL, \n\tPRIMARY KEY (id), "
     "\n\tFOREIGN KEY(dataset_id) REFERENCES datasets (dataset_id)\n)"},
    {"index", "idx_date_ranges_dates",
     "CREATE INDEX idx_date_ranges_dates ON date_ranges (start_date, end_date)"},
    {"index", "idx_date_ranges_dataset",
     "CREATE INDEX idx_date_ranges_dataset ON date_ranges (dataset_id)"},
    {"table", "checksums",
     "CREATE TABLE checksums (\n\tid INTEGER NOT NULL, \n\tdataset_id INTEGER NOT NULL, "
     "\n\tparquet_path TEXT NOT NULL, \n\tchecksum TEXT NOT NULL, \n\tlast_updated INTEGER NOT "
     "NULL, \n\tPRIMARY KEY (id), \n\tFOREIGN KEY(dataset_id) REFERENCES datasets "
     "(dataset_id)\n)"},
    {"index", "idx_checksums_dataset",
     "CREATE INDEX idx_checksums_dataset ON checksums (dataset_id)"},
    {"table", "cache_entries",
     "CREATE TABLE cache_entries (\n\tcache_key TEXT NOT NULL, \n\tdataset_id INTEGER NOT NULL, "
     "\n\tparquet_path TEXT NOT NULL, \n\tchecksum TEXT NOT NULL, \n\tcreated_at INTEGER NOT NULL, "
     "\n\tlast_accessed INTEGER NOT NULL, \n\taccess_count INTEGER NOT NULL, \n\tsize_bytes "
     "INTEGER NOT NULL, \n\tPRIMARY KEY (cache_key), \n\tFOREIGN KEY(dataset_id) REFERENCES "
     "datasets (dataset_id)\n)"},
    {"index", "idx_cache_entries_dataset",
     "CREATE INDEX idx_cache_entries_dataset ON cache_entries (dataset_id)"},
    {"index", "idx_cache_entries_accessed",
     "CREATE INDEX idx_cache_entries_accessed ON cache_entries (last_accessed)"},
    {"table", "backtest_cache_links",
     "CREATE TABLE backtest_cache_links (\n\tid INTEGER NOT NULL, \n\tbacktest_id TEXT NOT NULL, "
     "\n\tcache_key TEXT NOT NULL, \n\tlinked_at INTEGER NOT NULL, \n\tPRIMARY KEY (id), "
     "\n\tFOREIGN KEY(cache_key) REFERENCES cache_entries (cache_key)\n)"},
    {"index", "idx_backtest_links_cache",
     "CREATE INDEX idx_backtest_links_cache ON backtest_cache_links (cache_key)"},
    {"index", "idx_backtest_links_backtest",
     "CREATE INDEX idx_backtest_links_backtest ON backtest_cache_links (backtest_id)"},
};

constexpr SchemaTable kRustyBtTables[] = {
    {"datasets", "dataset_id,source,resolution,schema_version,created_at,updated_at"},
    {"symbols", "symbol_id,dataset_id,symbol,asset_type,exchange"},
    {"date_ranges", "id,dataset_id,start_date,end_date"},
    {"checksums", "id,dataset_id,parquet_path,checksum,last_updated"},
    {"cache_entries",
     "cache_key,dataset_id,parquet_path,checksum,created_at,last_accessed,access_count,size_bytes"},
    {"backtest_cache_links", "id,backtest_id,cache_key,linked_at"},
    {"cache_statistics", "id,stat_date,hit_count,miss_count,total_size_mb"},
};

// The side row says the same as the new row, and is the most recently used.
#define BARCACHE_UNLESS_MIRRORED_ \
  "WHEN NOT EXISTS (SELECT 1 FROM barcache_entries s, barcache_totals t WHERE t.id = 1\n" \
  "  AND s.cache_key = NEW.cache_key AND s.use_order = t.next_use - 1\n"                  \
  "  AND s.checksum = NEW.checksum\n"                                                     \
  "  AND s.size_bytes = " BARCACHE_SQL_FIGURE("NEW.size_bytes") "\n"                      \
  "  AND s.access_count = " BARCACHE_SQL_FIGURE("NEW.access_count") ")"

constexpr SchemaObject kBarcacheSchema[] = {
    {"table", "barcache_meta",
     "CREATE TABLE barcache_meta (\n"
     "  name TEXT NOT NULL PRIMARY KEY,\n"
     "  value TEXT NOT NULL\n"
     ") WITHOUT ROWID"},
    {"table", "barcache_totals",
     "CREATE TABLE barcache_totals (\n"
     "  id INTEGER NOT NULL PRIMARY KEY,\n"
     "  entry_count INTEGER NOT NULL,\n"
     "  size_bytes INTEGER NOT NULL,\n"
     "  access_count INTEGER NOT NULL,\n"
     "  next_use INTEGER NOT NULL,\n"
     "  old_count INTEGER NOT NULL,\n"
     "  old_boundary INTEGER NOT NULL,\n"
     "  foreign_changes INTEGER NOT NULL,\n"
     "  inflation REAL NOT NULL DEFAULT 0.0,\n"
     "  ranked_use INTEGER NOT NULL DEFAULT 0,\n"
     "  queued_use INTEGER NOT NULL DEFAULT 0,\n"
     "  next_place INTEGER NOT NULL DEFAULT 1,\n"
     "  main_size_bytes INTEGER NOT NULL DEFAULT 0,\n"
     "  ghost_size_bytes INTEGER NOT NULL DEFAULT 0,\n"
     "  pinned_count INTEGER NOT NULL DEFAULT 0,\n"
     "  pinned_size_bytes INTEGER NOT NULL DEFAULT 0\n"
     ")"},
    // The row's number is its order of use: the table itself is the least-recently-used order. That
    // of a pinned entry is negative, and so out of the way of whoever looks for a victim.
    {"table", "barcache_entries",
     "CREATE TABLE barcache_entries (\n"
     "  use_order INTEGER NOT NULL PRIMARY KEY,\n"
     "  cache_key TEXT NOT NULL UNIQUE,\n"
     "  checksum TEXT NOT NULL,\n"
     "  generation INTEGER NOT NULL DEFAULT 0,\n"
     "  size_bytes INTEGER NOT NULL,\n"
     "  access_count INTEGER NOT NULL,\n"
     "  is_old INTEGER NOT NULL DEFAULT 0,\n"
     "  request_json TEXT NOT NULL DEFAULT '',\n"
     "  fetch_cost REAL NOT NULL DEFAULT 1.0,\n"
     "  priority REAL,\n"
     "  queue INTEGER,\n"
     "  place INTEGER,\n"
     "  counted_uses INTEGER\n"
     ")"},
    {"index", "barcache_entries_size",
     "CREATE INDEX barcache_entries_size ON barcache_entries (size_bytes DESC) WHERE use_order > "
     "0"},
    {"index", "barcache_entries_old",
     "CREATE INDEX barcache_entries_old ON barcache_entries (size_bytes DESC) WHERE is_old = 1"},
    // Rows that no such policy has ranked are in neither: the other policies pay nothing.
    {"index", "barcache_entries_priority",
     "CREATE INDEX barcache_entries_priority ON barcache_entries (priority)"
     " WHERE priority IS NOT NULL"},
    {"index", "barcache_entries_queue",
     "CREATE INDEX barcache_entries_queue ON barcache_entries (queue, place)"
     " WHERE queue IS NOT NULL"},
    {"table", "barcache_ghosts",
     "CREATE TABLE barcache_ghosts (\n"
     "  place INTEGER NOT NULL PRIMARY KEY,\n"
     "  cache_key TEXT NOT NULL UNIQUE,\n"
     "  size_bytes INTEGER NOT NULL\n"
     ")"},
    {"table", "barcache_leases",
     "CREATE TABLE barcache_leases (\n"
     "  name TEXT NOT NULL,\n"
     "  token TEXT NOT NULL,\n"
     "  machine TEXT NOT NULL,\n"
     "  pid INTEGER NOT NULL,\n"
     "  start_ticks INTEGER NOT NULL,\n"
     "  expires_ns INTEGER NOT NULL,\n"
     "  error_type TEXT,\n"
     "  error_message TEXT NOT NULL DEFAULT '',\n"
     "  PRIMARY KEY (name, token)\n"
     ") WITHOUT ROWID"},
    {"index", "barcache_links_pair",
     "CREATE INDEX barcache_links_pair ON backtest_cache_links (cache_key, backtest_id, "
     "linked_at)"},
    {"table", "barcache_series",
     "CREATE TABLE barcache_series (\n"
     "  series_key TEXT NOT NULL PRIMARY KEY,\n"
     "  source TEXT NOT NULL,\n"
     "  resolution TEXT NOT NULL,\n"
     "  adjustment TEXT NOT NULL,\n"
     "  symbol TEXT NOT NULL,\n"
     "  schema_text TEXT NOT NULL\n"
     ") WITHOUT ROWID"},
    {"table", "barcache_coverage",
     "CREATE TABLE barcache_coverage (\n"
     "  series_key TEXT NOT NULL,\n"
     "  begin_ns INTEGER NOT NULL,\n"
     "  end_ns INTEGER NOT NULL,\n"
     "  state INTEGER NOT NULL,\n"
     "  segment_key TEXT NOT NULL,\n"
     "  asked_at INTEGER NOT NULL,\n"
     "  expires_at INTEGER,\n"
     "  PRIMARY KEY (series_key, begin_ns)\n"
     ") WITHOUT ROWID"},
    {"index", "barcache_coverage_segment",
     "CREATE INDEX barcache_coverage_segment ON barcache_coverage (segment_key)"
     " WHERE segment_key <> ''"},
    // A segment that left, or was put in the place of another, no longer covers anything.
    {"trigger", "barcache_segment_added",
     "CREATE TRIGGER barcache_segment_added AFTER INSERT ON cache_entries BEGIN\n"
     "  UPDATE barcache_coverage SET state = 2\n"
     "  WHERE segment_key <> '' AND segment_key = NEW.cache_key AND state = 1;\n"
     "END"},
    {"trigger", "barcache_segment_changed",
     "CREATE TRIGGER barcache_segment_changed\n"
     "AFTER UPDATE OF cache_key, checksum ON cache_entries\n"
     "WHEN OLD.cache_key IS NOT NEW.cache_key OR OLD.checksum IS NOT NEW.checksum BEGIN\n"
     "  UPDATE barcache_coverage SET state = 2\n"
     "  WHERE segment_key <> '' AND segment_key IN (OLD.cache_key, NEW.cache_key) AND state = 1;\n"
     "END"},
    {"trigger", "barcache_segment_removed",
     "CREATE TRIGGER barcache_segment_removed AFTER DELETE ON cache_entries BEGIN\n"
     "  UPDATE barcache_coverage SET state = 2\n"
     "  WHERE segment_key <> '' AND segment_key = OLD.cache_key AND state = 1;\n"
     "END"},
    // A writer of ours has written the side row already; for everybody else a trigger does.
    // INSERT OR REPLACE removes a row without running delete triggers: the old side row goes here.
    {"trigger", "barcache_entry_added",
     "CREATE TRIGGER barcache_entry_added AFTER INSERT ON cache_entries\n" BARCACHE_UNLESS_MIRRORED_
     " BEGIN\n"
     "  DELETE FROM barcache_entries WHERE cache_key = NEW.cache_key;\n"
     "  INSERT INTO barcache_entries (use_order, cache_key, checksum, size_bytes, access_count)\n"
     "    SELECT next_use, NEW.cache_key, NEW.checksum,\n"
     "      " BARCACHE_SQL_FIGURE(
         "NEW.size_bytes") ",\n"
                           "      " BARCACHE_SQL_FIGURE(
                               "NEW.access_count") "\n"
                                                   "    FROM barcache_totals WHERE id = 1;\n"
                                                   "END"},
    {"trigger", "barcache_entry_changed",
     "CREATE TRIGGER barcache_entry_changed AFTER UPDATE ON "
     "cache_entries\n" BARCACHE_UNLESS_MIRRORED_ " BEGIN\n"
     "  UPDATE barcache_entries SET\n"
     "    use_order = CASE WHEN use_order < 0 THEN use_order\n"
     "      ELSE (SELECT next_use FROM barcache_totals WHERE id = 1) END,\n"
     "    cache_key = NEW.cache_key,\n"
     "    generation = CASE WHEN checksum IS NEW.checksum THEN generation ELSE 0 END,\n"
     "    checksum = NEW.checksum,\n"
     "    size_bytes = " BARCACHE_SQL_FIGURE(
         "NEW.size_bytes") ",\n"
                           "    access_count = " BARCACHE_SQL_FIGURE(
                               "NEW.access_count") ",\n"
                                                   "    is_old = 0\n"
                                                   "  WHERE cache_key = OLD.cache_key;\n"
                                                   "END"},
    {"trigger", "barcache_entry_renamed",
     "CREATE TRIGGER barcache_entry_renamed AFTER UPDATE OF cache_key ON cache_entries\n"
     "WHEN OLD.cache_key IS NOT NEW.cache_key BEGIN\n"
     "  DELETE FROM backtest_cache_links WHERE cache_key = OLD.cache_key;\n"
     "END"},
    {"trigger", "barcache_entry_removed",
     "CREATE TRIGGER barcache_entry_removed AFTER DELETE ON cache_entries BEGIN\n"
     "  DELETE FROM backtest_cache_links WHERE cache_key = OLD.cache_key;\n"
     "  DELETE FROM barcache_entries WHERE cache_key = OLD.cache_key;\n"
     "END"},
    {"trigger", "barcache_side_added",
     "CREATE TRIGGER barcache_side_added AFTER INSERT ON barcache_entries BEGIN\n"
     "  UPDATE barcache_totals SET\n"
     "    entry_count = entry_count + 1,\n"
     "    size_bytes = size_bytes + NEW.size_bytes,\n"
     "    access_count = access_count + NEW.access_count,\n"
     "    next_use = max(next_use, abs(NEW.use_order) + 1),\n"
     "    old_count = old_count + NEW.is_old,\n"
     "    pinned_count = pinned_count + (NEW.use_order < 0),\n"
     "    pinned_size_bytes = pinned_size_bytes + NEW.size_bytes * (NEW.use_order < 0),\n"
     "    foreign_changes = foreign_changes + 1\n"
     "  WHERE id = 1;\n"
     "END"},
    {"trigger", "barcache_side_changed",
     "CREATE TRIGGER barcache_side_changed\n"
     "AFTER UPDATE OF use_order, size_bytes, access_count, is_old, queue ON barcache_entries "
     "BEGIN\n"
     "  UPDATE barcache_totals SET\n"
     "    size_bytes = size_bytes - OLD.size_bytes + NEW.size_bytes,\n"
     "    access_count = access_count - OLD.access_count + NEW.access_count,\n"
     "    next_use = max(next_use, abs(NEW.use_order) + 1),\n"
     "    old_count = old_count - OLD.is_old + NEW.is_old,\n"
     "    pinned_count = pinned_count - (OLD.use_order < 0) + (NEW.use_order < 0),\n"
     "    pinned_size_bytes = pinned_size_bytes - OLD.size_bytes * (OLD.use_order < 0)\n"
     "      + NEW.size_bytes * (NEW.use_order < 0),\n"
     "    main_size_bytes = main_size_bytes - OLD.size_bytes * (OLD.queue IS 1)\n"
     "      + NEW.size_bytes * (NEW.queue IS 1),\n"
     "    foreign_changes = foreign_changes + 1\n"
     "  WHERE id = 1;\n"
     "END"},
    {"trigger", "barcache_side_removed",
     "CREATE TRIGGER barcache_side_removed AFTER DELETE ON barcache_entries BEGIN\n"
     "  UPDATE barcache_totals SET\n"
     "    entry_count = entry_count - 1,\n"
     "    size_bytes = size_bytes - OLD.size_bytes,\n"
     "    access_count = access_count - OLD.access_count,\n"
     "    old_count = old_count - OLD.is_old,\n"
     "    pinned_count = pinned_count - (OLD.use_order < 0),\n"
     "    pinned_size_bytes = pinned_size_bytes - OLD.size_bytes * (OLD.use_order < 0),\n"
     "    main_size_bytes = main_size_bytes - OLD.size_bytes * (OLD.queue IS 1),\n"
     "    foreign_changes = foreign_changes + 1\n"
     "  WHERE id = 1;\n"
     "END"},
    {"trigger", "barcache_ghost_added",
     "CREATE TRIGGER barcache_ghost_added AFTER INSERT ON barcache_ghosts BEGIN\n"
     "  UPDATE barcache_totals SET ghost_size_bytes = ghost_size_bytes + NEW.size_bytes\n"
     "  WHERE id = 1;\n"
     "END"},
    {"trigger", "barcache_ghost_removed",
     "CREATE TRIGGER barcache_ghost_removed AFTER DELETE ON barcache_ghosts BEGIN\n"
     "  UPDATE barcache_totals SET ghost_size_bytes = ghost_size_bytes - OLD.size_bytes\n"
     "  WHERE id = 1;\n"
     "END"},
};

#undef BARCACHE_UNLESS_MIRRORED_

}  // namespace

std::span<const SchemaObject> RustyBtSchema() { return kRustyBtSchema; }
std::span<const SchemaTable> RustyBtTables() { return kRustyBtTables; }
std::span<const SchemaObject> BarcacheSchema() { return kBarcacheSchema; }

}  // namespace barcache
