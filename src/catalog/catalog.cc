// Opening a catalog, its connections, coherence, checkpoints and forks.
#include "catalog/catalog.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <new>
#include <utility>

#include "base/failpoint.h"
#include "base/file_system.h"
#include "catalog/catalog_impl.h"
#include "catalog/salvage.h"

namespace barcache {

namespace {

constexpr int kOldestSqlite = 3'037'000;
// How often another program's writes are looked for.
constexpr int64_t kLookIntervalNs = 500'000'000;
// A write-ahead log shorter than this (4 MB) is not worth a checkpoint's fsync.
constexpr int64_t kCheckpointPages = 1000;
// From here on (16 MB) it is not left to grow: its pages are written over, not always new ones.
constexpr int64_t kLongLogPages = 4000;
// After an attempt that readers held up, the log grows by this much before the next one.
constexpr int64_t kCheckpointRetryPages = 250;

// Whether a write-ahead log holds anything.
Result<bool> HasLog(const std::string& path) {
  BARCACHE_ASSIGN_OR_RETURN(const auto status, Examine(path + "-wal", LinksAre::kFollowed));
  return status && status->st_size > 0;
}

// Whether somebody may have the database open: who has, has made the first part of its log's index.
Result<bool> HasIndex(const std::string& path) {
  constexpr off_t kFirstPartBytes = 32 * 1024;
  BARCACHE_ASSIGN_OR_RETURN(const auto status, Examine(path + "-shm", LinksAre::kFollowed));
  return status && status->st_size >= kFirstPartBytes;
}

// Runs "PRAGMA journal_mode=WAL", which SQLite does not wait for by itself.
Status SwitchToWal(SqliteConnection* connection, int64_t busy_timeout_ms) {
  // By the clock: an attempt may wait for a whole time-out by itself.
  const auto give_up =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(busy_timeout_ms);
  for (;;) {
    BARCACHE_ASSIGN_OR_RETURN(
        SqliteStatement statement,
        connection->Prepare(Mutant("journal_in_memory") ? "PRAGMA journal_mode=MEMORY"
                                                        : "PRAGMA journal_mode=WAL"));
    const Result<bool> row = statement.Step();
    if (row.ok() && *row && (statement.Text(0) == "wal" || Mutant("journal_in_memory"))) {
      return Status();
    }
    if (row.ok()) {
      return Status(ErrorCode::kIo, "catalog " + connection->name() +
                                        ": this file system cannot hold a write-ahead log; put "
                                        "the catalog on a local disk");
    }
    const bool is_late = std::chrono::steady_clock::now() >= give_up;
    if (row.status().code() != ErrorCode::kBusy || is_late) return row.status();
    const timespec pause{0, 1'000'000};
    nanosleep(&pause, nullptr);
  }
}

std::string ConnectionPragmas(ConnectionRole role, const CatalogOptions& options, bool memory) {
  std::string pragmas = "PRAGMA foreign_keys=OFF; PRAGMA temp_store=MEMORY;";
  pragmas +=
      role == ConnectionRole::kWrite ? "PRAGMA cache_size=-32000;" : "PRAGMA cache_size=-8000;";
  if (memory) return pragmas + "PRAGMA synchronous=OFF;";
  const bool full = options.sync_full && !Mutant("no_full_sync");
  pragmas += full ? "PRAGMA synchronous=FULL;" : "PRAGMA synchronous=NORMAL;";
  if (Mutant("no_sync")) pragmas += "PRAGMA synchronous=OFF;";
  // Debian builds SQLite to overwrite what is deleted; a cache has no secrets to wipe.
  if (role == ConnectionRole::kWrite) pragmas += "PRAGMA secure_delete=OFF;";
  return pragmas;
}

}  // namespace

Result<std::optional<struct stat>> Examine(const std::string& path, LinksAre links) {
  struct stat status{};
  const int failed =
      links == LinksAre::kFollowed ? stat(path.c_str(), &status) : lstat(path.c_str(), &status);
  if (failed == 0) return std::optional<struct stat>(status);
  if (errno == ENOENT || errno == ENOTDIR) return std::optional<struct stat>();
  return StatusFromErrno(errno, "examine", path);
}

Result<bool> Exists(const std::string& path) {
  BARCACHE_ASSIGN_OR_RETURN(const auto status, Examine(path, LinksAre::kThemselves));
  return status.has_value();
}

Status CheckFilesBeside(const std::string& path) {
  for (const char* suffix : {"-journal", "-wal", "-shm"}) {
    BARCACHE_ASSIGN_OR_RETURN(const auto status, Examine(path + suffix, LinksAre::kThemselves));
    if (!status || S_ISREG(status->st_mode)) continue;
    return Status(ErrorCode::kIo, "file " + path + suffix +
                                      ": it is not a regular file; remove it while no process "
                                      "uses the catalog, and try again");
  }
  return Status();
}

Result<std::string> CanonicalPath(const std::string& db_path) {
  std::error_code error;
  // Absolute first: weakly_canonical leaves the path of a new file as it is.
  auto path = std::filesystem::absolute(db_path, error);
  if (!error) path = std::filesystem::weakly_canonical(path, error);
  if (error) return StatusFromErrno(error.value(), "resolve", db_path);
  return path.string();
}

Catalog::Impl::Impl(CatalogOptions catalog_options, const Clock* the_clock)
    : options(std::move(catalog_options)),
      clock(the_clock),
      readers([this] { return Connect(ConnectionRole::kRead); }) {}

Catalog::Impl::~Impl() {
  readers.Clear();
  watcher.reset();
  checkpointer.reset();
  writer.reset();
}

Result<std::unique_ptr<SqliteConnection>> Catalog::Impl::Connect(ConnectionRole role) const {
  SqliteOpenOptions open;
  open.target = target;
  open.name = name;
  open.image = image.get();
  open.read_only = options.read_only;
  open.create = memory;  // A file that vanished must not come back empty.
  open.busy_timeout_ms = options.busy_timeout_ms;
  open.gathers_log = role == ConnectionRole::kWrite && !memory;
  BARCACHE_ASSIGN_OR_RETURN(std::unique_ptr<SqliteConnection> connection,
                            SqliteConnection::Open(open));
  BARCACHE_RETURN_IF_ERROR(connection->Execute(ConnectionPragmas(role, options, memory)));
  if (epochs != nullptr) connection->NoteDamageIn(epochs->damage_note());
  BARCACHE_RETURN_IF_ERROR(CheckIdentity());  // The name may be another file's by now.
  return connection;
}

Status Catalog::Impl::EnsureWriter() {
  if (writer != nullptr) return Status();
  BARCACHE_ASSIGN_OR_RETURN(writer, Connect(ConnectionRole::kWrite));
  return Status();
}

// --- opening -------------------------------------------------------------------------------

Status Catalog::Impl::Open() {
  if (SqliteVersionNumber() < kOldestSqlite) {
    return Status(ErrorCode::kInternal, std::string("SQLite ") + SqliteVersion() +
                                            " is too old for barcache: 3.37 or newer is needed");
  }
  if (options.db_path.empty()) {
    return Status(ErrorCode::kInvalidArgument, "db_path is empty: give the path of the catalog");
  }
  if (options.db_path.find('\0') != std::string::npos) {
    return Status(ErrorCode::kInvalidArgument, "db_path holds a NUL character: remove it");
  }
  memory = options.db_path == ":memory:";
  if (memory) return OpenMemory();
  BARCACHE_ASSIGN_OR_RETURN(path, CanonicalPath(options.db_path));
  name = path;
  BARCACHE_ASSIGN_OR_RETURN(const auto status, Examine(path, LinksAre::kFollowed));
  if (status && !S_ISREG(status->st_mode)) {
    return Status(ErrorCode::kNotACatalog,
                  "catalog " + path + ": it is not a regular file: choose another db_path");
  }
  // SQLite takes what is smaller than its smallest page for an empty database: it would be lost.
  constexpr int64_t kSmallestPageBytes = 512;
  if (status && status->st_size > 0 && status->st_size < kSmallestPageBytes) {
    return Status(ErrorCode::kNotACatalog,
                  "catalog " + path + ": it is not a SQLite database: choose another db_path");
  }
  BARCACHE_RETURN_IF_ERROR(CheckFilesBeside(path));
  return options.read_only ? OpenReadOnly() : OpenFile();
}

Status Catalog::Impl::OpenMemory() {
  if (options.read_only) {
    return Status(ErrorCode::kInvalidArgument,
                  "db_path ':memory:' starts empty, so it cannot be opened read-only");
  }
  name = ":memory:";
  target = SqliteUri("/barcache-" + RandomHex32(), "vfs=memdb");
  BARCACHE_ASSIGN_OR_RETURN(epochs, Epochs::Open("", EpochsMode::kPrivate));
  MutexLock lock(write_mutex);
  BARCACHE_RETURN_IF_ERROR(EnsureWriter());
  return AdoptSchema(writer.get());
}

Result<std::unique_ptr<SqliteConnection>> Catalog::Impl::OpenExisting() const {
  Result<std::unique_ptr<SqliteConnection>> connection = Connect(ConnectionRole::kWrite);
  Status status = connection.status();
  if (status.ok()) status = InspectSchema(connection->get(), false).status();
  // Without permission to make a file SQLite may say only that it cannot open one.
  const bool unwritable =
      connection.ok() ? !(*connection)->writable() : DatabaseImage::IsNeededFor(path);
  const bool refused = status.code() == ErrorCode::kIo || status.code() == ErrorCode::kReadOnly;
  if (unwritable && (status.ok() || refused)) {
    return Status(ErrorCode::kReadOnly, "catalog " + path +
                                            ": it may not be written; check its permissions, or "
                                            "open the cache with read_only");
  }
  if (!status.ok()) return status;
  return connection;
}

Status Catalog::Impl::OpenFile() {
  constexpr int kMaxTurns = 16;
  for (int turn = 0; turn < kMaxTurns; ++turn) {
    BARCACHE_ASSIGN_OR_RETURN(const bool opened, TryOpenFile());
    if (opened) return Status();
  }
  return Status(ErrorCode::kBusy, "catalog " + path +
                                      ": its file was replaced again and again while it was "
                                      "being opened; try again");
}

Result<bool> Catalog::Impl::TryOpenFile() {
  const std::string epochs_path = path + kEpochsSuffix;
  target = SqliteUri(path, "");
  BARCACHE_ASSIGN_OR_RETURN(const bool existed, Exists(path));
  std::unique_ptr<SqliteConnection> connection;
  if (existed) {  // Somebody else's file must stay without a file of ours beside it.
    BARCACHE_ASSIGN_OR_RETURN(connection, OpenExisting());
  } else {
    const std::string parent = std::filesystem::path(path).parent_path().string();
    BARCACHE_RETURN_IF_ERROR(MakeDirectories(parent));
  }
  if (epochs == nullptr) {
    BARCACHE_ASSIGN_OR_RETURN(epochs, Epochs::Open(epochs_path, EpochsMode::kShared));
  }
  if (!existed) {
    SqliteOpenOptions open;
    // SQLite gives a new database the mode of the file named here: 0600.
    open.target = SqliteUri(path, "modeof=" + EscapeForUri(epochs_path));
    open.name = name;
    open.busy_timeout_ms = options.busy_timeout_ms;
    open.gathers_log = true;
    BARCACHE_ASSIGN_OR_RETURN(connection, SqliteConnection::Open(open));
    BARCACHE_RETURN_IF_ERROR(
        connection->Execute(ConnectionPragmas(ConnectionRole::kWrite, options, memory)));
  }
  MutexLock lock(write_mutex);
  BARCACHE_RETURN_IF_ERROR(epochs->Lock(options.busy_timeout_ms));
  Failpoint("catalog.opened");
  const Result<bool> has_moved = connection->has_moved();
  if (!has_moved.ok() || *has_moved) {  // Rebuilt by another, between the look and the lock.
    epochs->Unlock();
    if (!has_moved.ok()) return has_moved.status();
    return false;
  }
  Status status = SwitchToWal(connection.get(), options.busy_timeout_ms);
  Failpoint("catalog.has_log");
  if (status.ok()) status = AdoptSchema(connection.get());
  if (status.ok()) {
    const Result<bool> is_shared = ProbeTables(connection.get());
    status = is_shared.status();
    if (status.ok()) epochs->WriteNote(catalog_id, *is_shared);
  }
  Failpoint("catalog.has_schema");
  if (status.ok()) status = RememberIdentity();
  epochs->Unlock();
  connection->NoteDamageIn(epochs->damage_note());
  writer = std::move(connection);
  BARCACHE_RETURN_IF_ERROR(status);
  return true;
}

Status Catalog::Impl::AdoptSchema(SqliteConnection* connection) {
  BARCACHE_ASSIGN_OR_RETURN(SchemaState state, InspectSchema(connection, false));
  if (state.kind != SchemaKind::kCurrent) {
    BARCACHE_ASSIGN_OR_RETURN(state, PrepareSchema(connection));
  }
  catalog_id = state.catalog_id;
  return Status();
}

// Where nothing can be written SQLite cannot make its lock file; then nothing changes either.
// On a full disk somebody else may still make room and write: that needs a copy in any case.
Status Catalog::Impl::PrepareForUnwritable(bool is_full) {
  BARCACHE_ASSIGN_OR_RETURN(const bool has_log, HasLog(path));
  if (is_full || has_log) {
    BARCACHE_ASSIGN_OR_RETURN(image, DatabaseImage::Copy(path, options.busy_timeout_ms));
  } else {
    target = SqliteUri(path, "immutable=1");
  }
  immutable = true;
  return Status();
}

Status Catalog::Impl::OpenReadOnly() {
  BARCACHE_ASSIGN_OR_RETURN(const bool had_index, HasIndex(path));
  target = SqliteUri(path, "");
  Result<std::unique_ptr<SqliteConnection>> connection = Connect(ConnectionRole::kRead);
  Result<SchemaState> state = SchemaState{};
  if (connection.ok()) state = InspectSchema(connection->get(), true);
  const Status first = connection.ok() ? state.status() : connection.status();
  const bool refused = first.code() == ErrorCode::kIo || first.code() == ErrorCode::kReadOnly;
  const bool is_full = first.code() == ErrorCode::kNoSpace && !had_index;
  BARCACHE_ASSIGN_OR_RETURN(const bool exists, Exists(path));
  BARCACHE_ASSIGN_OR_RETURN(const bool has_log_file, Exists(path + "-wal"));
  if (is_full || (refused && exists && (!has_log_file || DatabaseImage::IsNeededFor(path)))) {
    if (connection.ok()) connection->reset();
    BARCACHE_RETURN_IF_ERROR(PrepareForUnwritable(is_full));
    connection = Connect(ConnectionRole::kRead);
    if (!connection.ok()) return connection.status();
    state = InspectSchema(connection->get(), true);
  }
  if (!connection.ok()) return connection.status();
  if (!state.ok()) return state.status();
  if (!state->has_cache_tables) {
    return Status(ErrorCode::kNotACatalog, "catalog " + path +
                                               ": it holds no cache; open it once without "
                                               "read_only to make one");
  }
  // Where side tables are missing or stale, what they would say is counted or left out.
  has_side_tables = state->kind == SchemaKind::kCurrent;
  catalog_id = state->catalog_id;
  BARCACHE_ASSIGN_OR_RETURN(epochs, Epochs::Open(path + kEpochsSuffix, EpochsMode::kReadOnly));
  BARCACHE_RETURN_IF_ERROR(RememberIdentity());
  BARCACHE_ASSIGN_OR_RETURN(const bool has_moved, (*connection)->has_moved());
  if (has_moved) {
    return Status(ErrorCode::kCatalogCorrupt,
                  "catalog " + path + ": its file was replaced while it was opened; try again");
  }
  readers.Add(std::move(connection).value());
  return Status();
}

Catalog::Catalog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Catalog::~Catalog() {
  try {
    Close();
  } catch (const std::bad_alloc&) {  // The log stays as it is.
  }
}

Result<std::unique_ptr<Catalog>> Catalog::Open(const CatalogOptions& options, const Clock* clock) {
  try {
    auto impl = std::make_unique<Impl>(options, clock);
    BARCACHE_RETURN_IF_ERROR(impl->Open());
    return std::unique_ptr<Catalog>(new Catalog(std::move(impl)));
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory, "catalog " + options.db_path + ": out of memory");
  }
}

// --- coherence -----------------------------------------------------------------------------

Epoch Catalog::EpochOf(std::string_view cache_key) const {
  return impl_->epochs->EpochOf(cache_key);
}

void Catalog::BeginEngineCommit() { impl_->epochs->BeginEngineCommit(); }
void Catalog::EndEngineCommit() { impl_->epochs->EndEngineCommit(); }

// The lock is given back by its guard.
uint64_t Catalog::ForeignWrites() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  Impl& impl = *impl_;
  if (!impl.immutable) {
    const int64_t now_ns = impl.clock->CoarseMonotonicNs();
    if (now_ns >= impl.next_look_ns.load(std::memory_order_relaxed) &&
        impl.watch_mutex.try_lock()) {
      const std::unique_lock lock(impl.watch_mutex, std::adopt_lock);
      impl.LookForForeignWrites();
      // Without epochs this is the only way to see any write: look each time.
      const int64_t pause_ns = impl.epochs->present() ? kLookIntervalNs : 0;
      impl.next_look_ns.store(now_ns + pause_ns, std::memory_order_relaxed);
    }
  }
  return impl.foreign_writes.load(std::memory_order_acquire);
}

// Triggers count each change of a row in foreign_changes, and every writer of ours takes its own
// part back before it commits: what moves the number is somebody else's.
Result<int64_t> Catalog::Impl::ReadForeignMark() {
  if (!epochs->present() || !has_side_tables) return seen_data_version;
  BARCACHE_ASSIGN_OR_RETURN(
      StatementUse changes,
      watcher->Use("SELECT foreign_changes FROM barcache_totals WHERE id = 1"));
  BARCACHE_ASSIGN_OR_RETURN(const bool row, changes->Step());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse schema, watcher->Use("PRAGMA schema_version"));
  BARCACHE_ASSIGN_OR_RETURN(const bool schema_row, schema->Step());
  // With other triggers than ours nothing would be counted.
  return (row ? changes->Int64Or(0, -1) : -1) + ((schema_row ? schema->Int64Or(0, 0) : 0) << 40);
}

void Catalog::Impl::LookForForeignWrites() {
  const auto look = [this]() BARCACHE_NO_THREAD_SAFETY_ANALYSIS -> Status {
    BARCACHE_RETURN_IF_ERROR(CheckIdentity());
    if (watcher == nullptr) {
      BARCACHE_ASSIGN_OR_RETURN(watcher, Connect(ConnectionRole::kWatch));
      seen_data_version = -1;
    }
    BARCACHE_ASSIGN_OR_RETURN(const bool replaced, epochs->Refresh());
    static_cast<void>(replaced);  // Another file's epochs differ from all of this one's.
    BARCACHE_ASSIGN_OR_RETURN(StatementUse version, watcher->Use("PRAGMA data_version"));
    BARCACHE_ASSIGN_OR_RETURN(const bool row, version->Step());
    const int64_t data_version = row ? version->Int64(0) : -1;
    if (data_version == seen_data_version) return Status();
    seen_data_version = data_version;
    BARCACHE_ASSIGN_OR_RETURN(const int64_t mark, ReadForeignMark());
    if (seen_mark.has_value() && *seen_mark != mark) ++foreign_writes;
    seen_mark = mark;
    return Status();
  };
  if (!look().ok()) {
    // Nothing is known: what was read before must be read again.
    ++foreign_writes;
    seen_data_version = -1;
  }
}

// --- checkpoints ---------------------------------------------------------------------------

bool Catalog::IsLogLong() const {
  return impl_->wal_pages.load(std::memory_order_relaxed) >=
         std::max(kLongLogPages, impl_->checkpoint_at_pages.load(std::memory_order_relaxed));
}

Status Catalog::CheckpointIfNeeded() {
  Impl& impl = *impl_;
  const int64_t pages = impl.wal_pages.load(std::memory_order_relaxed);
  if (impl.memory || impl.options.read_only ||
      pages < std::max(kCheckpointPages, impl.checkpoint_at_pages.load())) {
    return Status();
  }
  impl.SyncLog();
  if (!impl.write_mutex.try_lock()) return Status();
  const MutexLock lock(impl.write_mutex, std::adopt_lock);
  Status status;
  const Result<bool> locked = impl.epochs->TryLock();
  if (!locked.ok()) {
    status = locked.status();
  } else if (*locked) {
    status = impl.Checkpoint();
    impl.epochs->Unlock();
  }
  return status;
}

void Catalog::Impl::SyncLog() const {
  const std::string log = path + "-wal";
  const FileDescriptor fd(open(log.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  // Whatever fails here fails again where SQLite does the same, and says so.
  if (fd.valid()) static_cast<void>(fdatasync(fd.get()));
}

// SQLite before 3.51.3 can lose a commit of one connection that starts the log anew while another
// checkpoints it. Holding SQLite's own write lock meanwhile keeps every writer out, ours or not.
Status Catalog::Impl::Checkpoint() {
  BARCACHE_RETURN_IF_ERROR(EnsureWriter());
  if (checkpointer == nullptr) {
    BARCACHE_ASSIGN_OR_RETURN(checkpointer, Connect(ConnectionRole::kCheckpoint));
  }
  writer->set_busy_timeout_ms(0);
  Status status = writer->Execute("BEGIN IMMEDIATE");
  writer->set_busy_timeout_ms(options.busy_timeout_ms);
  if (status.code() == ErrorCode::kBusy) return Status();
  BARCACHE_RETURN_IF_ERROR(status);
  int64_t log_pages = 0;
  int64_t moved_pages = 0;
  {
    Result<StatementUse> checkpoint = checkpointer->Use("PRAGMA wal_checkpoint(PASSIVE)");
    status = checkpoint.status();
    if (status.ok()) {
      const Result<bool> row = (*checkpoint)->Step();
      status = row.status();
      if (row.ok() && *row) {
        log_pages = (*checkpoint)->Int64(1);
        moved_pages = (*checkpoint)->Int64(2);
      }
    }
  }
  Failpoint("catalog.moved_log");
  static_cast<void>(writer->Execute("ROLLBACK"));
  // All moved: the next writer starts the log anew. Else readers hold the rest.
  wal_pages = moved_pages >= log_pages ? 0 : log_pages;
  checkpoint_at_pages = moved_pages >= log_pages ? 0 : log_pages + kCheckpointRetryPages;
  return status.code() == ErrorCode::kBusy ? Status() : status;
}

// --- identity ------------------------------------------------------------------------------

const std::string& Catalog::catalog_id() const { return impl_->catalog_id; }
bool Catalog::read_only() const { return impl_->options.read_only; }
std::string Catalog::connection_target() const {
  return impl_->memory ? impl_->target : impl_->path;
}
const char* Catalog::sqlite_version() { return SqliteVersion(); }

// --- fork ----------------------------------------------------------------------------------

void Catalog::BeforeFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  Impl& impl = *impl_;
  impl.write_mutex.lock();
  impl.watch_mutex.lock();
  impl.readers.LockIdle();
  impl.epochs->BeforeFork();
  if (impl.memory || Mutant("fork_keeps_connections")) return;
  for (auto* connection : {&impl.writer, &impl.checkpointer, &impl.watcher}) connection->reset();
  impl.readers.CloseLocked();
}

void Catalog::AfterFork(bool in_child) BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  Impl& impl = *impl_;
  impl.epochs->AfterFork(in_child);
  impl.readers.Unlock();
  impl.watch_mutex.unlock();
  impl.write_mutex.unlock();
}

}  // namespace barcache
