#include "frame/column_tasks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace barcache {
namespace {

TEST(ColumnTasksTest, EveryColumnIsDoneOnce) {
  std::vector<size_t> costs(100);
  std::vector<std::atomic<int>> done(costs.size());
  for (size_t i = 0; i < costs.size(); ++i) costs[i] = i * 7 % 13;
  EXPECT_TRUE(ForEachColumn(costs, [&](size_t column) {
                ++done[column];
                return Status();
              }).ok());
  for (const auto& count : done) EXPECT_EQ(count, 1);
  EXPECT_TRUE(ForEachColumn({}, [](size_t) { return Status(); }).ok());
}

TEST(ColumnTasksTest, AFailureIsReportedAndTheRestLeftOut) {
  std::atomic<int> begun{0};
  const Status status = ForEachColumn(std::vector<size_t>(1000, 1), [&](size_t column) {
    ++begun;
    return Status(ErrorCode::kCorruption, "column " + std::to_string(column));
  });
  EXPECT_EQ(status.code(), ErrorCode::kCorruption);
  EXPECT_EQ(status.message(), "column 0");
  EXPECT_LT(begun, 100);
}

TEST(ColumnTasksTest, WantOfMemoryIsAStatus) {
  EXPECT_EQ(ForEachColumn({1, 2}, [](size_t) -> Status { throw std::bad_alloc(); }).code(),
            ErrorCode::kOutOfMemory);
  EXPECT_EQ(ForEachColumn({1, 2}, [](size_t) -> Status { throw std::length_error("x"); }).code(),
            ErrorCode::kOutOfMemory);
}

}  // namespace
}  // namespace barcache
