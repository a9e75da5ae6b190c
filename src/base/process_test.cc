#include "base/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace barcache {
namespace {

TEST(ProcessTest, ThisOneIsThere) {
  const ProcessIdentity self = ThisProcess();
  EXPECT_EQ(self.pid, getpid());
  EXPECT_GT(self.start_ticks, 0);
  EXPECT_FALSE(self.machine.empty());
  EXPECT_FALSE(IsGone(self));
  EXPECT_EQ(self, ThisProcess());
}

TEST(ProcessTest, ANumberUsedAgainIsAnotherProcess) {
  ProcessIdentity earlier = ThisProcess();
  --earlier.start_ticks;
  EXPECT_TRUE(IsGone(earlier));
}

TEST(ProcessTest, OfAnotherMachineNothingIsKnown) {
  ProcessIdentity elsewhere = ThisProcess();
  --elsewhere.start_ticks;
  elsewhere.machine += "x";
  EXPECT_FALSE(IsGone(elsewhere));
  EXPECT_FALSE(IsGone(ProcessIdentity{}));
}

TEST(ProcessTest, AKilledChildIsGoneBeforeAndAfterItIsWaitedFor) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (;;) pause();
  }
  ProcessIdentity there = ThisProcess();
  there.pid = child;
  // It started when its stat says so: found by asking, since only the child can call ThisProcess.
  for (int64_t ticks = 0; IsGone(there) && ticks < 1'000'000; ++ticks) ++there.start_ticks;
  EXPECT_FALSE(IsGone(there));
  ASSERT_EQ(kill(child, SIGKILL), 0);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(IsGone(there)) << "a zombie";
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(IsGone(there));
}

}  // namespace
}  // namespace barcache
