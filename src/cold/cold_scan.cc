#include "cold/cold_scan.h"

#include <algorithm>

#include "cold/cold_tier.h"

namespace barcache {

namespace {

Verified Unread(const Status& status) {
  Verified result;
  result.verdict =
      status.code() == ErrorCode::kOverBudget ? Verdict::kWrongBytes : Verdict::kUnreadable;
  result.status = status;
  return result;
}

}  // namespace

Result<ByteBuffer> ColdScan::ReadBytes() const {
  return Directory::ReadOpenFile(file_, entry_.parquet_path,
                                 std::max<int64_t>(entry_.size_bytes, 0));
}

Verified ColdScan::Read(const std::vector<std::string>* columns) const {
  const auto bytes = ReadBytes();
  if (!bytes.ok()) return Unread(bytes.status());
  return VerifyBytes(entry_, bytes->bytes(), decode_budget_bytes_, columns);
}

Verified ColdScan::ReadSchema() const {
  const auto bytes = ReadBytes();
  if (!bytes.ok()) return Unread(bytes.status());
  return VerifySchema(entry_, bytes->bytes(), decode_budget_bytes_);
}

Result<std::optional<ColdScanHit>> ColdTier::OpenScan(std::string_view cache_key,
                                                      EventBuffer* events) {
  // A bad entry is healed by the ordinary read; if that finds a good one, it came in between.
  constexpr int kMaxTurns = 4;
  for (int turn = 0; turn < kMaxTurns; ++turn) {
    const Epoch epoch = catalog_->EpochOf(cache_key);
    const auto found = catalog_->Find(cache_key);
    if (found.ok() && found->has_value()) {
      auto file = directory_.OpenFile((*found)->parquet_path);
      if (file.ok() && file->has_value()) {
        auto scan = std::make_shared<const ColdScan>(std::move(**file), **found,
                                                     options_.decode_budget_bytes);
        Verified first = scan->ReadSchema();
        if (first.verdict == Verdict::kGood) {
          return std::optional<ColdScanHit>(
              ColdScanHit{std::move(scan), std::move(first.frame), epoch, first.stamp_generation});
        }
      }
    }
    BARCACHE_ASSIGN_OR_RETURN(const auto hit, Read(cache_key, nullptr, events));
    if (!hit) break;
  }
  return std::optional<ColdScanHit>();
}

}  // namespace barcache
