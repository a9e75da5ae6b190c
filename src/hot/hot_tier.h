// HotTier: frames in memory, bounded by bytes, least recently used first.
//
// The tier knows nothing of disk or catalog. An entry carries the tag that its owner needs to
// judge whether it still holds, and a companion: an opaque object kept beside the frame (the
// Python layer keeps the Polars frame there).
//
// From a capacity of 16 MB on, what the process holds beside the charges counts too: the objects
// around the buffers (some 0.7 KB a column) and the memory kept for the next frame
// (base/block_pool.h). So the memory really taken stays within the capacity.
//
// Thread safety: all methods may be called from any thread, and on both sides of a fork. Frames and
// companions that leave are destroyed after the lock is released, on the calling thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "barcache/frame.h"
#include "base/event.h"

namespace barcache {

// What the owner of an entry compares before it trusts it.
struct HotTag {
  uint64_t bucket_epoch = 0;
  uint64_t engine_epoch = 0;
  uint64_t foreign_writes = 0;
  uint64_t generation = 0;
  std::string checksum;  // Empty: not backed by a file.
};

// What its owner counts on hits of an entry: one counter for all copies of it, so that a hit takes
// no lock to count.
struct UseCounter {
  std::atomic<int64_t> count{0};
  std::atomic<int64_t> accessed_s{0};
  std::atomic<uint64_t> order{0};
};

struct HotEntry {
  Frame frame;  // May be an empty handle when only the companion is kept.
  std::shared_ptr<void> companion;
  std::shared_ptr<UseCounter> uses;  // May be null.
  HotTag tag;
  int64_t charge_bytes = 0;  // At most 200 bytes more than the buffers.
};

class HotTier {
 public:
  explicit HotTier(int64_t capacity_bytes);  // 0: nothing is kept.
  ~HotTier();
  HotTier(const HotTier&) = delete;
  HotTier& operator=(const HotTier&) = delete;

  // Keeps `entry` under `key`, replacing what was there, as the most recently used; then evicts
  // the least recently used until the charge is within the capacity. An entry that alone exceeds
  // the capacity is not kept (and the older one of the key goes). Returns whether it is kept.
  // Appends hot_cache_put, hot_cache_eviction, dataframe_too_large_for_hot_cache to `events`.
  bool Insert(std::string_view key, HotEntry entry, EventBuffer* events);

  // The entry, now the most recently used.
  std::shared_ptr<const HotEntry> Lookup(std::string_view key);
  // The entry, its place unchanged.
  std::shared_ptr<const HotEntry> Peek(std::string_view key) const;
  // Replaces the tag if the entry is still `entry`. Lookup's result stays as it was.
  // Returns the entry as it is kept from now on (what Attach then expects), or null.
  std::shared_ptr<const HotEntry> Retag(std::string_view key,
                                        const std::shared_ptr<const HotEntry>& entry, HotTag tag);
  // Attaches a companion if the entry is still `entry` and has none.
  void Attach(std::string_view key, const std::shared_ptr<const HotEntry>& entry,
              std::shared_ptr<void> companion);

  bool Erase(std::string_view key);
  // As Erase, for a thread on which nothing may be destroyed: the entry goes on living in the
  // result. Null: there was none.
  std::shared_ptr<const HotEntry> Take(std::string_view key);
  void Clear();

  void SetCapacity(int64_t capacity_bytes, EventBuffer* events);
  // How much memory its owner keeps elsewhere that is to count as the tier's; 0 at first. Evicts at
  // once if that is too much now. `events` may be null, here and above.
  void SetAside(int64_t bytes, EventBuffer* events);
  int64_t capacity_bytes() const;
  int64_t total_charge_bytes() const;
  int64_t entry_count() const;
  std::vector<std::string> keys() const;  // Least recently used first.

 private:
  struct Impl;
  bool InsertOnly(std::string_view key, HotEntry entry, EventBuffer* events);
  std::unique_ptr<Impl> impl_;
};

}  // namespace barcache
