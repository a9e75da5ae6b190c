// Definition levels of flat optional columns: Parquet's RLE / bit-packed hybrid of width 1, which
// is a validity bitmap in disguise.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "frame/byte_sink.h"

namespace barcache {

// Appends `count` levels as one bit-packed run.
void AppendLevels(const uint8_t* validity, size_t count, ByteSink& sink);

// Decodes `count` levels into bits [offset, offset + count) of `validity`; bits behind them may
// change up to the end of their byte. False: the bytes are not `count` levels of width 1.
[[nodiscard]] bool DecodeLevels(std::span<const uint8_t> bytes, size_t count, uint8_t* validity,
                                size_t offset);

}  // namespace barcache
