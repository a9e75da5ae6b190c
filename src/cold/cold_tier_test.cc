#include "cold/cold_tier.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <new>
#include <set>

#include "barcache/cache_key.h"
#include "base/sha256.h"
#include "base/test_directory.h"
#include "frame/sample_frame.h"

namespace barcache {
namespace {

namespace fs = std::filesystem;

class ColdTierTest : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }

  void Open() {
    cold_.reset();
    catalog_.reset();
    options_.db_path = folder_ / "metadata.db";
    options_.cache_directory = folder_ / "cache";
    auto catalog = Catalog::Open({options_.db_path}, &clock_);
    ASSERT_TRUE(catalog.ok()) << catalog.status().ToString();
    catalog_ = std::move(*catalog);
    auto cold = ColdTier::Open(options_, catalog_.get(), &clock_);
    ASSERT_TRUE(cold.ok()) << cold.status().ToString();
    cold_ = std::move(*cold);
  }

  Result<WriteOutcome> Write(const std::string& key, const Frame& frame,
                             int64_t capacity_bytes = 1 << 30,
                             EvictionPolicy policy = EvictionPolicy::kLru,
                             const std::string& backtest_id = "") {
    WriteRequest request;
    request.cache_key = key;
    request.frame = &frame;
    request.dataset_id = 1;
    request.backtest_id = backtest_id;
    events_.clear();
    BARCACHE_ASSIGN_OR_RETURN(const WriteOutcomes result,
                              cold_->Write({request}, {capacity_bytes, policy, nullptr}, &events_));
    return result.outcomes.front();
  }

  std::optional<ColdHit> Read(const std::string& key) {
    events_.clear();
    auto hit = cold_->Read(key, nullptr, &events_);
    EXPECT_TRUE(hit.ok()) << hit.status().ToString();
    return hit.ok() ? std::move(*hit) : std::nullopt;
  }

  std::string PathOf(const std::string& key) {
    auto row = catalog_->Find(key);
    return row.ok() && *row ? options_.cache_directory + "/" + (*row)->parquet_path : "";
  }

  std::set<std::string> Files() {
    std::set<std::string> names;
    for (const auto& item : fs::directory_iterator(options_.cache_directory)) {
      names.insert(item.path().filename());
    }
    return names;
  }

  bool Logged(std::string_view name) const {
    return std::any_of(events_.begin(), events_.end(),
                       [&](const Event& event) { return event.name == name; });
  }

  TestDirectory folder_;
  ManualClock clock_{1'700'000'000'000'000'000};
  CacheOptions options_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<ColdTier> cold_;
  EventBuffer events_;
  const Frame bars_ = SampleBars(100, 10.0);
  const Frame other_bars_ = SampleBars(100, 99.0);
};

TEST_F(ColdTierTest, WhatIsWrittenIsRead) {
  ASSERT_TRUE(Write("key1", bars_).ok());
  const auto hit = Read("key1");
  ASSERT_TRUE(hit);
  EXPECT_TRUE(SameFrame(hit->frame, bars_));
  EXPECT_FALSE(Read("other"));
}

TEST_F(ColdTierTest, FilesAreNamedAfterTheirContentAndPrivate) {
  ASSERT_TRUE(Write("key1", bars_).ok());
  const auto row = *catalog_->Find("key1");
  ASSERT_TRUE(row);
  EXPECT_EQ(row->parquet_path, EntryFileName("key1", row->generation, row->checksum));
  struct stat info{};
  ASSERT_EQ(stat(PathOf("key1").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(info.st_size, row->size_bytes);
  ASSERT_EQ(stat(options_.cache_directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(ColdTierTest, ReplacementRemovesTheOldFileAndKeepsLinksAndCreation) {
  ASSERT_TRUE(Write("key1", bars_, 1 << 30, EvictionPolicy::kLru, "bt-1").ok());
  const auto before = *catalog_->Find("key1");
  clock_.Advance(5'000'000'000);
  ASSERT_TRUE(Write("key1", other_bars_).ok());
  const auto after = *catalog_->Find("key1");
  EXPECT_EQ(after->created_at, before->created_at);
  EXPECT_GT(after->generation, before->generation);
  EXPECT_EQ(*catalog_->BacktestsOf("key1"), std::vector<std::string>{"bt-1"});
  EXPECT_EQ(Files().size(), 1u);
  EXPECT_TRUE(SameFrame(Read("key1")->frame, other_bars_));
}

TEST_F(ColdTierTest, MissingFileIsAMissThatHeals) {
  ASSERT_TRUE(Write("key1", bars_).ok());
  fs::remove(PathOf("key1"));
  EXPECT_FALSE(Read("key1"));
  EXPECT_TRUE(Logged("cache_file_missing"));
  EXPECT_FALSE(*catalog_->Find("key1"));
  ASSERT_TRUE(Write("key1", bars_).ok());
  EXPECT_TRUE(Read("key1"));
}

TEST_F(ColdTierTest, EveryFlippedByteIsAMissAndDropsTheEntry) {
  ASSERT_TRUE(Write("key1", SampleBars(4, 1.0)).ok());
  const auto size = static_cast<int64_t>(fs::file_size(PathOf("key1")));
  for (int64_t offset = 0; offset < size; offset += 7) {
    ASSERT_TRUE(Write("key1", SampleBars(4, 1.0)).ok());
    std::fstream file(PathOf("key1"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(offset);
    file.put(byte);
    file.close();
    EXPECT_FALSE(Read("key1")) << "offset " << offset;
    EXPECT_TRUE(Logged("cache_checksum_mismatch"));
    EXPECT_FALSE(*catalog_->Find("key1"));
  }
  EXPECT_TRUE(Files().empty());
}

TEST_F(ColdTierTest, AFileOfAnotherKeyIsNeverServedNorUnlinked) {
  ASSERT_TRUE(Write("key1", bars_).ok());
  ASSERT_TRUE(Write("key2", other_bars_).ok());
  const auto two = *catalog_->Find("key2");
  {
    // The row of key1 now points at the intact file of key2, checksum and all.
    auto writer = catalog_->BeginWrite();
    ASSERT_TRUE(writer.ok());
    NewEntry swapped;
    swapped.cache_key = "key1";
    swapped.parquet_path = two->parquet_path;
    swapped.checksum = two->checksum;
    swapped.size_bytes = two->size_bytes;
    swapped.generation = two->generation + 1;
    swapped.now_s = clock_.WallSeconds();
    ASSERT_TRUE(writer->Upsert(swapped).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }
  EXPECT_FALSE(Read("key1"));
  EXPECT_TRUE(Logged("cache_entry_mismatch"));
  const auto hit = Read("key2");
  ASSERT_TRUE(hit);
  EXPECT_TRUE(SameFrame(hit->frame, other_bars_));
}

TEST_F(ColdTierTest, PathsOutsideTheDirectoryAreNeitherReadNorRemoved) {
  const std::string outside = folder_ / "outside.parquet";
  ASSERT_TRUE(Write("key1", bars_).ok());
  fs::copy_file(PathOf("key1"), outside);
  const auto row = *catalog_->Find("key1");
  for (const std::string& path : {outside, std::string("../outside.parquet")}) {
    NewEntry hostile;
    hostile.cache_key = "hostile";
    hostile.parquet_path = path;
    hostile.checksum = row->checksum;
    hostile.size_bytes = row->size_bytes;
    hostile.generation = row->generation + 1;
    hostile.now_s = clock_.WallSeconds();
    {
      auto writer = catalog_->BeginWrite();
      ASSERT_TRUE(writer.ok());
      ASSERT_TRUE(writer->Upsert(hostile).ok());
      ASSERT_TRUE(writer->Commit().ok());
    }
    EXPECT_FALSE(Read("hostile"));
    EXPECT_TRUE(Logged("cache_path_refused"));
    ASSERT_TRUE(cold_->Erase("hostile", &events_).ok());
    EXPECT_TRUE(fs::exists(outside));
  }
}

TEST_F(ColdTierTest, AnUnreadableFileIsAMissButStays) {
  ASSERT_TRUE(Write("key1", bars_).ok());
  const std::string path = PathOf("key1");
  fs::rename(path, path + ".away");
  fs::create_symlink(path + ".away", path);
  EXPECT_FALSE(Read("key1"));  // A link is never followed: the entry's own file is missing.
  EXPECT_TRUE(fs::exists(path + ".away"));
}

TEST_F(ColdTierTest, EvictionKeepsTheLimitAndTheNewEntry) {
  const int64_t one = Write("probe", bars_)->size_bytes;
  ASSERT_TRUE(cold_->EraseAll(&events_).ok());
  const int64_t capacity = one * 5 + one / 2;
  for (int i = 0; i < 12; ++i) {
    clock_.Advance(1);
    auto outcome = Write("key" + std::to_string(i), SampleBars(100, i), capacity);
    ASSERT_TRUE(outcome.ok());
    EXPECT_LE(catalog_->Totals()->size_bytes, capacity);
    EXPECT_TRUE(*catalog_->Find("key" + std::to_string(i)));
    EXPECT_EQ(static_cast<int64_t>(Files().size()), catalog_->Totals()->entry_count);
  }
  EXPECT_TRUE(*catalog_->Find("key11"));
  EXPECT_FALSE(*catalog_->Find("key0"));
}

TEST_F(ColdTierTest, EveryEvictionIsLogged) {
  const int64_t one = Write("probe", bars_)->size_bytes;
  ASSERT_TRUE(cold_->EraseAll(&events_).ok());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Write("k" + std::to_string(i), bars_).ok());
  auto keys = cold_->Evict(one, EvictionPolicy::kLru, nullptr, &events_);
  ASSERT_TRUE(keys.ok());
  const auto logged = std::count_if(events_.begin(), events_.end(), [](const Event& event) {
    return std::string_view(event.name) == "lru_eviction";
  });
  EXPECT_EQ(static_cast<size_t>(logged), keys->size());
  EXPECT_GE(keys->size(), 3u);
}

// Notes at every Settle whether another writer could begin by then.
class WatchedTouches final : public PendingTouches {
 public:
  explicit WatchedTouches(Catalog* other) : other_(other) {}
  std::vector<Touch> Take() override {
    if (fails) throw std::bad_alloc();
    return {};
  }
  void Settle(bool written) override {
    settled.push_back(written);
    EXPECT_EQ(other_->BeginWrite().status().code(), ErrorCode::kBusy);
  }

  bool fails = false;
  std::vector<bool> settled;

 private:
  Catalog* other_;
};

TEST_F(ColdTierTest, TouchesAreSettledBeforeTheNextWriterBegins) {
  const int64_t one = Write("a", bars_)->size_bytes;
  auto other = Catalog::Open({options_.db_path, false, false, 0}, &clock_);
  ASSERT_TRUE(other.ok());
  WatchedTouches touches(other->get());
  WriteRequest request;
  request.cache_key = "b";
  request.frame = &bars_;
  ASSERT_TRUE(cold_->Write({request}, {one, EvictionPolicy::kLru, &touches}, &events_).ok());
  ASSERT_TRUE(cold_->Evict(one / 2, EvictionPolicy::kLru, &touches, &events_).ok());
  MergeRequest merge;
  merge.written = request;
  merge.written.cache_key = "c";
  merge.record = [](CatalogWriter*) { return Result<bool>(true); };
  ASSERT_TRUE(Write("a", bars_).ok());
  ASSERT_TRUE(cold_->Merge(merge, {one, EvictionPolicy::kLru, &touches}, &events_)->merged);
  touches.fails = true;
  EXPECT_THROW(static_cast<void>(cold_->Evict(0, EvictionPolicy::kLru, &touches, &events_)),
               std::bad_alloc);
  EXPECT_EQ(touches.settled, (std::vector<bool>{true, true, true, false}));
}

TEST_F(ColdTierTest, AFrameLargerThanTheTierIsNotAdmittedAndEvictsNothing) {
  ASSERT_TRUE(Write("small", SampleBars(4, 1.0)).ok());
  ASSERT_TRUE(Write("key1", bars_).ok());
  auto outcome = Write("key1", SampleBars(100'000, 2.0), 20'000);
  ASSERT_TRUE(outcome.ok());
  EXPECT_FALSE(outcome->admitted);
  EXPECT_TRUE(Logged("dataframe_too_large_for_cold_cache"));
  EXPECT_FALSE(*catalog_->Find("key1"));
  EXPECT_TRUE(Read("small"));
}

TEST_F(ColdTierTest, ALargeFrameIsWrittenInPiecesAndVerified) {
  const Frame large = SampleBars(400'000, 2.0);
  auto outcome = Write("key1", large);
  ASSERT_TRUE(outcome.ok());
  const std::string path = PathOf("key1");
  EXPECT_EQ(outcome->size_bytes, static_cast<int64_t>(fs::file_size(path)));
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(stream), {});
  EXPECT_EQ(outcome->checksum, Sha256Hex(bytes));
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  auto hit = Read("key1");
  ASSERT_TRUE(hit);
  EXPECT_TRUE(SameFrame(hit->frame, large));
}

TEST_F(ColdTierTest, ALargeFrameThatDoesNotFitLeavesNoFile) {
  const Frame large = SampleBars(400'000, 2.0);
  const int64_t size_bytes = Write("key", large)->size_bytes;
  for (const int64_t capacity : {int64_t{0}, int64_t{20'000}, size_bytes - 1}) {
    EXPECT_FALSE(Write("key", large, capacity)->admitted) << capacity;
    EXPECT_TRUE(Files().empty()) << capacity;
  }
  EXPECT_TRUE(Write("key", large, size_bytes)->admitted);
  EXPECT_EQ(Files().size(), 1u);
}

TEST_F(ColdTierTest, PinsBeyondTheLimitAreRefusedAndNoneIsMade) {
  const int64_t one = Write("a", bars_)->size_bytes;
  for (const char* key : {"b", "c"}) ASSERT_TRUE(Write(key, bars_).ok());
  EXPECT_EQ(*cold_->Pin({"a"}, true, 2 * one), 1);
  EXPECT_EQ(cold_->Pin({"b", "c"}, true, 2 * one + one / 2).status().code(), ErrorCode::kNoSpace);
  EXPECT_EQ(catalog_->PinnedKeys().value(), std::vector<std::string>{"a"});
}

TEST_F(ColdTierTest, APinnedEntryOutlivesPutsAndOneWithoutRoomBesideItIsNotAdmitted) {
  const int64_t one = Write("a", bars_)->size_bytes;
  ASSERT_EQ(*cold_->Pin({"a"}, true, 2 * one), 1);
  for (const char* key : {"b", "c", "d"}) {
    clock_.Advance(1);
    EXPECT_TRUE(Write(key, other_bars_, 2 * one + one / 2)->admitted);
    EXPECT_TRUE(*catalog_->Find("a")) << key;
  }
  EXPECT_FALSE(Write("e", other_bars_, one + one / 2)->admitted);
  EXPECT_TRUE(Logged("dataframe_has_no_room_beside_pinned"));
  EXPECT_TRUE(Read("a"));
}

TEST_F(ColdTierTest, CheckFindsAndRepairs) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Write("k" + std::to_string(i), bars_).ok());
  fs::remove(PathOf("k0"));
  fs::resize_file(PathOf("k1"), 10);
  const std::string orphan = PathOf("k2");
  const auto row = *catalog_->Find("k2");
  {
    auto writer = catalog_->BeginWrite();
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->EraseIf("k2", row->parquet_path, row->checksum).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }
  std::ofstream(options_.cache_directory + "/mine.txt") << "a user's file";
  const auto now_s = std::chrono::duration_cast<std::chrono::seconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
  clock_.SetWallNs((now_s + 10) * 1'000'000'000);
  auto report = cold_->Check(true, &events_);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->missing_files, std::vector<std::string>{"k0"});
  EXPECT_EQ(report->corrupt_files, std::vector<std::string>{"k1"});
  EXPECT_TRUE(report->orphan_files.empty()) << "a young file may be about to get its row";
  EXPECT_EQ(report->foreign_files, std::vector<std::string>{"mine.txt"});

  clock_.SetWallNs((now_s + 3600) * 1'000'000'000);
  report = cold_->Check(true, &events_);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->orphan_files.size(), 1u);
  EXPECT_FALSE(fs::exists(orphan));
  report = cold_->Check(false, &events_);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->clean());
  EXPECT_TRUE(fs::exists(options_.cache_directory + "/mine.txt"));
  EXPECT_TRUE(Read("k3"));
}

TEST_F(ColdTierTest, WhatAKilledPutLeftUnfinishedGoesWhenItIsOld) {
  ASSERT_TRUE(Write("whole", bars_).ok());
  const std::string whole = PathOf("whole");
  // Under an entry's name without a row: a first part, nothing at all, and pages never written.
  const auto size = static_cast<int64_t>(fs::file_size(whole));
  std::set<std::string> unfinished;
  for (const int64_t length : {int64_t{0}, int64_t{3}, size / 2, size - 1}) {
    const std::string name =
        EntryFileName("cut", static_cast<uint64_t>(length), std::string(64, 'a'));
    fs::copy_file(whole, options_.cache_directory + "/" + name);
    fs::resize_file(options_.cache_directory + "/" + name, static_cast<uintmax_t>(length));
    unfinished.insert(name);
  }
  const std::string zeros = EntryFileName("zeros", 1, std::string(64, 'a'));
  std::ofstream(options_.cache_directory + "/" + zeros) << std::string(5000, '\0');
  unfinished.insert(zeros);
  // Whole by its name, but not Parquet: somebody else's.
  const std::string foreign = EntryFileName("foreign", 1, Sha256Hex("no Parquet"));
  std::ofstream(options_.cache_directory + "/" + foreign) << "no Parquet";

  const auto now_s = std::chrono::duration_cast<std::chrono::seconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
  clock_.SetWallNs((now_s + 10) * 1'000'000'000);
  auto report = cold_->Check(true, &events_);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->orphan_files.empty()) << "a put may be writing them";
  EXPECT_EQ(report->foreign_files, std::vector<std::string>{foreign});
  clock_.SetWallNs((now_s + 3600) * 1'000'000'000);
  report = cold_->Check(true, &events_);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(std::set(report->orphan_files.begin(), report->orphan_files.end()), unfinished);
  EXPECT_EQ(Files(), (std::set<std::string>{fs::path(whole).filename(), foreign}));
  EXPECT_TRUE(Read("whole"));
}

TEST_F(ColdTierTest, ColumnsComeInTheOrderAsked) {
  ASSERT_TRUE(Write("key1", bars_).ok());
  const std::vector<std::string> columns = {"close", "timestamp"};
  auto hit = cold_->Read("key1", &columns, &events_);
  ASSERT_TRUE(hit.ok() && *hit);
  EXPECT_EQ((*hit)->frame.column_names(), columns);
  const std::vector<std::string> unknown = {"open"};
  auto refused = cold_->Read("key1", &unknown, &events_);
  EXPECT_EQ(refused.status().code(), ErrorCode::kColumnNotFound);
  EXPECT_TRUE(*catalog_->Find("key1"));
}

}  // namespace
}  // namespace barcache
