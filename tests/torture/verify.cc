#include "torture/verify.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>
#include <utility>

#include "bars/series.h"
#include "catalog/catalog.h"
#include "torture/bar_series.h"
#include "torture/worker.h"

namespace barcache::torture {
namespace {

namespace fs = std::filesystem;

constexpr double kMostRecoverySeconds = 1.0;
const int64_t kLeaseMs = CacheOptions().lease_ms;

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += " " + name;
  return text;
}

// What a check found beside orphans, which a kill may leave.
void ReportCheck(const CheckReport& report, const std::string& when,
                 std::vector<std::string>* broken) {
  const auto add = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) broken->push_back(when + ": " + what + ":" + Joined(names));
  };
  add("rows without a file", report.missing_files);
  add("files of wrong bytes", report.corrupt_files);
  add("unreadable files", report.unreadable_files);
  add("files that are nobody's", report.foreign_files);
  if (report.totals_differ) broken->push_back(when + ": totals differ from the rows");
  if (report.catalog_damaged) broken->push_back(when + ": the catalog is damaged");
}

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<int> NumberOf(const std::string& key) {
  for (int number = 0; number < kAllKeys; ++number) {
    if (KeyName(number) == key) return number;
  }
  return key == KeyName(kProbeKey) ? std::optional<int>(kProbeKey) : std::nullopt;
}

// Entries that no worker put: whose bytes have which checksum, and who is linked to them.
void LookAtOthers(Cache* cache, Finding* finding, std::vector<std::string>* broken) {
  const std::string bars = SeriesKeyOf(BarSeries()) + ":";
  const auto entries = cache->Entries();
  if (!entries.ok()) return broken->push_back("entries: " + entries.status().ToString());
  for (const EntryInfo& entry : *entries) {
    if (NumberOf(entry.cache_key) || entry.cache_key.starts_with(bars)) continue;
    const auto hit = cache->Get(entry.cache_key);
    const bool there = hit.ok() && hit->has_value();
    if (!there) broken->push_back("get " + entry.cache_key + " gave nothing");
    std::string text = entry.checksum + "." + std::to_string(entry.created_at) + "." +
                       std::to_string(entry.dataset_id) + "." + std::to_string(entry.generation) +
                       "." + std::to_string(there ? (*hit)->frame.num_rows() : -1);
    const auto backtests = cache->BacktestsOf(entry.cache_key);
    if (!backtests.ok()) broken->push_back("backtests: " + backtests.status().ToString());
    for (const std::string& backtest : *backtests) text += "." + backtest;
    finding->facts["entry." + entry.cache_key] = text;
  }
}

void LookAtPins(Cache* cache, Finding* finding, std::vector<std::string>* broken) {
  const auto keys = cache->PinnedKeys();
  if (!keys.ok()) return broken->push_back("pinned keys: " + keys.status().ToString());
  std::set<int> numbers;
  for (const std::string& key : *keys) numbers.insert(NumberOf(key).value_or(-1));
  std::string& text = finding->facts["pins"];
  for (const int number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
}

// What is known of each day of each series, as Worker::RecordCoverage says it.
void LookAtSeries(Cache* cache, Finding* finding, std::vector<std::string>* broken) {
  const auto all = cache->catalog().AllSeries();
  if (!all.ok()) return broken->push_back("series: " + all.status().ToString());
  for (const auto& [series, rows] : *all) {
    if (series.symbol == BarSeries().symbol) continue;
    const std::vector<Coverage> coverage = SoundCoverage(series.series_key, rows);
    if (coverage.size() != rows.size()) broken->push_back("unsound coverage of " + series.symbol);
    std::string text;
    int64_t reached = 0;
    for (const Coverage& part : coverage) {
      const auto days = [&](int64_t end_ns, const std::string& what) {
        for (; reached < end_ns; reached += kDayNs) text += (text.empty() ? "" : ",") + what;
      };
      const int key = NumberOf(part.segment_key).value_or(-1);
      const bool is_data = part.state == CoverageState::kData;
      if (is_data && finding->versions[key] <= 0) {
        broken->push_back(series.symbol + " claims bars of a segment that is not there");
      }
      days(part.interval.begin_ns, "?");
      days(part.interval.end_ns, part.state == CoverageState::kNone
                                     ? "none"
                                     : (is_data ? "data" : "lost") + std::to_string(key));
    }
    finding->facts["series." + series.symbol] = text;
  }
}

class Verifier {
 public:
  explicit Verifier(const VerifyPlan& plan) : plan_(plan) {}

  std::vector<std::string> Run() {
    AgeFiles(plan_.folder);
    if (!Open()) return std::move(broken_);
    Check(false, "after opening");
    const Finding finding = Look(cache_.get(), &broken_);
    auto operations = ReadOracle(plan_.log);
    long acks = 0;
    for (Operation& operation : operations) {
      if (plan_.trusted_acks >= 0 && ++acks > plan_.trusted_acks) operation.acknowledged = false;
    }
    const auto differences =
        plan_.is_lossy ? CompareLossy(operations, finding) : Compare(operations, finding);
    broken_.insert(broken_.end(), differences.begin(), differences.end());
    // A read drops what it cannot verify, so nothing bad is left of what was read.
    if (plan_.is_lossy) Check(false, "after reading");
    WriteDown(finding);
    if (plan_.flies) Fly();
    CompareTotals();  // Before anything is evicted to make room for the probe.
    if (plan_.probes) Probe();
    Check(true, "repairing");
    Check(false, "after the repair");
    CompareFiles();
    if (plan_.closes) {
      Expect(cache_->Close(), "close");
    } else {
      static_cast<void>(cache_.release());
    }
    return std::move(broken_);
  }

 private:
  bool Expect(const Status& status, const std::string& what) {
    if (!status.ok()) broken_.push_back(what + " failed: " + status.ToString());
    return status.ok();
  }

  bool Open() {
    CacheOptions options = OptionsOf(plan_.folder, plan_.durability);
    options.record_on_close = false;  // The oracle counts the hits of workers only.
    const std::clock_t begin = std::clock();
    auto cache = Cache::Open(options);
    if (!Expect(cache.status(), "open")) return false;
    cache_ = std::move(*cache);
    (void)Expect(cache_->Get(KeyName(0)).status(), "first get");
    // Of the processor: the machine may be busy with something else.
    const double took = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    if (took > kMostRecoverySeconds) {
      broken_.push_back("recovery took " + std::to_string(took) + " s");
    }
    return true;
  }

  void Check(bool repair, const std::string& when) {
    const auto report = cache_->Check(repair);
    if (!Expect(report.status(), when)) return;
    const bool first = when == "after opening" || when == "repairing";
    const bool surprised = !first || !plan_.has_bad_files;
    if (surprised) ReportCheck(*report, when, &broken_);
    if (when == "after the repair" && !report->clean()) broken_.push_back(when + ": not clean");
  }

  void WriteDown(const Finding& finding) const {
    if (plan_.found_log.empty()) return;
    fs::remove(plan_.found_log);
    OracleLog log(plan_.found_log);
    std::vector<Effect> effects = AsOperation(finding).effects;
    effects.push_back({.kind = Effect::Kind::kDay, .hits = finding.hits, .misses = finding.misses});
    log.Begin(effects);
    log.Ack();
  }

  void CompareTotals() {
    int64_t sum = 0;
    const auto entries = cache_->Entries();
    const auto total = cache_->TotalSizeBytes();
    if (!Expect(entries.status(), "entries") || !Expect(total.status(), "total size")) return;
    for (const EntryInfo& entry : *entries) sum += entry.size_bytes;
    if (sum != *total) {
      broken_.push_back("total size is " + std::to_string(*total) + ", the entries have " +
                        std::to_string(sum));
    }
    if (plan_.limit_bytes > 0 && sum > plan_.limit_bytes) {
      broken_.push_back(std::to_string(sum) + " bytes are above the limit of " +
                        std::to_string(plan_.limit_bytes));
    }
  }

  // A lease of who died is no obstacle, and none of ours stays.
  void Fly() {
    const std::string why = FetchAfterOthers(cache_.get(), kProbeKey, 1, nullptr);
    if (!why.empty()) broken_.push_back(why);
    const auto rows = cache_->catalog().Leases(kFlightName);
    if (!Expect(rows.status(), "leases")) return;
    for (const LeaseRow& row : *rows) {
      if (!row.error_type) broken_.push_back("a lease stays after the flight has landed");
    }
    Expect(cache_->Erase(KeyName(kProbeKey)).status(), "clear");
  }

  void Probe() {
    const std::string key = KeyName(kProbeKey);
    for (const long version : {1, 2}) {
      const Frame frame = FrameOf(kProbeKey, version);
      if (!Expect(cache_->Put(key, frame), "the next put")) return;
      const auto hit = cache_->Get(key);
      if (!Expect(hit.status(), "the next get")) return;
      if (!*hit || VersionOf(kProbeKey, (*hit)->frame) != version) {
        broken_.push_back("the next get does not see the next put");
      }
    }
    Expect(cache_->Erase(key).status(), "the next clear");
  }

  // After a repair the directory holds the rows' files, each of its size, and nothing else.
  void CompareFiles() {
    const auto entries = cache_->Entries();
    if (!Expect(entries.status(), "entries")) return;
    std::set<std::pair<std::string, int64_t>> rows;
    std::set<std::pair<std::string, int64_t>> files;
    for (const EntryInfo& entry : *entries) rows.emplace(entry.parquet_path, entry.size_bytes);
    for (const auto& file : fs::directory_iterator(FilesOf(plan_.folder))) {
      files.emplace(file.path().filename(), fs::file_size(file.path()));
    }
    if (rows != files) broken_.push_back("files and rows differ after the repair");
    static const std::set<std::string> kNames = {"cache", "metadata.db", "metadata.db-wal",
                                                 "metadata.db-shm", "metadata.db-barcache"};
    for (const auto& file : fs::directory_iterator(plan_.folder)) {
      const std::string name = file.path().filename();
      if (plan_.rebuilds && name.starts_with("metadata.db.corrupt-")) continue;
      if (!kNames.contains(name)) broken_.push_back("left beside the catalog: " + name);
    }
    if (!plan_.original.empty() && !KeepsOriginal()) {
      broken_.push_back("the damaged catalog was not kept");
    }
  }

  bool KeepsOriginal() const {
    const std::string original = Content(plan_.original);
    return std::ranges::any_of(fs::directory_iterator(plan_.folder), [&](const auto& file) {
      const std::string name = file.path().filename();
      return name.starts_with("metadata.db.corrupt-") && Content(file.path()) == original;
    });
  }

  const VerifyPlan& plan_;
  std::unique_ptr<Cache> cache_;
  std::vector<std::string> broken_;
};

}  // namespace

std::string FetchAfterOthers(Cache* cache, int key, long version, OracleLog* log) {
  // Long before the lease would expire: that its holder is gone is to be noticed.
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::milliseconds(kLeaseMs / 2);
  for (;;) {
    auto flight = cache->BeginFlight(kFlightName);
    if (!flight.ok()) return "flight: " + flight.status().ToString();
    while ((*flight)->Poll() == FlightState::kWaiting) {
      if (std::chrono::steady_clock::now() > give_up) return "a dead process's lease is waited for";
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const auto hit = cache->Get(KeyName(key));
    if (!hit.ok()) return "get: " + hit.status().ToString();
    if (*hit) return "";
    if ((*flight)->state() != FlightState::kLeading)
      continue;  // It could not be stored, or failed.
    if (log != nullptr) log->Begin({{.key = key, .version = version}});
    const Status put = cache->Put(KeyName(key), FrameOf(key, version));
    if (log != nullptr && put.ok()) log->Ack();
    (*flight)->Land();
    return put.ok() ? "" : "put: " + put.ToString();
  }
}

std::vector<std::string> Verify(const VerifyPlan& plan) { return Verifier(plan).Run(); }

Finding Look(Cache* cache, std::vector<std::string>* broken) {
  Finding finding;
  const auto statistics = cache->Statistics();
  if (statistics.ok()) {
    const SessionStats own = cache->session_stats();
    finding.hits = static_cast<long>(statistics->hit_count - own.hit_count);
    finding.misses = static_cast<long>(statistics->miss_count - own.miss_count);
  } else {
    broken->push_back("statistics: " + statistics.status().ToString());
  }
  for (int key = 0; key < kAllKeys; ++key) {
    const auto hit = cache->Get(KeyName(key));
    if (!hit.ok()) {
      broken->push_back("get " + KeyName(key) + ": " + hit.status().ToString());
      continue;
    }
    const auto version = *hit ? VersionOf(key, (*hit)->frame) : std::optional<long>(0);
    if (!version) broken->push_back("get " + KeyName(key) + " gave what was never put");
    finding.versions[key] = version.value_or(-1);
    const auto backtests = cache->BacktestsOf(KeyName(key));
    if (backtests.ok()) finding.links[key] = {backtests->begin(), backtests->end()};
  }
  LookAtOthers(cache, &finding, broken);
  LookAtPins(cache, &finding, broken);
  LookAtSeries(cache, &finding, broken);
  finding.facts["bars"] = BarsFound(cache, broken);
  return finding;
}

}  // namespace barcache::torture
