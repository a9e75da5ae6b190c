// Reading and writing of Thrift's compact protocol; see the header for the promises.
#include "frame/thrift_compact.h"

#include <limits>

namespace barcache {

uint64_t CompactReader::Varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (position_ == end_) break;
    const uint8_t byte = *position_++;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  Fail();
  return 0;
}

int64_t CompactReader::ZigZag() {
  const uint64_t value = Varint();
  return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

bool CompactReader::NextField(CompactField& field) {
  if (position_ == end_) {
    Fail();
    return false;
  }
  const uint8_t header = *position_++;
  if (header == 0) return false;
  field.type = static_cast<CompactType>(header & 0x0f);
  const int32_t delta = header >> 4;
  const int64_t id = delta != 0 ? field.id + int64_t{delta} : ZigZag();
  if (id < std::numeric_limits<int16_t>::min() || id > std::numeric_limits<int16_t>::max() ||
      field.type == CompactType::kStop) {
    Fail();
  }
  field.id = static_cast<int32_t>(id);
  return ok_;
}

bool CompactReader::Bool(CompactType type) {
  if (type != CompactType::kTrue && type != CompactType::kFalse) Fail();
  return type == CompactType::kTrue;
}

int8_t CompactReader::I8(CompactType type) {
  if (type != CompactType::kByte || position_ == end_) {
    Fail();
    return 0;
  }
  return static_cast<int8_t>(*position_++);
}

int32_t CompactReader::I32(CompactType type) {
  if (type != CompactType::kI32) Fail();
  const int64_t value = ZigZag();
  if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max()) {
    Fail();
    return 0;
  }
  return static_cast<int32_t>(value);
}

int64_t CompactReader::I64(CompactType type) {
  if (type != CompactType::kI64) Fail();
  return ZigZag();
}

std::string_view CompactReader::Binary(CompactType type) {
  if (type != CompactType::kBinary) Fail();
  const uint64_t size = Varint();
  if (size > remaining()) {
    Fail();
    return {};
  }
  const std::string_view value(reinterpret_cast<const char*>(position_), static_cast<size_t>(size));
  position_ += size;
  return value;
}

CompactList CompactReader::List(CompactType type) {
  if ((type != CompactType::kList && type != CompactType::kSet) || position_ == end_) {
    Fail();
    return {};
  }
  const uint8_t header = *position_++;
  const uint64_t size = (header >> 4) == 15 ? Varint() : header >> 4;
  if (size > remaining()) Fail();
  if (!ok_) return {};
  return {static_cast<uint32_t>(size), static_cast<CompactType>(header & 0x0f)};
}

void CompactReader::SkipBytes(size_t size) {
  if (size > remaining()) {
    Fail();
  } else {
    position_ += size;
  }
}

void CompactReader::SkipValue(CompactType type, bool in_field, int depth_left) {
  if (depth_left == 0) return Fail();
  switch (type) {
    case CompactType::kTrue:
    case CompactType::kFalse:
      return SkipBytes(in_field ? 0 : 1);
    case CompactType::kByte:
      return SkipBytes(1);
    case CompactType::kI16:
    case CompactType::kI32:
    case CompactType::kI64:
      Varint();
      return;
    case CompactType::kDouble:
      return SkipBytes(8);
    case CompactType::kUuid:
      return SkipBytes(16);
    case CompactType::kBinary:
      Binary(type);
      return;
    case CompactType::kList:
    case CompactType::kSet: {
      const CompactList list = List(type);
      for (uint32_t i = 0; i < list.size && ok_; ++i) {
        SkipValue(list.element, false, depth_left - 1);
      }
      return;
    }
    case CompactType::kMap: {
      const uint64_t size = Varint();
      if (size == 0) return;
      if (size > remaining() || position_ == end_) return Fail();
      const uint8_t types = *position_++;
      for (uint64_t i = 0; i < size && ok_; ++i) {
        SkipValue(static_cast<CompactType>(types >> 4), false, depth_left - 1);
        SkipValue(static_cast<CompactType>(types & 0x0f), false, depth_left - 1);
      }
      return;
    }
    case CompactType::kStruct: {
      CompactField field;
      while (NextField(field)) SkipValue(field.type, true, depth_left - 1);
      return;
    }
    case CompactType::kStop:
      break;
  }
  Fail();
}

void CompactWriter::Varint(uint64_t value) {
  uint8_t* out = sink_.Reserve(10);
  size_t size = 0;
  while (value >= 0x80) {
    out[size++] = static_cast<uint8_t>(value | 0x80);
    value >>= 7;
  }
  out[size++] = static_cast<uint8_t>(value);
  sink_.Advance(size);
}

void CompactWriter::Header(int32_t id, CompactType type) {
  const int32_t delta = id - last_ids_[depth_];
  if (delta > 0 && delta < 16) {
    sink_.AppendByte(static_cast<uint8_t>((delta << 4) | static_cast<int32_t>(type)));
  } else {
    sink_.AppendByte(static_cast<uint8_t>(type));
    ZigZag(id);
  }
  last_ids_[depth_] = id;
}

void CompactWriter::BeginList(int32_t id, CompactType element, size_t size) {
  Header(id, CompactType::kList);
  if (size < 15) {
    sink_.AppendByte(static_cast<uint8_t>((size << 4) | static_cast<size_t>(element)));
  } else {
    sink_.AppendByte(static_cast<uint8_t>(0xf0 | static_cast<unsigned>(element)));
    Varint(size);
  }
}

}  // namespace barcache
