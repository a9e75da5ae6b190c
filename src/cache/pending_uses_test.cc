#include "cache/pending_uses.h"

#include <gtest/gtest.h>

#include <memory>
#include <new>
#include <thread>
#include <vector>

namespace barcache {
namespace {

TEST(PendingUsesTest, TouchesComeInTheOrderOfUse) {
  PendingUses uses;
  uses.RecordTouch("a", 10);
  uses.RecordTouch("b", 11);
  uses.RecordTouch("a", 12);
  const std::vector<Touch> touches = uses.Take();
  ASSERT_EQ(touches.size(), 2u);
  EXPECT_EQ(touches[0].cache_key, "b");
  EXPECT_EQ(touches[1].cache_key, "a");
  EXPECT_EQ(touches[1].count, 2);
  EXPECT_EQ(touches[1].accessed_s, 12);
  uses.Settle(true);
  EXPECT_TRUE(uses.empty());
}

TEST(PendingUsesTest, WhatCouldNotBeWrittenStays) {
  PendingUses uses;
  uses.RecordTouch("a", 10);
  EXPECT_EQ(uses.Take().size(), 1u);
  EXPECT_EQ(uses.Overlay("a").count, 1) << "in flight still counts";
  EXPECT_TRUE(PendingUses::InFlight(uses.version()));
  uses.RecordTouch("a", 11);
  EXPECT_EQ(uses.Overlay("a").count, 2);
  uses.Settle(false);
  EXPECT_FALSE(PendingUses::InFlight(uses.version()));
  EXPECT_EQ(uses.Overlay("a").count, 2);
  EXPECT_EQ(uses.Take()[0].count, 2);
}

TEST(PendingUsesTest, ABatchThatIsNotSettledGivesBackUsesAndLinks) {
  PendingUses uses;
  uses.RecordTouch("a", 10);
  uses.RecordLink("bt", "a");
  try {
    const PendingUses::Batch batch(&uses);
    EXPECT_EQ(batch.touches().size(), 1u);
    EXPECT_EQ(batch.links().size(), 1u);
    EXPECT_FALSE(uses.has_links());
    throw std::bad_alloc();
  } catch (const std::bad_alloc&) {
  }
  EXPECT_FALSE(PendingUses::InFlight(uses.version())) << "a look-up would wait for it";
  EXPECT_EQ(uses.Overlay("a").count, 1);
  EXPECT_TRUE(uses.has_links());
  PendingUses::Batch batch(&uses);
  EXPECT_EQ(batch.touches()[0].count, 1);
  batch.Settle(true);
  EXPECT_TRUE(uses.empty());
}

TEST(PendingUsesTest, WhatWasNotWrittenIsForgottenWithItsKey) {
  PendingUses uses;
  uses.RecordTouch("a", 10);
  uses.RecordTouch("b", 11);
  static_cast<void>(uses.Take());
  uses.Settle(false);
  uses.Forget("a");
  EXPECT_EQ(uses.Overlay("a").count, 0);
  EXPECT_EQ(uses.Overlay("b").count, 1);
  uses.Clear();
  EXPECT_TRUE(uses.empty());
}

TEST(PendingUsesTest, HotCountersAreCollectedOnce) {
  PendingUses uses;
  const auto counter = std::make_shared<UseCounter>();
  for (int64_t i = 1; i <= 5; ++i) uses.RecordHotTouch("a", counter, 100 + i);
  uses.RecordTouch("b", 200);
  EXPECT_FALSE(uses.empty());
  EXPECT_EQ(uses.Overlay("a").count, 5);
  EXPECT_EQ(uses.Overlay("a").accessed_s, 105);
  EXPECT_EQ(uses.TotalCount(), 6);
  uses.RecordHotTouch("a", counter, 300);
  const std::vector<Touch> touches = uses.Take();
  ASSERT_EQ(touches.size(), 2u);
  EXPECT_EQ(touches[1].cache_key, "a") << "used last";
  EXPECT_EQ(touches[1].count, 6);
  EXPECT_EQ(counter->count, 0);
}

TEST(PendingUsesTest, ForgottenKeysLeaveNothing) {
  PendingUses uses;
  const auto counter = std::make_shared<UseCounter>();
  uses.RecordHotTouch("a", counter, 1);
  uses.RecordLink("bt", "a");
  uses.Forget("a");
  EXPECT_TRUE(uses.empty());
}

TEST(PendingUsesTest, NoUseIsLostBetweenThreads) {
  PendingUses uses;
  const auto counter = std::make_shared<UseCounter>();
  constexpr int kThreads = 4;
  constexpr int kTouches = 5'000;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int touch = 0; touch < kTouches; ++touch) uses.RecordHotTouch("a", counter, 1);
    });
  }
  int64_t written = 0;
  for (int round = 0; round < 200; ++round) {
    for (const Touch& touch : uses.Take()) written += touch.count;
    uses.Settle(true);
  }
  for (std::thread& thread : threads) thread.join();
  for (const Touch& touch : uses.Take()) written += touch.count;
  EXPECT_EQ(written, kThreads * kTouches);
}

}  // namespace
}  // namespace barcache
