// torture storm-worker: threads that do everything at once to one cache, and write down what they
// saw.
//
//   --dir DIR --log DIR --worker N --threads N --operations N --keys N --seed N
//   --roomy 0|1 --policy NAME --durability normal|full
//
// torture storm-end: after the storm, one process reads every key, then checks and repairs.

#include <atomic>
#include <cstdio>
#include <memory>
#include <random>
#include <thread>

#include "barcache/cache.h"
#include "frame/sample_frame.h"
#include "torture/command.h"
#include "torture/storm_log.h"

namespace barcache::torture {
namespace {

constexpr int64_t kTinyHotBytes = 40'000;
constexpr int64_t kTinyColdBytes = 60'000;

CacheOptions OptionsOf(const Options& options) {
  CacheOptions cache;
  cache.db_path = Text(options, "dir") + "/metadata.db";
  cache.cache_directory = Text(options, "dir") + "/cache";
  if (Number(options, "roomy") == 0) {
    cache.hot_capacity_bytes = kTinyHotBytes;
    cache.cold_capacity_bytes = kTinyColdBytes;
  }
  auto policy = ParseEvictionPolicy(Text(options, "policy", "lru"));
  cache.eviction_policy = policy.ok() ? *policy : EvictionPolicy::kLru;
  if (Text(options, "durability", "normal") == "full") cache.durability = Durability::kFull;
  return cache;
}

std::string KeyText(uint32_t key) { return "key" + std::to_string(key); }

// A frame says which put it is of; its length follows from that, so that sizes differ.
int64_t RowsOf(uint64_t value) { return 1 + static_cast<int64_t>(value % 97); }

Frame FrameOf(uint64_t value) { return SampleBars(RowsOf(value), static_cast<double>(value)); }

// The put that the frame is of, or ~0 if it is no whole frame of any put.
uint64_t ValueOf(const Frame& frame) {
  ArrowSchema schema;
  ArrowArray array;
  frame.ExportArray(&schema, &array);
  uint64_t value = ~uint64_t{0};
  if (array.n_children == 2 && array.length > 0) {
    const auto* closes = static_cast<const double*>(array.children[1]->buffers[1]);
    value = static_cast<uint64_t>(closes[0]);
    bool whole = array.length == RowsOf(value);
    for (int64_t row = 0; whole && row < array.length; ++row) {
      whole = closes[row] == static_cast<double>(value) + static_cast<double>(row) * 0.25;
    }
    if (!whole) value = ~uint64_t{0};
  }
  array.release(&array);
  schema.release(&schema);
  return value;
}

std::atomic<int64_t> g_errors{0};

void SayError(const char* what, const Status& status) {
  if (g_errors.fetch_add(1) < 20) std::printf("%s: %s\n", what, status.ToString().c_str());
}

class Thread {
 public:
  Thread(Cache* cache, const Options& options, int number)
      : cache_(cache),
        options_(options),
        worker_(static_cast<uint64_t>(Number(options, "worker"))),
        number_(static_cast<uint64_t>(number)),
        operations_(Number(options, "operations")),
        random_(static_cast<uint64_t>(Number(options, "seed")) * 1'000'003 + worker_ * 1009 +
                number_),
        keys_(static_cast<uint32_t>(Number(options, "keys"))),
        log_(Text(options, "log") + "/" + std::to_string(worker_) + "-" + std::to_string(number),
             operations_ + 64) {}

  void Run() {
    for (done_ = 0; done_ < operations_;) {
      const auto dice = random_() % 1000;
      if (dice < 780)
        Get(cache_);
      else if (dice < 860)
        Put(cache_);
      else if (dice < 885)
        GetMany();
      else if (dice < 900)
        PutMany();
      else if (dice < 925)
        Erase();
      else if (dice < 935)
        EraseBacktest();
      else if (dice < 937)
        Clear();
      else if (dice < 950)
        Look();
      else if (dice < 960)
        Keep("evict", cache_->EvictIfNeeded().status());
      else if (dice < 970)
        Keep("record", cache_->RecordDailyStatistics());
      else if (dice < 990)
        Keep("flush", cache_->Flush());
      else if (dice < 991)
        Visit();
      else
        done_ += 1;
    }
  }

  int64_t gets() const { return gets_; }

  void Get(Cache* cache) {
    const uint32_t key = AnyKey();
    const int64_t event = log_.Begin(Deed::kGet, key, 0);
    auto hit = cache->Get(KeyText(key), {.backtest_id = AnyBacktest()});
    Keep("get", hit.status());
    log_.End(event, hit.ok() && hit->has_value() ? ValueOf((*hit)->frame) : 0);
    if (cache == cache_) ++gets_;
  }

 private:
  uint32_t AnyKey() {
    ++done_;
    return static_cast<uint32_t>(random_() % keys_);
  }
  const char* AnyBacktest() {
    static constexpr const char* kBacktests[] = {"", "", "bt-1", "bt-2", "bt-3"};
    return kBacktests[random_() % 5];
  }
  uint64_t NextValue() { return (worker_ << 36) | (number_ << 28) | ++puts_; }

  void Keep(const char* what, const Status& status) {
    ++done_;
    if (!status.ok()) SayError(what, status);
  }

  void Put(Cache* cache) {
    const uint32_t key = AnyKey();
    const uint64_t value = NextValue();
    const Frame frame = FrameOf(value);
    const int64_t event = log_.Begin(Deed::kPut, key, value);
    PutOptions put;
    put.backtest_id = AnyBacktest();
    const Status status = cache->Put(KeyText(key), frame, put);
    status.ok() ? log_.End(event) : log_.Withdraw(event);
    if (!status.ok()) SayError("put", status);
  }

  void PutMany() {
    std::vector<PutItem> items;
    std::vector<int64_t> events;
    const uint32_t first = AnyKey();
    for (uint32_t i = 0; i < std::min(3U, keys_); ++i) {  // Different keys: their order is open.
      const uint32_t key = (first + i) % keys_;
      const uint64_t value = NextValue();
      items.push_back({KeyText(key), FrameOf(value)});
      events.push_back(log_.Begin(Deed::kPut, key, value));
    }
    const Status status = cache_->PutMany(items);
    for (const int64_t event : events) status.ok() ? log_.End(event) : log_.Withdraw(event);
    Keep("put_many", status);
    done_ += 2;
  }

  void GetMany() {
    std::vector<std::string> names;
    std::vector<int64_t> events;
    for (int i = 0; i < 4; ++i) {
      const uint32_t key = AnyKey();
      names.push_back(KeyText(key));
      events.push_back(log_.Begin(Deed::kGet, key, 0));
    }
    std::vector<uint64_t> values(names.size(), 0);
    const Status status = cache_->GetMany(names, {}, [&](const std::vector<IndexedHit>& hits) {
      for (const auto& [index, hit] : hits) values[index] = ValueOf(hit.frame);
    });
    if (!status.ok()) SayError("get_many", status);
    for (size_t i = 0; i < events.size(); ++i) log_.End(events[i], values[i]);
    gets_ += static_cast<int64_t>(names.size());
  }

  void Erase() {
    const uint32_t key = AnyKey();
    const int64_t event = log_.Begin(Deed::kErase, key, 0);
    const auto erased = cache_->Erase(KeyText(key));
    if (!erased.ok()) SayError("erase", erased.status());
    erased.ok() ? log_.End(event) : log_.Withdraw(event);
  }

  void EraseBacktest() {
    const int64_t event = log_.Begin(Deed::kMayErase, 0, 0);
    Keep("erase backtest", cache_->EraseBacktest("bt-1", random_() % 2 == 0).status());
    log_.End(event);
  }

  void Clear() {
    const int64_t event = log_.Begin(Deed::kClear, 0, 0);
    const auto cleared = cache_->Clear();
    cleared.ok() ? log_.End(event) : log_.Withdraw(event);
    Keep("clear", cleared.status());
  }

  void Look() {
    Keep("find", cache_->Find(KeyText(AnyKey())).status());
    Keep("entries", cache_->Entries().status());
    Keep("statistics", cache_->Statistics().status());
    Keep("backtests", cache_->BacktestsOf(KeyText(AnyKey())).status());
  }

  // A second cache of this process on the same directory: opened, used, closed.
  void Visit() {
    CacheOptions visit = OptionsOf(options_);
    visit.record_on_close = false;
    auto cache = Cache::Open(visit);
    if (!cache.ok()) return SayError("open", cache.status());
    Put(cache->get());
    Get(cache->get());
    Keep("close", (*cache)->Close());
  }

  Cache* const cache_;
  const Options& options_;
  const uint64_t worker_;
  const uint64_t number_;
  const int64_t operations_;
  std::mt19937_64 random_;
  const uint32_t keys_;
  StormLog log_;
  uint64_t puts_ = 0;
  int64_t gets_ = 0;
  int64_t done_ = 0;
};

// I7: every get was counted once, as a hit or as a miss.
void CheckCounters(const Cache& cache, int64_t gets) {
  const SessionStats stats = cache.session_stats();
  if (stats.hit_count + stats.miss_count == gets &&
      stats.hot_hits + stats.cold_hits == stats.hit_count) {
    return;
  }
  ++g_errors;
  std::printf("%lld hits and %lld misses of %lld gets\n", static_cast<long long>(stats.hit_count),
              static_cast<long long>(stats.miss_count), static_cast<long long>(gets));
}

int Verdict() { return g_errors == 0 ? 0 : 1; }

void CheckDirectory(Cache* cache, bool roomy) {
  auto report = cache->Check(false);
  if (!report.ok()) return SayError("check", report.status());
  for (const auto* wrong : {&report->missing_files, &report->corrupt_files,
                            &report->unreadable_files, &report->foreign_files}) {
    for (const std::string& name : *wrong) {
      SayError("check", Status(ErrorCode::kCorruption, "missing, corrupt or foreign: " + name));
    }
  }
  if (report->totals_differ || report->catalog_damaged) {
    SayError("check", Status(ErrorCode::kCorruption, "totals differ or the catalog is damaged"));
  }
  const auto size = cache->TotalSizeBytes();
  if (!size.ok()) return SayError("size", size.status());
  if (!roomy && *size > kTinyColdBytes) {
    SayError("size", Status(ErrorCode::kInternal, std::to_string(*size) + " bytes are too many"));
  }
}

}  // namespace

int StormWorker(const Options& options) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  auto cache = Cache::Open(OptionsOf(options));
  if (!cache.ok()) {
    SayError("open", cache.status());
    return Verdict();
  }
  std::vector<std::unique_ptr<Thread>> all;
  for (int i = 0; i < Number(options, "threads"); ++i) {
    all.push_back(std::make_unique<Thread>(cache->get(), options, i));
  }
  std::vector<std::thread> running;
  for (const auto& one : all) running.emplace_back([&one] { one->Run(); });
  for (std::thread& thread : running) thread.join();
  int64_t gets = 0;
  for (const auto& one : all) gets += one->gets();
  CheckCounters(**cache, gets);
  const Status closed = (*cache)->Close();
  if (!closed.ok()) SayError("close", closed);
  std::printf("gets %lld\n", static_cast<long long>(gets));
  return Verdict();
}

int StormEnd(const Options& options) {
  auto cache = Cache::Open(OptionsOf(options));
  if (!cache.ok()) {
    SayError("open", cache.status());
    return Verdict();
  }
  CheckDirectory(cache->get(), Number(options, "roomy") != 0);
  Options every = options;
  every["operations"] = "4096";
  Thread reader(cache->get(), every, 0);
  for (int i = 0; i < 2000; ++i) reader.Get(cache->get());
  auto statistics = (*cache)->Statistics();
  if (!statistics.ok()) SayError("statistics", statistics.status());
  if (statistics.ok()) {
    const int64_t recorded = statistics->hit_count + statistics->miss_count - reader.gets();
    std::printf("recorded %lld\n", static_cast<long long>(recorded));
  }
  return Verdict();
}

}  // namespace barcache::torture
