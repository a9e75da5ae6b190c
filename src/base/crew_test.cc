#include "base/crew.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

namespace barcache {
namespace {

TEST(CrewTest, EveryTaskRunsOnce) {
  Crew crew(3);
  for (const int64_t count : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
    {
      Crew::Batch batch(crew, count, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
      batch.Join();
      for (const auto& times : runs) EXPECT_EQ(times, 1);
    }
  }
}

TEST(CrewTest, WithoutWorkersTheMakerDoesIt) {
  Crew crew(0);
  std::vector<int64_t> order;
  Crew::Batch batch(crew, 5, [&](int64_t i) { order.push_back(i); });
  EXPECT_TRUE(order.empty());
  EXPECT_TRUE(batch.RunOne());
  batch.Join();
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3, 4}));
  EXPECT_FALSE(batch.RunOne());
}

TEST(CrewTest, WorkersHelp) {
  Crew crew(1);
  // Each task waits for the other: alone, the maker could not end.
  std::atomic<int> begun{0};
  Crew::Batch batch(crew, 2, [&](int64_t) {
    ++begun;
    while (begun < 2) std::this_thread::yield();
  });
  batch.Join();
  EXPECT_EQ(begun, 2);
}

TEST(CrewTest, TasksMayMakeBatches) {
  Crew crew(2);
  std::atomic<int> leaves{0};
  Crew::Batch batch(crew, 8, [&](int64_t) {
    Crew::Batch inner(crew, 8, [&](int64_t) { ++leaves; });
    inner.Join();
  });
  batch.Join();
  EXPECT_EQ(leaves, 64);
}

TEST(CrewTest, ManyMakersAtOnce) {
  Crew crew(2);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> makers;
  for (int maker = 0; maker < 4; ++maker) {
    makers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        Crew::Batch batch(crew, 5, [&](int64_t i) { sum += i; });
      }
    });
  }
  for (std::thread& maker : makers) maker.join();
  EXPECT_EQ(sum, 4 * 200 * 10);
}

TEST(CrewTest, WorksOnBothSidesOfAFork) {
  Crew crew(2);
  std::atomic<int> runs{0};
  const auto count_to_ten = [&] { Crew::Batch(crew, 10, [&](int64_t) { ++runs; }).Join(); };
  count_to_ten();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    count_to_ten();
    _exit(runs == 20 ? 0 : 1);
  }
  count_to_ten();
  EXPECT_EQ(runs, 20);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace barcache
