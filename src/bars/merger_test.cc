// Merges over a ledger and entries on disk, killed at every step where the build has steps.
#include "bars/merger.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>

#include "bars/bars_sample.h"
#include "base/test_directory.h"
#include "frame/frame_data.h"
#include "frame/frame_slices.h"

extern char** environ;

namespace barcache {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kStepNs = 1000;
constexpr int kBarsOfSegment = 5;
constexpr int kSegments = 9;
const SeriesName kName{"vendor", "1m", "", "AAPL"};

struct Opened {
  explicit Opened(const std::string& folder) {
    CacheOptions options;
    options.db_path = folder + "/metadata.db";
    options.cache_directory = folder + "/cache";
    auto opened = Cache::Open(options);
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    cache = std::move(*opened);
    ledger = std::make_unique<Ledger>(&cache->catalog());
    merger = std::make_unique<Merger>(cache.get(), ledger.get());
  }
  SeriesPointer Series() { return (*ledger->Look({kName})).front(); }
  MergeReport MergeNow(size_t merge_at = 2) {
    auto report = merger->MergeNow({kName, "timestamp", merge_at});
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return report.ok() ? *report : MergeReport{};
  }
  std::unique_ptr<Cache> cache;
  std::unique_ptr<Ledger> ledger;
  std::unique_ptr<Merger> merger;
};

void Fill(Opened* opened) {
  for (int i = 0; i < kSegments; ++i) {
    const int64_t first = i * kBarsOfSegment;
    const std::string key = SeriesKeyOf(kName) + ":" + std::to_string(i);
    PutOptions options;
    options.backtest_id = "bt-" + std::to_string(i);
    // A bar more at each end than the ledger names: those are not to be served.
    ASSERT_TRUE(opened->cache->Put(key, BarsFrom(first - 1, kBarsOfSegment + 2), options).ok());
    const Interval interval{first * kStepNs, (first + kBarsOfSegment) * kStepNs};
    const Coverage row{interval, CoverageState::kData, key, 100 + i, std::nullopt};
    ASSERT_TRUE(opened->ledger->Record({{kName, "schema", {row}, false, {}}}).ok());
  }
}

// Every bar once, in order, wherever it lies; and nothing else lies there.
void ExpectWhole(Opened* opened) {
  const SeriesPointer series = opened->Series();
  int64_t expected = 0;
  for (const Coverage& row : series->coverage) {
    ASSERT_EQ(row.state, CoverageState::kData);
    const auto stored = opened->cache->ReadStored(row.segment_key);
    ASSERT_TRUE(stored.ok() && *stored) << row.segment_key;
    const auto slice =
        RowsBetween((*stored)->frame, "timestamp", row.interval.begin_ns, row.interval.end_ns);
    ASSERT_TRUE(slice.ok());
    const ArrowArray& closes = *slice->frame.data()->array.children[1];
    const auto* values = static_cast<const double*>(closes.buffers[1]);
    for (int64_t i = 0; i < slice->length; ++i, ++expected) {
      ASSERT_EQ(values[slice->offset + i], static_cast<double>(expected));
    }
    EXPECT_EQ(row.asked_at_s, 100 + row.interval.begin_ns / kStepNs / kBarsOfSegment);
  }
  EXPECT_EQ(expected, kSegments * kBarsOfSegment);
  EXPECT_EQ(opened->cache->Entries()->size(), SegmentsOf(series->coverage).size());
  for (int i = 0; i < kSegments; ++i) {
    EXPECT_EQ(opened->cache->KeysOf("bt-" + std::to_string(i))->size(), 1U);
  }
  EXPECT_TRUE(opened->cache->Check(true).ok());
  const auto report = opened->cache->Check(false);
  EXPECT_TRUE(report.ok() && report->clean());
}

TEST(MergerTest, ManyBecomeOne) {
  const TestDirectory folder;
  Opened opened(folder.path());
  Fill(&opened);
  EXPECT_EQ(opened.MergeNow().segments, kSegments);
  EXPECT_EQ(SegmentsOf(opened.Series()->coverage).size(), 1U);
  ExpectWhole(&opened);
  EXPECT_EQ(opened.MergeNow().segments, 0);
}

TEST(MergerTest, WorksInTheBackground) {
  const TestDirectory folder;
  Opened opened(folder.path());
  Fill(&opened);
  opened.merger->Fetched({opened.Series()}, "timestamp");
  opened.merger->Drain();
  EXPECT_EQ(SegmentsOf(opened.Series()->coverage).size(), 1U);
  ExpectWhole(&opened);
}

TEST(MergerTest, IsForgottenWhenItIsStopped) {
  const TestDirectory folder;
  Opened opened(folder.path());
  Fill(&opened);
  opened.merger->Suggest({{kName, "timestamp"}});
  opened.merger->Stop();
  opened.merger->Suggest({{kName, "timestamp"}});
  opened.merger->Drain();
  ExpectWhole(&opened);
}

TEST(MergerTest, AChildOfAForkMergesItsOwn) {
  const TestDirectory folder;
  Opened opened(folder.path());
  Fill(&opened);
  opened.merger->Suggest({{kName, "timestamp"}});
  const pid_t child = fork();
  if (child == 0) {
    opened.merger->Drain();  // Nothing was inherited.
    opened.merger->Suggest({{kName, "timestamp"}});
    opened.merger->Drain();
    _exit(SegmentsOf(opened.Series()->coverage).size() == 1 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  opened.merger->Drain();
  EXPECT_EQ(SegmentsOf(opened.Series()->coverage).size(), 1U);
  ExpectWhole(&opened);
}

TEST(MergerTest, GivesUpWithoutTheTimeColumn) {
  const TestDirectory folder;
  Opened opened(folder.path());
  Fill(&opened);
  const auto report = opened.merger->MergeNow({kName, "absent", 2});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->segments, 0);
  ExpectWhole(&opened);
}

constexpr char kFolderVariable[] = "BARCACHE_MERGE_IN";

// What the test below runs in a process of its own.
TEST(MergerTest, ChildThatMerges) {
  const char* folder = ::getenv(kFolderVariable);
  if (folder == nullptr) GTEST_SKIP() << "a part of KilledAnywhere";
  Opened opened(folder);
  opened.MergeNow();
  opened.merger.reset();
  (void)opened.cache->Close();
}

// Whether it ended by itself.
bool MergeInChild(const std::string& folder, int kill_at) {
  std::string variables[] = {std::string(kFolderVariable) + "=" + folder,
                             "BARCACHE_FAILPOINT=*:" + std::to_string(kill_at) + ":kill"};
  std::vector<char*> environment = {variables[0].data(), variables[1].data()};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    environment.push_back(*variable);
  }
  environment.push_back(nullptr);
  std::string program = fs::read_symlink("/proc/self/exe").string();
  std::string filter = "--gtest_filter=MergerTest.ChildThatMerges";
  std::string brief = "--gtest_brief=1";
  char* arguments[] = {program.data(), filter.data(), brief.data(), nullptr};
  const pid_t child = fork();
  if (child == 0) {
    execve(program.c_str(), arguments, environment.data());
    _exit(127);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status)) return false;
  EXPECT_EQ(WEXITSTATUS(status), 0);
  return true;
}

TEST(MergerTest, KilledAnywhereItIsTheOldSegmentsOrTheNewOne) {
  const TestDirectory origin;
  {
    Opened opened(origin.path());
    Fill(&opened);
  }
  std::map<size_t, int> outcomes;
  for (int kill_at = 1;; ++kill_at) {
    const TestDirectory folder;
    fs::copy(origin.path(), folder.path(), fs::copy_options::recursive);
    const bool ended = MergeInChild(folder.path(), kill_at);
    Opened opened(folder.path());
    ++outcomes[SegmentsOf(opened.Series()->coverage).size()];
    ExpectWhole(&opened);
    ASSERT_FALSE(HasFatalFailure()) << "killed at step " << kill_at;
    if (ended) break;
  }
  EXPECT_GE(outcomes[1], 1);
  EXPECT_EQ(outcomes.size(), outcomes.contains(kSegments) ? 2U : 1U);
}

}  // namespace
}  // namespace barcache
