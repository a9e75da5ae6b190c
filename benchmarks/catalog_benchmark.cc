// The catalog alone: one committed row, one row found, the statistics, the next victim named.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "catalog/catalog.h"
#include "scratch_directory.h"

namespace barcache {
namespace {

NewEntry EntryNumber(int64_t number) {
  NewEntry entry;
  entry.cache_key = "key" + std::to_string(number);
  entry.dataset_id = 1;
  entry.parquet_path = entry.cache_key + ".parquet";
  entry.checksum = std::string(64, 'a');
  entry.size_bytes = 10'000 + number % 977;
  entry.generation = static_cast<uint64_t>(number) + 1;
  entry.now_s = 1'700'000'000;
  return entry;
}

// A catalog in a file with `count` entries.
struct FilledCatalog {
  explicit FilledCatalog(int64_t count) {
    CatalogOptions options;
    options.db_path = directory.path() + "/metadata.db";
    Result<std::unique_ptr<Catalog>> opened = Catalog::Open(options, &clock);
    if (!opened.ok()) std::abort();
    catalog = *std::move(opened);
    Result<CatalogWriter> writer = catalog->BeginWrite();
    if (!writer.ok()) std::abort();
    for (int64_t number = 0; number < count; ++number) {
      if (!writer->Upsert(EntryNumber(number)).ok()) std::abort();
    }
    if (!writer->Commit().ok()) std::abort();
  }
  ScratchDirectory directory;
  SystemClock clock;
  std::unique_ptr<Catalog> catalog;
};

void BM_CatalogPut(benchmark::State& state) {
  FilledCatalog filled(state.range(0));
  int64_t number = state.range(0);
  for (auto _ : state) {
    Result<CatalogWriter> writer = filled.catalog->BeginWrite();
    if (!writer.ok() || !writer->Upsert(EntryNumber(number++)).ok() || !writer->Commit().ok()) {
      state.SkipWithError("put failed");
      return;
    }
  }
}
BENCHMARK(BM_CatalogPut)->Arg(1'000)->Arg(100'000);

void BM_CatalogFind(benchmark::State& state) {
  FilledCatalog filled(state.range(0));
  int64_t number = 0;
  for (auto _ : state) {
    const std::string key = "key" + std::to_string(number++ * 7919 % state.range(0));
    Result<std::optional<EntryInfo>> found = filled.catalog->Find(key);
    if (!found.ok() || !found->has_value()) {
      state.SkipWithError("not found");
      return;
    }
    benchmark::DoNotOptimize(found);
  }
}
BENCHMARK(BM_CatalogFind)->Arg(1'000)->Arg(100'000);

void BM_CatalogStatistics(benchmark::State& state) {
  FilledCatalog filled(state.range(0));
  for (auto _ : state) {
    Result<CatalogTotals> totals = filled.catalog->Totals();
    Result<std::vector<DailyStatistics>> days = filled.catalog->DailyBetween(0, 2'000'000'000);
    if (!totals.ok() || !days.ok() || totals->entry_count != state.range(0)) {
      state.SkipWithError("no statistics");
      return;
    }
    benchmark::DoNotOptimize(days);
  }
}
BENCHMARK(BM_CatalogStatistics)->Arg(1'000)->Arg(100'000);

// Removes the least recently used row and commits, as an eviction of one entry does. One row is
// put again for each, outside the measured time.
void BM_CatalogEvict(benchmark::State& state) {
  FilledCatalog filled(state.range(0));
  int64_t number = state.range(0);
  for (auto _ : state) {
    Result<CatalogWriter> writer = filled.catalog->BeginWrite();
    if (!writer.ok()) std::abort();
    Result<std::vector<Victim>> victims =
        writer->Candidates(VictimOrder::kLeastRecentlyUsed, 1, "");
    if (!victims.ok() || victims->empty() || !writer->Erase(victims->front().cache_key).ok() ||
        !writer->Commit().ok()) {
      state.SkipWithError("eviction failed");
      return;
    }
    state.PauseTiming();
    Result<CatalogWriter> refill = filled.catalog->BeginWrite();
    if (!refill.ok() || !refill->Upsert(EntryNumber(number++)).ok() || !refill->Commit().ok()) {
      std::abort();
    }
    state.ResumeTiming();
  }
}
BENCHMARK(BM_CatalogEvict)->Arg(1'000)->Arg(100'000);

void BM_CatalogVictim(benchmark::State& state) {
  FilledCatalog filled(state.range(0));
  Result<CatalogWriter> writer = filled.catalog->BeginWrite();
  if (!writer.ok()) std::abort();
  const auto order = static_cast<VictimOrder>(state.range(1));
  for (auto _ : state) {
    Result<std::vector<Victim>> victims = writer->Candidates(order, 1, "");
    if (!victims.ok() || victims->empty()) {
      state.SkipWithError("no victim");
      return;
    }
    benchmark::DoNotOptimize(victims);
  }
}
BENCHMARK(BM_CatalogVictim)->ArgsProduct({{1'000, 100'000}, {0, 1, 2}});

}  // namespace
}  // namespace barcache
