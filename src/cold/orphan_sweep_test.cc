// The sweep: what goes, what stays, and when.
#include "cold/orphan_sweep.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "barcache/cache_key.h"
#include "base/sha256.h"
#include "base/test_directory.h"
#include "frame/sample_frame.h"

namespace barcache {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kFirstPauseNs = 30 * kSecondNs;

class OrphanSweepTest : public ::testing::Test {
 protected:
  // A catalog with a tier over the same cache directory.
  struct Place {
    std::unique_ptr<Catalog> catalog;
    std::unique_ptr<ColdTier> cold;
  };

  Place Open(const std::string& db_name, const Clock* clock) {
    CacheOptions options;
    options.db_path = folder_ / db_name;
    options.cache_directory = folder_ / "cache";
    auto catalog = Catalog::Open({options.db_path}, clock);
    EXPECT_TRUE(catalog.ok()) << catalog.status().ToString();
    auto cold = ColdTier::Open(options, catalog->get(), clock);
    EXPECT_TRUE(cold.ok()) << cold.status().ToString();
    return {std::move(*catalog), std::move(*cold)};
  }

  static Status Put(Place& place, const std::string& key, const Frame& frame) {
    WriteRequest request;
    request.cache_key = key;
    request.frame = &frame;
    request.dataset_id = 1;
    EventBuffer events;
    return place.cold->Write({request}, {1 << 30, EvictionPolicy::kLru, nullptr}, &events).status();
  }

  static std::string NameOf(Place& place, const std::string& key) {
    const auto row = place.catalog->Find(key);
    return row.ok() && *row ? (*row)->parquet_path : "";
  }

  // As a kill between row and file leaves it. Returns the file's name.
  static std::string LeaveOrphan(Place& place, const std::string& key) {
    EXPECT_TRUE(Put(place, key, SampleBars(30, 5.0)).ok());
    const std::string name = NameOf(place, key);
    auto writer = place.catalog->BeginWrite();
    EXPECT_TRUE(writer.ok() && writer->Erase(key).ok() && writer->Commit().ok());
    return name;
  }

  std::string PathOf(const std::string& name) const { return folder_ / ("cache/" + name); }

  void Plant(const std::string& name, const std::string& bytes) {
    std::ofstream(PathOf(name), std::ios::binary) << bytes;
  }

  void SetAge(const std::string& name, int64_t seconds) {
    timespec times[2] = {};
    times[0].tv_sec = times[1].tv_sec = clock_.WallSeconds() - seconds;
    ASSERT_EQ(utimensat(AT_FDCWD, PathOf(name).c_str(), times, 0), 0) << name;
  }

  std::set<std::string> Files() const {
    std::set<std::string> names;
    for (const auto& item : fs::directory_iterator(folder_ / "cache")) {
      names.insert(item.path().filename());
      if (!fs::exists(item.path())) names.erase(item.path().filename());
    }
    return names;
  }

  // Turns the clock until the round is over; the number of its steps.
  int Round(OrphanSweep* sweep) {
    int steps = 0;
    for (bool began = false;; ++steps) {
      const Result<int64_t> pause_ns = sweep->StepIfDue(&events_);
      EXPECT_TRUE(pause_ns.ok()) << pause_ns.status().ToString();
      if (!pause_ns.ok() || (began && *pause_ns == OrphanSweep::kRoundPauseNs)) return steps + 1;
      began = began || *pause_ns == OrphanSweep::kStepPauseNs;
      clock_.Advance(*pause_ns);
      if (!began) --steps;
    }
  }

  TestDirectory folder_;
  ManualClock clock_{1'700'000'000 * kSecondNs};
  Place place_ = Open("metadata.db", &clock_);
  EventBuffer events_;
  const std::string temporary_ = ".tmp-0123456789abcdef0123456789abcdef";
};

TEST_F(OrphanSweepTest, RemovesWhatKilledPutsLeftAndNothingElse) {
  Place other = Open("other.db", &clock_);
  std::set<std::string> kept;
  for (const char* key : {"key1", "a key with blanks", "seg:0123:4567"}) {
    ASSERT_TRUE(Put(place_, key, SampleBars(20, 1.0)).ok());
    kept.insert(NameOf(place_, key));
  }
  kept.insert(LeaveOrphan(other, "theirs"));
  const std::string whole = LeaveOrphan(place_, "gone");
  const std::string whole_of_odd_key = LeaveOrphan(place_, "gone with blanks");
  const std::string hex = Sha256Hex("other bytes");
  const std::string torn = EntryFileName("torn", 7, hex);
  const std::string empty = EntryFileName("empty", 8, hex);
  const std::string good_bytes = "no Parquet, but the bytes of its name";
  Plant(torn, "PAR1 and no more");
  Plant(empty, "");
  Plant(temporary_, "half");
  for (const std::string& name :
       {std::string("notes.txt"), std::string("key1.parquet"), std::string(".tmp-mine"),
        EntryFileName("sound", 9, Sha256Hex(good_bytes))}) {
    Plant(name, good_bytes);
    kept.insert(name);
  }
  for (const std::string& name : Files()) SetAge(name, 3600);
  const std::string link = EntryFileName("link", 10, hex);
  fs::create_symlink(folder_ / "metadata.db", PathOf(link));
  fs::create_directory(PathOf(EntryFileName("directory", 11, hex)));
  kept.insert({link, EntryFileName("directory", 11, hex)});
  ASSERT_EQ(Files().size(), kept.size() + 5);

  OrphanSweep sweep(place_.cold.get(), &clock_, kFirstPauseNs);
  Round(&sweep);
  EXPECT_EQ(Files(), kept);
  ASSERT_EQ(events_.size(), 1U);
  EXPECT_STREQ(events_[0].name, "cache_orphans_removed");
  EXPECT_EQ(std::get<int64_t>(events_[0].fields[0].second), 5);
  events_.clear();
  Round(&sweep);
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(Files(), kept);
}

TEST_F(OrphanSweepTest, SparesWhatIsYoungerThanTenMinutes) {
  const std::string orphan = LeaveOrphan(place_, "gone");
  Plant(temporary_, "half");
  OrphanSweep sweep(place_.cold.get(), &clock_, 0);
  for (const std::string& name : {orphan, temporary_}) SetAge(name, 590);
  Round(&sweep);
  EXPECT_EQ(Files(), (std::set<std::string>{orphan, temporary_}));
  for (const std::string& name : {orphan, temporary_}) SetAge(name, -5);  // The clock was set.
  clock_.Advance(OrphanSweep::kRoundPauseNs);
  for (const std::string& name : {orphan, temporary_}) SetAge(name, -5);
  Round(&sweep);
  EXPECT_EQ(Files().size(), 2U);
  for (const std::string& name : {orphan, temporary_}) SetAge(name, 600);
  clock_.Advance(OrphanSweep::kRoundPauseNs);
  Round(&sweep);
  EXPECT_TRUE(Files().empty());
}

TEST_F(OrphanSweepTest, BeginsAfterThePauseAndTakesSmallSteps) {
  for (int i = 0; i < 700; ++i) Plant("foreign" + std::to_string(i), "");
  const std::string orphan = LeaveOrphan(place_, "gone");
  SetAge(orphan, 3600);
  OrphanSweep sweep(place_.cold.get(), &clock_, kFirstPauseNs);
  EXPECT_EQ(*sweep.StepIfDue(&events_), kFirstPauseNs);
  clock_.Advance(kFirstPauseNs - 1);
  EXPECT_EQ(*sweep.StepIfDue(&events_), 1);
  EXPECT_TRUE(fs::exists(PathOf(orphan)));
  clock_.Advance(1);
  EXPECT_EQ(Round(&sweep), 1 + 3) << "one for the rows, 256 names in each of the others";
  EXPECT_FALSE(fs::exists(PathOf(orphan)));
  // Hourly from then on.
  EXPECT_GT(*sweep.StepIfDue(&events_), 3590 * kSecondNs);
  sweep.Restart();
  EXPECT_EQ(*sweep.StepIfDue(&events_), kFirstPauseNs);
}

TEST_F(OrphanSweepTest, AFileThatGetsItsRowMeanwhileStays) {
  ASSERT_TRUE(Put(place_, "late", SampleBars(30, 5.0)).ok());
  const auto row = **place_.catalog->Find("late");
  {
    auto writer = place_.catalog->BeginWrite();
    ASSERT_TRUE(writer->Erase("late").ok() && writer->Commit().ok());
  }
  SetAge(row.parquet_path, 3600);
  OrphanSweep sweep(place_.cold.get(), &clock_, 0);
  EXPECT_EQ(*sweep.StepIfDue(&events_), OrphanSweep::kStepPauseNs);  // The rows are known now.
  NewEntry entry;
  entry.cache_key = "late";
  entry.dataset_id = 1;
  entry.parquet_path = row.parquet_path;
  entry.checksum = row.checksum;
  entry.size_bytes = row.size_bytes;
  entry.generation = row.generation;
  entry.now_s = row.created_at;
  {
    auto writer = place_.catalog->BeginWrite();
    ASSERT_TRUE(writer->Upsert(entry).ok() && writer->Commit().ok());
  }
  clock_.Advance(OrphanSweep::kStepPauseNs);
  Round(&sweep);
  auto hit = place_.cold->Read("late", nullptr, &events_);
  EXPECT_TRUE(hit.ok() && hit->has_value());
}

// Sleeps for an hour at a moment of a put, during which somebody else does something.
class SleepingClock final : public Clock {
 public:
  int64_t WallNs() const override {
    if (left_ > 0 && --left_ == 0) {
      slept_ns_ += 3600 * kSecondNs;
      meanwhile();
    }
    return 1'700'000'000 * kSecondNs + slept_ns_;
  }
  int64_t MonotonicNs() const override { return 1; }
  void SleepAtCall(int call) { left_ = call; }
  bool slept() const { return slept_ns_ != 0; }
  std::function<void()> meanwhile;

 private:
  mutable int left_ = 0;
  mutable int64_t slept_ns_ = 0;
};

TEST_F(OrphanSweepTest, APutWhoseFileWasSweptWhileItSleptFails) {
  SleepingClock clock;
  Place sleeper = Open("metadata.db", &clock);
  clock.meanwhile = [&] {
    for (const std::string& name : Files()) fs::remove(PathOf(name));
  };
  bool failed = false;
  for (int call = 1; call <= 6 && !failed; ++call) {
    clock.SleepAtCall(call);
    const Status status = Put(sleeper, "key1", SampleBars(30, 5.0));
    failed = !status.ok();
    if (failed) {
      EXPECT_EQ(status.code(), ErrorCode::kIo);
      EXPECT_NE(status.message().find("put it again"), std::string::npos);
    }
    if (status.ok() && clock.slept()) {
      EXPECT_TRUE(fs::exists(PathOf(NameOf(sleeper, "key1")))) << "no row without its file";
    }
  }
  EXPECT_TRUE(clock.slept());
  EXPECT_TRUE(failed);
  EXPECT_TRUE(Put(sleeper, "key1", SampleBars(30, 5.0)).ok());
}

}  // namespace
}  // namespace barcache
