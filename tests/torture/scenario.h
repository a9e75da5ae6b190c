// The scripted operations at whose every moment a worker is killed.
#pragma once

#include <span>

#include "torture/worker.h"

namespace barcache::torture {

inline constexpr int kFlightKey = 8;  // What the first flight of a scenario fetches.

struct Traits {
  bool evicts = false;         // Whoever puts once more may evict.
  bool has_bad_files = false;  // The template holds entries that do not verify.
  bool rebuilds = false;       // The template's catalog is lost or damaged.
  bool flies = false;          // Leads flights; a process beside it waits for them.
};

struct Scenario {
  const char* name;
  // What lies there before; nullptr: nothing, not even a folder for files. Runs in a process of its
  // own, which then leaves without closing the cache unless it did so.
  void (*prepare)(Worker& worker, const std::string& folder);
  void (*work)(Worker& worker);
  Traits traits = {};
};

std::span<const Scenario> Scenarios();
// nullptr: there is none of that name.
const Scenario* FindScenario(const std::string& name);

}  // namespace barcache::torture
