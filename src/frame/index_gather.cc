// Gathering in steps that stay in the first-level cache; see the header for the promises.
#include "frame/index_gather.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "frame/bit_packing.h"

namespace barcache {
namespace {

// A multiple of 8, so that every step begins at a whole byte.
constexpr size_t kStep = 512;

constexpr size_t kGroup = 8;
// Dictionaries of our own have at most so many bits an index.
constexpr size_t kMaxFixedBits = 17;

// Shifts and masks that the compiler knows are three times as fast as UnpackBits. Two indices a
// word: one by one, compilers vectorise this into something slower than either.
template <size_t kBits>
void UnpackGroups(const uint8_t* packed, size_t count, uint32_t* indices) {
  constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
  for (size_t i = 0; i < count; i += kGroup) {
    for (size_t k = 0; k < kGroup; k += 2) {
      uint64_t word;
      std::memcpy(&word, packed + k * kBits / 8, sizeof(word));
      word >>= k * kBits % 8;
      const uint64_t pair = (word & kMask) | ((word >> kBits) & kMask) << 32;
      std::memcpy(indices + i + k, &pair, sizeof(pair));
    }
    packed += kBits;
  }
}

using Unpacker = void (*)(const uint8_t*, size_t, uint32_t*);

template <size_t... kBits>
constexpr std::array<Unpacker, sizeof...(kBits)> UnpackersOf(std::index_sequence<kBits...>) {
  return {&UnpackGroups<kBits>...};
}

constexpr auto kUnpackers = UnpackersOf(std::make_index_sequence<kMaxFixedBits + 1>());

// May write up to a whole group of indices.
void Unpack(const uint8_t* packed, size_t count, unsigned bits, uint32_t* indices) {
  if (bits <= kMaxFixedBits) return kUnpackers[bits](packed, count, indices);
  UnpackBits(packed, count, bits, indices);
}

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

}  // namespace

bool GatherPacked(const uint8_t* packed, size_t count, unsigned index_width,
                  const uint8_t* dictionary, size_t dictionary_size, size_t width, uint8_t* out) {
  uint32_t indices[kStep];
  for (size_t first = 0; first < count; first += kStep) {
    const size_t size = std::min(kStep, count - first);
    Unpack(packed + first / 8 * index_width, size, index_width, indices);
    uint32_t highest = 0;
    for (size_t i = 0; i < size; ++i) highest = std::max(highest, indices[i]);
    if (highest >= dictionary_size) return false;
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
