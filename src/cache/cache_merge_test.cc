// One entry in the place of others: all of it or nothing.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "barcache/cache.h"
#include "base/event.h"
#include "base/test_directory.h"
#include "catalog/catalog.h"
#include "frame/sample_frame.h"

namespace barcache {
namespace {

class CacheMergeTest : public testing::Test {
 protected:
  void SetUp() override {
    CacheOptions options;
    options.db_path = folder_ / "metadata.db";
    options.cache_directory = folder_ / "cache";
    auto cache = Cache::Open(options);
    ASSERT_TRUE(cache.ok()) << cache.status().ToString();
    cache_ = std::move(*cache);
    for (const char* key : {"a", "b"}) Put(key, 1, "bt-" + std::string(key));
  }

  void Put(const std::string& key, double price, const std::string& backtest = "") {
    PutOptions options;
    options.backtest_id = backtest;
    ASSERT_TRUE(cache_->Put(key, SampleBars(5, price), options).ok());
  }
  Merge Read() {
    Merge merge{{"merged", SampleBars(10, 1)}, {}, {}, [](CatalogWriter*) { return true; }};
    for (const char* key : {"a", "b"}) {
      auto stored = cache_->ReadStored(key);
      EXPECT_TRUE(stored.ok() && *stored);
      EXPECT_TRUE(SameFrame((*stored)->frame, SampleBars(5, 1)));
      merge.inputs.push_back((*stored)->info);
    }
    return merge;
  }
  int64_t Stored(const Merge& merge) {
    const auto size = cache_->PutInPlaceOf(merge);
    EXPECT_TRUE(size.ok()) << size.status().ToString();
    return size.ok() ? *size : -2;
  }
  std::vector<std::string> Keys() {
    std::vector<std::string> keys;
    const auto entries = cache_->Entries();
    EXPECT_TRUE(entries.ok());
    for (const EntryInfo& entry : *entries) keys.push_back(entry.cache_key);
    return keys;
  }
  int64_t Files() {
    return std::distance(std::filesystem::directory_iterator(folder_ / "cache"),
                         std::filesystem::directory_iterator());
  }

  TestDirectory folder_;
  std::unique_ptr<Cache> cache_;
};

TEST_F(CacheMergeTest, TakesTheirPlaceWithLinksUsesAndPin) {
  ASSERT_TRUE(cache_->Pin("b").ok());
  const Merge merge = Read();
  EXPECT_GT(Stored(merge), 0);
  EXPECT_EQ(Keys(), std::vector<std::string>{"merged"});
  EXPECT_EQ(Files(), 1);
  EXPECT_EQ(*cache_->BacktestsOf("merged"), (std::vector<std::string>{"bt-a", "bt-b"}));
  EXPECT_EQ(*cache_->PinnedKeys(), std::vector<std::string>{"merged"});
  EXPECT_EQ((*cache_->Find("merged"))->access_count, 3);
  EXPECT_FALSE(*cache_->Get("a")) << "also gone from memory";
  EXPECT_TRUE(SameFrame((*cache_->Get("merged"))->frame, SampleBars(10, 1)));
  const auto report = cache_->Check(false);
  EXPECT_TRUE(report.ok() && report->clean());
}

TEST_F(CacheMergeTest, GivesUpWhenAnInputChangedMeanwhile) {
  Merge merge = Read();
  Put("b", 7);
  EXPECT_EQ(Stored(merge), -1);
  EXPECT_EQ(Keys(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(Files(), 2);
  EXPECT_TRUE(SameFrame((*cache_->Get("b"))->frame, SampleBars(5, 7)));

  Put("b", 1);
  merge = Read();
  ASSERT_TRUE(cache_->Erase("a").ok());
  EXPECT_EQ(Stored(merge), -1);
  EXPECT_EQ(Keys(), std::vector<std::string>{"b"});
  EXPECT_EQ(Files(), 1);
}

TEST_F(CacheMergeTest, GivesUpWhenToldThatItNoLongerHolds) {
  Merge merge = Read();
  merge.record = [](CatalogWriter*) { return false; };
  EXPECT_EQ(Stored(merge), -1);
  merge.record = [](CatalogWriter*) { return Status(ErrorCode::kBusy, "busy"); };
  EXPECT_EQ(cache_->PutInPlaceOf(merge).status().code(), ErrorCode::kBusy);
  EXPECT_EQ(Keys(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(Files(), 2);
}

TEST_F(CacheMergeTest, GivesUpWithoutRoom) {
  const Merge merge = Read();
  ASSERT_TRUE(cache_->set_cold_capacity_bytes(100).ok());
  EXPECT_EQ(Stored(merge), -1);
  EXPECT_EQ(Keys(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(CacheMergeTest, AReadForItCountsNothing) {
  const SessionStats before = cache_->session_stats();
  Read();
  EXPECT_EQ(cache_->session_stats().hit_count, before.hit_count);
  EXPECT_FALSE(*cache_->ReadStored("absent"));
  EXPECT_EQ(cache_->session_stats().miss_count, before.miss_count);
}

}  // namespace
}  // namespace barcache
