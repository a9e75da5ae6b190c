// The decisions of S3-FIFO alone.
#include "policy/s3fifo.h"

#include <gtest/gtest.h>

namespace barcache {
namespace {

TEST(StartingQueueTest, GhostsGoToMain) {
  EXPECT_EQ(StartingQueue({1000, 0, 0}, true, false), FifoQueue::kMain);
  EXPECT_EQ(StartingQueue({1000, 0, 0}, true, true), FifoQueue::kMain);
}

TEST(StartingQueueTest, BeforeTheFirstEvictionATenthFillsTheSmallQueue) {
  EXPECT_EQ(StartingQueue({1000, 99, 0}, false, true), FifoQueue::kSmall);
  EXPECT_EQ(StartingQueue({1000, 100, 0}, false, true), FifoQueue::kMain);
  EXPECT_EQ(StartingQueue({1000, 500, 0}, false, false), FifoQueue::kSmall);
}

TEST(QueueToShrinkTest, MainOnlyWhenItIsOverOrAlone) {
  EXPECT_EQ(QueueToShrink({1000, 100, 900}, false), FifoQueue::kSmall);
  EXPECT_EQ(QueueToShrink({1000, 100, 901}, false), FifoQueue::kMain);
  EXPECT_EQ(QueueToShrink({1000, 0, 10}, true), FifoQueue::kMain);
}

TEST(JudgeHeadTest, TwoUsesLeadFromSmallToMain) {
  EXPECT_TRUE(JudgeHead(FifoQueue::kSmall, 0).leaves);
  EXPECT_TRUE(JudgeHead(FifoQueue::kSmall, 1).leaves);
  const FifoVerdict verdict = JudgeHead(FifoQueue::kSmall, 2);
  EXPECT_FALSE(verdict.leaves);
  EXPECT_EQ(verdict.queue, FifoQueue::kMain);
  EXPECT_EQ(verdict.uses, 0);
}

TEST(JudgeHeadTest, ARoundInMainCostsOneUseOfAtMostThree) {
  EXPECT_TRUE(JudgeHead(FifoQueue::kMain, 0).leaves);
  for (const auto& [uses, left] : {std::pair{1, 0}, {2, 1}, {3, 2}, {1000, 2}}) {
    const FifoVerdict verdict = JudgeHead(FifoQueue::kMain, uses);
    EXPECT_FALSE(verdict.leaves);
    EXPECT_EQ(verdict.queue, FifoQueue::kMain);
    EXPECT_EQ(verdict.uses, left) << uses;
  }
}

TEST(GhostLimitTest, IsNineTenths) { EXPECT_EQ(GhostLimitBytes(1000), 900); }

}  // namespace
}  // namespace barcache
