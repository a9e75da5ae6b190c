// A trial: one operation on a prepared cache while one of its calls fails, and what must hold then.
//
// Thread safety: one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "barcache/cache.h"

namespace barcache::torture {

// The put that each key's frame is of; a key that is not there misses.
using Values = std::map<std::string, int64_t>;

struct Operation {
  const char* name;
  // How the prepared files are changed before the cache is opened; may be empty.
  std::function<void(const std::string& directory)> damage;
  // Options beside the paths.
  std::function<void(CacheOptions*)> configure;
  // On the open cache, while nothing fails yet; may be empty.
  std::function<Status(Cache*)> before;
  // Works on an open cache; empty: the operation is the opening itself.
  std::function<Status(Cache*)> run;
  // What the keys hold when it is done.
  Values after;
  // Entries may leave, whatever the outcome (eviction).
  bool may_lose = false;
  // The catalog is damaged or lost, and barcache's alone.
  bool is_rebuild = false;
  // Not "": every key is linked to this backtest, whatever the outcome.
  const char* linked_to = "";
};

const std::vector<Operation>& Operations();
Values PreparedValues();

// A folder for a closed cache with PreparedValues, to be copied for each trial.
class Prepared {
 public:
  explicit Prepared(std::string place);
  ~Prepared();
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;
  void Make() const;
  // Replaces `directory` by a copy.
  void CopyTo(const std::string& directory) const;
  const std::string& place() const { return place_; }

 private:
  std::string place_;
};

struct TrialResult {
  long calls = 0;   // Of the kind, while the operation ran.
  long failed = 0;  // How many were made to fail.
  std::vector<std::string> broken;
};

// nth 0: nothing fails, the calls are counted.
TrialResult RunTrial(const Prepared& prepared, const Operation& operation, const std::string& kind,
                     long nth, bool persistent);

}  // namespace barcache::torture
