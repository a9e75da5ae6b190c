#include "base/block_pool.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

#if defined(__has_feature)  // Clang; GCC defines what is asked for below.
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
// Of the sanitizer's runtime: kept blocks are nobody's to touch.
extern "C" void __asan_poison_memory_region(const volatile void* address, size_t size);
extern "C" void __asan_unpoison_memory_region(const volatile void* address, size_t size);
#define BARCACHE_POISON(block) __asan_poison_memory_region((block).data, (block).size)
#define BARCACHE_UNPOISON(block) __asan_unpoison_memory_region((block).data, (block).size)
#else
#define BARCACHE_POISON(block) (void)(block)
#define BARCACHE_UNPOISON(block) (void)(block)
#endif

namespace barcache {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kRounding = 64 << 10;
constexpr size_t kSmallRounding = 4 << 10;  // So that files of about one size share blocks.
constexpr size_t kHugePage = 2 << 20;
constexpr size_t kHugeFrom = 32 << 20;  // To find out costs 5 ms where they are not at hand.
constexpr std::chrono::microseconds kHugePatience{1000};

constexpr size_t RoundUp(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

// Not aligned_alloc: until glibc 2.38 it cannot use again what it freed, since it looks for more
// than the size and then gives the rest away (glibc bug 14581). The pointer that malloc gave stands
// before the block.
BlockPool::Block Allocate(size_t size) {
  auto* given = static_cast<uint8_t*>(std::malloc(size + kAlignment + sizeof(void*)));
  if (given == nullptr) return {};
  const auto first = reinterpret_cast<uintptr_t>(given) + sizeof(void*);
  uint8_t* data = given + sizeof(void*) + (kAlignment - first % kAlignment) % kAlignment;
  std::memcpy(data - sizeof(void*), &given, sizeof(void*));
  return {data, size};
}

void Free(BlockPool::Block block) {
  if (block.data == nullptr) return;
  void* given = nullptr;
  std::memcpy(&given, block.data - sizeof(void*), sizeof(void*));
  std::free(given);
}

// Only advice: without huge pages the memory is as good. One that is at hand costs a tenth of the
// small pages in its place; one for which the kernel has to make room first, ten times as much. The
// first one tells which it is, and the others are then left small.
void AskForHugePages(uint8_t* begin, size_t size) {
  const size_t whole = size / kHugePage * kHugePage;
  if (::madvise(begin, whole, MADV_HUGEPAGE) != 0) return;
  const auto began = std::chrono::steady_clock::now();
  *static_cast<volatile uint8_t*>(begin) = 0;
  if (std::chrono::steady_clock::now() - began < kHugePatience) return;
  ::madvise(begin + kHugePage, whole - kHugePage, MADV_NOHUGEPAGE);
}

// Mapped so that whole huge pages fit; only these ask for them, so that the rest of the block
// holds on to no more than it needs.
BlockPool::Block Map(size_t size) {
  const size_t mapped = size + kHugePage;
  void* memory =
      ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return {};
  auto* begin = static_cast<uint8_t*>(memory);
  const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (head > 0) ::munmap(begin, head);
  begin += head;
  if (mapped - head > size) ::munmap(begin + size, mapped - head - size);
  if (size >= kHugeFrom) AskForHugePages(begin, size);
  return {begin, size};
}

void Unmap(BlockPool::Block block) {
  BARCACHE_UNPOISON(block);
  ::munmap(block.data, block.size);
}

}  // namespace

BlockPool& BlockPool::Frames() {
  static auto* pool = new BlockPool;  // Never destroyed: frames may live until the process ends.
  return *pool;
}

BlockPool& BlockPool::Files() {
  static auto* pool = new BlockPool(true);
  return *pool;
}

BlockPool::Share::Share(int64_t hot_capacity_bytes)
    : bytes_(std::max<int64_t>(hot_capacity_bytes, 0) / 16) {
  Frames().AddShare(bytes_, 1);
  Files().AddShare(bytes_, 1);
}

BlockPool::Share::~Share() {
  Frames().AddShare(-bytes_, -1);
  Files().AddShare(-bytes_, -1);
}

BlockPool::~BlockPool() {
  for (const Block& block : small_) Free(block);
  for (size_t i = 0; i < kept_.count; ++i) Unmap(kept_.blocks[i]);
}

BlockPool::Block BlockPool::Blocks::Remove(size_t index) {
  const Block block = blocks[index];
  std::copy(blocks.begin() + static_cast<ptrdiff_t>(index) + 1,
            blocks.begin() + static_cast<ptrdiff_t>(count),
            blocks.begin() + static_cast<ptrdiff_t>(index));
  --count;
  return block;
}

bool BlockPool::Lock() const {
  for (int turn = 0; turn < 1000; ++turn) {
    if (mutex_.try_lock()) return true;
    if (turn > 50) ::sched_yield();
  }
  return false;
}

void BlockPool::LeaveParentsBlocks(Blocks& gone) {
  const pid_t process = ::getpid();
  if (process == process_) return;
  process_ = process;
  gone = kept_;
  kept_.count = 0;
  kept_bytes_ = 0;
}

void BlockPool::Trim(Blocks& gone) {
  const size_t always_kept = share_count_ > 0 ? 1 : 0;
  while (kept_.count > always_kept && (kept_bytes_ > bound_bytes_ || share_count_ <= 0)) {
    gone.Append(kept_.Remove(0));
    kept_bytes_ -= static_cast<int64_t>(gone.blocks[gone.count - 1].size);
  }
}

BlockPool::Block BlockPool::TakeKept(size_t size) BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  if (!Lock()) return {};
  Blocks gone;
  LeaveParentsBlocks(gone);
  const size_t limit = size + size / 16;
  size_t best = kept_.count;
  for (size_t i = 0; i < kept_.count; ++i) {
    const size_t candidate = kept_.blocks[i].size;
    if (candidate < size || candidate > limit) continue;
    // Of equal ones the newest: what was given back last is still in the processor's cache.
    if (best == kept_.count || candidate <= kept_.blocks[best].size) best = i;
  }
  Block block;
  if (best < kept_.count) {
    block = kept_.Remove(best);
    kept_bytes_ -= static_cast<int64_t>(block.size);
  }
  mutex_.unlock();
  for (size_t i = 0; i < gone.count; ++i) Unmap(gone.blocks[i]);
  if (block.data != nullptr) BARCACHE_UNPOISON(block);
  return block;
}

// The allocator does as well when somebody else has the lock.
BlockPool::Block BlockPool::TakeSmall(size_t size) BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  if (!keeps_small_ || !mutex_.try_lock()) return {};
  Block* best = nullptr;
  for (Block& block : small_) {
    if (block.size < size || block.size > 4 * size) continue;
    if (best == nullptr || block.size < best->size) best = &block;
  }
  const Block block = best == nullptr ? Block{} : std::exchange(*best, {});
  mutex_.unlock();
  if (block.data != nullptr) BARCACHE_UNPOISON(block);
  return block;
}

bool BlockPool::KeepSmall(Block block) noexcept BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  if (!keeps_small_ || !mutex_.try_lock()) return false;
  const auto place = std::find_if(small_.begin(), small_.end(),
                                  [](const Block& kept) { return kept.data == nullptr; });
  const bool kept = place != small_.end() && share_count_ > 0;
  if (kept) {
    BARCACHE_POISON(block);
    *place = block;
  }
  mutex_.unlock();
  return kept;
}

BlockPool::Block BlockPool::Take(size_t size) {
  if (size > SIZE_MAX / 4) return {};
  // The size alone tells Give whose memory it is: what is rounded up to a large one is one.
  const size_t small =
      RoundUp(std::max<size_t>(size, 1), keeps_small_ ? kSmallRounding : kAlignment);
  if (small < kLargeBytes) {
    if (const Block kept = TakeSmall(small); kept.data != nullptr) return kept;
    return Allocate(small);
  }
  const size_t rounded = RoundUp(size, kRounding);
  const Block kept = TakeKept(rounded);
  return kept.data != nullptr ? kept : Map(rounded);
}

void BlockPool::Give(Block block) noexcept BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  if (block.data == nullptr) return;
  if (block.size < kLargeBytes) {
    if (!KeepSmall(block)) Free(block);
    return;
  }
  if (!Lock()) return Unmap(block);
  Blocks gone;
  LeaveParentsBlocks(gone);
  if (kept_.count == kMaxBlocks) {
    kept_bytes_ -= static_cast<int64_t>(kept_.blocks[0].size);
    gone.Append(kept_.Remove(0));
  }
  BARCACHE_POISON(block);
  kept_.Append(block);
  kept_bytes_ += static_cast<int64_t>(block.size);
  Trim(gone);
  mutex_.unlock();
  for (size_t i = 0; i < gone.count; ++i) Unmap(gone.blocks[i]);
}

void BlockPool::AddShare(int64_t bytes, int count) noexcept BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  if (!Lock()) return;
  Blocks gone;
  LeaveParentsBlocks(gone);
  bound_bytes_ += bytes;
  share_count_ += count;
  Trim(gone);
  std::array<Block, kMaxSmallBlocks> small{};
  if (share_count_ <= 0) small.swap(small_);
  mutex_.unlock();
  for (const Block& block : small) {
    if (block.data != nullptr) BARCACHE_UNPOISON(block);
    Free(block);
  }
  for (size_t i = 0; i < gone.count; ++i) Unmap(gone.blocks[i]);
}

int64_t BlockPool::kept_bytes() const BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  if (!Lock()) return 0;
  const int64_t bytes = kept_bytes_ != 0 && process_ == ::getpid() ? kept_bytes_ : 0;
  mutex_.unlock();
  return bytes;
}

}  // namespace barcache
