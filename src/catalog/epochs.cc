// The mapped counters: opening and replacing the file, marking, mending. See epochs.h.
#include "catalog/epochs.h"
#include "base/failpoint.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>

namespace barcache {

namespace {

constexpr char kMagic[8] = {'B', 'A', 'R', 'E', 'P', 'O', 'C', 'H'};
constexpr uint32_t kVersion = 1;
// Bytes of the file that stand for locks (their content does not matter).
constexpr off_t kWriteLock = 0;
constexpr off_t kEngineLock = 1;
constexpr uint32_t kAlone = 1;
constexpr uint32_t kShared = 2;

static_assert(std::atomic<uint64_t>::is_always_lock_free);

// errno, or 0.
int SetLock(int fd, off_t byte, short type, bool wait) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  while (fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

bool IsTaken(int error) { return error == EAGAIN || error == EACCES; }

int64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

void SleepUs(int64_t us) {
  timespec pause{0, us * 1000};
  nanosleep(&pause, nullptr);
}

// An even number that no other file of epochs starts with.
uint64_t RandomStart() { return std::stoull(RandomHex32().substr(0, 14), nullptr, 16) << 1; }

Status Unusable(const std::string& path, const std::string& why) {
  return Status(ErrorCode::kIo, "file " + path + ": " + why +
                                    "; remove it while no process uses the catalog, and try again");
}

}  // namespace

struct Epochs::Region {
  char magic[8];
  uint32_t version;
  uint32_t bucket_count;
  std::atomic<uint64_t> begun;
  std::atomic<uint64_t> ended;
  std::atomic<uint32_t> committing;  // Not 0: a writer is, or died, between odd and even.
  std::atomic<uint32_t> damage_seen;
  std::atomic<uint64_t> swaps;
  char catalog_id[32];  // Zeros: not known.
  uint32_t sharing;     // As kAlone and kShared; 0: not known.
  char padding[4096 - 84];
  std::atomic<uint64_t> buckets[kBucketCount];

  void Initialize() {
    std::memcpy(magic, kMagic, sizeof(kMagic));
    version = kVersion;
    bucket_count = kBucketCount;
    const uint64_t start = RandomStart();
    begun = start;
    ended = start;
    committing = 0;
    damage_seen = 0;
    swaps = start;
    for (auto& bucket : buckets) bucket = start;
  }
};

struct Epochs::File {
  FileDescriptor fd;
  Region* region = nullptr;
  dev_t device = 0;
  ino_t inode = 0;
  ~File() {
    if (region != nullptr) munmap(region, sizeof(Region));
  }
  Result<bool> HasName(const std::string& path) const {
    if (!fd.valid()) return true;  // Private: no file.
    struct stat status{};
    if (lstat(path.c_str(), &status) != 0) {
      if (errno == ENOENT) return false;
      return StatusFromErrno(errno, "examine", path);
    }
    return status.st_dev == device && status.st_ino == inode;
  }
};

Epochs::Epochs(std::string path, EpochsMode mode) : path_(std::move(path)), mode_(mode) {}
Epochs::~Epochs() = default;

Result<std::unique_ptr<Epochs>> Epochs::Open(const std::string& path, EpochsMode mode) {
  static_assert(sizeof(Region) == 4096 + kBucketCount * 8);
  std::unique_ptr<Epochs> epochs(new Epochs(path, mode));
  MutexLock lock(epochs->map_mutex_);
  if (mode == EpochsMode::kPrivate) {
    epochs->MapPrivate();
  } else {
    BARCACHE_RETURN_IF_ERROR(epochs->MapFile());
  }
  return epochs;
}

void Epochs::MapPrivate() {
  void* memory =
      mmap(nullptr, sizeof(Region), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  auto file = std::make_unique<File>();
  file->region = static_cast<Region*>(memory);
  file->region->Initialize();
  current_ = file.get();
  files_.push_back(std::move(file));
}

Status Epochs::MapFile() {
  for (int attempt = 0; attempt < 200; ++attempt) {
    FileDescriptor fd;
    BARCACHE_ASSIGN_OR_RETURN(const bool good, OpenExisting(&fd));
    if (good) return MapDescriptor(std::move(fd));
    if (mode_ == EpochsMode::kReadOnly) return Status();
    BARCACHE_RETURN_IF_ERROR(fd.valid() ? ReplaceUnusable(fd) : MakeFile());
  }
  return Status(
      ErrorCode::kBusy,
      "file " + path_ + ": it was replaced again and again while being opened; try again");
}

// True: *fd is a file to be mapped. False: there is none (*fd is not valid) or it is no good.
Result<bool> Epochs::OpenExisting(FileDescriptor* fd) const {
  int flags = mode_ == EpochsMode::kReadOnly ? O_RDONLY : O_RDWR;
  if (!Mutant("follow_counters_link")) flags |= O_NOFOLLOW;
  *fd = FileDescriptor(open(path_.c_str(), flags | O_NONBLOCK | O_CLOEXEC));
  if (!fd->valid()) {
    if (errno == ENOENT) return false;
    if (errno == ELOOP) return Unusable(path_, "it is a symbolic link, which is not followed");
    if (mode_ == EpochsMode::kReadOnly && errno == EACCES) return false;
    return StatusFromErrno(errno, "open", path_);
  }
  struct stat status{};
  if (fstat(fd->get(), &status) != 0) return StatusFromErrno(errno, "stat", path_);
  if (!S_ISREG(status.st_mode)) return Unusable(path_, "it is not a regular file");
  if (status.st_uid != geteuid() && geteuid() != 0) {
    return Unusable(path_, "it belongs to another user");
  }
  char head[16] = {};
  uint32_t version = 0;
  uint32_t bucket_count = 0;
  // What could not be read is not what is no good: that would be replaced, and its note lost.
  const ssize_t got = pread(fd->get(), head, sizeof(head), 0);
  if (got < 0) return StatusFromErrno(errno, "read", path_);
  if (got != static_cast<ssize_t>(sizeof(head))) return false;
  std::memcpy(&version, head + 8, sizeof(version));
  std::memcpy(&bucket_count, head + 12, sizeof(bucket_count));
  if (std::memcmp(head, kMagic, sizeof(kMagic)) != 0) return false;
  if (version > kVersion) {
    return Status(ErrorCode::kUnsupportedCatalog,
                  "file " + path_ + ": written by a newer barcache; upgrade barcache");
  }
  return version == kVersion && bucket_count == kBucketCount && status.st_size == sizeof(Region);
}

// Makes the content of a new file whole; errno, or 0.
int Epochs::FillNewFile(int fd) {
  Failpoint("epochs.drafting");
  if (const int error = posix_fallocate(fd, 0, sizeof(Region)); error != 0) return error;
  void* memory = mmap(nullptr, sizeof(Region), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return errno;
  static_cast<Region*>(memory)->Initialize();
  munmap(memory, sizeof(Region));
  const int error = fsync(fd) == 0 ? 0 : errno;
  Failpoint("epochs.drafted");
  return error;
}

// Nobody ever sees half of a file: it is made without a name, then linked into place, so that a
// kill leaves nothing. Where a file system has no such files, a draft has a name of its own.
Status Epochs::MakeFile() const {
  const std::string folder = path_.substr(0, path_.rfind('/') + 1);
  FileDescriptor fd(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd.valid()) return MakeFileByDraft(path_ + ".new-" + RandomHex32(), false);
  int error = FillNewFile(fd.get());
  if (error != 0) return StatusFromErrno(error, "make", path_);
  const std::string source = "/proc/self/fd/" + std::to_string(fd.get());
  error =
      linkat(AT_FDCWD, source.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
  if (error == 0 || error == EEXIST) return Status();
  return MakeFileByDraft(path_ + ".new-" + RandomHex32(), false);  // Without /proc, say.
}

Status Epochs::MakeFileByDraft(const std::string& draft, bool replace) const {
  FileDescriptor fd(open(draft.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return StatusFromErrno(errno, "create", draft);
  int error = FillNewFile(fd.get());
  if (error == 0 && replace) {
    error = rename(draft.c_str(), path_.c_str()) == 0 ? 0 : errno;
    if (error == 0) return Status();
  } else if (error == 0) {
    error = link(draft.c_str(), path_.c_str()) == 0 ? 0 : errno;
    if (error == EPERM || error == EOPNOTSUPP || error == EMLINK) {  // No hard links here.
      error = renameat2(AT_FDCWD, draft.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) == 0
                  ? 0
                  : errno;
    }
  }
  unlink(draft.c_str());
  return error == 0 || error == EEXIST ? Status() : StatusFromErrno(error, "make", path_);
}

Status Epochs::ReplaceUnusable(const FileDescriptor& fd) const {
  const int error = SetLock(fd.get(), kWriteLock, F_WRLCK, false);
  if (IsTaken(error)) {  // Another process is replacing it.
    SleepUs(1000);
    return Status();
  }
  if (error != 0) return StatusFromErrno(error, "lock", path_);
  struct stat named{};
  struct stat opened{};
  if (fstat(fd.get(), &opened) != 0) return StatusFromErrno(errno, "examine", path_);
  if (stat(path_.c_str(), &named) != 0) {
    return errno == ENOENT ? Status() : StatusFromErrno(errno, "examine", path_);
  }
  if (named.st_dev != opened.st_dev || named.st_ino != opened.st_ino) return Status();
  // Under the lock there is one draft at most; one of a killed process is in the way.
  const std::string draft = path_ + ".new";
  unlink(draft.c_str());
  return MakeFileByDraft(draft, true);
}

Status Epochs::MapDescriptor(FileDescriptor fd) {
  struct stat status{};
  if (fstat(fd.get(), &status) != 0) return StatusFromErrno(errno, "stat", path_);
  const int protection = mode_ == EpochsMode::kReadOnly ? PROT_READ : PROT_READ | PROT_WRITE;
  void* memory = mmap(nullptr, sizeof(Region), protection, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return StatusFromErrno(errno, "map", path_);
  auto file = std::make_unique<File>();
  file->fd = std::move(fd);
  file->region = static_cast<Region*>(memory);
  file->device = status.st_dev;
  file->inode = status.st_ino;
  current_ = file.get();
  files_.push_back(std::move(file));
  return Status();
}

// Part of the file's format: all processes must agree. Eight bytes at a time, since a hot hit pays.
size_t Epochs::BucketOf(std::string_view cache_key) {
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;
  const char* bytes = cache_key.data();
  size_t left = cache_key.size();
  uint64_t hash = left * kMultiplier;
  uint64_t word = 0;
  for (; left >= sizeof(word); left -= sizeof(word), bytes += sizeof(word)) {
    std::memcpy(&word, bytes, sizeof(word));
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  }
  if (left > 0) {
    word = 0;
    std::memcpy(&word, bytes, left);
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  }
  static_assert(kBucketCount == 1 << 13);
  return hash >> 51;  // The best mixed bits of a product are its highest.
}

Epoch Epochs::EpochOf(std::string_view cache_key) const {
  const File* file = current_.load(std::memory_order_acquire);
  if (file == nullptr) return Epoch{};
  const Region& region = *file->region;
  Epoch epoch;
  epoch.bucket = region.buckets[BucketOf(cache_key)].load(std::memory_order_acquire);
  // `ended` first: a commit that begins in between then shows as unsettled.
  const uint64_t ended = region.ended.load(std::memory_order_acquire);
  const uint64_t begun = region.begun.load(std::memory_order_acquire);
  epoch.engine = begun * 2 + (begun == ended ? 0 : 1);
  return epoch;
}

Result<bool> Epochs::TryLock() {
  File* file = current_.load(std::memory_order_acquire);
  if (!file->fd.valid()) {  // Private.
    locked_ = file;
    return true;
  }
  if (mode_ == EpochsMode::kReadOnly) {
    return Status(ErrorCode::kReadOnly, "file " + path_ + ": mapped for reading only");
  }
  while (true) {
    const int error =
        Mutant("no_writers_lock") ? 0 : SetLock(file->fd.get(), kWriteLock, F_WRLCK, false);
    if (IsTaken(error)) return false;
    if (error != 0) return StatusFromErrno(error, "lock", path_);
    const Result<bool> has_name = file->HasName(path_);
    if (has_name.ok() && *has_name) break;
    SetLock(file->fd.get(), kWriteLock, F_UNLCK, false);
    BARCACHE_RETURN_IF_ERROR(has_name.status());
    BARCACHE_ASSIGN_OR_RETURN(const bool replaced, Refresh());
    static_cast<void>(replaced);
    file = current_.load(std::memory_order_acquire);
  }
  locked_ = file;
  Mend(file);
  return true;
}

Status Epochs::Lock(int64_t busy_timeout_ms) {
  const int64_t deadline_ns = MonotonicNs() + busy_timeout_ms * 1'000'000;
  for (int attempt = 0;; ++attempt) {
    BARCACHE_ASSIGN_OR_RETURN(const bool locked, TryLock());
    if (locked) return Status();
    if (MonotonicNs() >= deadline_ns) {
      return Status(ErrorCode::kBusy,
                    "file " + path_ + ": another process has held the catalog's write lock for " +
                        std::to_string(busy_timeout_ms) +
                        " ms; try again, or look for a stopped process that uses the cache");
    }
    SleepUs(std::min<int64_t>(int64_t{20} << std::min(attempt, 8), 2000));
  }
}

void Epochs::Unlock() {
  if (locked_->fd.valid()) SetLock(locked_->fd.get(), kWriteLock, F_UNLCK, false);
  locked_ = nullptr;
}

void Epochs::MarkOdd(const std::vector<size_t>& buckets) {
  if (Mutant("no_change_counted") || Mutant("no_odd_epochs")) return;
  locked_->region->committing.store(1);
  for (const size_t bucket : buckets) {
    if (bucket == buckets[buckets.size() / 2]) Failpoint("epochs.marking_odd");
    locked_->region->buckets[bucket].fetch_add(1);
  }
}

void Epochs::MarkEven(const std::vector<size_t>& buckets) {
  if (Mutant("no_change_counted")) return;
  for (const size_t bucket : buckets) {
    if (bucket == buckets[buckets.size() / 2]) Failpoint("epochs.marking_even");
    locked_->region->buckets[bucket].fetch_add(Mutant("no_odd_epochs") ? 2 : 1);
  }
  locked_->region->committing.store(0);
}

void Epochs::Mend(File* file) {
  Region& region = *file->region;
  if (region.committing.load() != 0 && !Mutant("no_mending")) {
    for (auto& bucket : region.buckets) {
      if ((bucket.load() & 1) != 0) bucket.fetch_add(1);
    }
    Failpoint("epochs.mending");
    region.committing.store(0);
  }
  if (region.begun.load() == region.ended.load()) return;
  // Commits of engines hold a shared lock each: if none is held, the one that began is dead.
  MutexLock lock(engine_mutex_);
  if (engine_commits_ != 0 || SetLock(file->fd.get(), kEngineLock, F_WRLCK, false) != 0) return;
  const uint64_t next = region.begun.load() + 1;
  region.begun.store(next);
  region.ended.store(next);
  SetLock(file->fd.get(), kEngineLock, F_UNLCK, false);
}

Result<CatalogNote> Epochs::ReadNote(const std::string& path) {
  CatalogNote note;
  const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) {
    // ELOOP, ENXIO: a link, a socket. Opening the file for good refuses them.
    const bool is_none = errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENXIO;
    if (is_none || Mutant("unread_note_is_none")) return note;
    return StatusFromErrno(errno, "open", path);
  }
  struct stat status{};
  if (fstat(fd.get(), &status) != 0) return StatusFromErrno(errno, "examine", path);
  if (!S_ISREG(status.st_mode)) return note;
  alignas(Region) char head[offsetof(Region, padding)] = {};
  const ssize_t got = pread(fd.get(), head, sizeof(head), 0);
  if (got < 0) return StatusFromErrno(errno, "read", path);
  if (got != static_cast<ssize_t>(sizeof(head))) return note;
  if (std::memcmp(head, kMagic, sizeof(kMagic)) != 0) return note;
  const std::string id(head + offsetof(Region, catalog_id), sizeof(Region::catalog_id));
  uint32_t damage_seen = 0;
  uint32_t sharing = 0;
  std::memcpy(&damage_seen, head + offsetof(Region, damage_seen), sizeof(damage_seen));
  std::memcpy(&sharing, head + offsetof(Region, sharing), sizeof(sharing));
  if (id.find_first_not_of("0123456789abcdef") == std::string::npos) note.catalog_id = id;
  note.is_shared = sharing != kAlone;
  note.damage_seen = damage_seen == 1;
  return note;
}

void Epochs::WriteNote(std::string_view catalog_id, bool is_shared) {
  Region& region = *locked_->region;
  if (catalog_id.size() != sizeof(region.catalog_id)) return;
  const uint32_t sharing = is_shared ? kShared : kAlone;
  // Pages that are as they should be stay clean.
  if (std::memcmp(region.catalog_id, catalog_id.data(), sizeof(region.catalog_id)) != 0) {
    std::memcpy(region.catalog_id, catalog_id.data(), sizeof(region.catalog_id));
  }
  if (region.sharing != sharing) region.sharing = sharing;
  if (region.damage_seen.load() != 0) region.damage_seen = 0;
}

void Epochs::CountSwap() {
  if (Mutant("no_swap_counted")) return;
  Region& region = *locked_->region;
  region.damage_seen = 0;
  region.swaps.fetch_add(1);
  for (auto& bucket : region.buckets) bucket.fetch_add(2);
}

uint64_t Epochs::swaps() const {
  const File* file = current_.load(std::memory_order_acquire);
  return file == nullptr ? 0 : file->region->swaps.load(std::memory_order_acquire);
}

std::atomic<uint32_t>* Epochs::damage_note() const {
  File* file = current_.load(std::memory_order_acquire);
  if (file == nullptr || mode_ != EpochsMode::kShared) return nullptr;
  return &file->region->damage_seen;
}

void Epochs::BeginEngineCommit() {
  MutexLock lock(engine_mutex_);
  if (engine_commits_++ == 0) {
    engine_file_ = current_.load();
    if (mode_ == EpochsMode::kReadOnly) engine_file_ = nullptr;
    if (engine_file_ != nullptr && engine_file_->fd.valid()) {
      SetLock(engine_file_->fd.get(), kEngineLock, F_RDLCK, true);
    }
  }
  if (engine_file_ != nullptr) engine_file_->region->begun.fetch_add(1);
}

void Epochs::EndEngineCommit() {
  MutexLock lock(engine_mutex_);
  if (engine_commits_ == 0) return;
  if (engine_file_ != nullptr) engine_file_->region->ended.fetch_add(1);
  if (--engine_commits_ == 0 && engine_file_ != nullptr && engine_file_->fd.valid()) {
    SetLock(engine_file_->fd.get(), kEngineLock, F_UNLCK, false);
  }
}

Result<bool> Epochs::Refresh() {
  MutexLock lock(map_mutex_);
  const File* file = current_.load();
  if (mode_ == EpochsMode::kPrivate) return false;
  if (file != nullptr) {
    BARCACHE_ASSIGN_OR_RETURN(const bool has_name, file->HasName(path_));
    if (has_name) return false;
  }
  BARCACHE_RETURN_IF_ERROR(MapFile());
  return current_.load() != file;
}

void Epochs::BeforeFork() {
  map_mutex_.lock();
  engine_mutex_.lock();
}

void Epochs::AfterFork(bool in_child) {
  if (in_child) {
    engine_commits_ = 0;  // Those threads are the parent's.
    File* file = current_.load();
    FileDescriptor fd;
    if (file != nullptr && file->fd.valid()) {
      const Result<bool> good = OpenExisting(&fd);
      struct stat status{};
      const bool same = good.ok() && *good && fstat(fd.get(), &status) == 0 &&
                        status.st_dev == file->device && status.st_ino == file->inode;
      // Another file has the name: the next Lock or Refresh will see it. Until then the inherited
      // descriptor stays; its lock is shared with the parent, but nobody else uses that file.
      if (same) file->fd = std::move(fd);
    }
  }
  engine_mutex_.unlock();
  map_mutex_.unlock();
}

}  // namespace barcache
