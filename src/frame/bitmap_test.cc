// Bitmaps, and the definition levels that are bitmaps: each function against bit by bit.
#include "frame/bitmap.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "frame/rle_levels.h"

namespace barcache {
namespace {

std::vector<uint8_t> RandomBytes(size_t size, std::mt19937_64& random) {
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

TEST(Bitmap, CopyFillAndCountAtEveryOffset) {
  std::mt19937_64 random(1);
  for (size_t offset = 0; offset < 20; ++offset) {
    for (size_t count = 0; count < 150; count += 1 + count / 20) {
      const std::vector<uint8_t> source = RandomBytes(BitmapSize(count), random);
      std::vector<uint8_t> target = RandomBytes(BitmapSize(offset + count), random);
      const std::vector<uint8_t> before = target;
      CopyBits(source.data(), count, target.data(), offset);
      size_t set = 0;
      for (size_t i = 0; i < offset; ++i) {
        ASSERT_EQ(GetBit(target.data(), i), GetBit(before.data(), i));
      }
      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(GetBit(target.data(), offset + i), GetBit(source.data(), i));
        set += GetBit(source.data(), i) ? 1 : 0;
      }
      EXPECT_EQ(CountBits(target.data(), offset, count), set);
      FillBits(target.data(), offset, count, true);
      EXPECT_EQ(CountBits(target.data(), offset, count), count);
      FillBits(target.data(), offset, count, false);
      EXPECT_EQ(CountBits(target.data(), offset, count), 0U);
      for (size_t i = 0; i < offset; ++i) {
        ASSERT_EQ(GetBit(target.data(), i), GetBit(before.data(), i));
      }
    }
  }
}

TEST(Bitmap, GatherAndScatterAreInverse) {
  std::mt19937_64 random(2);
  for (const size_t width : {1, 2, 4, 8, 16}) {
    for (const size_t count : {0, 1, 7, 64, 100}) {
      const std::vector<uint8_t> values = RandomBytes(count * width, random);
      const std::vector<uint8_t> mask = RandomBytes(BitmapSize(count) + 1, random);
      std::vector<uint8_t> packed(count * width);
      const size_t valid = GatherValues(values.data(), width, mask.data(), count, packed.data());
      EXPECT_EQ(valid, CountBits(mask.data(), 0, count));
      ScatterValues(packed.data(), width, mask.data(), 0, count, valid);
      for (size_t i = 0; i < count; ++i) {
        const std::vector<uint8_t> zeros(width);
        const uint8_t* expected = GetBit(mask.data(), i) ? values.data() + i * width : zeros.data();
        EXPECT_EQ(std::memcmp(packed.data() + i * width, expected, width), 0);
      }
    }
  }
}

TEST(Bitmap, GatherAndScatterOfBits) {
  std::mt19937_64 random(3);
  for (size_t count = 0; count < 70; ++count) {
    const std::vector<uint8_t> bits = RandomBytes(BitmapSize(count), random);
    const std::vector<uint8_t> mask = RandomBytes(BitmapSize(count + 3), random);
    std::vector<uint8_t> packed(BitmapSize(count));
    GatherBits(bits.data(), mask.data(), count, packed.data());
    std::vector<uint8_t> back(BitmapSize(count));
    ScatterBits(packed.data(), mask.data(), 0, count, back.data());
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(GetBit(back.data(), i), GetBit(mask.data(), i) && GetBit(bits.data(), i));
    }
  }
}

TEST(RleLevels, BitmapsComeBack) {
  std::mt19937_64 random(4);
  for (const size_t count : {0, 1, 7, 8, 9, 500, 3000}) {
    const std::vector<uint8_t> validity = RandomBytes(BitmapSize(count), random);
    ByteSink sink;
    AppendLevels(validity.data(), count, sink);
    std::vector<uint8_t> back(BitmapSize(count));
    ASSERT_TRUE(DecodeLevels(sink.bytes(), count, back.data(), 0));
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(GetBit(back.data(), i), GetBit(validity.data(), i));
    }
  }
}

TEST(RleLevels, RunsOfBothKindsInTurns) {
  // 5 ones, one group 0b10110010, 11 zeros.
  const std::vector<uint8_t> bytes = {10, 1, 3, 0xb2, 22, 0};
  std::vector<uint8_t> validity(4);
  ASSERT_TRUE(DecodeLevels(bytes, 24, validity.data(), 3));
  const std::vector<int> expected = {1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 1, 0,
                                     1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(GetBit(validity.data(), 3 + i), expected[i] == 1) << i;
  }
}

TEST(RleLevels, RefusesWhatIsNotLevels) {
  std::vector<uint8_t> validity(16);
  const auto decodes = [&](const std::vector<uint8_t>& bytes, size_t count) {
    return DecodeLevels(bytes, count, validity.data(), 0);
  };
  EXPECT_TRUE(decodes({20, 1}, 10));
  EXPECT_FALSE(decodes({}, 10));             // Nothing.
  EXPECT_FALSE(decodes({20}, 10));           // No value.
  EXPECT_FALSE(decodes({20, 2}, 10));        // A level above 1.
  EXPECT_FALSE(decodes({22, 1}, 10));        // A run too long.
  EXPECT_FALSE(decodes({18, 1}, 10));        // Too few.
  EXPECT_FALSE(decodes({0, 1, 20, 1}, 10));  // An empty run.
  EXPECT_FALSE(decodes({5, 0xff}, 10));      // Two groups, bytes of one.
  EXPECT_FALSE(decodes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 10));
}

}  // namespace
}  // namespace barcache
