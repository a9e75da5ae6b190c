// Cache::Impl: pins.

#include <utility>

#include "cache/cache_impl.h"

namespace barcache {
namespace {

Event PinEvent(const char* name, const char* subject, std::string_view value, int64_t count) {
  Event event{EventLevel::kInfo, name, {}};
  event.fields.emplace_back(subject, std::string(value));
  event.fields.emplace_back("count", count);
  return event;
}

}  // namespace

Result<int64_t> Cache::Impl::Pin(std::string_view key) {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  BARCACHE_ASSIGN_OR_RETURN(const int64_t count,
                            cold_->Pin({std::string(key)}, true, cold_capacity_bytes));
  Emit({PinEvent("cache_pinned", "cache_key", key, count)});
  return count;
}

Result<int64_t> Cache::Impl::PinBacktest(std::string_view backtest_id) {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  BARCACHE_RETURN_IF_ERROR(FlushLinksIfAny());
  BARCACHE_ASSIGN_OR_RETURN(const auto keys, catalog->KeysOf(backtest_id));
  BARCACHE_ASSIGN_OR_RETURN(const int64_t count, cold_->Pin(keys, false, cold_capacity_bytes));
  Emit({PinEvent("cache_pinned", "backtest_id", backtest_id, count)});
  return count;
}

Result<int64_t> Cache::Impl::Unpin(std::string_view key) {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  BARCACHE_ASSIGN_OR_RETURN(const int64_t count, cold_->Unpin({std::string(key)}));
  Emit({PinEvent("cache_unpinned", "cache_key", key, count)});
  return count;
}

Result<int64_t> Cache::Impl::UnpinBacktest(std::string_view backtest_id) {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  BARCACHE_RETURN_IF_ERROR(FlushLinksIfAny());
  BARCACHE_ASSIGN_OR_RETURN(const auto keys, catalog->KeysOf(backtest_id));
  BARCACHE_ASSIGN_OR_RETURN(const int64_t count, cold_->Unpin(keys));
  Emit({PinEvent("cache_unpinned", "backtest_id", backtest_id, count)});
  return count;
}

Result<std::vector<std::string>> Cache::Impl::PinnedKeys() {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  return catalog->PinnedKeys();
}

}  // namespace barcache
