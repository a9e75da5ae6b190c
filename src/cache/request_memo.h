// RequestMemo: the requests behind the keys generated lately, so that a put can store them.
// Bounded: the two newest generations of kGenerationSize keys are kept, older ones forgotten.
// Thread safety: all methods may be called from any thread.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/mutex.h"

namespace barcache {

class RequestMemo {
 public:
  static constexpr size_t kGenerationSize = 16'384;

  void Remember(std::string_view cache_key, std::string_view request_json) {
    const MutexLock lock(mutex_);
    if (young_.size() >= kGenerationSize) {
      old_ = std::move(young_);
      young_.clear();
    }
    young_.insert_or_assign(std::string(cache_key), std::string(request_json));
  }

  // "" if it is not known.
  std::string Recall(std::string_view cache_key) const {
    const std::string key(cache_key);
    const MutexLock lock(mutex_);
    if (const auto it = young_.find(key); it != young_.end()) return it->second;
    if (const auto it = old_.find(key); it != old_.end()) return it->second;
    return "";
  }

  void LockForFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }
  void UnlockAfterFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }

 private:
  mutable Mutex mutex_;
  std::unordered_map<std::string, std::string> young_ BARCACHE_GUARDED_BY(mutex_);
  std::unordered_map<std::string, std::string> old_ BARCACHE_GUARDED_BY(mutex_);
};

}  // namespace barcache
