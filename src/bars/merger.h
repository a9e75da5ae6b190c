// Merger: small segments of a series become one, in the background.
//
// Segments are read from disk and verified, the bars that the ledger names in them are put one
// after the other, and the new entry takes the place of the old ones in one transaction with the
// ledger: whoever looks, and whoever is killed when, sees the old segments or the new one. A merge
// changes no interval, no age and no bar. It gives up when a segment or the coverage that it read
// has changed meanwhile, in whichever process; a segment whose bytes are wrong is dropped as by any
// read, and the others are merged without it. Bars that no interval names any more (older values of
// a bar that was provisional) are left out; segments that no interval names (history from before a
// restatement) are not touched. Backtest links, counted uses and pins pass on to the new entry.
//
// One thread, started by the first suggestion that has work; nobody waits for it but Stop and a
// fork, and those not for longer than one group of segments takes.
//
// Thread safety: all methods may be called from any thread; Stop from one at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "barcache/cache.h"
#include "barcache/status.h"
#include "bars/ledger.h"
#include "bars/merge_plan.h"
#include "bars/series.h"
#include "base/fork.h"
#include "base/mutex.h"
#include "cache/maintainer.h"

namespace barcache {

struct MergeSuggestion {
  SeriesName name;
  std::string time_column;
  size_t merge_at = kMergeAt;  // Neighbours of a tier; fewer for tests.
};

struct MergeReport {
  int64_t series = 0;    // That were changed.
  int64_t segments = 0;  // That are gone.
  int64_t merged = 0;    // That came in their place.
  int64_t size_bytes = 0;
};

class Merger final : public ForkParticipant {
 public:
  // Both outlive this object.
  Merger(Cache* cache, Ledger* ledger);
  ~Merger();
  Merger(const Merger&) = delete;
  Merger& operator=(const Merger&) = delete;

  // Answers of a source were recorded in these series, seen before that. Those that may have enough
  // small segments by now are looked at soon. One with kOverdueAt segments or more is merged before
  // this returns: a process that ends as soon as it has its bars leaves nothing to a thread. Errors
  // are logged, once until a merge succeeds.
  //
  // Segments of which all bars were provisional and are no longer named by the ledger go, too: who
  // asks every minute would leave one each time. Their links pass on to what took their place.
  void Fetched(const std::vector<SeriesPointer>& before, const std::string& time_column);
  // Looks at these series soon. A read-only cache, or one without files, merges nothing.
  void Suggest(std::vector<MergeSuggestion> suggestions);
  // Merges now, on this thread, what is to be merged of the series. Errors (a full disk, a catalog
  // that is busy): nothing of that group was changed.
  Result<MergeReport> MergeNow(const MergeSuggestion& suggestion);
  // Waits until nothing suggested is left. For tests.
  void Drain();
  // Ends the thread; what was suggested and not begun is forgotten, for whoever fetches next.
  void Stop();

  void BeforeFork() override;
  void AfterFork(bool in_child) override;

 private:
  static constexpr size_t kMostSuggestions = 32'768;

  void Work();
  Status DropSuperseded(const Series& before);
  std::optional<MergeSuggestion> Next();
  void Forget();  // All suggestions.
  Result<MergeReport> MergeGroup(const Series& series, const MergeSuggestion& suggestion,
                                 const std::vector<std::string>& keys);
  Result<std::vector<std::vector<std::string>>> Plan(const Series& series, size_t merge_at);
  void Report(const MergeReport& report);
  void Complain(const Status& status);

  Cache* const cache_;
  Ledger* const ledger_;
  std::atomic<bool> quiet_{false};       // Work is to end after the group at hand.
  std::atomic<bool> stopped_{false};     // And none is to begin.
  std::atomic<bool> complained_{false};  // An error was logged since the last success.
  Mutex mutex_;
  std::condition_variable_any drained_;
  std::deque<MergeSuggestion> suggested_ BARCACHE_GUARDED_BY(mutex_);
  std::unordered_set<std::string> suggested_keys_ BARCACHE_GUARDED_BY(mutex_);
  bool working_ BARCACHE_GUARDED_BY(mutex_) = false;
  Maintainer maintainer_;
};

}  // namespace barcache
