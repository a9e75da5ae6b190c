// Write transactions: begin, put, link, count uses, statistics, commit.
#include <algorithm>
#include <cmath>
#include <new>
#include <numeric>

#include "base/failpoint.h"
#include "catalog/catalog_impl.h"

namespace barcache {

namespace {

constexpr char kBegin[] = "BEGIN IMMEDIATE";
constexpr char kNothing[] = "SELECT 1";
constexpr char kCommit[] = "COMMIT";
constexpr char kRollback[] = "ROLLBACK";
constexpr char kReadForeign[] = "SELECT foreign_changes FROM barcache_totals WHERE id = 1";
constexpr char kRestoreForeign[] = "UPDATE barcache_totals SET foreign_changes = ?1 WHERE id = 1";

constexpr char kFindRow[] =
    "SELECT e.parquet_path, s.checksum IS e.checksum, s.generation FROM cache_entries e"
    " LEFT JOIN barcache_entries s ON s.cache_key = e.cache_key WHERE e.cache_key = ?1";
constexpr char kFindDeadLink[] = "SELECT 1 FROM backtest_cache_links WHERE cache_key = ?1 LIMIT 1";
constexpr char kDropDeadLinks[] = "DELETE FROM backtest_cache_links WHERE cache_key = ?1";
// The side row is written before its entry: the entry's trigger then has nothing to do.
constexpr char kInsertSide[] =
    "INSERT INTO barcache_entries (use_order, cache_key, checksum, generation, size_bytes,"
    " access_count, request_json, fetch_cost)"
    " VALUES ((SELECT next_use FROM barcache_totals WHERE id = 1), ?1, ?2, ?3, ?4, 1, ?5,"
    " ifnull(?6, 1.0))";
constexpr char kReplaceSide[] =
    "UPDATE barcache_entries SET use_order = CASE WHEN use_order < 0 THEN use_order"
    " ELSE (SELECT next_use FROM barcache_totals WHERE id = 1) END,"
    " checksum = ?2, generation = ?3, size_bytes = ?4, is_old = 0,"
    " request_json = CASE ?5 WHEN '' THEN request_json ELSE ?5 END,"
    " fetch_cost = ifnull(?6, fetch_cost) WHERE cache_key = ?1";
constexpr char kInsertRow[] =
    "INSERT INTO cache_entries (cache_key, dataset_id, parquet_path, checksum, created_at,"
    " last_accessed, access_count, size_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1, ?6)";
constexpr char kReplaceRow[] =
    "UPDATE cache_entries SET dataset_id = ?2, parquet_path = ?3, checksum = ?4,"
    " last_accessed = max(last_accessed, ?5), size_bytes = ?6 WHERE cache_key = ?1";

constexpr char kFindCreated[] = "SELECT created_at FROM cache_entries WHERE cache_key = ?1";
constexpr char kFindLink[] =
    "SELECT 1 FROM backtest_cache_links INDEXED BY barcache_links_pair"
    " WHERE cache_key = ?1 AND backtest_id = ?2 AND linked_at >= ?3 LIMIT 1";
constexpr char kInsertLink[] =
    "INSERT INTO backtest_cache_links (backtest_id, cache_key, linked_at) VALUES (?1, ?2, ?3)";

constexpr char kTouchRow[] =
    "UPDATE cache_entries SET access_count = access_count + ?2,"
    " last_accessed = max(last_accessed, ?3) WHERE cache_key = ?1";

constexpr char kTotals[] =
    "SELECT entry_count, size_bytes, access_count, pinned_count, pinned_size_bytes"
    " FROM barcache_totals WHERE id = 1";
constexpr char kReadDay[] =
    "SELECT stat_date, hit_count, miss_count, total_size_mb FROM cache_statistics"
    " WHERE stat_date = ?1";
constexpr char kAddToDay[] =
    "UPDATE cache_statistics SET hit_count = hit_count + ?2, miss_count = miss_count + ?3,"
    " total_size_mb = ?4 WHERE stat_date = ?1";
constexpr char kInsertDay[] =
    "INSERT INTO cache_statistics (stat_date, hit_count, miss_count, total_size_mb)"
    " VALUES (?1, ?2, ?3, ?4)";

}  // namespace

// --- State ---------------------------------------------------------------------------------

void CatalogWriter::State::Release() {
  if (released) return;
  released = true;
  if (connection != nullptr && connection->in_transaction()) {
    try {
      Result<StatementUse> rollback = connection->Use(kRollback);
      if (rollback.ok()) static_cast<void>((*rollback)->Run());
    } catch (const std::bad_alloc&) {  // A destructor may be what calls this.
    }
  }
  // Closing it rolls back, too; and what could not even roll back is not to be used again.
  if (connection != nullptr && connection->in_transaction()) catalog->writer.reset();
  connection = nullptr;
  if (epochs_locked) catalog->epochs->Unlock();
  if (mutex_locked) catalog->write_mutex.unlock();
}

void CatalogWriter::State::Touched(std::string_view cache_key) {
  if (all_buckets) return;
  buckets.push_back(Epochs::BucketOf(cache_key));
  // What happens to a segment happens to its series.
  const std::string_view series_key = SeriesKeyOfSegment(cache_key);
  if (!series_key.empty()) buckets.push_back(Epochs::BucketOf(series_key));
}

CatalogWriter::CatalogWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
CatalogWriter::CatalogWriter(CatalogWriter&&) noexcept = default;
CatalogWriter::~CatalogWriter() = default;

// --- begin and commit ----------------------------------------------------------------------

// The writer's state, not this function, gives the lock back.
Result<CatalogWriter> Catalog::BeginWrite() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  if (impl_->options.read_only) {
    return Status(ErrorCode::kReadOnly, "catalog " + impl_->name +
                                            ": opened read-only; open it without read_only to "
                                            "change it");
  }
  auto state = std::make_unique<CatalogWriter::State>(impl_.get());  // Unlocks when it goes.
  impl_->write_mutex.lock();
  state->mutex_locked = true;
  BARCACHE_RETURN_IF_ERROR(impl_->epochs->Lock(impl_->options.busy_timeout_ms));
  state->epochs_locked = true;
  BARCACHE_RETURN_IF_ERROR(impl_->CheckIdentity());
  Status status = impl_->BeginTransaction(state.get());
  if (!status.ok() && status.code() != ErrorCode::kBusy && !impl_->memory) {
    // Where it could not have its lock file for writing, SQLite goes on reading only, in all
    // connections of the process and until the last of them is closed.
    impl_->CloseConnections();
    status = impl_->BeginTransaction(state.get());
  }
  BARCACHE_RETURN_IF_ERROR(status);
  return CatalogWriter(std::move(state));
}

Status Catalog::Impl::BeginTransaction(State* state) {
  state->connection = nullptr;
  BARCACHE_RETURN_IF_ERROR(EnsureWriter());
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse begin,
                              writer->Use(Mutant("no_transaction") ? kNothing : kBegin));
    BARCACHE_RETURN_IF_ERROR(begin->Run());
  }
  Failpoint("catalog.begun");
  state->connection = writer.get();
  state->total_changes_before = writer->total_changes();
  BARCACHE_ASSIGN_OR_RETURN(StatementUse read, writer->Use(kReadForeign));
  BARCACHE_ASSIGN_OR_RETURN(const bool row, read->Step());
  if (row) {
    state->foreign_changes = read->Int64Or(0, 0);
  } else {  // Somebody emptied the table: without its row no trigger works.
    BARCACHE_ASSIGN_OR_RETURN(const bool differed, RebuildSideRows(writer.get()));
    state->all_buckets = differed;
  }
  return Status();
}

Epoch CatalogWriter::EpochAfterCommit(std::string_view cache_key) const {
  Epoch epoch = state_->catalog->epochs->EpochOf(cache_key);
  const bool moves =
      state_->all_buckets ||
      std::ranges::find(state_->buckets, Epochs::BucketOf(cache_key)) != state_->buckets.end();
  if (moves) epoch.bucket += 2;
  return epoch;
}

Status CatalogWriter::Commit(const std::function<void(bool)>& tell) {
  const Status status = CommitTransaction();
  if (tell) tell(status.ok());
  state_->Release();  // Now that no statement of the connection is in use.
  return status;
}

Status CatalogWriter::CommitTransaction() {
  SqliteConnection* connection = state_->connection;
  if (connection == nullptr) {
    return Status(ErrorCode::kInternal, "catalog writer: committed twice; please report this");
  }
  Epochs* epochs = state_->catalog->epochs.get();
  if (connection->total_changes() != state_->total_changes_before) {
    // Triggers counted our own changes as somebody else's.
    BARCACHE_ASSIGN_OR_RETURN(StatementUse restore, state_->Use(kRestoreForeign));
    restore->Bind(1, state_->foreign_changes);
    BARCACHE_RETURN_IF_ERROR(restore->Run());
  }
  std::vector<size_t>& buckets = state_->buckets;
  if (state_->all_buckets) {
    buckets.resize(Epochs::kBucketCount);
    std::iota(buckets.begin(), buckets.end(), size_t{0});
  } else {
    std::ranges::sort(buckets);
    buckets.erase(std::unique(buckets.begin(), buckets.end()), buckets.end());
  }
  BARCACHE_ASSIGN_OR_RETURN(StatementUse commit,
                            state_->Use(Mutant("no_transaction") ? kNothing : kCommit));
  Failpoint("catalog.changed");
  if (!buckets.empty()) epochs->MarkOdd(buckets);
  Failpoint("catalog.marked_odd");
  const Status status = commit->Run();
  Failpoint("catalog.committed");
  if (!buckets.empty()) epochs->MarkEven(buckets);
  Failpoint("catalog.marked_even");
  state_->catalog->wal_pages.store(connection->wal_pages(), std::memory_order_relaxed);
  return status;
}

// --- put -------------------------------------------------------------------------------------

Result<UpsertOutcome> CatalogWriter::Upsert(const NewEntry& entry) {
  UpsertOutcome outcome;
  bool present = false;
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse find, state_->Use(kFindRow));
    find->Bind(1, entry.cache_key);
    BARCACHE_ASSIGN_OR_RETURN(present, find->Step());
    if (present) {
      outcome.replaced_path = find->TextOr(0, "");
      const bool claimed = find->Int64Or(1, 0) != 0;
      if (claimed && !Mutant("no_order_of_puts") &&
          static_cast<uint64_t>(find->Int64Or(2, 0)) > entry.generation) {
        return UpsertOutcome{};
      }
    }
  }
  if (!present) BARCACHE_RETURN_IF_ERROR(DropDeadLinks(entry.cache_key));
  BARCACHE_RETURN_IF_ERROR(StoreSideRow(entry, present));
  BARCACHE_ASSIGN_OR_RETURN(StatementUse store, state_->Use(present ? kReplaceRow : kInsertRow));
  store->Bind(1, entry.cache_key)
      .Bind(2, entry.dataset_id)
      .Bind(3, entry.parquet_path)
      .Bind(4, entry.checksum)
      .Bind(5, entry.now_s)
      .Bind(6, entry.size_bytes);
  BARCACHE_RETURN_IF_ERROR(store->Run());
  state_->Touched(entry.cache_key);
  outcome.stored = true;
  return outcome;
}

// Links left by a program that removed the row while the database had no triggers of ours.
Status CatalogWriter::DropDeadLinks(std::string_view cache_key) {
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse find, state_->Use(kFindDeadLink));
    find->Bind(1, cache_key);
    BARCACHE_ASSIGN_OR_RETURN(const bool any, find->Step());
    if (!any) return Status();
  }
  BARCACHE_ASSIGN_OR_RETURN(StatementUse drop, state_->Use(kDropDeadLinks));
  drop->Bind(1, cache_key);
  return drop->Run();
}

Status CatalogWriter::StoreSideRow(const NewEntry& entry, bool present) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse store, state_->Use(present ? kReplaceSide : kInsertSide));
  const auto run = [&] {
    store->Bind(1, entry.cache_key)
        .Bind(2, entry.checksum)
        .Bind(3, static_cast<int64_t>(entry.generation))
        .Bind(4, entry.size_bytes)
        .Bind(5, entry.request_json);
    entry.fetch_cost.has_value() ? store->Bind(6, *entry.fetch_cost) : store->BindNull(6);
    return store->Run();
  };
  Status status = run();
  const bool disagrees = status.ok() ? state_->connection->changes() != 1
                                     : status.code() == ErrorCode::kCatalogCorrupt;
  if (!disagrees) return status;
  // A side row without entry, or an entry without side row: somebody changed our tables.
  BARCACHE_ASSIGN_OR_RETURN(const bool differed, RebuildSideRows(state_->connection));
  return differed ? run() : status;
}

Result<bool> CatalogWriter::Link(std::string_view backtest_id, std::string_view cache_key,
                                 int64_t now_s) {
  int64_t created_at = 0;
  bool is_there = false;
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse find, state_->Use(kFindCreated));
    find->Bind(1, cache_key);
    BARCACHE_ASSIGN_OR_RETURN(const bool row, find->Step());
    if (row) created_at = find->Int64Or(0, 0);
    is_there = row;
  }
  if (!is_there) {
    BARCACHE_ASSIGN_OR_RETURN(const std::string heir, HeirOf(cache_key));
    return heir.empty() ? false : Link(backtest_id, heir, now_s);
  }
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse find, state_->Use(kFindLink));
    find->Bind(1, cache_key).Bind(2, backtest_id).Bind(3, created_at);
    BARCACHE_ASSIGN_OR_RETURN(const bool row, find->Step());
    if (row) return false;
  }
  BARCACHE_ASSIGN_OR_RETURN(StatementUse insert, state_->Use(kInsertLink));
  // A clock that went back must not make the link older than its row, that is dead.
  insert->Bind(1, backtest_id).Bind(2, cache_key).Bind(3, std::max(now_s, created_at));
  BARCACHE_RETURN_IF_ERROR(insert->Run());
  return true;
}

Status CatalogWriter::ApplyTouches(const std::vector<Touch>& touches) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse update, state_->Use(kTouchRow));
  for (const Touch& touch : touches) {
    update->Bind(1, touch.cache_key).Bind(2, touch.count).Bind(3, touch.accessed_s);
    BARCACHE_RETURN_IF_ERROR(update->Run());
  }
  return Status();
}

// --- totals and statistics -------------------------------------------------------------------

Result<CatalogTotals> CatalogWriter::Totals() {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, state_->Use(kTotals));
  BARCACHE_ASSIGN_OR_RETURN(const bool row, query->Step());
  if (!row) return CatalogTotals{};
  return CatalogTotals{query->Int64Or(0, 0), query->Int64Or(1, 0), query->Int64Or(2, 0),
                       query->Int64Or(3, 0), query->Int64Or(4, 0)};
}

Status CatalogWriter::AddDailyStatistics(const DailyStatistics& delta) {
  const double size_mb = std::isfinite(delta.total_size_mb) ? delta.total_size_mb : 0.0;
  for (const char* sql : {kAddToDay, kInsertDay}) {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse store, state_->Use(sql));
    store->Bind(1, delta.stat_date)
        .Bind(2, delta.hit_count)
        .Bind(3, delta.miss_count)
        .Bind(4, size_mb);
    BARCACHE_RETURN_IF_ERROR(store->Run());
    if (state_->connection->changes() > 0) break;
  }
  return Status();
}

Result<std::optional<DailyStatistics>> CatalogWriter::ReadDailyStatistics(int64_t stat_date) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, state_->Use(kReadDay));
  query->Bind(1, stat_date);
  BARCACHE_ASSIGN_OR_RETURN(const bool row, query->Step());
  if (!row) return std::optional<DailyStatistics>();
  return std::optional<DailyStatistics>(DailyStatistics{query->Int64Or(0, 0), query->Int64Or(1, 0),
                                                        query->Int64Or(2, 0), query->Double(3)});
}

Result<bool> CatalogWriter::RebuildSideTables() {
  BARCACHE_ASSIGN_OR_RETURN(const bool differed, RebuildSideRows(state_->connection));
  state_->all_buckets = state_->all_buckets || differed;
  return differed;
}

}  // namespace barcache
