#include "cache/cache_impl.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <iterator>
#include <new>
#include <utility>

#include "barcache/cache_key.h"
#include "base/failpoint.h"

namespace barcache {
namespace {

constexpr std::chrono::milliseconds kFlushDelay{500};
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
      sweep_(cold_.get(), clock_.get(), cache_options.sweep_after_ms * 1'000'000),
      maintainer_([this] { Maintain(); }, kFlushDelay, [this] { return Sweep(); }),
      flights_(catalog.get(), clock_.get(), cache_options.lease_ms,
               !cache_options.read_only && cache_options.db_path != ":memory:",
               [this](std::string_view name, const Status& error) {
                 Event event{EventLevel::kWarning, "cache_lease_failed", {}};
                 event.fields.emplace_back("flight", std::string(name));
                 event.fields.emplace_back("error", error.message());
                 EmitLater(std::move(event));
               }),
      hot_(std::make_shared<HotTier>(cache_options.hot_capacity_bytes)) {
  JoinForks();
}

Cache::Impl::~Impl() {
  try {
    const Status closing = Close();
    if (!closing.ok()) {
      Event event{EventLevel::kError, "cache_close_failed", {}};
      event.fields.emplace_back("error", closing.message());
      Emit({std::move(event)});
    }
  } catch (const std::bad_alloc&) {  // Uses of the last moments are lost, no entry.
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

void Cache::Impl::Forget(const std::vector<std::string>& keys) {
  if (keys.empty()) return;
  const std::shared_ptr<HotTier> tier = hot_tier();
  for (const std::string& key : keys) {
    tier->Erase(key);
    pending_.Forget(key);
  }
}

Status Cache::Impl::WriteLinks(CatalogWriter* writer, const PendingUses::Links& links) {
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
  PendingUses::Batch batch(&pending_);
  Status status = writer.ApplyTouches(batch.touches());
  if (status.ok()) status = WriteLinks(&writer, batch.links());
  if (status.ok()) status = writer.Commit([&](bool written) { batch.Settle(written); });
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
  EmitLater(std::move(event));
}

// A catalog in memory knows nothing of files that others of its directory have put.
std::chrono::milliseconds Cache::Impl::Sweep() {
  constexpr std::chrono::hours kNever{1};
  if (options.read_only || options.db_path == ":memory:") return kNever;
  try {
    EventBuffer events;
    const Result<int64_t> pause_ns = sweep_.StepIfDue(&events);
    for (Event& event : events) EmitLater(std::move(event));
    if (pause_ns.ok()) return std::chrono::milliseconds(*pause_ns / 1'000'000 + 1);
  } catch (const std::bad_alloc&) {
    sweep_.Restart();
  }
  return kNever;  // Orphans do no harm: an error is no news, the next round tries again.
}

void Cache::Impl::EmitLater(Event event) {
  const MutexLock lock(deferred_mutex_);
  if (deferred_.size() < 16) deferred_.push_back(std::move(event));
  has_deferred_ = true;
}

void Cache::Impl::TakeOut(const std::vector<std::string>& keys) {
  const std::shared_ptr<HotTier> tier = hot_tier();
  std::vector<HotEntryPointer> taken;
  taken.reserve(keys.size());
  for (const std::string& key : keys) {
    if (HotEntryPointer entry = tier->Take(key)) taken.push_back(std::move(entry));
  }
  const MutexLock lock(deferred_mutex_);
  std::ranges::move(taken, std::back_inserter(taken_out_));
  has_deferred_ = true;
}

void Cache::Impl::Emit(EventBuffer events) {
  std::vector<HotEntryPointer> taken_out;  // Goes last, when no lock is held.
  if (has_deferred_.exchange(false)) {
    const MutexLock lock(deferred_mutex_);
    events.insert(events.begin(), deferred_.begin(), deferred_.end());
    deferred_.clear();
    taken_out.swap(taken_out_);
  }
  if (!sink_) return;
  for (const Event& event : events) sink_(event);
}

Status Cache::Impl::Close() {
  if (closed.exchange(true)) return Status();
  maintainer_.Stop();
  Status status;
  std::exception_ptr out_of_memory;
  try {
    status = WriteLast();
    hot_tier()->Clear();
    Emit({});                        // What background threads left.
  } catch (const std::bad_alloc&) {  // It is closed all the same.
    out_of_memory = std::current_exception();
    hot_tier()->Clear();
  }
  recycled_.reset();
  Failpoint("cache.closing");
  catalog->Close();
  if (out_of_memory != nullptr) std::rethrow_exception(out_of_memory);
  return status;
}

Status Cache::Impl::WriteLast() {
  flights_.Close();
  Status status = Flush();
  Failpoint("cache.flushed");
  if (options.record_on_close && !options.read_only) {
    EventBuffer events;
    const Status recorded = WriteDailyStatistics(&events);
    if (status.ok()) status = recorded;
    Emit(std::move(events));
  }
  return status;
}

void Cache::Impl::BeforeFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  maintainer_.LockForFork();
  flights_.StopForFork();
  record_mutex_.lock();
  catalog->BeforeFork();
  flights_.LockForFork();
  settings_mutex_.lock();
  deferred_mutex_.lock();
  memo.LockForFork();
  known_misses_.LockForFork();
  newest_.LockForFork();
  pending_.LockForFork();
}

void Cache::Impl::AfterFork(bool in_child) BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  pending_.UnlockAfterFork();
  newest_.UnlockAfterFork();
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
  if (in_child) sweep_.Restart();  // It shares its place in the directory with the parent.
  record_mutex_.unlock();
  flights_.UnlockAfterFork(in_child);
  maintainer_.UnlockAfterFork();
}

}  // namespace barcache
