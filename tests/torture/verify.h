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
  bool rebuilds = false;       // The catalog was lost or damaged: its remains lie beside it.
  std::string original;        // The damaged catalog, which one of the remains has to be; or "".
  bool flies = false;          // Whoever died may have held a lease.
  bool probes = true;          // Put, read and clear an entry too.
  bool is_lossy = false;       // A power cut in normal mode: see CompareLossy.
  long trusted_acks = -1;      // Later ones came when the power was already going; -1: none.
  bool closes = true;          // Else the process has to end without.
  std::string found_log;       // "", or where to write what was found, as a new oracle log.
};

// To be called in a process that did not use the cache before. Opens it within a second, checks it,
// reads every key, puts and clears one more, repairs, and closes. Returns the promises broken.
std::vector<std::string> Verify(const VerifyPlan& plan);

// Becomes the leader of kFlightName, by waiting or by taking over from who died: "" or why not.
// Then looks for the entry, puts it if it is not there, and lands.
// A put is written down in `log`, unless that is nullptr.
std::string FetchAfterOthers(Cache* cache, int key, long version, OracleLog* log);

// What this process finds now in an open cache. Gets that fail are added to `broken`, and coverage
// that claims what is not there.
Finding Look(Cache* cache, std::vector<std::string>* broken);

}  // namespace barcache::torture
