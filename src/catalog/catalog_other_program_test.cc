// Another program writes the same file with SQL of its own: what barcache adds must stay right.
#include <gtest/gtest.h>

#include "catalog/catalog_testing.h"

namespace barcache {
namespace {

using Strings = std::vector<std::string>;

class OtherProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    catalog_ = OpenOrDie(folder_.db());
    other_ = OpenPlain(folder_.db());
  }
  void Run(const std::string& sql) {
    const Status status = other_->Execute(sql);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  // Side rows and totals agree with cache_entries.
  void ExpectSound() {
    auto writer = catalog_->BeginWrite();
    ASSERT_TRUE(writer.ok());
    EXPECT_FALSE(writer->RebuildSideTables().value());
  }
  Strings UseOrder() {
    auto writer = catalog_->BeginWrite();
    const auto victims = writer->Candidates(VictimOrder::kLeastRecentlyUsed, 100, "").value();
    Strings keys;
    for (const Victim& victim : victims) keys.push_back(victim.cache_key);
    return keys;
  }
  static std::string Insert(const std::string& key, int size_bytes) {
    return "INSERT INTO cache_entries (cache_key, dataset_id, parquet_path, checksum, created_at,"
           " last_accessed, access_count, size_bytes) VALUES ('" +
           key + "', 1, '" + key + ".parquet', 'sum', 1700000000, 1700000000, 1, " +
           std::to_string(size_bytes) + ");";
  }

  TestFolder folder_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<SqliteConnection> other_;
};

TEST_F(OtherProgramTest, PutAccessDelete) {
  PutOrDie(catalog_.get(), Entry("ours", 100, 5), "bt-1");
  Run(Insert("theirs", 30) +
      "INSERT INTO backtest_cache_links (backtest_id, cache_key, linked_at)"
      " VALUES ('bt-2', 'theirs', 1700000000)");
  EXPECT_EQ(catalog_->Totals().value().size_bytes, 130);
  EXPECT_EQ(catalog_->Find("theirs").value()->generation, 0u);
  EXPECT_EQ(catalog_->BacktestsOf("theirs").value(), Strings{"bt-2"});
  EXPECT_EQ(UseOrder(), (Strings{"ours", "theirs"}));
  Run("UPDATE cache_entries SET last_accessed = 1700000001, access_count = access_count + 1"
      " WHERE cache_key = 'ours'");
  EXPECT_EQ(UseOrder(), (Strings{"theirs", "ours"}));
  EXPECT_EQ(catalog_->Totals().value().access_count, 3);
  EXPECT_EQ(catalog_->Find("ours").value()->generation, 5u);  // Still the bytes we wrote.
  ExpectSound();
  Run("DELETE FROM cache_entries WHERE cache_key = 'ours'");
  EXPECT_EQ(catalog_->Totals().value().size_bytes, 30);
  Run(Insert("ours", 7));
  EXPECT_TRUE(catalog_->BacktestsOf("ours").value().empty());
  EXPECT_EQ(catalog_->Find("ours").value()->generation, 0u);
  EXPECT_EQ(catalog_->Find("ours").value()->request_json, "");
  ExpectSound();
}

TEST_F(OtherProgramTest, ANewChecksumVoidsOurClaim) {
  PutOrDie(catalog_.get(), Entry("k", 100, 5));
  Run("UPDATE cache_entries SET checksum = 'other', size_bytes = 40 WHERE cache_key = 'k'");
  EXPECT_EQ(catalog_->Find("k").value()->generation, 0u);
  EXPECT_EQ(catalog_->Totals().value().size_bytes, 40);
  auto writer = catalog_->BeginWrite();
  EXPECT_TRUE(writer->Upsert(Entry("k", 60, 2)).value().stored);  // Nothing of ours is newer.
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_EQ(catalog_->Find("k").value()->generation, 2u);
  ExpectSound();
}

TEST_F(OtherProgramTest, AFailedInsertChangesNothing) {
  PutOrDie(catalog_.get(), Entry("k", 100, 5), "bt");
  EXPECT_FALSE(other_->Execute(Insert("k", 1)).ok());
  EXPECT_EQ(catalog_->Find("k").value()->generation, 5u);
  EXPECT_EQ(catalog_->Totals().value().size_bytes, 100);
  ExpectSound();
}

TEST_F(OtherProgramTest, ReplaceRenameAndRollback) {
  PutOrDie(catalog_.get(), Entry("k", 100, 5), "bt");
  for (const char* recursive : {"OFF", "ON"}) {
    Run(std::string("PRAGMA recursive_triggers=") + recursive);
    Run("REPLACE INTO cache_entries VALUES ('k', 1, 'p', 'new', 1700000000, 1, 1, 20)");
    EXPECT_EQ(catalog_->Totals().value().entry_count, 1);
    EXPECT_EQ(catalog_->Totals().value().size_bytes, 20);
    ExpectSound();
  }
  Run("UPDATE cache_entries SET cache_key = 'renamed' WHERE cache_key = 'k'");
  EXPECT_EQ(UseOrder(), Strings{"renamed"});
  EXPECT_TRUE(catalog_->KeysOf("bt").value().empty());
  ExpectSound();
  Run("BEGIN; DELETE FROM cache_entries; ROLLBACK");
  EXPECT_EQ(catalog_->Totals().value().entry_count, 1);
  Run("DELETE FROM cache_entries");
  EXPECT_EQ(catalog_->Totals().value().entry_count, 0);
  ExpectSound();
}

TEST_F(OtherProgramTest, LeftoverLinksAreDead) {
  // As if the row had been removed while the file had no triggers of ours.
  Run("INSERT INTO backtest_cache_links (backtest_id, cache_key, linked_at)"
      " VALUES ('before', 'k', 1699999999)");
  PutOrDie(catalog_.get(), Entry("k", 100, 5), "bt");
  EXPECT_EQ(catalog_->BacktestsOf("k").value(), Strings{"bt"});
  EXPECT_EQ(QueryRows(other_.get(), "SELECT backtest_id FROM backtest_cache_links"), Strings{"bt"});
  // RustyBT's put leaves them: they are older than the row.
  Run("INSERT INTO backtest_cache_links (backtest_id, cache_key, linked_at)"
      " VALUES ('before', 'j', 1699999999);" +
      Insert("j", 10));
  EXPECT_TRUE(catalog_->BacktestsOf("j").value().empty());
  EXPECT_TRUE(catalog_->KeysOf("before").value().empty());
  auto writer = catalog_->BeginWrite();
  EXPECT_TRUE(writer->EraseBacktest("before", false).value().empty());
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_TRUE(catalog_->Find("j").value().has_value());
}

TEST_F(OtherProgramTest, ALaterLinkAfterADeadOneIsAdded) {
  Run("INSERT INTO backtest_cache_links (backtest_id, cache_key, linked_at)"
      " VALUES ('bt', 'j', 1699999999);" +
      Insert("j", 10));
  auto writer = catalog_->BeginWrite();
  EXPECT_TRUE(writer->Link("bt", "j", 1'700'000'100).value());
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_EQ(catalog_->BacktestsOf("j").value(), Strings{"bt"});
}

TEST(ForeignWritesTest, AreNoticedWithinASecondAndOnlyThey) {
  TestFolder folder;
  ManualClock clock(1'700'000'000'000'000'000);
  CatalogOptions options;
  options.db_path = folder.db();
  auto mine = Catalog::Open(options, &clock).value();
  auto another = OpenOrDie(folder.db());
  auto other = OpenPlain(folder.db());
  const auto look = [&] {
    clock.Advance(600'000'000);
    return mine->ForeignWrites();
  };
  const uint64_t start = look();
  PutOrDie(mine.get(), Entry("k", 1, 1), "bt");
  PutOrDie(another.get(), Entry("j", 1, 1));
  {
    auto writer = another->BeginWrite();
    ASSERT_TRUE(writer->ApplyTouches({{"k", 1, 1}}).ok());
    ASSERT_TRUE(writer->Erase("j").ok());
    ASSERT_TRUE(writer->Commit().ok());
  }
  EXPECT_EQ(look(), start);  // Announced by epochs.
  ASSERT_TRUE(other->Execute("UPDATE cache_entries SET checksum = 'x'").ok());
  EXPECT_EQ(mine->ForeignWrites(), start);  // Not looked yet.
  const uint64_t once = look();
  EXPECT_GT(once, start);
  EXPECT_EQ(look(), once);
  // A foreign write between two of ours.
  PutOrDie(another.get(), Entry("k", 1, 2));
  ASSERT_TRUE(other->Execute("DELETE FROM cache_entries WHERE cache_key = 'k'").ok());
  PutOrDie(mine.get(), Entry("k", 1, 3));
  const uint64_t twice = look();
  EXPECT_GT(twice, once);
  // Without our triggers nothing is counted any more: that is a change, too.
  ASSERT_TRUE(other->Execute("DROP TRIGGER barcache_side_removed").ok());
  EXPECT_GT(look(), twice);
}

TEST(ForeignWritesTest, ReadOnlyWithoutEpochsSeesEveryWriteAtOnce) {
  TestFolder folder;
  OpenOrDie(folder.db()).reset();
  std::filesystem::remove(folder.db() + "-barcache");
  auto reader = OpenOrDie(folder.db(), true);
  auto other = OpenPlain(folder.db());
  const uint64_t start = reader->ForeignWrites();
  EXPECT_EQ(reader->ForeignWrites(), start);
  ASSERT_TRUE(other->Execute("INSERT INTO datasets VALUES (1, 's', '1d', 1, 1, 1)").ok());
  EXPECT_GT(reader->ForeignWrites(), start);
}

}  // namespace
}  // namespace barcache
