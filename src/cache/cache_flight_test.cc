// Flights, datasets and costs through the door; the leases themselves: flight_board_test.cc.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "barcache/cache.h"
#include "base/test_directory.h"
#include "catalog/catalog.h"
#include "frame/sample_frame.h"

namespace barcache {
namespace {

class CacheFlightTest : public ::testing::Test {
 protected:
  CacheOptions Options() {
    CacheOptions options;
    options.db_path = folder_ / "metadata.db";
    options.cache_directory = folder_ / "cache";
    return options;
  }

  static std::unique_ptr<Cache> Open(const CacheOptions& options) {
    auto cache = Cache::Open(options);
    EXPECT_TRUE(cache.ok()) << cache.status().ToString();
    return cache.ok() ? std::move(*cache) : nullptr;
  }

  static std::unique_ptr<Flight> Begin(Cache& cache, const std::string& name = "f") {
    auto flight = cache.BeginFlight(name);
    EXPECT_TRUE(flight.ok()) << flight.status().ToString();
    return flight.ok() ? std::move(*flight) : nullptr;
  }

  TestDirectory folder_;
  const Frame bars_ = SampleBars(50, 1.0);
};

TEST_F(CacheFlightTest, TheLeaseIsTenSecondsUnlessOneSaysSo) {
  EXPECT_EQ(CacheOptions{}.lease_ms, 10'000);
  CacheOptions options = Options();
  options.lease_ms = 99;
  EXPECT_EQ(Cache::Open(options).status().code(), ErrorCode::kInvalidArgument);
}

TEST_F(CacheFlightTest, TwoCachesOnOneDirectoryAgree) {
  auto a = Open(Options());
  auto b = Open(Options());
  auto leader = Begin(*a);
  auto waiter = Begin(*b);
  EXPECT_EQ(leader->state(), FlightState::kLeading);
  EXPECT_EQ(waiter->Poll(), FlightState::kWaiting);
  leader->Land();
  EXPECT_EQ(waiter->Poll(), FlightState::kLanded);
}

TEST_F(CacheFlightTest, InMemoryOrReadOnlyEverybodyLeads) {
  Open(Options());
  CacheOptions read_only = Options();
  read_only.read_only = true;
  CacheOptions memory = Options();
  memory.db_path = ":memory:";
  for (const CacheOptions& options : {read_only, memory}) {
    auto cache = Open(options);
    auto first = Begin(*cache);
    auto second = Begin(*cache);
    EXPECT_EQ(first->state(), FlightState::kLeading);
    EXPECT_EQ(second->state(), FlightState::kLeading);
  }
}

TEST_F(CacheFlightTest, AClosedCacheBeginsNone) {
  auto cache = Open(Options());
  auto other = Open(Options());
  auto leader = Begin(*cache);
  auto waiter = Begin(*other);
  ASSERT_TRUE(cache->Close().ok());
  EXPECT_EQ(cache->BeginFlight("f").status().code(), ErrorCode::kClosed);
  EXPECT_EQ(waiter->Poll(), FlightState::kLanded) << "its lease went when it closed";
}

TEST_F(CacheFlightTest, AForkedChildLeadsNothing) {
  auto cache = Open(Options());
  auto leader = Begin(*cache);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    leader->Fail({"Error", "of the child"});
    auto own = cache->BeginFlight("f");
    _exit(own.ok() && (*own)->Poll() == FlightState::kWaiting ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  auto other = Open(Options());
  auto waiter = Begin(*other);
  EXPECT_EQ(waiter->Poll(), FlightState::kWaiting) << "the parent still leads";
  leader->Land();
  EXPECT_EQ(waiter->Poll(), FlightState::kLanded);
}

TEST_F(CacheFlightTest, BeginsWhileAnotherThreadForks) {
  auto cache = Open(Options());
  std::atomic<bool> is_over{false};
  std::thread begins([&] {
    for (int i = 0; !is_over.load(); ++i) {
      auto flight = cache->BeginFlight("f" + std::to_string(i % 3));
      ASSERT_TRUE(flight.ok());
      (*flight)->Land();
    }
  });
  for (int i = 0; i < 100; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) _exit(0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  is_over = true;
  begins.join();
}

TEST_F(CacheFlightTest, ADatasetIsMadeOnceByAllWhoAsk) {
  auto cache = Open(Options());
  constexpr int kThreads = 8;
  std::vector<DatasetId> ids(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      auto id = Open(Options())->DatasetOf("it's", "1d");
      if (id.ok()) ids[static_cast<size_t>(i)] = *id;
    });
  }
  for (std::thread& thread : threads) thread.join();
  int made = 0;
  for (const DatasetId& id : ids) {
    EXPECT_EQ(id.dataset_id, 1);
    made += id.is_new ? 1 : 0;
  }
  EXPECT_EQ(made, 1);
  EXPECT_EQ(cache->DatasetOf("it's", "1h")->dataset_id, 2);
  EXPECT_FALSE(cache->DatasetOf("it's", "1d")->is_new);
}

TEST_F(CacheFlightTest, ALookAfterAMissCountsAsAHitOnly) {
  auto cache = Open(Options());
  GetOptions again;
  again.count_miss = false;
  EXPECT_FALSE(cache->Get("key1", again)->has_value());
  EXPECT_EQ(cache->session_stats().miss_count, 0);
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  EXPECT_TRUE(cache->Get("key1", again)->has_value());
  EXPECT_EQ(cache->session_stats().hit_count, 1);
}

TEST_F(CacheFlightTest, AUseThatIsNotedIsCountedAndLinked) {
  auto cache = Open(Options());
  ASSERT_TRUE(cache->Put("key1", bars_).ok());
  ASSERT_TRUE(cache->NoteUse("key1", "bt-1").ok());
  EXPECT_EQ((*cache->Find("key1"))->access_count, 2);
  EXPECT_EQ(*cache->BacktestsOf("key1"), std::vector<std::string>{"bt-1"});
  EXPECT_EQ(cache->session_stats().hit_count, 0);
}

// Uses and sizes are equal: what was dear to fetch stays.
TEST_F(CacheFlightTest, TheCostOfAFetchDecidesUnderGdsf) {
  CacheOptions options = Options();
  options.eviction_policy = EvictionPolicy::kGdsf;
  auto cache = Open(options);
  PutOptions put;
  for (const auto& [key, cost_s] : {std::pair{"dear", 30.0}, {"cheap", 0.5}, {"unknown", 0.0}}) {
    put.fetch_cost_s.reset();
    if (cost_s > 0) put.fetch_cost_s = cost_s;
    ASSERT_TRUE(cache->Put(key, bars_, put).ok());
  }
  const int64_t size = *cache->TotalSizeBytes() / 3;
  ASSERT_TRUE(cache->set_cold_capacity_bytes(2 * size + size / 2).ok());
  EXPECT_EQ(*cache->EvictIfNeeded(), 1);
  EXPECT_FALSE(cache->Find("cheap")->has_value());
  ASSERT_TRUE(cache->set_cold_capacity_bytes(size + size / 2).ok());
  EXPECT_EQ(*cache->EvictIfNeeded(), 1);
  EXPECT_FALSE(cache->Find("unknown")->has_value()) << "it counts as one second";
  EXPECT_TRUE(cache->Find("dear")->has_value());
}

}  // namespace
}  // namespace barcache
