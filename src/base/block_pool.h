// BlockPool: memory for frames and for the bytes of files. Large blocks are kept when they are
// given back, for the next taker: the first touch of fresh memory costs more than decoding into it.
//
// Pools are of the process, since frames outlive their caches. What a pool keeps is bounded by the
// shares of the caches that live: by their sum, but there is always room for the one block given
// back last. Without a share nothing is kept. The pool for files keeps some small blocks too:
// between frames that stay, each small buffer of a moment would leave a hole that nothing fills
// again.
//
// Thread safety: all functions may be called from any thread. None waits for a lock, so that none
// hangs in a forked child; a child begins with pools that keep nothing.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/mutex.h"

namespace barcache {

class BlockPool {
 public:
  struct Block {
    uint8_t* data = nullptr;
    size_t size = 0;
  };

  // From here on blocks are mapped and kept; smaller ones are left to the allocator, or kept by the
  // pool for files, at most kMaxSmallBlocks of them.
  static constexpr size_t kLargeBytes = 1 << 20;

  static BlockPool& Frames();
  static BlockPool& Files();

  // A cache's part of both pools while it lives: together an eighth of its hot tier's budget.
  class Share {
   public:
    explicit Share(int64_t hot_capacity_bytes);
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

   private:
    const int64_t bytes_;  // In each pool.
  };

  explicit BlockPool(bool keeps_small = false) : keeps_small_(keeps_small) {}
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();

  // At least `size` bytes, 64-byte aligned, uninitialised; null data: out of memory. The block's
  // size is what it holds on to, a sixteenth more than asked at most if it is large.
  Block Take(size_t size);
  // REQUIRES: from Take of this pool, and not given back yet. An empty block is nothing.
  void Give(Block block) noexcept;

  // Moves the bound and the number of shares, and lets go what is too much then.
  void AddShare(int64_t bytes, int count) noexcept;
  int64_t kept_bytes() const;

 private:
  static constexpr size_t kMaxBlocks = 64;
  static constexpr size_t kMaxSmallBlocks = 8;

  // Oldest first.
  struct Blocks {
    std::array<Block, kMaxBlocks + 1> blocks;  // One may be on its way out.
    size_t count = 0;
    void Append(Block block) { blocks[count++] = block; }
    Block Remove(size_t index);
  };

  // False: somebody has the lock for long, which is a thread that a fork left behind.
  bool Lock() const BARCACHE_NO_THREAD_SAFETY_ANALYSIS;
  Block TakeKept(size_t size);
  Block TakeSmall(size_t size);
  bool KeepSmall(Block block) noexcept;
  void LeaveParentsBlocks(Blocks& gone) BARCACHE_REQUIRES(mutex_);
  void Trim(Blocks& gone) BARCACHE_REQUIRES(mutex_);

  const bool keeps_small_;
  mutable Mutex mutex_;  // Only ever tried.
  std::array<Block, kMaxSmallBlocks> small_
      BARCACHE_GUARDED_BY(mutex_);  // Empty ones: free places.
  Blocks kept_ BARCACHE_GUARDED_BY(mutex_);
  int64_t kept_bytes_ BARCACHE_GUARDED_BY(mutex_) = 0;
  int64_t bound_bytes_ BARCACHE_GUARDED_BY(mutex_) = 0;
  int share_count_ BARCACHE_GUARDED_BY(mutex_) = 0;
  pid_t process_ BARCACHE_GUARDED_BY(mutex_) = 0;  // Whose blocks these are.
};

}  // namespace barcache
