// MissMemo: keys that the catalog lately said it has no row for, and when it said so.
//
// An answer holds while the key's change counters stand where they were before the question; so
// a miss that is asked again costs no SQL. Direct-mapped and bounded: a newer miss takes the
// place of an older one.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "catalog/catalog.h"

namespace barcache {

class MissMemo {
 public:
  // What was seen before the catalog was asked.
  struct Seen {
    Epoch epoch;
    uint64_t foreign_writes = 0;
    friend bool operator==(const Seen&, const Seen&) = default;
  };

  void Remember(std::string_view cache_key, const Seen& seen) {
    if (!seen.epoch.settled()) return;
    const MutexLock lock(mutex_);
    if (slots_.empty()) slots_.resize(kSlotCount);
    Slot& slot = slots_[SlotOf(cache_key)];
    slot.cache_key = cache_key;
    slot.seen = seen;
  }

  // True: the catalog has no row for the key, as far as `now` tells.
  bool Knows(std::string_view cache_key, const Seen& now) const {
    if (!now.epoch.settled()) return false;
    const MutexLock lock(mutex_);
    if (slots_.empty()) return false;
    const Slot& slot = slots_[SlotOf(cache_key)];
    return slot.seen == now && slot.cache_key == cache_key;
  }

  void LockForFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }
  void UnlockAfterFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }

 private:
  static constexpr size_t kSlotCount = 8'192;
  struct Slot {
    std::string cache_key;  // "": free; no key is empty.
    Seen seen;
  };
  static size_t SlotOf(std::string_view cache_key) {
    return std::hash<std::string_view>()(cache_key) % kSlotCount;
  }

  mutable Mutex mutex_;
  std::vector<Slot> slots_ BARCACHE_GUARDED_BY(mutex_);
};

}  // namespace barcache
