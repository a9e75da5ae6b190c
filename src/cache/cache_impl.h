// Cache::Impl: hot tier, cold tier and catalog behind one door. Internal to the cache room.
//
// Locks, in the order in which they are taken: record_mutex_ -> (catalog) -> the leaves
// (pending uses, hot tier, memo, settings_mutex_, deferred_mutex_, flights). Events are collected
// while a call works and handed to the sink at its end, when no lock is held.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "barcache/cache.h"
#include "base/block_pool.h"
#include "base/clock.h"
#include "base/event.h"
#include "base/fork.h"
#include "base/mutex.h"
#include "cache/flight_board.h"
#include "cache/maintainer.h"
#include "cache/miss_memo.h"
#include "cache/newest_memo.h"
#include "cache/pending_uses.h"
#include "cache/request_memo.h"
#include "catalog/catalog.h"
#include "cold/cold_tier.h"
#include "cold/orphan_sweep.h"
#include "hot/hot_tier.h"

namespace barcache {

class Cache::Impl final : public ForkParticipant {
 public:
  Impl(const CacheOptions& options, EventSink sink, std::unique_ptr<Catalog> catalog,
       std::unique_ptr<ColdTier> cold, std::unique_ptr<SystemClock> clock);
  ~Impl();

  Result<std::optional<Hit>> Get(std::string_view key, const GetOptions& options);
  std::shared_ptr<const HotEntry> GetHot(std::string_view key, const GetOptions& options);
  Status Put(std::string_view key, const Frame& frame, const PutOptions& options);
  Status GetMany(const std::vector<std::string>& keys, const GetOptions& options,
                 const std::function<void(const std::vector<IndexedHit>&)>& ready);
  void CountHits(const std::vector<std::string>& keys, std::string_view backtest_id);
  Result<std::optional<ScanHit>> Scan(std::string_view key, const GetOptions& options);
  Status PutMany(const std::vector<PutItem>& items, const PutOptions& options);
  Result<std::optional<StoredEntry>> ReadStored(std::string_view key);
  Result<int64_t> PutInPlaceOf(const Merge& merge);
  Result<std::optional<EntryInfo>> Find(std::string_view key);
  Result<std::vector<EntryInfo>> Entries();
  Result<std::vector<std::string>> BacktestsOf(std::string_view key);
  Result<std::vector<std::string>> KeysOf(std::string_view backtest_id);
  Result<int64_t> Erase(std::string_view key);
  Result<int64_t> EraseBacktest(std::string_view backtest_id, bool keep_shared);
  Result<int64_t> EraseUnusedSince(int64_t before_s);
  Result<int64_t> Clear();
  Result<int64_t> EvictIfNeeded();
  Result<int64_t> Pin(std::string_view key);
  Result<int64_t> PinBacktest(std::string_view backtest_id);
  Result<int64_t> Unpin(std::string_view key);
  Result<int64_t> UnpinBacktest(std::string_view backtest_id);
  Result<std::vector<std::string>> PinnedKeys();
  Result<CheckReport> Check(bool repair);
  Result<CacheStatistics> Statistics(std::optional<int64_t> from_s, std::optional<int64_t> to_s);
  Status RecordDailyStatistics();
  SessionStats session_stats() const;
  void set_session_stats(const SessionStats& stats);
  Result<std::unique_ptr<Flight>> BeginFlight(std::string_view name);
  Result<DatasetId> DatasetOf(std::string_view source, std::string_view resolution);
  Status NoteUse(std::string_view key, std::string_view backtest_id);
  Status Flush();
  Status Close();
  // What is pending, as part of Close.
  Status WriteLast();

  // Says it at the end of the next call.
  void EmitLater(Event event);

  // Ok, or kClosed / kReadOnly with what to do.
  Status RequireOpen() const;
  Status RequireWritable() const;
  std::shared_ptr<HotTier> hot_tier() const;
  void set_hot_tier(std::shared_ptr<HotTier> tier);

  void BeforeFork() override;
  void AfterFork(bool in_child) override;

  const CacheOptions options;
  std::atomic<int64_t> cold_capacity_bytes;
  std::atomic<EvictionPolicy> policy;
  RequestMemo memo;
  std::unique_ptr<Catalog> catalog;
  std::atomic<bool> closed{false};

 private:
  friend class Cache;

  using HotEntryPointer = std::shared_ptr<const HotEntry>;
  // Whether nothing that could concern the entry was written since it was tagged.
  bool Untouched(std::string_view key, const HotTag& tag) const;
  // The entry, if the catalog still says the same of it; else null, and it is gone.
  HotEntryPointer AskCatalog(std::string_view key, const HotEntryPointer& entry, HotTier* tier);
  void CountHotHit(std::string_view key, const HotEntryPointer& entry, const GetOptions& get);
  // The hot tier's answer, after a look at the catalog if need be.
  Result<std::optional<Hit>> LookHot(std::string_view key, const GetOptions& get);
  // What a read of the cold tier found, and what to compare its tag with later.
  struct ColdAnswer {
    std::optional<ColdHit> hit;
    uint64_t foreign_writes = 0;
  };
  // Touches neither counters nor the hot tier: may run on a worker.
  Result<ColdAnswer> ReadCold(std::string_view key, const std::vector<std::string>* columns,
                              EventBuffer* events);
  // Counts the answer and keeps a hit hot.
  std::optional<Hit> Admit(std::string_view key, ColdAnswer answer, const GetOptions& get,
                           EventBuffer* events);
  Status PutCold(const std::vector<PutItem>& items, const PutOptions& put, EventBuffer* events);
  void KeepHot(const PutItem& item, const WriteOutcome& outcome, uint64_t foreign_writes,
               const PutOptions& put, EventBuffer* events);
  Status PutHotOnly(const std::vector<PutItem>& items, EventBuffer* events);
  void CountUse(std::string_view key, std::string_view backtest_id);
  // Drops keys that left the cold tier.
  void Forget(const std::vector<std::string>& keys);
  Status WriteLinks(CatalogWriter* writer, const PendingUses::Links& links);
  Status FlushLinksIfAny();
  void Maintain();
  std::chrono::milliseconds Sweep();
  // Out of the hot tier, to be destroyed at the end of the next call.
  void TakeOut(const std::vector<std::string>& keys);
  void Emit(EventBuffer events);
  Status WriteDailyStatistics(EventBuffer* events);

  // Memory of frames is recycled until Close.
  std::optional<BlockPool::Share> recycled_{std::in_place, options.hot_capacity_bytes};
  const EventSink sink_;
  std::unique_ptr<SystemClock> clock_;
  std::unique_ptr<ColdTier> cold_;
  PendingUses pending_;
  MissMemo known_misses_;
  NewestMemo newest_;
  OrphanSweep sweep_;  // The maintainer's thread alone uses it.
  Maintainer maintainer_;
  FlightBoard flights_;

  std::atomic<int64_t> hot_hits_{0};
  std::atomic<int64_t> cold_hits_{0};
  std::atomic<int64_t> misses_{0};

  mutable Mutex settings_mutex_;
  std::shared_ptr<HotTier> hot_ BARCACHE_GUARDED_BY(settings_mutex_);
  SessionStats session_base_ BARCACHE_GUARDED_BY(settings_mutex_);

  Mutex record_mutex_;
  int64_t recorded_hits_ BARCACHE_GUARDED_BY(record_mutex_) = 0;
  int64_t recorded_misses_ BARCACHE_GUARDED_BY(record_mutex_) = 0;

  // What background threads have to say, and what they took out of the hot tier: they never call
  // the sink themselves, and destroy no companion.
  Mutex deferred_mutex_;
  EventBuffer deferred_ BARCACHE_GUARDED_BY(deferred_mutex_);
  std::vector<HotEntryPointer> taken_out_ BARCACHE_GUARDED_BY(deferred_mutex_);
  std::atomic<bool> has_deferred_{false};
};

// Beside its buffers an entry is charged for its node, key and tag.
inline constexpr int64_t kEntryOverheadBytes = 128;

inline Event KeyEvent(EventLevel level, const char* name, std::string_view key) {
  Event event{level, name, {}};
  event.fields.emplace_back("cache_key", std::string(key));
  return event;
}

// Files are named in megabytes of 1024 * 1024 bytes throughout.
inline double Megabytes(int64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

}  // namespace barcache
