#include "barcache/cache.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/event.h"
#include "base/test_directory.h"
#include "catalog/catalog.h"
#include "frame/sample_frame.h"
#include "hot/hot_tier.h"

namespace barcache {
namespace {

class CacheTest : public ::testing::Test {
 protected:
  CacheOptions Options() {
    CacheOptions options;
    options.db_path = folder_ / "metadata.db";
    options.cache_directory = folder_ / "cache";
    return options;
  }

  std::unique_ptr<Cache> Open(const CacheOptions& options) {
    auto cache = Cache::Open(options, [this](const Event& event) {
      const std::lock_guard lock(mutex_);
      ++logged_[event.name];
    });
    EXPECT_TRUE(cache.ok()) << cache.status().ToString();
    return cache.ok() ? std::move(*cache) : nullptr;
  }

  std::optional<Hit> Get(Cache& cache, const std::string& key) {
    auto hit = cache.Get(key);
    EXPECT_TRUE(hit.ok()) << hit.status().ToString();
    return hit.ok() ? std::move(*hit) : std::nullopt;
  }

  TestDirectory folder_;
  std::mutex mutex_;
  std::map<std::string, int> logged_;
  const Frame bars_ = SampleBars(50, 1.0);
  const Frame other_bars_ = SampleBars(50, 2.0);
};

TEST_F(CacheTest, HotThenColdThenMiss) {
  auto cache = Open(Options());
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  auto hit = Get(*cache, "key1");
  ASSERT_TRUE(hit);
  EXPECT_TRUE(hit->hot);
  EXPECT_TRUE(SameFrame(hit->frame, bars_));
  cache->hot_tier()->Clear();
  hit = Get(*cache, "key1");
  ASSERT_TRUE(hit);
  EXPECT_FALSE(hit->hot);
  EXPECT_FALSE(Get(*cache, "nobody"));
  const SessionStats stats = cache->session_stats();
  EXPECT_EQ(stats.hot_hits, 1);
  EXPECT_EQ(stats.cold_hits, 1);
  EXPECT_EQ(stats.hit_count, 2);
  EXPECT_EQ(stats.miss_count, 1);
  EXPECT_EQ(logged_["cache_hit_hot"], 1);
  EXPECT_EQ(logged_["cache_hit_cold"], 1);
  EXPECT_EQ(logged_["cache_miss"], 1);
}

TEST_F(CacheTest, EveryUseIsSeenAtOnceAndWrittenOnce) {
  auto cache = Open(Options());
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  for (int i = 0; i < 5; ++i) Get(*cache, "key1");
  EXPECT_EQ((*cache->Find("key1"))->access_count, 6);
  ASSERT_TRUE(cache->Flush().ok());
  EXPECT_EQ((*cache->Find("key1"))->access_count, 6);
  EXPECT_EQ((*cache->catalog().Find("key1"))->access_count, 6);
}

TEST_F(CacheTest, UsesAreCountedOnceWhileTheyAreWritten) {
  auto cache = Open(Options());
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  std::atomic<bool> done{false};
  std::thread flusher([&] {
    while (!done) EXPECT_TRUE(cache->Flush().ok());
  });
  int64_t wrong = 0;
  for (int64_t i = 0; i < 2000; ++i) {
    Get(*cache, "key1");
    if ((*cache->Find("key1"))->access_count != 2 + i) ++wrong;
  }
  EXPECT_EQ(wrong, 0);
  done = true;
  flusher.join();
}

TEST_F(CacheTest, UsesAreWrittenOnceByManyWriters) {
  auto cache = Open(Options());
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  constexpr int kWriters = 4;
  constexpr int kTurns = 500;
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&] {
      for (int turn = 0; turn < kTurns; ++turn) {
        EXPECT_TRUE(Get(*cache, "key1"));
        EXPECT_TRUE(cache->Flush().ok());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  ASSERT_TRUE(cache->Flush().ok());
  EXPECT_EQ((*cache->catalog().Find("key1"))->access_count, 1 + kWriters * kTurns);
}

TEST_F(CacheTest, AnotherProcessesPutIsSeenByTheNextGet) {
  auto one = Open(Options());
  auto two = Open(Options());
  ASSERT_TRUE(one->Put("key1", bars_).ok());
  ASSERT_TRUE(SameFrame(Get(*two, "key1")->frame, bars_));
  ASSERT_TRUE(two->Put("key1", other_bars_).ok());
  EXPECT_TRUE(SameFrame(Get(*one, "key1")->frame, other_bars_));
  ASSERT_TRUE(one->Erase("key1").ok());
  EXPECT_FALSE(Get(*two, "key1"));
}

TEST_F(CacheTest, ClearingOneKeyLeavesTheRestHot) {
  auto cache = Open(Options());
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  ASSERT_TRUE(cache->Put("key2", bars_).ok());
  EXPECT_EQ(*cache->Erase("key1"), 1);
  EXPECT_EQ(*cache->Erase("key1"), 0);
  EXPECT_FALSE(Get(*cache, "key1"));
  EXPECT_TRUE(Get(*cache, "key2")->hot);
}

TEST_F(CacheTest, HitsLinkTheirBacktest) {
  auto cache = Open(Options());
  PutOptions put;
  put.backtest_id = "bt-1";
  ASSERT_TRUE(cache->Put("key1", bars_, put).ok());
  GetOptions get;
  get.backtest_id = "bt-2";
  ASSERT_TRUE(cache->Get("key1", get).ok());
  EXPECT_EQ(*cache->BacktestsOf("key1"), (std::vector<std::string>{"bt-1", "bt-2"}));
  EXPECT_EQ(*cache->EraseBacktest("bt-1", true), 0);
  EXPECT_TRUE(Get(*cache, "key1"));
  EXPECT_EQ(*cache->EraseBacktest("bt-2", true), 1);
  EXPECT_FALSE(Get(*cache, "key1"));
}

TEST_F(CacheTest, StatisticsRecordedTwiceCountOnce) {
  CacheOptions options = Options();
  {
    auto cache = Open(options);
    ASSERT_TRUE(cache->Put("key1", bars_).ok());
    Get(*cache, "key1");
    Get(*cache, "nobody");
    EXPECT_EQ(cache->Statistics()->hit_count, 1);
    EXPECT_DOUBLE_EQ(cache->Statistics()->hit_rate, 0.5);
    ASSERT_TRUE(cache->RecordDailyStatistics().ok());
    ASSERT_TRUE(cache->RecordDailyStatistics().ok());
    EXPECT_EQ(cache->Statistics()->hit_count, 1);
    Get(*cache, "key1");
  }
  auto cache = Open(options);
  EXPECT_EQ(cache->Statistics()->hit_count, 2) << "close records too";
  EXPECT_EQ(cache->Statistics(0, 86'400)->hit_count, 0);
}

TEST_F(CacheTest, RecordOnCloseCanBeTurnedOff) {
  CacheOptions options = Options();
  options.record_on_close = false;
  {
    Get(*Open(options), "nobody");
  }
  EXPECT_EQ(Open(options)->Statistics()->miss_count, 0);
}

TEST_F(CacheTest, WhatIsEvictedIsNotServedFromMemory) {
  auto cache = Open(Options());
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  ASSERT_TRUE(cache->Put("key2", bars_).ok());
  const int64_t size = (*cache->Find("key2"))->size_bytes;
  ASSERT_TRUE(cache->set_cold_capacity_bytes(size + 10).ok());
  EXPECT_EQ(*cache->EntryCount(), 2) << "assigning evicts nothing by itself";
  EXPECT_EQ(*cache->EvictIfNeeded(), 1);
  EXPECT_FALSE(Get(*cache, "key1"));
  EXPECT_TRUE(Get(*cache, "key2"));
}

TEST_F(CacheTest, RecentUseSavesAnEntryThoughItIsNotWrittenYet) {
  auto cache = Open(Options());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(cache->Put("key" + std::to_string(i), bars_).ok());
  }
  const int64_t size = (*cache->Find("key0"))->size_bytes;
  Get(*cache, "key0");
  ASSERT_TRUE(cache->set_cold_capacity_bytes(3 * size + size / 2).ok());
  ASSERT_TRUE(cache->Put("key3", bars_).ok());
  EXPECT_TRUE(*cache->Find("key0"));
  EXPECT_FALSE(*cache->Find("key1"));
}

TEST_F(CacheTest, RecentUseSavesAnEntryFromAnEvictionByHandToo) {
  auto cache = Open(Options());
  for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(cache->Put(key, bars_).ok());
  Get(*cache, "a");
  const int64_t size = *cache->TotalSizeBytes() / 3;
  ASSERT_TRUE(cache->set_cold_capacity_bytes(2 * size + size / 2).ok());
  EXPECT_EQ(*cache->EvictIfNeeded(), 1);
  EXPECT_TRUE(Get(*cache, "a"));
  EXPECT_FALSE(Get(*cache, "b"));
}

TEST_F(CacheTest, AHitMadeBeforeAPutRanksAsOlderThanIt) {
  auto cache = Open(Options());
  for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(cache->Put(key, bars_).ok());
  const int64_t size = (*cache->Find("a"))->size_bytes;
  ASSERT_TRUE(cache->set_cold_capacity_bytes(3 * size + size / 2).ok());
  Get(*cache, "a");
  ASSERT_TRUE(cache->Put("d", bars_).ok());  // b leaves.
  ASSERT_TRUE(cache->Put("e", bars_).ok());  // c leaves.
  ASSERT_TRUE(cache->Put("f", bars_).ok());  // a, hit before d was put, leaves.
  EXPECT_FALSE(*cache->Find("a"));
  EXPECT_TRUE(*cache->Find("d"));
}

TEST_F(CacheTest, StorageOfEitherTierCanBeOff) {
  CacheOptions options = Options();
  options.cold_capacity_bytes = 0;
  auto hot_only = Open(options);
  ASSERT_TRUE(hot_only->Put("key1", bars_).ok());
  EXPECT_EQ(*hot_only->EntryCount(), 0);
  EXPECT_TRUE(Get(*hot_only, "key1")->hot);
  EXPECT_EQ(*hot_only->Erase("key1"), 1);
  EXPECT_FALSE(Get(*hot_only, "key1"));

  options.cold_capacity_bytes = 1 << 30;
  options.hot_capacity_bytes = 0;
  auto cold_only = Open(options);
  ASSERT_TRUE(cold_only->Put("key1", bars_).ok());
  EXPECT_FALSE(Get(*cold_only, "key1")->hot);
  EXPECT_FALSE(Get(*cold_only, "key1")->hot);
}

TEST_F(CacheTest, ReadOnlyServesAndRefuses) {
  {
    auto cache = Open(Options());
    ASSERT_TRUE(cache->Put("key1", bars_).ok());
  }
  CacheOptions options = Options();
  options.read_only = true;
  auto cache = Open(options);
  EXPECT_TRUE(Get(*cache, "key1"));
  EXPECT_TRUE(Get(*cache, "key1")->hot);
  EXPECT_EQ(cache->Put("key2", bars_).code(), ErrorCode::kReadOnly);
  EXPECT_EQ(cache->Clear().status().code(), ErrorCode::kReadOnly);
  EXPECT_EQ((*cache->Find("key1"))->access_count, 1);
}

TEST_F(CacheTest, WhatAKilledPutLeftGoesByItself) {
  namespace fs = std::filesystem;
  CacheOptions options = Options();
  options.sweep_after_ms = 0;
  auto cache = Open(options);
  const fs::path draft = folder_ / "cache/.tmp-0123456789abcdef0123456789abcdef";
  std::ofstream(draft) << "half";
  fs::last_write_time(draft, fs::last_write_time(draft) - std::chrono::hours(1));
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (logged_["cache_orphans_removed"] == 0 && std::chrono::steady_clock::now() < deadline) {
    EXPECT_FALSE(Get(*cache, "nobody"));  // What a thread has to say comes with the next call.
  }
  EXPECT_EQ(logged_["cache_orphans_removed"], 1);
  EXPECT_FALSE(fs::exists(draft));
  cache->hot_tier()->Clear();
  EXPECT_TRUE(Get(*cache, "key1"));
}

TEST_F(CacheTest, ClosedCacheSaysSo) {
  auto cache = Open(Options());
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  ASSERT_TRUE(cache->Close().ok());
  ASSERT_TRUE(cache->Close().ok());
  EXPECT_EQ(cache->Get("key1").status().code(), ErrorCode::kClosed);
  EXPECT_EQ(cache->Put("key1", bars_).code(), ErrorCode::kClosed);
}

TEST_F(CacheTest, TheRequestBehindAKeyIsStored) {
  auto cache = Open(Options());
  const DataRequest request{{"MSFT", "AAPL"}, "2023-01-01", "2023-12-31", "1d", "yfinance"};
  const std::string key = *cache->GenerateKey(request);
  EXPECT_EQ(key, "8a3c9ff46519d39e");
  ASSERT_TRUE(cache->Put(key, bars_).ok());
  EXPECT_EQ((*cache->Find(key))->request_json, *CanonicalJson(request));
}

TEST_F(CacheTest, ManyAtOnceAreAsOneByOne) {
  auto cache = Open(Options());
  std::vector<PutItem> items;
  std::vector<std::string> keys;
  for (int i = 0; i < 40; ++i) {
    keys.push_back("key" + std::to_string(i));
    items.push_back({keys.back(), SampleBars(50, i)});
  }
  keys.push_back("nobody");
  ASSERT_TRUE(cache->PutMany(items).ok());
  cache->hot_tier()->Clear();
  std::vector<Frame> frames(keys.size());
  const auto keep = [&](const std::vector<IndexedHit>& hits) {
    for (const auto& [index, hit] : hits) frames[index] = hit.frame;
  };
  ASSERT_TRUE(cache->GetMany(keys, {}, keep).ok());
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(SameFrame(frames[static_cast<size_t>(i)], SampleBars(50, i)));
  }
  EXPECT_FALSE(frames.back().valid());
  EXPECT_EQ(cache->session_stats().cold_hits, 40);
  EXPECT_EQ(cache->session_stats().miss_count, 1);
  EXPECT_EQ(cache->hot_tier()->entry_count(), 40);
}

TEST_F(CacheTest, AMissAskedAgainIsStillAnsweredByTheNextPut) {
  auto one = Open(Options());
  auto two = Open(Options());
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Get(*one, "key1"));
  ASSERT_TRUE(two->Put("key1", bars_).ok());
  EXPECT_TRUE(Get(*one, "key1"));
  ASSERT_TRUE(two->Erase("key1").ok());
  EXPECT_FALSE(Get(*one, "key1"));
  ASSERT_TRUE(one->Put("key1", other_bars_).ok());
  EXPECT_TRUE(SameFrame(Get(*two, "key1")->frame, other_bars_));
}

TEST_F(CacheTest, GetHotAnswersOnlyWhatNeedsNoQuestion) {
  auto one = Open(Options());
  auto two = Open(Options());
  ASSERT_TRUE(one->Put("key1", bars_).ok());
  EXPECT_NE(one->GetHot("key1"), nullptr);
  EXPECT_EQ(one->GetHot("nobody"), nullptr);
  ASSERT_TRUE(two->Put("key1", other_bars_).ok());
  EXPECT_EQ(one->GetHot("key1"), nullptr) << "another process has replaced it";
  EXPECT_EQ(one->session_stats().hit_count, 1);
  EXPECT_EQ(one->session_stats().miss_count, 0);
}

TEST_F(CacheTest, ThreadsGetPutAndClearTogether) {
  CacheOptions options = Options();
  options.hot_capacity_bytes = 20'000;
  options.cold_capacity_bytes = 40'000;
  auto cache = Open(options);
  std::vector<std::thread> threads;
  std::atomic<int64_t> gets{0};
  for (int worker = 0; worker < 4; ++worker) {
    threads.emplace_back([&, worker] {
      for (int i = 0; i < 150; ++i) {
        const int number = (i * 7 + worker) % 10;
        const std::string key = "key" + std::to_string(number);
        if (i % 5 == 0) {
          EXPECT_TRUE(cache->Put(key, SampleBars(50, number)).ok());
        } else if (i % 37 == 0) {
          EXPECT_TRUE(cache->Erase(key).ok());
        } else {
          ++gets;
          auto hit = cache->Get(key);
          ASSERT_TRUE(hit.ok());
          if (*hit) {
            EXPECT_TRUE(SameFrame((*hit)->frame, SampleBars(50, number)));
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const SessionStats stats = cache->session_stats();
  EXPECT_EQ(stats.hit_count + stats.miss_count, gets);
  EXPECT_LE(*cache->TotalSizeBytes(), options.cold_capacity_bytes);
  EXPECT_TRUE(cache->Check(false)->clean());
}

TEST_F(CacheTest, AForkedChildPutsAndTheParentSeesIt) {
  auto cache = Open(Options());
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  Get(*cache, "key1");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool good = cache->Get("key1").ok() && cache->Put("child", other_bars_).ok();
    _exit(good && cache->Flush().ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_TRUE(SameFrame(Get(*cache, "child")->frame, other_bars_));
  EXPECT_TRUE(cache->Put("key2", bars_).ok());
  ASSERT_TRUE(cache->Flush().ok());
  EXPECT_EQ((*cache->Find("key1"))->access_count, 3) << "put, and a use of either, each once";
}

// The parent's closing removes the write-ahead log: a child that went on with an inherited
// connection would write into a file without a name.
TEST_F(CacheTest, WhatAForkedChildPutsAfterItsParentClosedIsThereThoughItIsKilled) {
  auto cache = Open(Options());
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(pipe_ends[1]);
    char nothing = 0;
    if (read(pipe_ends[0], &nothing, 1) != 0) _exit(1);  // Until the parent closes its end.
    if (!cache->Put("child", other_bars_).ok()) _exit(1);
    raise(SIGKILL);
  }
  close(pipe_ends[0]);
  cache.reset();
  close(pipe_ends[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << "the put failed";
  cache = Open(Options());
  const auto hit = Get(*cache, "child");
  ASSERT_TRUE(hit);
  EXPECT_TRUE(SameFrame(hit->frame, other_bars_));
  EXPECT_TRUE(Get(*cache, "key1"));
  EXPECT_TRUE(cache->Check(false)->clean());
}

TEST_F(CacheTest, AnInMemoryCatalogForksIntoTwo) {
  CacheOptions options = Options();
  options.db_path = ":memory:";
  auto cache = Open(options);
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool good = cache->Get("key1").ok() && cache->Clear().ok();
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  cache->hot_tier()->Clear();
  EXPECT_TRUE(Get(*cache, "key1")) << "the child must not unlink what it inherited";
}

}  // namespace
}  // namespace barcache
