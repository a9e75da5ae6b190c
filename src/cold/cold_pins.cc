// ColdTier: entries that eviction leaves alone.

#include <utility>

#include "base/failpoint.h"
#include "cold/cold_tier.h"

namespace barcache {

Result<int64_t> ColdTier::Pin(const std::vector<std::string>& keys, bool must_exist,
                              int64_t capacity_bytes) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  int64_t pinned = 0;
  for (const std::string& key : keys) {
    BARCACHE_ASSIGN_OR_RETURN(const bool is_new, writer.Pin(key));
    pinned += is_new ? 1 : 0;
    if (is_new || !must_exist) continue;
    BARCACHE_ASSIGN_OR_RETURN(const bool is_there, writer.HasEntry(key));
    if (!is_there) {
      return Status(ErrorCode::kInvalidArgument,
                    "cannot pin " + key + ": there is no such entry on disk; put it first");
    }
  }
  BARCACHE_ASSIGN_OR_RETURN(const CatalogTotals totals, writer.Totals());
  const bool is_room = totals.pinned_size_bytes <= capacity_bytes || Mutant("pins_without_limit");
  if (pinned > 0 && !is_room) {
    return Status(ErrorCode::kNoSpace,
                  "pinning " + std::to_string(pinned) + " more would keep " +
                      std::to_string(totals.pinned_size_bytes) + " bytes, and the limit is " +
                      std::to_string(capacity_bytes) +
                      ": nothing was pinned; unpin others or raise cold_cache_size_mb");
  }
  BARCACHE_RETURN_IF_ERROR(writer.Commit());
  return pinned;
}

Result<int64_t> ColdTier::Unpin(const std::vector<std::string>& keys) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  int64_t unpinned = 0;
  for (const std::string& key : keys) {
    BARCACHE_ASSIGN_OR_RETURN(const bool changed, writer.Unpin(key));
    unpinned += changed ? 1 : 0;
  }
  BARCACHE_RETURN_IF_ERROR(writer.Commit());
  return unpinned;
}

}  // namespace barcache
