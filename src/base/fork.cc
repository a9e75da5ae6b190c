#include "base/fork.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

namespace barcache {
namespace {

struct Registry {
  std::mutex mutex;
  std::vector<ForkParticipant*> participants;  // Guarded by mutex.
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
  for (auto it = registry.participants.rbegin(); it != registry.participants.rend(); ++it) {
    (*it)->BeforeFork();
  }
}

void Resume(bool in_child) {
  Registry& registry = TheRegistry();
  if (in_child && !registry.participants.empty()) registry.in_child = true;
  for (ForkParticipant* participant : registry.participants) participant->AfterFork(in_child);
  registry.mutex.unlock();
}

void InstallHandlers() {
  static std::once_flag once;
  std::call_once(
      once, [] { (void)pthread_atfork(&Prepare, [] { Resume(false); }, [] { Resume(true); }); });
}

}  // namespace

void ForkParticipant::JoinForks() {
  InstallHandlers();
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  registry.participants.push_back(this);
}

void ForkParticipant::LeaveForks() {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  std::erase(registry.participants, this);
}

bool InForkedChild() { return TheRegistry().in_child; }

}  // namespace barcache
