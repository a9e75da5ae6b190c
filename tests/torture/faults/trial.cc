// One trial. See trial.h.
#include "torture/faults/trial.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <new>
#include <set>
#include <sstream>
#include <thread>

#include "base/sha256.h"
#include "frame/sample_frame.h"
#include "torture/faults/fault.h"

namespace barcache::torture {
namespace {

constexpr int64_t kLeaseMs = 300;
constexpr int kMostLockMs = 5000;
constexpr int64_t kBusyTimeoutMs = 20;         // A lock that never comes is waited for this long.
constexpr std::chrono::seconds kMostTime{10};  // For an operation that waits for several.

CacheOptions OptionsIn(const std::string& directory, const Operation& operation) {
  CacheOptions options;
  options.db_path = directory + "/metadata.db";
  options.cache_directory = directory + "/cache";
  options.busy_timeout_ms = kBusyTimeoutMs;
  options.record_on_close = false;
  options.lease_ms = kLeaseMs;
  if (operation.configure) operation.configure(&options);
  return options;
}

bool Holds(const Values& values, const std::string& key, int64_t value) {
  const auto known = values.find(key);
  return known != values.end() && known->second == value;
}

// The put that the frame is of; -1: it is no whole frame of any.
int64_t ValueOf(const Frame& frame) {
  ArrowSchema schema;
  ArrowArray array;
  frame.ExportArray(&schema, &array);
  int64_t value = -1;
  if (array.n_children == 2 && array.length > 0) {
    const auto* closes = static_cast<const double*>(array.children[1]->buffers[1]);
    value = static_cast<int64_t>(closes[0]);
    for (int64_t row = 0; row < array.length; ++row) {
      if (closes[row] != closes[0] + static_cast<double>(row) * 0.25) value = -1;
    }
  }
  array.release(&array);
  schema.release(&schema);
  return value;
}

// Locks of files in the directory that somebody still has, beside those that say that a database
// is open.
int64_t HeldLocks(const std::string& directory) {
  std::map<std::string, bool> inodes;  // Whether it is the index of a log.
  for (const auto& item : std::filesystem::directory_iterator(directory)) {
    struct stat status = {};
    if (::stat(item.path().c_str(), &status) != 0) continue;
    inodes[std::to_string(status.st_ino)] = item.path().string().ends_with("-shm");
  }
  int64_t held = 0;
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, family, kind, how, pid, file, first, last;
    words >> number >> family >> kind >> how >> pid >> file >> first >> last;
    const auto inode = inodes.find(file.substr(file.rfind(':') + 1));
    if (inode == inodes.end()) continue;
    // Of the log's index readers hold the byte 128 as long as they have it open.
    held += how == "WRITE" || (inode->second && first != "128") ? 1 : 0;
  }
  return held;
}

// Where each descriptor of this process leads.
std::multiset<std::string> OpenDescriptors() {
  std::multiset<std::string> open;
  for (const auto& item : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // The one that lists them.
    const auto target = std::filesystem::read_symlink(item.path(), gone);
    if (!gone && !target.string().starts_with("/proc/")) open.insert(target);
  }
  return open;
}

class Trial {
 public:
  Trial(const Prepared& prepared, const Operation& operation, std::string kind, long nth,
        bool persistent)
      : operation_(operation),
        kind_(std::move(kind)),
        nth_(nth),
        persistent_(persistent),
        directory_(prepared.place() + "/trial") {
    prepared.CopyTo(directory_);
    if (operation.damage) operation.damage(directory_);
    before_ = operation.damage ? operation.after : PreparedValues();
  }

  TrialResult Run() {
    const auto descriptors = OpenDescriptors();
    {
      std::unique_ptr<Cache> cache;
      if (operation_.run) cache = OpenOrSay();
      if (operation_.run && cache == nullptr) return result_;
      if (operation_.before && !operation_.before(cache.get()).ok()) Break("could not begin");
      const Status status = Guarded(&cache);
      result_.calls = report_.calls;
      result_.failed = report_.failed;
      Judge(status);
      if (cache != nullptr && cache->closed()) CompareDescriptors(descriptors, "closed");
      LookForLocks();
      if (cache != nullptr && !cache->closed()) LookInside(cache.get(), status);
    }
    CompareDescriptors(descriptors, "gone");
    LookAtFiles();
    LookAfresh();
    return result_;
  }

 private:
  bool is_memory() const { return kind_.starts_with("malloc"); }

  void Break(const std::string& what) { result_.broken.push_back(what); }

  std::unique_ptr<Cache> OpenOrSay() {
    auto cache = Cache::Open(OptionsIn(directory_, operation_));
    if (!cache.ok()) Break("could not open without a fault: " + cache.status().ToString());
    return cache.ok() ? std::move(*cache) : nullptr;
  }

  // The operation with its fault.
  Status Guarded(std::unique_ptr<Cache>* cache) {
    const CacheOptions options = OptionsIn(directory_, operation_);
    Status status;
    Sha256({});  // OpenSSL's first set-up crashes inside itself if it finds no memory.
    const auto began = std::chrono::steady_clock::now();
    if (!ArmFault(kind_, nth_, persistent_)) std::abort();
    try {
      if (operation_.run) {
        status = operation_.run(cache->get());
      } else {
        auto opened = Cache::Open(options);
        status = opened.status();
        if (opened.ok()) *cache = std::move(*opened);
      }
      report_ = DisarmFault();
    } catch (const std::bad_alloc&) {
      report_ = DisarmFault();
      status = Status(ErrorCode::kOutOfMemory, "std::bad_alloc");
    }
    if (std::chrono::steady_clock::now() - began > kMostTime) Break("waited for too long");
    done_ = status.ok();
    return status;
  }

  // Whether the error is of a type that says what to do.
  void Judge(const Status& status) {
    if (status.ok()) return;
    const std::string text = status.ToString();
    if (report_.failed == 0) Break("failed without a fault: " + text);
    if (status.code() == ErrorCode::kInternal) Break("untyped error: " + text);
    if (status.code() == ErrorCode::kInvalidArgument) Break("the caller is blamed: " + text);
    const bool damage = kind_ == "sql-corrupt" || kind_ == "sql-notadb";
    const bool is_damaged = damage || operation_.is_rebuild;
    if (status.code() == ErrorCode::kCatalogCorrupt && !is_damaged)
      Break("no damage was there: " + text);
    if (!damage && text.find("RustyBT") != std::string::npos) {
      Break("the catalog is barcache's alone: " + text);
    }
    if (status.code() == ErrorCode::kNotACatalog && !damage) Break("the catalog is ours: " + text);
    if (is_memory()) {
      if (status.code() != ErrorCode::kOutOfMemory) Break("not said to be memory: " + text);
      return;
    }
    if (status.code() == ErrorCode::kOutOfMemory && status.message() == "std::bad_alloc") {
      Break("an exception for a failing call");
    }
    if (text.find(directory_) == std::string::npos) Break("does not say on what: " + text);
    if (text.find(';') == std::string::npos && text.find(" to ") == std::string::npos) {
      Break("does not say what to do: " + text);
    }
  }

  std::optional<Values> ReadAll(Cache* cache) {
    std::set<std::string> keys;
    for (const Values* values : std::initializer_list<const Values*>{&before_, &operation_.after}) {
      for (const auto& [key, value] : *values) keys.insert(key);
    }
    Values seen;
    for (const std::string& key : keys) {
      auto hit = cache->Get(key);
      if (!hit.ok()) {
        Break("get of " + key + ": " + hit.status().ToString());
        return std::nullopt;
      }
      if (*hit) seen[key] = ValueOf((*hit)->frame);
    }
    return seen;
  }

  void Compare(const std::string& where, const Values& seen) {
    const bool complete = seen == operation_.after;
    const bool unchanged = !done_ && seen == before_;
    bool kept = operation_.may_lose;
    for (const auto& [key, value] : seen) {
      kept = kept && (Holds(before_, key, value) || Holds(operation_.after, key, value));
    }
    if (complete || unchanged || kept) return;
    std::string text = where + (done_ ? " after success:" : " after an error:");
    for (const auto& [key, value] : seen) text += " " + key + "=" + std::to_string(value);
    Break(text);
  }

  void CompareDescriptors(const std::multiset<std::string>& before, const std::string& when) {
    std::vector<std::string> left;
    std::ranges::set_difference(OpenDescriptors(), before, std::back_inserter(left));
    // The directory and the counters are held as long as there is a cache to ask.
    const auto stays = [&](const std::string& target) {
      return when == "closed" && (target.ends_with("/cache") || target.ends_with("-barcache"));
    };
    std::erase_if(left, stays);
    for (const std::string& target : left) Break("open when the cache is " + when + ": " + target);
  }

  // Those of the thread that writes uses go by themselves.
  void LookForLocks() {
    for (int turn = 0; HeldLocks(directory_) > 0; ++turn) {
      if (turn == kMostLockMs) return Break("a lock was kept");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  void LookInside(Cache* cache, const Status& status) {
    for (const auto& [key, value] : operation_.linked_to[0] == '\0' ? Values() : before_) {
      auto backtests = cache->BacktestsOf(key);
      if (!backtests.ok()) Break("backtests: " + backtests.status().ToString());
      if (backtests.ok() && std::ranges::find(*backtests, operation_.linked_to) == backtests->end())
        Break("the link of " + key + " is lost");
    }
    const auto seen = ReadAll(cache);
    if (seen) Compare("the same cache", *seen);
    if (cache->options().read_only) return;
    const Status next = cache->Put("next", SampleBars(50, 900));
    if (!next.ok()) Break("the next put failed: " + next.ToString());
    const Status erased = cache->Erase("next").status();
    if (!erased.ok()) Break("the next erase failed: " + erased.ToString());
    static_cast<void>(status);
  }

  // What could not be removed then is removed later, as after a kill: that may be for want of the
  // memory that removing what was replaced takes.
  bool removes_later(const std::optional<Values>& seen) const {
    const bool replaced = seen == operation_.after || operation_.may_lose;
    return report_.failed_removal || (is_memory() && replaced);
  }

  void LookAtFiles() {
    if (report_.failed_removal) return;
    for (const auto& item : std::filesystem::recursive_directory_iterator(directory_)) {
      const std::string name = item.path().filename().string();
      const bool draft = name.starts_with(".tmp-") || name.find(".new-") != std::string::npos;
      if (draft) Break("a temporary file was left: " + name);
    }
  }

  // A cache of its own, without faults: what it finds, whether all fits, and the operation again.
  void LookAfresh() {
    std::unique_ptr<Cache> cache = OpenOrSay();
    if (cache == nullptr) return;
    const auto seen = ReadAll(cache.get());
    if (seen) Compare("a fresh cache", *seen);
    auto report = cache->Check(false);
    if (!report.ok()) {
      Break("check: " + report.status().ToString());
    } else if (!report->clean()) {
      Break("check found something");
    } else if (!removes_later(seen)) {
      CountFiles(cache.get());
    }
    if (!operation_.run || cache->options().read_only) return;
    const Status again = operation_.run(cache.get());
    if (!again.ok()) Break("again, without a fault: " + again.ToString());
    done_ = true;
    if (cache->closed()) return;
    const auto last = ReadAll(cache.get());
    if (last) Compare("again, without a fault,", *last);
  }

  void CountFiles(Cache* cache) {
    auto entries = cache->Entries();
    if (!entries.ok()) return;
    size_t files = 0;
    for (const auto& item : std::filesystem::directory_iterator(directory_ + "/cache")) {
      files += item.is_regular_file() ? 1 : 0;
    }
    if (files != entries->size()) Break("a file without a row was left");
  }

  const Operation& operation_;
  const std::string kind_;
  const long nth_;
  const bool persistent_;
  const std::string directory_;
  Values before_;
  bool done_ = false;
  FaultReport report_;
  TrialResult result_;
};

}  // namespace

TrialResult RunTrial(const Prepared& prepared, const Operation& operation, const std::string& kind,
                     long nth, bool persistent) {
  return Trial(prepared, operation, kind, nth, persistent).Run();
}

}  // namespace barcache::torture
