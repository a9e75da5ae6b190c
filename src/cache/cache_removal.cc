// Cache::Impl: lookups beside get, and everything that removes.

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "cache/cache_impl.h"

namespace barcache {
namespace {

Event CountEvent(const char* name, size_t count) {
  Event event{EventLevel::kInfo, name, {}};
  event.fields.emplace_back("count", static_cast<int64_t>(count));
  return event;
}

}  // namespace

Result<std::optional<EntryInfo>> Cache::Impl::Find(std::string_view key) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  // Row and overlay belong together only if no batch was being written meanwhile (its uses could
  // be in both, or in neither). A batch takes some 0.1 ms; one that waits for another process is
  // not waited for.
  constexpr int kMaxTurns = 200;
  constexpr std::chrono::microseconds kPause{50};
  std::optional<EntryInfo> entry;
  UseOverlay overlay;
  for (int turn = 0; turn < kMaxTurns; ++turn) {
    const uint64_t version = pending_.version();
    if (PendingUses::InFlight(version) && turn + 1 < kMaxTurns) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    BARCACHE_ASSIGN_OR_RETURN(entry, catalog->Find(key));
    overlay = pending_.Overlay(key);
    if (pending_.version() == version) break;
  }
  if (entry) {
    entry->access_count += overlay.count;
    entry->last_accessed = std::max(entry->last_accessed, overlay.accessed_s);
  }
  return entry;
}

Result<std::vector<EntryInfo>> Cache::Impl::Entries() {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  BARCACHE_RETURN_IF_ERROR(Flush());
  return catalog->Entries();
}

Result<std::vector<std::string>> Cache::Impl::BacktestsOf(std::string_view key) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  BARCACHE_RETURN_IF_ERROR(FlushLinksIfAny());
  return catalog->BacktestsOf(key);
}

Result<std::vector<std::string>> Cache::Impl::KeysOf(std::string_view backtest_id) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  BARCACHE_RETURN_IF_ERROR(FlushLinksIfAny());
  return catalog->KeysOf(backtest_id);
}

Result<int64_t> Cache::Impl::Erase(std::string_view key) {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  EventBuffer events;
  BARCACHE_ASSIGN_OR_RETURN(const bool erased, cold_->Erase(key, &events));
  const bool was_hot = hot_tier()->Erase(key);
  pending_.Forget(key);
  Event event{EventLevel::kInfo, "cache_cleared_by_key", {}};
  event.fields.emplace_back("cache_key", std::string(key));
  events.push_back(std::move(event));
  Emit(std::move(events));
  return (erased || was_hot) ? 1 : 0;
}

Result<int64_t> Cache::Impl::EraseBacktest(std::string_view backtest_id, bool keep_shared) {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  BARCACHE_RETURN_IF_ERROR(FlushLinksIfAny());
  EventBuffer events;
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<std::string> keys,
                            cold_->EraseBacktest(backtest_id, keep_shared, &events));
  Forget(keys);
  Event event = CountEvent("cache_cleared_by_backtest", keys.size());
  event.fields.emplace(event.fields.begin(), "backtest_id", std::string(backtest_id));
  events.push_back(std::move(event));
  Emit(std::move(events));
  return static_cast<int64_t>(keys.size());
}

Result<int64_t> Cache::Impl::EraseUnusedSince(int64_t before_s) {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  BARCACHE_RETURN_IF_ERROR(Flush());  // Pending uses save their entries.
  EventBuffer events;
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<std::string> keys,
                            cold_->EraseUnusedSince(before_s, &events));
  Forget(keys);
  events.push_back(CountEvent("cache_cleared_unused", keys.size()));
  Emit(std::move(events));
  return static_cast<int64_t>(keys.size());
}

Result<int64_t> Cache::Impl::Clear() {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  EventBuffer events;
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<std::string> keys, cold_->EraseAll(&events));
  hot_tier()->Clear();
  pending_.Clear();
  events.push_back(Event{EventLevel::kInfo, "hot_cache_cleared", {}});
  events.push_back(CountEvent("cache_cleared_all", keys.size()));
  Emit(std::move(events));
  return static_cast<int64_t>(keys.size());
}

Result<int64_t> Cache::Impl::EvictIfNeeded() {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  EventBuffer events;
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<std::string> keys,
                            cold_->Evict(cold_capacity_bytes, policy, &pending_, &events));
  Forget(keys);
  Emit(std::move(events));
  return static_cast<int64_t>(keys.size());
}

Result<CheckReport> Cache::Impl::Check(bool repair) {
  if (repair) {
    BARCACHE_RETURN_IF_ERROR(RequireWritable());
  } else {
    BARCACHE_RETURN_IF_ERROR(RequireOpen());
  }
  EventBuffer events;
  auto report = cold_->Check(repair, &events);
  Emit(std::move(events));
  return report;
}

}  // namespace barcache
