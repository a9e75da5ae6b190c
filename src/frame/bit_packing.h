// Numbers packed with a fixed count of bits each, least significant bit first: the inside of
// Parquet's RLE / bit-packed hybrid and of DELTA_BINARY_PACKED.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "frame/byte_sink.h"

namespace barcache {

// Readable bytes that UnpackBits needs behind the packed ones.
constexpr size_t kUnpackSlack = 16;

inline size_t PackedSize(size_t count, unsigned width) { return (count * width + 7) / 8; }

// Writes `count` numbers below 2^width; `out` holds PackedSize(count, width) bytes and 8 more.
template <typename Number>
void PackBits(const Number* numbers, size_t count, unsigned width, uint8_t* out) {
  uint64_t word = 0;
  unsigned filled = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t number = numbers[i];
    word |= number << filled;
    filled += width;
    if (filled >= 64) {
      std::memcpy(out, &word, sizeof(word));
      out += sizeof(word);
      filled -= 64;
      // A shift by all 64 bits is undefined: nothing is left over then.
      word = filled == 0 ? 0 : number >> (width - filled);
    }
  }
  std::memcpy(out, &word, sizeof(word));
}

// Reads `count` numbers of `width` bits (at most those of Number).
template <typename Number>
void UnpackBits(const uint8_t* bytes, size_t count, unsigned width, Number* numbers) {
  constexpr unsigned kOneLoad = 57;  // Bits that any byte-aligned load of 64 holds.
  const uint64_t mask = width >= 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
  uint64_t word;
  for (size_t i = 0; i < count; ++i) {
    const size_t bit = i * width;
    const unsigned shift = bit & 7;
    std::memcpy(&word, bytes + bit / 8, sizeof(word));
    word >>= shift;
    if (width > kOneLoad && shift != 0) {
      word |= static_cast<uint64_t>(bytes[bit / 8 + 8]) << (64 - shift);
    }
    numbers[i] = static_cast<Number>(word & mask);
  }
}

// Up to here two numbers and the bits before them fit in one word.
constexpr unsigned kNarrowBits = 28;

// The same for numbers of at most 32 bits, fast up to kNarrowBits. Works in groups of 8: may write
// up to 7 numbers more, and reads the bits of a whole group.
void UnpackNarrow(const uint8_t* packed, size_t count, unsigned width, uint32_t* numbers);

}  // namespace barcache
