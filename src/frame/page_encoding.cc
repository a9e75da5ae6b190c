// Estimates of encoded sizes; see the header for the promises.
#include "frame/page_encoding.h"

#include <algorithm>

#include "frame/delta_binary_packed.h"
#include "frame/index_runs.h"

namespace barcache {
namespace {

// Fewer values gain nothing from splitting.
constexpr size_t kMinSplitValues = 8;
// Fewer values are not worth a closer look, nor a second page for a dictionary.
constexpr size_t kMinStudiedValues = 1024;
constexpr size_t kMaxDictionary = 1 << 17;

// Bytes a value that Snappy leaves of split streams. It only finds repetition: a stream in which
// neighbours differ stays as it is, one of runs nearly vanishes.
double EstimateSplitSize(const uint8_t* values, size_t count, size_t width) {
  constexpr size_t kRuns = 8;
  constexpr size_t kRunValues = 64;
  double size = 0;
  for (size_t k = 0; k < width; ++k) {
    size_t changes = 0;
    for (size_t run = 0; run < kRuns; ++run) {
      const size_t first = 1 + run * ((count - kRunValues - 1) / (kRuns - 1));
      for (size_t i = first; i < first + kRunValues; ++i) {
        changes += values[i * width + k] != values[(i - 1) * width + k] ? 1 : 0;
      }
    }
    const double share = static_cast<double>(changes) / (kRuns * kRunValues);
    size += std::min(1.0, 0.05 + 3 * share);
  }
  return size;
}

// The largest dictionary of values of `value_size` bytes which, with its indices, takes less than
// `size` bytes a value.
size_t DictionaryLimit(size_t count, double value_size, double size) {
  size_t limit = std::min(kMaxDictionary, count / 2);
  while (limit > 1) {
    const double with_dictionary = IndexWidth(limit) / 8.0 + static_cast<double>(limit) *
                                                                 value_size /
                                                                 static_cast<double>(count);
    if (with_dictionary < 0.9 * size) return limit;
    limit /= 2;
  }
  return 0;
}

}  // namespace

EncodingChoice ChooseEncoding(ParquetType physical, const uint8_t* values, size_t count,
                              size_t width) {
  // Polars and DuckDB read split values of the four numeric types alone.
  if (physical == ParquetType::kFixedLenByteArray || count < kMinSplitValues) return {};
  EncodingChoice choice;
  choice.encoding = ParquetEncoding::kByteStreamSplit;
  if (count < kMinStudiedValues) return choice;
  double size = EstimateSplitSize(values, count, width);
  if (physical == ParquetType::kInt32 || physical == ParquetType::kInt64) {
    const double delta_size = EstimateDeltaSize(values, count, width);
    if (delta_size < size) {
      choice.encoding = ParquetEncoding::kDeltaBinaryPacked;
      size = delta_size;
    }
  }
  choice.dictionary_limit = DictionaryLimit(count, static_cast<double>(width), size);
  return choice;
}

EncodingChoice ChooseStringEncoding(size_t count, size_t bytes) {
  EncodingChoice choice;
  if (count < kMinStudiedValues) return choice;
  const double value_size = 4 + static_cast<double>(bytes) / static_cast<double>(count);
  choice.dictionary_limit = DictionaryLimit(count, value_size, value_size);
  return choice;
}

}  // namespace barcache
