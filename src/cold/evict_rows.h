// Eviction inside a write transaction: rows leave, in the order of a policy, until the entries fit.
// Files are the caller's, after the commit. Also what a trace is replayed with (benchmarks).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "barcache/options.h"
#include "base/event.h"
#include "catalog/catalog.h"
#include "cold/cold_tier.h"

namespace barcache {

struct EvictionRule {
  EvictionPolicy policy = EvictionPolicy::kLru;
  int64_t capacity_bytes = 0;
  bool to_capacity_only = false;  // See EvictionNeed.
};

struct Eviction {
  std::vector<Victim> victims;
};

// Pending touches come first, so that the order of use is true. `except_key` stays: it is what
// the room is made for. `touches` are the caller's to settle, once the transaction is over.
Result<Eviction> EvictRows(CatalogWriter* writer, const EvictionRule& rule,
                           std::string_view except_key, PendingTouches* touches,
                           EventBuffer* events);

}  // namespace barcache
