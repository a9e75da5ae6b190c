// Crew: parked threads that share the tasks of a batch with the thread that made it.
//
// The maker always works too, so that a batch is done even if no worker is free, none could be
// started, or the process is a forked child (which has none). Workers are started by the first
// batch and stopped before a fork.
//
// Thread safety: any thread may make batches, also at the same time; a Batch belongs to its maker.
// Tasks may make batches of their own. What a task throws is thrown by Join.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/fork.h"
#include "base/mutex.h"

namespace barcache {

class Crew final : public ForkParticipant {
 private:
  struct Work;

 public:
  // The crew of this process: one thread fewer than there are processors, at most seven.
  static Crew& Shared();

  class Batch {
   public:
    // `task` is called once with each index in [0, count).
    Batch(Crew& crew, int64_t count, std::function<void(int64_t)> task);
    // Waits as Join does; what a task threw is lost.
    ~Batch();
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    // Runs one task that nobody has begun on this thread. False: there is none.
    bool RunOne();
    // Runs what nobody has begun, then waits for the rest. Throws what the first task threw that
    // did.
    void Join();

   private:
    void Finish();
    std::shared_ptr<Work> work_;
  };

  explicit Crew(int worker_count);
  ~Crew();

  int worker_count() const { return worker_count_; }

  void BeforeFork() override;
  void AfterFork(bool in_child) override;

 private:
  void Post(const std::shared_ptr<Work>& work) BARCACHE_EXCLUDES(mutex_);
  void StartWorkers() BARCACHE_REQUIRES(mutex_);
  void StopWorkers() BARCACHE_EXCLUDES(mutex_);
  void Serve();

  const int worker_count_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<std::shared_ptr<Work>> posted_ BARCACHE_GUARDED_BY(mutex_);
  std::vector<std::thread> workers_ BARCACHE_GUARDED_BY(mutex_);
  bool stopping_ BARCACHE_GUARDED_BY(mutex_) = false;
};

}  // namespace barcache
