// Which encoding a column gets, judged by its own values: the one that makes the smallest page
// that is still cheap to read.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "frame/parquet_footer.h"

namespace barcache {

struct EncodingChoice {
  ParquetEncoding encoding = ParquetEncoding::kPlain;
  // A dictionary of up to so many values would be smaller still; 0: none would.
  size_t dictionary_limit = 0;
};

// For `count` stored values of `physical` type, `width` bytes each.
EncodingChoice ChooseEncoding(ParquetType physical, const uint8_t* values, size_t count,
                              size_t width);

// For `count` strings of `bytes` bytes in all.
EncodingChoice ChooseStringEncoding(size_t count, size_t bytes);

}  // namespace barcache
