// DatabaseImage: a database and its write-ahead log, copied into memory as one.
//
// For a medium on which nothing can be written: SQLite reads a database that has a log only with
// an index of the log beside it, in a file that it must be able to make. Here SQLite itself
// recovers the log, with the index in memory, and nothing is written anywhere. Connections
// (SqliteOpenOptions::image) read the copy in place; they share its bytes and cannot change them.
//
// Thread safety: immutable. Must outlive the connections that read it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "barcache/status.h"

namespace barcache {

class DatabaseImage {
 public:
  // REQUIRES: no connection of this process holds a lock on the file (they would be lost: the
  // database is read without SQLite's locks), and nobody writes; kBusy if somebody did meanwhile.
  // Otherwise as StatusFromSqlite says.
  static Result<std::unique_ptr<DatabaseImage>> Copy(const std::string& path,
                                                     int64_t busy_timeout_ms);

  // True where the directory of `path` cannot be written by this process, and neither a process
  // that is alive nor this one can have the database's log open.
  static bool IsNeededFor(const std::string& path);

  uint8_t* data() const { return bytes_.get(); }  // SQLite takes no pointer to const.
  int64_t size_bytes() const { return size_bytes_; }

 private:
  struct Free {
    void operator()(uint8_t* bytes) const;
  };
  DatabaseImage(uint8_t* bytes, int64_t size_bytes) : bytes_(bytes), size_bytes_(size_bytes) {}
  std::unique_ptr<uint8_t, Free> bytes_;
  int64_t size_bytes_;
};

}  // namespace barcache
