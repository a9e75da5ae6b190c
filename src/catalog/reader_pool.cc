// Lending connections. See reader_pool.h.
#include "catalog/reader_pool.h"

#include <time.h>

#include <new>

namespace barcache {

namespace {
// More threads than this at once each pay for opening a connection.
constexpr size_t kMaxIdle = 16;

void Pause() {
  const timespec pause{0, 50'000};
  nanosleep(&pause, nullptr);
}
}  // namespace

// With room from the beginning: giving back allocates nothing, and cannot fail.
ReaderPool::ReaderPool(Connector connect) : connect_(std::move(connect)) {
  idle_.reserve(kMaxIdle);
}

Result<ReaderPool::Lease> ReaderPool::Take() {
  for (;; Pause()) {
    MutexLock lock(mutex_);
    if (closing_) continue;  // A fork waits for the others to come back.
    ++lent_;
    if (idle_.empty()) break;
    Lease lease(this, std::move(idle_.back()));
    idle_.pop_back();
    return lease;
  }
  try {
    Result<std::unique_ptr<SqliteConnection>> connection = connect_();
    if (connection.ok()) return Lease(this, std::move(connection).value());
    Return(nullptr);
    return connection.status();
  } catch (const std::bad_alloc&) {
    Return(nullptr);  // Whoever waits for all to come back would wait for ever.
    throw;
  }
}

void ReaderPool::Return(std::unique_ptr<SqliteConnection> connection) {
  std::unique_ptr<SqliteConnection> surplus;  // Closed outside the lock.
  MutexLock lock(mutex_);
  --lent_;
  if (connection != nullptr) {
    (idle_.size() < kMaxIdle ? idle_.emplace_back() : surplus) = std::move(connection);
  }
}

void ReaderPool::Add(std::unique_ptr<SqliteConnection> connection) {
  MutexLock lock(mutex_);
  idle_.push_back(std::move(connection));
}

void ReaderPool::Clear() {
  std::vector<std::unique_ptr<SqliteConnection>> closing;
  MutexLock lock(mutex_);
  closing.swap(idle_);
}

void ReaderPool::LockIdle() {
  mutex_.lock();
  closing_ = true;
  while (lent_ != 0) {
    mutex_.unlock();
    Pause();
    mutex_.lock();
  }
}

void ReaderPool::CloseLocked() { idle_.clear(); }

void ReaderPool::Unlock() {
  closing_ = false;
  mutex_.unlock();
}

}  // namespace barcache
