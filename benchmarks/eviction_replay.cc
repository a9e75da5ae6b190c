// Replays a trace through the cold tier's own eviction: an in-memory catalog, entries of declared
// sizes, no files. Prints how many requests missed.
//
//   eviction_replay POLICY CAPACITY_BYTES exact|shipped < trace
//
// A line of the trace is "number size_bytes". `exact` evicts as simulators do: uses are applied
// one by one, and no more leaves than must. `shipped` is what a cache does: uses in batches, and
// up to 5 % more leave at once.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "catalog/catalog.h"
#include "cold/evict_rows.h"

namespace barcache {
namespace {

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "eviction_replay: %s\n", why.c_str());
  std::exit(1);
}

void Check(const Status& status) {
  if (!status.ok()) Fail(status.ToString());
}

template <typename T>
T Take(Result<T> result) {
  Check(result.status());
  return *std::move(result);
}

class Uses final : public PendingTouches {
 public:
  void Add(const std::string& key) { pending_.push_back({key, 1, 1}); }
  std::vector<Touch> Take() override { return std::exchange(pending_, {}); }
  void Settle(bool) override {}

 private:
  std::vector<Touch> pending_;
};

class Replay {
 public:
  Replay(EvictionRule rule, Catalog* catalog) : rule_(rule), catalog_(catalog) {}

  void Request(const std::string& key, int64_t size_bytes) {
    ++requests_;
    if (held_.contains(key)) {
      uses_.Add(key);
      return;
    }
    ++misses_;
    missed_bytes_ += size_bytes;
    if (size_bytes <= rule_.capacity_bytes) Put(key, size_bytes);
  }

  void Print() const {
    std::printf("{\"requests\": %lld, \"misses\": %lld, \"missed_bytes\": %lld}\n",
                static_cast<long long>(requests_), static_cast<long long>(misses_),
                static_cast<long long>(missed_bytes_));
  }

 private:
  void Put(const std::string& key, int64_t size_bytes) {
    CatalogWriter writer = Take(catalog_->BeginWrite());
    if (rule_.to_capacity_only) Check(writer.ApplyTouches(uses_.Take()));
    NewEntry entry;
    entry.cache_key = key;
    entry.parquet_path = key + ".parquet";
    entry.checksum = "none";
    entry.size_bytes = size_bytes;
    entry.generation = static_cast<uint64_t>(requests_);
    Take(writer.Upsert(entry));
    EventBuffer events;
    const Eviction eviction = Take(EvictRows(&writer, rule_, key, &uses_, &events));
    Check(writer.Commit());
    held_.insert(key);
    for (const Victim& victim : eviction.victims) held_.erase(victim.cache_key);
  }

  EvictionRule rule_;
  Catalog* catalog_;
  Uses uses_;
  std::unordered_set<std::string> held_;
  int64_t requests_ = 0;
  int64_t misses_ = 0;
  int64_t missed_bytes_ = 0;
};

void Main(int count, char** arguments) {
  if (count != 4) Fail("usage: eviction_replay POLICY CAPACITY_BYTES exact|shipped < trace");
  EvictionRule rule;
  rule.policy = Take(ParseEvictionPolicy(arguments[1]));
  rule.capacity_bytes = std::strtoll(arguments[2], nullptr, 10);
  rule.to_capacity_only = std::strcmp(arguments[3], "exact") == 0;
  if (!rule.to_capacity_only && std::strcmp(arguments[3], "shipped") != 0) {
    Fail("the third argument is neither exact nor shipped");
  }
  const SystemClock clock;
  CatalogOptions options;
  options.db_path = ":memory:";
  const std::unique_ptr<Catalog> catalog = Take(Catalog::Open(options, &clock));
  Replay replay(rule, catalog.get());
  long long number = 0;
  long long size_bytes = 0;
  while (std::scanf("%lld %lld", &number, &size_bytes) == 2) {
    replay.Request("key" + std::to_string(number), size_bytes);
  }
  if (!std::feof(stdin)) Fail("a line of the trace is not two numbers");
  replay.Print();
}

}  // namespace
}  // namespace barcache

int main(int count, char** arguments) { barcache::Main(count, arguments); }
