// NewestMemo: the newest put of each key that this process stored or served.
//
// An older one that turns up later was put back by hand: an old file with its old row. It is no
// answer to somebody who saw the newer one. A commit of barcache that touched the key's bucket
// since (its change counter moved) makes everything good again. Direct-mapped and bounded: of two
// keys in one slot the later one is remembered.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/failpoint.h"
#include "base/mutex.h"
#include "catalog/catalog.h"

namespace barcache {

class NewestMemo {
 public:
  // Notes a put as seen, by the generation in its file's stamp; false, and nothing noted, if it
  // is older than what was seen. 0 (an entry that RustyBT wrote) is never older.
  bool Accept(std::string_view cache_key, uint64_t generation, const Epoch& epoch) {
    if (generation == 0) return true;
    const MutexLock lock(mutex_);
    if (slots_.empty()) slots_.resize(kSlotCount);
    Slot& slot = slots_[std::hash<std::string_view>()(cache_key) % kSlotCount];
    const bool older = slot.cache_key == cache_key && slot.epoch == epoch &&
                       generation < slot.generation && !Mutant("no_newest_put");
    if (older) return false;
    slot.cache_key = cache_key;
    slot.generation = generation;
    slot.epoch = epoch;
    return true;
  }

  void LockForFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }
  void UnlockAfterFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }

 private:
  static constexpr size_t kSlotCount = 16'384;
  struct Slot {
    std::string cache_key;  // "": free; no key is empty.
    uint64_t generation = 0;
    Epoch epoch;
  };

  Mutex mutex_;
  std::vector<Slot> slots_ BARCACHE_GUARDED_BY(mutex_);
};

}  // namespace barcache
