// Blocks are recycled within the bound, and go back to the system beyond it.
#include "base/block_pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

namespace barcache {
namespace {

constexpr size_t kMegabyte = 1 << 20;

size_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0;
  size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(BlockPoolTest, BlocksAreAlignedAndAsLargeAsAsked) {
  BlockPool pool;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{65}, kMegabyte - 1, kMegabyte,
                            3 * kMegabyte + 7, 9 * kMegabyte}) {
    const BlockPool::Block block = pool.Take(size);
    ASSERT_NE(block.data, nullptr);
    EXPECT_GE(block.size, size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.data) % 64, 0u);
    std::memset(block.data, 0x5a, block.size);
    pool.Give(block);
  }
}

TEST(BlockPoolTest, WhatIsRoundedUpToALargeBlockIsKeptAsOne) {
  BlockPool pool;
  pool.AddShare(0, 1);
  for (const size_t size : {kMegabyte - 64, kMegabyte - 63, kMegabyte - 1, kMegabyte}) {
    const BlockPool::Block block = pool.Take(size);
    const bool is_large = block.size >= BlockPool::kLargeBytes;
    EXPECT_EQ(is_large, size > kMegabyte - 64);
    const size_t alignment = is_large ? 2 * kMegabyte : 64;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.data) % alignment, 0u);
    pool.Give(block);
  }
}

TEST(BlockPoolTest, WantOfMemoryIsNull) {
  BlockPool pool;
  EXPECT_EQ(pool.Take(SIZE_MAX).data, nullptr);
  EXPECT_EQ(pool.Take(size_t{1} << 60).data, nullptr);
  pool.Give({});
}

TEST(BlockPoolTest, WithoutAShareNothingIsKept) {
  BlockPool pool;
  pool.Give(pool.Take(4 * kMegabyte));
  EXPECT_EQ(pool.kept_bytes(), 0);
}

TEST(BlockPoolTest, TheBlockGivenBackLastIsTakenAgainWhateverTheBound) {
  BlockPool pool;
  pool.AddShare(0, 1);
  const BlockPool::Block first = pool.Take(8 * kMegabyte);
  const BlockPool::Block second = pool.Take(4 * kMegabyte);
  pool.Give(first);
  EXPECT_EQ(pool.kept_bytes(), int64_t{8 * kMegabyte});
  pool.Give(second);
  EXPECT_EQ(pool.kept_bytes(), int64_t{4 * kMegabyte});
  const BlockPool::Block again = pool.Take(4 * kMegabyte - 100);
  EXPECT_EQ(again.data, second.data);
  EXPECT_EQ(pool.kept_bytes(), 0);
  pool.Give(again);
}

TEST(BlockPoolTest, ABlockMuchLargerThanAskedIsLeftForOthers) {
  BlockPool pool;
  pool.AddShare(0, 1);
  pool.Give(pool.Take(8 * kMegabyte));
  const BlockPool::Block small = pool.Take(4 * kMegabyte);
  EXPECT_LE(small.size, 4 * kMegabyte + 4 * kMegabyte / 16);
  EXPECT_EQ(pool.kept_bytes(), int64_t{8 * kMegabyte});
  pool.Give(small);
}

TEST(BlockPoolTest, OfBlocksAsLargeTheOneGivenBackLastIsTaken) {
  BlockPool pool;
  pool.AddShare(8 << 20, 1);
  const BlockPool::Block first = pool.Take(BlockPool::kLargeBytes);
  const BlockPool::Block second = pool.Take(BlockPool::kLargeBytes);
  pool.Give(first);
  pool.Give(second);
  EXPECT_EQ(pool.Take(BlockPool::kLargeBytes).data, second.data);
  EXPECT_EQ(pool.Take(BlockPool::kLargeBytes).data, first.data);
  pool.Give(first);
  pool.Give(second);
  pool.AddShare(-(8 << 20), -1);
}

TEST(BlockPoolTest, WhatIsKeptIsBoundedAndGoesWithTheLastShare) {
  BlockPool pool;
  pool.AddShare(10 * kMegabyte, 1);
  std::vector<BlockPool::Block> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(pool.Take(3 * kMegabyte));
  for (const BlockPool::Block& block : blocks) pool.Give(block);
  EXPECT_EQ(pool.kept_bytes(), int64_t{9 * kMegabyte});
  pool.AddShare(-5 * int64_t{kMegabyte}, 0);
  EXPECT_EQ(pool.kept_bytes(), int64_t{3 * kMegabyte});
  pool.AddShare(-5 * int64_t{kMegabyte}, -1);
  EXPECT_EQ(pool.kept_bytes(), 0);
}

TEST(BlockPoolTest, ThePoolForFilesKeepsSmallBlocksToo) {
  BlockPool pool(true);
  const BlockPool::Block first = pool.Take(30'000);
  pool.Give(first);  // Without a share nothing is kept.
  pool.AddShare(1 << 20, 1);
  const BlockPool::Block second = pool.Take(30'000);
  uint8_t* const kept = second.data;
  pool.Give(second);
  const BlockPool::Block much_smaller = pool.Take(1'000);
  EXPECT_NE(much_smaller.data, kept);
  const BlockPool::Block third = pool.Take(29'000);
  EXPECT_EQ(third.data, kept);
  EXPECT_GE(third.size, 29'000u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(third.data) % 64, 0u);
  pool.Give(much_smaller);
  pool.Give(third);
  pool.AddShare(-(1 << 20), -1);
}

TEST(BlockPoolTest, ManySmallBlocksFillTheListOnly) {
  BlockPool pool;
  pool.AddShare(int64_t{1} << 40, 1);
  std::vector<BlockPool::Block> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(pool.Take(kMegabyte));
  for (const BlockPool::Block& block : blocks) pool.Give(block);
  EXPECT_EQ(pool.kept_bytes(), int64_t{64 * kMegabyte});
  pool.AddShare(-(int64_t{1} << 40), -1);
  EXPECT_EQ(pool.kept_bytes(), 0);
}

TEST(BlockPoolTest, MemoryGoesBackToTheSystem) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer keeps shadow memory of what was given back resident";
#endif
  BlockPool pool;
  const size_t before = ResidentBytes();
  pool.AddShare(0, 1);
  for (int i = 0; i < 20; ++i) {
    const BlockPool::Block block = pool.Take(64 * kMegabyte);
    std::memset(block.data, i, block.size);
    pool.Give(block);
    EXPECT_LT(ResidentBytes(), before + 96 * kMegabyte);
  }
  EXPECT_GE(ResidentBytes(), before + 32 * kMegabyte);
  pool.AddShare(0, -1);
  EXPECT_LT(ResidentBytes(), before + 32 * kMegabyte);
}

TEST(BlockPoolTest, AChildBeginsWithNothingKept) {
  BlockPool pool;
  pool.AddShare(0, 1);
  pool.Give(pool.Take(4 * kMegabyte));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool ok = pool.kept_bytes() == 0;
    const BlockPool::Block block = pool.Take(4 * kMegabyte);
    std::memset(block.data, 1, block.size);
    ok = ok && pool.kept_bytes() == 0;
    pool.Give(block);
    ok = ok && pool.kept_bytes() == int64_t{4 * kMegabyte};
    ::_exit(ok ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(pool.kept_bytes(), int64_t{4 * kMegabyte});
}

TEST(BlockPoolTest, ThreadsNeverShareABlock) {
  BlockPool pool;
  pool.AddShare(8 * kMegabyte, 1);
  std::vector<std::thread> threads;
  std::vector<int> mixed(4, 0);
  for (int id = 0; id < 4; ++id) {
    threads.emplace_back([&, id] {
      for (int i = 0; i < 300; ++i) {
        const BlockPool::Block block = pool.Take(kMegabyte + 4096 * static_cast<size_t>(i % 7));
        std::memset(block.data, id, 4096);
        std::this_thread::yield();
        for (int at = 0; at < 4096; at += 512)
          mixed[static_cast<size_t>(id)] |= block.data[at] ^ id;
        pool.Give(block);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(mixed, std::vector<int>(4, 0));
  EXPECT_LE(pool.kept_bytes(), int64_t{8 * kMegabyte});
}

}  // namespace
}  // namespace barcache
