// Which Parquet encoding suits a column, judged by a sample of its values.
//
// Thread safety: pure functions.
#pragma once

#include <arrow/c/abi.h>

#include <string_view>

namespace barcache {

enum class ColumnEncoding {
  kDictionary,         // Few distinct values: tick-rounded prices, symbols.
  kDeltaBinaryPacked,  // Timestamps and counters.
  kByteStreamSplit,    // Other floats.
  kPlain,
};

// For one column of flat type. Nested columns: kDictionary, whose writer falls back by itself.
ColumnEncoding ChooseEncoding(const ArrowSchema& type, const ArrowArray& array);

}  // namespace barcache
