// Work on bitmaps; see the header for the promises.
#include "frame/bitmap.h"

#include <bit>
#include <cstring>

namespace barcache {
namespace {

inline void PutBit(uint8_t* bitmap, size_t i, bool value) {
  const uint8_t bit = static_cast<uint8_t>(1u << (i & 7));
  bitmap[i >> 3] = static_cast<uint8_t>(value ? bitmap[i >> 3] | bit : bitmap[i >> 3] & ~bit);
}

template <size_t kWidth>
size_t Gather(const uint8_t* values, const uint8_t* mask, size_t count, uint8_t* out) {
  size_t size = 0;
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(out + size * kWidth, values + i * kWidth, kWidth);
    size += GetBit(mask, i) ? 1 : 0;
  }
  return size;
}

template <size_t kWidth>
void Scatter(uint8_t* values, const uint8_t* mask, size_t offset, size_t count, size_t valid) {
  for (size_t i = count; i-- > 0;) {
    if (GetBit(mask, offset + i)) {
      --valid;
      std::memmove(values + i * kWidth, values + valid * kWidth, kWidth);
    } else {
      std::memset(values + i * kWidth, 0, kWidth);
    }
  }
}

}  // namespace

size_t CountBits(const uint8_t* bitmap, size_t offset, size_t count) {
  const size_t end = offset + count;
  size_t set = 0;
  for (; offset < end && (offset & 7) != 0; ++offset) set += GetBit(bitmap, offset) ? 1 : 0;
  for (; offset + 64 <= end; offset += 64) {
    uint64_t word;
    std::memcpy(&word, bitmap + offset / 8, sizeof(word));
    set += static_cast<size_t>(std::popcount(word));
  }
  for (; offset < end; ++offset) set += GetBit(bitmap, offset) ? 1 : 0;
  return set;
}

void FillBits(uint8_t* bitmap, size_t offset, size_t count, bool value) {
  const size_t end = offset + count;
  while (offset < end && (offset & 7) != 0) PutBit(bitmap, offset++, value);
  const size_t bytes = (end - offset) / 8;
  if (bytes > 0) std::memset(bitmap + offset / 8, value ? 0xff : 0, bytes);
  offset += bytes * 8;
  if (offset < end) bitmap[offset / 8] = 0;
  while (offset < end) PutBit(bitmap, offset++, value);
}

void CopyBits(const uint8_t* source, size_t count, uint8_t* target, size_t offset) {
  if (count == 0) return;
  const unsigned shift = offset & 7;
  uint8_t* out = target + offset / 8;
  const size_t bytes = BitmapSize(count);
  const uint8_t last_mask = static_cast<uint8_t>(0xff >> (bytes * 8 - count));
  if (shift == 0) {
    std::memcpy(out, source, bytes);
    out[bytes - 1] &= last_mask;
    return;
  }
  unsigned carry = *out & ((1u << shift) - 1);
  for (size_t i = 0; i < bytes; ++i) {
    const unsigned byte = i + 1 == bytes ? source[i] & last_mask : source[i];
    carry |= byte << shift;
    out[i] = static_cast<uint8_t>(carry);
    carry >>= 8;
  }
  if (BitmapSize(shift + count) > bytes) out[bytes] = static_cast<uint8_t>(carry);
}

void GatherBits(const uint8_t* bits, const uint8_t* mask, size_t count, uint8_t* out) {
  if (count > 0) std::memset(out, 0, BitmapSize(count));
  size_t size = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!GetBit(mask, i)) continue;
    if (GetBit(bits, i)) PutBit(out, size, true);
    ++size;
  }
}

void ScatterBits(const uint8_t* packed, const uint8_t* mask, size_t offset, size_t count,
                 uint8_t* target) {
  FillBits(target, offset, count, false);
  size_t next = 0;
  for (size_t i = offset; i < offset + count; ++i) {
    if (GetBit(mask, i) && GetBit(packed, next++)) PutBit(target, i, true);
  }
}

size_t GatherValues(const uint8_t* values, size_t width, const uint8_t* mask, size_t count,
                    uint8_t* out) {
  switch (width) {
    case 1:
      return Gather<1>(values, mask, count, out);
    case 2:
      return Gather<2>(values, mask, count, out);
    case 4:
      return Gather<4>(values, mask, count, out);
    case 8:
      return Gather<8>(values, mask, count, out);
    default:
      return Gather<16>(values, mask, count, out);
  }
}

void ScatterValues(uint8_t* values, size_t width, const uint8_t* mask, size_t offset, size_t count,
                   size_t valid) {
  switch (width) {
    case 1:
      return Scatter<1>(values, mask, offset, count, valid);
    case 2:
      return Scatter<2>(values, mask, offset, count, valid);
    case 4:
      return Scatter<4>(values, mask, offset, count, valid);
    case 8:
      return Scatter<8>(values, mask, offset, count, valid);
    default:
      return Scatter<16>(values, mask, offset, count, valid);
  }
}

}  // namespace barcache
