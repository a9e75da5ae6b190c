// BYTE_STREAM_SPLIT on vectors of 16 bytes; see the header for the promises.
//
// Seen as the bits of a byte's address, a block of 16 values of 2^w bytes is [value:4 | byte:w],
// its streams are [byte:w | value:4]. Interleaving the lower with the upper half of a row of
// registers rotates that address by one bit: four steps split, w steps join.
#include "frame/byte_stream_split.h"

#include <cstring>
#include <utility>

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define BARCACHE_HAS_SHUFFLE_ 1
#endif
#endif

namespace barcache {
namespace {

void SplitScalar(const uint8_t* values, size_t first, size_t count, size_t width,
                 uint8_t* streams) {
  for (size_t i = first; i < count; ++i) {
    for (size_t k = 0; k < width; ++k) streams[k * count + i] = values[i * width + k];
  }
}

void JoinScalar(const uint8_t* streams, size_t first, size_t count, size_t width, uint8_t* values) {
  for (size_t i = first; i < count; ++i) {
    for (size_t k = 0; k < width; ++k) values[i * width + k] = streams[k * count + i];
  }
}

#ifdef BARCACHE_HAS_SHUFFLE_

using Bytes16 = uint8_t __attribute__((vector_size(16)));
constexpr size_t kBlock = 16;

template <size_t kWidth, int kSteps>
inline void Rotate(Bytes16 (&registers)[kWidth]) {
  Bytes16 next[kWidth];
  for (int step = 0; step < kSteps; ++step) {
    for (size_t j = 0; j < kWidth / 2; ++j) {
      const Bytes16 low = registers[j];
      const Bytes16 high = registers[j + kWidth / 2];
      next[2 * j] = __builtin_shufflevector(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6,
                                            22, 7, 23);
      next[2 * j + 1] = __builtin_shufflevector(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13,
                                                29, 14, 30, 15, 31);
    }
    for (size_t j = 0; j < kWidth; ++j) registers[j] = next[j];
  }
}

template <size_t kWidth>
void Split(const uint8_t* values, size_t count, uint8_t* streams) {
  size_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    Bytes16 registers[kWidth];
    std::memcpy(registers, values + i * kWidth, sizeof(registers));
    Rotate<kWidth, 4>(registers);
    for (size_t k = 0; k < kWidth; ++k) {
      std::memcpy(streams + k * count + i, &registers[k], kBlock);
    }
  }
  SplitScalar(values, i, count, kWidth, streams);
}

template <size_t kWidth, int kSteps>
void Join(const uint8_t* streams, size_t count, uint8_t* values) {
  size_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    Bytes16 registers[kWidth];
    for (size_t k = 0; k < kWidth; ++k) {
      std::memcpy(&registers[k], streams + k * count + i, kBlock);
    }
    Rotate<kWidth, kSteps>(registers);
    std::memcpy(values + i * kWidth, registers, sizeof(registers));
  }
  JoinScalar(streams, i, count, kWidth, values);
}

#endif  // BARCACHE_HAS_SHUFFLE_

}  // namespace

void SplitByteStreams(const uint8_t* values, size_t count, size_t width, uint8_t* streams) {
#ifdef BARCACHE_HAS_SHUFFLE_
  if (width == 8) return Split<8>(values, count, streams);
  if (width == 4) return Split<4>(values, count, streams);
  if (width == 2) return Split<2>(values, count, streams);
  if (width == 16) return Split<16>(values, count, streams);
#endif
  SplitScalar(values, 0, count, width, streams);
}

void JoinByteStreams(const uint8_t* streams, size_t count, size_t width, uint8_t* values) {
#ifdef BARCACHE_HAS_SHUFFLE_
  if (width == 8) return Join<8, 3>(streams, count, values);
  if (width == 4) return Join<4, 2>(streams, count, values);
  if (width == 2) return Join<2, 1>(streams, count, values);
  if (width == 16) return Join<16, 4>(streams, count, values);
#endif
  JoinScalar(streams, 0, count, width, values);
}

}  // namespace barcache
