// Verify: what a process that comes afterwards finds in a cache, against what the oracle allows.
#pragma once

#include <string>
#include <vector>

#include "barcache/cache.h"
#include "torture/oracle.h"

namespace barcache::torture {

struct VerifyPlan {
  std::string folder;
  std::string log;
  Durability durability = Durability::kNormal;
  int64_t limit_bytes = 0;     // What all entries together may have; 0: anything.
  bool has_bad_files = false;  // Entries that do not verify are no surprise.
  bool probes = true;          // Put, read and clear an entry too.
  bool is_lossy = false;       // A power cut in normal mode: see CompareLossy.
  long trusted_acks = -1;      // Later ones came when the power was already going; -1: none.
  bool closes = true;          // Else the process has to end without.
  std::string found_log;       // "", or where to write what was found, as a new oracle log.
};

// To be called in a process that did not use the cache before. Opens it within a second, checks it,
// reads every key, puts and clears one more, repairs, and closes. Returns the promises broken.
std::vector<std::string> Verify(const VerifyPlan& plan);

// What this process finds now in an open cache. Gets that fail are added to `broken`.
Finding Look(Cache* cache, std::vector<std::string>* broken);

}  // namespace barcache::torture
