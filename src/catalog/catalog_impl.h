// What the parts of the catalog share. Private to src/catalog.
//
// Locks, outermost first: write_mutex, the epochs' file lock, SQLite's own; watch_mutex and the
// pool's are innermost and never held together.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "catalog/catalog.h"
#include "catalog/database_image.h"
#include "catalog/epochs.h"
#include "catalog/reader_pool.h"
#include "catalog/schema.h"
#include "catalog/sqlite.h"

namespace barcache {

// What has that name; nullopt: nothing. A look that fails does not mean that nothing is there: kIo.
enum class LinksAre { kFollowed, kThemselves };
Result<std::optional<struct stat>> Examine(const std::string& path, LinksAre links);
// Whether there is something of that name, be it a link that leads nowhere.
Result<bool> Exists(const std::string& path);
// That what SQLite opens beside a database is made of files: at a FIFO it would wait for ever.
Status CheckFilesBeside(const std::string& path);
// The one path of a catalog's file, by whatever path it was given; it need not be there.
Result<std::string> CanonicalPath(const std::string& db_path);

enum class ConnectionRole { kRead, kWrite, kWatch, kCheckpoint };

struct Catalog::Impl {
  using State = CatalogWriter::State;
  Impl(CatalogOptions catalog_options, const Clock* the_clock);
  ~Impl();

  Status Open();
  Status OpenMemory();
  Status OpenFile();
  // A writable connection to a file that is there, after a look at whose it is.
  Result<std::unique_ptr<SqliteConnection>> OpenExisting() const;
  // One turn of it. False: the file that was opened lost its name meanwhile, to a rebuilt one.
  Result<bool> TryOpenFile();
  Status OpenReadOnly();
  // Chooses how connections read a catalog that SQLite refused on a medium that nobody writes.
  Status PrepareForUnwritable(bool is_full);
  // Inspects and, where needed, prepares the schema over `connection`.
  Status AdoptSchema(SqliteConnection* connection);

  Result<std::unique_ptr<SqliteConnection>> Connect(ConnectionRole role) const;
  // Opens the writer's connection if it is closed.
  Status EnsureWriter() BARCACHE_REQUIRES(write_mutex);
  // Looks for writes that no epoch announced.
  void LookForForeignWrites() BARCACHE_REQUIRES(watch_mutex);
  Result<int64_t> ReadForeignMark() BARCACHE_REQUIRES(watch_mutex);
  Status Checkpoint() BARCACHE_REQUIRES(write_mutex);
  // A connection for one query.
  Result<ReaderPool::Lease> TakeReader();
  // Closes every connection; each is opened again when it is needed. Waits for running queries.
  void CloseConnections() BARCACHE_REQUIRES(write_mutex);
  // Moves the log into the database if nobody writes. REQUIRES: the writers' lock of `epochs`.
  void CheckpointAlone() BARCACHE_REQUIRES(write_mutex);
  // Begins a transaction on the writer's connection and reads foreign_changes.
  Status BeginTransaction(State* state) BARCACHE_REQUIRES(write_mutex);
  // The file that was opened: device and inode.
  Status RememberIdentity();
  // kCatalogCorrupt once the file that was opened no longer has its name. For good: what comes
  // under that name later is another catalog.
  Status CheckIdentity() const;
  // Waits for the disk to have the log, while everybody may go on writing: a checkpoint, which lets
  // nobody write, has less to wait for then.
  void SyncLog() const;
  // Lets SQLite remove the log's files if nobody else has the catalog open.
  void RemoveEmptyLog() const;

  CatalogOptions options;
  const Clock* const clock;
  bool memory = false;
  bool immutable = false;                // Read-only medium: opened without locks.
  std::unique_ptr<DatabaseImage> image;  // Likewise, where a log was left over.
  bool has_side_tables = true;           // False only for a read-only catalog of RustyBT.
  std::string path;                      // Canonical; "" in memory.
  std::string target;                    // What connections open.
  std::string name;                      // For messages.
  std::string catalog_id;

  uint64_t device = 0;
  uint64_t inode = 0;  // 0: not a file, or not known yet.
  mutable std::atomic<bool> replaced{false};
  uint64_t swaps = 0;  // Of the epochs, when it was opened.

  std::unique_ptr<Epochs> epochs;
  ReaderPool readers;

  Mutex write_mutex;
  std::unique_ptr<SqliteConnection> writer BARCACHE_GUARDED_BY(write_mutex);
  std::unique_ptr<SqliteConnection> checkpointer BARCACHE_GUARDED_BY(write_mutex);
  std::atomic<int64_t> wal_pages{0};            // After our last commit.
  std::atomic<int64_t> checkpoint_at_pages{0};  // The next checkpoint waits for this many.

  Mutex watch_mutex;
  std::unique_ptr<SqliteConnection> watcher BARCACHE_GUARDED_BY(watch_mutex);
  int64_t seen_data_version BARCACHE_GUARDED_BY(watch_mutex) = -1;
  std::optional<int64_t> seen_mark BARCACHE_GUARDED_BY(watch_mutex);
  std::atomic<int64_t> next_look_ns{0};
  std::atomic<uint64_t> foreign_writes{0};
};

struct CatalogWriter::State {
  explicit State(Catalog::Impl* the_catalog) : catalog(the_catalog) {}
  ~State() { Release(); }

  // Rolls back what was not committed and lets the next writer in. Idempotent.
  void Release() BARCACHE_NO_THREAD_SAFETY_ANALYSIS;
  // Remembers that the row of this key changed.
  void Touched(std::string_view cache_key);
  Result<StatementUse> Use(const char* sql) { return connection->Use(sql); }

  Catalog::Impl* catalog;
  SqliteConnection* connection = nullptr;  // Not null: inside a transaction.
  bool mutex_locked = false;
  bool epochs_locked = false;
  bool released = false;
  std::vector<size_t> buckets;  // Of the keys whose rows changed; may hold duplicates.
  bool all_buckets = false;
  int64_t foreign_changes = 0;  // As found at the beginning.
  int64_t total_changes_before = 0;
};

// The victim in the current row: cache_key, parquet_path, size_bytes, last_accessed, and the
// priority if the row goes on.
Victim ReadVictim(const SqliteStatement& row);
// Steps through the statement, all its rows as victims.
Result<std::vector<Victim>> ReadVictims(SqliteStatement* statement);
// A key as text, also where somebody stored it as a blob.
std::string ReadKey(const SqliteStatement& row, int column);

}  // namespace barcache
