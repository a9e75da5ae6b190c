// Frames that are large enough for columns to be worked on side by side, in recycled memory.
#include <arrow/io/memory.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "base/block_pool.h"
#include "frame/flat_sample.h"

namespace barcache {
namespace {

using flat_sample::AllTypes;
using flat_sample::Decode;
using flat_sample::Encode;
using flat_sample::ToBatch;

constexpr int64_t kRows = 20000;
// A sanitizer holds on to scratch memory for a while.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif
const arrow::EqualOptions kNansEqual = arrow::EqualOptions::Defaults().nans_equal(true);

bool DecodesTo(const std::vector<uint8_t>& bytes, const arrow::RecordBatch& expected) {
  const auto frame = Decode(bytes);
  return frame.ok() && frame->has_value() && ToBatch(**frame)->Equals(expected, false, kNansEqual);
}

size_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0;
  size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(LargeFrames, TheBytesDoNotDependOnWhoWorked) {
  const auto batch = AllTypes(kRows, 0.1);
  const std::vector<uint8_t> bytes = Encode(*batch);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(Encode(*batch), bytes);
    EXPECT_TRUE(DecodesTo(bytes, *batch));
  }
}

TEST(LargeFrames, DamageIsAStatusWhereverItIs) {
  const std::vector<uint8_t> bytes = Encode(*AllTypes(kRows, 0.1));
  std::mt19937_64 random(7);
  int refused = 0;
  for (int i = 0; i < 60; ++i) {
    std::vector<uint8_t> damaged = bytes;
    for (int k = 0; k < 20; ++k) {
      damaged[4 + random() % (bytes.size() * 9 / 10)] = static_cast<uint8_t>(random());
    }
    const auto frame = Decode(damaged);
    if (!frame.ok()) {
      EXPECT_EQ(frame.status().code(), ErrorCode::kCorruption) << frame.status().ToString();
    }
    refused += frame.ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 10);
}

TEST(LargeFrames, StringsBeyondTheBudgetAreRefused) {
  const std::vector<uint8_t> bytes = Encode(*AllTypes(kRows, 0));
  const auto whole = Decode(bytes);
  ASSERT_TRUE(whole.ok());
  const DecodeLimits limits{(*whole)->data()->size_bytes - (256 << 10)};
  const auto frame = Decode(bytes, limits);
  ASSERT_FALSE(frame.ok());
  EXPECT_EQ(frame.status().code(), ErrorCode::kOverBudget);
}

TEST(LargeFrames, OneColumnOfAnotherEncodingLeavesTheFileToArrow) {
  const auto batch = AllTypes(kRows, 0);
  const std::string odd = batch->column_name(batch->num_columns() - 1);
  parquet::WriterProperties::Builder properties;
  properties.compression(parquet::Compression::SNAPPY)->disable_dictionary(odd);
  properties.encoding(odd, parquet::Encoding::DELTA_BYTE_ARRAY);
  auto sink = *arrow::io::BufferOutputStream::Create();
  ASSERT_TRUE(parquet::arrow::WriteTable(**arrow::Table::FromRecordBatches({batch}),
                                         arrow::default_memory_pool(), sink, 1 << 20,
                                         properties.build())
                  .ok());
  const auto buffer = *sink->Finish();
  const auto frame = Decode({buffer->data(), static_cast<size_t>(buffer->size())});
  ASSERT_TRUE(frame.ok()) << frame.status().ToString();
  EXPECT_FALSE(frame->has_value());
}

TEST(LargeFrames, AForkedChildWorksAlone) {
  const auto batch = AllTypes(kRows, 0.1);
  const std::vector<uint8_t> bytes = Encode(*batch);
  ASSERT_TRUE(DecodesTo(bytes, *batch));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(Encode(*batch) == bytes && DecodesTo(bytes, *batch) ? 0 : 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(LargeFrames, MemoryIsRecycledAndGoesBack) {
  const std::vector<uint8_t> bytes = Encode(*AllTypes(10 * kRows, 0));
  const int64_t size_bytes = (*Decode(bytes))->data()->size_bytes;
  const int64_t kept_before = BlockPool::Frames().kept_bytes();
  size_t resident_after_two = 0;
  {
    const BlockPool::Share share(0);
    for (int i = 0; i < 12; ++i) {
      {
        ASSERT_TRUE(Decode(bytes).ok());
      }
      EXPECT_GT(BlockPool::Frames().kept_bytes(), 0);
      EXPECT_LE(BlockPool::Frames().kept_bytes(), size_bytes);
      if (i == 1) resident_after_two = ResidentBytes();
    }
    if (!kIsSanitized) {
      EXPECT_LT(ResidentBytes(), resident_after_two + static_cast<size_t>(size_bytes) / 2);
    }
  }
  EXPECT_EQ(BlockPool::Frames().kept_bytes(), kept_before);
}

}  // namespace
}  // namespace barcache
