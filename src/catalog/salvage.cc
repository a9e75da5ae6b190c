// Reading what is left of a damaged catalog. See salvage.h.
#include "catalog/salvage.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/failpoint.h"
#include "base/file_system.h"
#include "catalog/schema_sql.h"

namespace barcache {
namespace {

// What is looked at of a file whose first page is damaged.
constexpr int64_t kMaxImageBytes = int64_t{1} << 30;
constexpr int kHeaderBytes = 100;
constexpr int kPageBytes = 4096;
constexpr std::string_view kMagic("SQLite format 3\0", 16);
// Filled by RustyBT, never by barcache.
constexpr std::string_view kRustyBtOnly[] = {"symbols", "date_ranges", "checksums"};

bool IsOurTable(std::string_view name) {
  const auto named = [&](const auto& object) { return object.name == name; };
  return std::ranges::any_of(RustyBtTables(), named) ||
         std::ranges::any_of(BarcacheSchema(), [&](const SchemaObject& object) {
           return object.type == "table" && object.name == name;
         });
}

// What may be said of damaged content; anything else is a failure of reading it.
bool IsDamage(const Status& status) {
  return status.code() == ErrorCode::kCatalogCorrupt || status.code() == ErrorCode::kNotACatalog;
}

bool IsNameLetter(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= '0' && letter <= '9') || letter == '_';
}

// The names in texts of CREATE TABLE, wherever they stand. What was written over within the name is
// not one: pages hold remains of what they once held.
void FindTableNames(std::string_view bytes, std::vector<std::string>* names) {
  for (const std::string_view create : {"CREATE TABLE ", "CREATE VIRTUAL TABLE "}) {
    for (size_t at = bytes.find(create); at != std::string_view::npos;
         at = bytes.find(create, at + 1)) {
      size_t begin = at + create.size();
      if (begin < bytes.size() && std::strchr("\"'`[", bytes[begin]) != nullptr) ++begin;
      size_t end = begin;
      while (end < bytes.size() && IsNameLetter(bytes[end])) ++end;
      const bool is_whole = end > begin && end < bytes.size() &&
                            std::strchr(" (\n\t\"'`]", bytes[end]) != nullptr && bytes[end] != 0;
      if (is_whole) names->emplace_back(bytes.substr(begin, end - begin));
    }
  }
}

// The log is not SQLite's to lock: reading it by other means drops nothing.
Result<std::string> ReadLog(const std::string& path) {
  const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) return std::string();
  if (!fd.valid()) return StatusFromErrno(errno, "open", path);
  struct stat status{};
  if (fstat(fd.get(), &status) != 0) return StatusFromErrno(errno, "examine", path);
  if (!S_ISREG(status.st_mode)) return std::string();
  std::string bytes(static_cast<size_t>(std::min<int64_t>(status.st_size, kMaxImageBytes)), '\0');
  size_t read = 0;
  while (read < bytes.size()) {
    const ssize_t got =
        pread(fd.get(), bytes.data() + read, bytes.size() - read, static_cast<off_t>(read));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return StatusFromErrno(errno, "read", path);
    if (got == 0) break;
    read += static_cast<size_t>(got);
  }
  bytes.resize(read);
  return bytes;
}

// A sound header for a database of so many pages, as SQLite writes it
// (https://www.sqlite.org/fileformat2.html#the_database_header).
void WriteHeader(uint8_t* page, int64_t page_count) {
  std::memset(page, 0, kHeaderBytes);
  std::memcpy(page, kMagic.data(), kMagic.size());
  const auto put = [page](int offset, int64_t value) {
    for (int i = 0; i < 4; ++i) page[offset + i] = static_cast<uint8_t>(value >> (24 - 8 * i));
  };
  page[16] = kPageBytes >> 8;
  page[18] = page[19] = 1;  // Not in WAL mode: there is no log in memory.
  page[21] = 64;
  page[22] = page[23] = 32;
  put(24, 1);
  put(28, page_count);
  put(40, 1);
  put(44, 4);
  put(56, 1);  // UTF-8.
  put(92, 1);
  put(96, SqliteVersionNumber());
}

// Steps `from`, and puts each row into `into`. *source says how reading ended.
Status CopyRows(SqliteStatement* from, SqliteStatement* into, Status* source) {
  while (true) {
    const Result<bool> row = from->Step();
    *source = row.status();
    if (!row.ok() || !*row) return Status();
    for (int column = 0; column < from->column_count(); ++column) {
      switch (from->type(column)) {
        case SqliteType::kInteger:
          into->Bind(column + 1, from->Int64(column));
          break;
        case SqliteType::kFloat:
          into->Bind(column + 1, from->Double(column));
          break;
        case SqliteType::kText:
          into->BindTextCopy(column + 1, from->Text(column));
          break;
        case SqliteType::kBlob:
          into->BindBlobCopy(column + 1, from->Blob(column));
          break;
        case SqliteType::kNull:
          into->BindNull(column + 1);
          break;
      }
    }
    BARCACHE_RETURN_IF_ERROR(into->Run());
  }
}

// What CopyFigures copies.
struct Figures {
  const char* table;
  const char* select;
  const char* insert;
};
constexpr Figures kFigures[] = {
    {"cache_entries",
     "SELECT cache_key, last_accessed, access_count FROM cache_entries NOT INDEXED"
     " WHERE typeof(cache_key) = 'text' AND typeof(last_accessed) = 'integer'"
     " AND access_count BETWEEN 0 AND 1099511627776",
     "INSERT OR IGNORE INTO temp.salvaged_uses VALUES (?1, ?2, ?3)"},
    {"barcache_entries",
     "SELECT cache_key, use_order, fetch_cost FROM barcache_entries NOT INDEXED"
     " WHERE typeof(cache_key) = 'text' AND typeof(use_order) = 'integer'"
     " AND typeof(fetch_cost) = 'real'",
     "INSERT OR IGNORE INTO temp.salvaged_costs VALUES (?1, ?2, ?3)"},
    {"backtest_cache_links",
     "SELECT id, backtest_id, cache_key, linked_at FROM backtest_cache_links NOT INDEXED"
     " WHERE typeof(backtest_id) = 'text' AND typeof(cache_key) = 'text'"
     " AND typeof(linked_at) = 'integer'",
     "INSERT OR IGNORE INTO temp.salvaged_links VALUES (?1, ?2, ?3, ?4)"},
};

}  // namespace

Result<bool> ProbeTables(SqliteConnection* connection) {
  std::vector<std::string> names;
  {
    BARCACHE_ASSIGN_OR_RETURN(
        SqliteStatement tables,
        connection->Prepare("SELECT name FROM sqlite_master WHERE type = 'table'"));
    while (true) {
      BARCACHE_ASSIGN_OR_RETURN(const bool row, tables.Step());
      if (!row) break;
      if (IsOurTable(tables.Text(0))) names.emplace_back(tables.Text(0));
    }
  }
  bool is_shared = false;
  for (const std::string& name : names) {
    BARCACHE_ASSIGN_OR_RETURN(SqliteStatement first, connection->Prepare("SELECT 1 FROM " + name +
                                                                         " NOT INDEXED LIMIT 1"));
    BARCACHE_ASSIGN_OR_RETURN(const bool row, first.Step());
    is_shared =
        is_shared || (row && std::ranges::find(kRustyBtOnly, name) != std::end(kRustyBtOnly));
  }
  return is_shared;
}

Result<DamagedCatalog> DamagedCatalog::Examine(const std::string& path, int64_t busy_timeout_ms,
                                               bool thorough, const CatalogNote& note) {
  DamagedCatalog catalog;
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) return StatusFromErrno(errno, "examine", path);
    status.st_size = 0;
    status.st_mode = S_IFREG;
  }
  if (!S_ISREG(status.st_mode)) {
    catalog.condition_ = CatalogCondition::kForeign;
    return catalog;
  }
  if (status.st_size == 0) {
    if (!note.catalog_id.empty()) catalog.condition_ = CatalogCondition::kLost;
    return catalog;
  }
  SqliteOpenOptions open;
  open.target = SqliteUri(path, "");
  open.name = path;
  open.create = false;
  open.busy_timeout_ms = busy_timeout_ms;
  BARCACHE_ASSIGN_OR_RETURN(catalog.file_, SqliteConnection::Open(open));
  // What is smaller than a page SQLite takes for empty.
  const bool is_cut = status.st_size < 512;
  if (!is_cut) {
    BARCACHE_ASSIGN_OR_RETURN(const bool sound, catalog.Probe(thorough));
    if (sound) return catalog;
  }
  BARCACHE_ASSIGN_OR_RETURN(catalog.names_are_complete_, catalog.ReadNames(catalog.file_.get()));
  if (catalog.names_are_complete_) catalog.source_ = catalog.file_.get();
  if (is_cut || !catalog.names_are_complete_) BARCACHE_RETURN_IF_ERROR(catalog.ReadImage());
  BARCACHE_RETURN_IF_ERROR(catalog.Judge(path, note));
  if (catalog.condition_ != CatalogCondition::kForeign) {
    BARCACHE_RETURN_IF_ERROR(catalog.ReadCatalogId());
  }
  return catalog;
}

// True: as far as was looked, it is sound; or what is wrong is no damage, and not ours to mend.
Result<bool> DamagedCatalog::Probe(bool thorough) {
  const Result<bool> probed = ProbeTables(file_.get());
  if (!probed.ok()) {
    const bool damaged = IsDamage(probed.status()) && file_->found_damage();
    if (damaged) return false;
    if (!IsDamage(probed.status())) return probed.status();
    return true;
  }
  if (!thorough) return true;
  SqliteStatement check;
  Status status;
  std::string finding;
  {
    Result<SqliteStatement> prepared = file_->Prepare("PRAGMA quick_check(1)");
    status = prepared.status();
    if (status.ok()) {
      check = std::move(*prepared);
      const Result<bool> row = check.Step();
      status = row.status();
      if (row.ok() && *row) finding = check.Text(0);
    }
  }
  if (status.ok()) return finding == "ok";
  if (IsDamage(status) && file_->found_damage()) return false;
  return status;
}

// Returns whether all of them could be read.
Result<bool> DamagedCatalog::ReadNames(SqliteConnection* connection) {
  Result<SqliteStatement> prepared = connection->Prepare(
      "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite~_%'"
      " ESCAPE '~'");
  if (!prepared.ok()) return IsDamage(prepared.status()) ? false : Result<bool>(prepared.status());
  const size_t before = names_.size();
  while (true) {
    const Result<bool> row = prepared->Step();
    if (!row.ok()) return IsDamage(row.status()) ? false : row;
    if (!*row) break;
    names_.emplace_back(prepared->Text(0));
  }
  // An empty schema of a file that is not empty is not what was in it.
  return names_.size() > before;
}

Status DamagedCatalog::ReadImage() {
  BARCACHE_ASSIGN_OR_RETURN(int64_t size, file_->RawSize());
  size = std::min(size, kMaxImageBytes);
  const int64_t padded = std::max<int64_t>((size + kPageBytes - 1) / kPageBytes, 1) * kPageBytes;
  auto* bytes = static_cast<uint8_t*>(sqlite3_malloc64(static_cast<sqlite3_uint64>(padded)));
  if (bytes == nullptr) return Status(ErrorCode::kOutOfMemory, "catalog: out of memory");
  const std::unique_ptr<uint8_t, void (*)(void*)> owned(bytes, sqlite3_free);
  for (int64_t at = 0; at < padded; at += kPageBytes) {
    BARCACHE_RETURN_IF_ERROR(file_->ReadRaw(at, bytes + at, kPageBytes));
  }
  WriteHeader(bytes, padded / kPageBytes);

  SqliteOpenOptions open;
  open.target = ":memory:";
  open.name = file_->name();
  BARCACHE_ASSIGN_OR_RETURN(image_, SqliteConnection::Open(open));
  auto* copy = static_cast<uint8_t*>(sqlite3_malloc64(static_cast<sqlite3_uint64>(padded)));
  if (copy == nullptr) return Status(ErrorCode::kOutOfMemory, "catalog: out of memory");
  std::memcpy(copy, bytes, static_cast<size_t>(padded));
  const int code = sqlite3_deserialize(image_->handle(), "main", copy, padded, padded,
                                       SQLITE_DESERIALIZE_FREEONCLOSE);  // Also where it fails.
  if (code == SQLITE_NOMEM) return Status(ErrorCode::kOutOfMemory, "catalog: out of memory");
  BARCACHE_ASSIGN_OR_RETURN(const bool readable, ReadNames(image_.get()));
  if (code == SQLITE_OK && readable) {
    source_ = image_.get();
  } else {
    FindTableNames({reinterpret_cast<const char*>(bytes), static_cast<size_t>(padded)}, &names_);
  }
  return Status();
}

Status DamagedCatalog::Judge(const std::string& path, const CatalogNote& note) {
  if (!names_are_complete_) {
    BARCACHE_ASSIGN_OR_RETURN(const std::string log, ReadLog(path + "-wal"));
    FindTableNames(log, &names_);
  }
  const auto is_foreign = [](const std::string& name) {
    return !IsOurTable(name) && !name.starts_with("sqlite_");
  };
  condition_ = CatalogCondition::kForeign;
  if (std::ranges::any_of(names_, is_foreign) && !Mutant("rebuild_foreign")) return Status();
  if (!std::ranges::any_of(names_, IsOurTable)) {
    // It says nothing of itself. Then it was ours if one of ours was here, and it looks like it.
    uint8_t head[16] = {};
    BARCACHE_RETURN_IF_ERROR(file_->ReadRaw(0, head, sizeof(head)));
    const std::string_view start(reinterpret_cast<const char*>(head), sizeof(head));
    BARCACHE_ASSIGN_OR_RETURN(const int64_t size, file_->RawSize());
    const size_t length = std::min<size_t>(static_cast<size_t>(size), kMagic.size());
    const bool looks_like_it = start.substr(0, length) == kMagic.substr(0, length) ||
                               start.find_first_not_of('\0') == std::string_view::npos;
    if (note.catalog_id.empty() || !looks_like_it) return Status();
  }
  BARCACHE_ASSIGN_OR_RETURN(const bool is_shared, MayBeShared(note));
  condition_ = is_shared && !Mutant("rebuild_shared") ? CatalogCondition::kShared
                                                      : CatalogCondition::kDamaged;
  return Status();
}

Result<bool> DamagedCatalog::MayBeShared(const CatalogNote& note) {
  bool is_known = source_ != nullptr && source_ == file_.get();
  for (const std::string_view name : kRustyBtOnly) {
    if (source_ == nullptr) break;
    if (names_are_complete_ && std::ranges::find(names_, name) == names_.end()) continue;
    auto first = source_->Prepare("SELECT 1 FROM " + std::string(name) + " NOT INDEXED LIMIT 1");
    const Result<bool> row = first.ok() ? first->Step() : Result<bool>(first.status());
    if (!row.ok() && !IsDamage(row.status())) return row.status();
    if (row.ok() && *row) return true;
    is_known = is_known && row.ok();
  }
  return is_known ? false : note.is_shared;
}

Status DamagedCatalog::ReadCatalogId() {
  if (source_ == nullptr) return Status();
  auto found = source_->Prepare("SELECT value FROM barcache_meta WHERE name = 'catalog_id'");
  const Result<bool> row = found.ok() ? found->Step() : Result<bool>(found.status());
  if (!row.ok()) return IsDamage(row.status()) ? Status() : row.status();
  const std::string id = *row ? found->TextOr(0, "") : "";
  const bool is_id =
      id.size() == 32 && id.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (is_id) catalog_id_ = id;
  return Status();
}

Result<bool> DamagedCatalog::Copy(SqliteConnection* draft, const std::string& table,
                                  const std::string& select, const std::string& insert,
                                  bool from_both_ends, SalvageReport* report) {
  BARCACHE_ASSIGN_OR_RETURN(const bool complete,
                            CopyAll(draft, table, select, insert, from_both_ends));
  if (!complete) report->damaged_tables.push_back(table);
  return complete;
}

Result<bool> DamagedCatalog::CopyAll(SqliteConnection* draft, const std::string& table,
                                     const std::string& select, const std::string& insert,
                                     bool from_both_ends) {
  if (source_ == nullptr) return false;
  const bool has_log = source_ == file_.get();  // The image lacks it.
  if (names_are_complete_ && std::ranges::find(names_, table) == names_.end()) return has_log;
  BARCACHE_ASSIGN_OR_RETURN(SqliteStatement into, draft->Prepare(insert));
  const std::string orders[] = {"", " ORDER BY rowid DESC"};
  for (int pass = 0; pass < (from_both_ends ? 2 : 1); ++pass) {
    auto from = source_->Prepare(select + orders[pass]);
    Status status = from.status();
    if (from.ok()) BARCACHE_RETURN_IF_ERROR(CopyRows(&*from, &into, &status));
    if (status.ok()) return has_log && pass == 0;
    if (!IsDamage(status)) return status;
  }
  return false;
}

Status DamagedCatalog::CopyFigures(SqliteConnection* draft, SalvageReport* report) {
  BARCACHE_RETURN_IF_ERROR(draft->Execute(
      "CREATE TEMP TABLE salvaged_uses (cache_key TEXT PRIMARY KEY, last_accessed, access_count);"
      "CREATE TEMP TABLE salvaged_costs (cache_key TEXT PRIMARY KEY, use_order, fetch_cost);"
      "CREATE TEMP TABLE salvaged_links (id INTEGER PRIMARY KEY, backtest_id, cache_key, "
      "linked_at)"));
  for (const Figures& some : kFigures) {
    BARCACHE_RETURN_IF_ERROR(
        Copy(draft, some.table, some.select, some.insert, true, report).status());
  }
  return Status();
}

Status DamagedCatalog::CopyTables(SqliteConnection* draft, SalvageReport* report) {
  for (const SchemaTable& table : RustyBtTables()) {
    const std::string name(table.name);
    if (name == "cache_entries" || name == "backtest_cache_links") continue;
    const std::string columns(table.columns);
    std::string marks = "?1";
    const auto count = std::ranges::count(columns, ',') + 1;
    for (int i = 2; i <= count; ++i) marks += ", ?" + std::to_string(i);
    BARCACHE_RETURN_IF_ERROR(
        Copy(draft, name, "SELECT " + columns + " FROM " + name + " NOT INDEXED",
             "INSERT OR IGNORE INTO " + name + " (" + columns + ") VALUES (" + marks + ")", true,
             report)
            .status());
  }
  BARCACHE_RETURN_IF_ERROR(draft->Execute("SAVEPOINT ledger"));
  BARCACHE_ASSIGN_OR_RETURN(
      const bool all_series,
      Copy(draft, "barcache_series",
           "SELECT series_key, source, resolution, adjustment, symbol, schema_text"
           " FROM barcache_series",
           "INSERT OR IGNORE INTO barcache_series VALUES (?1, ?2, ?3, ?4, ?5, ?6)", false, report));
  BARCACHE_ASSIGN_OR_RETURN(
      const bool all_coverage,
      Copy(draft, "barcache_coverage",
           "SELECT series_key, begin_ns, end_ns, state, segment_key, asked_at, expires_at"
           " FROM barcache_coverage",
           "INSERT OR IGNORE INTO barcache_coverage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", false,
           report));
  // A part of it would say of a gap that it was never asked for; of a stale one, that it was.
  if (!all_series || !all_coverage) {
    BARCACHE_RETURN_IF_ERROR(draft->Execute("ROLLBACK TO ledger"));
  }
  return draft->Execute("RELEASE ledger");
}

}  // namespace barcache
