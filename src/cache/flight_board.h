// FlightBoard: the flights of one cache, and the leases of those that lead.
//
// A lease is a row of the catalog with a token of its own and a time at which it expires, renewed
// by a background thread when a third of that span is over. Whoever waits takes over, in one write
// transaction, when the row's holder is gone, when its time is past by the wall clock, or when the
// row has stood unchanged for the whole span by the waiter's own steady clock, so that no clock
// that was set can hold anybody up for longer.
//
// A lease that cannot be had or renewed for an error of the catalog never stops a flight: it leads
// alone, and the error is reported.
//
// Thread safety: all methods may be called from any thread. Lock: mutex_, a leaf.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "barcache/flight.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "cache/maintainer.h"
#include "catalog/catalog.h"

namespace barcache {

class FlightBoard {
 public:
  using Report = std::function<void(std::string_view name, const Status& error)>;

  // With `shared` false everybody leads, without a lease. `report` is called by the methods of
  // flights and by the background thread, with no lock held.
  FlightBoard(Catalog* catalog, const Clock* clock, int64_t lease_ms, bool shared, Report report);
  ~FlightBoard();
  FlightBoard(const FlightBoard&) = delete;
  FlightBoard& operator=(const FlightBoard&) = delete;

  std::unique_ptr<Flight> Begin(std::string_view name);
  // Ends all leases; flights begun later lead alone.
  void Close();

  // No lease is renewed between the first and the last; in a child none is held afterwards. A
  // flight begins with the catalog's writer lock held: so that comes between the first and the
  // second.
  void StopForFork();
  void LockForFork();
  void UnlockAfterFork(bool in_child);

 private:
  class LeasedFlight;
  class Holding;

  // The row to wait for, or none: then the lease of that token was taken.
  Result<std::optional<LeaseRow>> TakeUnlessHeld(const std::string& name, const std::string& token,
                                                 const LeaseRow* stale);
  bool IsOver(const LeaseRow& row) const;
  Status End(const std::string& name, const std::string& token, const FlightError* error);
  bool Hold(const std::string& name, const std::string& token) BARCACHE_EXCLUDES(mutex_);
  bool Drop(const std::string& token) BARCACHE_EXCLUDES(mutex_);
  void Renew();
  void RenewIfDue();
  Status RenewAll(const std::map<std::string, std::string>& held);

  Catalog* const catalog_;
  const Clock* const clock_;
  const int64_t lease_ns_;
  const Report report_;
  std::atomic<bool> shared_;
  Mutex mutex_;
  std::map<std::string, std::string> held_ BARCACHE_GUARDED_BY(mutex_);  // Token -> name.
  std::atomic<int64_t> renewed_ns_{0};                                   // Of the steady clock.
  Maintainer renewal_;
};

}  // namespace barcache
