// Cache::Impl::Scan: lazy reads of one entry.

#include <utility>

#include "barcache/cache_key.h"
#include "cache/cache_impl.h"
#include "cold/cold_scan.h"

namespace barcache {
namespace {

class EntryScan final : public FrameScan {
 public:
  explicit EntryScan(std::shared_ptr<const ColdScan> scan) : scan_(std::move(scan)) {}

  Result<Frame> Read(const std::vector<std::string>* columns) const override {
    Verified verified = scan_->Read(columns);
    if (verified.verdict == Verdict::kGood) return std::move(verified.frame);
    if (verified.verdict == Verdict::kNoSuchColumn || verified.verdict == Verdict::kUnreadable) {
      return verified.status;
    }
    return Status(ErrorCode::kCorruption,
                  "the file of entry " + scan_->entry().cache_key + " (" +
                      scan_->entry().parquet_path +
                      ") has changed since it was scanned: get the entry again, and fetch it "
                      "anew if that is a miss");
  }

 private:
  const std::shared_ptr<const ColdScan> scan_;
};

}  // namespace

Result<std::optional<ScanHit>> Cache::Impl::Scan(std::string_view key, const GetOptions& get) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  EventBuffer events;
  std::optional<ColdScanHit> opened;
  if (ValidateCacheKey(key).ok()) {
    auto found = cold_->OpenScan(key, &events);
    if (!found.ok()) {
      Emit(std::move(events));
      return found.status();
    }
    opened = std::move(*found);
    if (opened && !newest_.Accept(key, opened->stamp_generation, opened->epoch)) {
      events.push_back(KeyEvent(EventLevel::kError, "cache_entry_outdated", key));
      opened.reset();
    }
  }
  std::optional<ScanHit> hit;
  if (opened) {
    ++cold_hits_;
    CountUse(key, get.backtest_id);
    hit = ScanHit{std::make_shared<const EntryScan>(std::move(opened->scan)),
                  std::move(opened->frame)};
  } else {
    ++misses_;
    if (get.log_hit) events.push_back(KeyEvent(EventLevel::kInfo, "cache_miss", key));
  }
  Emit(std::move(events));
  return hit;
}

}  // namespace barcache
