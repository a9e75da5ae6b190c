// The calls that may fail, in front of those of the C library and of SQLite. See fault.h.
//
// Shared libraries find a symbol of the program first: SQLite's table of system calls, too.
#include <dlfcn.h>
#include <fcntl.h>
#include <sqlite3.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "torture/faults/fault.h"

#define BARCACHE_CALL extern "C" __attribute__((visibility("default")))

namespace barcache::torture {
namespace {

// What a call does, as bits.
enum Call : unsigned {
  kCreate = 1,  // Makes a file or directory, or opens one for writing.
  kOpen = 2,    // Any open.
  kRead = 4,
  kWrite = 8,
  kSync = 16,
  kSize = 32,  // ftruncate, fallocate.
  kName = 64,  // rename, link.
  kRemove = 128,
  kMap = 256,
  kLock = 512,
  kMemory = 1024,  // Taken by the thread that armed; by another: kMemoryElsewhere.
  kSql = 2048,
  kClose = 4096,
  kLook = 8192,  // fstat.
  kMemoryElsewhere = 16384,
  kFind = 32768,  // stat, lstat, fstatat.
};

struct Kind {
  const char* name;
  unsigned calls;
  int error;  // errno, or SQLite's code.
};

constexpr Kind kKinds[] = {
    {"enospc", kCreate | kWrite | kSync | kSize | kName, ENOSPC},
    {"edquot", kCreate | kWrite | kSync | kSize | kName, EDQUOT},
    {"eio", kRead | kWrite | kSync | kSize | kClose | kLook | kFind | kName, EIO},
    {"emfile", kOpen, EMFILE},
    {"enomem", kMap | kOpen, ENOMEM},
    {"erofs", kCreate | kName | kRemove | kSize, EROFS},
    {"eacces", kCreate | kOpen | kFind | kName | kRemove, EACCES},
    {"malloc", kMemory, ENOMEM},
    {"malloc-elsewhere", kMemoryElsewhere, ENOMEM},
    {"enolck", kLock, ENOLCK},
    {"busy", kLock, EAGAIN},
    {"sql-busy", kSql, SQLITE_BUSY},
    {"sql-ioerr", kSql, SQLITE_IOERR_WRITE},
    {"sql-full", kSql, SQLITE_FULL},
    {"sql-corrupt", kSql, SQLITE_CORRUPT},
    {"sql-notadb", kSql, SQLITE_NOTADB},
    {"sql-nomem", kSql, SQLITE_NOMEM},
    {"sql-readonly", kSql, SQLITE_READONLY},
    {"sql-cantopen", kSql, SQLITE_CANTOPEN},
};

std::atomic<const Kind*> g_kind{nullptr};
std::atomic<long> g_nth{0};
std::atomic<bool> g_persistent{false};
std::atomic<long> g_calls{0};
std::atomic<long> g_failed{0};
std::atomic<bool> g_failed_removal{false};
thread_local bool t_armed = false;

// The error that this call has to report, or 0.
int ErrorOf(unsigned call) {
  const Kind* kind = g_kind.load(std::memory_order_acquire);
  if (kind == nullptr || (kind->calls & call) == 0) return 0;
  const long number = g_calls.fetch_add(1) + 1;
  const long nth = g_nth.load();
  const bool fails = nth > 0 && (number == nth || (g_persistent && number > nth));
  if (!fails) return 0;
  g_failed.fetch_add(1);
  if ((call & kRemove) != 0) g_failed_removal = true;
  return kind->error;
}

// Whether the call failed, with errno set.
bool Fails(unsigned call) {
  const int error = ErrorOf(call);
  if (error != 0) errno = error;
  return error != 0;
}

unsigned MemoryCall() { return t_armed ? kMemory : kMemoryElsewhere; }

template <typename Function>
Function* Next(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (found == nullptr) abort();
  return reinterpret_cast<Function*>(found);
}

unsigned OpenCalls(int flags) {
  const bool writes = (flags & O_CREAT) != 0 || (flags & O_ACCMODE) != O_RDONLY;
  return kOpen | (writes ? kCreate : 0u);
}

mode_t ModeOf(int flags, va_list list) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(list, int)) : 0;
}

}  // namespace

std::vector<std::string> FaultKinds() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

bool ArmFault(const std::string& kind, long nth, bool persistent) {
  for (const Kind& known : kKinds) {
    if (kind != known.name) continue;
    g_nth = nth;
    g_persistent = persistent;
    g_calls = 0;
    g_failed = 0;
    g_failed_removal = false;
    t_armed = true;
    g_kind = &known;
    return true;
  }
  return false;
}

FaultReport DisarmFault() {
  g_kind = nullptr;
  t_armed = false;
  return {g_calls, g_failed, g_failed_removal};
}

}  // namespace barcache::torture

using namespace barcache::torture;  // NOLINT: the calls below must be outside every namespace.

// --- files ---------------------------------------------------------------------------------

#define BARCACHE_OPEN(function)                                            \
  BARCACHE_CALL int function(const char* path, int flags, ...) {           \
    static auto* const next = Next<int(const char*, int, ...)>(#function); \
    va_list list;                                                          \
    va_start(list, flags);                                                 \
    const mode_t mode = ModeOf(flags, list);                               \
    va_end(list);                                                          \
    return Fails(OpenCalls(flags)) ? -1 : next(path, flags, mode);         \
  }
BARCACHE_OPEN(open)
BARCACHE_OPEN(open64)

#define BARCACHE_OPENAT(function)                                               \
  BARCACHE_CALL int function(int directory, const char* path, int flags, ...) { \
    static auto* const next = Next<int(int, const char*, int, ...)>(#function); \
    va_list list;                                                               \
    va_start(list, flags);                                                      \
    const mode_t mode = ModeOf(flags, list);                                    \
    va_end(list);                                                               \
    return Fails(OpenCalls(flags)) ? -1 : next(directory, path, flags, mode);   \
  }
BARCACHE_OPENAT(openat)
BARCACHE_OPENAT(openat64)

// A call that returns -1 where it fails.
#define BARCACHE_FORWARD(result, function, call, parameters, arguments) \
  BARCACHE_CALL result function parameters {                            \
    static auto* const next = Next<result parameters>(#function);       \
    return Fails(call) ? static_cast<result>(-1) : next arguments;      \
  }
BARCACHE_FORWARD(ssize_t, read, kRead, (int fd, void* data, size_t size), (fd, data, size))
BARCACHE_FORWARD(ssize_t, pread, kRead, (int fd, void* data, size_t size, off_t at),
                 (fd, data, size, at))
BARCACHE_FORWARD(ssize_t, pread64, kRead, (int fd, void* data, size_t size, off_t at),
                 (fd, data, size, at))
BARCACHE_FORWARD(ssize_t, write, kWrite, (int fd, const void* data, size_t size), (fd, data, size))
BARCACHE_FORWARD(ssize_t, pwrite64, kWrite, (int fd, const void* data, size_t size, off_t at),
                 (fd, data, size, at))
BARCACHE_FORWARD(int, fsync, kSync, (int fd), (fd))
BARCACHE_FORWARD(int, fdatasync, kSync, (int fd), (fd))
BARCACHE_FORWARD(int, ftruncate64, kSize, (int fd, off_t size), (fd, size))
BARCACHE_FORWARD(int, rename, kName, (const char* from, const char* to), (from, to))
BARCACHE_FORWARD(int, renameat, kName, (int from_fd, const char* from, int to_fd, const char* to),
                 (from_fd, from, to_fd, to))
BARCACHE_FORWARD(int, renameat2, kName,
                 (int from_fd, const char* from, int to_fd, const char* to, unsigned flags),
                 (from_fd, from, to_fd, to, flags))
BARCACHE_FORWARD(int, link, kName, (const char* from, const char* to), (from, to))
BARCACHE_FORWARD(int, unlink, kRemove, (const char* path), (path))
BARCACHE_FORWARD(int, unlinkat, kRemove, (int fd, const char* path, int flags), (fd, path, flags))
BARCACHE_FORWARD(int, mkdir, kCreate, (const char* path, mode_t mode), (path, mode))
BARCACHE_FORWARD(int, fstat, kLook, (int fd, struct stat* status), (fd, status))
BARCACHE_FORWARD(int, fstat64, kLook, (int fd, struct stat64* status), (fd, status))
BARCACHE_FORWARD(int, stat, kFind, (const char* path, struct stat* status), (path, status))
BARCACHE_FORWARD(int, stat64, kFind, (const char* path, struct stat64* status), (path, status))
BARCACHE_FORWARD(int, lstat, kFind, (const char* path, struct stat* status), (path, status))
BARCACHE_FORWARD(int, lstat64, kFind, (const char* path, struct stat64* status), (path, status))

// The cache looks at a file so before it removes it: what it cannot see stays.
#define BARCACHE_FSTATAT(function, type)                                                 \
  BARCACHE_CALL int function(int directory, const char* path, type* status, int flags) { \
    static auto* const next = Next<int(int, const char*, type*, int)>(#function);        \
    if (!Fails(kFind)) return next(directory, path, status, flags);                      \
    g_failed_removal = true;                                                             \
    return -1;                                                                           \
  }
BARCACHE_FSTATAT(fstatat, struct stat)
BARCACHE_FSTATAT(fstatat64, struct stat64)

// SQLite's pauses between attempts at a lock add up to ten seconds.
BARCACHE_CALL int usleep(useconds_t us) {
  static auto* const next = Next<int(useconds_t)>("usleep");
  return next(g_kind.load() != nullptr ? 0 : us);
}

// It returns the error.
BARCACHE_CALL int posix_fallocate(int fd, off_t offset, off_t size) {
  static auto* const next = Next<int(int, off_t, off_t)>("posix_fallocate");
  const int error = ErrorOf(kSize);
  return error != 0 ? error : next(fd, offset, size);
}

// The descriptor is closed all the same, as Linux does.
BARCACHE_CALL int close(int fd) {
  static auto* const next = Next<int(int)>("close");
  const int closed = next(fd);
  return Fails(kClose) ? -1 : closed;
}

#define BARCACHE_FCNTL(function)                                                              \
  BARCACHE_CALL int function(int fd, int command, ...) {                                      \
    static auto* const next = Next<int(int, int, ...)>(#function);                            \
    va_list list;                                                                             \
    va_start(list, command);                                                                  \
    void* argument = va_arg(list, void*);                                                     \
    va_end(list);                                                                             \
    const bool locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || \
                       command == F_OFD_SETLKW;                                               \
    if (locks && static_cast<struct flock*>(argument)->l_type != F_UNLCK && Fails(kLock)) {   \
      return -1;                                                                              \
    }                                                                                         \
    return next(fd, command, argument);                                                       \
  }
BARCACHE_FCNTL(fcntl)
BARCACHE_FCNTL(fcntl64)

#define BARCACHE_MMAP(function)                                                                   \
  BARCACHE_CALL void* function(void* at, size_t size, int how, int flags, int fd, off_t offset) { \
    static auto* const next = Next<void*(void*, size_t, int, int, int, off_t)>(#function);        \
    return Fails(kMap) ? MAP_FAILED : next(at, size, how, flags, fd, offset);                     \
  }
BARCACHE_MMAP(mmap)
BARCACHE_MMAP(mmap64)

// --- memory --------------------------------------------------------------------------------

extern "C" {
void* __libc_malloc(size_t size);                      // NOLINT: names of the C library.
void* __libc_calloc(size_t count, size_t size);        // NOLINT
void* __libc_realloc(void* memory, size_t size);       // NOLINT
void* __libc_memalign(size_t alignment, size_t size);  // NOLINT
}
BARCACHE_CALL void* malloc(size_t size) {
  return Fails(MemoryCall()) ? nullptr : __libc_malloc(size);
}
BARCACHE_CALL void* calloc(size_t count, size_t size) {
  return Fails(MemoryCall()) ? nullptr : __libc_calloc(count, size);
}
BARCACHE_CALL void* realloc(void* memory, size_t size) {
  return Fails(MemoryCall()) ? nullptr : __libc_realloc(memory, size);
}
BARCACHE_CALL void* aligned_alloc(size_t alignment, size_t size) {
  return Fails(MemoryCall()) ? nullptr : __libc_memalign(alignment, size);
}
// It returns the error.
BARCACHE_CALL int posix_memalign(void** memory, size_t alignment, size_t size) {
  const int error = ErrorOf(MemoryCall());
  if (error != 0) return error;
  *memory = __libc_memalign(alignment, size);
  return *memory != nullptr ? 0 : ENOMEM;
}

// --- SQLite --------------------------------------------------------------------------------

extern "C" const char __executable_start;  // NOLINT: names of the linker.
extern "C" const char etext;               // NOLINT

// SQLite calls itself by these names, and believes what its own statement says in the end.
#define BARCACHE_CALLED_BY_US()                                                    \
  (static_cast<const char*>(__builtin_return_address(0)) >= &__executable_start && \
   static_cast<const char*>(__builtin_return_address(0)) < &etext)

BARCACHE_CALL int sqlite3_step(sqlite3_stmt* statement) {
  static auto* const next = Next<int(sqlite3_stmt*)>("sqlite3_step");
  const int error = BARCACHE_CALLED_BY_US() ? ErrorOf(kSql) : 0;
  return error != 0 ? error : next(statement);
}
BARCACHE_CALL int sqlite3_prepare_v3(sqlite3* handle, const char* sql, int size, unsigned flags,
                                     sqlite3_stmt** statement, const char** tail) {
  static auto* const next =
      Next<int(sqlite3*, const char*, int, unsigned, sqlite3_stmt**, const char**)>(
          "sqlite3_prepare_v3");
  const int error = BARCACHE_CALLED_BY_US() ? ErrorOf(kSql) : 0;
  if (error != 0) *statement = nullptr;
  return error != 0 ? error : next(handle, sql, size, flags, statement, tail);
}
BARCACHE_CALL int sqlite3_open_v2(const char* path, sqlite3** handle, int flags, const char* vfs) {
  static auto* const next = Next<int(const char*, sqlite3**, int, const char*)>("sqlite3_open_v2");
  const int error = BARCACHE_CALLED_BY_US() ? ErrorOf(kSql) : 0;
  const int opened = next(path, handle, flags, vfs);
  return error != 0 ? error : opened;
}
