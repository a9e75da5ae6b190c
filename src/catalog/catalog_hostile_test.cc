// A database that somebody arranged: what it asks SQLite to do is not done.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "catalog/catalog_testing.h"

namespace barcache {
namespace {

std::unique_ptr<SqliteConnection> OpenHardened(const std::string& path) {
  SqliteOpenOptions options;
  options.target = path;
  auto connection = SqliteConnection::Open(options);
  EXPECT_TRUE(connection.ok()) << connection.status().ToString();
  return std::move(connection).value();
}

// A catalog with an entry, changed by another program's statements.
class HostileCatalog : public ::testing::Test {
 protected:
  void Arrange(const std::string& sql) {
    if (!std::filesystem::exists(folder_.db())) {
      auto catalog = OpenOrDie(folder_.db());
      PutOrDie(catalog.get(), Entry("k", 5, 1), "bt");
    }
    auto plain = OpenPlain(folder_.db());
    const Status done = plain->Execute(sql);
    ASSERT_TRUE(done.ok()) << done.ToString();
  }

  // It is refused, or all that is asked of it has an answer or a typed error.
  ErrorCode UseIt() {
    auto catalog = OpenCatalog(folder_.db());
    if (!catalog.ok()) return catalog.status().code();
    EXPECT_NE((*catalog)->Find("k").status().code(), ErrorCode::kInternal);
    EXPECT_NE((*catalog)->Entries().status().code(), ErrorCode::kInternal);
    EXPECT_NE((*catalog)->KeysOf("bt").status().code(), ErrorCode::kInternal);
    auto writer = (*catalog)->BeginWrite();
    if (!writer.ok()) return writer.status().code();
    auto stored = writer->Upsert(Entry("new", 5, 2));
    EXPECT_NE(stored.status().code(), ErrorCode::kInternal) << stored.status().ToString();
    if (!stored.ok()) return stored.status().code();
    return writer->Commit().code();
  }

  TestFolder folder_;
};

TEST_F(HostileCatalog, EveryConnectionDistrustsTheDatabase) {
  Arrange("CREATE VIEW v AS SELECT 1");
  auto connection = OpenHardened(folder_.db());
  EXPECT_EQ(QueryRows(connection.get(), "PRAGMA trusted_schema"), std::vector<std::string>{"0"});
  EXPECT_EQ(QueryRows(connection.get(), "PRAGMA cell_size_check"), std::vector<std::string>{"1"});
  auto view = connection->Prepare("SELECT * FROM v");
  EXPECT_FALSE(view.ok());
  // DEFENSIVE: the schema cannot be written as a table, whatever is asked.
  EXPECT_TRUE(connection->Execute("PRAGMA writable_schema=ON").ok());
  EXPECT_FALSE(connection->Execute("UPDATE sqlite_schema SET sql = 'x'").ok());
}

TEST_F(HostileCatalog, TriggersAndViewsOfOthersAreRefused) {
  Arrange(
      "CREATE TRIGGER spy AFTER UPDATE ON barcache_entries BEGIN"
      " DELETE FROM backtest_cache_links; END");
  EXPECT_EQ(UseIt(), ErrorCode::kNotACatalog);
  Arrange(
      "DROP TRIGGER spy; ALTER TABLE cache_entries RENAME TO hidden;"
      "CREATE VIEW cache_entries AS SELECT * FROM hidden");
  EXPECT_EQ(UseIt(), ErrorCode::kNotACatalog);
}

TEST_F(HostileCatalog, AViewWithATriggerOfItsOwnIsNotRun) {
  Arrange(
      "CREATE VIEW bait AS SELECT 1 AS x;"
      "CREATE TRIGGER trap INSTEAD OF INSERT ON bait BEGIN DELETE FROM cache_entries; END");
  EXPECT_EQ(UseIt(), ErrorCode::kOk);
  EXPECT_EQ(OpenOrDie(folder_.db())->Entries()->size(), 2U);
}

TEST_F(HostileCatalog, ColumnsThatAreComputedAreNoColumns) {
  Arrange(
      "DROP TABLE cache_entries; CREATE TABLE cache_entries (cache_key TEXT PRIMARY KEY,"
      " dataset_id INTEGER, parquet_path TEXT AS ('/etc/' || cache_key), checksum TEXT,"
      " created_at INTEGER, last_accessed INTEGER, access_count INTEGER, size_bytes INTEGER)");
  EXPECT_EQ(UseIt(), ErrorCode::kNotACatalog);
}

TEST_F(HostileCatalog, ATableThatAModuleMakesIsRefused) {
  Arrange(
      "DROP TABLE datasets; CREATE VIRTUAL TABLE datasets USING fts4("
      "dataset_id, source, resolution, schema_version, created_at, updated_at)");
  EXPECT_EQ(UseIt(), ErrorCode::kNotACatalog);
}

TEST_F(HostileCatalog, RowsThatAreHugeOrOfAnyTypeAreRead) {
  Arrange(
      "UPDATE cache_entries SET parquet_path = printf('%.20000000c', 'x');"
      "INSERT INTO cache_entries VALUES (zeroblob(1000000), 'x', x'ff', 1e300, '', x'', -1, 9);"
      "INSERT INTO backtest_cache_links (backtest_id, cache_key, linked_at)"
      " VALUES (zeroblob(3000000), 'k', 'then')");
  EXPECT_EQ(UseIt(), ErrorCode::kOk);
  auto catalog = OpenOrDie(folder_.db());
  EXPECT_EQ(catalog->Entries()->size(), 3U);
  EXPECT_EQ(catalog->Find("k").value()->parquet_path.size(), 20'000'000U);
}

TEST_F(HostileCatalog, ConstraintsThatCannotHoldAreTypedErrors) {
  Arrange("CREATE UNIQUE INDEX only_one ON cache_entries (abs(0 * size_bytes))");
  EXPECT_EQ(UseIt(), ErrorCode::kCatalogCorrupt);
  EXPECT_EQ(OpenOrDie(folder_.db())->Entries()->size(), 1U);  // Nothing half.
}

TEST_F(HostileCatalog, ASchemaThatIsNoSqlIsATypedError) {
  Arrange(
      "PRAGMA writable_schema=ON;"
      "UPDATE sqlite_schema SET sql = 'CREATE TABLE cache_entries (((' WHERE name ="
      " 'cache_entries'");
  const ErrorCode code = UseIt();
  EXPECT_TRUE(code == ErrorCode::kCatalogCorrupt || code == ErrorCode::kNotACatalog)
      << ErrorCodeName(code);
}

}  // namespace
}  // namespace barcache
