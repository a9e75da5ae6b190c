// Status, Result and their macros; the checks of CacheOptions.
#include "barcache/status.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "barcache/options.h"

namespace barcache {
namespace {

TEST(StatusTest, DefaultIsOk) {
  Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.ToString(), "ok");
}

TEST(StatusTest, SaysCodeMessageAndErrno) {
  Status status(ErrorCode::kNoSpace, "could not write 'x'", 28);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.ToString(), "no space: could not write 'x'");
  EXPECT_EQ(status.system_errno(), 28);
}

TEST(StatusTest, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    names.insert(ErrorCodeName(static_cast<ErrorCode>(code)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(ErrorCode::kInternal) + 1);
  EXPECT_FALSE(names.contains("unknown error"));
}

Result<std::unique_ptr<int>> Half(int number) {
  if (number % 2 != 0) return Status(ErrorCode::kInvalidArgument, "odd");
  return std::make_unique<int>(number / 2);
}

Result<int> Quarter(int number) {
  BARCACHE_ASSIGN_OR_RETURN(std::unique_ptr<int> half, Half(number));
  BARCACHE_ASSIGN_OR_RETURN(auto quarter, Half(*half));
  return *quarter;
}

Status CheckQuarter(int number) {
  BARCACHE_RETURN_IF_ERROR(Quarter(number).status());
  return {};
}

TEST(ResultTest, CarriesValueOrStatusThroughTheMacros) {
  ASSERT_TRUE(Quarter(8).ok());
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().message(), "odd");
  EXPECT_TRUE(CheckQuarter(4).ok());
  EXPECT_EQ(CheckQuarter(2).code(), ErrorCode::kInvalidArgument);
}

CacheOptions ValidOptions() {
  CacheOptions options;
  options.db_path = "metadata.db";
  options.cache_directory = "cache";
  return options;
}

TEST(OptionsTest, AcceptsDefaultsAndZeroes) {
  CacheOptions options = ValidOptions();
  EXPECT_TRUE(options.Validate().ok());
  options.hot_capacity_bytes = 0;
  options.cold_capacity_bytes = 0;
  options.busy_timeout_ms = 0;
  options.decode_budget_bytes = 0;
  EXPECT_TRUE(options.Validate().ok());
}

TEST(OptionsTest, RefusesEmptyPathsAndNul) {
  CacheOptions options = ValidOptions();
  options.db_path = "";
  EXPECT_EQ(options.Validate().code(), ErrorCode::kInvalidArgument);
  options = ValidOptions();
  options.cache_directory = "";
  EXPECT_NE(options.Validate().message().find("cache_directory"), std::string::npos);
  options.cache_directory = std::string("a\0b", 3);
  EXPECT_EQ(options.Validate().code(), ErrorCode::kInvalidArgument);
}

TEST(OptionsTest, RefusesNegativeNumbers) {
  for (int64_t CacheOptions::* member :
       {&CacheOptions::hot_capacity_bytes, &CacheOptions::cold_capacity_bytes,
        &CacheOptions::busy_timeout_ms, &CacheOptions::decode_budget_bytes}) {
    CacheOptions options = ValidOptions();
    options.*member = -1;
    EXPECT_EQ(options.Validate().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(OptionsTest, PolicyNamesRoundTrip) {
  for (EvictionPolicy policy :
       {EvictionPolicy::kLru, EvictionPolicy::kSize, EvictionPolicy::kHybrid, EvictionPolicy::kGdsf,
        EvictionPolicy::kS3Fifo}) {
    Result<EvictionPolicy> parsed = ParseEvictionPolicy(EvictionPolicyName(policy));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, policy);
  }
}

// B13 of the reference: any unknown policy silently meant hybrid.
TEST(OptionsTest, UnknownPolicyIsRefusedAndTheKnownOnesNamed) {
  for (std::string_view name : {"bogus", "", "LRU", "lru "}) {
    Result<EvictionPolicy> parsed = ParseEvictionPolicy(name);
    ASSERT_FALSE(parsed.ok()) << name;
    EXPECT_EQ(parsed.status().code(), ErrorCode::kInvalidArgument);
    for (const char* known : {"'lru'", "'size'", "'hybrid'", "'gdsf'", "'s3fifo'"}) {
      EXPECT_NE(parsed.status().message().find(known), std::string::npos) << known;
    }
  }
}

}  // namespace
}  // namespace barcache
