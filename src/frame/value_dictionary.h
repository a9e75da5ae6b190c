// Finds the distinct values of a column, and for each value its index among them: what Parquet's
// dictionary encoding stores.
//
// Thread safety: none; one owner at a time. Throws std::bad_alloc.
#pragma once

#include <arrow/c/abi.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "frame/byte_sink.h"

namespace barcache {

class ValueDictionary {
 public:
  // `count` values of `width` bytes, 4 or 8, told apart by their bits. False: more than `limit`
  // distinct ones, or the first values are nearly all distinct: not worth a dictionary.
  bool Build(const uint8_t* values, size_t count, size_t width, size_t limit);

  // The same for the strings of a view array; rows that `validity` (null: none) masks are left out.
  bool BuildStrings(const ArrowArray& array, const uint8_t* validity, size_t limit);

  size_t size() const { return size_; }
  // One for each value.
  const uint32_t* indices() const { return indices_; }
  // The distinct values, PLAIN encoded.
  const ByteSink& values() const { return values_; }

 private:
  template <typename Number>
  bool BuildNumbers(const uint8_t* values, size_t count, size_t limit);
  void Start(size_t count);
  void GrowStringSlots();

  size_t size_ = 0;
  // Not initialised: there are as many as values in a column.
  ByteSink index_memory_;
  uint32_t* indices_ = nullptr;
  ByteSink values_;
  // Of strings: slots are the highest bits of a hash and hold index + 1, or 0 if they are free. A
  // power of two, at most half full.
  std::vector<uint32_t> string_slots_;
  // Of each distinct string: its hash, and the row where it was met first.
  std::vector<uint64_t> string_hashes_;
  std::vector<size_t> string_rows_;
};

}  // namespace barcache
