// An old file put back with its old row: whoever saw the newer put serves no older one.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>

#include "barcache/cache.h"
#include "base/event.h"
#include "base/test_directory.h"
#include "catalog/catalog.h"
#include "catalog/sqlite.h"
#include "frame/sample_frame.h"

namespace barcache {
namespace {

namespace fs = std::filesystem;

class RestoredTest : public ::testing::Test {
 protected:
  std::unique_ptr<Cache> Open(int64_t hot_capacity_bytes = 0) {
    CacheOptions options;
    options.db_path = folder_ / "metadata.db";
    options.cache_directory = folder_ / "cache";
    options.hot_capacity_bytes = hot_capacity_bytes;
    auto cache = Cache::Open(options, [this](const Event& event) { last_event_ = event.name; });
    EXPECT_TRUE(cache.ok()) << cache.status().ToString();
    return cache.ok() ? std::move(*cache) : nullptr;
  }

  // Keeps file and row of the entry as they are now.
  void Keep(Cache& cache) {
    row_ = cache.Find("key").value().value();
    fs::copy_file(cache.options().cache_directory + "/" + row_.parquet_path, folder_ / "kept");
  }

  // Puts them back, as another program would: file by file, row by SQL.
  void Restore() {
    fs::copy_file(folder_ / "kept", (folder_ / "cache") + "/" + row_.parquet_path);
    SqliteOpenOptions open;
    open.target = folder_ / "metadata.db";
    open.hardened = false;
    auto database = SqliteConnection::Open(open).value();
    ASSERT_TRUE(database
                    ->Execute("UPDATE cache_entries SET parquet_path = '" + row_.parquet_path +
                              "', checksum = '" + row_.checksum +
                              "', size_bytes = " + std::to_string(row_.size_bytes))
                    .ok());
  }

  std::optional<Hit> Get(Cache& cache) {
    auto hit = cache.Get("key");
    EXPECT_TRUE(hit.ok()) << hit.status().ToString();
    return hit.ok() ? std::move(*hit) : std::nullopt;
  }

  TestDirectory folder_;
  std::string last_event_;
  EntryInfo row_;
  const Frame old_ = SampleBars(50, 1.0);
  const Frame new_ = SampleBars(50, 2.0);
};

TEST_F(RestoredTest, IsAMissForWhoStoredTheNewer) {
  auto cache = Open();
  ASSERT_TRUE(cache->Put("key", old_).ok());
  Keep(*cache);
  ASSERT_TRUE(cache->Put("key", new_).ok());
  Restore();
  EXPECT_FALSE(Get(*cache));
  EXPECT_FALSE(cache->Scan("key").value());
  // The row is left alone: for others it is sound, and the next put is newer.
  EXPECT_TRUE(cache->Find("key").value());
  ASSERT_TRUE(cache->Put("key", new_).ok());
  EXPECT_TRUE(SameFrame(Get(*cache)->frame, new_));
}

TEST_F(RestoredTest, IsAMissForWhoReadTheNewer) {
  auto writer = Open();
  ASSERT_TRUE(writer->Put("key", old_).ok());
  Keep(*writer);
  ASSERT_TRUE(writer->Put("key", new_).ok());
  auto reader = Open();
  ASSERT_TRUE(SameFrame(Get(*reader)->frame, new_));
  Restore();
  EXPECT_FALSE(Get(*reader));
}

TEST_F(RestoredTest, IsAMissForWhoHasTheNewerInMemoryOnceItIsNoticed) {
  auto cache = Open(1 << 20);
  ASSERT_TRUE(cache->Put("key", old_).ok());
  Keep(*cache);
  ASSERT_TRUE(cache->Put("key", new_).ok());
  ASSERT_TRUE(SameFrame(Get(*cache)->frame, new_));
  Restore();
  // Another program's write is noticed within a second; until then the newer frame is served.
  for (auto hit = Get(*cache); hit; hit = Get(*cache)) {
    ASSERT_TRUE(SameFrame(hit->frame, new_));
    std::this_thread::yield();
  }
}

TEST_F(RestoredTest, IsTheOlderFrameForANewcomer) {
  auto cache = Open();
  ASSERT_TRUE(cache->Put("key", old_).ok());
  Keep(*cache);
  ASSERT_TRUE(cache->Put("key", new_).ok());
  Restore();
  EXPECT_TRUE(SameFrame(Get(*Open())->frame, old_));
}

TEST_F(RestoredTest, APutOfAnotherProcessIsNeverOutdated) {
  auto one = Open();
  ASSERT_TRUE(one->Put("key", old_).ok());
  ASSERT_TRUE(SameFrame(Get(*one)->frame, old_));
  auto two = Open();
  ASSERT_EQ(two->Erase("key").value(), 1);
  ASSERT_TRUE(two->Put("key", new_).ok());
  EXPECT_TRUE(SameFrame(Get(*one)->frame, new_));
}

}  // namespace
}  // namespace barcache
