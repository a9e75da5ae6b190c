// The decisions of S3-FIFO. See s3fifo.h.
#include "policy/s3fifo.h"

#include <algorithm>

namespace barcache {

namespace {

constexpr int64_t kUsesToMain = 2;
constexpr int64_t kMaxUses = 3;

int64_t SmallCapacity(int64_t capacity_bytes) { return capacity_bytes / 10; }

}  // namespace

FifoQueue StartingQueue(const S3FifoBytes& bytes, bool was_ghost, bool warming_up) {
  if (was_ghost) return FifoQueue::kMain;
  const bool small_is_full = bytes.small >= SmallCapacity(bytes.capacity);
  return warming_up && small_is_full ? FifoQueue::kMain : FifoQueue::kSmall;
}

FifoQueue QueueToShrink(const S3FifoBytes& bytes, bool small_is_empty) {
  const bool main_is_over = bytes.main > bytes.capacity - SmallCapacity(bytes.capacity);
  return main_is_over || small_is_empty ? FifoQueue::kMain : FifoQueue::kSmall;
}

FifoVerdict JudgeHead(FifoQueue queue, int64_t uses) {
  if (queue == FifoQueue::kSmall) return {uses < kUsesToMain, FifoQueue::kMain, 0};
  return {uses < 1, FifoQueue::kMain, std::min(uses, kMaxUses) - 1};
}

int64_t GhostLimitBytes(int64_t capacity_bytes) { return capacity_bytes - capacity_bytes / 10; }

}  // namespace barcache
