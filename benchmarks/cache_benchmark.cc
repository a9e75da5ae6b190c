// The hot tier's lookup, and the whole cache from the C++ door: hot hit, cold hit, miss, put, and a
// put that has to evict under each policy.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "barcache/cache.h"
#include "bars_frame.h"
#include "hot/hot_tier.h"
#include "scratch_directory.h"

namespace barcache {
namespace {

void BM_HotLookup(benchmark::State& state) {
  HotTier tier(1LL << 30);
  const Frame frame = MakeBarsFrame(252);
  EventBuffer events;
  for (int64_t number = 0; number < state.range(0); ++number) {
    HotEntry entry;
    entry.frame = frame;
    entry.charge_bytes = frame.size_bytes();
    tier.Insert("key" + std::to_string(number), entry, &events);
  }
  int64_t number = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(tier.Lookup("key" + std::to_string(number++ * 7919 % state.range(0))));
  }
}
BENCHMARK(BM_HotLookup)->Arg(1)->Arg(10'000);

struct OpenCache {
  explicit OpenCache(CacheOptions options = {}) {
    options.db_path = directory.path() + "/metadata.db";
    options.cache_directory = directory.path() + "/cache";
    Result<std::unique_ptr<Cache>> opened = Cache::Open(options);
    if (!opened.ok()) std::abort();
    cache = *std::move(opened);
  }
  ScratchDirectory directory;
  std::unique_ptr<Cache> cache;
};

void BM_CacheHotHit(benchmark::State& state) {
  OpenCache open;
  if (!open.cache->Put("bars", MakeBarsFrame(state.range(0)), PutOptions()).ok()) {
    state.SkipWithError("put failed");
    return;
  }
  for (auto _ : state) benchmark::DoNotOptimize(open.cache->Get("bars"));
}
BENCHMARK(BM_CacheHotHit)->Arg(252)->Arg(100'000);

void BM_CacheColdHit(benchmark::State& state) {
  CacheOptions options;
  options.hot_capacity_bytes = 0;
  OpenCache open(options);
  if (!open.cache->Put("bars", MakeBarsFrame(state.range(0)), PutOptions()).ok()) {
    state.SkipWithError("put failed");
    return;
  }
  for (auto _ : state) {
    Result<std::optional<Hit>> hit = open.cache->Get("bars");
    if (!hit.ok() || !hit->has_value()) {
      state.SkipWithError("a miss");
      return;
    }
    benchmark::DoNotOptimize(hit);
  }
}
BENCHMARK(BM_CacheColdHit)->Arg(252)->Arg(100'000)->Arg(2'000'000);

void BM_CacheMiss(benchmark::State& state) {
  OpenCache open;
  for (auto _ : state) benchmark::DoNotOptimize(open.cache->Get("absent"));
}
BENCHMARK(BM_CacheMiss);

void BM_CachePut(benchmark::State& state) {
  OpenCache open;
  const Frame frame = MakeBarsFrame(state.range(0));
  int64_t number = 0;
  for (auto _ : state) {
    if (!open.cache->Put("key" + std::to_string(number++), frame, PutOptions()).ok()) {
      state.SkipWithError("put failed");
      return;
    }
  }
}
BENCHMARK(BM_CachePut)->Arg(252)->Arg(100'000);

// The second argument is the policy. A batch of victims leaves at once, then as many puts are free:
// the time is their mean.
void BM_CachePutAtLimit(benchmark::State& state) {
  CacheOptions options;
  options.hot_capacity_bytes = 0;
  options.eviction_policy = static_cast<EvictionPolicy>(state.range(1));
  OpenCache open(options);
  const Frame frame = MakeBarsFrame(252);
  std::vector<PutItem> items;
  for (int64_t number = 0; number < state.range(0); ++number) {
    items.push_back({"old" + std::to_string(number), frame});
  }
  if (!open.cache->PutMany(items, PutOptions()).ok() ||
      !open.cache->set_cold_capacity_bytes(open.cache->TotalSizeBytes().value()).ok()) {
    state.SkipWithError("put failed");
    return;
  }
  int64_t number = 0;
  for (auto _ : state) {
    if (!open.cache->Put("key" + std::to_string(number++), frame, PutOptions()).ok()) {
      state.SkipWithError("put failed");
      return;
    }
  }
  state.SetLabel(std::string(EvictionPolicyName(options.eviction_policy)));
}
BENCHMARK(BM_CachePutAtLimit)->ArgsProduct({{1'000, 10'000}, {0, 1, 2, 3, 4}})->Iterations(650);

}  // namespace
}  // namespace barcache
