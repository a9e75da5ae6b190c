#include "cold/cold_events.h"

#include <algorithm>
#include <string>

namespace barcache {
namespace {

double Megabytes(int64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

Event MakeEvent(EventLevel level, const char* name, std::string_view cache_key) {
  Event event{level, name, {}};
  event.fields.emplace_back("cache_key", std::string(cache_key));
  return event;
}

}  // namespace

Event VerificationFailed(const EntryInfo& entry, const Verified& verified) {
  switch (verified.verdict) {
    case Verdict::kMissing: {
      Event event = MakeEvent(EventLevel::kError, "cache_file_missing", entry.cache_key);
      event.fields.emplace_back("parquet_path", entry.parquet_path);
      return event;
    }
    case Verdict::kWrongBytes: {
      Event event = MakeEvent(EventLevel::kError, "cache_checksum_mismatch", entry.cache_key);
      event.fields.emplace_back("expected", entry.checksum);
      event.fields.emplace_back("actual", verified.actual_checksum.empty()
                                              ? "a file of another size"
                                              : verified.actual_checksum);
      return event;
    }
    case Verdict::kNotConfined: {
      Event event = MakeEvent(EventLevel::kError, "cache_path_refused", entry.cache_key);
      event.fields.emplace_back("parquet_path", entry.parquet_path);
      return event;
    }
    case Verdict::kWrongKey: {
      Event event = MakeEvent(EventLevel::kError, "cache_entry_mismatch", entry.cache_key);
      event.fields.emplace_back("parquet_path", entry.parquet_path);
      return event;
    }
    default: {
      const char* name = verified.verdict == Verdict::kUndecodable ? "cache_file_undecodable"
                                                                   : "cache_file_unreadable";
      Event event = MakeEvent(EventLevel::kError, name, entry.cache_key);
      event.fields.emplace_back("parquet_path", entry.parquet_path);
      event.fields.emplace_back("error", verified.status.message());
      return event;
    }
  }
}

Event CatalogUnreadable(std::string_view cache_key, const Status& status) {
  Event event = MakeEvent(EventLevel::kError, "cache_catalog_unreadable", cache_key);
  event.fields.emplace_back("error", status.message());
  return event;
}

Event CatalogRebuilt(std::string_view path, const RebuildOutcome& outcome, int64_t entry_count,
                     const std::vector<std::string>& left) {
  constexpr size_t kMostNamed = 20;
  const auto join = [](const std::vector<std::string>& names, size_t most) {
    std::string text;
    for (size_t i = 0; i < std::min(names.size(), most); ++i) {
      text.append(i == 0 ? "" : ", ").append(names[i]);
    }
    return text;
  };
  const SalvageReport& salvage = outcome.salvage;
  Event event{EventLevel::kWarning, "catalog_rebuilt", {}};
  event.fields.emplace_back("db_path", std::string(path));
  event.fields.emplace_back("kept_as", outcome.kept_path);
  event.fields.emplace_back("entries_admitted", entry_count);
  event.fields.emplace_back("files_left", static_cast<int64_t>(left.size()));
  event.fields.emplace_back("files_left_names", join(left, kMostNamed));
  event.fields.emplace_back("links_salvaged", salvage.link_count);
  event.fields.emplace_back("statistics_days_salvaged", salvage.statistics_days);
  event.fields.emplace_back("tables_with_losses",
                            join(salvage.damaged_tables, salvage.damaged_tables.size()));
  return event;
}

Event FileDeleted(std::string_view cache_key, std::string_view path) {
  Event event = MakeEvent(EventLevel::kInfo, "cache_file_deleted", cache_key);
  event.fields.emplace_back("path", std::string(path));
  return event;
}

Event OrphansRemoved(int64_t file_count, int64_t size_bytes) {
  Event event{EventLevel::kInfo, "cache_orphans_removed", {}};
  event.fields.emplace_back("file_count", file_count);
  event.fields.emplace_back("size_mb", Megabytes(size_bytes));
  return event;
}

Event TooLargeForColdTier(std::string_view cache_key, int64_t size_bytes, int64_t capacity_bytes) {
  Event event = MakeEvent(EventLevel::kWarning, "dataframe_too_large_for_cold_cache", cache_key);
  event.fields.emplace_back("df_size_mb", Megabytes(size_bytes));
  event.fields.emplace_back("max_size_mb", Megabytes(capacity_bytes));
  return event;
}

Event NoRoomBesidePinned(std::string_view cache_key, int64_t size_bytes, int64_t pinned_bytes,
                         int64_t capacity_bytes) {
  Event event = MakeEvent(EventLevel::kWarning, "dataframe_has_no_room_beside_pinned", cache_key);
  event.fields.emplace_back("df_size_mb", Megabytes(size_bytes));
  event.fields.emplace_back("pinned_size_mb", Megabytes(pinned_bytes));
  event.fields.emplace_back("max_size_mb", Megabytes(capacity_bytes));
  return event;
}

Event EvictionTriggered(int64_t total_bytes, int64_t capacity_bytes) {
  Event event{EventLevel::kInfo, "cold_cache_eviction_triggered", {}};
  event.fields.emplace_back("total_size_mb", Megabytes(total_bytes));
  event.fields.emplace_back("max_size_mb", Megabytes(capacity_bytes));
  return event;
}

Event Evicted(RankOrder order, const Victim& victim) {
  if (order == RankOrder::kLeastRecentlyUsed) {
    Event event = MakeEvent(EventLevel::kInfo, "lru_eviction", victim.cache_key);
    event.fields.emplace_back("last_accessed", victim.last_accessed);
    return event;
  }
  const char* name = "size_eviction";
  if (order == RankOrder::kLowestPriority) name = "gdsf_eviction";
  if (order == RankOrder::kTwoQueues) name = "s3fifo_eviction";
  Event event = MakeEvent(EventLevel::kInfo, name, victim.cache_key);
  event.fields.emplace_back("size_mb", Megabytes(victim.size_bytes));
  return event;
}

}  // namespace barcache
