#include "cold/cold_tier.h"

#include <algorithm>
#include <new>
#include <utility>

#include "barcache/cache_key.h"
#include "base/failpoint.h"
#include "base/sha256.h"
#include "cold/cold_events.h"
#include "cold/verification.h"

namespace barcache {

ColdTier::ColdTier(const CacheOptions& options, Directory directory, Catalog* catalog,
                   const Clock* clock)
    : options_(options), directory_(std::move(directory)), catalog_(catalog), clock_(clock) {}

Result<std::unique_ptr<ColdTier>> ColdTier::Open(const CacheOptions& options, Catalog* catalog,
                                                 const Clock* clock) {
  BARCACHE_ASSIGN_OR_RETURN(Directory directory,
                            Directory::Open(options.cache_directory, options.read_only));
  return std::unique_ptr<ColdTier>(new ColdTier(options, std::move(directory), catalog, clock));
}

Result<std::optional<ColdHit>> ColdTier::Read(std::string_view cache_key,
                                              const std::vector<std::string>* columns,
                                              EventBuffer* events) {
  // A replacement by somebody else may unlink the file between row and read: then the row has
  // changed and the read starts over. Each turn needs another replacement, so a few suffice.
  constexpr int kMaxTurns = 16;
  for (int turn = 0; turn < kMaxTurns; ++turn) {
    const Epoch epoch = catalog_->EpochOf(cache_key);
    auto found = catalog_->Find(cache_key);
    if (!found.ok()) {
      events->push_back(CatalogUnreadable(cache_key, found.status()));
      return std::optional<ColdHit>();
    }
    if (!found->has_value()) return std::optional<ColdHit>();
    EntryInfo entry = std::move(**found);

    Verified verified = Verify(entry, columns);
    if (verified.verdict == Verdict::kGood) {
      return std::optional<ColdHit>(
          ColdHit{std::move(verified.frame), std::move(entry), epoch, verified.stamp_generation});
    }
    if (verified.verdict == Verdict::kNoSuchColumn) return verified.status;

    auto again = catalog_->Find(cache_key);
    if (again.ok() && (!again->has_value() || (*again)->parquet_path != entry.parquet_path ||
                       (*again)->checksum != entry.checksum)) {
      continue;
    }
    events->push_back(VerificationFailed(entry, verified));
    if (verified.drops()) Drop(entry, verified.verdict, events);
    return std::optional<ColdHit>();
  }
  return std::optional<ColdHit>();
}

Verified ColdTier::Verify(const EntryInfo& entry, const std::vector<std::string>* columns) const {
  Verified result;
  if (!IsConfinedName(entry.parquet_path)) {
    result.verdict = Verdict::kNotConfined;
    return result;
  }
  auto file = directory_.ReadFile(entry.parquet_path, std::max<int64_t>(entry.size_bytes, 0));
  if (!file.ok()) {
    result.verdict = file.status().code() == ErrorCode::kOverBudget ? Verdict::kWrongBytes
                                                                    : Verdict::kUnreadable;
    result.status = file.status();
    return result;
  }
  if (!file->has_value()) {
    result.verdict = Verdict::kMissing;
    return result;
  }
  return VerifyBytes(entry, (*file)->bytes(), options_.decode_budget_bytes, columns);
}

void ColdTier::Drop(const EntryInfo& entry, Verdict verdict, EventBuffer* events) {
  if (options_.read_only || Mutant("no_drop")) return;
  // Best effort: a get never fails for what is on disk. What cannot be dropped now is met again
  // by the next read.
  auto writer = catalog_->BeginWrite();
  if (!writer.ok()) return;
  auto erased = writer->EraseIf(entry.cache_key, entry.parquet_path, entry.checksum);
  if (!erased.ok() || !*erased || !writer->Commit().ok()) return;
  // A file that belongs to another key (a swapped row) is that key's business.
  if (verdict == Verdict::kWrongBytes || verdict == Verdict::kUndecodable) {
    UnlinkOwned(entry.cache_key, entry.parquet_path, events);
  }
}

uint64_t ColdTier::NextGeneration(uint64_t standing_generation) {
  const int64_t now_ns = clock_->WallNs();
  uint64_t last = last_generation_.load();
  uint64_t next = 0;
  do {
    next = std::max(
        {static_cast<uint64_t>(std::max<int64_t>(now_ns, 1)), last + 1, standing_generation + 1});
  } while (!last_generation_.compare_exchange_weak(last, next));
  return next;
}

void ColdTier::KeepInheritedFiles() { inherited_before_ = NextGeneration(0); }

Result<bool> ColdTier::Erase(std::string_view cache_key, EventBuffer* events) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  BARCACHE_ASSIGN_OR_RETURN(auto victim, writer.Erase(cache_key));
  if (!victim) return false;
  BARCACHE_RETURN_IF_ERROR(writer.Commit());
  UnlinkOwned(victim->cache_key, victim->parquet_path, events);
  return true;
}

Result<std::vector<std::string>> ColdTier::EraseBacktest(std::string_view backtest_id,
                                                         bool keep_shared, EventBuffer* events) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  BARCACHE_ASSIGN_OR_RETURN(auto victims, writer.EraseBacktest(backtest_id, keep_shared));
  BARCACHE_RETURN_IF_ERROR(writer.Commit());
  return Unlink(victims, events);
}

Result<std::vector<std::string>> ColdTier::EraseAll(EventBuffer* events) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  BARCACHE_ASSIGN_OR_RETURN(auto victims, writer.EraseAll());
  BARCACHE_RETURN_IF_ERROR(writer.Commit());
  return Unlink(victims, events);
}

Result<std::vector<std::string>> ColdTier::EraseUnusedSince(int64_t before_s, EventBuffer* events) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  BARCACHE_ASSIGN_OR_RETURN(auto victims, writer.EraseUnusedSince(before_s));
  BARCACHE_RETURN_IF_ERROR(writer.Commit());
  return Unlink(victims, events);
}

std::vector<std::string> ColdTier::Unlink(const std::vector<Victim>& victims,
                                          EventBuffer* events) const {
  for (const Victim& victim : victims) {
    UnlinkOwned(victim.cache_key, victim.parquet_path, events);
  }
  std::vector<std::string> keys;
  keys.reserve(victims.size());
  for (const Victim& victim : victims) keys.push_back(victim.cache_key);
  return keys;
}

void ColdTier::UnlinkOwned(const std::string& cache_key, const std::string& path,
                           EventBuffer* events) const {
  try {
    if (!FileBelongsToKey(cache_key, path)) return;
    if (const uint64_t inherited_before = inherited_before_; inherited_before != 0) {
      EntryFileNameParts parts;
      if (!ParseEntryFileName(path, &parts) || parts.generation < inherited_before) return;
    }
    if (directory_.RemoveFile(path).ok()) events->push_back(FileDeleted(cache_key, path));
  } catch (const std::bad_alloc&) {  // The row is gone: what its file is now, goes by itself.
  }
}

}  // namespace barcache
