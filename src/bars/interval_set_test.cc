// IntervalSet against a model that holds every moment as a bit.
#include "bars/interval_set.h"

#include <gtest/gtest.h>

#include <bitset>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace barcache {
namespace {

constexpr int64_t kMoments = 64;
using Model = std::bitset<kMoments>;

void Fill(Model* model, const Interval& interval, bool value) {
  for (int64_t t = interval.begin_ns; t < interval.end_ns; ++t) {
    model->set(static_cast<size_t>(t), value);
  }
}

// Also checks that parts are in order, not empty and never adjacent.
Model ModelOf(const IntervalSet& set) {
  Model model;
  for (size_t i = 0; i < set.parts().size(); ++i) {
    const Interval& part = set.parts()[i];
    EXPECT_FALSE(part.empty());
    if (i > 0) {
      EXPECT_LT(set.parts()[i - 1].end_ns, part.begin_ns);
    }
    Fill(&model, part, true);
  }
  return model;
}

class IntervalSetTest : public testing::Test {
 protected:
  Interval RandomInterval() {
    std::uniform_int_distribution<int64_t> moment(0, kMoments);
    const int64_t begin = moment(random_);
    // An empty or inverted one now and then.
    const int64_t end = std::min(begin + moment(random_) / 3 - 1, kMoments);
    return {begin, end};
  }
  std::mt19937_64 random_{20231231};
};

TEST_F(IntervalSetTest, EveryStepAgreesWithTheModel) {
  for (int round = 0; round < 400; ++round) {
    IntervalSet set;
    Model model;
    for (int step = 0; step < 40; ++step) {
      const Interval interval = RandomInterval();
      const bool add = random_() % 3 != 0;
      add ? set.Add(interval) : set.Remove(interval);
      Fill(&model, interval, add);
      ASSERT_EQ(ModelOf(set), model);

      const Interval bounds = RandomInterval();
      Model inside;
      Fill(&inside, bounds, true);
      ASSERT_EQ(ModelOf(set.Within(bounds)), model & inside);
      ASSERT_EQ(ModelOf(set.GapsWithin(bounds)), ~model & inside);
      ASSERT_EQ(set.Contains(bounds), (~model & inside).none());
    }
  }
}

TEST_F(IntervalSetTest, TheEndsOfTimeAreNoSpecialCase) {
  constexpr int64_t kFirst = std::numeric_limits<int64_t>::min();
  constexpr int64_t kLast = std::numeric_limits<int64_t>::max();
  IntervalSet set;
  set.Add({kFirst, -5});
  set.Add({5, kLast});
  EXPECT_EQ(set.GapsWithin({kFirst, kLast}).parts(), (std::vector<Interval>{{-5, 5}}));
  set.Remove({kFirst, kLast});
  EXPECT_TRUE(set.empty());
}

TEST_F(IntervalSetTest, SetsOfTheSameMomentsAreEqual) {
  IntervalSet in_order;
  in_order.Add({0, 10});
  in_order.Add({10, 20});
  IntervalSet backwards;
  backwards.Add({5, 20});
  backwards.Add({0, 5});
  EXPECT_EQ(in_order, backwards);
}

}  // namespace
}  // namespace barcache
