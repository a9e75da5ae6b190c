// Dictionary indices in Parquet's RLE / bit-packed hybrid (encoding RLE_DICTIONARY).
//
// Thread safety: plain values; pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "frame/byte_sink.h"

namespace barcache {

// Bits of an index into a dictionary of `size` values; at least 1.
unsigned IndexWidth(size_t size);

// Appends the width as one byte, and the runs of `count` indices.
void AppendIndexRuns(const uint32_t* indices, size_t count, unsigned width, ByteSink& sink);

// One run: `length` times `value`, or `length` bit-packed indices.
struct IndexRun {
  bool is_packed = false;
  size_t length = 0;
  uint32_t value = 0;
  const uint8_t* packed = nullptr;
};

// Reads runs one by one; never beyond `bytes` (which begin with the byte of the width).
class IndexRunReader {
 public:
  explicit IndexRunReader(std::span<const uint8_t> bytes);
  unsigned width() const { return width_; }
  // False at the end and for bytes that are no run. Length 1 or more, at most `limit`: padding
  // beyond is cut off.
  bool Next(size_t limit, IndexRun& run);

 private:
  std::span<const uint8_t> bytes_;
  size_t position_ = 0;
  unsigned width_ = 0;
};

}  // namespace barcache
