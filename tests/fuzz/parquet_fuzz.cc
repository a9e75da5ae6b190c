// Any bytes as a Parquet file: a sound frame or a typed error, within the budget. A frame comes
// back from a file of ours, its schema from text; one of its columns read alone is what it was.

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "frame/parquet_codec.h"
#include "frame/sample_frame.h"
#include "frame/schema_text.h"

namespace barcache {
namespace {

constexpr DecodeLimits kLimits{32 << 20};

void Require(bool holds) {
  if (!holds) std::abort();
}

void ComesBack(const Frame& frame) {
  const auto again = EncodeParquet(frame, {});
  if (again.status().code() == ErrorCode::kOutOfMemory) return;
  Require(again.ok());
  const auto back = DecodeParquet(again->bytes(), DecodeLimits{1LL << 30});
  Require(back.ok() && SameFrame(back->frame, frame));
}

void HasASchemaText(const Frame& frame) {
  const std::string text = SchemaTextOf(frame);
  const auto empty = EmptyFrameOf(text);
  Require(empty.ok() && empty->num_rows() == 0 && SchemaTextOf(*empty) == text);
}

void ReadsAColumnAlone(std::span<const uint8_t> bytes, const Frame& frame) {
  const std::vector<std::string> names = frame.column_names();
  if (names.empty()) return;
  const auto alone = DecodeParquetColumns(bytes, kLimits, {names.back()});
  // Another column may have sent the whole file the other way, which forgives other faults.
  const ErrorCode code = alone.status().code();
  if (code == ErrorCode::kOutOfMemory || code == ErrorCode::kCorruption) return;
  const auto selected = frame.Select({names.back()});
  Require(alone.ok() && selected.ok() && SameFrame(alone->frame, *selected));
}

}  // namespace
}  // namespace barcache

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace barcache;
  // Of exactly this size, so that a sanitizer sees the first byte beyond.
  const std::vector<uint8_t> bytes(data, data + size);
  const auto decoded = DecodeParquet(bytes, kLimits);
  (void)ReadEmptyFrame(bytes, kLimits).ok();
  (void)ReadKeyValues(bytes).ok();
  if (!decoded.ok()) return 0;
  ComesBack(decoded->frame);
  HasASchemaText(decoded->frame);
  ReadsAColumnAlone(bytes, decoded->frame);
  return 0;
}
