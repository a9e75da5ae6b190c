// ColdTier: one entry in the place of several.

#include <utility>

#include "base/failpoint.h"
#include "cold/cold_tier.h"
#include "cold/evict_rows.h"
#include "cold/touches_once.h"

namespace barcache {

Result<MergeOutcome> ColdTier::CommitMerge(const MergeRequest& request, const NewEntry& entry,
                                           const WriteLimits& limits, EventBuffer* events) {
  TouchesOnce touches(limits.touches);
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  BARCACHE_RETURN_IF_ERROR(RequireFile(entry));
  BARCACHE_ASSIGN_OR_RETURN(const UpsertOutcome upsert, writer.Upsert(entry));
  if (!upsert.stored) return MergeOutcome{};
  BARCACHE_ASSIGN_OR_RETURN(const bool holds, request.record(&writer));
  if (!holds && !Mutant("merge_without_condition")) return MergeOutcome{};
  Failpoint("merge.recorded");
  for (const EntryInfo& input : request.inputs) {
    BARCACHE_RETURN_IF_ERROR(writer.PassOn(input.cache_key, entry.cache_key));
    BARCACHE_ASSIGN_OR_RETURN(const bool erased,
                              writer.EraseIf(input.cache_key, input.parquet_path, input.checksum));
    if (!erased && !Mutant("merge_without_condition")) return MergeOutcome{};
  }
  Failpoint("merge.erased");
  BARCACHE_ASSIGN_OR_RETURN(const Eviction eviction,
                            EvictRows(&writer, {limits.policy, limits.capacity_bytes},
                                      entry.cache_key, &touches, events));
  const Status committed = writer.Commit();
  touches.Settle(committed.ok());
  BARCACHE_RETURN_IF_ERROR(committed);
  MergeOutcome outcome{true, entry.size_bytes, Unlink(eviction.victims, events)};
  for (const EntryInfo& input : request.inputs) {
    UnlinkOwned(input.cache_key, input.parquet_path, events);
    outcome.gone_keys.push_back(input.cache_key);
  }
  return outcome;
}

Result<MergeOutcome> ColdTier::Merge(const MergeRequest& request, const WriteLimits& limits,
                                     EventBuffer* events) {
  BARCACHE_ASSIGN_OR_RETURN(const NewEntry entry, WriteEntryFile(request.written, NextGeneration(0),
                                                                 limits.capacity_bytes));
  if (entry.parquet_path.empty()) return MergeOutcome{};
  Failpoint("merge.written");
  auto outcome = CommitMerge(request, entry, limits, events);
  if (!outcome.ok() || !outcome->merged) RemoveFilesOf({entry});
  return outcome;
}

}  // namespace barcache
