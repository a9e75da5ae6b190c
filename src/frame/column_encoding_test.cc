// Which encoding a column gets.
#include "frame/column_encoding.h"

#include <arrow/c/bridge.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "frame/frame_sample.h"

namespace barcache {
namespace {

template <typename Builder, typename Value>
ColumnEncoding Choose(int rows, Value value) {
  Builder builder;
  for (int i = 0; i < rows; ++i) EXPECT_TRUE(builder.Append(value(i)).ok());
  auto column = frame_sample::Must(builder.Finish());
  ArrowSchema schema{};
  ArrowArray array{};
  EXPECT_TRUE(arrow::ExportArray(*column, &array, &schema).ok());
  ColumnEncoding encoding = ChooseEncoding(schema, array);
  schema.release(&schema);
  array.release(&array);
  return encoding;
}

TEST(Encoding, FollowsTheValues) {
  std::mt19937 random(1);
  auto noise = [&](int) { return std::uniform_real_distribution<double>()(random); };
  auto ticks = [&](int) { return std::round(noise(0) * 10'000) / 100; };
  EXPECT_EQ((Choose<arrow::DoubleBuilder>(100'000, noise)), ColumnEncoding::kByteStreamSplit);
  EXPECT_EQ((Choose<arrow::DoubleBuilder>(100'000, ticks)), ColumnEncoding::kDictionary);
  EXPECT_EQ(
      (Choose<arrow::FloatBuilder>(100'000, [&](int) { return static_cast<float>(noise(0)); })),
      ColumnEncoding::kByteStreamSplit);
  EXPECT_EQ((Choose<arrow::Int64Builder>(100'000, [](int i) { return int64_t{i} * 60'000'000; })),
            ColumnEncoding::kDeltaBinaryPacked);
  EXPECT_EQ((Choose<arrow::Int64Builder>(100'000, [](int i) { return int64_t{i % 50}; })),
            ColumnEncoding::kDictionary);
  EXPECT_EQ((Choose<arrow::StringViewBuilder>(10, [](int) { return "AAPL"; })),
            ColumnEncoding::kDictionary);
  EXPECT_EQ((Choose<arrow::BooleanBuilder>(10, [](int i) { return i % 2 == 0; })),
            ColumnEncoding::kPlain);
  EXPECT_EQ((Choose<arrow::DoubleBuilder>(0, noise)), ColumnEncoding::kPlain);
}

}  // namespace
}  // namespace barcache
