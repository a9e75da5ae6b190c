// Copying a database with its log, without a lock and without a file. See database_image.h.
#include "catalog/database_image.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/file_system.h"
#include "catalog/sqlite.h"

namespace barcache {

namespace {

// Where a database says whether it has a log (https://www.sqlite.org/fileformat2.html, "File
// format version numbers"): 2 yes, 1 no.
constexpr int kWriteVersionOffset = 18;
constexpr int kReadVersionOffset = 19;

// What changes when somebody writes the file. All zero: there is none.
struct FileMark {
  uint64_t inode = 0;
  int64_t size_bytes = 0;
  int64_t modified_s = 0;
  int64_t modified_ns = 0;
  bool operator==(const FileMark&) const = default;
};

Result<FileMark> MarkOf(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return FileMark();
    return StatusFromErrno(errno, "examine", path);
  }
  return FileMark{status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

Status CopyPages(SqliteConnection* from, SqliteConnection* to) {
  sqlite3_backup* backup = sqlite3_backup_init(to->handle(), "main", from->handle(), "main");
  const int stepped = backup == nullptr ? SQLITE_OK : sqlite3_backup_step(backup, -1);
  const int finished =
      backup == nullptr ? sqlite3_errcode(to->handle()) : sqlite3_backup_finish(backup);
  if (stepped == SQLITE_DONE && finished == SQLITE_OK) return Status();
  const int code = finished != SQLITE_OK ? finished : stepped;
  return StatusFromSqlite(code, sqlite3_errstr(code), "copy to memory", from->name(),
                          from->busy_timeout_ms(), 0);
}

}  // namespace

void DatabaseImage::Free::operator()(uint8_t* bytes) const { sqlite3_free(bytes); }

bool DatabaseImage::IsNeededFor(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  if (faccessat(AT_FDCWD, folder.c_str(), W_OK, AT_EACCESS) == 0) return false;
  struct statvfs medium{};
  if (statvfs(path.c_str(), &medium) == 0 && (medium.f_flag & ST_RDONLY) != 0) return true;
  // Whoever uses the log has its index.
  struct stat status{};
  return lstat((path + "-shm").c_str(), &status) != 0 && errno == ENOENT;
}

Result<std::unique_ptr<DatabaseImage>> DatabaseImage::Copy(const std::string& path,
                                                           int64_t busy_timeout_ms) {
  BARCACHE_ASSIGN_OR_RETURN(const FileMark database_before, MarkOf(path));
  BARCACHE_ASSIGN_OR_RETURN(const FileMark log_before, MarkOf(path + "-wal"));
  SqliteOpenOptions open;
  // Locks on such a medium say nothing. Without a log SQLite is not to make one.
  open.target =
      SqliteUri(path, log_before.size_bytes > 0 ? "vfs=unix-none" : "vfs=unix-none&immutable=1");
  open.name = path;
  open.read_only = true;
  open.busy_timeout_ms = busy_timeout_ms;
  BARCACHE_ASSIGN_OR_RETURN(const auto source, SqliteConnection::Open(open));
  // With this the index of the log is kept in memory.
  BARCACHE_RETURN_IF_ERROR(source->Execute("PRAGMA locking_mode=EXCLUSIVE"));
  SqliteOpenOptions memory;
  memory.target = ":memory:";
  memory.name = path;
  BARCACHE_ASSIGN_OR_RETURN(const auto copy, SqliteConnection::Open(memory));
  BARCACHE_RETURN_IF_ERROR(CopyPages(source.get(), copy.get()));
  BARCACHE_ASSIGN_OR_RETURN(const FileMark database_after, MarkOf(path));
  BARCACHE_ASSIGN_OR_RETURN(const FileMark log_after, MarkOf(path + "-wal"));
  if (database_after != database_before || log_after != log_before) {
    return Status(ErrorCode::kBusy, "catalog " + path +
                                        ": it was written while it was copied to memory; try "
                                        "again");
  }
  sqlite3_int64 size_bytes = 0;
  uint8_t* bytes = sqlite3_serialize(copy->handle(), "main", &size_bytes, 0);
  if (bytes == nullptr) {
    return Status(ErrorCode::kOutOfMemory,
                  "catalog " + path + ": out of memory while it was copied there");
  }
  std::unique_ptr<DatabaseImage> image(new DatabaseImage(bytes, size_bytes));
  if (size_bytes > kReadVersionOffset) {
    bytes[kWriteVersionOffset] = 1;  // The log is part of the copy.
    bytes[kReadVersionOffset] = 1;
  }
  return image;
}

}  // namespace barcache
