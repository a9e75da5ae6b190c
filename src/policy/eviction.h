// Eviction: how much must leave, and in which order the candidates are asked for.
//
// Pure: no clock, no I/O, no SQL. The catalog keeps the orders by index, so that naming one is
// all a policy has to do; each victim then costs O(log n). The numbers behind the last two orders
// are computed in policy/gdsf.h and policy/s3fifo.h.
#pragma once

#include <cstdint>

#include "barcache/options.h"

namespace barcache {

// The orders that a policy can ask for; the catalog offers the same ones.
enum class RankOrder {
  kLeastRecentlyUsed,
  kLargest,
  kLargestOfOldHalf,
  kLowestPriority,
  kTwoQueues,
};

struct EvictionNeed {
  int64_t total_bytes = 0;        // Charged now.
  int64_t capacity_bytes = 0;     // The limit.
  bool to_capacity_only = false;  // No further, as simulators do.
};

// A batch: evict in `first` order while above target_bytes; when that order runs dry, in `then`
// order while above capacity.
struct EvictionPlan {
  bool needed = false;
  RankOrder first = RankOrder::kLeastRecentlyUsed;
  RankOrder then = RankOrder::kLeastRecentlyUsed;
  int64_t capacity_bytes = 0;
  int64_t target_bytes = 0;        // At most 5 % below the capacity.
  int64_t max_extra_victims = 64;  // Beyond those needed to reach the capacity.
};

EvictionPlan PlanEviction(EvictionPolicy policy, const EvictionNeed& need);

// Follows a batch victim by victim: shared by the cold tier and by trace replays.
class EvictionProgress {
 public:
  EvictionProgress(const EvictionPlan& plan, int64_t total_bytes);
  // True while another victim should leave.
  bool WantsMore() const;
  // True if one of that size should: beyond what is needed, none that would take the total below
  // the target.
  bool Takes(int64_t size_bytes) const;
  // True when the total is above the capacity itself: leaving is not optional.
  bool AboveCapacity() const;
  void Removed(int64_t size_bytes);
  int64_t total_bytes() const { return total_bytes_; }

 private:
  EvictionPlan plan_;
  int64_t total_bytes_;
  int64_t extra_victims_ = 0;
};

}  // namespace barcache
