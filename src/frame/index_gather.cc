// Gathering in steps that stay in the first-level cache; see the header for the promises.
#include "frame/index_gather.h"

#include <algorithm>
#include <cstring>

#include "base/failpoint.h"
#include "frame/bit_packing.h"

namespace barcache {
namespace {

// A multiple of 8, so that every step begins at a whole byte.
constexpr size_t kStep = 512;

template <size_t kWidth>
void Gather(const uint32_t* indices, size_t count, const uint8_t* dictionary, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(out + i * kWidth, dictionary + indices[i] * kWidth, kWidth);
  }
}

void GatherStep(const uint32_t* indices, size_t count, const uint8_t* dictionary, size_t width,
                uint8_t* out) {
  switch (width) {
    case 1:
      return Gather<1>(indices, count, dictionary, out);
    case 2:
      return Gather<2>(indices, count, dictionary, out);
    case 4:
      return Gather<4>(indices, count, dictionary, out);
    case 8:
      return Gather<8>(indices, count, dictionary, out);
    default:
      return Gather<16>(indices, count, dictionary, out);
  }
}

template <size_t kWidth>
void Fill(const uint8_t* value, size_t count, uint8_t* out) {
  uint8_t copy[kWidth];
  std::memcpy(copy, value, kWidth);
  for (size_t i = 0; i < count; ++i) std::memcpy(out + i * kWidth, copy, kWidth);
}

// Dictionaries have less than 2^31 values: a larger index, and only one, sets the highest bit here.
bool AllBelow(size_t dictionary_size, const uint32_t* indices, size_t count) {
  if (Mutant("no_index_bounds")) return true;
  const uint32_t last = static_cast<uint32_t>(dictionary_size - 1);
  uint32_t bits = 0;
  for (size_t i = 0; i < count; ++i) bits |= indices[i] | (last - indices[i]);
  return dictionary_size > 0 && bits >> 31 == 0;
}

}  // namespace

bool GatherPacked(const uint8_t* packed, size_t count, unsigned index_width,
                  const uint8_t* dictionary, size_t dictionary_size, size_t width, uint8_t* out) {
  uint32_t indices[kStep];
  for (size_t first = 0; first < count; first += kStep) {
    const size_t size = std::min(kStep, count - first);
    UnpackNarrow(packed + first / 8 * index_width, size, index_width, indices);
    if (!AllBelow(dictionary_size, indices, size)) return false;
    GatherStep(indices, size, dictionary, width, out + first * width);
  }
  return true;
}

bool GatherRepeated(uint32_t index, size_t count, const uint8_t* dictionary, size_t dictionary_size,
                    size_t width, uint8_t* out) {
  if (index >= dictionary_size) return false;
  const uint8_t* value = dictionary + index * width;
  switch (width) {
    case 1:
      Fill<1>(value, count, out);
      break;
    case 2:
      Fill<2>(value, count, out);
      break;
    case 4:
      Fill<4>(value, count, out);
      break;
    case 8:
      Fill<8>(value, count, out);
      break;
    default:
      Fill<16>(value, count, out);
  }
  return true;
}

}  // namespace barcache
