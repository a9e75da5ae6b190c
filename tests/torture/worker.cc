#include "torture/worker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <limits>
#include <sstream>
#include <thread>

#include "bars/ledger.h"
#include "catalog/catalog.h"

namespace barcache::torture {
namespace {

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "torture: %s\n", what.c_str());
  ::_exit(3);
}

// Parts between commas; none of "".
std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

template <typename Parts>
std::string Joined(const Parts& parts) {
  std::ostringstream text;
  const char* between = "";
  for (const auto& part : parts) {
    text << between << part;
    between = ",";
  }
  return text.str();
}

template <typename T>
T ValueOf(Result<T> result, const std::string& doing) {
  if (!result.ok()) Fail(doing + ": " + result.status().ToString());
  return std::move(result).value();
}

}  // namespace

CacheOptions OptionsOf(const std::string& folder, Durability durability) {
  CacheOptions options;
  options.db_path = folder + "/metadata.db";
  options.cache_directory = FilesOf(folder);
  options.hot_capacity_bytes = 64 << 20;
  options.cold_capacity_bytes = kAmple;
  options.durability = durability;
  return options;
}

std::string FilesOf(const std::string& folder) { return folder + "/cache"; }

void AgeFiles(const std::string& folder) {
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(FilesOf(folder), error)) {
    timespec times[2] = {};
    ::clock_gettime(CLOCK_REALTIME, &times[1]);
    times[1].tv_sec -= 3600;
    times[0] = times[1];
    ::utimensat(AT_FDCWD, file.path().c_str(), times, AT_SYMLINK_NOFOLLOW);
  }
}

Worker::Worker(std::string folder, Durability durability, const std::string& log)
    : folder_(std::move(folder)), durability_(durability), log_(log) {
  World world;
  for (const Operation& operation : ReadOracle(log)) world.DoneTo(operation);
  for (const std::string& key : Split(world.facts["pins"])) pins_.insert(std::stoi(key));
  for (const int key : {kKeyCount, kKeyCount + 1}) {
    const std::string series = SeriesOf(key).symbol;
    days_[series] = Split(world.facts["series." + series]);
  }
}

Worker::~Worker() { Abandon(); }

void Worker::Begin(std::vector<Effect> effects) {
  AddConsequences(&effects);
  log_.Begin(effects);
}

void Worker::End(const Status& status) {
  if (!status.ok()) Fail(doing_ + ": " + status.ToString());
  log_.Ack();
}

void Worker::AddVictims(std::vector<Effect>* effects) const {
  if (!evicts_) return;
  const int kept = effects->back().key;  // What was put last leaves never for itself.
  for (int key = 0; key < kAllKeys; ++key) {
    if (key == kept || pins_.contains(key)) continue;
    effects->push_back({.kind = Effect::Kind::kMayVanish, .key = key});
  }
}

Effect Worker::DayEffect() const {
  const SessionStats stats = cache_->session_stats();
  return {.kind = Effect::Kind::kDay,
          .hits = static_cast<long>(stats.hit_count) - recorded_hits_,
          .misses = static_cast<long>(stats.miss_count) - recorded_misses_};
}

std::vector<Effect> Worker::PendingLinks() const {
  std::vector<Effect> effects;
  for (const auto& [key, backtest] : pending_links_) {
    effects.push_back({.kind = Effect::Kind::kLink, .key = key, .backtest = backtest});
  }
  return effects;
}

void Worker::Open(int64_t capacity_bytes, EvictionPolicy policy) {
  CacheOptions options = OptionsOf(folder_, durability_);
  options.cold_capacity_bytes = capacity_bytes;
  options.eviction_policy = policy;
  evicts_ = capacity_bytes < kAmple;
  limit_was_lowered_ = false;
  recorded_hits_ = recorded_misses_ = 0;  // A cache counts from its opening on.
  cache_ = ValueOf(Cache::Open(options), "open");
}

void Worker::Put(int key, long version, const std::string& backtest) {
  doing_ = "put " + KeyName(key);
  std::vector<Effect> effects;
  const Frame frame = FrameOf(key, version);
  // A large frame does not fit where others make room: the older entry goes.
  if (evicts_ && IsLarge(version)) {
    effects.push_back({.kind = Effect::Kind::kErase, .key = key});
    // Not for it, but because the limit was lowered: a put leaves no more than the limit.
    if (limit_was_lowered_) AddVictims(&effects);
  } else {
    if (!backtest.empty()) {
      effects.push_back({.kind = Effect::Kind::kLink, .key = key, .backtest = backtest});
    }
    effects.push_back({.kind = Effect::Kind::kPut, .key = key, .version = version});
    AddVictims(&effects);
  }
  Begin(std::move(effects));
  PutOptions options;
  options.backtest_id = backtest;
  End(cache_->Put(KeyName(key), frame, options));
  limit_was_lowered_ = false;
}

void Worker::PutMany(const std::vector<std::pair<int, long>>& items) {
  doing_ = "put_many";
  std::vector<Effect> effects;
  std::vector<PutItem> puts;
  for (const auto& [key, version] : items) {
    effects.push_back({.kind = Effect::Kind::kPut, .key = key, .version = version});
    puts.push_back({KeyName(key), FrameOf(key, version)});
  }
  AddVictims(&effects);
  Begin(std::move(effects));
  End(cache_->PutMany(puts));
}

void Worker::Get(int key, const std::string& backtest) {
  GetOptions options;
  options.backtest_id = backtest;
  const auto hit = ValueOf(cache_->Get(KeyName(key), options), "get");
  if (!hit) return;
  if (!VersionOf(key, hit->frame)) Fail("get " + KeyName(key) + " gave what was never put");
  if (!backtest.empty()) pending_links_.emplace_back(key, backtest);
}

void Worker::Erase(int key) {
  doing_ = "clear " + KeyName(key);
  Begin({{.kind = Effect::Kind::kErase, .key = key}});
  End(cache_->Erase(KeyName(key)).status());
}

void Worker::EraseBacktest(const std::string& backtest, const std::vector<int>& keys) {
  doing_ = "clear " + backtest;
  std::vector<Effect> effects;
  for (const int key : keys) effects.push_back({.kind = Effect::Kind::kErase, .key = key});
  Begin(std::move(effects));
  End(cache_->EraseBacktest(backtest).status());
}

void Worker::EraseUnused(const std::vector<int>& keys) {
  doing_ = "clear what was not used";
  std::vector<Effect> effects;
  for (const int key : keys) effects.push_back({.kind = Effect::Kind::kErase, .key = key});
  Begin(std::move(effects));
  End(cache_->EraseUnusedSince(std::numeric_limits<int32_t>::max()).status());
}

void Worker::Clear() {
  doing_ = "clear";
  std::vector<Effect> effects;
  for (int key = 0; key < kAllKeys; ++key) {
    effects.push_back({.kind = Effect::Kind::kErase, .key = key});
  }
  AddEndOfLedger(&effects);
  Begin(std::move(effects));
  End(cache_->Clear().status());
}

void Worker::SetLimit(int64_t capacity_bytes) {
  evicts_ = limit_was_lowered_ = true;
  const Status status = cache_->set_cold_capacity_bytes(capacity_bytes);
  if (!status.ok()) Fail(status.ToString());
}

void Worker::MayVanish(const std::vector<int>& keys) {
  std::vector<Effect> effects;
  for (const int key : keys) effects.push_back({.kind = Effect::Kind::kMayVanish, .key = key});
  Begin(std::move(effects));
  log_.Ack();
}

void Worker::Evict(int64_t capacity_bytes) {
  doing_ = "evict";
  SetLimit(capacity_bytes);
  std::vector<Effect> effects;
  for (int key = 0; key < kAllKeys; ++key) {
    if (pins_.contains(key)) continue;
    effects.push_back({.kind = Effect::Kind::kMayVanish, .key = key});
  }
  Begin(std::move(effects));
  End(cache_->EvictIfNeeded().status());
}

void Worker::ChangePins(const std::vector<int>& keys, bool pinned) {
  for (const int key : keys) pinned ? void(pins_.insert(key)) : void(pins_.erase(key));
  std::vector<Effect> effects;
  AddPins(&effects);
  Begin(std::move(effects));
}

void Worker::Pin(int key) {
  doing_ = "pin " + KeyName(key);
  ChangePins({key}, true);
  End(cache_->Pin(KeyName(key)).status());
}

void Worker::Unpin(int key) {
  doing_ = "unpin " + KeyName(key);
  ChangePins({key}, false);
  End(cache_->Unpin(KeyName(key)).status());
}

void Worker::PinBacktest(const std::string& backtest, const std::vector<int>& keys) {
  doing_ = "pin " + backtest;
  ChangePins(keys, true);
  End(cache_->PinBacktest(backtest).status());
}

void Worker::UnpinBacktest(const std::string& backtest, const std::vector<int>& keys) {
  doing_ = "unpin " + backtest;
  ChangePins(keys, false);
  End(cache_->UnpinBacktest(backtest).status());
}

void Worker::AddPins(std::vector<Effect>* effects) const {
  effects->push_back({.kind = Effect::Kind::kFact, .name = "pins", .text = Joined(pins_)});
}

void Worker::AddCoverage(const std::string& series, std::vector<Effect>* effects) const {
  effects->push_back(
      {.kind = Effect::Kind::kFact, .name = "series." + series, .text = Joined(days_.at(series))});
}

void Worker::AddEndOfLedger(std::vector<Effect>* effects) {
  for (auto& [series, days] : days_) {
    if (days.empty()) continue;
    days.clear();
    AddCoverage(series, effects);
  }
}

void Worker::AddConsequences(std::vector<Effect>* effects) {
  bool unpins = false;
  std::set<std::string> changed;
  for (const Effect& effect : *effects) {
    const bool removes = effect.kind == Effect::Kind::kErase;
    if (!removes && effect.kind != Effect::Kind::kPut) continue;
    unpins = unpins || (removes && pins_.erase(effect.key) > 0);
    // Who replaces a segment says nothing of what is in it, so it covers nothing either.
    if (effect.key < kKeyCount) continue;
    const std::string series = SeriesOf(effect.key).symbol;
    for (std::string& day : days_[series]) {
      if (day != "data" + std::to_string(effect.key)) continue;
      day = "lost" + std::to_string(effect.key);
      changed.insert(series);
    }
  }
  if (unpins) AddPins(effects);
  for (const std::string& series : changed) AddCoverage(series, effects);
}

std::unique_ptr<Flight> Worker::Lead() {
  auto flight = ValueOf(cache_->BeginFlight(kFlightName), "begin a flight");
  if (flight->state() != FlightState::kLeading) Fail("somebody else leads the flight");
  return flight;
}

void Worker::OpenForFlights(int64_t lease_ms) {
  CacheOptions options = OptionsOf(folder_, durability_);
  options.lease_ms = lease_ms;
  cache_ = ValueOf(Cache::Open(options), "open");
}

void Worker::FetchInFlight(int key, long version) {
  const auto flight = Lead();
  Get(key);
  Put(key, version);
  flight->Land();
}

void Worker::FetchSlowly(int key, long version) {
  const auto flight = Lead();
  const auto expires_ns = [&] {
    const auto rows = ValueOf(cache_->catalog().Leases(kFlightName), "leases");
    return rows.empty() ? 0 : rows.front().expires_ns;
  };
  const int64_t first_ns = expires_ns();
  while (expires_ns() == first_ns) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  Put(key, version);
  flight->Land();
}

void Worker::FailInFlight() {
  const auto flight = Lead();
  flight->Fail({"ConnectionError", "no line"});
}

void Worker::RecordCoverage(const std::vector<Said>& said) {
  doing_ = "record coverage";
  std::vector<Answer> answers;
  std::vector<Effect> effects;
  for (const Said& one : said) {
    const SeriesName name = SeriesOf(one.segment);
    std::vector<std::string>& days = days_[name.symbol];
    if (one.forgets_others) days.clear();
    if (days.size() <= static_cast<size_t>(one.last_day)) days.resize(one.last_day + 1U, "?");
    const bool there = ValueOf(cache_->Find(KeyName(one.segment)), "find").has_value();
    const std::string key = std::to_string(one.segment);
    for (int day = one.first_day; day <= one.last_day; ++day) {
      days[static_cast<size_t>(day)] = one.none ? "none" : (there ? "data" : "lost") + key;
    }
    AddCoverage(name.symbol, &effects);
    Coverage coverage;
    coverage.interval = {one.first_day * kDayNs, (one.last_day + 1) * kDayNs};
    coverage.state = one.none ? CoverageState::kNone : CoverageState::kData;
    if (!one.none) coverage.segment_key = KeyName(one.segment);
    coverage.asked_at_s = 1;
    answers.push_back({name, "", {coverage}, one.forgets_others, {}});
  }
  Begin(std::move(effects));
  Ledger ledger(&cache_->catalog());
  End(ledger.Record(answers).status());
}

void Worker::Adopt(const Finding& finding) {
  std::vector<Effect> effects = AsOperation(finding).effects;
  effects.push_back({.kind = Effect::Kind::kDay, .hits = finding.hits, .misses = finding.misses});
  log_.Begin(effects);
  log_.Ack();
}

void Worker::ForgetLedger() {
  std::vector<Effect> effects;
  AddEndOfLedger(&effects);
  log_.Begin(effects);
  log_.Ack();
}

void Worker::Forget() {
  pins_.clear();
  for (auto& [series, days] : days_) days.clear();
  log_.Begin({{.kind = Effect::Kind::kForget}});
  log_.Ack();
}

void Worker::Do(const std::string& doing, std::vector<Effect> effects,
                const std::function<Status(Cache&)>& work) {
  doing_ = doing;
  Begin(std::move(effects));
  End(work(*cache_));
}

void Worker::Record() {
  doing_ = "record_daily_statistics";
  const Effect day = DayEffect();
  Begin({day});
  End(cache_->RecordDailyStatistics());
  recorded_hits_ += day.hits;
  recorded_misses_ += day.misses;
}

void Worker::Flush() {
  doing_ = "flush";
  Begin(PendingLinks());
  End(cache_->Flush());
  pending_links_.clear();
}

void Worker::Checkpoint() {
  doing_ = "checkpoint";
  Begin({});
  End(cache_->catalog().CheckpointIfNeeded());
}

void Worker::Repair() {
  doing_ = "repair";
  Begin({});
  End(cache_->Check(true).status());
}

void Worker::Close() {
  // Two transactions, so two operations; the second ends with the process's last lock.
  if (!pending_links_.empty()) Flush();
  doing_ = "close";
  Begin({DayEffect()});
  End(cache_->Close());
  cache_.reset();
}

void Worker::Abandon() {
  // Nothing of a cache that is not closed may run: not even the thread that writes uses.
  static_cast<void>(cache_.release());
}

int64_t Worker::total_bytes() { return ValueOf(cache_->TotalSizeBytes(), "total size"); }

}  // namespace barcache::torture
