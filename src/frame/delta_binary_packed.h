// Parquet's DELTA_BINARY_PACKED encoding of 32 and 64-bit integers: timestamps and counters take
// next to nothing, because it is their differences that are packed.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "frame/byte_sink.h"

namespace barcache {

// Appends `count` integers of `width` bytes (4 or 8).
void AppendDeltas(const uint8_t* values, size_t count, size_t width, ByteSink& sink);

// Decodes exactly `count` integers into `out`. False: the bytes are not that.
// REQUIRES: kUnpackSlack readable bytes behind `bytes`.
[[nodiscard]] bool DecodeDeltas(std::span<const uint8_t> bytes, size_t count, size_t width,
                                uint8_t* out);

// About how many bytes a value would take, judged by some runs of neighbours.
double EstimateDeltaSize(const uint8_t* values, size_t count, size_t width);

}  // namespace barcache
