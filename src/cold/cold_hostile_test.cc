// Rows and files that somebody else arranged: a file of the wrong key, put, kind or place.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "barcache/cache_key.h"
#include "base/sha256.h"
#include "base/test_directory.h"
#include "cold/cold_tier.h"
#include "frame/parquet_codec.h"
#include "frame/sample_frame.h"

namespace barcache {
namespace {

namespace fs = std::filesystem;

class HostileRows : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.db_path = folder_ / "metadata.db";
    options_.cache_directory = folder_ / "cache";
    auto catalog = Catalog::Open({options_.db_path}, &clock_);
    ASSERT_TRUE(catalog.ok()) << catalog.status().ToString();
    catalog_ = std::move(*catalog);
    auto cold = ColdTier::Open(options_, catalog_.get(), &clock_);
    ASSERT_TRUE(cold.ok()) << cold.status().ToString();
    cold_ = std::move(*cold);
  }

  EntryInfo Put(const std::string& key, const Frame& frame) {
    WriteRequest request;
    request.cache_key = key;
    request.frame = &frame;
    EXPECT_TRUE(cold_->Write({request}, {1 << 30, EvictionPolicy::kLru, nullptr}, &events_).ok());
    return catalog_->Find(key).value().value();
  }

  // Writes a row as it stands here, whatever it says.
  void SetRow(const EntryInfo& row) {
    NewEntry entry;
    entry.cache_key = row.cache_key;
    entry.parquet_path = row.parquet_path;
    entry.checksum = row.checksum;
    entry.size_bytes = row.size_bytes;
    entry.generation = row.generation;
    auto writer = catalog_->BeginWrite();
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->Erase(row.cache_key).ok());
    ASSERT_TRUE(writer->Upsert(entry).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }

  std::optional<Frame> Read(const std::string& key) {
    events_.clear();
    auto hit = cold_->Read(key, nullptr, &events_);
    EXPECT_TRUE(hit.ok()) << hit.status().ToString();
    if (!hit.ok() || !*hit) return std::nullopt;
    return (*hit)->frame;
  }

  std::string Inside(const std::string& name) { return options_.cache_directory + "/" + name; }

  TestDirectory folder_;
  ManualClock clock_{1'700'000'000'000'000'000};
  CacheOptions options_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<ColdTier> cold_;
  EventBuffer events_;
  const Frame bars_ = SampleBars(100, 10.0);
  const Frame other_bars_ = SampleBars(100, 99.0);
};

TEST_F(HostileRows, RowsThatTradedTheirFilesAreMisses) {
  const EntryInfo one = Put("one", bars_);
  const EntryInfo two = Put("two", other_bars_);
  EntryInfo swapped = two;  // All of it, so that only the key in the footer tells.
  swapped.cache_key = "one";
  SetRow(swapped);
  swapped = one;
  swapped.cache_key = "two";
  SetRow(swapped);
  EXPECT_FALSE(Read("one"));
  EXPECT_FALSE(Read("two"));
  EXPECT_TRUE(fs::exists(Inside(one.parquet_path)));  // Not theirs to remove.
  EXPECT_TRUE(fs::exists(Inside(two.parquet_path)));
}

TEST_F(HostileRows, AFileOfAnotherPutOfTheKeyIsAMiss) {
  EntryInfo row = Put("one", bars_);
  row.generation += 1;
  SetRow(row);
  EXPECT_FALSE(Read("one"));
}

TEST_F(HostileRows, FilesThatTradedTheirNamesAreMisses) {
  const EntryInfo one = Put("one", bars_);
  const EntryInfo two = Put("two", other_bars_);
  fs::rename(Inside(one.parquet_path), Inside("aside"));
  fs::rename(Inside(two.parquet_path), Inside(one.parquet_path));
  fs::rename(Inside("aside"), Inside(two.parquet_path));
  EXPECT_FALSE(Read("one"));
  EXPECT_FALSE(Read("two"));
}

TEST_F(HostileRows, AnOldFileWithItsOldRowIsTheOldFrameOfThatKey) {
  const EntryInfo old_row = Put("one", bars_);
  fs::copy_file(Inside(old_row.parquet_path), folder_ / "kept");
  const EntryInfo row = Put("one", other_bars_);
  fs::copy_file(folder_ / "kept", Inside(old_row.parquet_path));
  SetRow(old_row);
  const auto frame = Read("one");
  ASSERT_TRUE(frame);
  EXPECT_TRUE(SameFrame(*frame, bars_));
  // The old file under the new row, and the new file under the old row, are neither.
  EntryInfo mixed = old_row;
  mixed.generation = row.generation;
  SetRow(mixed);
  EXPECT_FALSE(Read("one"));
  mixed = row;
  mixed.generation = old_row.generation;
  SetRow(mixed);
  EXPECT_FALSE(Read("one"));
}

TEST_F(HostileRows, AFileWithoutAStampIsAMissWhereOneIsDue) {
  EntryInfo row = Put("one", bars_);
  const auto bytes = EncodeParquet(bars_, {});
  ASSERT_TRUE(bytes.ok());
  std::ofstream(Inside("bare.parquet"), std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes->data()),
             static_cast<std::streamsize>(bytes->size()));
  row.parquet_path = "bare.parquet";
  row.checksum = HexEncode(Sha256(bytes->bytes()));
  row.size_bytes = static_cast<int64_t>(bytes->size());
  SetRow(row);
  EXPECT_FALSE(Read("one"));
}

// --- what a path may name --------------------------------------------------------------------

TEST_F(HostileRows, OnlyARegularFileOfTheDirectoryIsOpened) {
  const EntryInfo row = Put("one", bars_);
  const std::string outside = folder_ / "outside";
  fs::create_directory(outside);
  fs::copy_file(Inside(row.parquet_path), outside + "/file");
  fs::create_symlink(outside + "/file", Inside("link-to-file"));
  fs::create_directory_symlink(outside, Inside("link-to-folder"));
  fs::create_symlink("link-to-itself", Inside("link-to-itself"));
  fs::create_symlink("/dev/zero", Inside("link-to-zero"));
  fs::create_directory(Inside("folder"));
  ASSERT_EQ(::mkfifo(Inside("fifo").c_str(), 0600), 0);
  // Needs a right that not everybody has; without it there is nothing of that name.
  const bool has_device = ::mknod(Inside("zero").c_str(), S_IFCHR | 0600, makedev(1, 5)) == 0;
  std::vector<std::string> names = {outside + "/file",
                                    "../outside/file",
                                    "folder/../../outside/file",
                                    "link-to-file",
                                    "link-to-folder",
                                    "link-to-folder/file",
                                    "link-to-itself",
                                    "link-to-zero",
                                    "folder",
                                    "folder/",
                                    "fifo",
                                    "zero",
                                    "/dev/zero",
                                    "/dev/stdin",
                                    "/proc/self/mem",
                                    "",
                                    ".",
                                    "..",
                                    "/",
                                    "./fifo",
                                    std::string("fifo\0", 5),
                                    "../metadata.db",
                                    std::string(300, 'x'),
                                    std::string(5000, '/')};
  for (const std::string& name : names) {
    EntryInfo hostile = row;
    hostile.parquet_path = name;
    hostile.size_bytes = INT64_MAX;
    SetRow(hostile);
    EXPECT_FALSE(Read("one")) << name;
    SetRow(hostile);
    EXPECT_TRUE(cold_->Check(true, &events_).ok()) << name;
    SetRow(hostile);
    EXPECT_TRUE(cold_->Erase("one", &events_).ok()) << name;
  }
  EXPECT_TRUE(fs::exists(outside + "/file"));
  EXPECT_TRUE(fs::exists(options_.db_path));
  for (const char* name : {"link-to-file", "link-to-folder", "link-to-itself", "folder", "fifo"}) {
    EXPECT_TRUE(fs::exists(fs::symlink_status(Inside(name)))) << name;
  }
  EXPECT_EQ(fs::exists(Inside("zero")), has_device);
}

TEST_F(HostileRows, AHardLinkOutOfTheDirectoryLosesItsNameAndNothingElse) {
  const EntryInfo row = Put("one", bars_);
  fs::create_hard_link(Inside(row.parquet_path), folder_ / "outside");
  const auto before = fs::file_size(folder_ / "outside");
  EXPECT_TRUE(Read("one"));  // It is a file of the directory.
  Put("one", other_bars_);
  EXPECT_FALSE(fs::exists(Inside(row.parquet_path)));
  EXPECT_EQ(fs::file_size(folder_ / "outside"), before);  // Replaced by name, never in place.
}

// --- names that somebody else makes at the same moment ---------------------------------------

TEST_F(HostileRows, LinksPlantedAtAnyNameAreNotWrittenThrough) {
  const std::string prey = folder_ / "prey";
  std::ofstream(prey) << "untouched";
  std::atomic<bool> stop{false};
  std::thread planter([&] {
    while (!stop) {
      std::error_code ignored;
      for (const auto& file : fs::directory_iterator(options_.cache_directory, ignored)) {
        const std::string path = file.path();
        ::unlink(path.c_str());
        (void)::symlink(prey.c_str(), path.c_str());
      }
    }
  });
  for (int round = 0; round < 200; ++round) {
    WriteRequest request;
    request.cache_key = "one";
    request.frame = &bars_;
    // A put whose file was taken away may fail or be a miss; it writes nowhere else.
    (void)cold_->Write({request}, {1 << 30, EvictionPolicy::kLru, nullptr}, &events_).ok();
    const auto frame = Read("one");
    EXPECT_TRUE(!frame || SameFrame(*frame, bars_));
  }
  stop = true;
  planter.join();
  std::string text;
  std::ifstream(prey) >> text;
  EXPECT_EQ(text, "untouched");
}

TEST_F(HostileRows, NothingIsForOthersUnderAnyUmask) {
  const mode_t before = ::umask(0);
  TestDirectory folder;
  CacheOptions options;
  options.db_path = folder / "deep/er/metadata.db";
  options.cache_directory = folder / "a/b/cache";
  {
    auto catalog = Catalog::Open({options.db_path}, &clock_);
    ASSERT_TRUE(catalog.ok());
    auto cold = ColdTier::Open(options, catalog->get(), &clock_);
    ASSERT_TRUE(cold.ok());
    WriteRequest request;
    request.cache_key = "one";
    request.frame = &bars_;
    ASSERT_TRUE((*cold)->Write({request}, {1 << 30, EvictionPolicy::kLru, nullptr}, &events_).ok());
    for (const auto& item : fs::recursive_directory_iterator(folder.path())) {
      struct stat info{};
      ASSERT_EQ(::lstat(item.path().c_str(), &info), 0);
      EXPECT_EQ(info.st_mode & 077, 0U) << item.path();
    }
  }
  ::umask(before);
}

}  // namespace
}  // namespace barcache
