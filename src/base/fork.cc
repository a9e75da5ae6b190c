#include "base/fork.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "base/mutex.h"

namespace barcache {
namespace {

struct Member {
  ForkTurn turn;
  ForkParticipant* participant;
};

struct Registry {
  Mutex mutex;
  // By turn; within one, the youngest first.
  std::vector<Member> members BARCACHE_GUARDED_BY(mutex);
  std::atomic<bool> in_child{false};
};

// Never destroyed: a fork may come at any moment of the process's end.
Registry& TheRegistry() {
  static Registry* registry = new Registry;
  return *registry;
}

// Locked by Prepare and unlocked by Resume, on both sides of the fork.
void Prepare() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  Registry& registry = TheRegistry();
  registry.mutex.lock();
  for (const Member& member : registry.members) member.participant->BeforeFork();
}

void Resume(bool in_child) BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
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
  const MutexLock lock(registry.mutex);
  const auto place = std::find_if(registry.members.begin(), registry.members.end(),
                                  [&](const Member& member) { return member.turn >= turn; });
  registry.members.insert(place, Member{turn, this});
}

void ForkParticipant::LeaveForks() {
  Registry& registry = TheRegistry();
  const MutexLock lock(registry.mutex);
  std::erase_if(registry.members, [&](const Member& member) { return member.participant == this; });
}

bool InForkedChild() { return TheRegistry().in_child; }

}  // namespace barcache
