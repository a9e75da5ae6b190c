#include "torture/worker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <limits>

#include "catalog/catalog.h"

namespace barcache::torture {
namespace {

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "torture: %s\n", what.c_str());
  ::_exit(3);
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
    : folder_(std::move(folder)), durability_(durability), log_(log) {}

Worker::~Worker() { Abandon(); }

void Worker::Begin(std::vector<Effect> effects) { log_.Begin(effects); }

void Worker::End(const Status& status) {
  if (!status.ok()) Fail(doing_ + ": " + status.ToString());
  log_.Ack();
}

void Worker::AddVictims(std::vector<Effect>* effects) const {
  if (!evicts_) return;
  const int kept = effects->back().key;  // What was put last leaves never for itself.
  for (int key = 0; key < kKeyCount; ++key) {
    if (key != kept) effects->push_back({.kind = Effect::Kind::kMayVanish, .key = key});
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
  for (int key = 0; key < kKeyCount; ++key) {
    effects.push_back({.kind = Effect::Kind::kErase, .key = key});
  }
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
  for (int key = 0; key < kKeyCount; ++key) {
    effects.push_back({.kind = Effect::Kind::kMayVanish, .key = key});
  }
  Begin(std::move(effects));
  End(cache_->EvictIfNeeded().status());
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
