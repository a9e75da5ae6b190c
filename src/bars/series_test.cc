// Names, rows and the overlay of coverage.
#include "bars/series.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace barcache {
namespace {

constexpr char kKey[] = "seg:00";

Coverage Data(int64_t begin, int64_t end, const std::string& segment) {
  return {{begin, end}, CoverageState::kData, segment, 0, std::nullopt};
}

TEST(SeriesKeyTest, NamesThatDifferHaveDifferentKeys) {
  const std::vector<SeriesName> names{{"a", "1d", "", "X"}, {"a1", "d", "", "X"},
                                      {"a", "1d", "X", ""}, {"a", "1", "d", "X"},
                                      {"a", "1d", "", "x"}, {"", "a1d", "", "X"}};
  std::set<std::string> keys;
  for (const SeriesName& name : names) {
    const std::string key = SeriesKeyOf(name);
    EXPECT_EQ(key.size(), 20U);
    EXPECT_EQ(SeriesKeyOfSegment(key + ":1"), key);
    keys.insert(key);
  }
  EXPECT_EQ(keys.size(), names.size());
  EXPECT_EQ(SeriesKeyOfSegment("8a3c9ff46519d39e"), "");
  EXPECT_EQ(SeriesKeyOfSegment("seg:8a3c9ff46519d39e"), "");
}

TEST(SoundCoverageTest, RowsThatMakeNoSenseAreLeftOut) {
  const std::vector<CoverageRow> rows{
      {0, 10, 1, "seg:00:1", 5, std::nullopt},  {5, 12, 1, "seg:00:1", 5, std::nullopt},
      {20, 20, 1, "seg:00:1", 5, std::nullopt}, {30, 40, 4, "seg:00:1", 5, std::nullopt},
      {40, 50, 1, "other", 5, std::nullopt},    {50, 60, 0, "", 5, 7}};
  const std::vector<Coverage> sound = SoundCoverage(kKey, rows);
  ASSERT_EQ(sound.size(), 2U);
  EXPECT_EQ(RowOf(sound[0]), rows[0]);
  EXPECT_EQ(RowOf(sound[1]), rows[5]);
}

TEST(OverlaidTest, TheNewerAnswerStandsAndTheRestStays) {
  std::mt19937_64 random{5};
  for (int round = 0; round < 3000; ++round) {
    std::vector<Coverage> sides[2];
    std::vector<std::string> model(40, "");
    for (int side = 0; side < 2; ++side) {
      int64_t reached = 0;
      while (true) {
        reached += static_cast<int64_t>(random() % 6);
        const int64_t end = reached + static_cast<int64_t>(random() % 6 + 1);
        if (end > 40) break;
        const std::string segment = "seg:00:" + std::to_string(random() % 3);
        sides[side].push_back(Data(reached, end, segment));
        for (int64_t t = reached; t < end; ++t) model[static_cast<size_t>(t)] = segment;
        reached = end;
      }
    }
    const std::vector<Coverage> result = Overlaid(sides[0], sides[1]);
    std::vector<std::string> said(40, "");
    for (size_t i = 0; i < result.size(); ++i) {
      const Coverage& part = result[i];
      ASSERT_FALSE(part.interval.empty());
      if (i > 0) {
        ASSERT_LE(result[i - 1].interval.end_ns, part.interval.begin_ns);
        ASSERT_FALSE(result[i - 1].interval.end_ns == part.interval.begin_ns &&
                     result[i - 1].segment_key == part.segment_key);
      }
      for (int64_t t = part.interval.begin_ns; t < part.interval.end_ns; ++t) {
        said[static_cast<size_t>(t)] = part.segment_key;
      }
    }
    ASSERT_EQ(said, model);
  }
}

}  // namespace
}  // namespace barcache
