// Thrift's compact protocol: round trips, and readers that stop at garbage.
#include "frame/thrift_compact.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

namespace barcache {
namespace {

TEST(ThriftCompact, ValuesComeBack) {
  const std::vector<int64_t> numbers = {0,   1,   -1,  63,        64,        -64,       -65,
                                        127, 128, 300, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
  ByteSink sink;
  CompactWriter writer(sink);
  writer.BeginStruct();
  writer.Bool(1, true);
  writer.Bool(2, false);
  writer.I8(3, -7);
  writer.Binary(40, "text");  // Beyond a delta of 15.
  writer.BeginStructField(41);
  writer.I32(7, INT32_MIN);
  writer.EndStruct();
  writer.BeginList(42, CompactType::kI32, 20);
  for (int i = 0; i < 20; ++i) writer.I32Element(i - 10);
  for (size_t i = 0; i < numbers.size(); ++i) writer.I64(50 + static_cast<int32_t>(i), numbers[i]);
  writer.EndStruct();

  CompactReader reader(sink.bytes());
  CompactField field;
  const auto expect = [&](int32_t id) {
    ASSERT_TRUE(reader.NextField(field));
    ASSERT_EQ(field.id, id);
  };
  expect(1);
  EXPECT_TRUE(reader.Bool(field.type));
  expect(2);
  EXPECT_FALSE(reader.Bool(field.type));
  expect(3);
  EXPECT_EQ(reader.I8(field.type), -7);
  expect(40);
  EXPECT_EQ(reader.Binary(field.type), "text");
  expect(41);
  CompactField inner;
  ASSERT_TRUE(reader.NextField(inner));
  EXPECT_EQ(inner.id, 7);
  EXPECT_EQ(reader.I32(inner.type), INT32_MIN);
  EXPECT_FALSE(reader.NextField(inner));
  expect(42);
  const CompactList list = reader.List(field.type);
  ASSERT_EQ(list.size, 20U);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(reader.I32(list.element), i - 10);
  for (size_t i = 0; i < numbers.size(); ++i) {
    expect(50 + static_cast<int32_t>(i));
    EXPECT_EQ(reader.I64(field.type), numbers[i]);
  }
  EXPECT_FALSE(reader.NextField(field));
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(reader.remaining(), 0U);
}

bool Skips(const std::vector<uint8_t>& bytes, CompactType type) {
  CompactReader reader(bytes);
  reader.Skip(type);
  return reader.ok() && reader.remaining() == 0;
}

TEST(ThriftCompact, SkipsEveryType) {
  EXPECT_TRUE(Skips({}, CompactType::kTrue));
  EXPECT_TRUE(Skips({1}, CompactType::kByte));
  EXPECT_TRUE(Skips({0x80, 0x01}, CompactType::kI64));
  EXPECT_TRUE(Skips(std::vector<uint8_t>(8), CompactType::kDouble));
  EXPECT_TRUE(Skips({2, 'a', 'b'}, CompactType::kBinary));
  EXPECT_TRUE(Skips({0x21, 1, 2}, CompactType::kList));  // Two booleans.
  EXPECT_TRUE(Skips({0}, CompactType::kMap));
  EXPECT_TRUE(Skips({1, 0x85, 1, 'k', 4}, CompactType::kMap));  // "k" -> 2
  EXPECT_TRUE(Skips({0x15, 2, 0}, CompactType::kStruct));
}

TEST(ThriftCompact, RefusesGarbage) {
  EXPECT_FALSE(Skips({}, CompactType::kI32));
  EXPECT_FALSE(Skips({0x80}, CompactType::kI32));
  EXPECT_FALSE(Skips(std::vector<uint8_t>(11, 0xff), CompactType::kI64));
  EXPECT_FALSE(Skips({3, 'a'}, CompactType::kBinary));
  EXPECT_FALSE(Skips({0xff, 0xff, 0xff, 0xff, 0x7f, 'a'}, CompactType::kBinary));
  EXPECT_FALSE(Skips({0xf5, 0xff, 0xff, 0xff, 0x7f}, CompactType::kList));
  EXPECT_FALSE(Skips({0xff, 0xff, 0xff, 0x7f, 0x55}, CompactType::kMap));
  EXPECT_FALSE(Skips({}, CompactType::kStruct));
  EXPECT_FALSE(Skips({1}, static_cast<CompactType>(15)));
}

TEST(ThriftCompact, NestingIsBounded) {
  EXPECT_FALSE(Skips(std::vector<uint8_t>(100000, 0x1c), CompactType::kStruct));
  EXPECT_FALSE(Skips(std::vector<uint8_t>(100000, 0x19), CompactType::kList));
}

TEST(ThriftCompact, TypesMustBeThoseExpected) {
  const std::vector<uint8_t> bytes(16, 2);
  for (int type = 0; type < 16; ++type) {
    const auto compact = static_cast<CompactType>(type);
    CompactReader i32(bytes);
    i32.I32(compact);
    EXPECT_EQ(i32.ok(), compact == CompactType::kI32);
    CompactReader binary(bytes);
    binary.Binary(compact);
    EXPECT_EQ(binary.ok(), compact == CompactType::kBinary);
  }
}

TEST(ThriftCompact, NumbersBeyond32BitsAreRefused) {
  ByteSink sink;
  CompactWriter writer(sink);
  writer.BeginStruct();
  writer.I64(1, int64_t{INT32_MAX} + 1);
  CompactReader reader(sink.bytes().subspan(1));
  EXPECT_EQ(reader.I32(CompactType::kI32), 0);
  EXPECT_FALSE(reader.ok());
}

TEST(ThriftCompact, RandomBytesEnd) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint8_t> bytes(random() % 60);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    CompactReader reader(bytes);
    reader.Skip(CompactType::kStruct);
    EXPECT_LE(reader.consumed(), bytes.size());
  }
}

}  // namespace
}  // namespace barcache
