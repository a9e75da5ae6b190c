// The catalog as its callers see it: rows, replacement, links, removal, totals, transactions.
#include "catalog/catalog.h"

#include <gtest/gtest.h>

#include "catalog/catalog_testing.h"

namespace barcache {
namespace {

using Strings = std::vector<std::string>;

class CatalogTest : public testing::TestWithParam<bool> {
 protected:
  // The same rules hold for a file and for ":memory:".
  void SetUp() override {
    catalog_ = OpenOrDie(GetParam() ? ":memory:" : folder_.db());
    ASSERT_NE(catalog_, nullptr);
  }
  EntryInfo FindOrDie(const std::string& key) {
    auto found = catalog_->Find(key);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
    EXPECT_TRUE(found.ok() && found->has_value()) << key;
    return found.ok() && found->has_value() ? **found : EntryInfo{};
  }
  CatalogTotals Totals() { return catalog_->Totals().value(); }
  CatalogWriter Begin() {
    auto writer = catalog_->BeginWrite();
    EXPECT_TRUE(writer.ok()) << writer.status().ToString();
    return std::move(writer).value();
  }

  TestFolder folder_;
  std::unique_ptr<Catalog> catalog_;
};

INSTANTIATE_TEST_SUITE_P(FileAndMemory, CatalogTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Memory" : "File"; });

TEST_P(CatalogTest, StoresAndFinds) {
  PutOrDie(catalog_.get(), Entry("k1", 100, 7), "bt-1");
  const EntryInfo entry = FindOrDie("k1");
  EXPECT_EQ(entry.cache_key, "k1");
  EXPECT_EQ(entry.dataset_id, 1);
  EXPECT_EQ(entry.parquet_path, "k1~7.parquet");
  EXPECT_EQ(entry.checksum, "sum-k1-7");
  EXPECT_EQ(entry.size_bytes, 100);
  EXPECT_EQ(entry.generation, 7u);
  EXPECT_EQ(entry.access_count, 1);
  EXPECT_EQ(entry.created_at, 1'700'000'000);
  EXPECT_EQ(entry.last_accessed, 1'700'000'000);
  EXPECT_EQ(entry.request_json, "{\"k1\"}");
  EXPECT_EQ(catalog_->BacktestsOf("k1").value(), Strings{"bt-1"});
  EXPECT_EQ(catalog_->KeysOf("bt-1").value(), Strings{"k1"});
  EXPECT_FALSE(catalog_->Find("other").value().has_value());
  EXPECT_EQ(catalog_->catalog_id().size(), 32u);
}

TEST_P(CatalogTest, ReplacementKeepsHistory) {
  PutOrDie(catalog_.get(), Entry("k1", 100, 7, 1000), "bt-1");
  {
    auto writer = Begin();
    ASSERT_TRUE(writer.ApplyTouches({{"k1", 3, 1500}}).ok());
    ASSERT_TRUE(writer.Commit().ok());
  }
  NewEntry second = Entry("k1", 250, 9, 2000);
  second.request_json.clear();
  auto writer = Begin();
  auto outcome = writer.Upsert(second);
  ASSERT_TRUE(outcome.ok()) << outcome.status().ToString();
  EXPECT_TRUE(outcome->stored);
  EXPECT_EQ(outcome->replaced_path, "k1~7.parquet");
  ASSERT_TRUE(writer.Commit().ok());
  const EntryInfo entry = FindOrDie("k1");
  EXPECT_EQ(entry.created_at, 1000);
  EXPECT_EQ(entry.last_accessed, 2000);
  EXPECT_EQ(entry.access_count, 4);
  EXPECT_EQ(entry.size_bytes, 250);
  EXPECT_EQ(entry.generation, 9u);
  EXPECT_EQ(entry.request_json, "{\"k1\"}");  // A put without a request keeps what is known.
  EXPECT_EQ(catalog_->BacktestsOf("k1").value(), Strings{"bt-1"});
  EXPECT_EQ(Totals().entry_count, 1);
  EXPECT_EQ(Totals().size_bytes, 250);
  EXPECT_EQ(Totals().access_count, 4);
}

TEST_P(CatalogTest, LaterGenerationStands) {
  PutOrDie(catalog_.get(), Entry("k1", 100, 9));
  auto writer = Begin();
  auto outcome = writer.Upsert(Entry("k1", 50, 8));
  ASSERT_TRUE(outcome.ok());
  EXPECT_FALSE(outcome->stored);
  EXPECT_EQ(outcome->replaced_path, "");
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(FindOrDie("k1").generation, 9u);
  EXPECT_EQ(Totals().size_bytes, 100);
}

TEST_P(CatalogTest, NothingWithoutCommit) {
  PutOrDie(catalog_.get(), Entry("k1", 100, 1));
  const Epoch before = catalog_->EpochOf("k2");
  {
    auto writer = Begin();
    ASSERT_TRUE(writer.Upsert(Entry("k2", 5, 2)).ok());
    ASSERT_TRUE(writer.Erase("k1").ok());
    EXPECT_EQ(writer.Totals().value().entry_count, 1);
  }
  EXPECT_TRUE(catalog_->Find("k1").value().has_value());
  EXPECT_FALSE(catalog_->Find("k2").value().has_value());
  EXPECT_EQ(Totals().entry_count, 1);
  EXPECT_EQ(catalog_->EpochOf("k2"), before);
}

TEST_P(CatalogTest, LinksOnceAndOnlyToRows) {
  PutOrDie(catalog_.get(), Entry("k1", 100, 1, 1000));
  auto writer = Begin();
  EXPECT_TRUE(writer.Link("bt-1", "k1", 1100).value());
  EXPECT_FALSE(writer.Link("bt-1", "k1", 1200).value());
  EXPECT_FALSE(writer.Link("bt-1", "unknown", 1200).value());
  EXPECT_TRUE(writer.Link("bt-2", "k1", 900).value());  // A clock that went back.
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(catalog_->BacktestsOf("k1").value(), (Strings{"bt-1", "bt-2"}));
}

TEST_P(CatalogTest, LinksDieWithTheirEntry) {
  PutOrDie(catalog_.get(), Entry("k1", 100, 1), "bt-1");
  {
    auto writer = Begin();
    auto erased = writer.Erase("k1");
    ASSERT_TRUE(erased.ok() && erased->has_value());
    EXPECT_EQ((*erased)->parquet_path, "k1~1.parquet");
    EXPECT_EQ((*erased)->size_bytes, 100);
    EXPECT_FALSE(writer.Erase("k1").value().has_value());
    ASSERT_TRUE(writer.Commit().ok());
  }
  PutOrDie(catalog_.get(), Entry("k1", 100, 2), "bt-2");
  EXPECT_EQ(catalog_->BacktestsOf("k1").value(), Strings{"bt-2"});
  EXPECT_EQ(FindOrDie("k1").access_count, 1);
  EXPECT_TRUE(catalog_->KeysOf("bt-1").value().empty());
}

TEST_P(CatalogTest, EraseIfComparesPathAndChecksum) {
  PutOrDie(catalog_.get(), Entry("k1", 100, 1));
  auto writer = Begin();
  EXPECT_FALSE(writer.EraseIf("k1", "k1~1.parquet", "sum-k1-2").value());
  EXPECT_FALSE(writer.EraseIf("k1", "k1~2.parquet", "sum-k1-1").value());
  EXPECT_FALSE(writer.EraseIf("k2", "k1~1.parquet", "sum-k1-1").value());
  EXPECT_EQ(writer.Totals().value().entry_count, 1);
  EXPECT_TRUE(writer.EraseIf("k1", "k1~1.parquet", "sum-k1-1").value());
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_FALSE(catalog_->Find("k1").value().has_value());
  EXPECT_EQ(Totals().size_bytes, 0);
}

TEST_P(CatalogTest, EraseBacktestWithAndWithoutShared) {
  for (const bool keep_shared : {false, true}) {
    PutOrDie(catalog_.get(), Entry("own", 10, 1), "bt-1");
    PutOrDie(catalog_.get(), Entry("shared", 20, 1), "bt-1");
    PutOrDie(catalog_.get(), Entry("other", 40, 1), "bt-2");
    auto writer = Begin();
    ASSERT_TRUE(writer.Link("bt-2", "shared", 1'700'000'000).ok());
    auto victims = writer.EraseBacktest("bt-1", keep_shared);
    ASSERT_TRUE(victims.ok()) << victims.status().ToString();
    Strings keys;
    for (const Victim& victim : *victims) keys.push_back(victim.cache_key);
    EXPECT_EQ(keys, keep_shared ? Strings{"own"} : (Strings{"own", "shared"}));
    EXPECT_TRUE(writer.EraseBacktest("unknown", keep_shared).value().empty());
    ASSERT_TRUE(writer.Commit().ok());
    EXPECT_EQ(Totals().size_bytes, keep_shared ? 60 : 40);
    EXPECT_TRUE(catalog_->KeysOf("bt-1").value().empty());
    auto clear = Begin();
    ASSERT_TRUE(clear.EraseAll().ok());
    ASSERT_TRUE(clear.Commit().ok());
  }
}

TEST_P(CatalogTest, EraseAllKeepsStatistics) {
  PutOrDie(catalog_.get(), Entry("k1", 10, 1), "bt-1");
  PutOrDie(catalog_.get(), Entry("k2", 20, 1));
  const Epoch other = catalog_->EpochOf("never stored");
  auto writer = Begin();
  ASSERT_TRUE(writer.AddDailyStatistics({86400, 1, 2, 3.0}).ok());
  EXPECT_EQ(writer.EraseAll().value().size(), 2u);
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(Totals().entry_count, 0);
  EXPECT_EQ(Totals().access_count, 0);
  EXPECT_TRUE(catalog_->KeysOf("bt-1").value().empty());
  EXPECT_EQ(catalog_->DailyBetween(0, 1'000'000).value().size(), 1u);
  EXPECT_NE(catalog_->EpochOf("never stored"), other);
}

TEST_P(CatalogTest, EraseUnusedSince) {
  PutOrDie(catalog_.get(), Entry("old", 10, 1, 1000));
  PutOrDie(catalog_.get(), Entry("new", 20, 1, 2000));
  PutOrDie(catalog_.get(), Entry("used", 30, 1, 1000));
  auto writer = Begin();
  ASSERT_TRUE(writer.ApplyTouches({{"used", 1, 3000}}).ok());
  auto victims = writer.EraseUnusedSince(2000);
  ASSERT_TRUE(victims.ok());
  ASSERT_EQ(victims->size(), 1u);
  EXPECT_EQ(victims->front().cache_key, "old");
  EXPECT_EQ(victims->front().last_accessed, 1000);
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(Totals().entry_count, 2);
}

TEST_P(CatalogTest, TouchesCountAndOrder) {
  for (const char* key : {"a", "b", "c"}) PutOrDie(catalog_.get(), Entry(key, 10, 1, 1000));
  auto writer = Begin();
  ASSERT_TRUE(writer.ApplyTouches({{"b", 5, 1100}, {"a", 1, 900}, {"gone", 1, 1200}}).ok());
  auto victims = writer.Candidates(VictimOrder::kLeastRecentlyUsed, 10, "");
  ASSERT_TRUE(victims.ok());
  Strings order;
  for (const Victim& victim : *victims) order.push_back(victim.cache_key);
  EXPECT_EQ(order, (Strings{"c", "b", "a"}));
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(FindOrDie("b").access_count, 6);
  EXPECT_EQ(FindOrDie("b").last_accessed, 1100);
  EXPECT_EQ(FindOrDie("a").last_accessed, 1000);  // Never back.
  EXPECT_EQ(Totals().access_count, 9);
}

TEST_P(CatalogTest, DailyStatisticsAddUp) {
  auto writer = Begin();
  EXPECT_FALSE(writer.ReadDailyStatistics(86400).value().has_value());
  ASSERT_TRUE(writer.AddDailyStatistics({86400, 3, 1, 1.5}).ok());
  ASSERT_TRUE(writer.AddDailyStatistics({86400, 2, 2, 2.5}).ok());
  ASSERT_TRUE(writer.AddDailyStatistics({172800, 1, 0, 4.0}).ok());
  EXPECT_EQ(writer.ReadDailyStatistics(86400).value()->hit_count, 5);
  ASSERT_TRUE(writer.Commit().ok());
  auto days = catalog_->DailyBetween(86400, 172800);
  ASSERT_TRUE(days.ok());
  ASSERT_EQ(days->size(), 2u);
  EXPECT_EQ((*days)[0].miss_count, 3);
  EXPECT_DOUBLE_EQ((*days)[0].total_size_mb, 2.5);
  EXPECT_EQ((*days)[1].hit_count, 1);
  EXPECT_EQ(catalog_->DailyBetween(86401, 172799).value().size(), 0u);
}

TEST_P(CatalogTest, EntriesAreOrderedByKey) {
  for (const char* key : {"m", "z", "a"}) PutOrDie(catalog_.get(), Entry(key, 10, 1));
  auto entries = catalog_->Entries();
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0].cache_key, "a");
  EXPECT_EQ((*entries)[2].cache_key, "z");
}

TEST_P(CatalogTest, HostileTextIsOnlyText) {
  const std::string key = "'; DROP TABLE cache_entries; --\xF0\x9F\x92\xA9";
  const std::string backtest(100'000, '%');
  PutOrDie(catalog_.get(), Entry(key, 10, 1), backtest);
  EXPECT_EQ(FindOrDie(key).cache_key, key);
  EXPECT_EQ(catalog_->BacktestsOf(key).value(), Strings{backtest});
  EXPECT_EQ(catalog_->KeysOf(backtest).value(), Strings{key});
}

TEST_P(CatalogTest, EpochsMoveForStoredAndErasedKeys) {
  const Epoch start = catalog_->EpochOf("k1");
  EXPECT_TRUE(start.settled());
  auto writer = Begin();
  ASSERT_TRUE(writer.Upsert(Entry("k1", 10, 1)).ok());
  const Epoch promised = writer.EpochAfterCommit("k1");
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_NE(catalog_->EpochOf("k1"), start);
  EXPECT_EQ(catalog_->EpochOf("k1"), promised);
  EXPECT_TRUE(promised.settled());
  auto eraser = Begin();
  ASSERT_TRUE(eraser.Erase("k1").ok());
  ASSERT_TRUE(eraser.Commit().ok());
  EXPECT_NE(catalog_->EpochOf("k1"), promised);
}

TEST_P(CatalogTest, EngineCommitsUnsettleEveryKey) {
  const Epoch before = catalog_->EpochOf("k1");
  catalog_->BeginEngineCommit();
  EXPECT_FALSE(catalog_->EpochOf("k1").settled());
  catalog_->BeginEngineCommit();  // Another thread's.
  EXPECT_FALSE(catalog_->EpochOf("k1").settled());
  catalog_->EndEngineCommit();
  EXPECT_FALSE(catalog_->EpochOf("k1").settled());
  catalog_->EndEngineCommit();
  EXPECT_TRUE(catalog_->EpochOf("k1").settled());
  EXPECT_NE(catalog_->EpochOf("k1"), before);
}

TEST_P(CatalogTest, RebuildFindsNothingInASoundCatalog) {
  for (const char* key : {"a", "b", "c"}) PutOrDie(catalog_.get(), Entry(key, 10, 1), "bt");
  auto writer = Begin();
  ASSERT_TRUE(writer.Candidates(VictimOrder::kLargestOfOldHalf, 1, "").ok());
  EXPECT_FALSE(writer.RebuildSideTables().value());
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_TRUE(catalog_->QuickCheck().value().empty());
}

TEST_P(CatalogTest, CommittingTwiceIsAnError) {
  auto writer = Begin();
  ASSERT_TRUE(writer.Commit().ok());
  EXPECT_EQ(writer.Commit().code(), ErrorCode::kInternal);
}

}  // namespace
}  // namespace barcache
