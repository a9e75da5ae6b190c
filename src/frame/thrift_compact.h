// Thrift's compact protocol, as much of it as Parquet's metadata needs
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
//
// The reader takes any bytes: it never reads beyond them, bounds nesting and counts by the bytes
// that are left, and after the first error returns zeros and empty values; ask ok() at the end.
//
// Thread safety: none; one owner at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "frame/byte_sink.h"

namespace barcache {

enum class CompactType : uint8_t {
  kStop = 0,
  kTrue = 1,
  kFalse = 2,
  kByte = 3,
  kI16 = 4,
  kI32 = 5,
  kI64 = 6,
  kDouble = 7,
  kBinary = 8,
  kList = 9,
  kSet = 10,
  kMap = 11,
  kStruct = 12,
  kUuid = 13,
};

struct CompactField {
  int32_t id = 0;
  CompactType type = CompactType::kStop;
};

struct CompactList {
  uint32_t size = 0;
  CompactType element = CompactType::kStop;
};

class CompactReader {
 public:
  explicit CompactReader(std::span<const uint8_t> bytes)
      : begin_(bytes.data()), position_(begin_), end_(begin_ + bytes.size()) {}

  bool ok() const { return ok_; }
  void Fail() {
    ok_ = false;
    position_ = end_;
  }
  size_t consumed() const { return static_cast<size_t>(position_ - begin_); }
  size_t remaining() const { return static_cast<size_t>(end_ - position_); }

  // The next field of a struct; `field` starts as {} in front of the first one. False at the end
  // of the struct and after an error.
  bool NextField(CompactField& field);

  // Values of a field or a list element of type `type`; another type than the name says fails.
  bool Bool(CompactType type);  // Of a field: its type is its value.
  int8_t I8(CompactType type);
  int32_t I32(CompactType type);
  int64_t I64(CompactType type);
  std::string_view Binary(CompactType type);  // Points into the bytes.
  // Every element takes at least one byte: a size beyond the bytes left fails.
  CompactList List(CompactType type);
  void ExpectStruct(CompactType type) {
    if (type != CompactType::kStruct) Fail();
  }
  // Passes over the value of a field; fails beyond a nesting of 32.
  void Skip(CompactType type) { SkipValue(type, /*in_field=*/true, kMaxDepth); }

 private:
  static constexpr int kMaxDepth = 32;
  uint64_t Varint();
  int64_t ZigZag();
  void SkipBytes(size_t size);
  void SkipValue(CompactType type, bool in_field, int depth_left);

  const uint8_t* begin_;
  const uint8_t* position_;
  const uint8_t* end_;
  bool ok_ = true;
};

class CompactWriter {
 public:
  explicit CompactWriter(ByteSink& sink) : sink_(sink) {}

  // The outermost struct and structs that are list elements.
  void BeginStruct() { last_ids_[++depth_] = 0; }
  void EndStruct() {
    sink_.AppendByte(0);
    --depth_;
  }
  void BeginStructField(int32_t id) {
    Header(id, CompactType::kStruct);
    BeginStruct();
  }
  void Bool(int32_t id, bool value) {
    Header(id, value ? CompactType::kTrue : CompactType::kFalse);
  }
  void I8(int32_t id, int8_t value) {
    Header(id, CompactType::kByte);
    sink_.AppendByte(static_cast<uint8_t>(value));
  }
  void I32(int32_t id, int32_t value) {
    Header(id, CompactType::kI32);
    ZigZag(value);
  }
  void I64(int32_t id, int64_t value) {
    Header(id, CompactType::kI64);
    ZigZag(value);
  }
  void Binary(int32_t id, std::string_view value) {
    Header(id, CompactType::kBinary);
    BinaryElement(value);
  }
  // Followed by `size` elements.
  void BeginList(int32_t id, CompactType element, size_t size);
  void I32Element(int32_t value) { ZigZag(value); }
  void BinaryElement(std::string_view value) {
    Varint(value.size());
    sink_.Append(value.data(), value.size());
  }

 private:
  void Header(int32_t id, CompactType type);
  void Varint(uint64_t value);
  void ZigZag(int64_t value) {
    Varint((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }

  ByteSink& sink_;
  std::array<int32_t, 16> last_ids_{};
  size_t depth_ = 0;
};

}  // namespace barcache
