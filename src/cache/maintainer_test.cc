#include "cache/maintainer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <new>
#include <thread>

namespace barcache {
namespace {

using std::chrono::milliseconds;

TEST(MaintainerTest, ANudgeIsFollowedByWork) {
  std::promise<void> worked;
  std::atomic<int> times{0};
  Maintainer maintainer(
      [&] {
        if (++times == 1) worked.set_value();
      },
      milliseconds(1));
  maintainer.Nudge();
  EXPECT_EQ(worked.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

TEST(MaintainerTest, ManyNudgesAreOneWork) {
  std::atomic<int> times{0};
  Maintainer maintainer([&] { ++times; }, milliseconds(10'000));
  for (int i = 0; i < 100; ++i) maintainer.Nudge();
  maintainer.Stop();
  EXPECT_EQ(times, 0) << "stopped before the delay was over";
}

TEST(MaintainerTest, WhatIsWantedNowDoesNotWaitForTheDelay) {
  std::promise<void> worked;
  std::atomic<int> times{0};
  Maintainer maintainer(
      [&] {
        if (++times == 1) worked.set_value();
      },
      std::chrono::hours(1));
  maintainer.Nudge();
  maintainer.NudgeNow();
  EXPECT_EQ(worked.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  maintainer.Nudge();
  maintainer.Stop();
  EXPECT_EQ(times, 1) << "the nudge after it waits as always";
}

TEST(MaintainerTest, BetweenBatchesItDoesWhatIsNeverUrgent) {
  std::atomic<int> works{0};
  std::atomic<int> steps{0};
  Maintainer maintainer([&] { ++works; }, milliseconds(0),
                        [&] {
                          ++steps;
                          return milliseconds(steps < 5 ? 0 : 3'600'000);
                        });
  maintainer.Nudge();
  for (int i = 0; i < 10'000 && steps < 5; ++i) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(steps, 5);
  EXPECT_GE(works, 1);
  const int before = works;
  maintainer.Nudge();  // A long pause holds up no work.
  for (int i = 0; i < 10'000 && works == before; ++i) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_GT(works, before);
  maintainer.Stop();
}

TEST(MaintainerTest, WantOfMemoryEndsOneBatchOnly) {
  std::atomic<int> times{0};
  Maintainer maintainer(
      [&] {
        if (++times == 1) throw std::bad_alloc();
      },
      milliseconds(0));
  for (int i = 0; i < 10'000 && times < 2; ++i) {
    maintainer.Nudge();
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_GE(times, 2);
}

TEST(MaintainerTest, GoesOnAfterStopAndAfterAForksLock) {
  std::atomic<int> times{0};
  Maintainer maintainer([&] { ++times; }, milliseconds(0));
  const auto wait_for = [&](int count) {
    for (int i = 0; i < 10'000 && times < count; ++i) std::this_thread::sleep_for(milliseconds(1));
    return times >= count;
  };
  maintainer.Nudge();
  EXPECT_TRUE(wait_for(1));
  maintainer.Stop();
  maintainer.Nudge();
  EXPECT_TRUE(wait_for(2));
  maintainer.LockForFork();
  maintainer.UnlockAfterFork();
  maintainer.Nudge();
  EXPECT_TRUE(wait_for(3));
}

}  // namespace
}  // namespace barcache
