// Connections: opening, hardening, waiting for locks, errors. See sqlite.h.
#include "catalog/sqlite.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "base/failpoint.h"
#include "base/file_system.h"
#include "catalog/database_image.h"
#include "catalog/log_file.h"

namespace barcache {

namespace {

int64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

void SleepUs(int64_t us) {
  timespec pause{us / 1'000'000, (us % 1'000'000) * 1000};
  nanosleep(&pause, nullptr);
}

void CallFunction(sqlite3_context* context, int count, sqlite3_value** values) {
  SqliteFunctionCall call(context, count, values);
  try {
    (*static_cast<SqliteFunction*>(sqlite3_user_data(context)))(call);
  } catch (const std::bad_alloc&) {
    sqlite3_result_error_nomem(context);
  }
}

// SQLite's own handle of the database's file; nullptr where it has none.
sqlite3_file* FileOf(sqlite3* handle) {
  sqlite3_file* file = nullptr;
  const int code = sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  return code == SQLITE_OK && file != nullptr && file->pMethods != nullptr ? file : nullptr;
}

void DeleteFunction(void* function) { delete static_cast<SqliteFunction*>(function); }

std::string BusyText(int64_t busy_timeout_ms) {
  return "another process or thread has held its lock for " +
         (busy_timeout_ms % 1000 == 0 ? std::to_string(busy_timeout_ms / 1000) + " s"
                                      : std::to_string(busy_timeout_ms) + " ms") +
         "; try again, or look for a program with an open transaction on it";
}

}  // namespace

Status StatusFromSqlite(int extended_code, std::string_view detail, std::string_view doing,
                        std::string_view database, int64_t busy_timeout_ms, int system_errno) {
  ErrorCode code = ErrorCode::kInternal;
  std::string advice;
  switch (extended_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      code = ErrorCode::kBusy;
      detail = "busy";  // "database is locked" says neither who nor for how long.
      advice = BusyText(busy_timeout_ms);
      break;
    case SQLITE_FULL:
      code = ErrorCode::kNoSpace;
      advice = "the disk or quota is full: free space and try again";
      break;
    case SQLITE_READONLY:
      code = ErrorCode::kReadOnly;
      advice =
          "it cannot be written: check the permissions of the file and its directory, or "
          "open the cache read-only";
      break;
    case SQLITE_ERROR:  // For instance a table that was dropped.
    case SQLITE_SCHEMA:
    case SQLITE_CORRUPT:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
      code = ErrorCode::kCatalogCorrupt;
      advice = "its content is damaged: run `barcache verify --repair`, or restore it";
      break;
    case SQLITE_NOTADB:
      code = ErrorCode::kNotACatalog;
      advice = "it is not a SQLite database: choose another db_path";
      break;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      code = ErrorCode::kIo;
      advice = "check that its directory exists and may be used, and the disk";
      break;
    case SQLITE_NOMEM:
      code = ErrorCode::kOutOfMemory;
      advice = "out of memory";
      break;
    default:
      advice = "please report this";
  }
  // A file system may say "no space" by errno where SQLite says only "I/O error".
  if (code == ErrorCode::kIo && (system_errno == ENOSPC || system_errno == EDQUOT)) {
    code = ErrorCode::kNoSpace;
    advice = "the disk or quota is full: free space and try again";
  }
  if (code == ErrorCode::kIo && (system_errno == EMFILE || system_errno == ENFILE)) {
    advice = "too many files are open: raise the limit (ulimit -n)";
  }
  std::string message = "catalog ";
  message.append(database).append(": ").append(doing).append(": ").append(detail);
  message.append(" (SQLite error ").append(std::to_string(extended_code)).append("); ");
  message.append(advice);
  return Status(code, std::move(message), system_errno);
}

const char* SqliteVersion() { return sqlite3_libversion(); }
int SqliteVersionNumber() { return sqlite3_libversion_number(); }

std::string EscapeForUri(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '/' || c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      escaped.push_back(c);
    } else {
      escaped.push_back('%');
      escaped.push_back(kHex[byte >> 4]);
      escaped.push_back(kHex[byte & 15]);
    }
  }
  return escaped;
}

std::string SqliteUri(std::string_view path, std::string_view query) {
  std::string uri = "file:" + EscapeForUri(path);
  if (!query.empty()) uri.append("?").append(query);
  return uri;
}

Result<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const SqliteOpenOptions& options) {
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection());
  connection->name_ = options.name.empty() ? options.target : options.name;
  connection->busy_timeout_ms_ = options.busy_timeout_ms;
  int flags = SQLITE_OPEN_URI | SQLITE_OPEN_EXRESCODE;
  if (options.read_only && options.image == nullptr) {
    flags |= SQLITE_OPEN_READONLY;
  } else {
    flags |= SQLITE_OPEN_READWRITE | (options.create ? SQLITE_OPEN_CREATE : 0);
  }
  flags |= options.serialized ? SQLITE_OPEN_FULLMUTEX : SQLITE_OPEN_NOMUTEX;
  const std::string target = options.image == nullptr ? options.target : ":memory:";
  int code = sqlite3_open_v2(target.c_str(), &connection->handle_, flags,
                             options.gathers_log ? GatheringVfs() : nullptr);
  if (code == SQLITE_OK && options.image != nullptr) {
    const sqlite3_int64 size_bytes = options.image->size_bytes();
    code = sqlite3_deserialize(connection->handle_, "main", options.image->data(), size_bytes,
                               size_bytes, SQLITE_DESERIALIZE_READONLY);
  }
  if (code != SQLITE_OK) return connection->LastError(code, "open");
  BARCACHE_RETURN_IF_ERROR(connection->Configure(options));
  return connection;
}

Status SqliteConnection::Configure(const SqliteOpenOptions& options) {
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_handler(handle_, &SqliteConnection::OnBusy, this);
  sqlite3_wal_hook(handle_, &SqliteConnection::OnWalCommit, this);
  if (!Mutant("close_loses_log")) {
    sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  if (!options.hardened || Mutant("no_hardening")) return Status();
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  return Execute("PRAGMA cell_size_check=ON");
}

SqliteConnection::~SqliteConnection() {
  kept_.clear();
  // _v2: a statement that outlived its connection keeps it as a zombie, instead of a leak.
  if (handle_ != nullptr) sqlite3_close_v2(handle_);
}

// Called while a lock is held elsewhere. SQLite's own handler sleeps up to 100 ms at a time, which
// leaves a short queue of writers mostly asleep.
int SqliteConnection::OnBusy(void* self, int count) {
  auto* connection = static_cast<SqliteConnection*>(self);
  const int64_t now_ns = MonotonicNs();
  if (count == 0) connection->busy_since_ns_ = now_ns;
  const int64_t waited_us = (now_ns - connection->busy_since_ns_) / 1000;
  const int64_t left_us = connection->busy_timeout_ms_ * 1000 - waited_us;
  if (left_us <= 0) return 0;
  SleepUs(std::min({int64_t{20} << std::min(count, 8), int64_t{3000}, left_us}));
  return 1;
}

int SqliteConnection::OnWalCommit(void* self, sqlite3*, const char*, int pages) {
  static_cast<SqliteConnection*>(self)->wal_pages_ = pages;
  return SQLITE_OK;
}

// SQLite calls a page that the disk did not give back damaged. What the system said of the
// database and its log tells the two apart: a failing disk is no reason to repair anything.
int SqliteConnection::ReadErrno() const {
  for (const int which : {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER}) {
    sqlite3_file* file = nullptr;
    int error = 0;
    if (sqlite3_file_control(handle_, "main", which, &file) != SQLITE_OK) continue;
    if (file == nullptr || file->pMethods == nullptr) continue;
    if (file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error) != SQLITE_OK) continue;
    if (error == EIO || error == ENXIO || error == ERANGE) return error;
  }
  return 0;
}

Status SqliteConnection::LastError(int code, std::string_view doing) const {
  if (handle_ == nullptr) {
    return StatusFromSqlite(SQLITE_NOMEM, "out of memory", doing, name_, busy_timeout_ms_, 0);
  }
  if (const int error = (code & 0xff) == SQLITE_CORRUPT ? ReadErrno() : 0; error != 0) {
    return StatusFromSqlite(SQLITE_IOERR_READ, "could not be read", doing, name_, busy_timeout_ms_,
                            error);
  }
  const bool damaged = (code & 0xff) == SQLITE_CORRUPT;
  if (damaged && damage_note_ != nullptr) damage_note_->store(1, std::memory_order_relaxed);
  const int extended = sqlite3_extended_errcode(handle_);
  // The connection may have recorded another error since: `code` is what the call returned.
  const bool same = (extended & 0xff) == (code & 0xff);
  const int system_errno = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN ||
                                   (code & 0xff) == SQLITE_FULL
                               ? sqlite3_system_errno(handle_)
                               : 0;
  return StatusFromSqlite(same ? extended : code,
                          same ? sqlite3_errmsg(handle_) : sqlite3_errstr(code), doing, name_,
                          busy_timeout_ms_, system_errno);
}

Result<SqliteStatement> SqliteConnection::Prepare(std::string_view sql, std::string_view* tail) {
  sqlite3_stmt* statement = nullptr;
  const char* rest = nullptr;
  if (sql.size() > 0x7fffffff) {
    return Status(ErrorCode::kInvalidArgument, "catalog " + name_ + ": SQL text above 2 GiB");
  }
  const int code =
      sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), 0, &statement, &rest);
  if (code != SQLITE_OK) return LastError(code, "prepare");
  if (tail != nullptr) *tail = sql.substr(static_cast<size_t>(rest - sql.data()));
  return SqliteStatement(this, statement);
}

Result<StatementUse> SqliteConnection::Use(const char* sql) {
  for (auto& [text, statement] : kept_) {
    if (text == sql) return StatementUse(statement.get());
  }
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  if (code != SQLITE_OK) return LastError(code, "prepare");
  // Owned before anything can throw: a statement that nobody finalizes keeps its connection, with
  // descriptors and locks, for ever.
  SqliteStatement prepared(this, raw);
  kept_.emplace_back(sql, std::make_unique<SqliteStatement>(std::move(prepared)));
  return StatementUse(kept_.back().second.get());
}

Status SqliteConnection::Execute(std::string_view sql) {
  while (!sql.empty()) {
    std::string_view tail;
    BARCACHE_ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql, &tail));
    if (statement.valid()) BARCACHE_RETURN_IF_ERROR(statement.Run());
    sql = tail;
  }
  return Status();
}

int64_t SqliteConnection::changes() const { return sqlite3_changes64(handle_); }
int64_t SqliteConnection::total_changes() const { return sqlite3_total_changes64(handle_); }
int64_t SqliteConnection::last_insert_rowid() const { return sqlite3_last_insert_rowid(handle_); }
bool SqliteConnection::in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }
bool SqliteConnection::writable() const { return sqlite3_db_readonly(handle_, "main") == 0; }
int SqliteConnection::error_code() const { return sqlite3_extended_errcode(handle_); }
std::string SqliteConnection::error_message() const { return sqlite3_errmsg(handle_); }
void SqliteConnection::Interrupt() { sqlite3_interrupt(handle_); }

bool SqliteConnection::found_damage() const {
  const int code = sqlite3_errcode(handle_);
  return (code & 0xff) == SQLITE_NOTADB || ((code & 0xff) == SQLITE_CORRUPT && ReadErrno() == 0);
}

Result<bool> SqliteConnection::has_moved() const {
  const auto is_said = [this] {
    int moved = 0;
    const int code = sqlite3_file_control(handle_, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return code == SQLITE_OK && moved != 0;
  };
  if (!is_said()) return false;
  // SQLite says so too of a file that it could not look at.
  const std::string path = sqlite3_db_filename(handle_, "main");
  struct stat status{};
  if (stat(path.c_str(), &status) == 0) return is_said();
  if (errno == ENOENT || errno == ENOTDIR) return true;
  return StatusFromErrno(errno, "examine", path);
}

Status SqliteConnection::ReadRaw(int64_t offset, void* bytes, int size) {
  sqlite3_file* file = FileOf(handle_);
  const int code =
      file == nullptr ? SQLITE_IOERR_READ : file->pMethods->xRead(file, bytes, size, offset);
  if (code == SQLITE_OK || code == SQLITE_IOERR_SHORT_READ) return Status();
  return StatusFromSqlite(code, sqlite3_errstr(code), "read its bytes", name_, busy_timeout_ms_, 0);
}

Result<int64_t> SqliteConnection::RawSize() {
  sqlite3_file* file = FileOf(handle_);
  sqlite3_int64 size = 0;
  const int code = file == nullptr ? SQLITE_IOERR_FSTAT : file->pMethods->xFileSize(file, &size);
  if (code == SQLITE_OK) return static_cast<int64_t>(size);
  return StatusFromSqlite(code, sqlite3_errstr(code), "read its size", name_, busy_timeout_ms_, 0);
}

void SqliteConnection::CheckpointOnClose() {
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
}

Status SqliteConnection::CreateFunction(const std::string& name, int argument_count,
                                        bool deterministic, SqliteFunction function) {
  const int flags = SQLITE_UTF8 | (deterministic ? SQLITE_DETERMINISTIC : 0);
  auto* owned = function ? new SqliteFunction(std::move(function)) : nullptr;
  const int code =
      sqlite3_create_function_v2(handle_, name.c_str(), argument_count, flags, owned,
                                 owned != nullptr ? &CallFunction : nullptr, nullptr, nullptr,
                                 owned != nullptr ? &DeleteFunction : nullptr);
  return code == SQLITE_OK ? Status() : LastError(code, "create a function");
}

}  // namespace barcache
