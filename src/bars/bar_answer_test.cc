// Requests answered from entries on disk and in memory.
#include "bars/bar_answer.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "bars/bars_sample.h"
#include "base/test_directory.h"
#include "frame/frame_data.h"
#include "hot/hot_tier.h"

namespace barcache {
namespace {

constexpr int64_t kStepNs = 1000;

SeriesName Name(const std::string& symbol) { return {"vendor", "1m", "", symbol}; }
std::string Segment(const std::string& symbol, int number) {
  return SeriesKeyOf(Name(symbol)) + ":" + std::to_string(number);
}

class BarAnswerTest : public testing::Test {
 protected:
  void SetUp() override {
    CacheOptions options;
    options.db_path = folder_ / "metadata.db";
    options.cache_directory = folder_ / "cache";
    auto cache = Cache::Open(options);
    ASSERT_TRUE(cache.ok()) << cache.status().ToString();
    cache_ = std::move(*cache);
    ledger_ = std::make_unique<Ledger>(&cache_->catalog());
    for (const char* symbol : {"A", "B"}) {
      for (int i = 0; i < 3; ++i) Put(symbol, i);
    }
  }

  void Put(const std::string& symbol, int number) {
    const std::string key = Segment(symbol, number);
    ASSERT_TRUE(cache_->Put(key, BarsFrom(10 * number, 10)).ok());
    const Interval interval{10 * number * kStepNs, 10 * (number + 1) * kStepNs};
    const Coverage row{interval, CoverageState::kData, key, 1, std::nullopt};
    ASSERT_TRUE(ledger_->Record({{Name(symbol), "schema", {row}, false, {}}}).ok());
  }
  BarQuestion Ask(const std::vector<std::string>& symbols, int64_t first, int64_t end) {
    std::vector<SeriesName> names;
    for (const std::string& symbol : symbols) names.push_back(Name(symbol));
    BarQuestion question;
    question.series = *ledger_->Look(names);
    question.shape_of.assign(symbols.size(), 0);
    question.shapes = {{"timestamp", {first * kStepNs, end * kStepNs}}};
    if (symbols.size() > 1) question.symbol_column = "symbol";
    return question;
  }
  std::optional<BarAnswer> Answer(const BarQuestion& question) {
    auto answer = AnswerFromCache(cache_.get(), question);
    EXPECT_TRUE(answer.ok()) << answer.status().ToString();
    return answer.ok() ? std::move(*answer) : std::nullopt;
  }
  static std::vector<double> Closes(const Frame& frame, size_t column) {
    const ArrowArray& array = *frame.data()->array.children[column];
    const auto* values = static_cast<const double*>(array.buffers[1]);
    return {values, values + array.length};
  }

  TestDirectory folder_;
  std::unique_ptr<Cache> cache_;
  std::unique_ptr<Ledger> ledger_;
};

TEST_F(BarAnswerTest, JoinsPiecesOfAllSeries) {
  const auto answer = Answer(Ask({"A", "B"}, 8, 12));
  ASSERT_TRUE(answer && answer->joined.valid());
  EXPECT_EQ(answer->joined.column_names(),
            (std::vector<std::string>{"timestamp", "symbol", "close"}));
  EXPECT_EQ(Closes(answer->joined, 2), (std::vector<double>{8, 9, 10, 11, 8, 9, 10, 11}));
  EXPECT_EQ(answer->segment_keys, (std::vector<std::string>{Segment("A", 0), Segment("A", 1),
                                                            Segment("B", 0), Segment("B", 1)}));
  EXPECT_FALSE(answer->fresh_until_s);
}

TEST_F(BarAnswerTest, OnePieceOfOneSeriesIsNotCopied) {
  const auto answer = Answer(Ask({"A"}, 3, 7));
  ASSERT_TRUE(answer && answer->slices.size() == 1);
  EXPECT_FALSE(answer->joined.valid());
  ASSERT_NE(answer->entry, nullptr);
  EXPECT_EQ(answer->slices[0].frame.data(), answer->entry->frame.data());
  EXPECT_EQ(answer->slices[0].offset, 3);
  EXPECT_EQ(answer->slices[0].length, 4);
}

TEST_F(BarAnswerTest, NothingIsAnsweredInPart) {
  EXPECT_FALSE(Answer(Ask({"A", "B"}, 8, 31))) << "beyond what was asked";
  EXPECT_FALSE(Answer(Ask({"A", "C"}, 8, 12))) << "a series nobody knows";
  const BarQuestion before = Ask({"A", "B"}, 8, 12);
  ASSERT_TRUE(cache_->Erase(Segment("B", 1)).ok());
  EXPECT_FALSE(Answer(before)) << "gone since it was looked at";
  EXPECT_FALSE(Answer(Ask({"A", "B"}, 8, 12)));
  EXPECT_TRUE(Answer(Ask({"A"}, 8, 12)));
  BarQuestion unknown_time = Ask({"A"}, 8, 12);
  unknown_time.shapes[0].time_column = "absent";
  EXPECT_FALSE(Answer(unknown_time));
}

TEST_F(BarAnswerTest, FromMemoryAloneOnlyIfAllOfItIsThere) {
  BarQuestion question = Ask({"A"}, 8, 12);
  question.at_once = true;
  EXPECT_FALSE(Answer(question)) << "two pieces are copied";
  question = Ask({"A"}, 12, 18);
  question.at_once = true;
  EXPECT_TRUE(Answer(question));
  cache_->hot_tier()->Erase(Segment("A", 1));
  const int64_t hits = cache_->session_stats().hit_count;
  EXPECT_FALSE(Answer(question));
  EXPECT_EQ(cache_->session_stats().hit_count, hits) << "nothing was counted";
  question.at_once = false;
  EXPECT_TRUE(Answer(question));
  EXPECT_EQ(cache_->session_stats().cold_hits, 1);
}

TEST_F(BarAnswerTest, IsFreshAsLongAsItsFirstPieceToExpire) {
  const Coverage row{
      {30 * kStepNs, 40 * kStepNs}, CoverageState::kData, Segment("A", 3), 1, std::optional(77)};
  ASSERT_TRUE(cache_->Put(Segment("A", 3), BarsFrom(30, 10)).ok());
  ASSERT_TRUE(ledger_->Record({{Name("A"), "schema", {row}, false, {}}}).ok());
  BarQuestion question = Ask({"A"}, 25, 35);
  question.rule.now_s = 76;
  EXPECT_EQ(Answer(question)->fresh_until_s, 77);
  question.rule.now_s = 77;
  EXPECT_FALSE(Answer(question));
  question.rule.any_age = true;
  EXPECT_TRUE(Answer(question));
}

}  // namespace
}  // namespace barcache
