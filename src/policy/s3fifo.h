// S3-FIFO: three queues instead of an order of use. What is put goes to a small queue; used twice
// there it moves to the main queue, else it leaves and only its key is remembered, as a ghost. A
// key put again while it is a ghost goes to the main queue at once. In the main queue each round
// costs an entry one of its uses, of which at most three count.
//
// Pure: no clock, no I/O, no SQL. (J. Yang et al., "FIFO queues are all you need for cache
// eviction", SOSP 2023; the variant of libCacheSim 0.3, which fills the main queue before the
// first eviction.)
#pragma once

#include <cstdint>

namespace barcache {

enum class FifoQueue { kSmall = 0, kMain = 1 };

struct S3FifoBytes {
  int64_t capacity = 0;
  int64_t small = 0;
  int64_t main = 0;
};

// Where an entry starts. `warming_up`: nothing has ever left.
FifoQueue StartingQueue(const S3FifoBytes& bytes, bool was_ghost, bool warming_up);

// Which queue gives the next victim.
FifoQueue QueueToShrink(const S3FifoBytes& bytes, bool small_is_empty);

struct FifoVerdict {
  bool leaves = false;
  FifoQueue queue = FifoQueue::kMain;  // Of one that stays: it goes to the end of this queue,
  int64_t uses = 0;                    // with so many uses to its credit.
};

// Judges the entry at the head of a queue by its uses since it was last judged or put.
FifoVerdict JudgeHead(FifoQueue queue, int64_t uses);

// The sizes of all ghosts together.
int64_t GhostLimitBytes(int64_t capacity_bytes);

}  // namespace barcache
