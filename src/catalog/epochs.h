// Epochs: change counters shared by all processes that use a catalog, and their write lock.
//
// The file `<db_path>-barcache` is mapped by every process. Each key belongs to a bucket whose
// counter moves with every commit that touches the bucket, and is odd while one is under way. A
// second pair of counters, begun and ended, stands for commits of the SQLAlchemy engine.
// The write lock is an open-file-description lock on the file: unlike SQLite's POSIX locks it
// belongs to this object, not to the process.
//
// The file is made complete without a name and then linked into place. A file that is no good
// (wrong size or magic) is replaced, under its lock, by a new one; whoever still maps the old one
// notices by its inode, at the latest when it writes. Every file starts its counters at a random
// value, so that an epoch of one file never equals an epoch of another.
//
// The header also keeps what is known of the catalog beside it, for the case that it is lost: see
// CatalogNote.
//
// Thread safety: EpochOf, the engine calls and Refresh from any thread; Lock, Mark and Unlock by
// one thread at a time (the catalog's writer mutex).
// Errors: kIo when the file is a link, not a regular file, or of another user; kUnsupportedCatalog
// for a newer version; kBusy when the lock is not to be had in time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "barcache/status.h"
#include "base/file_system.h"
#include "base/mutex.h"
#include "catalog/catalog.h"

namespace barcache {

// What the name of the file adds to the catalog's.
inline constexpr char kEpochsSuffix[] = "-barcache";

enum class EpochsMode {
  kShared,    // Mapped read-write, made if missing.
  kReadOnly,  // Mapped read-only; without a file there is nothing to see (present() is false).
  kPrivate,   // Counters of this object alone, no file.
};

// What the file says of the catalog, as of the last time that barcache opened it for writing.
struct CatalogNote {
  std::string catalog_id;  // 32 hex letters; "": not known.
  // RustyBT keeps rows in the tables that barcache never writes. Not known counts as true.
  bool is_shared = true;
  bool damage_seen = false;  // SQLite found damage since then.
};

class Epochs {
 public:
  // The note in that file, empty where there is none. Fails where that could not be found out: a
  // catalog whose note is not seen would be taken for one that never was.
  static Result<CatalogNote> ReadNote(const std::string& path);

  static Result<std::unique_ptr<Epochs>> Open(const std::string& path, EpochsMode mode);
  ~Epochs();
  Epochs(const Epochs&) = delete;
  Epochs& operator=(const Epochs&) = delete;

  static constexpr size_t kBucketCount = 8192;
  static size_t BucketOf(std::string_view cache_key);

  bool present() const { return current_.load(std::memory_order_relaxed) != nullptr; }
  Epoch EpochOf(std::string_view cache_key) const;

  // The write lock. Either also mends what a writer that died in a commit left behind.
  Status Lock(int64_t busy_timeout_ms);
  Result<bool> TryLock();  // False: somebody else has it.
  void Unlock();

  // REQUIRES for both: the lock is held. The commit happens between them.
  void MarkOdd(const std::vector<size_t>& buckets);
  void MarkEven(const std::vector<size_t>& buckets);

  // REQUIRES for both: the lock is held. WriteNote: a catalog was opened and is sound. CountSwap: a
  // rebuilt catalog has taken the name; every counter moves.
  void WriteNote(std::string_view catalog_id, bool is_shared);
  void CountSwap();
  // Moves with CountSwap, in every process.
  uint64_t swaps() const;
  // Where a connection notes that it met damage; nullptr where nothing can be noted.
  std::atomic<uint32_t>* damage_note() const;

  // From before the commit of an engine's transaction until it is done or failed. May overlap.
  void BeginEngineCommit();
  void EndEngineCommit();

  // Maps the file that has the name now, if it is another one. Returns whether it was.
  Result<bool> Refresh();

  // Around a fork; the write lock must be free. The child gets a descriptor, thus a lock, of its
  // own.
  void BeforeFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS;
  void AfterFork(bool in_child) BARCACHE_NO_THREAD_SAFETY_ANALYSIS;

 private:
  struct Region;
  struct File;
  Epochs(std::string path, EpochsMode mode);
  Status MapFile() BARCACHE_REQUIRES(map_mutex_);
  Result<bool> OpenExisting(FileDescriptor* fd) const;
  static int FillNewFile(int fd);
  Status MakeFile() const;
  Status MakeFileByDraft(const std::string& draft, bool replace) const;
  Status ReplaceUnusable(const FileDescriptor& fd) const;
  Status MapDescriptor(FileDescriptor fd) BARCACHE_REQUIRES(map_mutex_);
  void MapPrivate() BARCACHE_REQUIRES(map_mutex_);
  void Mend(File* file);

  const std::string path_;
  const EpochsMode mode_;
  std::atomic<File*> current_{nullptr};
  File* locked_ = nullptr;  // The file whose lock this object holds.

  Mutex map_mutex_;
  // Files that were replaced stay mapped until the end: a reader may be looking at one.
  std::vector<std::unique_ptr<File>> files_ BARCACHE_GUARDED_BY(map_mutex_);

  Mutex engine_mutex_;
  int engine_commits_ BARCACHE_GUARDED_BY(engine_mutex_) = 0;
  File* engine_file_ BARCACHE_GUARDED_BY(engine_mutex_) = nullptr;
};

}  // namespace barcache
