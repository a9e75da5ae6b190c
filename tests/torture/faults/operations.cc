// The operations that are tried. See trial.h.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <utility>

#include "barcache/cache.h"
#include "frame/sample_frame.h"
#include "torture/faults/trial.h"

namespace barcache::torture {
namespace {

constexpr int64_t kRows = 50;
constexpr char kReader[] = "three";    // The backtest of GetEach.
constexpr int64_t kManyRows = 30'000;  // Hashed beside the writing, and renamed.

// A frame says in every row what it is of. Made beforehand: no fault shall meet that.
Frame FrameOf(int64_t value, int64_t rows = kRows) {
  Frame frame = SampleBars(rows, static_cast<double>(value));
  if (!frame.valid()) std::abort();
  return frame;
}

std::function<Status(Cache*)> PutOne(const char* key, Frame frame) {
  return [key, frame = std::move(frame)](Cache* cache) {
    PutOptions put;
    put.backtest_id = "two";
    return cache->Put(key, frame, put);
  };
}

std::function<Status(Cache*)> PutTogether(std::vector<PutItem> items) {
  return [items = std::move(items)](Cache* cache) { return cache->PutMany(items); };
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
    get.backtest_id = kReader;
    BARCACHE_RETURN_IF_ERROR(cache->Get(key, get).status());
  }
  return {};
}

Status GetTogether(Cache* cache) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : PreparedValues()) keys.push_back(key);
  return cache->GetMany(keys, {}, [](const std::vector<IndexedHit>&) {});
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

Status PutEvicting(Cache* cache, const Frame& frame) {
  auto total = cache->TotalSizeBytes();
  if (!total.ok()) return total.status();
  BARCACHE_RETURN_IF_ERROR(cache->set_cold_capacity_bytes(*total / 2));
  return cache->Put("a", frame);
}

Status PinAndUnpin(Cache* cache) {
  BARCACHE_RETURN_IF_ERROR(cache->Pin("a").status());
  BARCACHE_RETURN_IF_ERROR(cache->PinBacktest("one").status());
  return cache->Unpin("a").status();
}

// One that lands and one that fails. Who led before and could not say that it ended is taken over.
Status Fly(Cache* cache) {
  for (const char* name : {"lands", "fails"}) {
    auto begun = cache->BeginFlight(name);
    if (!begun.ok()) return begun.status();
    Flight& flight = **begun;
    for (int turn = 0; turn < 3000 && flight.Poll() == FlightState::kWaiting; ++turn) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (flight.state() == FlightState::kWaiting) {
      return Status(ErrorCode::kInternal, "a flight that nobody leads is waited for");
    }
    std::string(name) == "lands" ? flight.Land() : flight.Fail({"Error", "why it failed"});
  }
  return {};
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

// Opening makes the catalog anew from the files.
void DamageCatalog(const std::string& directory) {
  std::fstream file(directory + "/metadata.db", std::ios::binary | std::ios::in | std::ios::out);
  file << std::string(100, '\xA5');
}

void LoseCatalog(const std::string& directory) {
  std::filesystem::remove(directory + "/metadata.db");
}

Operation Plain(const char* name, std::function<Status(Cache*)> run, Values after) {
  Operation operation;
  operation.name = name;
  operation.run = std::move(run);
  operation.after = std::move(after);
  return operation;
}

// On a cache with uses and links that are not written yet.
Operation Used(const char* name, std::function<Status(Cache*)> run, Values after) {
  Operation operation = Plain(name, std::move(run), std::move(after));
  operation.before = GetEach;
  return operation;
}

Operation Lossy(Operation operation) {
  operation.may_lose = true;
  return operation;
}

Operation Damaged(const char* name, void (*damage)(const std::string&), Values after) {
  Operation operation = Plain(name, {}, std::move(after));
  operation.damage = damage;
  return operation;
}

Operation Rebuilding(const char* name, void (*damage)(const std::string&), Values after) {
  Operation operation = Damaged(name, damage, std::move(after));
  operation.is_rebuild = true;
  return operation;
}

Operation Configured(Operation operation, const char* name, void (*configure)(CacheOptions*)) {
  operation.name = name;
  operation.configure = configure;
  return operation;
}

Status CloseIt(Cache* cache) { return cache->Close(); }

void AddWriting(std::vector<Operation>* operations) {
  const Values same = PreparedValues();
  const auto durable = [](CacheOptions* options) { options->durability = Durability::kFull; };
  const auto erase = [](Cache* cache) { return StatusOf(cache->Erase("a")); };
  const auto erase_one = [](Cache* cache) { return StatusOf(cache->EraseBacktest("one")); };
  const auto clear = [](Cache* cache) { return StatusOf(cache->Clear()); };
  const Operation replace = Plain("replace", PutOne("a", FrameOf(100)), With({{"a", 100}}));
  const Operation large =
      Plain("put-large", PutOne("a", FrameOf(100, kManyRows)), With({{"a", 100}}));
  std::vector<PutItem> items = {{"a", FrameOf(101)}, {"y", FrameOf(102)}, {"z", FrameOf(103)}};
  const auto put_evicting = [frame = FrameOf(100)](Cache* cache) {
    return PutEvicting(cache, frame);
  };
  for (const Operation& operation : {
           Plain("put", PutOne("new", FrameOf(100)), With({{"new", 100}})),
           replace,
           large,
           Configured(replace, "replace-durably", durable),
           Configured(large, "put-large-durably", durable),
           Plain("put-many", PutTogether(std::move(items)),
                 With({{"a", 101}, {"y", 102}, {"z", 103}})),
           Plain("erase", erase, Without({"a"})),
           Plain("erase-backtest", erase_one, Without({"a", "b"})),
           Plain("clear", clear, {}),
           Lossy(Plain("evict", EvictSome, same)),
           Lossy(Used("evict-used", EvictSome, same)),
           Lossy(Used("put-evicting", put_evicting, With({{"a", 100}}))),
           Plain("pin", PinAndUnpin, same),
           Plain("flight", Fly, same),
       }) {
    operations->push_back(operation);
  }
}

void AddOthers(std::vector<Operation>* operations) {
  const Values same = PreparedValues();
  const auto scan = [](Cache* cache) { return StatusOf(cache->Scan("a")); };
  const auto flush = [](Cache* cache) { return cache->Flush(); };
  const auto verify = [](Cache* cache) { return StatusOf(cache->Check(false)); };
  const auto repair = [](Cache* cache) { return StatusOf(cache->Check(true)); };
  const auto read_only = [](CacheOptions* options) { options->read_only = true; };
  const auto records = [](CacheOptions* options) { options->record_on_close = true; };
  Operation flush_used = Used("flush-used", flush, same);
  flush_used.linked_to = kReader;
  for (const Operation& operation : {
           Plain("get", GetEach, same),
           Plain("get-many", GetTogether, same),
           Plain("scan", scan, same),
           Plain("ask", Ask, same),
           Plain("record", Count, same),
           Plain("flush", UseAndFlush, same),
           flush_used,
           Plain("close", CloseIt, same),
           Configured(Used("", CloseIt, same), "close-used", records),
           Plain("verify", verify, same),
           Plain("repair", repair, same),
           Plain("open", {}, same),
           Damaged("open-new", RemoveEverything, {}),
           Damaged("open-after-kill", TakeKilled, same),
           Rebuilding("rebuild", DamageCatalog, same),
           Rebuilding("rebuild-lost", LoseCatalog, same),
           Configured(Plain("", {}, same), "open-read-only", read_only),
       }) {
    operations->push_back(operation);
  }
}

std::vector<Operation> MakeOperations() {
  std::vector<Operation> operations;
  AddWriting(&operations);
  AddOthers(&operations);
  return operations;
}

}  // namespace

Values PreparedValues() { return {{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}}; }

const std::vector<Operation>& Operations() {
  static const std::vector<Operation> operations = MakeOperations();
  return operations;
}

Prepared::Prepared(std::string place) : place_(std::move(place)) {}

void Prepared::Make() const {
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
  std::error_code ignored;  // Only what is its own: the folder is the caller's.
  for (const char* own : {"/prepared", "/killed", "/trial"}) {
    std::filesystem::remove_all(place_ + own, ignored);
  }
}

void Prepared::CopyTo(const std::string& directory) const {
  std::filesystem::remove_all(directory);
  std::filesystem::copy(place_ + "/prepared", directory, std::filesystem::copy_options::recursive);
}

}  // namespace barcache::torture
