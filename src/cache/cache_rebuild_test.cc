// A lost or damaged catalog is rebuilt from the files, or left as it is; never is a wrong frame
// served because of it.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "barcache/cache.h"
#include "base/event.h"
#include "base/test_descriptors.h"
#include "base/test_directory.h"
#include "catalog/sqlite.h"
#include "frame/sample_frame.h"

namespace barcache {
namespace {

namespace fs = std::filesystem;

constexpr int kKeys = 6;
constexpr size_t kPage = 4096;

std::string Key(int i) { return "key-" + std::to_string(i); }
Frame FrameOf(int i) { return SampleBars(20 + i, 100.0 * i); }

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void WriteAll(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

class RebuildTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<Cache>> TryOpen(bool read_only = false) {
    return Cache::Open(Options(read_only),
                       [this](const Event& event) { events_.push_back(event); });
  }
  std::unique_ptr<Cache> Open() {
    auto cache = TryOpen();
    EXPECT_TRUE(cache.ok()) << cache.status().ToString();
    return cache.ok() ? std::move(*cache) : nullptr;
  }
  CacheOptions Options(bool read_only = false) const {
    CacheOptions options;
    options.db_path = db_;
    options.cache_directory = files_;
    options.hot_capacity_bytes = 0;
    options.read_only = read_only;
    return options;
  }

  // Six entries, the last of them put twice, each with a link; one day of statistics.
  void Fill(int keys = kKeys) {
    auto cache = Open();
    PutOptions put;
    put.dataset_id = 3;
    for (int i = 0; i < keys; ++i) {
      put.backtest_id = "bt-" + std::to_string(i);
      ASSERT_TRUE(cache->Put(Key(i), FrameOf(i + (i == kKeys - 1 ? 50 : 0)), put).ok());
    }
    ASSERT_TRUE(cache->Put(Key(kKeys - 1), FrameOf(kKeys - 1), put).ok());
    ASSERT_TRUE(cache->Get(Key(0)).value().has_value());
    ASSERT_TRUE(cache->Pin(Key(4)).ok());
    ASSERT_TRUE(cache->RecordDailyStatistics().ok());
    ASSERT_TRUE(cache->Close().ok());
    events_.clear();
  }

  void Damage(size_t at, size_t size) {
    std::string bytes = ReadAll(db_);
    ASSERT_LE(at + size, bytes.size());
    bytes.replace(at, size, size, '\xA5');
    WriteAll(db_, bytes);
  }

  size_t RootPage(const std::string& table) {
    SqliteOpenOptions open;
    open.target = db_;
    open.create = false;
    auto database = SqliteConnection::Open(open).value();
    auto root =
        database->Prepare("SELECT rootpage FROM sqlite_master WHERE name = '" + table + "'");
    EXPECT_TRUE(root->Step().value());
    return static_cast<size_t>(root->Int64(0) - 1) * kPage;
  }

  void Run(const std::string& sql) {
    SqliteOpenOptions open;
    open.target = db_;
    open.hardened = false;
    const Status done = SqliteConnection::Open(open).value()->Execute(sql);
    ASSERT_TRUE(done.ok()) << done.ToString();
  }

  void ExpectAllServed(Cache& cache, int keys = kKeys) {
    for (int i = 0; i < keys; ++i) {
      auto hit = cache.Get(Key(i));
      ASSERT_TRUE(hit.ok()) << hit.status().ToString();
      ASSERT_TRUE(hit->has_value()) << Key(i);
      EXPECT_TRUE(SameFrame((*hit)->frame, FrameOf(i))) << Key(i);
    }
    EXPECT_EQ(cache.EntryCount().value(), keys);
    const CheckReport report = cache.Check(false).value();
    EXPECT_FALSE(report.catalog_damaged || report.totals_differ);
  }

  const Event* Rebuilt() const {
    for (const Event& event : events_) {
      if (std::string(event.name) == "catalog_rebuilt") return &event;
    }
    return nullptr;
  }
  int64_t Number(const char* field) const {
    for (const auto& [name, value] : Rebuilt()->fields) {
      if (std::string(name) == field) return std::get<int64_t>(value);
    }
    return -1;
  }
  std::string Words(const char* field) const {
    for (const auto& [name, value] : Rebuilt()->fields) {
      if (std::string(name) == field) return std::get<std::string>(value);
    }
    return "none";
  }

  std::vector<std::string> Kept() const {
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(folder_.path())) {
      const std::string name = file.path().filename().string();
      const bool is_log = name.ends_with("-wal") || name.ends_with("-shm");
      if (name.starts_with("metadata.db.corrupt-") && !is_log) names.push_back(name);
    }
    return names;
  }
  std::string FileOf(int i) {
    auto cache = Open();
    const std::string name = cache->Find(Key(i)).value().value().parquet_path;
    EXPECT_TRUE(cache->Close().ok());
    return files_ + "/" + name;
  }

  TestDirectory folder_;
  const std::string db_ = folder_ / "metadata.db";
  const std::string files_ = folder_ / "cache";
  std::vector<Event> events_;
};

TEST_F(RebuildTest, ADamagedHeaderCostsNothingThatCanBeRead) {
  Fill();
  const std::string before = [&] {
    Damage(0, 100);
    return ReadAll(db_);
  }();
  auto cache = Open();
  ASSERT_NE(cache, nullptr);
  ASSERT_NE(Rebuilt(), nullptr);
  EXPECT_EQ(Rebuilt()->level, EventLevel::kWarning);
  EXPECT_EQ(Number("entries_admitted"), kKeys);
  EXPECT_EQ(Number("links_salvaged"), kKeys);
  EXPECT_EQ(Number("statistics_days_salvaged"), 1);
  ASSERT_EQ(Kept().size(), 1U);
  EXPECT_EQ(ReadAll(folder_ / Kept()[0]), before);
  EXPECT_EQ(Words("kept_as"), folder_ / Kept()[0]);
  ExpectAllServed(*cache);
  EXPECT_EQ(cache->BacktestsOf(Key(2)).value(), std::vector<std::string>{"bt-2"});
  EXPECT_EQ(cache->Find(Key(0)).value()->access_count, 3);  // Put, got before and now.
  EXPECT_EQ(cache->Find(Key(0)).value()->dataset_id, 3);
  EXPECT_GE(cache->Statistics().value().hit_count, 1);
  EXPECT_EQ(cache->PinnedKeys().value(), std::vector<std::string>{Key(4)});
  ASSERT_TRUE(cache->Close().ok());
  events_.clear();
  ExpectAllServed(*Open());
  EXPECT_EQ(Rebuilt(), nullptr);  // Once.
}

TEST_F(RebuildTest, ADamagedPageOfAnyTableIsMetAtOpening) {
  Fill();
  const std::string sound = ReadAll(db_);
  for (const char* table : {"cache_entries", "backtest_cache_links", "cache_statistics",
                            "barcache_meta", "barcache_entries", "barcache_totals"}) {
    WriteAll(db_, sound);
    Damage(RootPage(table), kPage);
    events_.clear();
    auto cache = Open();
    ASSERT_NE(cache, nullptr) << table;
    ASSERT_NE(Rebuilt(), nullptr) << table;
    EXPECT_NE(
        Words("tables_with_losses")
            .find(table == std::string("barcache_totals") || table == std::string("barcache_meta")
                      ? ""
                      : table),
        std::string::npos)
        << Words("tables_with_losses");
    const bool links_lost = table == std::string("backtest_cache_links");
    EXPECT_EQ(Number("links_salvaged"), links_lost ? 0 : kKeys) << table;
    ExpectAllServed(*cache);
  }
}

TEST_F(RebuildTest, ATruncatedCatalogIsRebuilt) {
  Fill();
  const std::string sound = ReadAll(db_);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{100}, size_t{511}, size_t{512}, kPage,
                            sound.size() / 2 / kPage * kPage, sound.size() - 1}) {
    WriteAll(db_, sound.substr(0, size));
    events_.clear();
    auto cache = Open();
    ASSERT_NE(cache, nullptr) << size;
    ASSERT_NE(Rebuilt(), nullptr) << size;
    ExpectAllServed(*cache);
  }
}

TEST_F(RebuildTest, AMissingCatalogIsRebuiltWhereItsNoteIsLeft) {
  Fill();
  fs::remove(db_);
  auto cache = Open();
  ASSERT_NE(Rebuilt(), nullptr);
  EXPECT_EQ(Words("kept_as"), "");
  EXPECT_NE(Words("tables_with_losses").find("backtest_cache_links"), std::string::npos);
  ExpectAllServed(*cache);
  ASSERT_TRUE(cache->Close().ok());

  // Who removes all of the catalog begins anew.
  for (const auto& file : fs::directory_iterator(folder_.path())) {
    if (file.is_regular_file()) fs::remove(file.path());
  }
  events_.clear();
  cache = Open();
  EXPECT_EQ(Rebuilt(), nullptr);
  EXPECT_EQ(cache->EntryCount().value(), 0);
}

TEST_F(RebuildTest, TheLogOfTheOldCatalogIsNotPlayedIntoTheNewOne) {
  Fill();
  const std::string sound = ReadAll(db_);
  // What a process that was killed leaves: everything of its puts is in the log.
  auto cache = Open();
  ASSERT_TRUE(cache->Erase(Key(1)).ok());
  ASSERT_TRUE(cache->Put(Key(1), FrameOf(1)).ok());
  const std::string log = ReadAll(db_ + "-wal");
  ASSERT_GT(log.size(), kPage);
  ASSERT_TRUE(cache->Close().ok());
  cache.reset();
  WriteAll(db_, sound);
  Damage(0, 100);
  WriteAll(db_ + "-wal", log);
  events_.clear();
  cache = Open();
  ASSERT_NE(cache, nullptr);
  ASSERT_NE(Rebuilt(), nullptr);
  EXPECT_EQ(ReadAll(folder_ / (Kept()[0] + "-wal")).size(), log.size());
  ExpectAllServed(*cache);
}

TEST_F(RebuildTest, TheLogOfAnotherDatabaseGoes) {
  Fill();
  const std::string folder = folder_ / "other";
  fs::create_directory(folder);
  std::string log;
  {
    SqliteOpenOptions open;
    open.target = folder + "/other.db";
    auto other = SqliteConnection::Open(open).value();
    ASSERT_TRUE(other
                    ->Execute("PRAGMA journal_mode=WAL; CREATE TABLE barcache_meta (a);"
                              "CREATE TABLE b (c); INSERT INTO b VALUES (zeroblob(9000))")
                    .ok());
    log = ReadAll(folder + "/other.db-wal");
  }
  const std::string before = ReadAll(db_);
  WriteAll(db_ + "-wal", log);
  auto cache = TryOpen();  // It now says what the other says: a foreign one, left alone.
  EXPECT_FALSE(cache.ok());
  EXPECT_EQ(ReadAll(db_), before);
  EXPECT_TRUE(Kept().empty());
  fs::remove(db_ + "-wal");
  ExpectAllServed(*Open());
}

TEST_F(RebuildTest, ASharedCatalogIsLeftUntouchedUntilSomebodyAsks) {
  Fill();
  Run("INSERT INTO symbols VALUES (1, 1, 'AAPL', 'equity', 'XNAS')");
  ASSERT_TRUE(Open()->Close().ok());
  Damage(RootPage("backtest_cache_links"), kPage);
  const std::string before = ReadAll(db_);
  auto cache = TryOpen();
  EXPECT_EQ(cache.status().code(), ErrorCode::kCatalogCorrupt);
  EXPECT_NE(cache.status().message().find("verify --repair"), std::string::npos);
  EXPECT_EQ(ReadAll(db_), before);
  EXPECT_TRUE(Kept().empty());

  auto repaired = Cache::RepairCatalog(Options());
  ASSERT_TRUE(repaired.ok()) << repaired.status().ToString();
  EXPECT_TRUE(*repaired);
  ASSERT_EQ(Kept().size(), 1U);
  EXPECT_EQ(ReadAll(folder_ / Kept()[0]), before);
  ExpectAllServed(*Open());
  SqliteOpenOptions open;
  open.target = db_;
  auto database = SqliteConnection::Open(open).value();
  auto symbol = database->Prepare("SELECT symbol FROM symbols");
  ASSERT_TRUE(symbol->Step().value());
  EXPECT_EQ(symbol->Text(0), "AAPL");
}

TEST_F(RebuildTest, AHeaderlessSharedCatalogIsLeftUntouched) {
  Fill();
  Run("INSERT INTO checksums VALUES (1, 1, 'a.parquet', 'x', 1)");
  ASSERT_TRUE(Open()->Close().ok());
  Damage(0, 16);
  const std::string before = ReadAll(db_);
  EXPECT_EQ(TryOpen().status().code(), ErrorCode::kCatalogCorrupt);
  EXPECT_EQ(ReadAll(db_), before);
}

TEST_F(RebuildTest, AForeignDatabaseIsLeftUntouched) {
  Fill();
  const std::string ours = ReadAll(db_);
  const auto expect_untouched = [&](const char* what) {
    const std::string before = ReadAll(db_);
    auto cache = TryOpen();
    EXPECT_FALSE(cache.ok()) << what;
    EXPECT_FALSE(Cache::RepairCatalog(Options()).value()) << what;
    EXPECT_EQ(ReadAll(db_), before) << what;
    EXPECT_TRUE(Kept().empty()) << what;
  };
  Run("CREATE TABLE accounts (name TEXT); INSERT INTO accounts VALUES ('mine')");
  Run("PRAGMA wal_checkpoint(TRUNCATE)");
  const std::string mixed = ReadAll(db_);
  Damage(0, 100);
  expect_untouched("our tables and another's, header damaged");
  WriteAll(db_, mixed);
  Damage(RootPage("cache_entries"), kPage);
  expect_untouched("our tables and another's, a page damaged");
  fs::remove(db_ + "-wal");
  WriteAll(db_, std::string(9000, 'x'));
  expect_untouched("text");
  fs::remove(db_);
  Run("CREATE TABLE accounts (name TEXT); INSERT INTO accounts VALUES ('mine')");
  expect_untouched("another program's");
  Damage(0, 100);
  expect_untouched("another program's, damaged");
  fs::remove(db_ + "-barcache");
  expect_untouched("another program's, damaged, nothing of ours beside it");
  EXPECT_FALSE(fs::exists(db_ + "-barcache"));
  WriteAll(db_, ours);
  ExpectAllServed(*Open());
}

TEST_F(RebuildTest, ReadOnlyNeverRebuilds) {
  Fill();
  Damage(0, 100);
  const std::string before = ReadAll(db_);
  EXPECT_FALSE(TryOpen(true).ok());
  EXPECT_EQ(ReadAll(db_), before);
  fs::remove(db_);
  EXPECT_FALSE(TryOpen(true).ok());
  EXPECT_FALSE(fs::exists(db_));
}

TEST_F(RebuildTest, OnlyFilesThatProveThemselvesAreServed) {
  Fill();
  const std::string first = FileOf(0);
  const std::string second = FileOf(1);
  const std::string third = FileOf(2);
  // Names exchanged; wrong bytes; the bytes of one key under a whole name of another.
  fs::rename(first, folder_ / "x");
  fs::rename(second, first);
  fs::rename(folder_ / "x", second);
  std::string bytes = ReadAll(third);
  bytes[20] ^= 1;  // Of the data: the footer stays readable.
  WriteAll(third, bytes);
  const std::string fourth = FileOf(3);
  std::string alias = fs::path(fourth).filename().string();
  alias.replace(0, Key(3).size(), "stolen");
  fs::copy_file(fourth, files_ + "/" + alias);
  WriteAll(files_ + "/notes.txt", "mine");
  Damage(0, 100);
  events_.clear();
  auto cache = Open();
  ASSERT_NE(Rebuilt(), nullptr);
  EXPECT_EQ(Number("entries_admitted"), kKeys - 3);
  EXPECT_EQ(Number("files_left"), 5);
  EXPECT_NE(Words("files_left_names").find("notes.txt"), std::string::npos);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(cache->Get(Key(i)).value().has_value()) << i;
  EXPECT_FALSE(cache->Get("stolen").value().has_value());
  for (int i = 3; i < kKeys; ++i) {
    EXPECT_TRUE(SameFrame(cache->Get(Key(i)).value()->frame, FrameOf(i))) << i;
  }
  for (const std::string& left : {first, second, third, files_ + "/" + alias}) {
    EXPECT_TRUE(fs::exists(left)) << left;
  }
}

TEST_F(RebuildTest, TheNewestPutOfAKeyWins) {
  Fill();
  const std::string older = FileOf(0);
  fs::copy_file(older, folder_ / "older");
  ASSERT_TRUE(Open()->Put(Key(0), FrameOf(30)).ok());
  fs::copy_file(folder_ / "older", older);  // As if a kill had kept it from being removed.
  Damage(0, 100);
  auto cache = Open();
  EXPECT_TRUE(SameFrame(cache->Get(Key(0)).value()->frame, FrameOf(30)));
  EXPECT_EQ(Number("files_left"), 1);
}

TEST_F(RebuildTest, FilesOfAnotherCatalogAreNotServed) {
  Fill();
  CacheOptions other = Options();
  other.db_path = folder_ / "other.db";
  ASSERT_TRUE(Cache::Open(other).value()->Put("theirs", FrameOf(9)).ok());
  Damage(0, 100);
  auto cache = Open();
  EXPECT_EQ(Number("entries_admitted"), kKeys);
  EXPECT_FALSE(cache->Get("theirs").value().has_value());
  EXPECT_TRUE(Cache::Open(other).value()->Get("theirs").value().has_value());
}

TEST_F(RebuildTest, WithoutItsNoteAllFilesMustNameOneCatalog) {
  Fill();
  fs::remove(db_ + "-barcache");
  Damage(RootPage("barcache_meta"), kPage);
  const std::string damaged = ReadAll(db_);
  {
    CacheOptions other = Options();
    other.db_path = folder_ / "other.db";
    ASSERT_TRUE(Cache::Open(other).value()->Put("theirs", FrameOf(9)).ok());
  }
  const auto refused = TryOpen();
  EXPECT_EQ(refused.status().code(), ErrorCode::kCatalogCorrupt);
  EXPECT_NE(refused.status().message().find("several catalogs"), std::string::npos)
      << refused.status().message();
  EXPECT_EQ(ReadAll(db_), damaged);
  EXPECT_TRUE(Cache::RepairCatalog(Options()).value());
  ExpectAllServed(*Open());
}

TEST_F(RebuildTest, WithoutItsNoteFilesOfOneCatalogSayWhichItIs) {
  Fill();
  fs::remove(db_ + "-barcache");
  Damage(RootPage("barcache_meta"), kPage);
  auto cache = Open();
  ASSERT_NE(cache, nullptr);
  EXPECT_NE(Rebuilt(), nullptr);
  ExpectAllServed(*cache);
}

TEST_F(RebuildTest, OneOfSeveralProcessesRebuilds) {
  Fill();
  Damage(0, 100);
  std::vector<pid_t> children;
  for (int child = 0; child < 6; ++child) {
    const pid_t pid = fork();
    if (pid == 0) {
      auto cache = Cache::Open(Options());
      bool good = cache.ok();
      for (int i = 0; good && i < kKeys; ++i) {
        auto hit = (*cache)->Get(Key(i));
        good = hit.ok() && hit->has_value() && SameFrame((*hit)->frame, FrameOf(i));
      }
      const std::string own = "of-" + std::to_string(child);
      good = good && (*cache)->Put(own, FrameOf(60 + child)).ok();
      good = good && (*cache)->Close().ok();
      _exit(good ? 0 : 1);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(Kept().size(), 1U);
  auto cache = Open();
  EXPECT_EQ(Rebuilt(), nullptr);
  EXPECT_EQ(cache->EntryCount().value(), kKeys + 6);
  for (int child = 0; child < 6; ++child) {
    auto hit = cache->Get("of-" + std::to_string(child)).value();
    ASSERT_TRUE(hit.has_value());
    EXPECT_TRUE(SameFrame(hit->frame, FrameOf(60 + child)));
  }
}

// Each of several processes opens, reads and puts as soon as `go` says so. True: all could, in
// time.
bool OpenTogether(const CacheOptions& options, int round, int count) {
  int go[2];
  EXPECT_EQ(pipe(go), 0);
  std::vector<pid_t> children;
  for (int child = 0; child < count; ++child) {
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(60);  // Who waits for ever is told apart from who is slow.
      close(go[1]);
      char byte = 0;
      bool good = read(go[0], &byte, 1) == 0;  // Its other end was closed.
      auto cache = Cache::Open(options);
      good = good && cache.ok();
      for (int i = 0; good && i < kKeys; ++i) {
        auto hit = (*cache)->Get(Key(i));
        good = hit.ok() && hit->has_value() && SameFrame((*hit)->frame, FrameOf(i));
      }
      const std::string own = "of-" + std::to_string(round) + "-" + std::to_string(child);
      good = good && (*cache)->Put(own, FrameOf(child)).ok();
      _exit(good && (*cache)->Close().ok() ? 0 : 1);
    }
    children.push_back(pid);
  }
  close(go[0]);
  close(go[1]);
  bool all = true;
  for (const pid_t pid : children) {
    int status = 0;
    all = waitpid(pid, &status, 0) == pid && status == 0 && all;
  }
  return all;
}

TEST_F(RebuildTest, ManyThatOpenItTogetherAllGoOn) {
  constexpr int kRounds = 8;
  constexpr int kProcesses = 8;
  size_t kept_count = 0;
  Fill();
  for (int round = 0; round < kRounds; ++round) {
    switch (round % 4) {
      case 0:
        Damage(0, 100);
        break;
      case 1:
        Damage(RootPage("datasets"), kPage);
        break;
      case 2:
        fs::remove(db_);
        break;
      case 3:
        fs::resize_file(db_, 0);
        break;
    }
    EXPECT_TRUE(OpenTogether(Options(), round, kProcesses)) << round;
    if (round % 4 != 2) ++kept_count;  // Else there was nothing to keep.
    EXPECT_EQ(Kept().size(), kept_count) << round;
    auto cache = Open();
    EXPECT_EQ(Rebuilt(), nullptr) << round;
    EXPECT_EQ(cache->EntryCount().value(), kKeys + (round + 1) * kProcesses) << round;
    ASSERT_TRUE(cache->Close().ok());
  }
}

TEST_F(RebuildTest, AKillBetweenAnyTwoStepsIsMadeGoodByTheNextOpening) {
  Fill();
  const std::string sound = ReadAll(db_);
  const std::string kept = db_ + ".corrupt-20260101T000000Z";
  const std::vector<std::function<void()>> steps = {
      [&] { WriteAll(db_ + ".rebuild", sound.substr(0, 5000)); },
      [&] { WriteAll(db_ + ".rebuild-journal", "half of a journal"); },
      [&] { fs::create_hard_link(db_, kept); },
      [&] { WriteAll(kept + "-wal", ""); },
      [&] { fs::remove(db_); },  // Where there are no hard links.
  };
  for (size_t done = 1; done <= steps.size(); ++done) {
    for (const char* left : {"", ".rebuild", ".rebuild-journal", "-wal", "-shm"}) {
      fs::remove(db_ + left);
    }
    for (const std::string& name : Kept()) fs::remove(folder_ / name);
    WriteAll(db_, sound);
    Damage(0, 100);
    for (size_t step = 0; step < done; ++step) steps[step]();
    events_.clear();
    auto cache = Open();
    ASSERT_NE(cache, nullptr) << done;
    ASSERT_NE(Rebuilt(), nullptr) << done;
    ExpectAllServed(*cache);
    EXPECT_FALSE(fs::exists(db_ + ".rebuild")) << done;
    EXPECT_FALSE(fs::exists(db_ + ".rebuild-journal")) << done;
  }
}

TEST_F(RebuildTest, ARebuildThatFailsChangesNothingAndSaysWhatToDo) {
  Fill();
  Damage(0, 100);
  const std::string before = ReadAll(db_);
  fs::create_directories(db_ + ".rebuild/in-the-way");
  auto refused = TryOpen();
  EXPECT_EQ(refused.status().code(), ErrorCode::kCatalogCorrupt);
  EXPECT_NE(refused.status().message().find("could not be rebuilt"), std::string::npos)
      << refused.status().message();
  EXPECT_EQ(ReadAll(db_), before);
  EXPECT_TRUE(Kept().empty());
  fs::remove_all(db_ + ".rebuild");
  ExpectAllServed(*Open());
}

TEST_F(RebuildTest, ShortOfDescriptorsNothingIsLostAndNothingIsChanged) {
  constexpr int kEnough = 100;
  for (const bool is_lost : {true, false}) {
    fs::remove_all(files_);
    for (const auto& file : fs::directory_iterator(folder_.path())) fs::remove_all(file.path());
    Fill();
    if (is_lost) {
      fs::remove(db_);
    } else {
      Damage(0, 100);
    }
    const std::string before = is_lost ? "" : ReadAll(db_);
    Status status;
    int spare = 0;
    for (; spare < kEnough; ++spare) {
      {
        const TestDescriptors few(spare);
        status = TryOpen().status();
      }
      if (status.ok() || Rebuilt() != nullptr) break;  // The new catalog has its name.
      EXPECT_NE(status.message().find("ulimit -n"), std::string::npos) << status.message();
      EXPECT_EQ(status.message().find("RustyBT"), std::string::npos) << status.message();
      EXPECT_EQ(fs::exists(db_), !is_lost) << spare;
      EXPECT_EQ(ReadAll(db_), before) << spare;  // "" where there is no file.
      EXPECT_TRUE(Kept().empty()) << spare;
    }
    EXPECT_GT(spare, 3);
    EXPECT_LT(spare, kEnough);
    ExpectAllServed(*Open());
  }
}

// As root nothing is forbidden: a child that is somebody else tries.
TEST_F(RebuildTest, AFileThatMayNotBeReadIsNotLeftOut) {
  constexpr uid_t kNobody = 65534;
  const auto in_child = [](const std::function<bool()>& holds) {
    const pid_t child = fork();
    if (child == 0) {
      const bool is_other = geteuid() != 0 || setuid(kNobody) == 0;
      _exit(is_other && holds() ? 0 : 1);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && status == 0;
  };
  Fill();
  const std::string first = FileOf(0);
  fs::remove(db_);
  if (geteuid() == 0) {
    ASSERT_EQ(chown(folder_.path().c_str(), kNobody, kNobody), 0);
    for (const auto& file : fs::recursive_directory_iterator(folder_.path())) {
      ASSERT_EQ(chown(file.path().c_str(), kNobody, kNobody), 0);
    }
  }
  fs::permissions(first, fs::perms::none);
  EXPECT_TRUE(in_child([&] {
    const Status status = TryOpen().status();
    return status.code() == ErrorCode::kCatalogCorrupt && status.system_errno() == EACCES &&
           status.message().find(first) != std::string::npos &&
           status.message().find("verify --repair") != std::string::npos && !fs::exists(db_);
  }));
  // Who asks for a repair gets the others; the file stays.
  EXPECT_TRUE(in_child([&] {
    return Cache::RepairCatalog(Options()).value() && fs::exists(first) &&
           TryOpen().value()->EntryCount().value() == kKeys - 1;
  }));
  fs::permissions(first, fs::perms::owner_read);
  fs::remove(db_);
  EXPECT_TRUE(in_child([&] { return TryOpen().value()->EntryCount().value() == kKeys; }));
}

TEST_F(RebuildTest, DamageMetWhileRunningIsMendedByTheNextOpening) {
  constexpr int kMany = 400;
  Fill(kMany);
  // The last leaf of the table: opening does not read it.
  size_t leaf = 0;
  {
    const std::string bytes = ReadAll(db_);
    for (size_t page = 0; page < bytes.size(); page += kPage) {
      const bool is_leaf = bytes[page] == 13 && page != 0;
      const bool has_key =
          bytes.substr(page, kPage).find(Key(kMany - 10) + "~") != std::string::npos;
      if (is_leaf && has_key) leaf = page;
    }
  }
  ASSERT_NE(leaf, 0U);
  Damage(leaf, kPage);
  auto cache = Open();
  ASSERT_NE(cache, nullptr);
  EXPECT_EQ(Rebuilt(), nullptr);
  EXPECT_FALSE(cache->Get(Key(kMany - 10)).value().has_value());
  ASSERT_TRUE(cache->Close().ok());
  cache = Open();
  ASSERT_NE(cache, nullptr);
  ASSERT_NE(Rebuilt(), nullptr);
  ExpectAllServed(*cache, kMany);
  EXPECT_GT(Number("links_salvaged"), kMany / 2);
}

TEST_F(RebuildTest, WhoHasTheOldCatalogOpenNoticesAtOnce) {
  Fill();
  CacheOptions in_memory = Options();
  in_memory.hot_capacity_bytes = 1 << 20;
  auto old = Cache::Open(in_memory, {}).value();
  ASSERT_TRUE(old->Get(Key(0)).value().has_value());
  Damage(RootPage("backtest_cache_links"), kPage);
  ASSERT_TRUE(Cache::RepairCatalog(Options()).value());
  auto fresh = Open();
  ASSERT_TRUE(fresh->Put(Key(0), FrameOf(40)).ok());
  // Neither the older frame nor a put into a file that nobody reads any more.
  EXPECT_FALSE(old->Get(Key(0)).value().has_value());
  EXPECT_EQ(old->Put(Key(1), FrameOf(1)).code(), ErrorCode::kCatalogCorrupt);
  static_cast<void>(old->Close());  // What it had noted of uses is lost, and it may say so.
  EXPECT_TRUE(SameFrame(fresh->Get(Key(0)).value()->frame, FrameOf(40)));
  EXPECT_EQ(Open()->EntryCount().value(), kKeys);
}

}  // namespace
}  // namespace barcache
