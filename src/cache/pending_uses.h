// PendingUses: what hits leave behind until it is written: touches and links.
//
// A hit only records here. A flush, or an eviction that needs the true order of use, takes the
// touches into a transaction and settles them when its outcome is known, before the next writer
// may begin; until then Overlay still counts them, so that a lookup never misses a use.
//
// Errors: std::bad_alloc from what records or takes, and then nothing is lost. What gives back or
// settles needs no memory.
//
// Thread safety: all methods may be called from any thread; one batch is in flight at a time
// (the catalog's writer lock sees to that).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "catalog/catalog.h"
#include "cold/cold_tier.h"
#include "hot/hot_tier.h"

namespace barcache {

struct UseOverlay {
  int64_t count = 0;
  int64_t accessed_s = 0;
};

class PendingUses final : public PendingTouches {
 public:
  using Link = std::pair<std::string, std::string>;  // Backtest, key.
  using Links = std::set<Link>;

  // What one flush writes: taken by the constructor, given back by the destructor unless it was
  // settled as written.
  class Batch {
   public:
    explicit Batch(PendingUses* uses) : uses_(uses), touches_(uses->Take()) {
      links_ = uses->TakeLinks();
    }
    ~Batch() { Settle(false); }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    const std::vector<Touch>& touches() const { return touches_; }
    const Links& links() const { return links_; }
    void Settle(bool written);

   private:
    PendingUses* uses_;
    std::vector<Touch> touches_;
    Links links_;
  };

  void RecordTouch(std::string_view cache_key, int64_t now_s);
  // The same through the entry's own counter: a lock is taken only by its first use since the
  // last flush. REQUIRES: uses != nullptr.
  void RecordHotTouch(std::string_view cache_key, const std::shared_ptr<UseCounter>& uses,
                      int64_t now_s);
  void RecordLink(std::string_view backtest_id, std::string_view cache_key);

  std::vector<Touch> Take() override;
  void Settle(bool written) override;

  bool empty() const;
  bool has_links() const;
  // Uses of one key that no row knows of yet.
  UseOverlay Overlay(std::string_view cache_key);
  int64_t TotalCount();
  // Moves by one whenever touches begin or end to be in flight: a reader of row + overlay waits
  // for an even one and looks again if it moved meanwhile.
  uint64_t version() const;
  // Whether touches were in flight when that version was read.
  static bool InFlight(uint64_t version) { return (version & 1) != 0; }
  // The entry is gone: its uses are nobody's.
  void Forget(std::string_view cache_key);
  void Clear();

  void LockForFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }
  void UnlockAfterFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }

 private:
  struct Use {
    int64_t count = 0;
    int64_t accessed_s = 0;
    uint64_t order = 0;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using UseMap = std::unordered_map<std::string, Use, Hash, std::equal_to<>>;

  Links TakeLinks();
  void ReturnLinks(Links links);

  static Use& Slot(UseMap* uses, std::string_view cache_key);
  static void Add(const Use& use, Use* sum);
  // Moves what the counters of hot entries hold into pending_.
  void CollectHotTouches() BARCACHE_REQUIRES(mutex_);
  // Moves pending_ into taken_.
  void TakePending() BARCACHE_REQUIRES(mutex_);
  bool in_flight() const BARCACHE_REQUIRES(mutex_) { return InFlight(version_); }

  mutable Mutex mutex_;
  UseMap pending_ BARCACHE_GUARDED_BY(mutex_);
  // In flight, or, while nothing is, left over from a batch that was not written.
  UseMap taken_ BARCACHE_GUARDED_BY(mutex_);
  std::vector<std::pair<std::string, std::shared_ptr<UseCounter>>> hot_
      BARCACHE_GUARDED_BY(mutex_);  // Counters that are not zero.
  Links links_ BARCACHE_GUARDED_BY(mutex_);
  std::atomic<uint64_t> next_order_{0};
  uint64_t version_ BARCACHE_GUARDED_BY(mutex_) = 0;
};

}  // namespace barcache
