#include "barcache/cache.h"

#include <algorithm>
#include <utility>

#include "base/crew.h"
#include "base/sha256.h"
#include "cache/cache_impl.h"
#include "cold/rebuild.h"

namespace barcache {
namespace {

Event Initialized(const CacheOptions& options) {
  Event event{EventLevel::kInfo, "cache_manager_initialized", {}};
  event.fields.emplace_back("cache_directory", options.cache_directory);
  event.fields.emplace_back("hot_cache_mb", Megabytes(options.hot_capacity_bytes));
  event.fields.emplace_back("cold_cache_mb", Megabytes(options.cold_capacity_bytes));
  event.fields.emplace_back("eviction_policy",
                            std::string(EvictionPolicyName(options.eviction_policy)));
  return event;
}

Event HotTierInitialized(const CacheOptions& options) {
  Event event{EventLevel::kInfo, "lru_cache_initialized", {}};
  event.fields.emplace_back("max_size_mb", Megabytes(options.hot_capacity_bytes));
  return event;
}

CatalogOptions CatalogOptionsOf(const CacheOptions& options) {
  CatalogOptions catalog;
  catalog.db_path = options.db_path;
  catalog.read_only = options.read_only;
  catalog.sync_full = options.durability == Durability::kFull;
  catalog.busy_timeout_ms = options.busy_timeout_ms;
  return catalog;
}

// What the process makes once. A thread in the middle of that while another one forks would leave
// the child an object that nobody finishes, so it is not left to the first put.
void MakeSharedObjects() {
  (void)Sha256Hex(std::string_view());
  (void)Crew::Shared();
}

struct Opened {
  std::unique_ptr<Catalog> catalog;
  std::unique_ptr<ColdTier> cold;
};

Result<Opened> OpenTiers(const CacheOptions& options, const Clock* clock, EventBuffer* events) {
  Opened opened;
  BARCACHE_ASSIGN_OR_RETURN(
      opened.catalog, OpenOrRebuildCatalog(options, CatalogOptionsOf(options), clock, events));
  BARCACHE_ASSIGN_OR_RETURN(opened.cold, ColdTier::Open(options, opened.catalog.get(), clock));
  return opened;
}

}  // namespace

Result<std::unique_ptr<Cache>> Cache::Open(const CacheOptions& options, EventSink sink) {
  BARCACHE_RETURN_IF_ERROR(options.Validate());
  MakeSharedObjects();
  auto clock = std::make_unique<SystemClock>();
  EventBuffer events;
  auto opened = OpenTiers(options, clock.get(), &events);
  if (!opened.ok()) {  // The catalog may have been rebuilt all the same.
    if (sink) std::ranges::for_each(events, sink);
    return opened.status();
  }
  auto impl = std::make_unique<Impl>(options, std::move(sink), std::move(opened->catalog),
                                     std::move(opened->cold), std::move(clock));
  events.push_back(HotTierInitialized(options));
  events.push_back(Initialized(options));
  impl->Emit(std::move(events));
  return std::unique_ptr<Cache>(new Cache(std::move(impl)));
}

Result<bool> Cache::RepairCatalog(const CacheOptions& options, const EventSink& sink) {
  BARCACHE_RETURN_IF_ERROR(options.Validate());
  if (options.read_only || options.db_path == ":memory:") {
    return Status(ErrorCode::kInvalidArgument,
                  "a catalog that is read-only or in memory cannot be repaired: name its file");
  }
  MakeSharedObjects();
  EventBuffer events;
  BARCACHE_ASSIGN_OR_RETURN(const bool rebuilt, RebuildCatalog(options, CatalogOptionsOf(options),
                                                               RebuildCause::kRepair, &events));
  if (sink) std::ranges::for_each(events, sink);
  return rebuilt;
}

Cache::Cache(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cache::~Cache() = default;

Result<std::optional<Hit>> Cache::Get(std::string_view key, const GetOptions& options) {
  return impl_->Get(key, options);
}

std::shared_ptr<const HotEntry> Cache::GetHot(std::string_view key, const GetOptions& options) {
  return impl_->GetHot(key, options);
}

Status Cache::Put(std::string_view key, const Frame& frame, const PutOptions& options) {
  return impl_->Put(key, frame, options);
}

void Cache::CountHits(const std::vector<std::string>& keys, std::string_view backtest_id) {
  impl_->CountHits(keys, backtest_id);
}

Status Cache::GetMany(const std::vector<std::string>& keys, const GetOptions& options,
                      const std::function<void(const std::vector<IndexedHit>&)>& ready) {
  return impl_->GetMany(keys, options, ready);
}

Result<std::optional<ScanHit>> Cache::Scan(std::string_view key, const GetOptions& options) {
  return impl_->Scan(key, options);
}

Status Cache::PutMany(const std::vector<PutItem>& items, const PutOptions& options) {
  return impl_->PutMany(items, options);
}

Result<std::optional<StoredEntry>> Cache::ReadStored(std::string_view key) {
  return impl_->ReadStored(key);
}

Result<int64_t> Cache::PutInPlaceOf(const Merge& merge) { return impl_->PutInPlaceOf(merge); }
void Cache::SayLater(Event event) { impl_->EmitLater(std::move(event)); }

Result<std::unique_ptr<Flight>> Cache::BeginFlight(std::string_view name) {
  return impl_->BeginFlight(name);
}

Result<DatasetId> Cache::DatasetOf(std::string_view source, std::string_view resolution) {
  return impl_->DatasetOf(source, resolution);
}

Status Cache::NoteUse(std::string_view key, std::string_view backtest_id) {
  return impl_->NoteUse(key, backtest_id);
}

Result<std::string> Cache::GenerateKey(const DataRequest& request) {
  BARCACHE_ASSIGN_OR_RETURN(const std::string json, CanonicalJson(request));
  std::string key = KeyOfCanonicalJson(json);
  impl_->memo.Remember(key, json);
  return key;
}

void Cache::RememberRequest(std::string_view key, std::string_view request_json) {
  impl_->memo.Remember(key, request_json);
}

Result<std::optional<EntryInfo>> Cache::Find(std::string_view key) { return impl_->Find(key); }
Result<std::vector<EntryInfo>> Cache::Entries() { return impl_->Entries(); }

Result<int64_t> Cache::EntryCount() {
  BARCACHE_RETURN_IF_ERROR(impl_->RequireOpen());
  BARCACHE_ASSIGN_OR_RETURN(const CatalogTotals totals, impl_->catalog->Totals());
  return totals.entry_count;
}

Result<int64_t> Cache::TotalSizeBytes() {
  BARCACHE_RETURN_IF_ERROR(impl_->RequireOpen());
  BARCACHE_ASSIGN_OR_RETURN(const CatalogTotals totals, impl_->catalog->Totals());
  return totals.size_bytes;
}

Result<std::vector<std::string>> Cache::BacktestsOf(std::string_view key) {
  return impl_->BacktestsOf(key);
}

Result<std::vector<std::string>> Cache::KeysOf(std::string_view backtest_id) {
  return impl_->KeysOf(backtest_id);
}

Result<int64_t> Cache::Erase(std::string_view key) { return impl_->Erase(key); }

Result<int64_t> Cache::EraseBacktest(std::string_view backtest_id, bool keep_shared) {
  return impl_->EraseBacktest(backtest_id, keep_shared);
}

Result<int64_t> Cache::EraseUnusedSince(int64_t before_s) {
  return impl_->EraseUnusedSince(before_s);
}

Result<int64_t> Cache::Clear() { return impl_->Clear(); }
Result<int64_t> Cache::EvictIfNeeded() { return impl_->EvictIfNeeded(); }
Result<int64_t> Cache::Pin(std::string_view key) { return impl_->Pin(key); }

Result<int64_t> Cache::PinBacktest(std::string_view backtest_id) {
  return impl_->PinBacktest(backtest_id);
}

Result<int64_t> Cache::Unpin(std::string_view key) { return impl_->Unpin(key); }

Result<int64_t> Cache::UnpinBacktest(std::string_view backtest_id) {
  return impl_->UnpinBacktest(backtest_id);
}

Result<std::vector<std::string>> Cache::PinnedKeys() { return impl_->PinnedKeys(); }
Result<CheckReport> Cache::Check(bool repair) { return impl_->Check(repair); }

Result<CacheStatistics> Cache::Statistics(std::optional<int64_t> from_s,
                                          std::optional<int64_t> to_s) {
  return impl_->Statistics(from_s, to_s);
}

Status Cache::RecordDailyStatistics() { return impl_->RecordDailyStatistics(); }
SessionStats Cache::session_stats() const { return impl_->session_stats(); }
void Cache::set_session_stats(const SessionStats& stats) { impl_->set_session_stats(stats); }

int64_t Cache::cold_capacity_bytes() const { return impl_->cold_capacity_bytes; }

Status Cache::set_cold_capacity_bytes(int64_t bytes) {
  if (bytes < 0) {
    return Status(ErrorCode::kInvalidArgument,
                  "the size of the cold cache must not be negative: use 0 to switch it off");
  }
  impl_->cold_capacity_bytes = bytes;
  return Status();
}

EvictionPolicy Cache::eviction_policy() const { return impl_->policy; }
void Cache::set_eviction_policy(EvictionPolicy policy) { impl_->policy = policy; }
std::shared_ptr<HotTier> Cache::hot_tier() const { return impl_->hot_tier(); }
void Cache::set_hot_tier(std::shared_ptr<HotTier> tier) { impl_->set_hot_tier(std::move(tier)); }

void Cache::AttachCompanion(std::string_view key, const Hit& hit, std::shared_ptr<void> companion) {
  if (hit.entry) impl_->hot_tier()->Attach(key, hit.entry, std::move(companion));
}

Status Cache::Flush() {
  BARCACHE_RETURN_IF_ERROR(impl_->RequireOpen());
  return impl_->Flush();
}

Status Cache::Close() { return impl_->Close(); }
bool Cache::closed() const { return impl_->closed; }
const CacheOptions& Cache::options() const { return impl_->options; }
Catalog& Cache::catalog() { return *impl_->catalog; }

}  // namespace barcache
