// What the cache knows about itself, as plain data. Times are Unix seconds, UTC.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace barcache {

// Counters of this process since the cache was opened. hit_count == hot_hits + cold_hits.
struct SessionStats {
  int64_t hit_count = 0;
  int64_t miss_count = 0;
  int64_t hot_hits = 0;
  int64_t cold_hits = 0;
};

// hit_count and miss_count: recorded days of the range, plus this run's unrecorded part when
// the range includes today. The other figures are current, whatever the range.
struct CacheStatistics {
  int64_t hit_count = 0;
  int64_t miss_count = 0;
  double hit_rate = 0.0;  // 0..1; 0 when nothing was asked.
  int64_t total_size_bytes = 0;
  int64_t entry_count = 0;
  double avg_access_count = 0.0;
  SessionStats session;
};

// A row of cache_entries; what barcache adds is empty or 0 for an entry written by RustyBT.
struct EntryInfo {
  std::string cache_key;
  int64_t dataset_id = 0;
  std::string parquet_path;
  std::string checksum;  // 64 hex letters.
  int64_t created_at = 0;
  int64_t last_accessed = 0;
  int64_t access_count = 0;
  int64_t size_bytes = 0;
  uint64_t generation = 0;   // 0: not written by barcache.
  std::string request_json;  // The request behind a generated key; "" if unknown.
  bool is_pinned = false;    // Kept from eviction.
};

// The outcome of comparing catalog and directory.
struct CheckReport {
  int64_t entries_checked = 0;
  int64_t bytes_checked = 0;
  std::vector<std::string> missing_files;     // Keys whose file is gone.
  std::vector<std::string> corrupt_files;     // Keys whose bytes, key or generation are wrong.
  std::vector<std::string> unreadable_files;  // Keys whose file could not be read (EIO, EACCES).
  std::vector<std::string> orphan_files;      // Our files without a row.
  std::vector<std::string> foreign_files;     // Not ours: listed, never touched.
  bool totals_differ = false;                 // The running totals disagreed with the rows.
  bool catalog_damaged = false;               // SQLite's quick_check found something.
  int64_t repaired = 0;                       // Rows dropped and files removed by a repair.
  bool clean() const {
    return missing_files.empty() && corrupt_files.empty() && unreadable_files.empty() &&
           orphan_files.empty() && !totals_differ && !catalog_damaged;
  }
};

}  // namespace barcache
