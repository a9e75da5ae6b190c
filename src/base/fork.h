// ForkParticipant: an object that must be quiet while the process forks.
//
// pthread_atfork handlers, installed once, call every living participant: before the fork in
// reverse order of construction, after it (in parent and child) in order of construction. The
// list of participants is the one piece of process-wide state in barcache: fork is process-wide.
//
// Thread safety: construction and destruction may happen on any thread; a fork waits for them.
#pragma once

namespace barcache {

class ForkParticipant {
 public:
  ForkParticipant(const ForkParticipant&) = delete;
  ForkParticipant& operator=(const ForkParticipant&) = delete;

  // Finishes what runs, takes every lock of the object, closes what must not be inherited.
  // Must not wait for anything that the forking thread may hold (the GIL).
  virtual void BeforeFork() = 0;
  // Releases the locks; in the child, threads are gone.
  virtual void AfterFork(bool in_child) = 0;

 protected:
  ForkParticipant() = default;
  ~ForkParticipant() = default;

  // To be called at the end of the derived constructor and at the start of its destructor.
  void JoinForks();
  void LeaveForks();
};

// True in a process that was forked while a participant lived, and in its children.
bool InForkedChild();

}  // namespace barcache
