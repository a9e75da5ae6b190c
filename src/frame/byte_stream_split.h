// Parquet's BYTE_STREAM_SPLIT encoding: byte k of all values together, for each k.
//
// Widths 2, 4, 8 and 16 run on vectors, others byte by byte. Source and target must not overlap.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace barcache {

// REQUIRES: `values` and `streams` hold count * width bytes each; width > 0.
void SplitByteStreams(const uint8_t* values, size_t count, size_t width, uint8_t* streams);
void JoinByteStreams(const uint8_t* streams, size_t count, size_t width, uint8_t* values);

}  // namespace barcache
