// Bitmaps as Arrow and Parquet keep them: least significant bit first.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace barcache {

inline bool GetBit(const uint8_t* bitmap, size_t i) { return (bitmap[i >> 3] >> (i & 7)) & 1; }
inline size_t BitmapSize(size_t bits) { return (bits + 7) / 8; }

// Set bits among [offset, offset + count).
size_t CountBits(const uint8_t* bitmap, size_t offset, size_t count);

// Sets bits [offset, offset + count) to `value`. Bits of the last byte behind them are undefined.
void FillBits(uint8_t* bitmap, size_t offset, size_t count, bool value);

// Copies bits [0, count) of `source` to [offset, offset + count) of `target`. Bits of the last
// byte behind them become 0. Reads nothing of `target` but the byte that holds bit `offset - 1`.
void CopyBits(const uint8_t* source, size_t count, uint8_t* target, size_t offset);

// `out` = the bits of `bits` at the positions set in `mask`, closed up; the rest of the last byte
// is 0. `out` holds BitmapSize(count) bytes.
void GatherBits(const uint8_t* bits, const uint8_t* mask, size_t count, uint8_t* out);

// The inverse: bit i of [offset, offset + count) = the next bit of `packed` where `mask` is set
// at the same position, else 0. `target` must not overlap `packed`.
void ScatterBits(const uint8_t* packed, const uint8_t* mask, size_t offset, size_t count,
                 uint8_t* target);

// Closes up the values of `width` bytes (1, 2, 4, 8, 16) whose bit is set; returns how many.
// `out` holds `count` values.
size_t GatherValues(const uint8_t* values, size_t width, const uint8_t* mask, size_t count,
                    uint8_t* out);

// The inverse, in place: the first values of `values` move to the positions set in
// mask[offset, offset + count), all others become 0. `valid` is the number of bits set there.
void ScatterValues(uint8_t* values, size_t width, const uint8_t* mask, size_t offset, size_t count,
                   size_t valid);

}  // namespace barcache
