// The operations that are tried. See trial.h.
#include <filesystem>
#include <fstream>

#include "barcache/cache.h"
#include "frame/sample_frame.h"
#include "torture/faults/trial.h"

namespace barcache::torture {
namespace {

constexpr int64_t kRows = 50;
constexpr int64_t kManyRows = 30'000;  // Hashed beside the writing, and renamed.

Frame FrameOf(int64_t value, int64_t rows = kRows) {
  return SampleBars(rows, static_cast<double>(value));
}

Status PutOne(Cache* cache, const std::string& key, int64_t value, int64_t rows = kRows) {
  PutOptions put;
  put.backtest_id = "two";
  return cache->Put(key, FrameOf(value, rows), put);
}

Values With(Values changed) {
  for (const auto& [key, value] : PreparedValues()) changed.emplace(key, value);
  return changed;
}

Values Without(std::initializer_list<const char*> keys) {
  Values values = PreparedValues();
  for (const char* key : keys) values.erase(key);
  return values;
}

template <typename T>
Status StatusOf(const Result<T>& result) {
  return result.status();
}

Status GetEach(Cache* cache) {
  for (const auto& [key, value] : PreparedValues()) {
    GetOptions get;
    get.backtest_id = "three";
    BARCACHE_RETURN_IF_ERROR(cache->Get(key, get).status());
  }
  return {};
}

Status GetTogether(Cache* cache) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : PreparedValues()) keys.push_back(key);
  return cache->GetMany(keys, {}, [](const std::vector<IndexedHit>&) {});
}

Status PutTogether(Cache* cache) {
  return cache->PutMany({{"a", FrameOf(101)}, {"y", FrameOf(102)}, {"z", FrameOf(103)}});
}

Status Count(Cache* cache) {
  BARCACHE_RETURN_IF_ERROR(GetEach(cache));
  return cache->RecordDailyStatistics();
}

Status UseAndFlush(Cache* cache) {
  BARCACHE_RETURN_IF_ERROR(GetEach(cache));
  return cache->Flush();
}

Status EvictSome(Cache* cache) {
  auto total = cache->TotalSizeBytes();
  if (!total.ok()) return total.status();
  BARCACHE_RETURN_IF_ERROR(cache->set_cold_capacity_bytes(*total / 2));
  return StatusOf(cache->EvictIfNeeded());
}

Status Ask(Cache* cache) {
  BARCACHE_RETURN_IF_ERROR(cache->Find("a").status());
  BARCACHE_RETURN_IF_ERROR(cache->Entries().status());
  BARCACHE_RETURN_IF_ERROR(cache->BacktestsOf("a").status());
  return cache->Statistics().status();
}

// As a killed process left it: everything is still in SQLite's log.
void TakeKilled(const std::string& directory) {
  std::filesystem::remove_all(directory);
  std::filesystem::copy(std::filesystem::path(directory).parent_path() / "killed", directory,
                        std::filesystem::copy_options::recursive);
}

void RemoveEverything(const std::string& directory) {
  std::filesystem::remove_all(directory);
  std::filesystem::create_directory(directory);
}

std::vector<Operation> MakeOperations() {
  const Values same = PreparedValues();
  const auto plain = [](const char* name, std::function<Status(Cache*)> run, Values after) {
    return Operation{name, {}, {}, std::move(run), std::move(after)};
  };
  const auto durable = [](CacheOptions* options) { options->durability = Durability::kFull; };
  std::vector<Operation> operations = {
      plain(
          "put", [](Cache* cache) { return PutOne(cache, "new", 100); }, With({{"new", 100}})),
      plain(
          "replace", [](Cache* cache) { return PutOne(cache, "a", 100); }, With({{"a", 100}})),
      plain(
          "put-large", [](Cache* cache) { return PutOne(cache, "a", 100, kManyRows); },
          With({{"a", 100}})),
      plain("put-many", PutTogether, With({{"a", 101}, {"y", 102}, {"z", 103}})),
      plain("get", GetEach, same),
      plain("get-many", GetTogether, same),
      plain(
          "scan", [](Cache* cache) { return StatusOf(cache->Scan("a")); }, same),
      plain("ask", Ask, same),
      plain(
          "erase", [](Cache* cache) { return StatusOf(cache->Erase("a")); }, Without({"a"})),
      plain(
          "erase-backtest", [](Cache* cache) { return StatusOf(cache->EraseBacktest("one")); },
          Without({"a", "b"})),
      plain("clear", [](Cache* cache) { return StatusOf(cache->Clear()); }, {}),
      plain("evict", EvictSome, same),
      plain("record", Count, same),
      plain("flush", UseAndFlush, same),
      plain(
          "close", [](Cache* cache) { return cache->Close(); }, same),
      plain(
          "verify", [](Cache* cache) { return StatusOf(cache->Check(false)); }, same),
      plain(
          "repair", [](Cache* cache) { return StatusOf(cache->Check(true)); }, same),
      plain("open", {}, same),
      plain("open-new", {}, {}),
      plain("open-after-kill", {}, same),
      plain("open-read-only", {}, same),
  };
  for (Operation& operation : operations) {
    const std::string name = operation.name;
    if (name == "evict") operation.may_lose = true;
    if (name == "open-new") operation.damage = RemoveEverything;
    if (name == "open-after-kill") operation.damage = TakeKilled;
    if (name == "open-read-only") {
      operation.configure = [](CacheOptions* options) { options->read_only = true; };
    }
  }
  Operation full = operations[1];
  full.name = "replace-durably";
  full.configure = durable;
  operations.push_back(full);
  Operation large = operations[2];
  large.name = "put-large-durably";
  large.configure = durable;
  operations.push_back(large);
  return operations;
}

}  // namespace

Values PreparedValues() { return {{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}}; }

const std::vector<Operation>& Operations() {
  static const std::vector<Operation> operations = MakeOperations();
  return operations;
}

Prepared::Prepared(std::string place) : place_(std::move(place)) {
  CacheOptions options;
  options.db_path = place_ + "/prepared/metadata.db";
  options.cache_directory = place_ + "/prepared/cache";
  auto cache = Cache::Open(options);
  Status status = cache.status();
  for (const auto& [key, value] : PreparedValues()) {
    PutOptions put;
    if (key < "c") put.backtest_id = "one";
    if (status.ok()) status = (*cache)->Put(key, FrameOf(value), put);
  }
  if (status.ok()) {
    std::filesystem::copy(place_ + "/prepared", place_ + "/killed",
                          std::filesystem::copy_options::recursive);
    status = (*cache)->Close();
  }
  if (!status.ok()) {
    std::fprintf(stderr, "could not prepare: %s\n", status.ToString().c_str());
    std::exit(2);
  }
}

Prepared::~Prepared() {
  std::error_code ignored;
  std::filesystem::remove_all(place_, ignored);
}

void Prepared::CopyTo(const std::string& directory) const {
  std::filesystem::remove_all(directory);
  std::filesystem::copy(place_ + "/prepared", directory, std::filesystem::copy_options::recursive);
}

}  // namespace barcache::torture
