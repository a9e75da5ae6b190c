// The policies as orders, and the arithmetic of a batch.
#include "policy/eviction.h"

namespace barcache {

EvictionPlan PlanEviction(EvictionPolicy policy, const EvictionNeed& need) {
  EvictionPlan plan;
  plan.needed = need.total_bytes > need.capacity_bytes;
  plan.capacity_bytes = need.capacity_bytes;
  plan.target_bytes = need.capacity_bytes - (need.to_capacity_only ? 0 : need.capacity_bytes / 20);
  switch (policy) {
    case EvictionPolicy::kLru:
      plan.first = plan.then = RankOrder::kLeastRecentlyUsed;
      break;
    case EvictionPolicy::kSize:
      plan.first = plan.then = RankOrder::kLargest;
      break;
    case EvictionPolicy::kHybrid:
      plan.first = RankOrder::kLargestOfOldHalf;
      plan.then = RankOrder::kLeastRecentlyUsed;
      break;
    case EvictionPolicy::kGdsf:
      plan.first = RankOrder::kLowestPriority;
      plan.then = RankOrder::kLeastRecentlyUsed;
      break;
    case EvictionPolicy::kS3Fifo:
      plan.first = RankOrder::kTwoQueues;
      plan.then = RankOrder::kLeastRecentlyUsed;
      break;
  }
  return plan;
}

EvictionProgress::EvictionProgress(const EvictionPlan& plan, int64_t total_bytes)
    : plan_(plan), total_bytes_(total_bytes) {}

bool EvictionProgress::WantsMore() const {
  if (!plan_.needed || total_bytes_ <= plan_.target_bytes) return false;
  return AboveCapacity() || extra_victims_ < plan_.max_extra_victims;
}

bool EvictionProgress::Takes(int64_t size_bytes) const {
  return WantsMore() && (AboveCapacity() || total_bytes_ - size_bytes >= plan_.target_bytes);
}

bool EvictionProgress::AboveCapacity() const { return total_bytes_ > plan_.capacity_bytes; }

void EvictionProgress::Removed(int64_t size_bytes) {
  if (!AboveCapacity()) ++extra_victims_;
  total_bytes_ -= size_bytes;
}

}  // namespace barcache
