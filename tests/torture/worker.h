// Worker: a cache and an oracle log: every operation is written down before it begins and after it
// returned. An operation that fails, or a get that yields what was not put, ends the process: exit
// code 3, with the reason on stderr.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "barcache/cache.h"
#include "torture/oracle.h"

namespace barcache::torture {

inline constexpr int64_t kAmple = int64_t{1} << 40;
// What the flights of workers are called, and whoever comes afterwards must be able to lead.
inline constexpr char kFlightName[] = "flight-of-a-worker";
inline constexpr int64_t kDayNs = 86'400'000'000'000;

// What a source said of the days from first to last, included, of a segment's series.
struct Said {
  int segment = 0;
  int first_day = 0;
  int last_day = 0;
  bool none = false;            // There are no bars; else they are in the segment.
  bool forgets_others = false;  // Of the series, what was said before does not count.
};

// The catalog is `folder`/metadata.db, the files are in `folder`/cache.
CacheOptions OptionsOf(const std::string& folder, Durability durability);
std::string FilesOf(const std::string& folder);

// Makes every file in the cache's directory an hour old, so that a repair takes orphans for such.
void AgeFiles(const std::string& folder);

class Worker {
 public:
  Worker(std::string folder, Durability durability, const std::string& log);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void Open(int64_t capacity_bytes = kAmple, EvictionPolicy policy = EvictionPolicy::kLru);
  void Put(int key, long version, const std::string& backtest = "");
  void PutMany(const std::vector<std::pair<int, long>>& items);
  void Get(int key, const std::string& backtest = "");
  void Erase(int key);
  // What a backtest is linked to; the log must say so.
  void EraseBacktest(const std::string& backtest, const std::vector<int>& keys);
  void EraseUnused(const std::vector<int>& keys);
  void Clear();
  void Evict(int64_t capacity_bytes);
  // From now on puts evict down to this.
  void SetLimit(int64_t capacity_bytes);
  // Somebody spoiled these entries.
  void MayVanish(const std::vector<int>& keys);
  void Pin(int key);
  void Unpin(int key);
  // What a backtest is linked to; the log must say so.
  void PinBacktest(const std::string& backtest, const std::vector<int>& keys);
  void UnpinBacktest(const std::string& backtest, const std::vector<int>& keys);
  // Leads kFlightName, puts what it finds missing, and lands.
  void FetchInFlight(int key, long version);
  // The same, but the lease is renewed before the put; it is to be short (OpenForFlights).
  void FetchSlowly(int key, long version);
  void FailInFlight();
  void OpenForFlights(int64_t lease_ms);
  // Of several series in one transaction. A segment that is not there is one that was evicted.
  void RecordCoverage(const std::vector<Said>& said);
  // What was there before any worker.
  void Adopt(const Finding& finding);
  // The catalog was damaged, so that only entries are known; or all but the ledger.
  void Forget();
  void ForgetLedger();
  void Record();
  void Flush();
  void Checkpoint();
  void Repair();
  void Close();
  // Lets go of the cache as a killed process does, but for the locks: for a template.
  void Abandon();

  // Anything else, and what the oracle is to know of it.
  void Do(const std::string& doing, std::vector<Effect> effects,
          const std::function<Status(Cache&)>& work);

  int64_t total_bytes();
  Cache& cache() { return *cache_; }

 private:
  void Begin(std::vector<Effect> effects);
  void End(const Status& status);
  void AddVictims(std::vector<Effect>* effects) const;
  void ChangePins(const std::vector<int>& keys, bool pinned);
  // What putting and removing entries means for pins and coverage.
  void AddConsequences(std::vector<Effect>* effects);
  void AddPins(std::vector<Effect>* effects) const;
  void AddEndOfLedger(std::vector<Effect>* effects);
  void AddCoverage(const std::string& series, std::vector<Effect>* effects) const;
  std::unique_ptr<Flight> Lead();
  Effect DayEffect() const;
  std::vector<Effect> PendingLinks() const;

  std::string folder_;
  Durability durability_;
  OracleLog log_;
  std::unique_ptr<Cache> cache_;
  bool evicts_ = false;
  bool limit_was_lowered_ = false;  // And no put has followed.
  std::vector<std::pair<int, std::string>> pending_links_;
  std::set<int> pins_;
  std::map<std::string, std::vector<std::string>> days_;  // By series: what is known of each day.
  long recorded_hits_ = 0;
  long recorded_misses_ = 0;
  std::string doing_;
};

}  // namespace barcache::torture
