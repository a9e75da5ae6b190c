#include "cache/flight_board.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <new>
#include <vector>

#include "base/test_directory.h"

namespace barcache {
namespace {

constexpr int64_t kLeaseMs = 10'000;
constexpr int64_t kLeaseNs = kLeaseMs * 1'000'000;

class FlightBoardTest : public testing::Test {
 protected:
  struct Party {
    std::unique_ptr<Catalog> catalog;
    std::vector<Status> reported;
    std::unique_ptr<FlightBoard> board;
  };

  // Another user of the same catalog; all go by one clock, whose hands the test turns.
  std::unique_ptr<Party> Join(bool shared = true) {
    auto party = std::make_unique<Party>();
    CatalogOptions options;
    options.db_path = directory_.path() + "/metadata.db";
    options.busy_timeout_ms = 500;
    auto catalog = Catalog::Open(options, &clock_);
    EXPECT_TRUE(catalog.ok()) << catalog.status().ToString();
    party->catalog = std::move(*catalog);
    party->board =
        std::make_unique<FlightBoard>(party->catalog.get(), &clock_, kLeaseMs, shared,
                                      [raw = party.get()](std::string_view, const Status& error) {
                                        raw->reported.push_back(error);
                                      });
    return party;
  }

  static std::vector<LeaseRow> Rows(const Party& party, const std::string& name = "f") {
    return party.catalog->Leases(name).value();
  }

  // Makes the lease of the name that of a process which is no more, or cannot be asked after.
  void Rewrite(Party* party, const ProcessIdentity& holder, int64_t expires_ns) {
    auto rows = Rows(*party);
    ASSERT_EQ(rows.size(), 1u);
    auto writer = party->catalog->BeginWrite();
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->EndLease("f", rows[0].token).ok());
    rows[0].token = "another";
    rows[0].holder = holder;
    rows[0].expires_ns = expires_ns;
    ASSERT_TRUE(writer->AddLease(rows[0]).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }

  static ProcessIdentity Elsewhere() { return ProcessIdentity{"another machine", 1, 1}; }

  TestDirectory directory_;
  ManualClock clock_{1'700'000'000LL * 1'000'000'000};
};

TEST_F(FlightBoardTest, TheFirstLeadsAndTheOthersWaitUntilItLands) {
  auto a = Join();
  auto b = Join();
  auto leader = a->board->Begin("f");
  EXPECT_EQ(leader->state(), FlightState::kLeading);
  auto waiter = b->board->Begin("f");
  EXPECT_EQ(waiter->Poll(), FlightState::kWaiting);
  EXPECT_EQ(b->board->Begin("another")->state(), FlightState::kLeading);
  EXPECT_EQ(Rows(*a).at(0).holder, ThisProcess());
  EXPECT_EQ(Rows(*a).at(0).expires_ns, clock_.WallNs() + kLeaseNs);
  leader->Land();
  EXPECT_EQ(leader->state(), FlightState::kLanded);
  EXPECT_EQ(waiter->Poll(), FlightState::kLanded);
  EXPECT_TRUE(Rows(*a).empty());
  EXPECT_EQ(b->board->Begin("f")->state(), FlightState::kLeading);
  EXPECT_TRUE(a->reported.empty() && b->reported.empty());
}

TEST_F(FlightBoardTest, AFailureIsToldToThoseWhoWaitAndToNobodyElse) {
  auto a = Join();
  auto b = Join();
  auto leader = a->board->Begin("f");
  auto waiter = b->board->Begin("f");
  leader->Fail({"ValueError", std::string(4095, 'x') + "\xC3\xA9"});
  leader->Land();  // No effect any more.
  EXPECT_EQ(leader->state(), FlightState::kFailed);
  auto newcomer = b->board->Begin("f");
  EXPECT_EQ(newcomer->state(), FlightState::kLeading);
  EXPECT_EQ(waiter->Poll(), FlightState::kFailed) << "though somebody leads again";
  EXPECT_EQ(waiter->error().type, "ValueError");
  EXPECT_EQ(waiter->error().message, std::string(4095, 'x')) << "cut between two characters";
  EXPECT_EQ(newcomer->state(), FlightState::kLeading);
  newcomer->Land();
  clock_.Advance(61LL * 1'000'000'000);
  b->board->Begin("another")->Land();
  EXPECT_TRUE(Rows(*a).empty()) << "swept";
}

TEST_F(FlightBoardTest, OneThatIsDroppedLands) {
  auto a = Join();
  auto b = Join();
  auto leader = a->board->Begin("f");
  auto waiter = b->board->Begin("f");
  leader.reset();
  EXPECT_EQ(waiter->Poll(), FlightState::kLanded);
}

TEST_F(FlightBoardTest, WhoWaitsForOneThatWasTakenOverWaitsForWhoTookIt) {
  auto a = Join();
  auto b = Join();
  auto c = Join();
  auto stopped = a->board->Begin("f");
  auto first = b->board->Begin("f");
  auto second = c->board->Begin("f");
  a->board->StopForFork();  // Its thread renews nothing.
  a->board->LockForFork();
  clock_.Advance(kLeaseNs);
  a->board->UnlockAfterFork(false);
  // Whoever looks first takes over, unless the holder was quicker to renew.
  while (first->Poll() == FlightState::kWaiting) clock_.Advance(kLeaseNs);
  ASSERT_EQ(first->state(), FlightState::kLeading);
  EXPECT_EQ(second->Poll(), FlightState::kWaiting);
  stopped->Land();  // Wakes up late: the lease is not its own any more.
  EXPECT_EQ(second->Poll(), FlightState::kWaiting);
  first->Land();
  EXPECT_EQ(second->Poll(), FlightState::kLanded);
}

TEST_F(FlightBoardTest, AHolderWhoseProcessIsGoneIsTakenOverAtOnce) {
  auto a = Join();
  auto leader = a->board->Begin("f");
  ProcessIdentity gone = ThisProcess();
  --gone.start_ticks;  // The same number, used again since.
  Rewrite(a.get(), gone, clock_.WallNs() + kLeaseNs);
  EXPECT_EQ(Join()->board->Begin("f")->state(), FlightState::kLeading);
}

TEST_F(FlightBoardTest, AHolderThatCannotBeAskedAfterIsTakenOverWhenItsLeaseIsPast) {
  auto a = Join();
  auto leader = a->board->Begin("f");
  Rewrite(a.get(), Elsewhere(), clock_.WallNs() + kLeaseNs);
  auto waiter = a->board->Begin("f");
  clock_.Advance(kLeaseNs - 1);
  EXPECT_EQ(waiter->Poll(), FlightState::kWaiting);
  clock_.Advance(1);
  EXPECT_EQ(waiter->Poll(), FlightState::kLeading);
}

TEST_F(FlightBoardTest, AClockThatWasSetBackHoldsNobodyUpForLonger) {
  auto a = Join();
  auto leader = a->board->Begin("f");
  Rewrite(a.get(), Elsewhere(), clock_.WallNs() + 3600LL * 1'000'000'000);
  auto waiter = a->board->Begin("f");
  clock_.Advance(kLeaseNs - 1);
  EXPECT_EQ(waiter->Poll(), FlightState::kWaiting);
  clock_.Advance(1);
  EXPECT_EQ(waiter->Poll(), FlightState::kLeading);
}

TEST_F(FlightBoardTest, ALeaseThatIsRenewedHolds) {
  auto a = Join();
  auto leader = a->board->Begin("f");
  Rewrite(a.get(), Elsewhere(), clock_.WallNs() + kLeaseNs);
  auto waiter = a->board->Begin("f");
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(kLeaseNs - 1);
    auto writer = a->catalog->BeginWrite();
    ASSERT_TRUE(writer->RenewLease("f", "another", clock_.WallNs() + kLeaseNs).value());
    ASSERT_TRUE(writer->Commit().ok());
    EXPECT_EQ(waiter->Poll(), FlightState::kWaiting);
  }
}

TEST_F(FlightBoardTest, TheBackgroundThreadRenewsWhatLeads) {
  auto a = Join();
  auto leader = a->board->Begin("f");
  clock_.Advance(kLeaseNs / 2);
  const int64_t wanted_ns = clock_.WallNs() + kLeaseNs;
  constexpr int kPauses = 1000;  // Of 10 ms: it looks every 833 ms.
  for (int i = 0; i < kPauses && Rows(*a).at(0).expires_ns != wanted_ns; ++i) usleep(10'000);
  EXPECT_EQ(Rows(*a).at(0).expires_ns, wanted_ns);
}

TEST_F(FlightBoardTest, AChildOfAForkHoldsNothing) {
  auto a = Join();
  auto leader = a->board->Begin("f");
  const auto before = [&] {
    a->board->StopForFork();
    a->catalog->BeforeFork();
    a->board->LockForFork();
  };
  const auto after = [&](bool in_child) {
    a->catalog->AfterFork(in_child);
    a->board->UnlockAfterFork(in_child);
  };
  before();
  const pid_t child = fork();
  after(child == 0);
  ASSERT_GE(child, 0);
  if (child == 0) {
    leader->Land();
    auto own = a->board->Begin("f");
    _exit(own->state() == FlightState::kWaiting ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "the child took its parent's lease for its own, or ended it";
  EXPECT_EQ(Rows(*a).size(), 1u);
  leader->Land();
  EXPECT_TRUE(Rows(*a).empty());
}

TEST_F(FlightBoardTest, ClosingEndsItsLeasesAndLaterEverybodyLeadsAlone) {
  auto a = Join();
  auto b = Join();
  auto leader = a->board->Begin("f");
  auto waiter = b->board->Begin("f");
  a->board->Close();
  EXPECT_EQ(waiter->Poll(), FlightState::kLanded);
  auto again = b->board->Begin("f");
  leader->Land();
  EXPECT_EQ(Rows(*b).size(), 1u) << "a late Land ends nobody else's";
  EXPECT_EQ(a->board->Begin("f")->state(), FlightState::kLeading);
  EXPECT_EQ(Rows(*b).size(), 1u);
}

TEST_F(FlightBoardTest, WhereNothingIsSharedEverybodyLeads) {
  auto a = Join(false);
  auto first = a->board->Begin("f");
  auto second = a->board->Begin("f");
  EXPECT_EQ(first->state(), FlightState::kLeading);
  EXPECT_EQ(second->state(), FlightState::kLeading);
  EXPECT_TRUE(Rows(*a).empty());
}

TEST_F(FlightBoardTest, ACatalogThatCannotBeWrittenStopsNoFlight) {
  auto a = Join();
  auto b = Join();
  auto blocker = b->catalog->BeginWrite();  // Beyond the time-out of the other.
  ASSERT_TRUE(blocker.ok());
  EXPECT_EQ(a->board->Begin("f")->state(), FlightState::kLeading);
  ASSERT_EQ(a->reported.size(), 1u);
  EXPECT_EQ(a->reported[0].code(), ErrorCode::kBusy);
}

TEST_F(FlightBoardTest, WantOfMemoryEndsNeitherTheProcessNorTheRenewals) {
  auto a = Join();
  auto b = Join();
  std::atomic<int> reports{0};
  FlightBoard board(a->catalog.get(), &clock_, 120, true, [&](std::string_view, const Status&) {
    ++reports;
    throw std::bad_alloc();
  });
  auto flight = board.Begin("f");
  ASSERT_EQ(Rows(*b).size(), 1u);
  const int64_t before_ns = Rows(*b)[0].expires_ns;
  {
    auto blocker = b->catalog->BeginWrite();
    ASSERT_TRUE(blocker.ok());
    clock_.Advance(60'000'000);  // Time to renew, on the board's own thread.
    for (int i = 0; i < 10'000 && reports == 0; ++i) ::usleep(1000);
    EXPECT_EQ(reports, 1);
  }
  clock_.Advance(60'000'000);
  for (int i = 0; i < 10'000 && Rows(*b)[0].expires_ns == before_ns; ++i) ::usleep(1000);
  EXPECT_GT(Rows(*b)[0].expires_ns, before_ns);
  auto blocker = b->catalog->BeginWrite();
  flight.reset();  // A destructor that could not end the lease.
  EXPECT_GE(reports, 2);
}

}  // namespace
}  // namespace barcache
