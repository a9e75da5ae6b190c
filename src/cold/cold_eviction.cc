// ColdTier: the transaction of a put, and eviction inside it.

#include <utility>

#include "base/failpoint.h"
#include "cold/cold_events.h"
#include "cold/cold_tier.h"
#include "cold/evict_rows.h"
#include "cold/touches_once.h"
#include "cold/unnamed_files.h"

namespace barcache {
namespace {

// What other entries that are pinned leave for this one; nullopt: room enough.
Result<std::optional<Event>> RefuseBesidePinned(CatalogWriter* writer, const NewEntry& entry,
                                                int64_t capacity_bytes) {
  BARCACHE_ASSIGN_OR_RETURN(const CatalogTotals totals, writer->Totals());
  BARCACHE_ASSIGN_OR_RETURN(const int64_t own_bytes, writer->PinnedSizeOf(entry.cache_key));
  const int64_t pinned_bytes = totals.pinned_size_bytes - own_bytes;
  if (pinned_bytes == 0 || pinned_bytes + entry.size_bytes <= capacity_bytes) {
    return std::optional<Event>();
  }
  return std::optional<Event>(
      NoRoomBesidePinned(entry.cache_key, entry.size_bytes, pinned_bytes, capacity_bytes));
}

// Why the entry cannot be stored whatever is evicted for it.
Result<std::optional<Event>> Refuse(CatalogWriter* writer, const NewEntry& entry, bool any_pinned,
                                    int64_t capacity_bytes) {
  if (entry.parquet_path.empty()) {
    return std::optional<Event>(
        TooLargeForColdTier(entry.cache_key, entry.size_bytes, capacity_bytes));
  }
  if (!any_pinned || Mutant("no_room_beside_pinned")) return std::optional<Event>();
  return RefuseBesidePinned(writer, entry, capacity_bytes);
}

}  // namespace

Result<WriteOutcomes> ColdTier::Commit(const std::vector<WriteRequest>& requests,
                                       const std::vector<NewEntry>& entries,
                                       const WriteLimits& limits, UnnamedFiles* files,
                                       EventBuffer* events) {
  WriteOutcomes result;
  if (requests.empty()) return result;
  std::vector<std::pair<std::string, std::string>> leftovers;  // Key, file.
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  TouchesOnce touches(limits.touches);
  // If this put may evict: hits made before it rank as older than it.
  BARCACHE_ASSIGN_OR_RETURN(const CatalogTotals before, writer.Totals());
  int64_t arriving_bytes = 0;
  for (const NewEntry& entry : entries) arriving_bytes += entry.size_bytes;
  if (before.size_bytes + arriving_bytes > limits.capacity_bytes) {
    BARCACHE_RETURN_IF_ERROR(writer.ApplyTouches(touches.Take()));
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    const NewEntry& entry = entries[i];
    WriteOutcome outcome;
    BARCACHE_ASSIGN_OR_RETURN(
        auto refused, Refuse(&writer, entry, before.pinned_count > 0, limits.capacity_bytes));
    if (refused) {
      events->push_back(std::move(*refused));
      BARCACHE_ASSIGN_OR_RETURN(const auto older, writer.Erase(entry.cache_key));
      if (older) leftovers.emplace_back(older->cache_key, older->parquet_path);
      if (!entry.parquet_path.empty()) leftovers.emplace_back(entry.cache_key, entry.parquet_path);
      result.outcomes.push_back(std::move(outcome));
      continue;
    }
    BARCACHE_RETURN_IF_ERROR(RequireFile(entry));
    BARCACHE_ASSIGN_OR_RETURN(const UpsertOutcome upsert, writer.Upsert(entry));
    if (!requests[i].backtest_id.empty()) {
      BARCACHE_ASSIGN_OR_RETURN(bool linked,
                                writer.Link(requests[i].backtest_id, entry.cache_key, entry.now_s));
      (void)linked;
    }
    const std::string& leftover = upsert.stored ? upsert.replaced_path : entry.parquet_path;
    if (!leftover.empty()) leftovers.emplace_back(entry.cache_key, leftover);
    outcome.admitted = true;
    outcome.superseded = !upsert.stored;
    outcome.checksum = entry.checksum;
    outcome.generation = entry.generation;
    outcome.size_bytes = entry.size_bytes;
    result.outcomes.push_back(std::move(outcome));
  }
  BARCACHE_ASSIGN_OR_RETURN(const Eviction eviction,
                            EvictRows(&writer, {limits.policy, limits.capacity_bytes},
                                      entries.back().cache_key, &touches, events));
  // Reading the counters after the commit could hide a replacement that somebody made since.
  for (size_t i = 0; i < entries.size(); ++i) {
    result.outcomes[i].epoch = writer.EpochAfterCommit(entries[i].cache_key);
  }
  if (Mutant("files_before_rows")) {
    for (const auto& [key, path] : leftovers) UnlinkOwned(key, path, events);
    static_cast<void>(Unlink(eviction.victims, events));
  }
  const Status committed = writer.Commit([&](bool written) { touches.Settle(written); });
  if (committed.ok()) files->Keep();
  BARCACHE_RETURN_IF_ERROR(committed);
  for (const auto& [key, path] : leftovers) UnlinkOwned(key, path, events);
  result.evicted_keys = Unlink(eviction.victims, events);
  return result;
}

Result<std::vector<std::string>> ColdTier::Evict(int64_t capacity_bytes, EvictionPolicy policy,
                                                 PendingTouches* pending, EventBuffer* events) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  TouchesOnce touches(pending);
  BARCACHE_ASSIGN_OR_RETURN(const Eviction eviction,
                            EvictRows(&writer, {policy, capacity_bytes}, "", &touches, events));
  const Status committed = writer.Commit([&](bool written) { touches.Settle(written); });
  BARCACHE_RETURN_IF_ERROR(committed);
  return Unlink(eviction.victims, events);
}

}  // namespace barcache
