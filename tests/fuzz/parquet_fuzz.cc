// Any bytes as a Parquet file: a sound frame or a typed error, within the budget.

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "frame/parquet_codec.h"
#include "frame/sample_frame.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace barcache;
  // Of exactly this size, so that a sanitizer sees the first byte beyond.
  const std::vector<uint8_t> bytes(data, data + size);
  const DecodeLimits limits{32 << 20};
  const auto decoded = DecodeParquet(bytes, limits);
  (void)ReadEmptyFrame(bytes, limits).ok();
  (void)ReadKeyValues(bytes).ok();
  if (!decoded.ok()) return 0;
  const auto again = EncodeParquet(decoded->frame, {});
  if (again.status().code() == ErrorCode::kOutOfMemory) return 0;
  if (!again.ok()) std::abort();
  const auto back = DecodeParquet(again->bytes(), DecodeLimits{1LL << 30});
  if (!back.ok() || !SameFrame(back->frame, decoded->frame)) std::abort();
  return 0;
}
