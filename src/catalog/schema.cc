// Recognising, creating and adopting a catalog. See schema.h.
#include "catalog/schema.h"

#include <algorithm>
#include <vector>

#include "base/failpoint.h"
#include "base/file_system.h"
#include "catalog/schema_sql.h"

namespace barcache {

namespace {

struct StoredObject {
  std::string type;
  std::string name;
  std::string table;
  std::string sql;
};

Status NotACatalog(const SqliteConnection& connection, const std::string& why) {
  return Status(ErrorCode::kNotACatalog, "catalog " + connection.name() + ": " + why);
}

Result<std::vector<StoredObject>> ReadObjects(SqliteConnection* connection) {
  BARCACHE_ASSIGN_OR_RETURN(
      SqliteStatement statement,
      connection->Prepare("SELECT type, name, tbl_name, sql FROM sqlite_master"));
  std::vector<StoredObject> objects;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return objects;
    objects.push_back({std::string(statement.Text(0)), std::string(statement.Text(1)),
                       std::string(statement.Text(2)), std::string(statement.Text(3))});
  }
}

const StoredObject* FindObject(const std::vector<StoredObject>& objects, std::string_view name) {
  const auto found = std::find_if(objects.begin(), objects.end(),
                                  [&](const StoredObject& o) { return o.name == name; });
  return found == objects.end() ? nullptr : &*found;
}

bool IsOurTable(std::string_view name) {
  const auto named = [&](const auto& object) { return object.name == name; };
  return std::ranges::any_of(RustyBtTables(), named) ||
         std::ranges::any_of(BarcacheSchema(), named);
}

// An ordinary table with at least the expected columns, none of them generated.
Status CheckTable(SqliteConnection* connection, const StoredObject& object,
                  std::string_view columns) {
  if (object.type != "table" || object.sql.starts_with("CREATE VIRTUAL")) {
    return NotACatalog(*connection, object.name +
                                        " is not an ordinary table; this database "
                                        "belongs to another program: choose another "
                                        "db_path");
  }
  BARCACHE_ASSIGN_OR_RETURN(
      SqliteStatement statement,
      connection->Prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0"));
  statement.Bind(1, std::string_view(object.name));
  std::vector<std::string> present;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) break;
    present.emplace_back(statement.Text(0));
  }
  while (!columns.empty()) {
    const size_t comma = std::min(columns.find(','), columns.size());
    const std::string_view column = columns.substr(0, comma);
    columns.remove_prefix(std::min(comma + 1, columns.size()));
    if (std::ranges::find(present, column) == present.end()) {
      return NotACatalog(*connection, "table " + object.name + " has no column " +
                                          std::string(column) +
                                          "; this database belongs to another program: choose "
                                          "another db_path");
    }
  }
  return Status();
}

// A trigger of somebody else would run inside our transactions.
Status RefuseForeignTriggers(const SqliteConnection& connection,
                             const std::vector<StoredObject>& objects) {
  for (const StoredObject& object : objects) {
    if (object.type != "trigger" || !IsOurTable(object.table)) continue;
    const bool ours = std::ranges::any_of(
        BarcacheSchema(), [&](const SchemaObject& o) { return o.name == object.name; });
    if (!ours) {
      return NotACatalog(connection, "trigger " + object.name + " on " + object.table +
                                         " was not made by barcache; drop it, or choose another "
                                         "db_path");
    }
  }
  return Status();
}

Result<std::string> ReadMeta(SqliteConnection* connection, std::string_view name) {
  BARCACHE_ASSIGN_OR_RETURN(SqliteStatement statement,
                            connection->Prepare("SELECT value FROM barcache_meta WHERE name = ?1"));
  statement.Bind(1, name);
  BARCACHE_ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? statement.TextOr(0, "") : std::string();
}

Status WriteMeta(SqliteConnection* connection, std::string_view name, std::string_view value) {
  BARCACHE_ASSIGN_OR_RETURN(
      SqliteStatement statement,
      connection->Prepare("INSERT INTO barcache_meta (name, value) VALUES (?1, ?2)"
                          " ON CONFLICT (name) DO UPDATE SET value = excluded.value"));
  statement.Bind(1, name).Bind(2, value);
  return statement.Run();
}

bool IsCatalogId(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool Matches(const std::vector<StoredObject>& objects, const SchemaObject& expected) {
  const StoredObject* stored = FindObject(objects, expected.name);
  return stored != nullptr && stored->type == expected.type && stored->sql == expected.sql;
}

bool Exists(const std::vector<StoredObject>& objects, const SchemaObject& expected) {
  return FindObject(objects, expected.name) != nullptr;
}

Status CheckVersion(SqliteConnection* connection) {
  BARCACHE_ASSIGN_OR_RETURN(const std::string text, ReadMeta(connection, "schema_version"));
  const bool number = !text.empty() && text.size() < 10 &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  if (!number) {
    return Status(ErrorCode::kCatalogCorrupt,
                  "catalog " + connection->name() + ": its schema version '" + text +
                      "' is not a number; restore the catalog or choose another db_path");
  }
  if (std::stoll(text) > kCatalogSchemaVersion) {
    return Status(ErrorCode::kUnsupportedCatalog,
                  "catalog " + connection->name() + ": written by a newer barcache (schema " +
                      text + ", this release knows up to " + std::to_string(kCatalogSchemaVersion) +
                      "); upgrade barcache or choose another db_path");
  }
  return Status();
}

// The kind of a database that has barcache_meta.
Result<SchemaState> InspectOurs(SqliteConnection* connection,
                                const std::vector<StoredObject>& objects, SchemaState state) {
  BARCACHE_RETURN_IF_ERROR(
      CheckTable(connection, *FindObject(objects, "barcache_meta"), "name,value"));
  BARCACHE_RETURN_IF_ERROR(CheckVersion(connection));
  BARCACHE_ASSIGN_OR_RETURN(state.catalog_id, ReadMeta(connection, "catalog_id"));
  BARCACHE_ASSIGN_OR_RETURN(const std::string version, ReadMeta(connection, "schema_version"));
  state.version = std::stoll(version);  // CheckVersion: a number.
  bool current = IsCatalogId(state.catalog_id) && state.version == kCatalogSchemaVersion;
  for (const SchemaObject& expected : BarcacheSchema()) {
    current = current && Matches(objects, expected);
  }
  for (const SchemaObject& expected : RustyBtSchema()) {
    current = current && Exists(objects, expected);
  }
  state.kind = current ? SchemaKind::kCurrent : SchemaKind::kStale;
  return state;
}

Status CreateMissing(SqliteConnection* connection, const std::vector<StoredObject>& objects,
                     std::span<const SchemaObject> wanted) {
  for (const SchemaObject& object : wanted) {
    if (!Exists(objects, object)) BARCACHE_RETURN_IF_ERROR(connection->Execute(object.sql));
  }
  return Status();
}

// Drops what of ours was altered, dependants first, so that CreateMissing makes it anew. A side
// table that was altered is rebuilt from cache_entries: what only it knew is lost, and its
// entries count as another program's.
Status DropAltered(SqliteConnection* connection, std::vector<StoredObject>* objects) {
  const auto schema = BarcacheSchema();
  for (auto expected = schema.rbegin(); expected != schema.rend(); ++expected) {
    if (expected->name == "barcache_meta" || Matches(*objects, *expected)) continue;
    const StoredObject* stored = FindObject(*objects, expected->name);
    if (stored == nullptr) continue;
    BARCACHE_RETURN_IF_ERROR(connection->Execute("DROP " + stored->type + " " + stored->name));
  }
  BARCACHE_ASSIGN_OR_RETURN(*objects, ReadObjects(connection));
  return Status();
}

// Side rows and totals of an older version move into the newest tables; indexes and triggers go
// with the old tables and are made anew. Version 1 had no orders of its own for gdsf and s3fifo,
// version 2 no pins.
Status MigrateFrom(int64_t version, SqliteConnection* connection) {
  std::string totals_columns =
      "id,entry_count,size_bytes,access_count,next_use,old_count,old_boundary,foreign_changes";
  std::string entries_columns =
      "use_order,cache_key,checksum,generation,size_bytes,access_count,is_old,request_json";
  if (version == 2) {
    totals_columns +=
        ",inflation,ranked_use,queued_use,next_place,main_size_bytes,ghost_size_bytes";
    entries_columns += ",fetch_cost,priority,queue,place,counted_uses";
  }
  const std::pair<std::string_view, std::string> kept[] = {
      {"barcache_totals", totals_columns},
      {"barcache_entries", entries_columns},
  };
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<StoredObject> objects, ReadObjects(connection));
  for (const StoredObject& object : objects) {
    const bool ours = object.type == "trigger" && object.name.starts_with("barcache_");
    if (ours) BARCACHE_RETURN_IF_ERROR(connection->Execute("DROP TRIGGER " + object.name));
  }
  for (const auto& [name, list] : kept) {
    const StoredObject* old = FindObject(objects, name);
    // One that was altered is made anew by whoever called.
    if (old == nullptr || !CheckTable(connection, *old, list).ok()) continue;
    const std::string table(name);
    const SchemaObject& wanted = *std::ranges::find(BarcacheSchema(), name, &SchemaObject::name);
    BARCACHE_RETURN_IF_ERROR(connection->Execute(
        "CREATE TEMP TABLE barcache_moved AS SELECT " + list + " FROM main." + table +
        "; DROP TABLE main." + table + "; " + std::string(wanted.sql) +
        "; INSERT OR IGNORE INTO main." + table + " (" + list + ") SELECT " + list +
        " FROM temp.barcache_moved" + "; DROP TABLE temp.barcache_moved"));
  }
  return Status();
}

Status PrepareInTransaction(SqliteConnection* connection) {
  BARCACHE_ASSIGN_OR_RETURN(const SchemaState before, InspectSchema(connection, false));
  if (before.kind == SchemaKind::kCurrent) return Status();
  BARCACHE_ASSIGN_OR_RETURN(std::vector<StoredObject> objects, ReadObjects(connection));
  if (before.version == 1 || before.version == 2) {
    BARCACHE_RETURN_IF_ERROR(MigrateFrom(before.version, connection));
    BARCACHE_ASSIGN_OR_RETURN(objects, ReadObjects(connection));
  }
  BARCACHE_RETURN_IF_ERROR(CreateMissing(connection, objects, RustyBtSchema()));
  BARCACHE_RETURN_IF_ERROR(DropAltered(connection, &objects));
  BARCACHE_RETURN_IF_ERROR(CreateMissing(connection, objects, BarcacheSchema()));
  BARCACHE_ASSIGN_OR_RETURN(const bool differed, RebuildSideRows(connection));
  static_cast<void>(differed);
  if (!IsCatalogId(before.catalog_id)) {
    BARCACHE_RETURN_IF_ERROR(WriteMeta(connection, "catalog_id", RandomHex32()));
  }
  return WriteMeta(connection, "schema_version", std::to_string(kCatalogSchemaVersion));
}

Result<bool> RunCounting(SqliteConnection* connection, std::string_view sql) {
  BARCACHE_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(sql));
  BARCACHE_RETURN_IF_ERROR(statement.Run());
  return connection->changes() > 0;
}

Result<int64_t> ReadNumber(SqliteConnection* connection, std::string_view sql) {
  BARCACHE_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare(sql));
  BARCACHE_ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? statement.Int64(0) : 0;
}

// Corrects what the totals say of the side rows. Returns whether they differed.
Result<bool> RecountTotals(SqliteConnection* connection) {
  return RunCounting(
      connection,
      "WITH real AS (SELECT count(*) AS n, ifnull(sum(size_bytes), 0) AS bytes,"
      " ifnull(sum(access_count), 0) AS uses, ifnull(sum(is_old), 0) AS old,"
      " max(ifnull(max(use_order), 0), -ifnull(min(use_order), 0)) AS last,"
      " ifnull(sum(use_order < 0), 0) AS pins,"
      " ifnull(sum(size_bytes * (use_order < 0)), 0) AS pinned FROM barcache_entries)"
      " UPDATE barcache_totals SET (entry_count, size_bytes, access_count, old_count, next_use,"
      " pinned_count, pinned_size_bytes) = (SELECT n, bytes, uses, old,"
      " max(barcache_totals.next_use, last + 1), pins, pinned FROM real)"
      " WHERE id = 1 AND EXISTS (SELECT 1 FROM real WHERE n IS NOT entry_count"
      " OR bytes IS NOT size_bytes OR uses IS NOT access_count OR old IS NOT old_count"
      " OR pins IS NOT pinned_count OR pinned IS NOT pinned_size_bytes"
      " OR typeof(next_use) <> 'integer' OR last >= next_use)");
}

}  // namespace

Result<SchemaState> InspectSchema(SqliteConnection* connection, bool read_only) {
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<StoredObject> objects, ReadObjects(connection));
  SchemaState state;
  bool any_of_rustybt = false;
  for (const SchemaTable& table : RustyBtTables()) {
    const StoredObject* stored = FindObject(objects, table.name);
    if (stored == nullptr) continue;
    BARCACHE_RETURN_IF_ERROR(CheckTable(connection, *stored, table.columns));
    any_of_rustybt = true;
  }
  if (!read_only && !Mutant("foreign_triggers")) {
    BARCACHE_RETURN_IF_ERROR(RefuseForeignTriggers(*connection, objects));
  }
  const auto has = [&](std::string_view name) { return FindObject(objects, name) != nullptr; };
  state.has_cache_tables =
      has("cache_entries") && has("backtest_cache_links") && has("cache_statistics");
  if (has("barcache_meta")) return InspectOurs(connection, objects, std::move(state));
  const bool any_table = std::ranges::any_of(
      objects, [](const StoredObject& o) { return !o.name.starts_with("sqlite_"); });
  if (any_table && !any_of_rustybt) {
    return NotACatalog(*connection, "it holds tables of another program (" + objects.front().name +
                                        ", ...) and none of a cache: choose another db_path");
  }
  state.kind = any_of_rustybt ? SchemaKind::kAdoptable : SchemaKind::kEmpty;
  return state;
}

Result<SchemaState> PrepareSchema(SqliteConnection* connection) {
  BARCACHE_RETURN_IF_ERROR(connection->Execute("BEGIN IMMEDIATE"));
  Status status = PrepareInTransaction(connection);
  if (status.ok()) status = connection->Execute("COMMIT");
  if (!status.ok()) {
    static_cast<void>(connection->Execute("ROLLBACK"));
    return status;
  }
  return InspectSchema(connection, false);
}

Result<bool> RebuildSideRows(SqliteConnection* connection) {
  static constexpr std::string_view kSteps[] = {
      "INSERT OR IGNORE INTO barcache_totals (id, entry_count, size_bytes, access_count, next_use,"
      " old_count, old_boundary, foreign_changes) VALUES (1, 0, 0, 0, 1, 0, 0, 0)",
      "DELETE FROM barcache_entries WHERE NOT EXISTS"
      " (SELECT 1 FROM cache_entries e WHERE e.cache_key = barcache_entries.cache_key)",
      "UPDATE barcache_coverage SET state = 2 WHERE state = 1 AND NOT EXISTS"
      " (SELECT 1 FROM cache_entries e WHERE e.cache_key = barcache_coverage.segment_key)",
      "UPDATE barcache_entries SET generation = 0 WHERE generation <> 0 AND checksum IS NOT"
      " (SELECT e.checksum FROM cache_entries e WHERE e.cache_key = barcache_entries.cache_key)",
      "UPDATE barcache_entries SET (checksum, size_bytes, access_count) ="
      " (SELECT e.checksum, " BARCACHE_SQL_FIGURE("e.size_bytes") ", "
      BARCACHE_SQL_FIGURE("e.access_count")
      " FROM cache_entries e WHERE e.cache_key = barcache_entries.cache_key)"
      " WHERE EXISTS (SELECT 1 FROM cache_entries e WHERE e.cache_key = barcache_entries.cache_key"
      " AND (e.checksum IS NOT barcache_entries.checksum"
      " OR " BARCACHE_SQL_FIGURE("e.size_bytes") " IS NOT barcache_entries.size_bytes"
      " OR " BARCACHE_SQL_FIGURE("e.access_count") " IS NOT barcache_entries.access_count))",
      // Rows without a number of their own get the next ones, in order of last use.
      "INSERT INTO barcache_entries (use_order, cache_key, checksum, size_bytes, access_count)"
      " SELECT (SELECT max(ifnull(max(use_order), 0), -ifnull(min(use_order), 0), 0)"
      " FROM barcache_entries) + row_number() OVER (ORDER BY e.last_accessed, e.cache_key),"
      " e.cache_key, e.checksum, " BARCACHE_SQL_FIGURE("e.size_bytes") ", "
      BARCACHE_SQL_FIGURE("e.access_count")
      " FROM cache_entries e WHERE NOT EXISTS"
      " (SELECT 1 FROM barcache_entries s WHERE s.cache_key = e.cache_key)"
      " ORDER BY e.last_accessed, e.cache_key",
  };
  bool differed = false;
  for (const std::string_view step : kSteps) {
    BARCACHE_ASSIGN_OR_RETURN(const bool changed, RunCounting(connection, step));
    differed = differed || changed;
  }
  // One row that disagrees makes the whole division into old and young void.
  BARCACHE_ASSIGN_OR_RETURN(
      const int64_t misplaced,
      ReadNumber(connection,
                 "SELECT EXISTS (SELECT 1 FROM barcache_entries, barcache_totals t WHERE t.id = 1"
                 " AND is_old IS NOT (use_order > 0 AND use_order <= t.old_boundary))"));
  if (misplaced != 0) {
    differed = true;
    BARCACHE_RETURN_IF_ERROR(
        connection->Execute("UPDATE barcache_entries SET is_old = 0 WHERE is_old IS NOT 0;"
                            "UPDATE barcache_totals SET old_boundary = 0 WHERE id = 1"));
  }
  BARCACHE_ASSIGN_OR_RETURN(const bool recounted, RecountTotals(connection));
  BARCACHE_ASSIGN_OR_RETURN(
      const bool requeued,
      RunCounting(
          connection,
          "WITH real AS (SELECT (SELECT ifnull(sum(size_bytes), 0) FROM barcache_entries"
          " WHERE queue = 1) AS main, (SELECT ifnull(sum(size_bytes), 0) FROM barcache_ghosts)"
          " AS ghosts, max((SELECT ifnull(max(place), 0) FROM barcache_entries WHERE queue = 0),"
          " (SELECT ifnull(max(place), 0) FROM barcache_entries WHERE queue = 1)) AS last)"
          " UPDATE barcache_totals SET (main_size_bytes, ghost_size_bytes, next_place) ="
          " (SELECT main, ghosts, max(barcache_totals.next_place, last + 1) FROM real)"
          " WHERE id = 1 AND EXISTS (SELECT 1 FROM real WHERE main IS NOT main_size_bytes"
          " OR ghosts IS NOT ghost_size_bytes OR typeof(next_place) <> 'integer'"
          " OR last >= next_place)"));
  return differed || recounted || requeued;
}

}  // namespace barcache
