// Plans of the policies, and replays of batches over lists of sizes.
#include "policy/eviction.h"

#include <gtest/gtest.h>

#include <vector>

namespace barcache {
namespace {

// Sizes leave in the given order while the batch wants more. Returns how many left.
int64_t Replay(const EvictionPlan& plan, int64_t total_bytes, const std::vector<int64_t>& sizes,
               int64_t* left_bytes) {
  EvictionProgress progress(plan, total_bytes);
  int64_t victims = 0;
  for (int64_t size_bytes : sizes) {
    if (!progress.WantsMore()) break;
    progress.Removed(size_bytes);
    ++victims;
  }
  *left_bytes = progress.total_bytes();
  return victims;
}

TEST(PlanEvictionTest, NothingIsNeededUpToTheCapacity) {
  for (int64_t total_bytes : {0, 960, 1000}) {
    const EvictionPlan plan = PlanEviction(EvictionPolicy::kLru, {total_bytes, 1000});
    EXPECT_FALSE(plan.needed);
    EXPECT_FALSE(EvictionProgress(plan, total_bytes).WantsMore());
  }
  EXPECT_TRUE(PlanEviction(EvictionPolicy::kLru, {1001, 1000}).needed);
}

TEST(PlanEvictionTest, TargetIsAtMostFivePercentBelow) {
  for (int64_t capacity_bytes :
       {int64_t{0}, int64_t{1}, int64_t{19}, int64_t{1000}, int64_t{10240} << 20, INT64_MAX}) {
    const EvictionPlan plan = PlanEviction(EvictionPolicy::kSize, {INT64_MAX, capacity_bytes});
    EXPECT_LE(plan.target_bytes, capacity_bytes);
    EXPECT_LE(capacity_bytes - plan.target_bytes, capacity_bytes / 20);
  }
  EXPECT_EQ(PlanEviction(EvictionPolicy::kLru, {2000, 1000}).target_bytes, 950);
}

TEST(PlanEvictionTest, OrdersOfThePolicies) {
  const EvictionNeed need{2000, 1000};
  const EvictionPlan lru = PlanEviction(EvictionPolicy::kLru, need);
  EXPECT_EQ(lru.first, RankOrder::kLeastRecentlyUsed);
  EXPECT_EQ(lru.then, RankOrder::kLeastRecentlyUsed);
  const EvictionPlan size = PlanEviction(EvictionPolicy::kSize, need);
  EXPECT_EQ(size.first, RankOrder::kLargest);
  EXPECT_EQ(size.then, RankOrder::kLargest);
  // B12 of the reference: hybrid was the same as size.
  const EvictionPlan hybrid = PlanEviction(EvictionPolicy::kHybrid, need);
  EXPECT_EQ(hybrid.first, RankOrder::kLargestOfOldHalf);
  EXPECT_EQ(hybrid.then, RankOrder::kLeastRecentlyUsed);
  EXPECT_EQ(PlanEviction(EvictionPolicy::kGdsf, need).first, RankOrder::kLowestPriority);
  EXPECT_EQ(PlanEviction(EvictionPolicy::kS3Fifo, need).first, RankOrder::kTwoQueues);
}

TEST(PlanEvictionTest, ToCapacityOnlyEvictsNothingMore) {
  const EvictionPlan plan = PlanEviction(EvictionPolicy::kLru, {1001, 1000, true});
  int64_t left_bytes = 0;
  EXPECT_EQ(Replay(plan, 1001, std::vector<int64_t>(20, 50), &left_bytes), 1);
  EXPECT_EQ(left_bytes, 951);
}

TEST(EvictionProgressTest, GoesDownToTheTarget) {
  const EvictionPlan plan = PlanEviction(EvictionPolicy::kLru, {1001, 1000});
  int64_t left_bytes = 0;
  // 1001 -> 951 is still above 950, 901 is not.
  EXPECT_EQ(Replay(plan, 1001, std::vector<int64_t>(20, 50), &left_bytes), 2);
  EXPECT_EQ(left_bytes, 901);
}

TEST(EvictionProgressTest, StopsAfterTheExtraVictims) {
  const EvictionPlan plan = PlanEviction(EvictionPolicy::kLru, {100'100, 100'000});
  int64_t left_bytes = 0;
  // 100 victims of one byte reach the capacity; then 64 more, though the target is 95 000.
  EXPECT_EQ(Replay(plan, 100'100, std::vector<int64_t>(1000, 1), &left_bytes), 164);
  EXPECT_EQ(left_bytes, 100'000 - 64);
}

TEST(EvictionProgressTest, NeededVictimsAreNotLimited) {
  const EvictionPlan plan = PlanEviction(EvictionPolicy::kLru, {101'000, 1000});
  int64_t left_bytes = 0;
  Replay(plan, 101'000, std::vector<int64_t>(101'000, 1), &left_bytes);
  EXPECT_LE(left_bytes, 1000);
}

TEST(EvictionProgressTest, CapacityZeroLetsEverythingLeave) {
  const EvictionPlan plan = PlanEviction(EvictionPolicy::kLru, {300, 0});
  int64_t left_bytes = -1;
  EXPECT_EQ(Replay(plan, 300, std::vector<int64_t>(300, 1), &left_bytes), 300);
  EXPECT_EQ(left_bytes, 0);
}

TEST(EvictionProgressTest, ABatchNeverGoesBelowTheTargetForItsOwnSake) {
  const EvictionPlan plan = PlanEviction(EvictionPolicy::kLru, {1'010, 1'000});
  EvictionProgress progress(plan, 1'010);
  EXPECT_TRUE(progress.Takes(900)) << "above the capacity any victim helps";
  progress.Removed(20);
  EXPECT_TRUE(progress.Takes(40));
  EXPECT_FALSE(progress.Takes(41));
}

TEST(EvictionProgressTest, KnowsWhenLeavingIsNotOptional) {
  const EvictionPlan plan = PlanEviction(EvictionPolicy::kHybrid, {1100, 1000});
  EvictionProgress progress(plan, 1100);
  EXPECT_TRUE(progress.AboveCapacity());
  progress.Removed(100);
  EXPECT_FALSE(progress.AboveCapacity());
  EXPECT_TRUE(progress.WantsMore());
  progress.Removed(50);
  EXPECT_FALSE(progress.WantsMore());
}

}  // namespace
}  // namespace barcache
