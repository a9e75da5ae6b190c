// Strings and binaries: Arrow's 16-byte views on one side, Parquet's PLAIN BYTE_ARRAY values
// (length, bytes) on the other.
//
// Thread safety: pure functions.
#pragma once

#include <arrow/c/abi.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "frame/byte_sink.h"

namespace barcache {

constexpr size_t kViewSize = 16;
constexpr size_t kMaxInlineSize = 12;
// DecodePlainStrings reads up to so many bytes behind the page.
constexpr size_t kStringSlack = 16;

// Bytes of all strings of a view array, nulls left out.
int64_t SumStringBytes(const ArrowArray& array);

// The string or binary in a row that is not null.
std::string_view StringAt(const ArrowArray& array, size_t row);

void AppendPlainString(std::string_view value, ByteSink& sink);

// Appends the values of rows [first, first + count) that `validity` (null: all) lets through.
void AppendPlainStrings(const ArrowArray& array, const uint8_t* validity, size_t first,
                        size_t count, ByteSink& sink);

// How many rows from `first` on make a page: all up to `max_rows`, or a multiple of 8 so that
// the bytes reach `page_bytes` in the last 8 rows at the earliest.
size_t StringPageRows(const ArrowArray& array, const uint8_t* validity, size_t first,
                      size_t max_rows, size_t page_bytes);

struct PlainStrings {
  bool ok = false;        // False: the bytes are not `count` values.
  size_t long_bytes = 0;  // Bytes of the values beyond 12: what a data buffer needs.
  size_t size = 0;        // Of the bytes that the values take.
};
// Walks over `count` values.
PlainStrings MeasurePlainStrings(std::span<const uint8_t> page, size_t count);

// Writes `count` views, and the bytes of long values to `block`, the data buffer of index
// `block_index`. False: a value is not UTF-8 although `is_text`.
// REQUIRES: MeasurePlainStrings(page, count).ok; `block` holds its long_bytes, below 2 GiB;
// kStringSlack readable bytes behind `page`.
[[nodiscard]] bool DecodePlainStrings(std::span<const uint8_t> page, size_t count, bool is_text,
                                      uint8_t* views, uint8_t* block, int32_t block_index);

}  // namespace barcache
