#include "base/fork.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace barcache {
namespace {

std::vector<std::string> calls;

class Participant final : public ForkParticipant {
 public:
  Participant(std::string name, ForkTurn turn) : name_(std::move(name)) { JoinForks(turn); }
  ~Participant() { LeaveForks(); }
  void BeforeFork() override { calls.push_back("before " + name_); }
  void AfterFork(bool in_child) override {
    calls.push_back((in_child ? "child " : "parent ") + name_);
  }

 private:
  const std::string name_;
};

TEST(ForkTest, ParticipantsAreCalledByTurnAndAge) {
  EXPECT_FALSE(InForkedChild());
  calls.clear();
  {
    const Participant memory("memory", ForkTurn::kMemory);
    const Participant old_state("old", ForkTurn::kState);
    const Participant threads("threads", ForkTurn::kThreads);
    const Participant young_state("young", ForkTurn::kState);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) _exit(InForkedChild() && calls.back() == "child threads" ? 0 : 1);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EXPECT_EQ(calls, (std::vector<std::string>{"before threads", "before young", "before old",
                                             "before memory", "parent memory", "parent old",
                                             "parent young", "parent threads"}));
  EXPECT_FALSE(InForkedChild());
}

}  // namespace
}  // namespace barcache
