// Strings between views and PLAIN pages; see the header for the promises.
#include "frame/string_views.h"

#include <cstring>

#include "frame/bitmap.h"
#include "frame/utf8.h"

namespace barcache {
namespace {

constexpr uint64_t kHighBits = 0x8080808080808080u;

template <typename T>
T Load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

const uint8_t* ViewBytes(const ArrowArray& array, const uint8_t* view, uint32_t size) {
  if (size <= kMaxInlineSize) return view + 4;
  const int32_t index = Load<int32_t>(view + 8);
  const int32_t offset = Load<int32_t>(view + 12);
  return static_cast<const uint8_t*>(array.buffers[2 + index]) + offset;
}

// The lowest `size` bytes of a little-endian word.
uint64_t LowBytes(uint64_t word, uint32_t size) {
  return size >= 8 ? word : word & ((uint64_t{1} << (8 * size)) - 1);
}

}  // namespace

int64_t SumStringBytes(const ArrowArray& array) {
  const uint8_t* views = static_cast<const uint8_t*>(array.buffers[1]);
  const uint8_t* validity =
      array.null_count > 0 ? static_cast<const uint8_t*>(array.buffers[0]) : nullptr;
  int64_t sum = 0;
  for (size_t i = 0; i < static_cast<size_t>(array.length); ++i) {
    if (validity != nullptr && !GetBit(validity, i)) continue;
    sum += Load<uint32_t>(views + i * kViewSize);
  }
  return sum;
}

std::string_view StringAt(const ArrowArray& array, size_t row) {
  const uint8_t* view = static_cast<const uint8_t*>(array.buffers[1]) + row * kViewSize;
  const uint32_t size = Load<uint32_t>(view);
  return {reinterpret_cast<const char*>(ViewBytes(array, view, size)), size};
}

void AppendPlainString(std::string_view value, ByteSink& sink) {
  const uint32_t size = static_cast<uint32_t>(value.size());
  sink.Append(&size, sizeof(size));
  sink.Append(value.data(), value.size());
}

void AppendPlainStrings(const ArrowArray& array, const uint8_t* validity, size_t first,
                        size_t count, ByteSink& sink) {
  const uint8_t* views = static_cast<const uint8_t*>(array.buffers[1]);
  for (size_t i = first; i < first + count; ++i) {
    if (validity != nullptr && !GetBit(validity, i)) continue;
    const uint8_t* view = views + i * kViewSize;
    const uint32_t size = Load<uint32_t>(view);
    if (size <= kMaxInlineSize) {
      // Length and bytes, as PLAIN has them.
      std::memcpy(sink.Reserve(kViewSize), view, kViewSize);
    } else {
      uint8_t* out = sink.Reserve(sizeof(size) + size);
      std::memcpy(out, view, sizeof(size));
      std::memcpy(out + sizeof(size), ViewBytes(array, view, size), size);
    }
    sink.Advance(sizeof(size) + size);
  }
}

size_t StringPageRows(const ArrowArray& array, const uint8_t* validity, size_t first,
                      size_t max_rows, size_t page_bytes) {
  const uint8_t* views = static_cast<const uint8_t*>(array.buffers[1]);
  size_t bytes = 0;
  for (size_t i = 0; i < max_rows; ++i) {
    if (i % 8 == 0 && bytes >= page_bytes) return i;
    if (validity != nullptr && !GetBit(validity, first + i)) continue;
    bytes += sizeof(uint32_t) + Load<uint32_t>(views + (first + i) * kViewSize);
  }
  return max_rows;
}

PlainStrings MeasurePlainStrings(std::span<const uint8_t> page, size_t count) {
  PlainStrings result;
  size_t position = 0;
  for (size_t i = 0; i < count; ++i) {
    if (page.size() - position < sizeof(uint32_t)) return result;
    const uint32_t size = Load<uint32_t>(page.data() + position);
    position += sizeof(uint32_t);
    if (size > page.size() - position) return result;
    position += size;
    if (size > kMaxInlineSize) result.long_bytes += size;
  }
  result.size = position;
  result.ok = true;
  return result;
}

bool DecodePlainStrings(std::span<const uint8_t> page, size_t count, bool is_text, uint8_t* views,
                        uint8_t* block, int32_t block_index) {
  const uint8_t* position = page.data();
  size_t block_size = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t size = Load<uint32_t>(position);
    position += sizeof(size);
    uint8_t* view = views + i * kViewSize;
    std::memcpy(view, &size, sizeof(size));
    if (size <= kMaxInlineSize) {
      const uint64_t low = LowBytes(Load<uint64_t>(position), size);
      const uint32_t high =
          size <= 8 ? 0 : static_cast<uint32_t>(LowBytes(Load<uint32_t>(position + 8), size - 8));
      if (is_text && ((low | high) & kHighBits) != 0 && !IsUtf8(position, size)) return false;
      std::memcpy(view + 4, &low, sizeof(low));
      std::memcpy(view + 12, &high, sizeof(high));
    } else {
      if (is_text && !IsUtf8(position, size)) return false;
      const int32_t offset = static_cast<int32_t>(block_size);
      std::memcpy(block + block_size, position, size);
      block_size += size;
      std::memcpy(view + 4, position, 4);
      std::memcpy(view + 8, &block_index, 4);
      std::memcpy(view + 12, &offset, 4);
    }
    position += size;
  }
  return true;
}

}  // namespace barcache
