// Catalogs on a medium that cannot be written, with the log of a killed process left over.
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "catalog/catalog_testing.h"
#include "catalog/database_image.h"

namespace barcache {
namespace {

constexpr int kSkipped = 77;

// Makes `target` a catalog whose newest entry lies in its log alone, as a killed process leaves it.
void LeaveLog(const std::string& target) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  PutOrDie(catalog.get(), Entry("old", 10, 1));
  catalog->Close();
  PutOrDie(catalog.get(), Entry("new", 20, 2), "bt-1");
  for (const char* suffix : {"", "-wal", "-shm", "-barcache"}) {
    std::filesystem::copy_file(folder.db() + suffix, target + suffix);
  }
}

std::string BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// What a catalog must answer that LeaveLog made; 0, or the number of the first wrong answer.
int WrongAnswer(const std::string& db_path) {
  auto opened = OpenCatalog(db_path, true);
  if (!opened.ok()) {
    fprintf(stderr, "%s\n", opened.status().ToString().c_str());
    return 1;
  }
  const std::unique_ptr<Catalog> catalog = std::move(opened).value();
  const auto found = catalog->Find("new");
  if (!found.ok() || !found->has_value() || (*found)->size_bytes != 20) return 2;
  const auto old_one = catalog->Find("old");
  if (!old_one.ok() || !old_one->has_value()) return 3;
  const auto entries = catalog->Entries();
  if (!entries.ok() || entries->size() != 2) return 4;
  const auto totals = catalog->Totals();
  if (!totals.ok() || totals->size_bytes != 30) return 5;
  const auto keys = catalog->KeysOf("bt-1");
  if (!keys.ok() || keys->size() != 1) return 6;
  const Status put = catalog->BeginWrite().status();
  if (put.code() != ErrorCode::kReadOnly) return 7;
  if (put.message().find("read_only") == std::string::npos) return 8;
  catalog->BeforeFork();  // Connections are closed, and come back.
  catalog->AfterFork(false);
  if (!catalog->Find("new").ok()) return 9;
  catalog->Close();
  // Without read_only: a typed error that says what to do, nothing else.
  const Status refused = OpenCatalog(db_path).status();
  if (refused.code() != ErrorCode::kReadOnly) {
    fprintf(stderr, "%s\n", refused.ToString().c_str());
    return 10;
  }
  return refused.message().find("read_only") == std::string::npos ? 11 : 0;
}

// The exit code of `body`, run in a child.
int InChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// As WrongAnswer, the folder mounted read-only for the child alone.
int OnReadOnlyMount(const std::string& folder, const std::string& db_path) {
  return InChild([&] {
    const bool mounted =
        unshare(CLONE_NEWNS) == 0 &&
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        mount(folder.c_str(), folder.c_str(), nullptr, MS_BIND, nullptr) == 0 &&
        mount(nullptr, folder.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) == 0;
    if (!mounted) return kSkipped;
    if (mkdir((folder + "/new").c_str(), 0700) == 0 || errno != EROFS) return 70;
    return WrongAnswer(db_path);
  });
}

class CatalogMediumTest : public ::testing::TestWithParam<bool> {};

TEST_P(CatalogMediumTest, ALeftOverLogIsReadOnAReadOnlyFileSystem) {
  TestFolder folder;
  LeaveLog(folder.db());
  if (!GetParam()) std::filesystem::remove(folder.db() + "-shm");
  const int answer = OnReadOnlyMount(std::filesystem::path(folder.db()).parent_path(), folder.db());
  if (answer == kSkipped) GTEST_SKIP() << "mounting read-only needs root";
  EXPECT_EQ(answer, 0);
}

TEST_P(CatalogMediumTest, ALeftOverLogIsReadWithoutPermissionToWrite) {
  if (geteuid() != 0) GTEST_SKIP() << "becoming another user needs root";
  TestFolder folder;
  LeaveLog(folder.db());
  if (!GetParam()) std::filesystem::remove(folder.db() + "-shm");
  const std::filesystem::path parent = std::filesystem::path(folder.db()).parent_path();
  for (const auto& file : std::filesystem::directory_iterator(parent)) {
    ASSERT_EQ(chmod(file.path().c_str(), 0444), 0);
    if (file.path().string().ends_with("-barcache")) std::filesystem::remove(file.path());
  }
  ASSERT_EQ(chmod(parent.c_str(), 0555), 0);
  EXPECT_EQ(InChild([&] { return setuid(65534) != 0 ? 70 : WrongAnswer(folder.db()); }), 0);
}
INSTANTIATE_TEST_SUITE_P(, CatalogMediumTest, ::testing::Bool(), [](const auto& info) {
  return info.param ? "WithTheIndex" : "WithoutTheIndex";
});

// What SQLite reads from copies of a database and its log, in a folder that it may write.
std::vector<std::string> RowsBySqlite(const std::string& database, const std::string& log) {
  TestFolder folder;
  WriteBytes(folder.db(), database);
  WriteBytes(folder.db() + "-wal", log);
  return QueryRows(OpenPlain(folder.db()).get(), "SELECT cache_key FROM cache_entries");
}

TEST(DatabaseImageTest, TheCopyHoldsWhatSqliteRecoversFromALogCutAnywhere) {
  TestFolder folder;
  LeaveLog(folder.db());
  const std::string database = BytesOf(folder.db());
  const std::string log = BytesOf(folder.db() + "-wal");
  std::filesystem::remove(folder.db() + "-shm");
  size_t with_new = 0;
  size_t cuts = 0;
  for (size_t size = 0; size <= log.size(); size += log.size() / 61 + 1, ++cuts) {
    const size_t kept = size + log.size() / 61 + 1 > log.size() ? log.size() : size;
    WriteBytes(folder.db() + "-wal", log.substr(0, kept));
    auto image = DatabaseImage::Copy(folder.db(), 100);
    ASSERT_TRUE(image.ok()) << image.status().ToString();
    SqliteOpenOptions open;
    open.target = "copy";
    open.image = image->get();
    auto connection = SqliteConnection::Open(open);
    ASSERT_TRUE(connection.ok()) << connection.status().ToString();
    const auto rows = QueryRows(connection->get(), "SELECT cache_key FROM cache_entries");
    EXPECT_EQ(rows, RowsBySqlite(database, log.substr(0, kept))) << kept;
    with_new += rows.size() == 2 ? 1 : 0;
    EXPECT_EQ((*connection)->Execute("DELETE FROM cache_entries").code(), ErrorCode::kReadOnly);
  }
  EXPECT_GT(with_new, 0U);
  EXPECT_LT(with_new, cuts);
  EXPECT_FALSE(std::filesystem::exists(folder.db() + "-shm"));
  EXPECT_EQ(BytesOf(folder.db()), database);
}

TEST(DatabaseImageTest, NeededOnlyWhereNothingCanBeWritten) {
  TestFolder folder;
  LeaveLog(folder.db());
  EXPECT_FALSE(DatabaseImage::IsNeededFor(folder.db()));
  std::filesystem::remove(folder.db() + "-shm");
  EXPECT_FALSE(DatabaseImage::IsNeededFor(folder.db()));
}

TEST(DatabaseImageTest, WhatIsNoDatabaseIsATypedError) {
  TestFolder folder;
  EXPECT_EQ(DatabaseImage::Copy(folder.db(), 100).status().code(), ErrorCode::kIo);
  WriteBytes(folder.db(), std::string(4096, 'x'));
  EXPECT_EQ(DatabaseImage::Copy(folder.db(), 100).status().code(), ErrorCode::kNotACatalog);
}

}  // namespace
}  // namespace barcache
