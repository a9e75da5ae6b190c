// Closing, and noticing that the file under the catalog's name is another one.
#include <sys/stat.h>

#include <cerrno>
#include <new>

#include "base/failpoint.h"
#include "base/file_system.h"
#include "catalog/catalog_impl.h"

namespace barcache {

Result<ReaderPool::Lease> Catalog::Impl::TakeReader() {
  const bool swapped = epochs != nullptr && epochs->swaps() != swaps;
  if (swapped || replaced.load(std::memory_order_acquire)) {
    BARCACHE_RETURN_IF_ERROR(CheckIdentity());
  }
  return readers.Take();
}

void Catalog::Impl::CloseConnections() {
  writer.reset();
  checkpointer.reset();
  {
    const MutexLock lock(watch_mutex);
    watcher.reset();
  }
  readers.LockIdle();
  readers.CloseLocked();
  readers.Unlock();
}

Status Catalog::Impl::RememberIdentity() {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return StatusFromErrno(errno, "examine", path);
  device = status.st_dev;
  inode = status.st_ino;
  if (epochs != nullptr) swaps = epochs->swaps();
  return Status();
}

Status Catalog::Impl::CheckIdentity() const {
  if (inode == 0 || Mutant("no_identity_check")) return Status();
  if (!replaced.load(std::memory_order_acquire)) {
    struct stat status{};
    if (stat(path.c_str(), &status) == 0) {
      if (status.st_dev == device && status.st_ino == inode) return Status();
    } else if (errno != ENOENT && errno != ENOTDIR) {
      return StatusFromErrno(errno, "examine", path);
    }
    replaced.store(true, std::memory_order_release);
  }
  return Status(ErrorCode::kCatalogCorrupt,
                "catalog " + name +
                    ": its file was removed or replaced while it was open; close this cache and "
                    "open it again");
}

// Only a connection that may write gets the lock for it; there is nothing that it would write.
void Catalog::Impl::RemoveEmptyLog() const {
  SqliteOpenOptions open;
  open.target = target;
  open.name = name;
  open.create = false;
  open.busy_timeout_ms = options.busy_timeout_ms;
  auto connection = SqliteConnection::Open(open);
  if (connection.ok() && (*connection)->Execute("SELECT 1 FROM sqlite_schema").ok()) {
    (*connection)->CheckpointOnClose();
  }
}

void Catalog::Close() {
  Impl& impl = *impl_;
  if (impl.memory) return;
  const MutexLock lock(impl.write_mutex);
  impl.CloseConnections();
  struct stat log{};
  if (stat((impl.path + "-wal").c_str(), &log) != 0) return;
  if (impl.options.read_only) {
    // What reading has made goes again; a log with anything in it is a writer's business.
    if (log.st_size == 0 && !impl.immutable) impl.RemoveEmptyLog();
    return;
  }
  if (impl.epochs == nullptr || log.st_size == 0) return;
  const Result<bool> locked = impl.epochs->TryLock();
  if (!locked.ok() || !*locked) return;  // Somebody else is there, and will be the last.
  try {
    impl.CheckpointAlone();
  } catch (const std::bad_alloc&) {  // The log stays: whoever opens next reads it.
  }
  impl.writer.reset();
  impl.epochs->Unlock();
}

void Catalog::Impl::CheckpointAlone() {
  if (!CheckIdentity().ok() || !EnsureWriter().ok()) return;
  // Only a connection that could write has read the log for sure.
  writer->set_busy_timeout_ms(0);
  if (writer->Execute("BEGIN IMMEDIATE").ok() && writer->Execute("ROLLBACK").ok()) {
    writer->CheckpointOnClose();
  }
}

}  // namespace barcache
