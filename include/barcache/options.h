// CacheOptions: everything that can be chosen when a cache is opened.
// Thread safety: plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "barcache/status.h"

namespace barcache {

// Who leaves the cold tier first (docs/guide.md). Persisted nowhere.
enum class EvictionPolicy {
  kLru,     // The entry whose last use is longest ago.
  kSize,    // The largest entry.
  kHybrid,  // The largest among the less recently used half, then as kLru.
  kGdsf,    // The lowest uses x refetch cost / size, aged by what has left (docs/eviction.md).
  kS3Fifo,  // What was put and not used again; what was, in order of put (docs/eviction.md).
};
// "lru", "size", "hybrid", "gdsf", "s3fifo".
std::string_view EvictionPolicyName(EvictionPolicy policy);
// kInvalidArgument naming the known policies.
Result<EvictionPolicy> ParseEvictionPolicy(std::string_view name);

enum class Durability {
  kNormal,  // An acknowledged put survives kill -9.
  kFull,    // It survives a power cut too (fsync before the acknowledgement).
};

struct CacheOptions {
  std::string db_path;          // Required. ":memory:": a catalog that lives with the cache.
  std::string cache_directory;  // Required. Made with mode 0700 if missing.

  int64_t hot_capacity_bytes = 1024LL << 20;    // 0: nothing is kept hot.
  int64_t cold_capacity_bytes = 10240LL << 20;  // 0: nothing is kept on disk.
  EvictionPolicy eviction_policy = EvictionPolicy::kLru;

  Durability durability = Durability::kNormal;
  bool read_only = false;
  bool record_on_close = true;  // Close adds this run's hits and misses to today's statistics.
  int64_t busy_timeout_ms = 30'000;
  int64_t lease_ms = 10'000;  // A flight whose leader was silent for so long is taken over.
  // So long after opening, and hourly from then on, what killed puts left behind is looked for.
  int64_t sweep_after_ms = 30'000;
  // Decoded bytes of one file: at most max(this, 100 x its size).
  int64_t decode_budget_bytes = 512LL << 20;

  // kInvalidArgument for empty paths and negative numbers.
  Status Validate() const;
};

}  // namespace barcache
