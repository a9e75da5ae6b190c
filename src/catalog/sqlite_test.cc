// The SQLite layer: values of every type, errors as Status, functions, waiting.
#include "catalog/sqlite.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>

#include "catalog/catalog_testing.h"

namespace barcache {
namespace {

std::unique_ptr<SqliteConnection> OpenMemory() { return OpenPlain("file::memory:"); }

TEST(SqliteTest, ValuesComeBackWithTheirTypes) {
  auto db = OpenMemory();
  auto statement = db->Prepare("SELECT ?1, ?2, ?3, ?4, ?5, :named AS label").value();
  const std::string text("a\0b", 3);
  statement.Bind(1, int64_t{-5}).Bind(2, 2.5).Bind(3, text).BindBlob(4, "").BindNull(5);
  statement.BindTextCopy(6, std::string_view());
  EXPECT_EQ(statement.parameter_count(), 6);
  EXPECT_EQ(statement.parameter_name(6), ":named");
  ASSERT_TRUE(statement.Step().value());
  EXPECT_EQ(statement.type(0), SqliteType::kInteger);
  EXPECT_EQ(statement.Int64(0), -5);
  EXPECT_EQ(statement.Double(1), 2.5);
  EXPECT_EQ(statement.Text(2), text);
  EXPECT_EQ(statement.type(3), SqliteType::kBlob);
  EXPECT_EQ(statement.Blob(3), "");
  EXPECT_EQ(statement.type(4), SqliteType::kNull);
  EXPECT_EQ(statement.Int64Or(2, 7), 7);
  EXPECT_EQ(statement.TextOr(0, "other"), "other");
  EXPECT_EQ(statement.type(5), SqliteType::kText);
  EXPECT_EQ(statement.column_name(5), "label");
  EXPECT_FALSE(statement.Step().value());
}

TEST(SqliteTest, TransactionsRowidsAndTails) {
  auto db = OpenMemory();
  ASSERT_TRUE(db->Execute("CREATE TABLE t (x INTEGER); -- comment\n; BEGIN").ok());
  EXPECT_TRUE(db->in_transaction());
  ASSERT_TRUE(db->Execute("INSERT INTO t VALUES (1), (2)").ok());
  EXPECT_EQ(db->changes(), 2);
  EXPECT_EQ(db->last_insert_rowid(), 2);
  ASSERT_TRUE(db->Execute("COMMIT").ok());
  EXPECT_FALSE(db->in_transaction());
  std::string_view tail;
  auto first = db->Prepare("SELECT 1; SELECT 2", &tail).value();
  EXPECT_EQ(tail, " SELECT 2");
  EXPECT_TRUE(first.read_only());
  EXPECT_FALSE(db->Prepare(" -- nothing").value().valid());
}

TEST(SqliteTest, ErrorsSayWhatWhereAndWhatToDo) {
  TestFolder folder;
  const std::string path = folder.file("text.db");
  std::ofstream(path) << std::string(4096, 'x');
  auto db = OpenPlain(path);
  auto statement = db->Prepare("SELECT * FROM t");
  ASSERT_FALSE(statement.ok());
  EXPECT_EQ(statement.status().code(), ErrorCode::kNotACatalog);
  EXPECT_NE(statement.status().message().find(path), std::string::npos);
  EXPECT_EQ(db->error_code(), SQLITE_NOTADB);
  SqliteOpenOptions missing;
  missing.target = folder.file("no/such/file.db");
  EXPECT_EQ(SqliteConnection::Open(missing).status().code(), ErrorCode::kIo);
  EXPECT_EQ(StatusFromSqlite(SQLITE_FULL, "", "", "d", 0, 0).code(), ErrorCode::kNoSpace);
  EXPECT_EQ(StatusFromSqlite(SQLITE_IOERR_WRITE, "", "", "d", 0, ENOSPC).code(),
            ErrorCode::kNoSpace);
  EXPECT_NE(StatusFromSqlite(SQLITE_CANTOPEN, "", "", "d", 0, EMFILE).message().find("ulimit"),
            std::string::npos);
  EXPECT_EQ(StatusFromSqlite(SQLITE_BUSY_SNAPSHOT, "", "", "d", 0, 0).code(), ErrorCode::kBusy);
  EXPECT_EQ(StatusFromSqlite(SQLITE_READONLY_DIRECTORY, "", "", "d", 0, 0).code(),
            ErrorCode::kReadOnly);
  EXPECT_EQ(StatusFromSqlite(SQLITE_NOMEM, "", "", "d", 0, 0).code(), ErrorCode::kOutOfMemory);
  EXPECT_EQ(StatusFromSqlite(SQLITE_CORRUPT_INDEX, "", "", "d", 0, 0).code(),
            ErrorCode::kCatalogCorrupt);
}

TEST(SqliteTest, ABadBindIsReportedByStep) {
  auto db = OpenMemory();
  auto statement = db->Prepare("SELECT ?1").value();
  statement.Bind(2, int64_t{1});
  EXPECT_FALSE(statement.Step().ok());
  statement.Reset();
  EXPECT_TRUE(statement.Step().ok());
}

TEST(SqliteTest, KeptStatementsAreResetAndReused) {
  auto db = OpenMemory();
  static constexpr char kSql[] = "SELECT ?1";
  const SqliteStatement* first = nullptr;
  {
    auto use = db->Use(kSql).value();
    use->Bind(1, int64_t{3});
    ASSERT_TRUE(use->Step().value());
    first = &*use;
  }
  auto use = db->Use(kSql).value();
  EXPECT_EQ(&*use, first);
  ASSERT_TRUE(use->Step().value());
  EXPECT_EQ(use->type(0), SqliteType::kNull);
}

TEST(SqliteTest, FunctionsOfTheCaller) {
  auto db = OpenMemory();
  ASSERT_TRUE(db->CreateFunction("shout", 1, true, [](SqliteFunctionCall& call) {
                  if (call.type(0) == SqliteType::kNull) return call.ReturnError("no text");
                  call.ReturnText(std::string(call.Text(0)) + "!");
                }).ok());
  EXPECT_EQ(QueryRows(db.get(), "SELECT shout('hey')"), std::vector<std::string>{"hey!"});
  auto failing = db->Prepare("SELECT shout(NULL)").value();
  const Status status = failing.Step().status();
  EXPECT_NE(status.message().find("no text"), std::string::npos) << status.ToString();
}

TEST(SqliteTest, WaitsForALockAndThenGivesUp) {
  TestFolder folder;
  auto holder = OpenPlain(folder.db());
  ASSERT_TRUE(holder->Execute("CREATE TABLE t (x); BEGIN EXCLUSIVE").ok());
  auto waiting = OpenPlain(folder.db());
  waiting->set_busy_timeout_ms(10);
  EXPECT_EQ(waiting->Execute("INSERT INTO t VALUES (1)").code(), ErrorCode::kBusy);
  ASSERT_TRUE(holder->Execute("COMMIT").ok());
  EXPECT_TRUE(waiting->Execute("INSERT INTO t VALUES (1)").ok());
}

TEST(SqliteTest, UrisAreEscaped) {
  EXPECT_EQ(SqliteUri("/a b/c?d#e%f", "x=1"), "file:/a%20b/c%3Fd%23e%25f?x=1");
}

}  // namespace
}  // namespace barcache
