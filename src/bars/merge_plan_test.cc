// Which segments are merged, and what that costs over the life of a series.
#include "bars/merge_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace barcache {
namespace {

Coverage Data(int64_t begin, const std::string& key) {
  return {{begin, begin + 1}, CoverageState::kData, key, 10, std::nullopt};
}

// Neighbours of these sizes, named by their places.
struct Sample {
  std::vector<Coverage> coverage;
  std::vector<SegmentFacts> facts;
};
Sample Of(const std::vector<int64_t>& sizes) {
  Sample sample;
  for (size_t i = 0; i < sizes.size(); ++i) {
    sample.coverage.push_back(Data(static_cast<int64_t>(i), std::to_string(i)));
    sample.facts.push_back({std::to_string(i), sizes[i], false});
  }
  return sample;
}
std::vector<std::vector<std::string>> Plan(const Sample& sample) {
  return PlanMerges(sample.coverage, sample.facts);
}

TEST(PlanMerges, WaitsForEightOfATier) {
  EXPECT_TRUE(Plan(Of(std::vector<int64_t>(7, 1000))).empty());
  const auto groups = Plan(Of(std::vector<int64_t>(8, 1000)));
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].size(), 8U);
  EXPECT_TRUE(Plan(Of({1, 1, 1, 1, 20'000, 1, 1, 1, 1})).empty()) << "a larger one between";
  std::vector<int64_t> mixed(8, 20'000);
  mixed.insert(mixed.begin() + 3, 1000);
  EXPECT_EQ(Plan(Of(mixed)).at(0).size(), 9U) << "smaller ones between go along";
  EXPECT_TRUE(Plan(Of(std::vector<int64_t>(20, 600'000))).empty()) << "large ones are left alone";
  EXPECT_EQ(Plan(Of(std::vector<int64_t>(100, 1000))).at(0).size(), kMostMergeInputs);
}

TEST(PlanMerges, LeavesProvisionalLostAndOtherPinsOut) {
  Sample sample = Of(std::vector<int64_t>(15, 1000));
  sample.coverage[7].expires_at_s = 99;
  EXPECT_EQ(FinalSegmentsOf(sample.coverage).size(), 14U);
  std::erase_if(sample.facts, [](const SegmentFacts& facts) { return facts.key == "7"; });
  EXPECT_TRUE(Plan(sample).empty());

  sample = Of(std::vector<int64_t>(15, 1000));
  sample.coverage[7].state = CoverageState::kEvicted;
  EXPECT_EQ(SegmentsOf(sample.coverage).size(), 14U);
  EXPECT_EQ(Plan(sample).at(0).size(), 14U) << "what is lost is not between its neighbours";

  sample = Of(std::vector<int64_t>(16, 1000));
  for (size_t i = 0; i < 8; ++i) sample.facts[i].is_pinned = true;
  EXPECT_EQ(Plan(sample).size(), 2U);
  sample.facts[0].is_pinned = false;
  const std::vector<std::string> others = {"8", "9", "10", "11", "12", "13", "14", "15"};
  EXPECT_EQ(Plan(sample), (std::vector<std::vector<std::string>>{others})) << "and none before";
}

TEST(PlanMerges, NamesEveryRowOfASegmentOnce) {
  const std::vector<Coverage> coverage = {Data(0, "a"), Data(1, "b"), Data(2, "a"), Data(3, "c")};
  EXPECT_EQ(SegmentsOf(coverage), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(RowsNaming(coverage, {"a"}).size(), 2U);
  EXPECT_EQ(RowsNaming(coverage, {"a", "c"}).back(), coverage[3]);
}

// A series that grows by one bar at a time: files are counted, and the bytes that merges write.
TEST(PlanMerges, CostIsLogarithmicAndFilesAreFew) {
  constexpr int64_t kFileBytes = 1500;  // Of the file around the bars.
  constexpr int64_t kBarBytes = 40;
  for (const bool backwards : {false, true}) {
    std::map<int64_t, int64_t> bars;  // Of each segment, by its place.
    int64_t written_bytes = 0;
    size_t most_files = 0;
    constexpr int64_t kTopUps = 20'000;
    for (int64_t i = 0; i < kTopUps; ++i) {
      bars[backwards ? -i : i] = 1;
      for (;;) {
        Sample sample;
        for (const auto& [place, count] : bars) {
          sample.coverage.push_back(Data(place, std::to_string(place)));
          sample.facts.push_back({std::to_string(place), kFileBytes + kBarBytes * count, false});
        }
        const auto groups = Plan(sample);
        if (groups.empty()) break;
        for (const auto& group : groups) {
          int64_t count = 0;
          for (const std::string& key : group) count += bars[std::stoll(key)];
          for (const std::string& key : group) bars.erase(std::stoll(key));
          bars[std::stoll(group.front())] = count;
          written_bytes += kFileBytes + kBarBytes * count;
        }
      }
      most_files = std::max(most_files, bars.size());
      if (i == 260) {
        EXPECT_LE(most_files, 15U) << "a year of days";
      }
    }
    EXPECT_LE(most_files, 7U * kMergeTiers + 8U);
    // Each top-up writes a file of its own anyway.
    EXPECT_LE(written_bytes, 2 * kTopUps * (kFileBytes + kBarBytes));
  }
}

}  // namespace
}  // namespace barcache
