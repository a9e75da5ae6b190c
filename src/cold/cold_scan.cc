#include "cold/cold_scan.h"

#include <algorithm>

#include "cold/cold_tier.h"

namespace barcache {

Verified ColdScan::Read(const std::vector<std::string>* columns) const {
  auto bytes =
      Directory::ReadOpenFile(file_, entry_.parquet_path, std::max<int64_t>(entry_.size_bytes, 0));
  if (bytes.ok()) return VerifyBytes(entry_, bytes->bytes(), decode_budget_bytes_, columns);
  Verified result;
  result.verdict =
      bytes.status().code() == ErrorCode::kOverBudget ? Verdict::kWrongBytes : Verdict::kUnreadable;
  result.status = bytes.status();
  return result;
}

Result<std::optional<ColdScanHit>> ColdTier::OpenScan(std::string_view cache_key,
                                                      EventBuffer* events) {
  // A bad entry is healed by the ordinary read; if that finds a good one, it came in between.
  constexpr int kMaxTurns = 4;
  for (int turn = 0; turn < kMaxTurns; ++turn) {
    const auto found = catalog_->Find(cache_key);
    if (found.ok() && found->has_value()) {
      auto file = directory_.OpenFile((*found)->parquet_path);
      if (file.ok() && file->has_value()) {
        auto scan = std::make_shared<const ColdScan>(std::move(**file), **found,
                                                     options_.decode_budget_bytes);
        Verified first = scan->Read(nullptr);
        if (first.verdict == Verdict::kGood) {
          return std::optional<ColdScanHit>(ColdScanHit{std::move(scan), std::move(first.frame)});
        }
      }
    }
    BARCACHE_ASSIGN_OR_RETURN(const auto hit, Read(cache_key, nullptr, events));
    if (!hit) break;
  }
  return std::optional<ColdScanHit>();
}

}  // namespace barcache
