#include "cache/maintainer.h"

#include <signal.h>

#include <new>
#include <system_error>
#include <utility>

namespace barcache {

Maintainer::Maintainer(std::function<void()> work, std::chrono::milliseconds delay,
                       std::function<std::chrono::milliseconds()> idle)
    : work_(std::move(work)), delay_(delay), idle_(std::move(idle)) {}

Maintainer::~Maintainer() { Stop(); }

void Maintainer::NudgeSlowly() {
  const MutexLock lock(mutex_);
  if (!nudged_.exchange(true)) WakeOrStart();
}

void Maintainer::NudgeNow() {
  const MutexLock lock(mutex_);
  if (hurried_) return;
  hurried_ = true;
  nudged_ = true;
  WakeOrStart();
}

void Maintainer::WakeOrStart() {
  if (thread_.joinable()) {
    wake_.notify_one();
    return;
  }
  // Signals are the program's: the thread starts with all of them blocked.
  sigset_t all;
  sigset_t previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::exception&) {
    // No thread to be had now; Flush and Close still write everything.
    nudged_ = hurried_ = false;
  }
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
}

void Maintainer::Run() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!nudged_) {
      const auto is_called = [this]() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
        return stopping_ || nudged_.load();
      };
      if (idle_) {
        lock.unlock();
        const std::chrono::milliseconds pause = idle_();
        lock.lock();
        wake_.wait_for(lock, pause, is_called);
      } else {
        wake_.wait(lock, is_called);
      }
      continue;
    }
    wake_.wait_for(lock, delay_,
                   [this]() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { return stopping_ || hurried_; });
    if (stopping_) return;
    nudged_ = hurried_ = false;
    lock.unlock();
    try {
      work_();
    } catch (const std::bad_alloc&) {  // The next nudge tries again.
    }
    lock.lock();
  }
}

void Maintainer::Stop() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  std::thread thread;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  wake_.notify_all();
  if (thread.joinable()) thread.join();
  const MutexLock lock(mutex_);
  stopping_ = false;
  nudged_ = hurried_ = false;
}

void Maintainer::LockForFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  // A nudge between the two steps may start a thread again, so end it under the lock as well.
  for (;;) {
    Stop();
    mutex_.lock();
    if (!thread_.joinable()) return;
    mutex_.unlock();
  }
}

void Maintainer::UnlockAfterFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }

}  // namespace barcache
