// Cache: a two-tier store of market-data frames, shared by many backtests.
//
// A frame is looked up first in the hot tier (memory), then in the cold tier (Snappy Parquet
// files described by a catalog). A cold hit is verified against its SHA-256 before it is
// returned, and is then kept hot.
//
// Thread safety: every method may be called from any thread; none holds a lock while it reads or
//   writes a Parquet file. Several processes may open one directory.
// Ownership: frames are immutable and shared. A frame handed out stays valid after its entry is
//   evicted or cleared and after the cache is closed.
// Errors: a miss is not an error (nullopt). Bad bytes on disk are a counted miss: the entry is
//   dropped. Only what a caller can act on comes back as a Status.
//
// See docs/architecture.md and docs/on-disk-format.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "barcache/cache_key.h"
#include "barcache/flight.h"
#include "barcache/frame.h"
#include "barcache/options.h"
#include "barcache/stats.h"
#include "barcache/status.h"

namespace barcache {

struct Event;     // base/event.h: one line of the log.
class HotTier;    // hot/hot_tier.h
struct HotEntry;  // hot/hot_tier.h
class Catalog;    // catalog/catalog.h
class CatalogWriter;

struct PutOptions {
  int64_t dataset_id = 0;
  std::string backtest_id;   // "": linked to no backtest.
  std::string request_json;  // "": what GenerateKey remembered for this key, if anything.
  // How long fetching it took; not given: what was known of the key before, else 1 second.
  std::optional<double> fetch_cost_s;
};

struct GetOptions {
  std::string_view backtest_id;                       // "": no link.
  const std::vector<std::string>* columns = nullptr;  // nullptr: all.
  bool log_hit = true;     // False: nobody listens at the level of a hit or miss (INFO).
  bool count_miss = true;  // False: a look by somebody whose miss was counted already.
  int64_t begin_ns = 0;    // Of the monotonic clock, for the latency logged; 0: now.
};

// A hit. `entry` is set when the frame is kept hot: its companion may be read, and attached by
// Cache::AttachCompanion.
struct Hit {
  Frame frame;
  std::shared_ptr<void> companion;
  std::shared_ptr<const HotEntry> entry;
  bool hot = false;
};

struct DatasetId {
  int64_t dataset_id = 0;
  bool is_new = false;  // This call made it.
};

// One frame of PutMany.
struct PutItem {
  std::string key;
  Frame frame;
};

// One hit of GetMany: the place of its key in the list asked for, and the frame.
using IndexedHit = std::pair<size_t, Hit>;

// An entry held open by Cache::Scan: each Read reads the file anew, verifies it and decodes only
// the columns asked for. It goes on when the entry is evicted or cleared, or the cache closed.
// Thread safety: Read may be called from any thread.
class FrameScan {
 public:
  virtual ~FrameScan() = default;
  // nullptr: all columns. Errors: kCorruption when the bytes are no longer those that were put;
  // kColumnNotFound for an unknown column; kIo; kOverBudget; kOutOfMemory.
  virtual Result<Frame> Read(const std::vector<std::string>* columns) const = 0;
};

// An entry as it lies on disk.
struct StoredEntry {
  Frame frame;
  EntryInfo info;
};

// One entry in the place of others.
struct Merge {
  PutItem item;        // Under a key of its own.
  PutOptions options;  // Its backtest is not looked at.
  std::vector<EntryInfo> inputs;
  // Called within the transaction that stores it; false: it is not to be stored after all.
  std::function<Result<bool>(CatalogWriter*)> record;
};

struct ScanHit {
  std::shared_ptr<const FrameScan> scan;
  Frame frame;  // The exact schema, without rows. The file's hash was verified.
};

class Cache {
 public:
  using EventSink = std::function<void(const Event&)>;

  // Opens the cache, creating directory and catalog if missing. A catalog that was lost or is
  // damaged, and was barcache's alone, is rebuilt from the files first (event catalog_rebuilt).
  // Errors: kInvalidArgument, kNotACatalog, kUnsupportedCatalog, kCatalogCorrupt (damaged, and not
  // rebuilt: the message says why), kIo, kReadOnly, kBusy.
  static Result<std::unique_ptr<Cache>> Open(const CacheOptions& options, EventSink sink = {});

  // Looks for damage everywhere in the catalog (SQLite's quick_check) and rebuilds it if there is
  // any, one that RustyBT shares too; the old file is kept as `<db>.corrupt-<UTC>`. To be called
  // while no other program than barcache has it open. Returns whether it was rebuilt; false too for
  // a foreign file, which is left alone. Errors: kInvalidArgument (read-only, or in memory),
  // kCatalogCorrupt (it could not be rebuilt), kIo, kBusy, kOutOfMemory.
  static Result<bool> RepairCatalog(const CacheOptions& options, const EventSink& sink = {});

  // Closes as Close does; errors are then only logged.
  ~Cache();
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  // The frame under `key`, or nullopt on a miss. Exactly one of {hot hit, cold hit, miss} is
  // counted. An illegal key is a miss. With columns: kColumnNotFound if the entry lacks one.
  Result<std::optional<Hit>> Get(std::string_view key, const GetOptions& options = {});

  // The hot entry under `key`, if it takes neither I/O nor SQL to serve it: then a hot hit was
  // counted. nullptr: nothing was counted, and Get knows more. Waits for nobody.
  std::shared_ptr<const HotEntry> GetHot(std::string_view key, const GetOptions& options = {});

  // Stores `frame` under `key` in both tiers, replacing any earlier frame, then evicts until each
  // tier is within its capacity. Once it returns Ok the entry survives kill -9; on error the
  // earlier entry, if any, is still there.
  Status Put(std::string_view key, const Frame& frame, const PutOptions& options = {});

  // As Get for each key, read side by side. `ready` is called on this thread with hits as they
  // come, some at a time, in any order; a key without a call was a miss.
  Status GetMany(const std::vector<std::string>& keys, const GetOptions& options,
                 const std::function<void(const std::vector<IndexedHit>&)>& ready);

  // For a caller that keeps frames made of entries: counts a hot hit and a use of each key, as Get
  // does.
  void CountHits(const std::vector<std::string>& keys, std::string_view backtest_id);

  // Opens the entry under `key` for lazy reads. nullopt: a miss. Counted like Get, as a cold hit.
  Result<std::optional<ScanHit>> Scan(std::string_view key, const GetOptions& options = {});

  // As Put for each item in turn, but encoded side by side and stored in one transaction: on
  // error none of them is stored.
  Status PutMany(const std::vector<PutItem>& items, const PutOptions& options = {});

  // For background work; the next three may be called on a thread of one's own, which then destroys
  // no companion, and their events are said at the end of the next call of somebody else.
  //
  // The entry, read from disk and verified. Counts nothing and keeps nothing hot. nullopt: a miss.
  Result<std::optional<StoredEntry>> ReadStored(std::string_view key);
  // Stores an entry in the place of others, in one transaction: their links, uses and pins are
  // handed on to it, and they are gone. Returns its size in bytes; -1, and nothing is changed: one
  // of them is no longer what was read, `record` said no, or there is no room. On error nothing is
  // changed either.
  Result<int64_t> PutInPlaceOf(const Merge& merge);
  void SayLater(Event event);

  // Begins something of that name, or waits for whoever does it: see flight.h. Never waits by
  // itself. Errors: kClosed.
  Result<std::unique_ptr<Flight>> BeginFlight(std::string_view name);
  // The row of `datasets` with that source and resolution, the oldest of several; made once.
  Result<DatasetId> DatasetOf(std::string_view source, std::string_view resolution);
  // Counts a use of an entry, and links it, for a frame that came another way than by Get.
  Status NoteUse(std::string_view key, std::string_view backtest_id);

  // Generates the key and remembers the request, so that a Put of that key can store it.
  Result<std::string> GenerateKey(const DataRequest& request);
  void RememberRequest(std::string_view key, std::string_view request_json);

  // The row, pending uses included.
  Result<std::optional<EntryInfo>> Find(std::string_view key);
  // All rows, ordered by key.
  Result<std::vector<EntryInfo>> Entries();
  Result<int64_t> EntryCount();
  Result<int64_t> TotalSizeBytes();
  Result<std::vector<std::string>> BacktestsOf(std::string_view key);
  Result<std::vector<std::string>> KeysOf(std::string_view backtest_id);

  // Each returns the number of entries removed; an unknown key or backtest is 0, not an error.
  Result<int64_t> Erase(std::string_view key);
  // All entries linked to the backtest; with keep_shared only those no other backtest uses.
  Result<int64_t> EraseBacktest(std::string_view backtest_id, bool keep_shared = false);
  Result<int64_t> EraseUnusedSince(int64_t before_s);
  Result<int64_t> Clear();

  // Pins: entries that no eviction removes from disk, in whichever process; they count against the
  // cold capacity all the same. A replacement keeps the pin; it goes with the entry (Erase, Clear,
  // a file that did not verify, another program's DELETE). A Put whose frame does not fit beside
  // the pinned entries stores nothing, as one that is larger than the capacity.
  // Each returns how many entries changed. Pin: kInvalidArgument without such an entry; both pins:
  // kNoSpace when the pinned entries would exceed the capacity. On error nothing changed.
  Result<int64_t> Pin(std::string_view key);
  // The entries linked to the backtest now; one that is linked later is not pinned.
  Result<int64_t> PinBacktest(std::string_view backtest_id);
  // An entry let go counts as just used.
  Result<int64_t> Unpin(std::string_view key);
  Result<int64_t> UnpinBacktest(std::string_view backtest_id);
  Result<std::vector<std::string>> PinnedKeys();  // In order.

  // Evicts from the cold tier if it is above its capacity. Returns the number of victims.
  Result<int64_t> EvictIfNeeded();
  Result<CheckReport> Check(bool repair);

  // Days are given as Unix seconds within them; nullopt: no bound.
  Result<CacheStatistics> Statistics(std::optional<int64_t> from_s = {},
                                     std::optional<int64_t> to_s = {});
  // Adds what was counted since the last record to today's row (UTC).
  Status RecordDailyStatistics();
  SessionStats session_stats() const;
  void set_session_stats(const SessionStats& stats);

  // Changing a limit or the policy evicts nothing by itself.
  int64_t cold_capacity_bytes() const;
  Status set_cold_capacity_bytes(int64_t bytes);
  EvictionPolicy eviction_policy() const;
  void set_eviction_policy(EvictionPolicy policy);
  std::shared_ptr<HotTier> hot_tier() const;
  void set_hot_tier(std::shared_ptr<HotTier> tier);
  void AttachCompanion(std::string_view key, const Hit& hit, std::shared_ptr<void> companion);

  // Writes pending uses and links now.
  Status Flush();
  // Flushes, records statistics (unless record_on_close is false), closes every handle.
  // Later calls return kClosed; closing twice is Ok.
  Status Close();
  bool closed() const;

  const CacheOptions& options() const;
  Catalog& catalog();

 private:
  class Impl;
  explicit Cache(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace barcache
