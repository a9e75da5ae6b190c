// Levels to bitmaps and back; see the header for the promises.
#include "frame/rle_levels.h"

#include <algorithm>

#include "frame/bitmap.h"

namespace barcache {
namespace {

// False at the end of the bytes, and for numbers that no run can have.
bool ReadRunHeader(std::span<const uint8_t> bytes, size_t& position, uint64_t& header) {
  header = 0;
  for (unsigned shift = 0; shift < 35; shift += 7) {
    if (position == bytes.size()) return false;
    const uint8_t byte = bytes[position++];
    header |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

}  // namespace

void AppendLevels(const uint8_t* validity, size_t count, ByteSink& sink) {
  if (count == 0) return;
  const size_t groups = BitmapSize(count);
  uint64_t header = (uint64_t{groups} << 1) | 1;
  while (header >= 0x80) {
    sink.AppendByte(static_cast<uint8_t>(header | 0x80));
    header >>= 7;
  }
  sink.AppendByte(static_cast<uint8_t>(header));
  CopyBits(validity, count, sink.Reserve(groups), 0);
  sink.Advance(groups);
}

bool DecodeLevels(std::span<const uint8_t> bytes, size_t count, uint8_t* validity, size_t offset) {
  size_t position = 0;
  const size_t end = offset + count;
  while (offset < end) {
    uint64_t header = 0;
    if (!ReadRunHeader(bytes, position, header)) return false;
    const uint64_t length = header >> 1;
    if (length == 0) return false;
    if ((header & 1) != 0) {
      // Groups of 8 levels; the last group may be padded.
      if (length > bytes.size() - position) return false;
      const size_t levels = std::min(static_cast<size_t>(length) * 8, end - offset);
      CopyBits(bytes.data() + position, levels, validity, offset);
      position += static_cast<size_t>(length);
      offset += levels;
    } else {
      if (length > end - offset || position == bytes.size() || bytes[position] > 1) return false;
      FillBits(validity, offset, static_cast<size_t>(length), bytes[position] == 1);
      ++position;
      offset += static_cast<size_t>(length);
    }
  }
  return true;
}

}  // namespace barcache
