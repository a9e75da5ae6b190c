// torture storm-check: what the threads of a storm saw, held against what they did.
//
//   --log DIR        the logs, one a thread, named WORKER-THREAD
//   --deaths FILE    lines "WORKER NS": when the last moment of each worker was
//   --roomy 0|1      1: nothing is evicted, so a miss needs somebody who erased
//
// Two rules, for each get of a key. A frame must have been put under that key, by a put that began
// before the get ended; and between the end of that put and the begin of the get no other put,
// erase or clear may lie whole: the get would be stale. A miss, where nothing is evicted, must not
// come after a put that no erase can have followed.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <unordered_map>

#include "torture/command.h"
#include "torture/storm_log.h"

namespace barcache::torture {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::min();

// For each x: the largest `value` among those with `at` below x.
class LargestBefore {
 public:
  void Add(int64_t at, int64_t value) { points_.emplace_back(at, value); }
  void Sort() {
    std::sort(points_.begin(), points_.end());
    for (size_t i = 1; i < points_.size(); ++i) {
      points_[i].second = std::max(points_[i].second, points_[i - 1].second);
    }
  }
  int64_t Before(int64_t at) const {
    const auto it = std::lower_bound(points_.begin(), points_.end(), std::pair(at, kNever));
    return it == points_.begin() ? kNever : std::prev(it)->second;
  }

 private:
  std::vector<std::pair<int64_t, int64_t>> points_;
};

struct KeyHistory {
  LargestBefore replaced;  // By end: begins of puts, erases and clears that finished.
  LargestBefore put;       // By end: begins of puts that finished.
  LargestBefore erased;    // By begin: ends of whatever may have erased.
};

class Judge {
 public:
  explicit Judge(bool roomy) : roomy_(roomy) {}

  void Add(const LoggedEvents& events) {
    for (const StormEvent& event : events.finished) {
      all_.push_back(event);
      if (event.deed == Deed::kPut) puts_[event.value] = event;
    }
    for (const StormEvent& event : events.unfinished) {
      if (event.deed == Deed::kPut) puts_[event.value] = event;
      if (event.deed != Deed::kGet && event.deed != Deed::kPut) may_have_erased_.push_back(event);
    }
  }

  void JudgeAll() {
    for (const StormEvent& event : all_) keys_[event.key];
    for (const StormEvent& event : all_) Note(event, true);
    for (const StormEvent& event : may_have_erased_) Note(event, false);
    for (auto& [key, history] : keys_) {
      history.replaced.Sort();
      history.put.Sort();
      history.erased.Sort();
    }
    for (const StormEvent& event : all_) {
      if (event.deed == Deed::kGet) JudgeGet(event);
    }
  }

  int64_t gets = 0;
  int64_t hits = 0;
  int64_t broken = 0;
  size_t event_count() const { return all_.size(); }

 private:
  void Note(const StormEvent& event, bool finished) {
    if (event.deed == Deed::kGet) return;
    if (event.deed == Deed::kClear || event.deed == Deed::kMayErase) {
      for (auto& [key, history] : keys_) NoteAt(&history, event, finished);
    } else {
      NoteAt(&keys_[event.key], event, finished);
    }
  }

  static void NoteAt(KeyHistory* history, const StormEvent& event, bool finished) {
    const bool is_put = event.deed == Deed::kPut;
    if (is_put) history->put.Add(event.end_ns, event.begin_ns);
    if (finished && event.deed != Deed::kMayErase) {
      history->replaced.Add(event.end_ns, event.begin_ns);
    }
    if (!is_put) history->erased.Add(event.begin_ns, event.end_ns);
  }

  void JudgeGet(const StormEvent& get) {
    ++gets;
    const KeyHistory& history = keys_.at(get.key);
    if (get.value == 0) {
      const int64_t last_put = history.put.Before(get.begin_ns);
      if (roomy_ && last_put != kNever && history.erased.Before(get.end_ns) < last_put) {
        Say(get, "a put that nobody erased is gone");
      }
      return;
    }
    ++hits;
    const auto it = puts_.find(get.value);
    if (it == puts_.end()) {
      Say(get, "a frame that nobody put");
    } else if (it->second.key != get.key) {
      Say(get, "a frame of another key");
    } else if (it->second.begin_ns > get.end_ns) {
      Say(get, "a frame from the future");
    } else if (history.replaced.Before(get.begin_ns) > it->second.end_ns) {
      Say(get, "a frame that was replaced or removed before the get began");
    }
  }

  void Say(const StormEvent& get, const char* what) {
    if (++broken > 20) return;
    std::printf("key %u at %lld ns, value %llx: %s\n", get.key,
                static_cast<long long>(get.begin_ns), static_cast<unsigned long long>(get.value),
                what);
  }

  const bool roomy_;
  std::vector<StormEvent> all_;
  std::vector<StormEvent> may_have_erased_;
  std::unordered_map<uint64_t, StormEvent> puts_;
  std::unordered_map<uint32_t, KeyHistory> keys_;
};

}  // namespace

int StormCheck(const Options& options) {
  std::unordered_map<std::string, int64_t> deaths;
  std::ifstream death_file(Text(options, "deaths"));
  std::string worker;
  for (int64_t death_ns = 0; death_file >> worker >> death_ns;) deaths[worker] = death_ns;

  Judge judge(Number(options, "roomy") != 0);
  for (const auto& entry : std::filesystem::directory_iterator(Text(options, "log"))) {
    const std::string name = entry.path().filename().string();
    const auto death = deaths.find(name.substr(0, name.find('-')));
    if (death == deaths.end()) {
      std::fprintf(stderr, "torture: nobody said when the worker of %s ended\n", name.c_str());
      return 2;
    }
    LoggedEvents events;
    ReadStormLog(entry.path().string(), death->second, &events);
    judge.Add(events);
  }
  judge.JudgeAll();
  std::printf("operations %zu gets %lld hits %lld\n", judge.event_count(),
              static_cast<long long>(judge.gets), static_cast<long long>(judge.hits));
  return judge.broken == 0 ? 0 : 1;
}

}  // namespace barcache::torture
