// A VFS that wraps the files SQLite opens as a write-ahead log, and no others. See log_file.h.
#include "catalog/log_file.h"

#include <sqlite3.h>

#include <cstdint>
#include <cstring>
#include <new>

namespace barcache {

namespace {

constexpr int kFrameHeaderBytes = 24;
constexpr int kBufferBytes = 128 * 1024;

sqlite3_vfs* OriginalVfs() {
  static sqlite3_vfs* const original = sqlite3_vfs_find(nullptr);
  return original;
}

// SQLite allots szOsFile bytes for it; the original's file lies behind it.
struct LogFile {
  sqlite3_file base;
  sqlite3_file* original;
  uint8_t* buffer;  // Bytes that belong at `offset`; nullptr: never needed yet.
  sqlite3_int64 offset;
  int size;
  bool commits;  // The page that comes next is the last of its commit.

  static LogFile* Of(sqlite3_file* file) { return reinterpret_cast<LogFile*>(file); }
};
static_assert(sizeof(LogFile) % 8 == 0);  // What SQLite aligns its files to.

int Flush(LogFile* log) {
  if (log->size == 0) return SQLITE_OK;
  const int size = log->size;
  log->size = 0;
  return log->original->pMethods->xWrite(log->original, log->buffer, size, log->offset);
}

// Runs `call` on the original file after what is gathered has been written.
template <typename Call>
int AfterFlush(sqlite3_file* file, Call call) {
  LogFile* log = LogFile::Of(file);
  const int flushed = Flush(log);
  return flushed == SQLITE_OK ? call(log->original) : flushed;
}

int Close(sqlite3_file* file) {
  LogFile* log = LogFile::Of(file);
  Flush(log);  // Never of a commit.
  delete[] log->buffer;
  return log->original->pMethods->xClose(log->original);
}

int Read(sqlite3_file* file, void* data, int size, sqlite3_int64 offset) {
  return AfterFlush(file, [&](sqlite3_file* original) {
    return original->pMethods->xRead(original, data, size, offset);
  });
}

// A frame's header holds, big-endian at byte 4, the database's size in pages if the frame is the
// last of a commit, else 0 (https://www.sqlite.org/fileformat2.html#the_write_ahead_log).
bool MarksCommit(const void* header) {
  const auto* bytes = static_cast<const uint8_t*>(header);
  return (bytes[4] | bytes[5] | bytes[6] | bytes[7]) != 0;
}

int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  LogFile* log = LogFile::Of(file);
  const bool follows = log->size > 0 && log->offset + log->size == offset;
  if (!follows || log->size + size > kBufferBytes) {
    if (const int flushed = Flush(log); flushed != SQLITE_OK) return flushed;
  }
  const bool is_header = size == kFrameHeaderBytes;
  // Only what SQLite appends, header and page in turn, is gathered. When it corrects the headers
  // of older frames, each comes alone, and that of the commit must not stay here.
  const bool gathers = follows || (is_header && !MarksCommit(data));
  if (gathers && log->buffer == nullptr) log->buffer = new (std::nothrow) uint8_t[kBufferBytes];
  if (!gathers || size > kBufferBytes || log->buffer == nullptr) {
    return log->original->pMethods->xWrite(log->original, data, size, offset);
  }
  if (log->size == 0) log->offset = offset;
  std::memcpy(log->buffer + log->size, data, static_cast<size_t>(size));
  log->size += size;
  if (is_header) {
    log->commits = MarksCommit(data);
    return SQLITE_OK;
  }
  return log->commits ? Flush(log) : SQLITE_OK;
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  return AfterFlush(
      file, [&](sqlite3_file* original) { return original->pMethods->xTruncate(original, size); });
}

int Sync(sqlite3_file* file, int flags) {
  return AfterFlush(
      file, [&](sqlite3_file* original) { return original->pMethods->xSync(original, flags); });
}

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return AfterFlush(
      file, [&](sqlite3_file* original) { return original->pMethods->xFileSize(original, size); });
}

int Lock(sqlite3_file* file, int level) {
  sqlite3_file* original = LogFile::Of(file)->original;
  return original->pMethods->xLock(original, level);
}

int Unlock(sqlite3_file* file, int level) {
  sqlite3_file* original = LogFile::Of(file)->original;
  return original->pMethods->xUnlock(original, level);
}

int CheckReservedLock(sqlite3_file* file, int* result) {
  sqlite3_file* original = LogFile::Of(file)->original;
  return original->pMethods->xCheckReservedLock(original, result);
}

int FileControl(sqlite3_file* file, int operation, void* argument) {
  return AfterFlush(file, [&](sqlite3_file* original) {
    return original->pMethods->xFileControl(original, operation, argument);
  });
}

int SectorSize(sqlite3_file* file) {
  sqlite3_file* original = LogFile::Of(file)->original;
  return original->pMethods->xSectorSize(original);
}

int DeviceCharacteristics(sqlite3_file* file) {
  sqlite3_file* original = LogFile::Of(file)->original;
  return original->pMethods->xDeviceCharacteristics(original);
}

// Version 1: shared memory and mappings are asked of the database's file, not of the log.
constexpr sqlite3_io_methods kMethods = {1,
                                         Close,
                                         Read,
                                         Write,
                                         Truncate,
                                         Sync,
                                         FileSize,
                                         Lock,
                                         Unlock,
                                         CheckReservedLock,
                                         FileControl,
                                         SectorSize,
                                         DeviceCharacteristics,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr};

int Open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  if ((flags & SQLITE_OPEN_WAL) == 0) {
    return OriginalVfs()->xOpen(OriginalVfs(), name, file, flags, out_flags);
  }
  auto* log = new (file) LogFile{};
  log->original = reinterpret_cast<sqlite3_file*>(log + 1);
  log->original->pMethods = nullptr;
  const int code = OriginalVfs()->xOpen(OriginalVfs(), name, log->original, flags, out_flags);
  // SQLite closes what has methods, even if opening it failed.
  if (log->original->pMethods != nullptr) log->base.pMethods = &kMethods;
  return code;
}

}  // namespace

const char* GatheringVfs() {
  static const char* const name = []() -> const char* {
    static sqlite3_vfs vfs;
    if (OriginalVfs() == nullptr) return nullptr;
    vfs = *OriginalVfs();  // All but xOpen does not care through which of the two it is called.
    vfs.pNext = nullptr;
    vfs.zName = "barcache-log";
    vfs.szOsFile = OriginalVfs()->szOsFile + static_cast<int>(sizeof(LogFile));
    vfs.xOpen = &Open;
    return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? vfs.zName : nullptr;
  }();
  return name;
}

}  // namespace barcache
