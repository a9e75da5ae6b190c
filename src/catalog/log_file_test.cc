// A commit over the gathering VFS is whole in the log's file when it returns, or has failed.
#include "catalog/log_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/test_directory.h"
#include "catalog/sqlite.h"

namespace barcache {
namespace {

namespace fs = std::filesystem;

class LogFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    writer_ = Open(path_, true);
    Run("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0;"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)");
  }

  static std::unique_ptr<SqliteConnection> Open(const std::string& path, bool gathers_log) {
    SqliteOpenOptions options;
    options.target = path;
    options.gathers_log = gathers_log;
    auto connection = SqliteConnection::Open(options);
    EXPECT_TRUE(connection.ok()) << connection.status().ToString();
    return std::move(connection).value();
  }

  void Run(const std::string& sql) {
    const Status status = writer_->Execute(sql);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }

  static std::string Answer(SqliteConnection* connection, const char* sql) {
    auto statement = connection->Prepare(sql);
    if (!statement.ok()) return statement.status().ToString();
    const auto row = statement->Step();
    return row.ok() && *row ? std::string(statement->Text(0)) : row.status().ToString();
  }

  // What a process that starts after a kill at this moment would find.
  std::string AfterKill() {
    const std::string copy = folder_ / ("killed" + std::to_string(copies_++));
    fs::copy_file(path_, copy);
    fs::copy_file(path_ + "-wal", copy + "-wal");
    const auto connection = Open(copy, false);
    EXPECT_EQ(Answer(connection.get(), "PRAGMA integrity_check"), "ok");
    return Answer(connection.get(), kContent);
  }

  static constexpr char kContent[] =
      "SELECT count(*) || ' ' || ifnull(sum(length(text) * id), 0) FROM t";

  TestDirectory folder_;
  std::string path_ = folder_ / "log.db";
  std::unique_ptr<SqliteConnection> writer_;
  int copies_ = 0;
};

TEST_F(LogFileTest, EveryCommitIsInTheFileWhenItReturns) {
  const auto reader = Open(path_, false);
  for (int i = 1; i <= 20; ++i) {
    // From one page to some sixty.
    Run("BEGIN; WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < " +
        std::to_string(i * i) + ") INSERT INTO t (text) SELECT hex(zeroblob(300)) FROM n; COMMIT");
    const std::string after_kill = AfterKill();  // First: a read of the writer's would flush.
    EXPECT_EQ(after_kill, Answer(reader.get(), kContent));
    EXPECT_EQ(after_kill, Answer(writer_.get(), kContent));
  }
}

// A cache of a few pages: SQLite writes pages ahead of the commit, reads them back, writes them
// again and corrects the checksums of what follows.
TEST_F(LogFileTest, PagesThatLeftTheCacheBeforeTheCommitComeBack) {
  Run("PRAGMA cache_size=4; PRAGMA cache_spill=1");
  const auto reader = Open(path_, false);
  Run("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 400)"
      " INSERT INTO t (id, text) SELECT x, hex(zeroblob(200)) FROM n");
  for (int round = 0; round < 6; ++round) {
    const std::string before = Answer(writer_.get(), kContent);
    Run("BEGIN; UPDATE t SET text = hex(zeroblob(100 + " + std::to_string(round) +
        "));"
        "UPDATE t SET text = text || 'x' WHERE id % 7 = 0; SAVEPOINT s;"
        "UPDATE t SET text = 'gone'; ROLLBACK TO s; UPDATE t SET text = text || 'y'");
    EXPECT_EQ(Answer(reader.get(), kContent), before);
    EXPECT_EQ(AfterKill(), before);
    Run(round % 3 == 2 ? "ROLLBACK" : "COMMIT");
    const std::string after_kill = AfterKill();  // First: a read of the writer's would flush.
    EXPECT_EQ(after_kill == before, round % 3 == 2);
    EXPECT_EQ(after_kill, Answer(reader.get(), kContent));
    EXPECT_EQ(after_kill, Answer(writer_.get(), kContent));
  }
  EXPECT_EQ(Answer(writer_.get(), "PRAGMA integrity_check"), "ok");
}

TEST_F(LogFileTest, TheLogStartsAnewAfterACheckpoint) {
  const auto other = Open(path_, false);
  for (int i = 0; i < 10; ++i) {
    Run("INSERT INTO t (text) VALUES (hex(zeroblob(5000)))");
    if (i % 3 == 0) Answer(other.get(), "PRAGMA wal_checkpoint(PASSIVE)");
    if (i == 6) Answer(writer_.get(), "PRAGMA wal_checkpoint(TRUNCATE)");
    // Two writers in turn: what one gathered never covers what the other wrote.
    EXPECT_TRUE(other->Execute("INSERT INTO t (text) VALUES ('other')").ok());
    EXPECT_EQ(AfterKill(), Answer(writer_.get(), kContent));
  }
}

TEST_F(LogFileTest, ACommitThatCannotBeWrittenFailsAndChangesNothing) {
  Run("INSERT INTO t (text) VALUES ('before')");
  const std::string before = Answer(writer_.get(), kContent);
  rlimit old_limit{};
  getrlimit(RLIMIT_FSIZE, &old_limit);
  rlimit limit = old_limit;
  limit.rlim_cur = fs::file_size(path_ + "-wal") + 4096 * 3;  // Room for a part of it.
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limit);
  const Status status = writer_->Execute(
      "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100)"
      " INSERT INTO t (text) SELECT hex(zeroblob(500)) FROM n");
  setrlimit(RLIMIT_FSIZE, &old_limit);
  signal(SIGXFSZ, handler);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(Answer(writer_.get(), kContent), before);
  EXPECT_EQ(AfterKill(), before);
  Run("INSERT INTO t (text) VALUES ('after')");
  EXPECT_EQ(AfterKill(), Answer(writer_.get(), kContent));
}

}  // namespace
}  // namespace barcache
