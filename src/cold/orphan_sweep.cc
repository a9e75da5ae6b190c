// Rounds and steps. See orphan_sweep.h.
#include "cold/orphan_sweep.h"

#include <algorithm>
#include <functional>

#include "barcache/cache_key.h"
#include "base/failpoint.h"
#include "cold/cold_events.h"
#include "cold/orphan.h"

namespace barcache {
namespace {

// Two names of one hash would only keep an orphan.
uint64_t HashOf(const std::string& name) { return std::hash<std::string>()(name); }

bool MayBeOrphan(const std::string& name) {
  EntryFileNameParts parts;
  return IsTemporaryName(name) || ParseEntryFileName(name, &parts);
}

}  // namespace

OrphanSweep::OrphanSweep(ColdTier* tier, const Clock* clock, int64_t first_pause_ns)
    : tier_(tier),
      clock_(clock),
      first_pause_ns_(first_pause_ns),
      next_step_ns_(clock->MonotonicNs() + first_pause_ns) {}

Result<int64_t> OrphanSweep::StepIfDue(EventBuffer* events) {
  const int64_t early_ns = next_step_ns_ - clock_->MonotonicNs();
  if (early_ns > 0) return early_ns;
  const Result<bool> goes_on = names_ ? StepNames() : StepRows();
  if (!goes_on.ok() || !*goes_on) {
    if (removed_count_ > 0) events->push_back(OrphansRemoved(removed_count_, removed_bytes_));
    EndRound(kRoundPauseNs);
    if (!goes_on.ok()) return goes_on.status();
    return kRoundPauseNs;
  }
  next_step_ns_ = clock_->MonotonicNs() + kStepPauseNs;
  return kStepPauseNs;
}

void OrphanSweep::Restart() { EndRound(first_pause_ns_); }

void OrphanSweep::EndRound(int64_t pause_ns) {
  position_ = 0;
  std::vector<uint64_t>().swap(known_);
  names_.reset();
  removed_count_ = 0;
  removed_bytes_ = 0;
  next_step_ns_ = clock_->MonotonicNs() + pause_ns;
}

Result<bool> OrphanSweep::StepRows() {
  BARCACHE_ASSIGN_OR_RETURN(const auto paths,
                            tier_->catalog()->NextPaths(&position_, kStepEntries));
  for (const std::string& path : paths) known_.push_back(HashOf(path));
  if (!paths.empty()) return true;
  std::sort(known_.begin(), known_.end());
  BARCACHE_ASSIGN_OR_RETURN(names_, tier_->directory().OpenStream());
  return true;
}

Result<bool> OrphanSweep::StepNames() {
  for (int64_t i = 0; i < kStepEntries; ++i) {
    BARCACHE_ASSIGN_OR_RETURN(const auto name, names_->Next());
    if (!name) return false;
    if (!MayBeOrphan(*name)) continue;
    if (std::binary_search(known_.begin(), known_.end(), HashOf(*name))) continue;
    BARCACHE_RETURN_IF_ERROR(LookAt(*name));
  }
  return true;
}

Status OrphanSweep::LookAt(const std::string& name) {
  BARCACHE_ASSIGN_OR_RETURN(const auto info, tier_->directory().Examine(name));
  if (!info || !info->is_regular) return Status();
  const int64_t age_s = clock_->WallSeconds() - info->modified_s;
  if (age_s < kOrphanGraceSeconds && !Mutant("sweep_without_grace")) return Status();
  const Origin origin = OriginOf(tier_->directory(), name, tier_->catalog()->catalog_id());
  if (!origin.unfinished && !origin.key) return Status();
  EventBuffer each;  // One event says it of all.
  BARCACHE_ASSIGN_OR_RETURN(const int64_t size_bytes, tier_->RemoveOrphan(name, origin, &each));
  if (size_bytes < 0) return Status();
  ++removed_count_;
  removed_bytes_ += size_bytes;
  return Status();
}

}  // namespace barcache
