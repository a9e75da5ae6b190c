// Cache::Impl: get, of one key and of many.

#include <cmath>
#include <mutex>
#include <utility>

#include "barcache/cache_key.h"
#include "base/crew.h"
#include "base/failpoint.h"
#include "cache/cache_impl.h"

namespace barcache {
namespace {

// RustyBT's field is a number of milliseconds with two decimals.
double LatencyMs(int64_t begin_ns, int64_t end_ns) {
  return std::round(static_cast<double>(end_ns - begin_ns) / 1e4) / 100.0;
}

}  // namespace

bool Cache::Impl::Untouched(std::string_view key, const HotTag& tag) const {
  if (Mutant("no_hot_coherence")) return true;
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

void Cache::Impl::CountHits(const std::vector<std::string>& keys, std::string_view backtest_id) {
  hot_hits_.fetch_add(static_cast<int64_t>(keys.size()), std::memory_order_relaxed);
  if (options.read_only || closed.load(std::memory_order_relaxed)) return;
  const int64_t now_s = clock_->CoarseWallNs() / 1'000'000'000;
  for (const std::string& key : keys) {
    pending_.RecordTouch(key, now_s);
    if (!backtest_id.empty()) pending_.RecordLink(backtest_id, key);
  }
  maintainer_.Nudge();
}

std::shared_ptr<const HotEntry> Cache::Impl::GetHot(std::string_view key, const GetOptions& get) {
  if (closed.load(std::memory_order_relaxed) || get.columns != nullptr) return nullptr;
  const std::shared_ptr<HotTier> tier = hot_tier();
  HotEntryPointer entry = tier->Lookup(key);
  if (entry == nullptr || !Untouched(key, entry->tag)) return nullptr;
  CountHotHit(key, entry, get);
  return entry;
}

Result<std::optional<Hit>> Cache::Impl::LookHot(std::string_view key, const GetOptions& get) {
  const std::shared_ptr<HotTier> tier = hot_tier();
  HotEntryPointer entry = tier->Lookup(key);
  if (entry != nullptr && !Untouched(key, entry->tag)) entry = AskCatalog(key, entry, tier.get());
  if (entry == nullptr) return std::optional<Hit>();
  Hit hit{entry->frame, entry->companion, entry, true};
  if (get.columns != nullptr) {
    BARCACHE_ASSIGN_OR_RETURN(Frame selected, entry->frame.Select(*get.columns));
    hit = Hit{std::move(selected), nullptr, nullptr, true};
  }
  CountHotHit(key, entry, get);
  return std::optional<Hit>(std::move(hit));
}

Result<Cache::Impl::ColdAnswer> Cache::Impl::ReadCold(std::string_view key,
                                                      const std::vector<std::string>* columns,
                                                      EventBuffer* events) {
  ColdAnswer answer;
  answer.foreign_writes = catalog->ForeignWrites();
  const MissMemo::Seen seen{catalog->EpochOf(key), answer.foreign_writes};
  if (known_misses_.Knows(key, seen) || !ValidateCacheKey(key).ok()) return answer;
  const size_t events_before = events->size();
  BARCACHE_ASSIGN_OR_RETURN(answer.hit, cold_->Read(key, columns, events));
  if (answer.hit && !newest_.Accept(key, answer.hit->stamp_generation, answer.hit->epoch)) {
    events->push_back(KeyEvent(EventLevel::kError, "cache_entry_outdated", key));
    answer.hit.reset();
  }
  // A read that had something to say did find a row: that is no plain miss.
  if (!answer.hit && events->size() == events_before) known_misses_.Remember(key, seen);
  return answer;
}

std::optional<Hit> Cache::Impl::Admit(std::string_view key, ColdAnswer answer,
                                      const GetOptions& get, EventBuffer* events) {
  if (!answer.hit) {
    if (!get.count_miss) return std::nullopt;
    ++misses_;
    if (get.log_hit) events->push_back(KeyEvent(EventLevel::kInfo, "cache_miss", key));
    return std::nullopt;
  }
  ++cold_hits_;
  CountUse(key, get.backtest_id);
  if (get.log_hit && sink_) {
    Event event = KeyEvent(EventLevel::kInfo, "cache_hit_cold", key);
    event.fields.emplace_back("latency_ms", LatencyMs(get.begin_ns, clock_->MonotonicNs()));
    events->push_back(std::move(event));
  }
  ColdHit& cold = *answer.hit;
  Hit hit;
  hit.frame = cold.frame;
  if (get.columns != nullptr) return hit;
  HotEntry entry;
  entry.frame = std::move(cold.frame);
  entry.uses = std::make_shared<UseCounter>();
  entry.charge_bytes = entry.frame.size_bytes() + kEntryOverheadBytes;
  entry.tag = HotTag{cold.epoch.bucket, cold.epoch.engine, answer.foreign_writes,
                     cold.entry.generation, cold.entry.checksum};
  const std::shared_ptr<HotTier> tier = hot_tier();
  if (tier->Insert(key, std::move(entry), events)) hit.entry = tier->Peek(key);
  return hit;
}

Result<std::optional<Hit>> Cache::Impl::Get(std::string_view key, const GetOptions& options) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  GetOptions get = options;
  if (get.log_hit && get.begin_ns == 0) get.begin_ns = clock_->MonotonicNs();
  BARCACHE_ASSIGN_OR_RETURN(auto hot, LookHot(key, get));
  if (hot) return hot;
  EventBuffer events;
  auto answer = ReadCold(key, get.columns, &events);
  if (!answer.ok()) {
    Emit(std::move(events));
    return answer.status();
  }
  auto hit = Admit(key, std::move(*answer), get, &events);
  Emit(std::move(events));
  return hit;
}

Status Cache::Impl::GetMany(const std::vector<std::string>& keys, const GetOptions& options,
                            const std::function<void(const std::vector<IndexedHit>&)>& ready) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  GetOptions get = options;
  get.begin_ns = clock_->MonotonicNs();
  std::vector<IndexedHit> hits;
  std::vector<size_t> cold_keys;
  for (size_t i = 0; i < keys.size(); ++i) {
    BARCACHE_ASSIGN_OR_RETURN(auto hot, LookHot(keys[i], get));
    if (hot) {
      hits.emplace_back(i, std::move(*hot));
    } else {
      cold_keys.push_back(i);
    }
  }
  // Workers only read. What is counted, kept hot or logged stays on this thread, which hands
  // out what is done while they go on.
  constexpr size_t kHandOutAt = 32;
  struct Read {
    size_t index;
    Result<ColdAnswer> answer;
    EventBuffer events;
  };
  std::mutex done_mutex;
  std::vector<Read> done;
  done.reserve(cold_keys.size());  // A worker must not fail for lack of memory.
  EventBuffer events;
  Status failure;
  const auto hand_out = [&](size_t at_least) {
    std::vector<Read> taken;
    {
      const std::lock_guard lock(done_mutex);
      if (done.size() + hits.size() < at_least) return;
      for (Read& read : done) taken.push_back(std::move(read));
      done.clear();
    }
    for (Read& read : taken) {
      events.insert(events.end(), read.events.begin(), read.events.end());
      if (!read.answer.ok()) {
        failure = read.answer.status();
        continue;
      }
      auto hit = Admit(keys[read.index], std::move(*read.answer), get, &events);
      if (hit) hits.emplace_back(read.index, std::move(*hit));
    }
    if (!hits.empty()) ready(hits);
    hits.clear();
  };
  {
    Crew::Batch batch(Crew::Shared(), static_cast<int64_t>(cold_keys.size()), [&](int64_t task) {
      const size_t index = cold_keys[static_cast<size_t>(task)];
      EventBuffer read_events;
      auto answer = ReadCold(keys[index], get.columns, &read_events);
      const std::lock_guard lock(done_mutex);
      done.push_back(Read{index, std::move(answer), std::move(read_events)});
    });
    while (batch.RunOne()) hand_out(kHandOutAt);
    batch.Join();
  }
  hand_out(0);
  Emit(std::move(events));
  return failure;
}

}  // namespace barcache
