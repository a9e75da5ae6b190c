// Plans against a model that knows every moment by itself.
#include "bars/request_plan.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>

namespace barcache {
namespace {

constexpr int64_t kMoments = 48;
constexpr int64_t kNow = 1000;

std::vector<Coverage> RandomCoverage(std::mt19937_64* random) {
  std::vector<Coverage> coverage;
  int64_t reached = 0;
  while (reached < kMoments) {
    const auto skip = static_cast<int64_t>((*random)() % 4);
    const auto length = static_cast<int64_t>((*random)() % 7 + 1);
    Coverage next;
    next.interval = {reached + skip, reached + skip + length};
    next.state = static_cast<CoverageState>((*random)() % 4);
    if (next.state != CoverageState::kNone) {
      next.segment_key = "seg:00:" + std::to_string((*random)() % 3);
    }
    next.asked_at_s = kNow - static_cast<int64_t>((*random)() % 20);
    if ((*random)() % 3 == 0) {
      next.expires_at_s = kNow - 5 + static_cast<int64_t>((*random)() % 10);
    }
    reached = next.interval.end_ns;
    coverage.push_back(std::move(next));
  }
  return coverage;
}

FreshnessRule RandomRule(std::mt19937_64* random) {
  FreshnessRule rule{kNow, std::nullopt, false, std::nullopt};
  if ((*random)() % 3 == 0) rule.max_age_s = static_cast<int64_t>((*random)() % 20);
  if ((*random)() % 5 == 0) rule.any_age = true;
  return rule;
}

const Coverage* At(const std::vector<Coverage>& coverage, int64_t moment) {
  for (const Coverage& part : coverage) {
    if (part.interval.begin_ns <= moment && moment < part.interval.end_ns) return &part;
  }
  return nullptr;
}

// What a plan should say of one moment: a segment, "" for no bars, or nullopt for a lack.
std::optional<std::string> Expected(const std::vector<Coverage>& coverage, int64_t moment,
                                    const FreshnessRule& rule) {
  const Coverage* part = At(coverage, moment);
  if (part == nullptr || part->state == CoverageState::kEvicted ||
      part->state == CoverageState::kCorrupt) {
    return std::nullopt;
  }
  const bool young = kNow - part->asked_at_s < rule.max_age_s.value_or(0);
  const bool lasts = !part->expires_at_s.has_value() || *part->expires_at_s > kNow;
  if (!rule.any_age && !(rule.max_age_s.has_value() ? young : lasts)) return std::nullopt;
  return part->segment_key;
}

TEST(RequestPlanTest, EveryMomentIsWhereTheModelHasIt) {
  std::mt19937_64 random{3};
  for (int round = 0; round < 5000; ++round) {
    const std::vector<Coverage> coverage = RandomCoverage(&random);
    const FreshnessRule rule = RandomRule(&random);
    const auto begin = static_cast<int64_t>(random() % kMoments);
    const Interval request{begin, begin + static_cast<int64_t>(random() % 30)};
    const RequestPlan plan = PlanRequest(coverage, request, rule);

    std::map<int64_t, std::optional<std::string>> said;
    for (int64_t t = request.begin_ns; t < request.end_ns; ++t) said[t] = "";
    for (const Piece& piece : plan.pieces) {
      for (int64_t t = piece.interval.begin_ns; t < piece.interval.end_ns; ++t) {
        ASSERT_EQ(said.at(t), "");
        said[t] = piece.segment_key;
      }
    }
    for (const Lack& lack : plan.lacks) {
      ASSERT_FALSE(lack.interval.empty());
      for (int64_t t = lack.interval.begin_ns; t < lack.interval.end_ns; ++t) {
        ASSERT_EQ(said.at(t), "");
        said[t] = std::nullopt;
        const bool asked = At(coverage, t) != nullptr;
        ASSERT_EQ(lack.reason == LackReason::kNeverAsked, !asked);
      }
    }
    for (const auto& [t, answer] : said) ASSERT_EQ(answer, Expected(coverage, t, rule)) << t;
    // What is fresh now stays so until the moment given, and not a second longer.
    if (plan.fresh_until_s.has_value() && !rule.max_age_s.has_value()) {
      const FreshnessRule before{*plan.fresh_until_s - 1, std::nullopt, false, std::nullopt};
      const FreshnessRule then{*plan.fresh_until_s, std::nullopt, false, std::nullopt};
      ASSERT_EQ(PlanRequest(coverage, request, before).pieces, plan.pieces);
      ASSERT_NE(PlanRequest(coverage, request, then).lacks, plan.lacks);
    }
  }
}

TEST(RequestPlanTest, ReasonsAreNamed) {
  std::vector<Coverage> coverage;
  coverage.push_back({{0, 1}, CoverageState::kNone, "", 0, kNow});
  coverage.push_back({{1, 2}, CoverageState::kData, "seg:00:1", 0, kNow});
  coverage.push_back({{2, 3}, CoverageState::kEvicted, "seg:00:1", 0, std::nullopt});
  coverage.push_back({{3, 4}, CoverageState::kCorrupt, "seg:00:1", 0, std::nullopt});
  std::vector<std::string_view> names;
  for (const Lack& lack :
       PlanRequest(coverage, {0, 5}, {kNow, std::nullopt, false, std::nullopt}).lacks) {
    names.push_back(LackReasonName(lack.reason));
  }
  EXPECT_EQ(names, (std::vector<std::string_view>{"stale", "provisional", "evicted", "corrupt",
                                                  "never asked"}));
  const RequestPlan old = PlanRequest(coverage, {0, 1}, {kNow, 5, false, std::nullopt});
  EXPECT_EQ(LackReasonName(old.lacks.at(0).reason), "older than max_age");
  EXPECT_TRUE(PlanRequest(coverage, {0, 2}, {kNow, 5, false, 0}).lacks.empty())
      << "asked in the meantime";
}

TEST(RequestPlanTest, NeighboursAreFinalBarsWithNothingUnknownBetween) {
  std::vector<Coverage> coverage;
  coverage.push_back({{0, 10}, CoverageState::kData, "seg:00:1", 0, std::nullopt});
  coverage.push_back({{10, 12}, CoverageState::kNone, "", 0, kNow + 1});
  coverage.push_back({{20, 30}, CoverageState::kData, "seg:00:2", 0, std::nullopt});
  coverage.push_back({{30, 31}, CoverageState::kData, "seg:00:2", 0, kNow + 1});
  const FreshnessRule rule{kNow, std::nullopt, false, std::nullopt};
  const Piece first{{0, 10}, "seg:00:1"};
  const Piece second{{20, 30}, "seg:00:2"};
  EXPECT_EQ(Neighbour(coverage, 12, Side::kBefore, rule), first);
  EXPECT_EQ(Neighbour(coverage, 10, Side::kBefore, rule), first);
  EXPECT_EQ(Neighbour(coverage, 13, Side::kBefore, rule), std::nullopt);
  EXPECT_EQ(Neighbour(coverage, 20, Side::kAfter, rule), second);
  EXPECT_EQ(Neighbour(coverage, 19, Side::kAfter, rule), std::nullopt);
  EXPECT_EQ(Neighbour(coverage, 31, Side::kBefore, rule), std::nullopt) << "provisional";
  EXPECT_EQ(Neighbour(coverage, 30, Side::kBefore, rule), second);
  EXPECT_EQ(Neighbour(coverage, 12, Side::kBefore, {kNow + 1, std::nullopt, false, std::nullopt}),
            std::nullopt)
      << "a stale 'none' says nothing";
  EXPECT_EQ(Neighbour({}, 0, Side::kBefore, rule), std::nullopt);
}

}  // namespace
}  // namespace barcache
