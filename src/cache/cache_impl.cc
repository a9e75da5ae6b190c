#include "cache/cache_impl.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "barcache/cache_key.h"

namespace barcache {
namespace {

constexpr std::chrono::milliseconds kFlushDelay{500};
// Beside its buffers an entry is charged for its node, key and tag.
constexpr int64_t kEntryOverheadBytes = 128;

// RustyBT's field is a number of milliseconds with two decimals.
double LatencyMs(int64_t begin_ns, int64_t end_ns) {
  return std::round(static_cast<double>(end_ns - begin_ns) / 1e4) / 100.0;
}

Event KeyEvent(EventLevel level, const char* name, std::string_view key) {
  Event event{level, name, {}};
  event.fields.emplace_back("cache_key", std::string(key));
  return event;
}

}  // namespace

Cache::Impl::Impl(const CacheOptions& cache_options, EventSink sink,
                  std::unique_ptr<Catalog> open_catalog, std::unique_ptr<ColdTier> cold,
                  std::unique_ptr<SystemClock> clock)
    : options(cache_options),
      cold_capacity_bytes(cache_options.cold_capacity_bytes),
      policy(cache_options.eviction_policy),
      catalog(std::move(open_catalog)),
      sink_(std::move(sink)),
      clock_(std::move(clock)),
      cold_(std::move(cold)),
      maintainer_([this] { Maintain(); }, kFlushDelay),
      hot_(std::make_shared<HotTier>(cache_options.hot_capacity_bytes)) {
  JoinForks();
}

Cache::Impl::~Impl() {
  const Status closing = Close();
  if (!closing.ok()) {
    Event event{EventLevel::kError, "cache_close_failed", {}};
    event.fields.emplace_back("error", closing.message());
    Emit({std::move(event)});
  }
  LeaveForks();
}

Status Cache::Impl::RequireOpen() const {
  if (!closed) return Status();
  return Status(ErrorCode::kClosed, "the cache of " + options.db_path +
                                        " was closed: open a new CacheManager to go on");
}

Status Cache::Impl::RequireWritable() const {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  if (!options.read_only) return Status();
  return Status(ErrorCode::kReadOnly, "the cache of " + options.db_path +
                                          " was opened with read_only=True: open it without to "
                                          "store or remove anything");
}

std::shared_ptr<HotTier> Cache::Impl::hot_tier() const {
  const MutexLock lock(settings_mutex_);
  return hot_;
}

void Cache::Impl::set_hot_tier(std::shared_ptr<HotTier> tier) {
  const MutexLock lock(settings_mutex_);
  hot_.swap(tier);
}

bool Cache::Impl::Untouched(std::string_view key, const HotTag& tag) const {
  const Epoch now = catalog->EpochOf(key);
  return now.settled() && now.bucket == tag.bucket_epoch && now.engine == tag.engine_epoch &&
         catalog->ForeignWrites() == tag.foreign_writes;
}

Cache::Impl::HotEntryPointer Cache::Impl::AskCatalog(std::string_view key,
                                                     const HotEntryPointer& entry, HotTier* tier) {
  HotTag tag = entry->tag;
  tag.foreign_writes = catalog->ForeignWrites();
  const Epoch now = catalog->EpochOf(key);
  auto row = catalog->Find(key);
  if (!row.ok()) return nullptr;  // Nothing is known: the cold path will say why.
  const bool backed = !tag.checksum.empty();
  const bool holds = backed ? row->has_value() && (*row)->checksum == tag.checksum &&
                                  (*row)->generation == tag.generation
                            : !row->has_value();
  if (!holds) {
    tier->Erase(key);
    return nullptr;
  }
  tag.bucket_epoch = now.bucket;
  tag.engine_epoch = now.engine;
  auto kept = tier->Retag(key, entry, std::move(tag));
  return kept == nullptr ? entry : kept;  // Already gone from the tier, and still true.
}

void Cache::Impl::CountUse(std::string_view key, std::string_view backtest_id) {
  if (options.read_only) return;
  pending_.RecordTouch(key, clock_->WallSeconds());
  if (!backtest_id.empty()) pending_.RecordLink(backtest_id, key);
  maintainer_.Nudge();
}

void Cache::Impl::CountHotHit(std::string_view key, const HotEntryPointer& entry,
                              const GetOptions& get) {
  hot_hits_.fetch_add(1, std::memory_order_relaxed);
  if (!options.read_only) {
    const int64_t now_s = clock_->CoarseWallNs() / 1'000'000'000;
    if (entry->uses != nullptr) {
      pending_.RecordHotTouch(key, entry->uses, now_s);
    } else {
      pending_.RecordTouch(key, now_s);
    }
    if (!get.backtest_id.empty()) pending_.RecordLink(get.backtest_id, key);
    maintainer_.Nudge();
  }
  if (get.log_hit && sink_) {
    Event event = KeyEvent(EventLevel::kInfo, "cache_hit_hot", key);
    event.fields.emplace_back("latency_ms", LatencyMs(get.begin_ns, clock_->MonotonicNs()));
    Emit({KeyEvent(EventLevel::kDebug, "hot_cache_hit", key), std::move(event)});
  }
}

std::shared_ptr<const HotEntry> Cache::Impl::GetHot(std::string_view key, const GetOptions& get) {
  if (closed.load(std::memory_order_relaxed) || get.columns != nullptr) return nullptr;
  const std::shared_ptr<HotTier> tier = hot_tier();
  HotEntryPointer entry = tier->Lookup(key);
  if (entry == nullptr || !Untouched(key, entry->tag)) return nullptr;
  CountHotHit(key, entry, get);
  return entry;
}

Result<std::optional<Hit>> Cache::Impl::Get(std::string_view key, const GetOptions& options) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  GetOptions get = options;
  if (get.log_hit && get.begin_ns == 0) get.begin_ns = clock_->MonotonicNs();
  if (get.columns == nullptr) {
    const std::shared_ptr<HotTier> tier = hot_tier();
    HotEntryPointer entry = tier->Lookup(key);
    if (entry != nullptr && !Untouched(key, entry->tag)) entry = AskCatalog(key, entry, tier.get());
    if (entry != nullptr) {
      CountHotHit(key, entry, get);
      return std::optional<Hit>(Hit{entry->frame, entry->companion, entry, true});
    }
  }
  EventBuffer events;
  auto hit = ColdHitOrMiss(key, get, &events);
  if (get.log_hit && sink_ && hit.ok() && hit->has_value()) {
    Event event = KeyEvent(EventLevel::kInfo, "cache_hit_cold", key);
    event.fields.emplace_back("latency_ms", LatencyMs(get.begin_ns, clock_->MonotonicNs()));
    events.push_back(std::move(event));
  }
  Emit(std::move(events));
  return hit;
}

Result<std::optional<Hit>> Cache::Impl::ColdHitOrMiss(std::string_view key, const GetOptions& get,
                                                      EventBuffer* events) {
  const uint64_t foreign_writes = catalog->ForeignWrites();
  const MissMemo::Seen seen{catalog->EpochOf(key), foreign_writes};
  std::optional<ColdHit> cold;
  if (!known_misses_.Knows(key, seen) && ValidateCacheKey(key).ok()) {
    const size_t events_before = events->size();
    BARCACHE_ASSIGN_OR_RETURN(cold, cold_->Read(key, get.columns, events));
    // A read that had something to say did find a row: that is no plain miss.
    if (!cold && events->size() == events_before) known_misses_.Remember(key, seen);
  }
  if (!cold) {
    ++misses_;
    if (get.log_hit) events->push_back(KeyEvent(EventLevel::kInfo, "cache_miss", key));
    return std::optional<Hit>();
  }
  ++cold_hits_;
  CountUse(key, get.backtest_id);
  Hit hit;
  hit.frame = cold->frame;
  if (get.columns != nullptr) return std::optional<Hit>(std::move(hit));

  HotEntry entry;
  entry.uses = std::make_shared<UseCounter>();
  entry.frame = std::move(cold->frame);
  entry.charge_bytes = entry.frame.size_bytes() + kEntryOverheadBytes;
  entry.tag = HotTag{cold->epoch.bucket, cold->epoch.engine, foreign_writes, cold->entry.generation,
                     cold->entry.checksum};
  const std::shared_ptr<HotTier> tier = hot_tier();
  if (tier->Insert(key, std::move(entry), events)) hit.entry = tier->Peek(key);
  return std::optional<Hit>(std::move(hit));
}

Status Cache::Impl::Put(std::string_view key, const Frame& frame, const PutOptions& put) {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  BARCACHE_RETURN_IF_ERROR(ValidateCacheKey(key));
  if (!frame.valid()) return Status(ErrorCode::kInvalidArgument, "put was given no frame");
  EventBuffer events;
  const Status status = cold_capacity_bytes == 0 ? PutHotOnly(key, frame, put, &events)
                                                 : PutCold(key, frame, put, &events);
  maintainer_.Nudge();  // The write-ahead log has grown.
  Emit(std::move(events));
  return status;
}

Status Cache::Impl::PutCold(std::string_view key, const Frame& frame, const PutOptions& put,
                            EventBuffer* events) {
  const uint64_t foreign_writes = catalog->ForeignWrites();
  const std::string request_json = put.request_json.empty() ? memo.Recall(key) : put.request_json;
  WriteRequest request;
  request.cache_key = key;
  request.frame = &frame;
  request.dataset_id = put.dataset_id;
  request.backtest_id = put.backtest_id;
  request.request_json = request_json;
  request.capacity_bytes = cold_capacity_bytes;
  request.policy = policy;
  request.touches = &pending_;
  BARCACHE_ASSIGN_OR_RETURN(WriteOutcome outcome, cold_->Write(request, events));

  const std::shared_ptr<HotTier> tier = hot_tier();
  Forget(outcome.evicted_keys);
  if (!outcome.admitted || outcome.superseded) {
    tier->Erase(key);
    return Status();
  }
  HotEntry entry;
  entry.uses = std::make_shared<UseCounter>();
  entry.frame = frame;
  entry.companion = put.companion;
  entry.charge_bytes = frame.size_bytes() + kEntryOverheadBytes;
  entry.tag = HotTag{outcome.epoch.bucket, outcome.epoch.engine, foreign_writes, outcome.generation,
                     outcome.checksum};
  tier->Insert(key, std::move(entry), events);

  Event event = KeyEvent(EventLevel::kInfo, "cache_write", key);
  event.fields.emplace_back("dataset_id", put.dataset_id);
  event.fields.emplace_back("size_mb", Megabytes(outcome.size_bytes));
  event.fields.emplace_back("backtest_id",
                            put.backtest_id.empty() ? EventValue() : EventValue(put.backtest_id));
  events->push_back(std::move(event));
  return Status();
}

Status Cache::Impl::PutHotOnly(std::string_view key, const Frame& frame, const PutOptions& put,
                               EventBuffer* events) {
  BARCACHE_ASSIGN_OR_RETURN(bool erased, cold_->Erase(key, events));
  (void)erased;
  const Epoch epoch = catalog->EpochOf(key);
  HotEntry entry;
  entry.uses = std::make_shared<UseCounter>();
  entry.frame = frame;
  entry.companion = put.companion;
  entry.charge_bytes = frame.size_bytes() + kEntryOverheadBytes;
  entry.tag = HotTag{epoch.bucket, epoch.engine, catalog->ForeignWrites(), 0, ""};
  hot_tier()->Insert(key, std::move(entry), events);
  return Status();
}

void Cache::Impl::Forget(const std::vector<std::string>& keys) {
  if (keys.empty()) return;
  const std::shared_ptr<HotTier> tier = hot_tier();
  for (const std::string& key : keys) {
    tier->Erase(key);
    pending_.Forget(key);
  }
}

Status Cache::Impl::WriteLinks(CatalogWriter* writer, const std::vector<PendingUses::Link>& links) {
  const int64_t now_s = clock_->WallSeconds();
  for (const auto& [backtest_id, key] : links) {
    BARCACHE_ASSIGN_OR_RETURN(bool added, writer->Link(backtest_id, key, now_s));
    (void)added;
  }
  return Status();
}

Status Cache::Impl::Flush() {
  if (options.read_only || pending_.empty()) return Status();
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog->BeginWrite());
  std::vector<PendingUses::Link> links = pending_.TakeLinks();
  Status status = writer.ApplyTouches(pending_.Take());
  if (status.ok()) status = WriteLinks(&writer, links);
  if (status.ok()) status = writer.Commit();
  pending_.Settle(status.ok());
  if (!status.ok()) pending_.ReturnLinks(std::move(links));
  return status;
}

Status Cache::Impl::FlushLinksIfAny() { return pending_.has_links() ? Flush() : Status(); }

void Cache::Impl::Maintain() {
  Status status = Flush();
  if (status.ok() && !options.read_only) status = catalog->CheckpointIfNeeded();
  if (status.ok()) return;
  // Nothing is lost: what is pending stays so, and the next use tries again.
  Event event{EventLevel::kWarning, "cache_maintenance_failed", {}};
  event.fields.emplace_back("error", status.message());
  const MutexLock lock(deferred_mutex_);
  if (deferred_.size() < 16) deferred_.push_back(std::move(event));
  has_deferred_ = true;
}

void Cache::Impl::Emit(EventBuffer events) {
  if (has_deferred_.exchange(false)) {
    const MutexLock lock(deferred_mutex_);
    events.insert(events.begin(), deferred_.begin(), deferred_.end());
    deferred_.clear();
  }
  if (!sink_) return;
  for (const Event& event : events) sink_(event);
}

Status Cache::Impl::Close() {
  if (closed.exchange(true)) return Status();
  maintainer_.Stop();
  Status status = Flush();
  if (options.record_on_close && !options.read_only) {
    EventBuffer events;
    const Status recorded = WriteDailyStatistics(&events);
    if (status.ok()) status = recorded;
    Emit(std::move(events));
  }
  hot_tier()->Clear();
  // Closes every connection; the last one to leave moves the log into the database.
  catalog->BeforeFork();
  catalog->AfterFork(false);
  return status;
}

void Cache::Impl::BeforeFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  maintainer_.LockForFork();
  record_mutex_.lock();
  catalog->BeforeFork();
  settings_mutex_.lock();
  deferred_mutex_.lock();
  memo.LockForFork();
  known_misses_.LockForFork();
  pending_.LockForFork();
  hot_->LockForFork();
}

void Cache::Impl::AfterFork(bool in_child) BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  hot_->UnlockAfterFork();
  pending_.UnlockAfterFork();
  known_misses_.UnlockAfterFork();
  memo.UnlockAfterFork();
  deferred_mutex_.unlock();
  settings_mutex_.unlock();
  catalog->AfterFork(in_child);
  if (in_child) {
    // What is pending or not recorded yet is the parent's to write.
    recorded_hits_ = hot_hits_ + cold_hits_;
    recorded_misses_ = misses_;
    if (options.db_path == ":memory:") {
      cold_->KeepInheritedFiles();
    } else {
      pending_.Clear();
    }
  }
  record_mutex_.unlock();
  maintainer_.UnlockAfterFork();
}

}  // namespace barcache
