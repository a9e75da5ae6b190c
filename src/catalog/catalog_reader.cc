// The catalog's queries: each is one statement on a connection of the pool.
#include <cmath>
#include <mutex>

#include "catalog/catalog_impl.h"

namespace barcache {

namespace {

#define BARCACHE_ENTRY_COLUMNS_                                                            \
  "e.cache_key, e.dataset_id, e.parquet_path, e.checksum, e.created_at, e.last_accessed, " \
  "e.access_count, e.size_bytes"
// A side row speaks for an entry only while it has the same checksum.
#define BARCACHE_ENTRIES_WITH_SIDE_                                       \
  "SELECT " BARCACHE_ENTRY_COLUMNS_                                       \
  ", s.generation, s.request_json, s.use_order < 0 FROM cache_entries e " \
  "LEFT JOIN barcache_entries s ON s.cache_key = e.cache_key AND s.checksum = e.checksum"
#define BARCACHE_ENTRIES_ALONE_ "SELECT " BARCACHE_ENTRY_COLUMNS_ ", 0, '', 0 FROM cache_entries e"

constexpr char kFind[] = BARCACHE_ENTRIES_WITH_SIDE_ " WHERE e.cache_key = ?1";
constexpr char kFindAlone[] = BARCACHE_ENTRIES_ALONE_ " WHERE e.cache_key = ?1";
constexpr char kAll[] = BARCACHE_ENTRIES_WITH_SIDE_ " ORDER BY e.cache_key";
constexpr char kAllAlone[] = BARCACHE_ENTRIES_ALONE_ " ORDER BY e.cache_key";

#undef BARCACHE_ENTRY_COLUMNS_
#undef BARCACHE_ENTRIES_WITH_SIDE_
#undef BARCACHE_ENTRIES_ALONE_

constexpr char kNextPaths[] =
    "SELECT rowid, parquet_path FROM cache_entries WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";
constexpr char kBacktestsOf[] =
    "SELECT DISTINCT l.backtest_id FROM cache_entries e CROSS JOIN backtest_cache_links l"
    " ON l.cache_key = e.cache_key AND l.linked_at >= e.created_at"
    " WHERE e.cache_key = ?1 ORDER BY l.backtest_id";
constexpr char kKeysOf[] =
    "SELECT DISTINCT e.cache_key FROM backtest_cache_links l CROSS JOIN cache_entries e"
    " ON e.cache_key = l.cache_key AND l.linked_at >= e.created_at"
    " WHERE l.backtest_id = ?1 ORDER BY e.cache_key";
constexpr char kPinned[] =
    "SELECT cache_key FROM barcache_entries WHERE use_order < 0 ORDER BY cache_key";
constexpr char kTotals[] =
    "SELECT entry_count, size_bytes, access_count FROM barcache_totals WHERE id = 1";
constexpr char kTotalsCounted[] =
    "SELECT count(*), ifnull(sum(size_bytes), 0), ifnull(sum(access_count), 0) FROM cache_entries";
constexpr char kDailyBetween[] =
    "SELECT stat_date, hit_count, miss_count, total_size_mb FROM cache_statistics"
    " WHERE stat_date BETWEEN ?1 AND ?2 ORDER BY stat_date";
constexpr char kQuickCheck[] = "PRAGMA quick_check(20)";

EntryInfo ReadEntry(const SqliteStatement& row) {
  EntryInfo entry;
  entry.cache_key = ReadKey(row, 0);
  entry.dataset_id = row.Int64Or(1, 0);
  entry.parquet_path = row.TextOr(2, "");
  entry.checksum = row.TextOr(3, "");
  entry.created_at = row.Int64Or(4, 0);
  entry.last_accessed = row.Int64Or(5, 0);
  entry.access_count = row.Int64Or(6, 0);
  entry.size_bytes = row.Int64Or(7, 0);
  entry.generation = static_cast<uint64_t>(row.Int64Or(8, 0));
  entry.request_json = row.TextOr(9, "");
  entry.is_pinned = row.Int64Or(10, 0) != 0;
  return entry;
}

Result<std::optional<EntryInfo>> FindOver(SqliteConnection* connection, const char* sql,
                                          std::string_view cache_key) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse find, connection->Use(sql));
  find->Bind(1, cache_key);
  BARCACHE_ASSIGN_OR_RETURN(const bool row, find->Step());
  if (!row) return std::optional<EntryInfo>();
  return std::optional<EntryInfo>(ReadEntry(*find));
}

Result<std::vector<std::string>> ReadTexts(SqliteStatement* statement) {
  std::vector<std::string> texts;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool row, statement->Step());
    if (!row) return texts;
    texts.push_back(ReadKey(*statement, 0));
  }
}

}  // namespace

std::string ReadKey(const SqliteStatement& row, int column) {
  return std::string(row.type(column) == SqliteType::kBlob ? row.Blob(column) : row.Text(column));
}

Result<std::optional<EntryInfo>> Catalog::Find(std::string_view cache_key) {
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->TakeReader());
  return FindOver(reader.get(), impl_->has_side_tables ? kFind : kFindAlone, cache_key);
}

Result<std::optional<EntryInfo>> Catalog::FindBeforeWrite(std::string_view cache_key)
    BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  {
    const std::unique_lock lock(impl_->write_mutex, std::try_to_lock);
    if (lock.owns_lock() && impl_->writer != nullptr) {
      return FindOver(impl_->writer.get(), kFind, cache_key);
    }
  }
  return Find(cache_key);
}

Result<std::vector<EntryInfo>> Catalog::Entries() {
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->TakeReader());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse all,
                            reader->Use(impl_->has_side_tables ? kAll : kAllAlone));
  std::vector<EntryInfo> entries;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool row, all->Step());
    if (!row) return entries;
    entries.push_back(ReadEntry(*all));
  }
}

Result<std::vector<std::string>> Catalog::NextPaths(int64_t* position, int64_t count) {
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->TakeReader());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, reader->Use(kNextPaths));
  query->Bind(1, *position).Bind(2, count);
  std::vector<std::string> paths;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return paths;
    *position = query->Int64(0);
    paths.push_back(query->TextOr(1, ""));
  }
}

Result<std::vector<std::string>> Catalog::BacktestsOf(std::string_view cache_key) {
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->TakeReader());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, reader->Use(kBacktestsOf));
  query->Bind(1, cache_key);
  return ReadTexts(&*query);
}

Result<std::vector<std::string>> Catalog::KeysOf(std::string_view backtest_id) {
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->TakeReader());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, reader->Use(kKeysOf));
  query->Bind(1, backtest_id);
  return ReadTexts(&*query);
}

Result<std::vector<std::string>> Catalog::PinnedKeys() {
  if (!impl_->has_side_tables) return std::vector<std::string>();
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->readers.Take());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, reader->Use(kPinned));
  return ReadTexts(&*query);
}

Result<CatalogTotals> Catalog::Totals() {
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->TakeReader());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query,
                            reader->Use(impl_->has_side_tables ? kTotals : kTotalsCounted));
  BARCACHE_ASSIGN_OR_RETURN(const bool row, query->Step());
  if (!row) return CatalogTotals{};
  return CatalogTotals{query->Int64Or(0, 0), query->Int64Or(1, 0), query->Int64Or(2, 0)};
}

Result<std::vector<DailyStatistics>> Catalog::DailyBetween(int64_t from_s, int64_t to_s) {
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->TakeReader());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, reader->Use(kDailyBetween));
  query->Bind(1, from_s).Bind(2, to_s);
  std::vector<DailyStatistics> days;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return days;
    const double size_mb = query->Double(3);
    days.push_back({query->Int64Or(0, 0), query->Int64Or(1, 0), query->Int64Or(2, 0),
                    std::isfinite(size_mb) ? size_mb : 0.0});
  }
}

Result<std::vector<std::string>> Catalog::QuickCheck() {
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->TakeReader());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, reader->Use(kQuickCheck));
  Result<std::vector<std::string>> findings = ReadTexts(&*query);
  if (!findings.ok()) {
    // Damage that stops the check itself is a finding, too.
    if (findings.status().code() != ErrorCode::kCatalogCorrupt) return findings.status();
    return std::vector<std::string>{findings.status().message()};
  }
  if (findings->size() == 1 && findings->front() == "ok") findings->clear();
  return findings;
}

}  // namespace barcache
