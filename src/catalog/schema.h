// The catalog's schema: RustyBT's seven tables, barcache's own, and how one database becomes the
// other. What each table means: docs/on-disk-format.md.
//
// Thread safety: functions of a connection, as thread-safe as that is.
#pragma once

#include <cstdint>
#include <string>

#include "barcache/status.h"
#include "catalog/sqlite.h"

namespace barcache {

inline constexpr int64_t kCatalogSchemaVersion = 3;

enum class SchemaKind {
  kEmpty,      // No tables at all.
  kAdoptable,  // Tables of RustyBT and none of ours.
  kStale,      // Ours, but older, or with a table, index or trigger missing or altered.
  kCurrent,
};

struct SchemaState {
  SchemaKind kind = SchemaKind::kEmpty;
  int64_t version = 0;            // 0 unless ours.
  std::string catalog_id;         // "" unless ours.
  bool has_cache_tables = false;  // cache_entries, backtest_cache_links and cache_statistics.
};

// Looks only. kNotACatalog: not a SQLite database, tables of another program, a view or virtual
// table where ours belongs, or (unless `read_only`) somebody else's trigger on one of our tables.
// kUnsupportedCatalog: written by a newer release.
Result<SchemaState> InspectSchema(SqliteConnection* connection, bool read_only);

// Makes the schema current, in one transaction of its own (BEGIN IMMEDIATE): creates what is
// missing, adopts existing rows in order of last_accessed, recounts where triggers were missing,
// and brings an older version up to date.
// Returns the state afterwards.
Result<SchemaState> PrepareSchema(SqliteConnection* connection);

// Compares side rows and totals with cache_entries and corrects them. Returns whether anything
// differed. REQUIRES: a write transaction.
Result<bool> RebuildSideRows(SqliteConnection* connection);

}  // namespace barcache
