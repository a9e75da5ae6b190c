#include "base/fork.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

namespace barcache {
namespace {

struct Member {
  ForkTurn turn;
  ForkParticipant* participant;
};

struct Registry {
  std::mutex mutex;
  std::vector<Member> members;  // Guarded by mutex. By turn; within one, the youngest first.
  std::atomic<bool> in_child{false};
};

// Never destroyed: a fork may come at any moment of the process's end.
Registry& TheRegistry() {
  static Registry* registry = new Registry;
  return *registry;
}

void Prepare() {
  Registry& registry = TheRegistry();
  registry.mutex.lock();
  for (const Member& member : registry.members) member.participant->BeforeFork();
}

void Resume(bool in_child) {
  Registry& registry = TheRegistry();
  if (in_child && !registry.members.empty()) registry.in_child = true;
  for (auto it = registry.members.rbegin(); it != registry.members.rend(); ++it) {
    it->participant->AfterFork(in_child);
  }
  registry.mutex.unlock();
}

void InstallHandlers() {
  static std::once_flag once;
  std::call_once(
      once, [] { (void)pthread_atfork(&Prepare, [] { Resume(false); }, [] { Resume(true); }); });
}

}  // namespace

void ForkParticipant::JoinForks(ForkTurn turn) {
  InstallHandlers();
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  const auto place = std::find_if(registry.members.begin(), registry.members.end(),
                                  [&](const Member& member) { return member.turn >= turn; });
  registry.members.insert(place, Member{turn, this});
}

void ForkParticipant::LeaveForks() {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  std::erase_if(registry.members, [&](const Member& member) { return member.participant == this; });
}

bool InForkedChild() { return TheRegistry().in_child; }

}  // namespace barcache
