// Removing entries, and finding who should go.
#include <algorithm>

#include "base/failpoint.h"
#include "catalog/catalog_impl.h"
#include "catalog/victim_sql.h"

namespace barcache {

namespace {

#define BARCACHE_VICTIM_COLUMNS_ "e.cache_key, e.parquet_path, e.size_bytes, e.last_accessed"

constexpr char kFindVictim[] =
    "SELECT " BARCACHE_VICTIM_COLUMNS_ " FROM cache_entries e WHERE e.cache_key = ?1";
constexpr char kFindFile[] =
    "SELECT parquet_path, checksum FROM cache_entries WHERE cache_key = ?1";
constexpr char kDeleteRow[] = "DELETE FROM cache_entries WHERE cache_key = ?1";
// Keys that somebody stored as bytes; we only ever write text.
constexpr char kFindBlobVictim[] =
    "SELECT " BARCACHE_VICTIM_COLUMNS_ " FROM cache_entries e WHERE e.cache_key = CAST(?1 AS BLOB)";
constexpr char kDeleteBlobRow[] = "DELETE FROM cache_entries WHERE cache_key = CAST(?1 AS BLOB)";

constexpr char kLinkedTo[] =
    "SELECT DISTINCT " BARCACHE_VICTIM_COLUMNS_
    " FROM backtest_cache_links l CROSS JOIN cache_entries e"
    " ON e.cache_key = l.cache_key AND l.linked_at >= e.created_at WHERE l.backtest_id = ?1"
    " ORDER BY e.cache_key";
constexpr char kLinkedOnlyTo[] =
    "SELECT DISTINCT " BARCACHE_VICTIM_COLUMNS_
    " FROM backtest_cache_links l CROSS JOIN cache_entries e"
    " ON e.cache_key = l.cache_key AND l.linked_at >= e.created_at WHERE l.backtest_id = ?1"
    " AND NOT EXISTS (SELECT 1 FROM backtest_cache_links o WHERE o.cache_key = e.cache_key"
    " AND o.backtest_id <> ?1 AND o.linked_at >= e.created_at) ORDER BY e.cache_key";
constexpr char kDeleteLinksOf[] = "DELETE FROM backtest_cache_links WHERE backtest_id = ?1";

constexpr char kAllVictims[] =
    "SELECT " BARCACHE_VICTIM_COLUMNS_ " FROM cache_entries e ORDER BY e.cache_key";
constexpr char kDeleteAllLinks[] = "DELETE FROM backtest_cache_links";
constexpr char kDeleteAllRows[] = "DELETE FROM cache_entries";
constexpr char kDeleteAllCoverage[] = "DELETE FROM barcache_coverage";
constexpr char kDeleteAllSeries[] = "DELETE FROM barcache_series";
// Before its row goes: the trigger would call it evicted.
constexpr char kMarkCorrupt[] =
    "UPDATE barcache_coverage SET state = 3 WHERE segment_key <> '' AND segment_key = ?1 AND state "
    "= 1";

constexpr char kUnusedSince[] =
    "SELECT " BARCACHE_VICTIM_COLUMNS_
    " FROM cache_entries e WHERE e.last_accessed < ?1 ORDER BY e.last_accessed, e.cache_key";

#undef BARCACHE_VICTIM_COLUMNS_

Result<std::optional<Victim>> FindOne(SqliteConnection* connection, const char* sql,
                                      std::string_view cache_key) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse find, connection->Use(sql));
  find->Bind(1, cache_key);
  BARCACHE_ASSIGN_OR_RETURN(const bool row, find->Step());
  return row ? std::optional<Victim>(ReadVictim(*find)) : std::nullopt;
}

Status RunWith(SqliteConnection* connection, const char* sql, std::string_view text) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse statement, connection->Use(sql));
  statement->Bind(1, text);
  return statement->Run();
}

Status RunWith(SqliteConnection* connection, const char* sql, int64_t first,
               std::optional<int64_t> second = {}) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse statement, connection->Use(sql));
  statement->Bind(1, first);
  if (second.has_value()) statement->Bind(2, *second);
  return statement->Run();
}

// The use_order that is the `skip`-th beyond `boundary`, or nullopt.
Result<std::optional<int64_t>> FindBoundary(SqliteConnection* connection, const char* sql,
                                            int64_t boundary, int64_t skip) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse find, connection->Use(sql));
  find->Bind(1, boundary).Bind(2, skip);
  BARCACHE_ASSIGN_OR_RETURN(const bool row, find->Step());
  return row ? std::optional<int64_t>(find->Int64(0)) : std::nullopt;
}

// Moves rows across the boundary until the old ones are half of all. Old rows are exactly those
// up to the boundary: whatever is added or used goes to the young end by itself, so that each
// change since the last call moves at most one row here.
Status BalanceHalves(SqliteConnection* connection) {
  int64_t missing = 0;
  int64_t boundary = 0;
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse read, connection->Use(kReadHalf));
    BARCACHE_ASSIGN_OR_RETURN(const bool row, read->Step());
    if (!row) return Status();
    missing = read->Int64(0);
    boundary = read->Int64(1);
  }
  if (missing == 0) return Status();
  const bool age = missing > 0;
  BARCACHE_ASSIGN_OR_RETURN(const std::optional<int64_t> found,
                            FindBoundary(connection, age ? kBoundaryAbove : kBoundaryBelow,
                                         boundary, std::abs(missing) - 1));
  if (!found.has_value()) {
    return Status(ErrorCode::kCatalogCorrupt,
                  "catalog " + connection->name() +
                      ": its totals disagree with its rows; run `barcache verify --repair`");
  }
  const int64_t moved_to = age ? *found : *found - 1;
  BARCACHE_RETURN_IF_ERROR(RunWith(connection, age ? kAge : kRejuvenate, boundary, moved_to));
  return RunWith(connection, kSetBoundary, moved_to);
}

}  // namespace

Victim ReadVictim(const SqliteStatement& row) {
  return Victim{ReadKey(row, 0), row.TextOr(1, ""), row.Int64Or(2, 0), row.Int64Or(3, 0),
                row.column_count() > 4 ? row.Double(4) : 0.0};
}

Result<std::vector<Victim>> ReadVictims(SqliteStatement* statement) {
  std::vector<Victim> victims;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool row, statement->Step());
    if (!row) return victims;
    victims.push_back(ReadVictim(*statement));
  }
}

Result<std::optional<Victim>> CatalogWriter::Erase(std::string_view cache_key) {
  SqliteConnection* connection = state_->connection;
  BARCACHE_ASSIGN_OR_RETURN(std::optional<Victim> victim,
                            FindOne(connection, kFindVictim, cache_key));
  const char* remove = kDeleteRow;
  if (!victim.has_value()) {
    BARCACHE_ASSIGN_OR_RETURN(victim, FindOne(connection, kFindBlobVictim, cache_key));
    if (!victim.has_value()) return victim;
    remove = kDeleteBlobRow;
  }
  BARCACHE_RETURN_IF_ERROR(RunWith(connection, remove, cache_key));
  state_->Touched(cache_key);
  return victim;
}

Result<bool> CatalogWriter::EraseIf(std::string_view cache_key, std::string_view parquet_path,
                                    std::string_view checksum) {
  {
    // Compared here and not in SQL: as Find reads them, whatever their type.
    BARCACHE_ASSIGN_OR_RETURN(StatementUse find, state_->Use(kFindFile));
    find->Bind(1, cache_key);
    BARCACHE_ASSIGN_OR_RETURN(const bool row, find->Step());
    if (!Mutant("drop_without_condition") &&
        (!row || find->TextOr(0, "") != parquet_path || find->TextOr(1, "") != checksum)) {
      return false;
    }
  }
  if (!SeriesKeyOfSegment(cache_key).empty() && !Mutant("no_corrupt_mark")) {
    BARCACHE_RETURN_IF_ERROR(RunWith(state_->connection, kMarkCorrupt, cache_key));
  }
  BARCACHE_RETURN_IF_ERROR(RunWith(state_->connection, kDeleteRow, cache_key));
  state_->Touched(cache_key);
  return true;
}

Result<std::vector<Victim>> CatalogWriter::EraseListed(std::vector<Victim> victims) {
  for (const Victim& victim : victims) {
    BARCACHE_ASSIGN_OR_RETURN(const std::optional<Victim> erased, Erase(victim.cache_key));
    static_cast<void>(erased);
  }
  return victims;
}

Result<std::vector<Victim>> CatalogWriter::EraseBacktest(std::string_view backtest_id,
                                                         bool keep_shared) {
  std::vector<Victim> victims;
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse query,
                              state_->Use(keep_shared ? kLinkedOnlyTo : kLinkedTo));
    query->Bind(1, backtest_id);
    BARCACHE_ASSIGN_OR_RETURN(victims, ReadVictims(&*query));
  }
  BARCACHE_RETURN_IF_ERROR(RunWith(state_->connection, kDeleteLinksOf, backtest_id));
  return EraseListed(std::move(victims));
}

Result<std::vector<Victim>> CatalogWriter::EraseAll() {
  std::vector<Victim> victims;
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse query, state_->Use(kAllVictims));
    BARCACHE_ASSIGN_OR_RETURN(victims, ReadVictims(&*query));
  }
  // Coverage and links first, and all at once: the rows' triggers then find none.
  for (const char* sql : {kDeleteAllCoverage, kDeleteAllSeries, kDeleteAllLinks, kDeleteAllRows}) {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse remove, state_->Use(sql));
    BARCACHE_RETURN_IF_ERROR(remove->Run());
  }
  state_->all_buckets = true;
  return victims;
}

Result<std::vector<Victim>> CatalogWriter::EraseUnusedSince(int64_t before_s) {
  std::vector<Victim> victims;
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse query, state_->Use(kUnusedSince));
    query->Bind(1, before_s);
    BARCACHE_ASSIGN_OR_RETURN(victims, ReadVictims(&*query));
  }
  return EraseListed(std::move(victims));
}

Result<std::vector<Victim>> CatalogWriter::Candidates(VictimOrder order, int64_t limit,
                                                      std::string_view except_key) {
  const char* sql = kVictimsByUse;
  if (order == VictimOrder::kLargest) sql = kVictimsBySize;
  if (order == VictimOrder::kLowestPriority) sql = kVictimsByPriority;
  if (order == VictimOrder::kLargestOfOldHalf) {
    BARCACHE_RETURN_IF_ERROR(BalanceHalves(state_->connection));
    sql = kVictimsOldBySize;
  }
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, state_->Use(sql));
  query->Bind(1, except_key).Bind(2, std::max<int64_t>(limit, 0));
  return ReadVictims(&*query);
}

}  // namespace barcache
