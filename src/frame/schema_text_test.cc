// Schemas that go through text and come back as empty frames.
#include "frame/schema_text.h"

#include <gtest/gtest.h>

#include "frame/frame_sample.h"

namespace barcache {
namespace {

TEST(SchemaTextTest, AnEmptyFrameHasTheSameSchema) {
  using namespace frame_sample;  // NOLINT(google-build-using-namespace)
  for (const auto& type : Types{arrow::float64(), arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
                                arrow::utf8_view(), arrow::boolean(), arrow::decimal128(18, 8),
                                arrow::large_list(arrow::int64()), Categories()}) {
    const auto batch = OneColumn(Json(type, "[]"));
    const Frame frame = Must(Import(*batch));
    const std::string text = SchemaTextOf(frame);
    const Frame empty = Must(EmptyFrameOf(text));
    EXPECT_EQ(empty.num_rows(), 0);
    EXPECT_EQ(empty.column_names(), frame.column_names());
    EXPECT_EQ(SchemaTextOf(empty), text);
  }
}

TEST(SchemaTextTest, AnyTextIsAFrameOrCorruption) {
  for (const char* text : {"", "1;", "2;x", "nonsense", "1;2:+s0:0;0;1;"}) {
    EXPECT_EQ(EmptyFrameOf(text).status().code(), ErrorCode::kCorruption) << text;
  }
}

}  // namespace
}  // namespace barcache
