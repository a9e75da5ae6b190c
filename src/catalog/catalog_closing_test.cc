// Closing moves the log into the database; a file that took the catalog's name is noticed.
#include <sys/stat.h>

#include <filesystem>

#include "catalog/catalog_testing.h"

namespace barcache {
namespace {

int64_t SizeOf(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 ? status.st_size : -1;
}

TEST(CatalogClosingTest, TheLastToCloseMovesTheLogIntoTheDatabase) {
  TestFolder folder;
  auto first = OpenOrDie(folder.db());
  auto second = OpenOrDie(folder.db());
  PutOrDie(first.get(), Entry("a", 10, 1));
  ASSERT_TRUE(second->Find("a").ok());
  first->Close();
  EXPECT_GT(SizeOf(folder.db() + "-wal"), 0);  // Somebody else may still read it.
  second->Close();
  EXPECT_LE(SizeOf(folder.db() + "-wal"), 0);
  auto found = second->Find("a");  // Closing is no end.
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  EXPECT_TRUE(found->has_value());
  second.reset();

  // A copy without any log, as on a medium that cannot be written.
  std::filesystem::copy_file(folder.db(), folder.file("copy.db"));
  auto copy = OpenOrDie(folder.file("copy.db"), true);
  ASSERT_NE(copy, nullptr);
  EXPECT_TRUE((*copy->Find("a")).has_value());
}

TEST(CatalogClosingTest, WhoOnlyReadMovesTheLogOfAKilledProcess) {
  TestFolder folder;
  TestFolder other;
  auto writer = OpenOrDie(folder.db());
  PutOrDie(writer.get(), Entry("a", 10, 1));
  for (const char* suffix : {"", "-wal"}) {
    std::filesystem::copy_file(folder.db() + suffix, other.db() + suffix);
  }
  auto reader = OpenOrDie(other.db());
  EXPECT_TRUE((*reader->Find("a")).has_value());
  reader->Close();
  EXPECT_LE(SizeOf(other.db() + "-wal"), 0);
  EXPECT_TRUE((*reader->Find("a")).has_value());
}

TEST(CatalogClosingTest, ARemovedCatalogIsATypedErrorForGood) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  PutOrDie(catalog.get(), Entry("a", 10, 1));
  std::filesystem::rename(folder.db(), folder.file("elsewhere.db"));
  EXPECT_EQ(catalog->BeginWrite().status().code(), ErrorCode::kCatalogCorrupt);
  EXPECT_EQ(catalog->Find("a").status().code(), ErrorCode::kCatalogCorrupt);
  const std::string said = catalog->Find("a").status().message();
  EXPECT_NE(said.find(folder.db()), std::string::npos) << said;
  // The old rows must not come back, nor may those of another catalog pass for this one's.
  std::filesystem::rename(folder.file("elsewhere.db"), folder.db());
  EXPECT_EQ(catalog->Find("a").status().code(), ErrorCode::kCatalogCorrupt);
  catalog.reset();
  EXPECT_TRUE((*OpenOrDie(folder.db())->Find("a")).has_value());
}

TEST(CatalogClosingTest, AReplacedCatalogIsNoticedByReadersToo) {
  TestFolder folder;
  auto catalog = OpenOrDie(folder.db());
  PutOrDie(catalog.get(), Entry("a", 10, 1));
  const uint64_t before = catalog->ForeignWrites();
  std::filesystem::rename(folder.db(), folder.file("elsewhere.db"));
  auto other = OpenOrDie(folder.file("other.db"));
  PutOrDie(other.get(), Entry("a", 20, 2));
  other.reset();
  std::filesystem::rename(folder.file("other.db"), folder.db());
  // The look is at most half a second away.
  const int64_t deadline_ns = TestClock()->MonotonicNs() + 10'000'000'000;
  while (catalog->ForeignWrites() == before && TestClock()->MonotonicNs() < deadline_ns) {
  }
  EXPECT_NE(catalog->ForeignWrites(), before);
  EXPECT_EQ(catalog->Find("a").status().code(), ErrorCode::kCatalogCorrupt);
}

}  // namespace
}  // namespace barcache
