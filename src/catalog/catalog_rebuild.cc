// Locking, writing the new catalog, and the exchange of the two. See catalog_rebuild.h.
#include "catalog/catalog_rebuild.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/failpoint.h"
#include "base/file_system.h"
#include "catalog/catalog_impl.h"
#include "catalog/schema.h"

namespace barcache {
namespace {

constexpr char kDraftSuffix[] = ".rebuild";
// What SQLite would apply to whatever has the database's name.
constexpr const char* kLogSuffixes[] = {"-wal", "-shm", "-journal"};

// `<path>.corrupt-20260131T235959Z`, numbered where that is taken.
Result<std::string> NameForOld(const std::string& path) {
  const time_t now = time(nullptr);
  tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &utc);
  const std::string name = path + ".corrupt-" + text;
  std::string free = name;
  for (int number = 2;; ++number) {
    BARCACHE_ASSIGN_OR_RETURN(const bool is_taken, Exists(free));
    if (!is_taken) return free;
    free = name + "-" + std::to_string(number);
  }
}

Status SyncParent(const std::string& path) {
  const std::string parent = path.substr(0, path.rfind('/') + 1);
  const FileDescriptor fd(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || fsync(fd.get()) != 0) return StatusFromErrno(errno, "sync", parent);
  return Status();
}

Status InsertFound(SqliteConnection* draft, const std::vector<NewEntry>& entries) {
  BARCACHE_RETURN_IF_ERROR(draft->Execute(
      "CREATE TEMP TABLE found (cache_key TEXT PRIMARY KEY, dataset_id, parquet_path, checksum,"
      " created_at, size_bytes, generation, request_json)"));
  BARCACHE_ASSIGN_OR_RETURN(
      SqliteStatement insert,
      draft->Prepare("INSERT INTO temp.found VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"));
  for (const NewEntry& entry : entries) {
    insert.Bind(1, entry.cache_key).Bind(2, entry.dataset_id).Bind(3, entry.parquet_path);
    insert.Bind(4, entry.checksum).Bind(5, entry.now_s).Bind(6, entry.size_bytes);
    insert.Bind(7, static_cast<int64_t>(entry.generation)).Bind(8, entry.request_json);
    BARCACHE_RETURN_IF_ERROR(insert.Run());
  }
  return Status();
}

// In order of use as far as it is known; others, put last for all we know, after those.
constexpr char kMakeRows[] =
    "INSERT INTO cache_entries (cache_key, dataset_id, parquet_path, checksum, created_at,"
    " last_accessed, access_count, size_bytes)"
    " SELECT f.cache_key, f.dataset_id, f.parquet_path, f.checksum, f.created_at,"
    " max(f.created_at, ifnull(u.last_accessed, f.created_at)), ifnull(u.access_count, 1),"
    " f.size_bytes FROM temp.found f"
    " LEFT JOIN temp.salvaged_uses u ON u.cache_key = f.cache_key"
    " LEFT JOIN temp.salvaged_costs c ON c.cache_key = f.cache_key"
    " ORDER BY c.use_order IS NULL, abs(c.use_order), 6, f.generation;"
    "UPDATE barcache_entries SET (generation, request_json) ="
    " (SELECT f.generation, f.request_json FROM temp.found f"
    " WHERE f.cache_key = barcache_entries.cache_key), fetch_cost ="
    " ifnull((SELECT c.fetch_cost FROM temp.salvaged_costs c"
    " WHERE c.cache_key = barcache_entries.cache_key), 1.0);"
    // Pins.
    "UPDATE barcache_entries SET use_order = -use_order WHERE cache_key IN"
    " (SELECT c.cache_key FROM temp.salvaged_costs c WHERE c.use_order < 0);"
    "INSERT INTO backtest_cache_links (backtest_id, cache_key, linked_at)"
    " SELECT l.backtest_id, l.cache_key, l.linked_at FROM temp.salvaged_links l"
    " JOIN cache_entries e ON e.cache_key = l.cache_key AND l.linked_at >= e.created_at"
    " ORDER BY l.id";

Result<int64_t> CountRows(SqliteConnection* connection, const std::string& table) {
  BARCACHE_ASSIGN_OR_RETURN(SqliteStatement count,
                            connection->Prepare("SELECT count(*) FROM " + table));
  BARCACHE_ASSIGN_OR_RETURN(const bool row, count.Step());
  return row ? count.Int64(0) : 0;
}

}  // namespace

Result<bool> CatalogRebuild::IsDue(const CatalogOptions& options) {
  BARCACHE_ASSIGN_OR_RETURN(const std::string path, CanonicalPath(options.db_path));
  BARCACHE_ASSIGN_OR_RETURN(const CatalogNote note, Epochs::ReadNote(path + kEpochsSuffix));
  BARCACHE_ASSIGN_OR_RETURN(const auto status, Examine(path, LinksAre::kFollowed));
  const bool is_there = status && status->st_size > 0;
  return !note.catalog_id.empty() && (!is_there || note.damage_seen);
}

Result<std::unique_ptr<CatalogRebuild>> CatalogRebuild::Begin(const CatalogOptions& options,
                                                              RebuildReach reach) {
  BARCACHE_ASSIGN_OR_RETURN(std::string path, CanonicalPath(options.db_path));
  BARCACHE_RETURN_IF_ERROR(CheckFilesBeside(path));
  std::unique_ptr<CatalogRebuild> rebuild(new CatalogRebuild(std::move(path), options));
  BARCACHE_RETURN_IF_ERROR(rebuild->Look(reach));
  const auto is_to_be_replaced = [&] {
    return rebuild->condition() == CatalogCondition::kLost ||
           rebuild->condition() == CatalogCondition::kDamaged ||
           (rebuild->condition() == CatalogCondition::kShared && reach == RebuildReach::kShared);
  };
  if (!is_to_be_replaced()) return rebuild;
  const std::string epochs_path = rebuild->path_ + kEpochsSuffix;
  rebuild->damaged_ = DamagedCatalog();  // Whoever waits keeps nothing of it open.
  BARCACHE_ASSIGN_OR_RETURN(rebuild->epochs_, Epochs::Open(epochs_path, EpochsMode::kShared));
  if (!Mutant("no_rebuild_lock")) {
    BARCACHE_RETURN_IF_ERROR(rebuild->epochs_->Lock(options.busy_timeout_ms));
  }
  rebuild->locked_ = true;
  Failpoint("rebuild.locked");
  BARCACHE_RETURN_IF_ERROR(rebuild->Look(reach));
  return rebuild;
}

CatalogRebuild::~CatalogRebuild() {
  if (locked_) epochs_->Unlock();
}

Status CatalogRebuild::Look(RebuildReach reach) {
  BARCACHE_ASSIGN_OR_RETURN(note_, Epochs::ReadNote(path_ + kEpochsSuffix));
  const bool thorough = reach == RebuildReach::kShared || note_.damage_seen;
  BARCACHE_ASSIGN_OR_RETURN(
      damaged_, DamagedCatalog::Examine(path_, options_.busy_timeout_ms, thorough, note_));
  return Status();
}

std::string CatalogRebuild::catalog_id() const {
  return note_.catalog_id.empty() ? damaged_.catalog_id() : note_.catalog_id;
}

Result<RebuildOutcome> CatalogRebuild::Replace(const std::string& catalog_id,
                                               const std::vector<NewEntry>& entries) {
  if (!locked_) return Status(ErrorCode::kInternal, "catalog rebuild: without its lock");
  RebuildOutcome outcome;
  const bool is_shared = condition() == CatalogCondition::kShared;
  const std::string draft_path = path_ + kDraftSuffix;
  const Status written = WriteDraft(draft_path, catalog_id, entries, &outcome.salvage);
  damaged_ = DamagedCatalog();
  Result<std::string> kept = written;
  if (written.ok()) {
    Failpoint("rebuild.drafted");
    kept = Swap(draft_path);
  }
  if (!kept.ok()) {
    unlink(draft_path.c_str());
    return kept.status();
  }
  outcome.kept_path = *kept;
  epochs_->WriteNote(catalog_id, is_shared);
  epochs_->CountSwap();
  return outcome;
}

Status CatalogRebuild::WriteDraft(const std::string& draft_path, const std::string& catalog_id,
                                  const std::vector<NewEntry>& entries, SalvageReport* report) {
  unlink(draft_path.c_str());  // Of a process that was killed; under the lock there is no other.
  unlink((draft_path + "-journal").c_str());
  SqliteOpenOptions open;
  open.target = SqliteUri(draft_path, "modeof=" + EscapeForUri(path_ + kEpochsSuffix));
  open.name = draft_path;
  open.busy_timeout_ms = options_.busy_timeout_ms;
  BARCACHE_ASSIGN_OR_RETURN(const auto draft, SqliteConnection::Open(open));
  BARCACHE_RETURN_IF_ERROR(
      draft->Execute("PRAGMA foreign_keys=OFF; PRAGMA temp_store=MEMORY; PRAGMA synchronous=FULL;"
                     "PRAGMA secure_delete=OFF; PRAGMA cache_size=-32000"));
  BARCACHE_RETURN_IF_ERROR(PrepareSchema(draft.get()).status());
  BARCACHE_RETURN_IF_ERROR(draft->Execute("BEGIN IMMEDIATE"));
  {
    BARCACHE_ASSIGN_OR_RETURN(
        SqliteStatement name,
        draft->Prepare("UPDATE barcache_meta SET value = ?1 WHERE name = 'catalog_id'"));
    name.Bind(1, catalog_id);
    BARCACHE_RETURN_IF_ERROR(name.Run());
  }
  BARCACHE_RETURN_IF_ERROR(InsertFound(draft.get(), entries));
  BARCACHE_RETURN_IF_ERROR(damaged_.CopyFigures(draft.get(), report));
  BARCACHE_RETURN_IF_ERROR(draft->Execute(kMakeRows));
  // After the rows: a row that comes ends what the ledger said of its segment.
  BARCACHE_RETURN_IF_ERROR(damaged_.CopyTables(draft.get(), report));
  BARCACHE_RETURN_IF_ERROR(RebuildSideRows(draft.get()).status());
  BARCACHE_RETURN_IF_ERROR(draft->Execute("COMMIT"));
  BARCACHE_ASSIGN_OR_RETURN(report->link_count, CountRows(draft.get(), "backtest_cache_links"));
  BARCACHE_ASSIGN_OR_RETURN(report->statistics_days, CountRows(draft.get(), "cache_statistics"));
  return Status();
}

// Returns the name of the old file, "" if there was none.
Result<std::string> CatalogRebuild::Swap(const std::string& draft_path) {
  BARCACHE_ASSIGN_OR_RETURN(const std::string kept, NameForOld(path_));
  BARCACHE_ASSIGN_OR_RETURN(const bool existed, Exists(path_));
  bool linked = false;
  if (existed) {
    linked = Mutant("rebuild_keeps_nothing") || link(path_.c_str(), kept.c_str()) == 0;
    // Without hard links the name is free for a moment: killed there, the catalog is a lost one.
    if (!linked && errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK) {
      return StatusFromErrno(errno, "keep as " + kept, path_);
    }
  }
  Failpoint("rebuild.kept");
  int error = 0;
  std::vector<std::string> moved;
  for (const char* suffix : kLogSuffixes) {
    if (Mutant("rebuild_leaves_log") || error != 0) break;
    const bool done = rename((path_ + suffix).c_str(), (kept + suffix).c_str()) == 0;
    if (done) moved.emplace_back(suffix);
    if (!done && errno != ENOENT) error = errno;
    if (done) Failpoint("rebuild.moved_log");
  }
  if (error == 0 && existed && !linked) {
    error = rename(path_.c_str(), kept.c_str()) == 0 ? 0 : errno;
  }
  if (error == 0) error = rename(draft_path.c_str(), path_.c_str()) == 0 ? 0 : errno;
  if (error != 0) {
    for (const std::string& suffix : moved) {
      static_cast<void>(rename((kept + suffix).c_str(), (path_ + suffix).c_str()));
    }
    if (linked) unlink(kept.c_str());
    const Result<bool> has_name = Exists(path_);
    if (existed && !linked && has_name.ok() && !*has_name) {
      static_cast<void>(rename(kept.c_str(), path_.c_str()));
    }
    return StatusFromErrno(error, "replace", path_);
  }
  Failpoint("rebuild.swapped");
  static_cast<void>(
      SyncParent(path_));  // It is done; a power cut may undo it, and it is due again.
  return existed ? kept : std::string();
}

}  // namespace barcache
