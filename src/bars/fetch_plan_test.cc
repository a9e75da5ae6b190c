// Calls against the gaps they were made of.
#include "bars/fetch_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace barcache {
namespace {

std::vector<Gap> RandomGaps(std::mt19937_64* random) {
  std::vector<Gap> gaps;
  const size_t count = (*random)() % 12;
  for (size_t i = 0; i < count; ++i) {
    const auto begin = static_cast<int64_t>((*random)() % 6) * 10;
    const auto length = static_cast<int64_t>((*random)() % 3 + 1) * 10;
    gaps.push_back({static_cast<size_t>((*random)() % 4), {begin, begin + length}});
  }
  return gaps;
}

IntervalSet Wanted(const std::vector<Gap>& gaps, size_t symbol) {
  IntervalSet wanted;
  for (const Gap& gap : gaps) {
    if (gap.symbol == symbol) wanted.Add(gap.interval);
  }
  return wanted;
}

IntervalSet Fetched(const std::vector<FetchCall>& calls, size_t symbol) {
  IntervalSet fetched;
  for (const FetchCall& call : calls) {
    if (std::ranges::count(call.symbols, symbol) == 1) fetched.Add(call.interval);
  }
  return fetched;
}

TEST(FetchPlanTest, FetchesEveryGapOnceAndNothingElse) {
  std::mt19937_64 random{7};
  for (int round = 0; round < 2000; ++round) {
    const std::vector<Gap> gaps = RandomGaps(&random);
    const std::vector<FetchCall> calls = PlanCalls(gaps, 0);
    std::set<Interval> distinct;
    for (size_t symbol = 0; symbol < 4; ++symbol) {
      const IntervalSet wanted = Wanted(gaps, symbol);
      ASSERT_EQ(Fetched(calls, symbol), wanted);
      distinct.insert(wanted.parts().begin(), wanted.parts().end());
    }
    // The fewest: each call has an interval of its own.
    ASSERT_EQ(calls.size(), distinct.size());
    ASSERT_TRUE(std::ranges::is_sorted(calls, {}, &FetchCall::interval));
  }
}

TEST(FetchPlanTest, ACostPerCallNeverLosesAGap) {
  std::mt19937_64 random{8};
  for (int round = 0; round < 2000; ++round) {
    const std::vector<Gap> gaps = RandomGaps(&random);
    const auto cost = static_cast<int64_t>(random() % 60);
    const std::vector<FetchCall> calls = PlanCalls(gaps, cost);
    ASSERT_LE(calls.size(), PlanCalls(gaps, 0).size());
    for (const Gap& gap : gaps) {
      ASSERT_TRUE(Fetched(calls, gap.symbol).Contains(gap.interval));
    }
  }
}

TEST(FetchPlanTest, CallsAreSharedWhereThatIsCheaper) {
  const std::vector<Gap> gaps{{0, {0, 100}}, {1, {10, 100}}, {2, {90, 100}}};
  EXPECT_EQ(PlanCalls(gaps, 0).size(), 3U);
  const std::vector<FetchCall> cheap = PlanCalls(gaps, 11);
  ASSERT_EQ(cheap.size(), 2U);
  EXPECT_EQ(cheap[0].symbols, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(cheap[0].interval, (Interval{0, 100}));
  EXPECT_EQ(PlanCalls(gaps, 1000).size(), 1U);
}

TEST(FetchPlanTest, AdjacentGapsAreOneCall) {
  const std::vector<FetchCall> calls = PlanCalls({{0, {10, 20}}, {0, {0, 10}}}, 0);
  ASSERT_EQ(calls.size(), 1U);
  EXPECT_EQ(calls[0].interval, (Interval{0, 20}));
  EXPECT_TRUE(PlanCalls({}, 0).empty());
}

}  // namespace
}  // namespace barcache
