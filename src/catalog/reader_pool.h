// ReaderPool: connections for reading, each lent to one thread at a time.
//
// Thread safety: all methods from any thread.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "barcache/status.h"
#include "base/mutex.h"
#include "catalog/sqlite.h"

namespace barcache {

class ReaderPool {
 public:
  using Connector = std::function<Result<std::unique_ptr<SqliteConnection>>()>;
  explicit ReaderPool(Connector connect);

  // A connection on loan; goes back when the lease goes.
  class Lease {
   public:
    Lease(ReaderPool* pool, std::unique_ptr<SqliteConnection> connection)
        : pool_(pool), connection_(std::move(connection)) {}
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(connection_, other.connection_);
      return *this;
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
      if (connection_ != nullptr) pool_->Return(std::move(connection_));
    }
    SqliteConnection* operator->() const { return connection_.get(); }
    SqliteConnection* get() const { return connection_.get(); }

   private:
    ReaderPool* pool_;
    std::unique_ptr<SqliteConnection> connection_;
  };

  Result<Lease> Take();
  // Adds an idle connection.
  void Add(std::unique_ptr<SqliteConnection> connection);
  // Closes the idle connections.
  void Clear();

  // Waits until no connection is lent, and hands out none until Unlock. Without a condition
  // variable, whose inner state could be torn by the fork that this is for.
  void LockIdle() BARCACHE_NO_THREAD_SAFETY_ANALYSIS;
  // REQUIRES: LockIdle. Closes every connection.
  void CloseLocked() BARCACHE_NO_THREAD_SAFETY_ANALYSIS;
  void Unlock() BARCACHE_NO_THREAD_SAFETY_ANALYSIS;

 private:
  void Return(std::unique_ptr<SqliteConnection> connection);

  const Connector connect_;
  Mutex mutex_;
  std::vector<std::unique_ptr<SqliteConnection>> idle_ BARCACHE_GUARDED_BY(mutex_);
  int lent_ BARCACHE_GUARDED_BY(mutex_) = 0;
  bool closing_ BARCACHE_GUARDED_BY(mutex_) = false;
};

}  // namespace barcache
