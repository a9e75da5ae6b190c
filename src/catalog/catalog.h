// Catalog: what the cache knows about its entries, in one SQLite database.
//
// Tables, triggers and their meaning: docs/on-disk-format.md. The seven tables of RustyBT keep
// their names, columns and indexes; what barcache adds is in tables named barcache_*, kept in
// step by triggers, so that also another program's writes leave totals, links and the order of
// use right.
//
// Reads run on pooled connections, each as one statement. Writes go through a CatalogWriter:
// one at a time in the process and, by a lock on the epochs file, among barcache's processes.
//
// Coherence: every key belongs to a bucket with a change counter in a file mapped by all
// processes. A reader remembers the counter from before it looked; while it stands unchanged
// (and even) what was read still holds for all writes made through barcache. Writes of other
// programs are noticed by CheckForeignWrites.
//
// Thread safety: all methods may be called from any thread. A CatalogWriter belongs to the
// thread that made it.
// Errors: kBusy after busy_timeout_ms; kReadOnly; kIo/kNoSpace; kCatalogCorrupt when SQLite finds
// the file damaged; kNotACatalog; kUnsupportedCatalog. Every message names the database.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "barcache/options.h"
#include "barcache/stats.h"
#include "barcache/status.h"
#include "base/clock.h"
#include "base/process.h"
#include "catalog/ledger_rows.h"

namespace barcache {

struct CatalogOptions {
  std::string db_path;  // ":memory:" for one that lives with this object.
  bool read_only = false;
  bool sync_full = false;  // PRAGMA synchronous=FULL instead of NORMAL.
  int64_t busy_timeout_ms = 30'000;
};

struct CatalogTotals {
  int64_t entry_count = 0;
  int64_t size_bytes = 0;
  int64_t access_count = 0;
  int64_t pinned_count = 0;       // Of CatalogWriter::Totals alone, as the next.
  int64_t pinned_size_bytes = 0;  // Part of size_bytes.
};

// A change counter as seen before a read. An unsettled one (a writer is, or died, in the middle
// of a commit) never compares as unchanged.
struct Epoch {
  uint64_t bucket = 0;
  uint64_t engine = 0;  // Commits made through the SQLAlchemy engine.
  bool settled() const { return (bucket & 1) == 0 && (engine & 1) == 0; }
  friend bool operator==(const Epoch&, const Epoch&) = default;
};

struct NewEntry {
  std::string cache_key;
  int64_t dataset_id = 0;
  std::string parquet_path;
  std::string checksum;
  int64_t size_bytes = 0;
  uint64_t generation = 0;
  std::string request_json;
  int64_t now_s = 0;
  // Seconds that fetching it took; not given: what was known of the key before, else 1.
  std::optional<double> fetch_cost;
};

struct UpsertOutcome {
  // False: a put that began later has already replaced ours (its generation is higher);
  // nothing was changed and the caller removes its own file.
  bool stored = false;
  std::string replaced_path;  // File of the replaced row, "" if there was none.
};

// A use of an entry that was counted in memory and is now written.
struct Touch {
  std::string cache_key;
  int64_t count = 0;       // Added to access_count.
  int64_t accessed_s = 0;  // last_accessed becomes the larger of the two.
};

struct Victim {
  std::string cache_key;
  std::string parquet_path;
  int64_t size_bytes = 0;
  int64_t last_accessed = 0;
  double priority = 0.0;  // As set by SetPriority.
};

// An entry whose place in an order that is computed outside has to be set.
struct RankInput {
  int64_t use_order = 0;  // Names the entry within the transaction.
  int64_t access_count = 0;
  int64_t size_bytes = 0;
  double fetch_cost = 1.0;
  bool is_named = false;   // EntriesToQueue: it is the entry of the key that was given.
  bool was_ghost = false;  // EntriesToQueue: its key was remembered by RememberGhost.
};

// The first in a queue.
struct QueueHead {
  Victim victim;
  int64_t use_order = 0;
  int64_t access_count = 0;
  int64_t counted_uses = 0;  // As given to Enqueue.
};

struct QueueTotals {
  int64_t small_bytes = 0;  // Everything that is not in queue 1.
  int64_t main_bytes = 0;   // Queue 1.
  bool started = false;     // FinishQueueing was called once.
};

// The orders in which the catalog can offer entries, each by an index.
enum class VictimOrder {
  kLeastRecentlyUsed,  // By order of use (a counter, not a clock).
  kLargest,            // By size, ties by order of use.
  kLargestOfOldHalf,   // Among the less recently used half by count: by size, then use.
  kLowestPriority,     // By the number of SetPriority, then use; entries without one are left out.
};

struct DailyStatistics {
  int64_t stat_date = 0;  // 00:00 UTC of the day.
  int64_t hit_count = 0;
  int64_t miss_count = 0;
  double total_size_mb = 0.0;
};

struct BacktestLink {
  std::string backtest_id;
  std::string cache_key;
  int64_t linked_at = 0;
};

// What somebody does at present, so that others need not do it too; or how it failed.
struct LeaseRow {
  std::string name;   // Of the flight.
  std::string token;  // Names this holding of it: 32 hex letters.
  ProcessIdentity holder;
  int64_t expires_ns = 0;                 // Wall clock.
  std::optional<std::string> error_type;  // Set: it failed, and the row only says how.
  std::string error_message;
};

struct DatasetRow {
  int64_t dataset_id = 0;
  bool is_new = false;
};

class Catalog;

// One write transaction (BEGIN IMMEDIATE). Destruction without Commit rolls back.
// After a failed call the only useful thing left is to destroy it.
class CatalogWriter {
 public:
  ~CatalogWriter();
  CatalogWriter(CatalogWriter&&) noexcept;
  CatalogWriter(const CatalogWriter&) = delete;
  CatalogWriter& operator=(const CatalogWriter&) = delete;

  // Inserts or replaces the row of entry.cache_key. A replacement keeps created_at, access_count
  // and links; a fresh row starts with access_count 1 and no links.
  Result<UpsertOutcome> Upsert(const NewEntry& entry);

  // Links a key to a backtest once (linked_at stays that of the first). Ok and no effect when
  // the key has no row; of a segment that was merged, its heir is linked. Returns whether a row was
  // added.
  Result<bool> Link(std::string_view backtest_id, std::string_view cache_key, int64_t now_s);

  // An entry is about to take the place of another: hands on its links, counted uses, cost and pin.
  // Both have a row.
  Status PassOn(std::string_view from_key, std::string_view to_key);
  // The entry that took the place of a segment that is gone: its request names the segment among
  // those it was "merged_from". "": there is none.
  Result<std::string> HeirOf(std::string_view segment_key);

  // Removes the row (and by trigger its links and side row). nullopt: there was none.
  Result<std::optional<Victim>> Erase(std::string_view cache_key);
  // Removes it only while path and checksum are still these. Returns whether it did.
  Result<bool> EraseIf(std::string_view cache_key, std::string_view parquet_path,
                       std::string_view checksum);
  // Removes the entries linked to the backtest, or only those that no other backtest uses; the
  // links of this backtest go in any case. Returns what was removed.
  Result<std::vector<Victim>> EraseBacktest(std::string_view backtest_id, bool keep_shared);
  // Removes all entries, links and the ledger. Statistics stay.
  Result<std::vector<Victim>> EraseAll();
  // Removes entries last used before `before_s`.
  Result<std::vector<Victim>> EraseUnusedSince(int64_t before_s);

  // Pins keep an entry out of every order below; a replacement keeps the pin, a removal by whoever
  // ends it. Each returns whether it changed something; a key without a row is false.
  Result<bool> Pin(std::string_view cache_key);
  // The entry then counts as just used.
  Result<bool> Unpin(std::string_view cache_key);
  // The size of the entry if it is pinned, else 0.
  Result<int64_t> PinnedSizeOf(std::string_view cache_key);

  // The next `limit` entries in `order`, none of them `except_key` or pinned.
  Result<std::vector<Victim>> Candidates(VictimOrder order, int64_t limit,
                                         std::string_view except_key);

  // Orders that a policy computes. Nothing of them is written while no such policy evicts: what
  // was put or used since is found, once, by its order of use.
  //
  // Priorities. Those put or used since FinishRanking, least recently used first.
  Result<std::vector<RankInput>> EntriesToRank();
  Status SetPriority(int64_t use_order, double priority);
  Result<double> Inflation();  // As given to FinishRanking.
  // All entries have their priority.
  Status FinishRanking(double inflation);

  // Queues 0 and 1, first in, first out. Those put since FinishQueueing, oldest put first.
  Result<std::vector<RankInput>> EntriesToQueue(std::string_view named_key);
  // Puts an entry at the end of a queue, out of the one it was in.
  Status Enqueue(int64_t use_order, int queue, int64_t counted_uses);
  // All entries are in a queue.
  Status FinishQueueing();
  Result<QueueTotals> ReadQueueTotals();
  // The first in the queue that is not `except_key`.
  Result<std::optional<QueueHead>> HeadOf(int queue, std::string_view except_key);
  // Ghosts: keys of evicted entries, the oldest forgotten while their sizes exceed limit_bytes.
  Status RememberGhost(std::string_view cache_key, int64_t size_bytes, int64_t limit_bytes);
  Status ForgetGhostOf(int64_t use_order);

  // Applies touches in the order given: the last is the most recently used.
  Status ApplyTouches(const std::vector<Touch>& touches);

  Result<CatalogTotals> Totals();

  // Adds to the day's row, making it if missing, and sets its total_size_mb.
  Status AddDailyStatistics(const DailyStatistics& delta);
  Result<std::optional<DailyStatistics>> ReadDailyStatistics(int64_t stat_date);

  // The oldest row of `datasets` with that source and resolution; made if there is none.
  Result<DatasetRow> FindOrAddDataset(std::string_view source, std::string_view resolution,
                                      int64_t now_s);

  // Leases (docs/concurrency.md). All rows of the name: at most one of them without an error.
  Result<std::vector<LeaseRow>> Leases(std::string_view name);
  Status AddLease(const LeaseRow& row);
  // Each returns whether the row was there, held and not failed.
  Result<bool> RenewLease(std::string_view name, std::string_view token, int64_t expires_ns);
  Result<bool> EndLease(std::string_view name, std::string_view token);
  // The row goes on to say how it failed, until expires_ns.
  Result<bool> FailLease(const LeaseRow& row);
  // Forgets what expired before that moment.
  Status DropLeasesBefore(int64_t expires_ns);
  // The ledger. Rows of coverage are those of one series, by begin; a segment is an entry.
  // Inserts the series, or gives it another schema unless that is "".
  Status StoreSeries(const SeriesRow& series);
  Result<std::vector<CoverageRow>> CoverageOf(std::string_view series_key);
  Status DropCoverage(std::string_view series_key, int64_t begin_ns);
  Status AddCoverage(std::string_view series_key, const CoverageRow& row);
  Result<bool> HasEntry(std::string_view cache_key);

  // Recounts totals and side rows from cache_entries. Returns whether anything differed.
  Result<bool> RebuildSideTables();

  // What Catalog::EpochOf will say for the key once this transaction, as it stands now, has been
  // committed, if nobody else writes. To be asked before Commit.
  Epoch EpochAfterCommit(std::string_view cache_key) const;

  // Makes everything since Begin visible and (as the options say) durable, and moves the change
  // counters of all keys whose rows were stored or erased (counted uses and links move none).
  // On error nothing happened. Either way the transaction is over, `tell` hears whether it was
  // committed, and then the next writer may begin, or a fork happen.
  Status Commit(const std::function<void(bool committed)>& tell = {});

 private:
  friend class Catalog;
  struct State;
  explicit CatalogWriter(std::unique_ptr<State> state);
  Status CommitTransaction();
  Status DropDeadLinks(std::string_view cache_key);
  Status StoreSideRow(const NewEntry& entry, bool present);
  Result<std::vector<Victim>> EraseListed(std::vector<Victim> victims);
  std::unique_ptr<State> state_;
};

class Catalog {
 public:
  static Result<std::unique_ptr<Catalog>> Open(const CatalogOptions& options, const Clock* clock);
  ~Catalog();
  Catalog(const Catalog&) = delete;
  Catalog& operator=(const Catalog&) = delete;

  // --- coherence -------------------------------------------------------------------------
  // A few nanoseconds: two loads.
  Epoch EpochOf(std::string_view cache_key) const;
  // Number of times that a write not announced by an epoch was noticed. Looks at the database
  // (PRAGMA data_version) at most every 0.5 s, else compares a clock: tens of nanoseconds.
  uint64_t ForeignWrites();
  // Called around a commit of the SQLAlchemy engine.
  void BeginEngineCommit();
  void EndEngineCommit();

  // --- reads -----------------------------------------------------------------------------
  Result<std::optional<EntryInfo>> Find(std::string_view cache_key);
  // The same for somebody who is about to write: over the writing connection if that is free. It
  // holds in memory what this process wrote last, which the others read anew after each commit.
  Result<std::optional<EntryInfo>> FindBeforeWrite(std::string_view cache_key);
  Result<std::vector<EntryInfo>> Entries();  // Ordered by key.
  // The paths of at most `count` rows, in an order of the table's own, from where `*position` (0 at
  // first) stands, which moves on. Empty: that was all.
  Result<std::vector<std::string>> NextPaths(int64_t* position, int64_t count);
  // Only live links: those not older than their row.
  Result<std::vector<std::string>> BacktestsOf(std::string_view cache_key);
  Result<std::vector<std::string>> KeysOf(std::string_view backtest_id);
  Result<std::vector<std::string>> PinnedKeys();  // In order.
  Result<CatalogTotals> Totals();
  // Days with from_s <= stat_date <= to_s, oldest first.
  Result<std::vector<DailyStatistics>> DailyBetween(int64_t from_s, int64_t to_s);
  // The id of the dataset, as FindOrAddDataset would return it.
  Result<std::optional<int64_t>> FindDataset(std::string_view source, std::string_view resolution);
  Result<std::vector<LeaseRow>> Leases(std::string_view name);
  // Moves with each lease of that name that ends or fails (and with some other commits).
  Epoch EpochOfLease(std::string_view name) const;
  // A series of the ledger with its coverage; nullopt: nothing was ever asked of it.
  Result<std::optional<StoredSeries>> FindSeries(std::string_view series_key);
  Result<std::vector<StoredSeries>> AllSeries();
  // SQLite's quick_check: empty when sound, else its first findings.
  Result<std::vector<std::string>> QuickCheck();

  // --- writes ----------------------------------------------------------------------------
  Result<CatalogWriter> BeginWrite();

  // Moves the write-ahead log into the database (PASSIVE), while every writer is kept out.
  // Returns Ok without doing anything when the log is short, or somebody is busy.
  Status CheckpointIfNeeded();
  // Whether the log is so long that a checkpoint should not wait. Costs two loads.
  bool IsLogLong() const;

  // --- identity --------------------------------------------------------------------------
  const std::string& catalog_id() const;  // 32 hex: in barcache_meta and in every footer.
  bool read_only() const;
  // What another connection of the same SQLite copy opens: a path, or for ":memory:" a URI
  // (file:/...?vfs=memdb).
  std::string connection_target() const;
  static const char* sqlite_version();

  // Closes every connection, waiting for running queries. The last to leave, in any process, moves
  // the write-ahead log into the database, so that a medium that becomes read-only needs none.
  // Best effort: what stays in the log is as safe there. Later calls open anew.
  void Close();

  // --- fork ------------------------------------------------------------------------------
  // Before: waits for running calls, takes all locks, closes every connection (a ":memory:"
  // catalog stays open). After, in both processes: releases the locks; connections are
  // reopened on first use.
  void BeforeFork();
  void AfterFork(bool in_child);

 private:
  friend class CatalogWriter;
  struct Impl;
  explicit Catalog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace barcache
