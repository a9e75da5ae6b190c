// ColdTier: frames as verified Parquet files with a row each.
//
// Order of effects. Write: file under a name of its own -> one transaction for the row -> unlink
// the replaced file. Removal: row -> unlink. A kill between two steps leaves at worst a file
// without a row, which Check finds; never a row that yields wrong bytes.
//
// Read: row -> one read of the whole file -> SHA-256 of that buffer -> decode that same buffer ->
// compare the footer's key and generation with the row. Wrong bytes, a wrong key or a missing
// file drop the entry, but only if the row, looked up once more, is still the one that was read.
//
// Thread safety: all methods may be called from any thread; no lock is held across Parquet I/O.
// Errors: of Write, Erase and Check as in barcache/status.h. Read never fails for what is on disk:
// the outcome is a value.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "barcache/frame.h"
#include "barcache/options.h"
#include "barcache/stats.h"
#include "barcache/status.h"
#include "base/clock.h"
#include "base/event.h"
#include "base/file_system.h"
#include "catalog/catalog.h"

namespace barcache {

// Uses counted in memory and not yet written. Victims are chosen only after these are applied,
// inside the same transaction; only then are they taken at all.
class PendingTouches {
 public:
  virtual ~PendingTouches() = default;
  // Hands over what is pending, oldest use first. Called with the catalog's writer lock held.
  virtual std::vector<Touch> Take() = 0;
  // Says what became of the last Take: written, or to be kept for later. Called while that lock is
  // still held: the next Take would hand over the same again.
  virtual void Settle(bool written) = 0;
};

struct ColdHit {
  Frame frame;
  EntryInfo entry;
  Epoch epoch;  // Seen before the row was read.
  // By the file itself, which says it also where the row lost its own; 0: RustyBT wrote it.
  uint64_t stamp_generation = 0;
};

class ColdScan;      // cold/cold_scan.h
class UnnamedFiles;  // cold/unnamed_files.h
struct Origin;       // cold/orphan.h

// A scan, and a frame of its exact schema without rows.
struct ColdScanHit {
  std::shared_ptr<const ColdScan> scan;
  Frame frame;
  Epoch epoch;                    // As in ColdHit.
  uint64_t stamp_generation = 0;  // Likewise.
};

struct WriteRequest {
  std::string_view cache_key;
  const Frame* frame = nullptr;
  int64_t dataset_id = 0;
  std::string_view backtest_id;   // "": no link.
  std::string_view request_json;  // "": unknown.
  std::optional<double> fetch_cost_s;
};

// What eviction after a write needs to know.
struct WriteLimits {
  int64_t capacity_bytes = 0;
  EvictionPolicy policy = EvictionPolicy::kLru;
  PendingTouches* touches = nullptr;
};

struct WriteOutcome {
  // False: larger than what pinned entries leave of the capacity; the older entry is gone.
  bool admitted = false;
  bool superseded = false;  // A later put of another writer already stands.
  std::string checksum;
  uint64_t generation = 0;
  int64_t size_bytes = 0;
  Epoch epoch;  // Valid for the hot tier's tag; unsettled: do not keep.
};

enum class Verdict;  // cold/verification.h
struct Verified;

struct WriteOutcomes {
  std::vector<WriteOutcome> outcomes;     // One for each request, in their order.
  std::vector<std::string> evicted_keys;  // To be dropped from the hot tier.
};

// An entry made of others, to be stored in their place.
struct MergeRequest {
  WriteRequest written;
  std::vector<EntryInfo> inputs;  // As their files were read.
  // Called within the transaction, when the new entry has its row and the inputs still have theirs.
  // False: the merge no longer holds.
  std::function<Result<bool>(CatalogWriter*)> record;
};

struct MergeOutcome {
  bool merged = false;
  int64_t size_bytes = 0;
  std::vector<std::string> gone_keys;  // To be dropped from the hot tier.
};

class ColdTier {
 public:
  // REQUIRES: catalog and clock outlive the tier.
  static Result<std::unique_ptr<ColdTier>> Open(const CacheOptions& options, Catalog* catalog,
                                                const Clock* clock);

  // nullopt: a miss (no row, or a row whose file did not verify; see `events`).
  // With `columns`, only these, in that order; kColumnNotFound if the entry lacks one.
  Result<std::optional<ColdHit>> Read(std::string_view cache_key,
                                      const std::vector<std::string>* columns, EventBuffer* events);

  // Opens the entry's file for reads of its own. nullopt: a miss, as with Read.
  Result<std::optional<ColdScanHit>> OpenScan(std::string_view cache_key, EventBuffer* events);

  // Files first, encoded side by side; then all rows in one transaction, as if put one after the
  // other. On error none of them is stored and their files are gone.
  Result<WriteOutcomes> Write(const std::vector<WriteRequest>& requests, const WriteLimits& limits,
                              EventBuffer* events);

  // Its file first; then one transaction that adds its row, has `record` say whether the merge
  // holds, hands links, uses and pins of the inputs on, and removes their rows; then their files.
  // Not merged, and nothing changed: an input is no longer what was read, `record` said no, or the
  // entry is larger than the capacity.
  Result<MergeOutcome> Merge(const MergeRequest& request, const WriteLimits& limits,
                             EventBuffer* events);

  // Returns the keys removed, for the hot tier to drop.
  Result<bool> Erase(std::string_view cache_key, EventBuffer* events);
  Result<std::vector<std::string>> EraseBacktest(std::string_view backtest_id, bool keep_shared,
                                                 EventBuffer* events);
  Result<std::vector<std::string>> EraseAll(EventBuffer* events);
  Result<std::vector<std::string>> EraseUnusedSince(int64_t before_s, EventBuffer* events);

  // Keeps entries from eviction; returns how many were not kept before. kNoSpace: the pinned ones
  // would exceed the capacity; kInvalidArgument: one that must exist does not. Then none is pinned.
  Result<int64_t> Pin(const std::vector<std::string>& keys, bool must_exist,
                      int64_t capacity_bytes);
  Result<int64_t> Unpin(const std::vector<std::string>& keys);

  // Evicts down to the capacity if above it, or until only pinned entries are left.
  Result<std::vector<std::string>> Evict(int64_t capacity_bytes, EvictionPolicy policy,
                                         PendingTouches* touches, EventBuffer* events);

  // Compares every row with its file and every file with its row. With `repair`: drops bad rows,
  // removes orphans older than the grace time, recounts totals.
  Result<CheckReport> Check(bool repair, EventBuffer* events);

  // Removes a file that no row names, if there is none by now and the file is still there; its
  // size, or -1: it stays. Says so in `events`.
  Result<int64_t> RemoveOrphan(const std::string& name, const Origin& origin, EventBuffer* events);

  // A forked child with a catalog of its own (":memory:") must not unlink what its parent still
  // serves: files that existed at this moment are left alone from now on.
  void KeepInheritedFiles();

  const Directory& directory() const { return directory_; }
  Catalog* catalog() const { return catalog_; }

 private:
  ColdTier(const CacheOptions& options, Directory directory, Catalog* catalog, const Clock* clock);
  Verified Verify(const EntryInfo& entry, const std::vector<std::string>* columns) const;
  void Drop(const EntryInfo& entry, Verdict verdict, EventBuffer* events);
  uint64_t NextGeneration(uint64_t standing_generation);
  // Writes the file of one request, under that generation or, if the key's row stands at a later
  // one, a later one still. An entry that is too large keeps an empty path.
  Result<NewEntry> WriteEntryFile(const WriteRequest& request, uint64_t generation,
                                  int64_t capacity_bytes);
  Result<std::vector<NewEntry>> WriteEntryFiles(const std::vector<WriteRequest>& requests,
                                                int64_t capacity_bytes);
  // kIo if the file of a put that took long is gone.
  Status RequireFile(const NewEntry& entry) const;
  Result<WriteOutcomes> Commit(const std::vector<WriteRequest>& requests,
                               const std::vector<NewEntry>& entries, const WriteLimits& limits,
                               UnnamedFiles* files, EventBuffer* events);
  Result<MergeOutcome> CommitMerge(const MergeRequest& request, const NewEntry& entry,
                                   const WriteLimits& limits, UnnamedFiles* files,
                                   EventBuffer* events);
  std::vector<std::string> Unlink(const std::vector<Victim>& victims, EventBuffer* events) const;
  void UnlinkOwned(const std::string& cache_key, const std::string& path,
                   EventBuffer* events) const;
  Status CheckFiles(const std::vector<EntryInfo>& entries, bool repair, CheckReport* report,
                    EventBuffer* events);

  CacheOptions options_;
  Directory directory_;
  Catalog* catalog_;
  const Clock* clock_;
  std::atomic<uint64_t> last_generation_{0};
  std::atomic<uint64_t> inherited_before_{0};  // Generations below belong to the parent.
};

}  // namespace barcache
