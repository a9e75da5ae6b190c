// OrphanSweep: files that killed puts left behind are removed, bit by bit, by a background thread.
//
// A round collects the paths in the catalog (8 bytes each), then walks the directory; what no row
// named, is older than the grace time and is this catalog's (orphan.h) goes, each under the
// writers' lock for itself. A step looks at a few hundred rows or names; no lock is held between
// steps. The first round begins some time after opening, the next ones hourly.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/event.h"
#include "base/file_system.h"
#include "cold/cold_tier.h"

namespace barcache {

class OrphanSweep {
 public:
  static constexpr int64_t kStepEntries = 256;
  static constexpr int64_t kStepPauseNs = 20'000'000;
  static constexpr int64_t kRoundPauseNs = int64_t{3600} * 1'000'000'000;

  // REQUIRES: tier and clock outlive it.
  OrphanSweep(ColdTier* tier, const Clock* clock, int64_t first_pause_ns);

  // Takes a step if one is due; says what a round removed at its end. Nanoseconds until the next
  // one. An error ends the round.
  Result<int64_t> StepIfDue(EventBuffer* events);
  // Gives up the round: a forked child begins its own, after the first pause.
  void Restart();

 private:
  // Whether the round goes on.
  Result<bool> StepRows();
  Result<bool> StepNames();
  Status LookAt(const std::string& name);
  void EndRound(int64_t pause_ns);

  ColdTier* const tier_;
  const Clock* const clock_;
  const int64_t first_pause_ns_;
  int64_t next_step_ns_;
  int64_t position_ = 0;                  // In the rows.
  std::vector<uint64_t> known_;           // Hashes of paths that rows name; sorted once complete.
  std::optional<DirectoryStream> names_;  // Once all rows are known.
  int64_t removed_count_ = 0;
  int64_t removed_bytes_ = 0;
};

}  // namespace barcache
