// BYTE_STREAM_SPLIT against its definition.
#include "frame/byte_stream_split.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace barcache {
namespace {

TEST(ByteStreamSplit, IsTheDefinitionAndBack) {
  std::mt19937_64 random(1);
  for (const size_t width : {1, 2, 3, 4, 8, 16}) {
    for (const size_t count : {0, 1, 15, 16, 17, 31, 32, 48, 100, 252}) {
      std::vector<uint8_t> values(count * width);
      for (uint8_t& byte : values) byte = static_cast<uint8_t>(random());
      std::vector<uint8_t> streams(values.size());
      SplitByteStreams(values.data(), count, width, streams.data());
      for (size_t i = 0; i < count; ++i) {
        for (size_t k = 0; k < width; ++k) {
          ASSERT_EQ(streams[k * count + i], values[i * width + k]) << width << " " << count;
        }
      }
      std::vector<uint8_t> back(values.size());
      JoinByteStreams(streams.data(), count, width, back.data());
      EXPECT_EQ(back, values);
    }
  }
}

}  // namespace
}  // namespace barcache
