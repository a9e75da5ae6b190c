// What the catalog makes of the file it is given: new, RustyBT's, newer, damaged, foreign.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "catalog/catalog_testing.h"
#include "catalog/schema.h"
#include "catalog/schema_sql.h"

namespace barcache {
namespace {

using Strings = std::vector<std::string>;

ErrorCode OpenError(const std::string& path, std::string* message = nullptr) {
  auto catalog = OpenCatalog(path);
  EXPECT_FALSE(catalog.ok());
  if (message != nullptr) *message = catalog.status().message();
  return catalog.status().code();
}

bool FileExists(const std::string& path) { return std::filesystem::exists(path); }

int ModeOf(const std::string& path) {
  struct stat status{};
  EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
  return static_cast<int>(status.st_mode & 0777);
}

// A catalog as RustyBT makes it, with some rows.
void MakeRustyBtCatalog(const std::string& path) {
  auto db = OpenPlain(path);
  for (const SchemaObject& object : RustyBtSchema()) ASSERT_TRUE(db->Execute(object.sql).ok());
  ASSERT_TRUE(db->Execute("INSERT INTO cache_entries VALUES"
                          " ('recent', 1, 'recent.parquet', 'c1', 100, 300, 2, 10),"
                          " ('oldest', 1, 'oldest.parquet', 'c2', 100, 100, 1, 20),"
                          " ('middle', 1, 'middle.parquet', 'c3', 100, 200, 4, 40);"
                          "INSERT INTO backtest_cache_links (backtest_id, cache_key, linked_at)"
                          " VALUES ('bt-1', 'recent', 100), ('bt-1', 'middle', 99)")
                  .ok());
}

TEST(CatalogSchemaTest, NewFilesArePrivate) {
  TestFolder folder;
  const std::string path = folder.file("a/b%20#?/metadata.db");
  const mode_t before = umask(0);
  auto catalog = OpenOrDie(path);
  PutOrDie(catalog.get(), Entry("k", 1, 1));
  umask(before);
  EXPECT_EQ(ModeOf(path), 0600);
  EXPECT_EQ(ModeOf(path + "-wal"), 0600);
  EXPECT_EQ(ModeOf(path + "-shm"), 0600);
  EXPECT_EQ(ModeOf(path + "-barcache"), 0600);
  EXPECT_EQ(ModeOf(folder.file("a")), 0700);
}

TEST(CatalogSchemaTest, TablesOfRustyBtAreVerbatim) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  auto db = OpenPlain(folder.db());
  for (const SchemaObject& object : RustyBtSchema()) {
    EXPECT_EQ(QueryRows(db.get(), "SELECT sql FROM sqlite_master WHERE name = '" +
                                      std::string(object.name) + "'"),
              Strings{std::string(object.sql)});
  }
  EXPECT_EQ(QueryRows(db.get(), "PRAGMA journal_mode"), Strings{"wal"});
}

TEST(CatalogSchemaTest, ReopensWithTheSameIdentity) {
  TestFolder folder;
  std::string id;
  {
    auto catalog = OpenOrDie(folder.db());
    id = catalog->catalog_id();
    PutOrDie(catalog.get(), Entry("k", 5, 1), "bt");
  }
  EXPECT_FALSE(FileExists(folder.db() + "-wal"));  // The last to close leaves one file.
  auto catalog = OpenOrDie(folder.db());
  EXPECT_EQ(catalog->catalog_id(), id);
  EXPECT_TRUE(catalog->Find("k").value().has_value());
  EXPECT_EQ(catalog->Totals().value().size_bytes, 5);
}

TEST(CatalogSchemaTest, AdoptsACatalogOfRustyBt) {
  TestFolder folder;
  MakeRustyBtCatalog(folder.db());
  auto catalog = OpenOrDie(folder.db());
  EXPECT_EQ(catalog->Totals().value().entry_count, 3);
  EXPECT_EQ(catalog->Totals().value().size_bytes, 70);
  EXPECT_EQ(catalog->Totals().value().access_count, 7);
  auto found = catalog->Find("recent");
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->generation, 0u);
  EXPECT_EQ((*found)->request_json, "");
  EXPECT_EQ(catalog->KeysOf("bt-1").value(), Strings{"recent"});  // The other link is dead.
  auto writer = catalog->BeginWrite();
  ASSERT_TRUE(writer.ok());
  auto victims = writer->Candidates(VictimOrder::kLeastRecentlyUsed, 3, "");
  ASSERT_TRUE(victims.ok());
  ASSERT_EQ(victims->size(), 3u);
  EXPECT_EQ((*victims)[0].cache_key, "oldest");
  EXPECT_EQ((*victims)[1].cache_key, "middle");
  EXPECT_EQ((*victims)[2].cache_key, "recent");
}

TEST(CatalogSchemaTest, AdoptsASubsetOfTheTables) {
  TestFolder folder;
  {
    auto db = OpenPlain(folder.db());
    ASSERT_TRUE(db->Execute(RustyBtSchema().front().sql).ok());
    ASSERT_TRUE(db->Execute("CREATE TABLE bundle_cache (x)").ok());
  }
  auto catalog = OpenOrDie(folder.db());
  PutOrDie(catalog.get(), Entry("k", 5, 1));
  EXPECT_EQ(catalog->Totals().value().entry_count, 1);
}

TEST(CatalogSchemaTest, AnEmptyFileIsANewCatalog) {
  TestFolder folder;
  std::ofstream(folder.db()).close();
  auto catalog = OpenOrDie(folder.db());
  PutOrDie(catalog.get(), Entry("k", 5, 1));
}

TEST(CatalogSchemaTest, RefusesWhatIsNoCatalogAndLeavesIt) {
  TestFolder folder;
  const std::string text = folder.file("notes.txt");
  std::ofstream(text) << std::string(5000, 'x');
  const std::string foreign = folder.file("foreign.db");
  ASSERT_TRUE(OpenPlain(foreign)->Execute("CREATE TABLE invoices (id)").ok());
  const std::string clash = folder.file("clash.db");
  ASSERT_TRUE(OpenPlain(clash)->Execute("CREATE TABLE symbols (name)").ok());
  const std::string view = folder.file("view.db");
  ASSERT_TRUE(OpenPlain(view)->Execute("CREATE VIEW cache_entries AS SELECT 1 AS cache_key").ok());
  for (const std::string& path : {text, foreign, clash, view}) {
    std::string message;
    EXPECT_EQ(OpenError(path, &message), ErrorCode::kNotACatalog) << message;
    EXPECT_NE(message.find(path), std::string::npos) << message;
    EXPECT_FALSE(FileExists(path + "-barcache")) << path;
    EXPECT_FALSE(FileExists(path + "-wal")) << path;
  }
  EXPECT_EQ(OpenError(folder.file("")), ErrorCode::kNotACatalog);
  EXPECT_EQ(OpenError("/dev/null"), ErrorCode::kNotACatalog);
  EXPECT_EQ(OpenError(""), ErrorCode::kInvalidArgument);
  auto db = OpenPlain(foreign);
  EXPECT_EQ(QueryRows(db.get(), "SELECT name FROM sqlite_master"), Strings{"invoices"});
}

TEST(CatalogSchemaTest, RefusesANewerVersion) {
  TestFolder folder;
  OpenOrDie(folder.db()).reset();
  ASSERT_TRUE(OpenPlain(folder.db())
                  ->Execute("UPDATE barcache_meta SET value = '4' WHERE name = 'schema_version'")
                  .ok());
  std::string message;
  EXPECT_EQ(OpenError(folder.db(), &message), ErrorCode::kUnsupportedCatalog);
  EXPECT_NE(message.find("upgrade"), std::string::npos) << message;
}

// What version 1 had, out of what the newest has.
constexpr char kBackToVersion1[] =
    "DROP TRIGGER barcache_entry_added; DROP TRIGGER barcache_entry_changed;"
    "DROP TRIGGER barcache_entry_renamed; DROP TRIGGER barcache_entry_removed;"
    "DROP TRIGGER barcache_side_added; DROP TRIGGER barcache_side_changed;"
    "DROP TRIGGER barcache_side_removed; DROP TABLE barcache_ghosts; DROP TABLE barcache_leases;"
    "CREATE TABLE kept AS SELECT * FROM barcache_entries; DROP TABLE barcache_entries;"
    "CREATE TABLE barcache_entries (use_order INTEGER NOT NULL PRIMARY KEY,"
    " cache_key TEXT NOT NULL UNIQUE, checksum TEXT NOT NULL, generation INTEGER NOT NULL DEFAULT "
    "0,"
    " size_bytes INTEGER NOT NULL, access_count INTEGER NOT NULL,"
    " is_old INTEGER NOT NULL DEFAULT 0, request_json TEXT NOT NULL DEFAULT '');"
    "INSERT INTO barcache_entries SELECT use_order, cache_key, checksum, generation, size_bytes,"
    " access_count, is_old, request_json FROM kept; DROP TABLE kept;"
    "CREATE INDEX barcache_entries_size ON barcache_entries (size_bytes DESC);"
    "ALTER TABLE barcache_totals DROP COLUMN inflation;"
    "ALTER TABLE barcache_totals DROP COLUMN ranked_use;"
    "ALTER TABLE barcache_totals DROP COLUMN queued_use;"
    "ALTER TABLE barcache_totals DROP COLUMN next_place;"
    "ALTER TABLE barcache_totals DROP COLUMN main_size_bytes;"
    "ALTER TABLE barcache_totals DROP COLUMN ghost_size_bytes;"
    "ALTER TABLE barcache_totals DROP COLUMN pinned_count;"
    "ALTER TABLE barcache_totals DROP COLUMN pinned_size_bytes;"
    "UPDATE barcache_meta SET value = '1' WHERE name = 'schema_version'";

TEST(CatalogSchemaTest, Version1IsMigratedWithAllItKnew) {
  constexpr char kSide[] =
      "SELECT use_order, cache_key, checksum, generation, size_bytes, access_count, is_old,"
      " request_json FROM barcache_entries ORDER BY use_order";
  constexpr char kTotals[] =
      "SELECT entry_count, size_bytes, access_count, next_use, old_count, old_boundary"
      " FROM barcache_totals";
  TestFolder folder;
  {
    auto catalog = OpenOrDie(folder.db());
    for (int i = 0; i < 6; ++i) {
      PutOrDie(catalog.get(), Entry("key" + std::to_string(i), 10 + i, 7), "bt");
    }
    auto writer = catalog->BeginWrite();
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->ApplyTouches({{"key0", 3, 0}}).ok());
    ASSERT_TRUE(writer->Candidates(VictimOrder::kLargestOfOldHalf, 1, "").ok());
    ASSERT_TRUE(writer->Commit().ok());
  }
  Strings side;
  Strings totals;
  {
    auto db = OpenPlain(folder.db());
    const Status back = db->Execute(kBackToVersion1);
    ASSERT_TRUE(back.ok()) << back.ToString();
    side = QueryRows(db.get(), kSide);
    totals = QueryRows(db.get(), kTotals);
  }
  const std::string catalog_id = OpenOrDie(folder.db(), true)->catalog_id();  // Changes nothing.
  EXPECT_EQ(QueryRows(OpenPlain(folder.db()).get(),
                      "SELECT value FROM barcache_meta WHERE name = 'schema_version'"),
            Strings{"1"});
  auto catalog = OpenOrDie(folder.db());
  EXPECT_EQ(catalog->catalog_id(), catalog_id);
  EXPECT_EQ(catalog->Find("key0").value()->generation, 7u);
  EXPECT_EQ(catalog->BacktestsOf("key3").value(), Strings{"bt"});
  auto db = OpenPlain(folder.db());
  EXPECT_EQ(QueryRows(db.get(), kSide), side);
  EXPECT_EQ(QueryRows(db.get(), kTotals), totals);
  EXPECT_EQ(QueryRows(db.get(),
                      "SELECT DISTINCT fetch_cost, priority IS NULL, queue IS NULL"
                      " FROM barcache_entries"),
            Strings{"1.0|1|1"});
  EXPECT_EQ(QueryRows(db.get(), "SELECT value FROM barcache_meta WHERE name = 'schema_version'"),
            Strings{"3"});
  auto writer = catalog->BeginWrite();
  ASSERT_TRUE(writer.ok());
  EXPECT_FALSE(writer->RebuildSideTables().value());
}

// What version 2 had: no leases and no pins.
constexpr char kBackToVersion2[] =
    "DROP TRIGGER barcache_side_added; DROP TRIGGER barcache_side_changed;"
    "DROP TRIGGER barcache_side_removed; DROP TABLE barcache_leases;"
    "DROP INDEX barcache_entries_size;"
    "CREATE INDEX barcache_entries_size ON barcache_entries (size_bytes DESC);"
    "ALTER TABLE barcache_totals DROP COLUMN pinned_count;"
    "ALTER TABLE barcache_totals DROP COLUMN pinned_size_bytes;"
    "UPDATE barcache_meta SET value = '2' WHERE name = 'schema_version'";

TEST(CatalogSchemaTest, Version2IsMigratedWithItsRanksAndQueues) {
  constexpr char kSide[] = "SELECT * FROM barcache_entries ORDER BY use_order";
  constexpr char kTotals[] =
      "SELECT entry_count, size_bytes, next_use, inflation, ranked_use, queued_use, next_place,"
      " main_size_bytes, ghost_size_bytes FROM barcache_totals";
  TestFolder folder;
  {
    auto catalog = OpenOrDie(folder.db());
    for (int i = 0; i < 4; ++i) PutOrDie(catalog.get(), Entry("key" + std::to_string(i), 10, 7));
    auto writer = catalog->BeginWrite();
    ASSERT_TRUE(writer.ok());
    const std::vector<RankInput> inputs = writer->EntriesToRank().value();
    for (const RankInput& input : inputs) {
      ASSERT_TRUE(writer->SetPriority(input.use_order, 0.5).ok());
      ASSERT_TRUE(writer->Enqueue(input.use_order, 1, 1).ok());
    }
    ASSERT_TRUE(writer->FinishRanking(0.25).ok());
    ASSERT_TRUE(writer->FinishQueueing().ok());
    ASSERT_TRUE(writer->RememberGhost("gone", 5, 100).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }
  Strings side;
  Strings totals;
  {
    auto db = OpenPlain(folder.db());
    const Status back = db->Execute(kBackToVersion2);
    ASSERT_TRUE(back.ok()) << back.ToString();
    side = QueryRows(db.get(), kSide);
    totals = QueryRows(db.get(), kTotals);
  }
  auto catalog = OpenOrDie(folder.db());
  auto db = OpenPlain(folder.db());
  EXPECT_EQ(QueryRows(db.get(), kSide), side);
  EXPECT_EQ(QueryRows(db.get(), kTotals), totals);
  auto writer = catalog->BeginWrite();
  ASSERT_TRUE(writer.ok());
  EXPECT_TRUE(writer->Pin("key1").value());
  EXPECT_EQ(writer->Totals().value().pinned_size_bytes, 10);
  EXPECT_FALSE(writer->RebuildSideTables().value());
}

TEST(CatalogSchemaTest, Version1WithATableThatIsNotItsOwnIsRebuilt) {
  TestFolder folder;
  PutOrDie(OpenOrDie(folder.db()).get(), Entry("k", 5, 1), "bt");
  {
    auto db = OpenPlain(folder.db());
    ASSERT_TRUE(db->Execute(kBackToVersion1).ok());
    ASSERT_TRUE(db->Execute("ALTER TABLE barcache_entries DROP COLUMN generation").ok());
  }
  auto catalog = OpenOrDie(folder.db());
  EXPECT_EQ(catalog->Find("k").value()->size_bytes, 5);
  PutOrDie(catalog.get(), Entry("k", 6, 2));
  EXPECT_EQ(catalog->Totals().value().size_bytes, 6);
}

TEST(CatalogSchemaTest, RefusesForeignTriggers) {
  TestFolder folder;
  OpenOrDie(folder.db()).reset();
  ASSERT_TRUE(OpenPlain(folder.db())
                  ->Execute("CREATE TRIGGER spy AFTER INSERT ON cache_entries BEGIN"
                            " DELETE FROM cache_entries; END")
                  .ok());
  std::string message;
  EXPECT_EQ(OpenError(folder.db(), &message), ErrorCode::kNotACatalog);
  EXPECT_NE(message.find("spy"), std::string::npos) << message;
}

TEST(CatalogSchemaTest, MendsAlteredTriggersAndTables) {
  TestFolder folder;
  {
    auto catalog = OpenOrDie(folder.db());
    PutOrDie(catalog.get(), Entry("k1", 5, 1), "bt");
  }
  {
    auto db = OpenPlain(folder.db());
    ASSERT_TRUE(db->Execute("DROP TRIGGER barcache_entry_added;"
                            "DROP TRIGGER barcache_entry_removed;"
                            "CREATE TRIGGER barcache_entry_removed AFTER DELETE ON cache_entries"
                            " BEGIN DELETE FROM datasets; END;"
                            "DROP INDEX idx_cache_entries_accessed;"
                            "INSERT INTO cache_entries VALUES ('k2',1,'p','c',1,1,1,30);"
                            "DELETE FROM barcache_totals")
                    .ok());
  }
  auto catalog = OpenOrDie(folder.db());
  EXPECT_EQ(catalog->Totals().value().entry_count, 2);
  EXPECT_EQ(catalog->Totals().value().size_bytes, 35);
  EXPECT_EQ(catalog->Find("k1").value()->generation, 1u);
  auto writer = catalog->BeginWrite();
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->Erase("k1").ok());
  EXPECT_FALSE(writer->RebuildSideTables().value());
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_TRUE(catalog->KeysOf("bt").value().empty());
}

TEST(CatalogSchemaTest, EmptiedTotalsHealAtTheNextWrite) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  PutOrDie(catalog.get(), Entry("k1", 5, 1));
  ASSERT_TRUE(OpenPlain(folder.db())->Execute("DELETE FROM barcache_totals").ok());
  PutOrDie(catalog.get(), Entry("k2", 7, 1));
  EXPECT_EQ(catalog->Totals().value().size_bytes, 12);
  ASSERT_TRUE(OpenPlain(folder.db())->Execute("DELETE FROM barcache_entries").ok());
  PutOrDie(catalog.get(), Entry("k1", 6, 2));
  EXPECT_EQ(catalog->Totals().value().size_bytes, 13);
  EXPECT_EQ(catalog->Find("k1").value()->generation, 2u);
}

TEST(CatalogSchemaTest, GarbageInRowsIsReadAsNothing) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  {
    auto db = OpenPlain(folder.db());
    ASSERT_TRUE(db->Execute("INSERT INTO cache_entries VALUES"
                            " ('k1', 'x', x'00ff', 3.5, 'a', 'b', 'c', 'huge'),"
                            " ('k2', 1, 'a' || char(0) || 'b', 'c', 1, 1, -5, -1),"
                            " ('k3', 1, 'p', 'c', 1, 1, 1, 9223372036854775807),"
                            " (x'6b34', 1, 'p', 'c', 1, 1, 1, 1)")
                    .ok());
  }
  auto k1 = catalog->Find("k1").value();
  ASSERT_TRUE(k1.has_value());
  EXPECT_EQ(k1->parquet_path, "");
  EXPECT_EQ(k1->size_bytes, 0);
  EXPECT_EQ(catalog->Find("k2").value()->parquet_path, std::string("a\0b", 3));
  EXPECT_EQ(catalog->Entries().value().size(), 4u);
  EXPECT_EQ(catalog->Totals().value().entry_count, 4);
  EXPECT_EQ(catalog->Totals().value().size_bytes, 1);  // Only plausible figures count.
  auto writer = catalog->BeginWrite();
  ASSERT_TRUE(writer.ok());
  EXPECT_TRUE(writer->EraseIf("k1", k1->parquet_path, k1->checksum).value());
  // Every candidate can be erased, so that an eviction ends.
  for (int i = 0; i < 3; ++i) {
    auto victims = writer->Candidates(VictimOrder::kLargest, 1, "");
    ASSERT_TRUE(victims.ok());
    ASSERT_EQ(victims->size(), 1u);
    EXPECT_TRUE(writer->Erase(victims->front().cache_key).value().has_value());
  }
  EXPECT_EQ(writer->Totals().value().entry_count, 0);
  ASSERT_TRUE(writer->Commit().ok());
}

TEST(CatalogSchemaTest, AReaderOfRustyBtIsWaitedForNoLongerThanTheTimeOut) {
  TestFolder folder;
  MakeRustyBtCatalog(folder.db());
  const auto reader = OpenPlain(folder.db());
  ASSERT_TRUE(reader->Execute("BEGIN; SELECT count(*) FROM cache_entries").ok());
  CatalogOptions options;
  options.db_path = folder.db();
  options.busy_timeout_ms = 200;
  const auto begin = std::chrono::steady_clock::now();
  const auto refused = Catalog::Open(options, TestClock());
  EXPECT_EQ(refused.status().code(), ErrorCode::kBusy) << refused.status().ToString();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  ASSERT_TRUE(reader->Execute("COMMIT").ok());
  EXPECT_EQ(OpenOrDie(folder.db())->Entries().value().size(), 3U);
}

TEST(CatalogSchemaTest, ReadOnlyServesAndRefusesWrites) {
  TestFolder folder;
  EXPECT_EQ(OpenCatalog(folder.db(), true).status().code(), ErrorCode::kIo);
  MakeRustyBtCatalog(folder.db());
  {
    auto catalog = OpenOrDie(folder.db(), true);  // RustyBT's, untouched.
    EXPECT_EQ(catalog->Totals().value().size_bytes, 70);
    EXPECT_EQ(catalog->Find("recent").value()->checksum, "c1");
    EXPECT_EQ(catalog->Entries().value().size(), 3u);
    EXPECT_EQ(catalog->BeginWrite().status().code(), ErrorCode::kReadOnly);
    EXPECT_TRUE(catalog->EpochOf("recent").settled());
    EXPECT_TRUE(catalog->CheckpointIfNeeded().ok());
  }
  EXPECT_FALSE(FileExists(folder.db() + "-barcache"));
  OpenOrDie(folder.db()).reset();
  auto writer = OpenOrDie(folder.db());
  auto reader = OpenOrDie(folder.db(), true);
  EXPECT_EQ(reader->catalog_id(), writer->catalog_id());
  const Epoch before = reader->EpochOf("k");
  PutOrDie(writer.get(), Entry("k", 5, 1));
  EXPECT_NE(reader->EpochOf("k"), before);
  EXPECT_EQ(reader->Find("k").value()->generation, 1u);
}

TEST(CatalogSchemaTest, DamageIsReported) {
  TestFolder folder;
  {
    auto catalog = OpenOrDie(folder.db());
    for (int i = 0; i < 200; ++i) {
      PutOrDie(catalog.get(), Entry("key" + std::to_string(i), 5, 1), "bt");
    }
  }
  const auto size = std::filesystem::file_size(folder.db());
  {
    std::fstream file(folder.db(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 * 3);
    file << std::string(size - 4096 * 3, '\xEE');
  }
  auto catalog = OpenCatalog(folder.db());
  if (!catalog.ok()) {
    EXPECT_EQ(catalog.status().code(), ErrorCode::kCatalogCorrupt) << catalog.status().ToString();
    return;
  }
  EXPECT_FALSE((*catalog)->QuickCheck().value().empty());
}

}  // namespace
}  // namespace barcache
