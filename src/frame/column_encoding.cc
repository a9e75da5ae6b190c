// Judging columns by a sample.
#include "frame/column_encoding.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "frame/arrow_format.h"

namespace barcache {
namespace {

constexpr int64_t kSampleRows = 2048;
// Arrow's writer leaves the dictionary when it is larger than this.
constexpr double kMaxDictionaryBytes = 1 << 20;

// How many distinct values a column has, from the values that occur once and twice in a sample
// (Chao's estimator).
double EstimateDistinct(std::vector<uint64_t> sample) {
  std::sort(sample.begin(), sample.end());
  double distinct = 0;
  double once = 0;
  double twice = 0;
  for (size_t i = 0; i < sample.size();) {
    size_t end = i + 1;
    while (end < sample.size() && sample[end] == sample[i]) ++end;
    distinct += 1;
    if (end - i == 1) once += 1;
    if (end - i == 2) twice += 1;
    i = end;
  }
  return distinct + once * (once - 1) / (2 * (twice + 1));
}

std::vector<uint64_t> TakeSample(const ArrowArray& array, int64_t width) {
  const int64_t rows = std::min(array.length, kSampleRows);
  const auto* values = static_cast<const uint8_t*>(array.buffers[1]);
  std::vector<uint64_t> sample;
  sample.reserve(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = static_cast<int64_t>(static_cast<double>(array.length) /
                                             static_cast<double>(rows) * static_cast<double>(i));
    uint64_t value = 0;
    std::memcpy(&value, values + row * width, static_cast<size_t>(width));
    sample.push_back(value);
  }
  return sample;
}

}  // namespace

ColumnEncoding ChooseEncoding(const ArrowSchema& type, const ArrowArray& array) {
  const Format format = ParseFormat(type.format);
  if (format.layout == Layout::kBits) return ColumnEncoding::kPlain;
  if (format.layout != Layout::kFixed || type.dictionary != nullptr || format.width > 8) {
    return ColumnEncoding::kDictionary;
  }
  if (array.length == 0) return ColumnEncoding::kPlain;
  const double distinct = EstimateDistinct(TakeSample(array, format.width));
  const auto rows = static_cast<double>(array.length);
  const bool few =
      distinct * static_cast<double>(format.width) < kMaxDictionaryBytes / 2 && distinct < rows / 4;
  if (few) return ColumnEncoding::kDictionary;
  const std::string_view name = type.format;
  // Not every reader knows BYTE_STREAM_SPLIT for two bytes.
  if (name == "e") return ColumnEncoding::kPlain;
  if (name == "f" || name == "g") return ColumnEncoding::kByteStreamSplit;
  return ColumnEncoding::kDeltaBinaryPacked;
}

}  // namespace barcache
