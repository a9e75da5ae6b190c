// An LRU list through the nodes of a hash map, under one mutex.
//
// What leaves is moved to a chain of its own and destroyed by the caller of the locked part:
// freeing a frame of gigabytes, or a Python object, must not make another thread wait.
#include "hot/hot_tier.h"

#include <algorithm>
#include <new>
#include <unordered_map>
#include <utility>

#include "base/block_pool.h"
#include "base/failpoint.h"
#include "base/fork.h"
#include "base/mutex.h"

namespace barcache {
namespace {

using EntryPointer = std::shared_ptr<const HotEntry>;

struct Node {
  Node(std::string_view key_text, EntryPointer kept) : key(key_text), entry(std::move(kept)) {}
  const std::string key;
  EntryPointer entry;
  Node* older = nullptr;
  Node* newer = nullptr;
  std::unique_ptr<Node> next_leaving;
};

// Nodes on their way out, in that order. Adding never allocates.
class LeavingNodes {
 public:
  LeavingNodes() = default;
  LeavingNodes(const LeavingNodes&) = delete;
  LeavingNodes& operator=(const LeavingNodes&) = delete;
  ~LeavingNodes() {
    // One by one: a chain of unique_ptr would recurse as deep as it is long.
    while (first_ != nullptr) first_ = std::move(first_->next_leaving);
  }
  void Add(std::unique_ptr<Node> node) {
    Node* added = node.get();
    (last_ == nullptr ? first_ : last_->next_leaving) = std::move(node);
    last_ = added;
  }
  const Node* first() const { return first_.get(); }

 private:
  std::unique_ptr<Node> first_;
  Node* last_ = nullptr;
};

// What an entry takes beside its charge: the objects of Arrow, Polars and Python around its
// buffers. Measured with Polars 2.1 on frames of 1 to 32 columns.
constexpr int64_t kObjectBytesOfEntry = 1300;
constexpr int64_t kObjectBytesOfColumn = 700;
// Below, a caller counts frames, not memory: only charges count.
constexpr int64_t kCountsObjectsFrom = 16 << 20;

int64_t ObjectBytes(const HotEntry& entry) {
  if (!entry.frame.valid()) return 0;
  return kObjectBytesOfEntry + kObjectBytesOfColumn * entry.frame.num_columns();
}

// Memory kept for the next frame is part of the budget too, as far as it is bounded by it.
int64_t RecycledBytes(int64_t capacity_bytes) {
  if (capacity_bytes < kCountsObjectsFrom) return 0;
  const int64_t kept = BlockPool::Frames().kept_bytes() + BlockPool::Files().kept_bytes();
  return std::min(kept, capacity_bytes / 8);
}

double MegaBytes(int64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

// A log line that finds no memory is given up: the tier itself is in order by then.
template <typename Build>
void AppendEvents(EventBuffer* events, const Build& build) {
  if (events == nullptr) return;
  try {
    build();
  } catch (const std::bad_alloc&) {
  }
}

void AppendEvictions(const LeavingNodes& evicted, EventBuffer* events) {
  for (const Node* node = evicted.first(); node != nullptr; node = node->next_leaving.get()) {
    events->push_back(
        {EventLevel::kInfo,
         "hot_cache_eviction",
         {{"evicted_key", node->key}, {"evicted_size_mb", MegaBytes(node->entry->charge_bytes)}}});
  }
}

}  // namespace

struct HotTier::Impl final : ForkParticipant {
  explicit Impl(int64_t capacity) : capacity_bytes(capacity) { JoinForks(); }
  ~Impl() { LeaveForks(); }

  void BeforeFork() override BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex.lock(); }
  void AfterFork(bool) override BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex.unlock(); }

  mutable Mutex mutex;
  // The views point into the nodes.
  std::unordered_map<std::string_view, std::unique_ptr<Node>> nodes BARCACHE_GUARDED_BY(mutex);
  Node* oldest BARCACHE_GUARDED_BY(mutex) = nullptr;
  Node* newest BARCACHE_GUARDED_BY(mutex) = nullptr;
  int64_t total_charge_bytes BARCACHE_GUARDED_BY(mutex) = 0;
  int64_t total_object_bytes BARCACHE_GUARDED_BY(mutex) = 0;
  int64_t capacity_bytes BARCACHE_GUARDED_BY(mutex);
  int64_t aside_bytes BARCACHE_GUARDED_BY(mutex) = 0;

  Node* FindNode(std::string_view key) const BARCACHE_REQUIRES(mutex) {
    const auto found = nodes.find(key);
    return found == nodes.end() ? nullptr : found->second.get();
  }

  void Unlink(Node* node) BARCACHE_REQUIRES(mutex) {
    (node->older == nullptr ? oldest : node->older->newer) = node->newer;
    (node->newer == nullptr ? newest : node->newer->older) = node->older;
    node->older = node->newer = nullptr;
  }

  void LinkAsNewest(Node* node) BARCACHE_REQUIRES(mutex) {
    node->older = newest;
    (newest == nullptr ? oldest : newest->newer) = node;
    newest = node;
  }

  void Remove(std::string_view key, LeavingNodes* leaving) BARCACHE_REQUIRES(mutex) {
    const auto found = nodes.find(key);
    if (found == nodes.end()) return;
    std::unique_ptr<Node> node = std::move(found->second);
    nodes.erase(found);
    Unlink(node.get());
    total_charge_bytes -= node->entry->charge_bytes;
    total_object_bytes -= ObjectBytes(*node->entry);
    leaving->Add(std::move(node));
  }

  // Whether `charge_bytes` and `object_bytes` more would be too much.
  bool IsOver(int64_t charge_bytes, int64_t object_bytes, int64_t recycled_bytes) const
      BARCACHE_REQUIRES(mutex) {
    const int64_t bytes = total_charge_bytes + charge_bytes + aside_bytes;
    if (capacity_bytes <= 0 || bytes > capacity_bytes) return true;
    return capacity_bytes >= kCountsObjectsFrom &&
           bytes + total_object_bytes + object_bytes + recycled_bytes > capacity_bytes;
  }

  // Evicts until an entry of that charge would fit; everything when the tier is switched off.
  void MakeRoom(int64_t charge_bytes, int64_t object_bytes, LeavingNodes* evicted)
      BARCACHE_REQUIRES(mutex) {
    const int64_t recycled_bytes = RecycledBytes(capacity_bytes);
    while (oldest != nullptr && IsOver(charge_bytes, object_bytes, recycled_bytes)) {
      Remove(oldest->key, evicted);
    }
  }

  // What was evicted may have become recycled memory, which counts too: evicts for that, but never
  // the newest entry. Returns whether there was anything to evict.
  bool SettleRecycled(LeavingNodes* evicted) {
    MutexLock lock(mutex);
    if (capacity_bytes < kCountsObjectsFrom) return false;
    const int64_t recycled_bytes = RecycledBytes(capacity_bytes);
    while (oldest != newest && IsOver(0, 0, recycled_bytes)) Remove(oldest->key, evicted);
    return evicted->first() != nullptr;
  }

  // Puts `replacement` in the place of `expected`, which it then holds.
  bool Swap(std::string_view key, const EntryPointer& expected, EntryPointer* replacement) {
    MutexLock lock(mutex);
    Node* node = FindNode(key);
    if (node == nullptr || node->entry != expected) return false;
    node->entry.swap(*replacement);
    return true;
  }
};

HotTier::HotTier(int64_t capacity_bytes) : impl_(std::make_unique<Impl>(capacity_bytes)) {}

HotTier::~HotTier() = default;

bool HotTier::Insert(std::string_view key, HotEntry entry, EventBuffer* events) {
  const bool kept = InsertOnly(key, std::move(entry), events);
  for (;;) {
    LeavingNodes evicted;
    if (!impl_->SettleRecycled(&evicted)) return kept;
    AppendEvents(events, [&] { AppendEvictions(evicted, events); });
  }
}

bool HotTier::InsertOnly(std::string_view key, HotEntry entry, EventBuffer* events) {
  const int64_t charge_bytes = entry.charge_bytes;
  const int64_t object_bytes = ObjectBytes(entry);
  LeavingNodes replaced;
  LeavingNodes evicted;
  int64_t total_bytes = 0;
  int64_t capacity_bytes = 0;
  bool kept = false;
  try {
    auto node = std::make_unique<Node>(key, std::make_shared<const HotEntry>(std::move(entry)));
    MutexLock lock(impl_->mutex);
    impl_->Remove(key, &replaced);
    capacity_bytes = impl_->capacity_bytes;
    kept = capacity_bytes > 0 && charge_bytes <= capacity_bytes;
    if (kept) {
      Node* added = node.get();
      // Two steps: a failing insertion must not destroy the frame under the lock.
      impl_->nodes[added->key] = std::move(node);
      if (!Mutant("hot_without_limit")) impl_->MakeRoom(charge_bytes, object_bytes, &evicted);
      impl_->LinkAsNewest(added);
      impl_->total_charge_bytes += charge_bytes;
      impl_->total_object_bytes += object_bytes;
    }
    total_bytes = impl_->total_charge_bytes;
  } catch (const std::bad_alloc&) {
    // The older frame of the key no longer holds.
    Erase(key);
    return false;
  }
  AppendEvents(events, [&] {
    AppendEvictions(evicted, events);
    if (kept) {
      events->push_back({EventLevel::kDebug,
                         "hot_cache_put",
                         {{"cache_key", std::string(key)},
                          {"df_size_mb", MegaBytes(charge_bytes)},
                          {"total_size_mb", MegaBytes(total_bytes)}}});
    } else if (capacity_bytes > 0) {  // A tier that is switched off warns of nothing.
      events->push_back({EventLevel::kWarning,
                         "dataframe_too_large_for_hot_cache",
                         {{"cache_key", std::string(key)},
                          {"df_size_mb", MegaBytes(charge_bytes)},
                          {"max_size_mb", MegaBytes(capacity_bytes)}}});
    }
  });
  return kept;
}

std::shared_ptr<const HotEntry> HotTier::Lookup(std::string_view key) {
  MutexLock lock(impl_->mutex);
  Node* node = impl_->FindNode(key);
  if (node == nullptr) return nullptr;
  if (node != impl_->newest) {
    impl_->Unlink(node);
    impl_->LinkAsNewest(node);
  }
  return node->entry;
}

std::shared_ptr<const HotEntry> HotTier::Peek(std::string_view key) const {
  MutexLock lock(impl_->mutex);
  const Node* node = impl_->FindNode(key);
  return node == nullptr ? nullptr : node->entry;
}

std::shared_ptr<const HotEntry> HotTier::Retag(std::string_view key,
                                               const std::shared_ptr<const HotEntry>& entry,
                                               HotTag tag) {
  if (entry == nullptr) return nullptr;
  try {
    auto changed = std::make_shared<HotEntry>(*entry);
    changed->tag = std::move(tag);
    const EntryPointer kept = changed;
    EntryPointer replacement = kept;
    return impl_->Swap(key, entry, &replacement) ? kept : nullptr;
  } catch (const std::bad_alloc&) {
    return nullptr;  // With its old tag the entry is looked at again by the next hit.
  }
}

void HotTier::Attach(std::string_view key, const std::shared_ptr<const HotEntry>& entry,
                     std::shared_ptr<void> companion) {
  if (entry == nullptr || entry->companion != nullptr) return;
  try {
    auto changed = std::make_shared<HotEntry>(*entry);
    changed->companion = std::move(companion);
    EntryPointer replacement = std::move(changed);
    impl_->Swap(key, entry, &replacement);
  } catch (const std::bad_alloc&) {  // A companion only saves time.
  }
}

bool HotTier::Erase(std::string_view key) {
  LeavingNodes leaving;
  MutexLock lock(impl_->mutex);
  impl_->Remove(key, &leaving);
  return leaving.first() != nullptr;
}

std::shared_ptr<const HotEntry> HotTier::Take(std::string_view key) {
  LeavingNodes leaving;
  MutexLock lock(impl_->mutex);
  impl_->Remove(key, &leaving);
  return leaving.first() == nullptr ? nullptr : leaving.first()->entry;
}

void HotTier::Clear() {
  std::unordered_map<std::string_view, std::unique_ptr<Node>> leaving;
  MutexLock lock(impl_->mutex);
  leaving.swap(impl_->nodes);
  impl_->oldest = impl_->newest = nullptr;
  impl_->total_charge_bytes = impl_->total_object_bytes = 0;
}

void HotTier::SetAside(int64_t bytes, EventBuffer* events) {
  LeavingNodes evicted;
  {
    MutexLock lock(impl_->mutex);
    impl_->aside_bytes = bytes;
    impl_->MakeRoom(0, 0, &evicted);
  }
  AppendEvents(events, [&] { AppendEvictions(evicted, events); });
}

void HotTier::SetCapacity(int64_t capacity_bytes, EventBuffer* events) {
  LeavingNodes evicted;
  {
    MutexLock lock(impl_->mutex);
    impl_->capacity_bytes = capacity_bytes;
    impl_->MakeRoom(0, 0, &evicted);
  }
  AppendEvents(events, [&] { AppendEvictions(evicted, events); });
}

int64_t HotTier::capacity_bytes() const {
  MutexLock lock(impl_->mutex);
  return impl_->capacity_bytes;
}

int64_t HotTier::total_charge_bytes() const {
  MutexLock lock(impl_->mutex);
  return impl_->total_charge_bytes;
}

int64_t HotTier::entry_count() const {
  MutexLock lock(impl_->mutex);
  return static_cast<int64_t>(impl_->nodes.size());
}

std::vector<std::string> HotTier::keys() const {
  MutexLock lock(impl_->mutex);
  std::vector<std::string> keys;
  keys.reserve(impl_->nodes.size());
  for (const Node* node = impl_->oldest; node != nullptr; node = node->newer) {
    keys.push_back(node->key);
  }
  return keys;
}

}  // namespace barcache
