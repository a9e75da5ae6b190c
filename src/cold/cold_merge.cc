// ColdTier: one entry in the place of several.

#include <utility>

#include "base/failpoint.h"
#include "cold/cold_tier.h"
#include "cold/evict_rows.h"
#include "cold/touches_once.h"
#include "cold/unnamed_files.h"

namespace barcache {

Result<MergeOutcome> ColdTier::CommitMerge(const MergeRequest& request, const NewEntry& entry,
                                           const WriteLimits& limits, UnnamedFiles* files,
                                           EventBuffer* events) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  TouchesOnce touches(limits.touches);
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
  const Status committed = writer.Commit([&](bool written) { touches.Settle(written); });
  if (committed.ok()) files->Keep();
  BARCACHE_RETURN_IF_ERROR(committed);
  for (const EntryInfo& input : request.inputs) {
    UnlinkOwned(input.cache_key, input.parquet_path, events);
  }
  MergeOutcome outcome{true, entry.size_bytes, Unlink(eviction.victims, events)};
  for (const EntryInfo& input : request.inputs) outcome.gone_keys.push_back(input.cache_key);
  return outcome;
}

Result<MergeOutcome> ColdTier::Merge(const MergeRequest& request, const WriteLimits& limits,
                                     EventBuffer* events) {
  std::vector<NewEntry> entries(1);
  UnnamedFiles files(directory_, entries);
  BARCACHE_ASSIGN_OR_RETURN(
      entries[0], WriteEntryFile(request.written, NextGeneration(0), limits.capacity_bytes));
  if (entries[0].parquet_path.empty()) return MergeOutcome{};
  Failpoint("merge.written");
  return CommitMerge(request, entries[0], limits, &files, events);
}

}  // namespace barcache
