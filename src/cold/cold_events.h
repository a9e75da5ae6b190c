// The log lines of the cold tier (names and fields: drop-in contract, 1c). Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "barcache/stats.h"
#include "base/event.h"
#include "catalog/catalog.h"
#include "catalog/catalog_rebuild.h"
#include "cold/verification.h"
#include "policy/eviction.h"

namespace barcache {

Event VerificationFailed(const EntryInfo& entry, const Verified& verified);
Event CatalogUnreadable(std::string_view cache_key, const Status& status);
// `left`: names of the files that were not admitted; the event names the first twenty.
Event CatalogRebuilt(std::string_view path, const RebuildOutcome& outcome, int64_t entry_count,
                     const std::vector<std::string>& left);
Event FileDeleted(std::string_view cache_key, std::string_view path);
Event OrphansRemoved(int64_t file_count, int64_t size_bytes);
Event TooLargeForColdTier(std::string_view cache_key, int64_t size_bytes, int64_t capacity_bytes);
Event NoRoomBesidePinned(std::string_view cache_key, int64_t size_bytes, int64_t pinned_bytes,
                         int64_t capacity_bytes);
Event EvictionTriggered(int64_t total_bytes, int64_t capacity_bytes);
Event Evicted(RankOrder order, const Victim& victim);

}  // namespace barcache
