#include "base/failpoint.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

namespace barcache {
namespace {

#ifdef BARCACHE_TEST_BUILD

TEST(FailpointTest, KillsAtTheNthPass) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ::setenv("BARCACHE_FAILPOINT", "here:2:kill", 1);
        Failpoint("elsewhere");
        Failpoint("here");
        Failpoint("elsewhere");
        Failpoint("here");
        ::exit(0);
      },
      testing::KilledBySignal(SIGKILL), "");
  EXPECT_EXIT(
      {
        ::setenv("BARCACHE_FAILPOINT", "here:2:kill", 1);
        Failpoint("here");
        ::exit(0);
      },
      testing::ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        ::setenv("BARCACHE_FAILPOINT", "here:x:kill", 1);
        Failpoint("here");
        ::exit(0);
      },
      testing::KilledBySignal(SIGABRT), "");
}

TEST(FailpointTest, OneMutantIsChosenByName) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ::setenv("BARCACHE_MUTANT", "no_sync", 1);
        ::exit(Mutant("no_sync") && !Mutant("no_lock") ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

#else

TEST(FailpointTest, OtherBuildsHaveNone) {
  ::setenv("BARCACHE_FAILPOINT", "here:1:kill", 1);
  ::setenv("BARCACHE_MUTANT", "no_sync", 1);
  Failpoint("here");
  static_assert(!Mutant("no_sync"));
  ::unsetenv("BARCACHE_FAILPOINT");
  ::unsetenv("BARCACHE_MUTANT");
}

#endif

}  // namespace
}  // namespace barcache
