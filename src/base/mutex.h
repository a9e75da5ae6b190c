// Mutex with Clang's thread-safety annotations: every shared member says its guard.
// The annotations are checked by clang-tidy (make check), as errors, and vanish in other compilers.
#pragma once

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define BARCACHE_ANNOTATION_(x) __attribute__((x))
#else
#define BARCACHE_ANNOTATION_(x)
#endif

#define BARCACHE_CAPABILITY(x) BARCACHE_ANNOTATION_(capability(x))
#define BARCACHE_SCOPED_CAPABILITY BARCACHE_ANNOTATION_(scoped_lockable)
#define BARCACHE_GUARDED_BY(x) BARCACHE_ANNOTATION_(guarded_by(x))
#define BARCACHE_REQUIRES(...) BARCACHE_ANNOTATION_(requires_capability(__VA_ARGS__))
#define BARCACHE_EXCLUDES(...) BARCACHE_ANNOTATION_(locks_excluded(__VA_ARGS__))
#define BARCACHE_ACQUIRE(...) BARCACHE_ANNOTATION_(acquire_capability(__VA_ARGS__))
#define BARCACHE_RELEASE(...) BARCACHE_ANNOTATION_(release_capability(__VA_ARGS__))
#define BARCACHE_TRY_ACQUIRE(...) BARCACHE_ANNOTATION_(try_acquire_capability(__VA_ARGS__))
#define BARCACHE_NO_THREAD_SAFETY_ANALYSIS BARCACHE_ANNOTATION_(no_thread_safety_analysis)

namespace barcache {

class BARCACHE_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  // Lower case: the names std::condition_variable_any and std::unique_lock expect.
  void lock() BARCACHE_ACQUIRE() { mutex_.lock(); }
  void unlock() BARCACHE_RELEASE() { mutex_.unlock(); }
  bool try_lock() BARCACHE_TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;
};

class BARCACHE_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) BARCACHE_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  // Takes over a mutex that is held, and releases it.
  MutexLock(Mutex& mutex, std::adopt_lock_t) BARCACHE_REQUIRES(mutex) : mutex_(mutex) {}
  ~MutexLock() BARCACHE_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace barcache
