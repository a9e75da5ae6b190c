#include "base/crew.h"

#include <signal.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

namespace barcache {

struct Crew::Work {
  Work(int64_t task_count, std::function<void(int64_t)> the_task)
      : count(task_count), task(std::move(the_task)) {}

  // Runs the next task that nobody has begun.
  bool RunOne() {
    const int64_t index = next.fetch_add(1, std::memory_order_relaxed);
    if (index >= count) return false;
    try {
      task(index);
    } catch (...) {  // Out of memory, mostly. Whoever made the batch hears of it.
      if (!failed.exchange(true)) failure = std::current_exception();
    }
    if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == count) done.notify_all();
    return true;
  }
  bool HasMore() const { return next.load(std::memory_order_relaxed) < count; }

  const int64_t count;
  const std::function<void(int64_t)> task;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;  // Of the first task that threw; to be read when all are done.
};

Crew& Crew::Shared() {
  // Never destroyed: its threads may be parked when the process ends.
  static Crew* crew =
      new Crew(std::clamp(static_cast<int>(std::thread::hardware_concurrency()) - 1, 0, 7));
  return *crew;
}

Crew::Crew(int worker_count) : worker_count_(worker_count) { JoinForks(ForkTurn::kThreads); }

Crew::~Crew() {
  LeaveForks();
  StopWorkers();
}

Crew::Batch::Batch(Crew& crew, int64_t count, std::function<void(int64_t)> task)
    : work_(std::make_shared<Work>(count, std::move(task))) {
  if (count > 0) crew.Post(work_);
}

Crew::Batch::~Batch() { Finish(); }

bool Crew::Batch::RunOne() { return work_->RunOne(); }

void Crew::Batch::Join() {
  Finish();
  if (work_->failure != nullptr) std::rethrow_exception(std::exchange(work_->failure, nullptr));
}

void Crew::Batch::Finish() {
  while (work_->RunOne()) {
  }
  for (;;) {
    const int64_t done = work_->done.load(std::memory_order_acquire);
    if (done >= work_->count) return;
    work_->done.wait(done, std::memory_order_acquire);
  }
}

void Crew::Post(const std::shared_ptr<Work>& work) {
  if (worker_count_ == 0 || InForkedChild()) return;
  {
    const MutexLock lock(mutex_);
    if (stopping_) return;
    if (workers_.empty()) StartWorkers();
    posted_.push_back(work);
  }
  if (work->count > 1) {
    wake_.notify_all();
  } else {
    wake_.notify_one();
  }
}

void Crew::StartWorkers() {
  // Signals are the program's: the workers take none.
  sigset_t all;
  sigset_t previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  try {
    for (int i = 0; i < worker_count_; ++i) workers_.emplace_back([this] { Serve(); });
  } catch (const std::exception&) {
    // No thread to be had, or no memory for one: the makers do the work.
  }
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
}

void Crew::Serve() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this]() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
      return stopping_ || !posted_.empty();
    });
    if (stopping_) return;
    const std::shared_ptr<Work> work = posted_.front();
    if (!work->HasMore()) {
      posted_.pop_front();
      continue;
    }
    lock.unlock();
    work->RunOne();
    lock.lock();
  }
}

void Crew::StopWorkers() {
  std::vector<std::thread> workers;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    workers.swap(workers_);
  }
  wake_.notify_all();
  for (std::thread& worker : workers) worker.join();
  const MutexLock lock(mutex_);
  posted_.clear();  // Their makers finish them.
  stopping_ = false;
}

void Crew::BeforeFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  for (;;) {
    StopWorkers();
    mutex_.lock();
    if (workers_.empty()) return;
    mutex_.unlock();  // A batch started them anew in between.
  }
}

void Crew::AfterFork(bool) BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }

}  // namespace barcache
