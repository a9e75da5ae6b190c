// Maintainer: one background thread that does pending work soon, in batches.
//
// Between batches it may do something else that is never urgent (`idle`): a step at a time, each
// of which says how long to wait for the next.
//
// Nudge is cheap and may be called on every hit; the work then runs once within the delay. The
// thread is started by the first nudge, and started anew after a fork.
//
// Thread safety: nudges from any thread; Stop from one thread at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "base/mutex.h"

namespace barcache {

class Maintainer {
 public:
  // Want of memory in `work` ends that batch only; `idle` throws nothing.
  // REQUIRES: `work` takes no lock that the caller of Stop holds, and never calls Stop.
  // As little is taken by `idle`.
  Maintainer(std::function<void()> work, std::chrono::milliseconds delay,
             std::function<std::chrono::milliseconds()> idle = nullptr);
  ~Maintainer();
  Maintainer(const Maintainer&) = delete;
  Maintainer& operator=(const Maintainer&) = delete;

  void Nudge() {
    if (!nudged_.load(std::memory_order_relaxed)) NudgeSlowly();
  }
  // The work is wanted without the delay.
  void NudgeNow() BARCACHE_EXCLUDES(mutex_);
  // Waits for running work and ends the thread. Later nudges start it again.
  void Stop();
  // Between the two, no thread runs and none is started.
  void LockForFork();
  void UnlockAfterFork();

 private:
  void NudgeSlowly() BARCACHE_EXCLUDES(mutex_);
  void WakeOrStart() BARCACHE_REQUIRES(mutex_);
  void Run();

  const std::function<void()> work_;
  const std::chrono::milliseconds delay_;
  const std::function<std::chrono::milliseconds()> idle_;
  std::atomic<bool> nudged_{false};
  Mutex mutex_;
  std::condition_variable_any wake_;
  bool stopping_ BARCACHE_GUARDED_BY(mutex_) = false;
  bool hurried_ BARCACHE_GUARDED_BY(mutex_) = false;
  std::thread thread_ BARCACHE_GUARDED_BY(mutex_);
};

}  // namespace barcache
