// ForkParticipant: an object that must be quiet while the process forks.
//
// pthread_atfork handlers, installed once, call every living participant: before the fork by
// their turn and, within a turn, the youngest first; after it (in parent and child) in the
// opposite order. The list of participants is process-wide because fork is.
//
// Thread safety: construction and destruction may happen on any thread; a fork waits for them.
#pragma once

namespace barcache {

// Who is made quiet first: threads that work for others may be in the middle of a call into
// state, and state may allocate memory until it is locked itself.
enum class ForkTurn { kThreads, kState, kMemory };

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
  void JoinForks(ForkTurn turn = ForkTurn::kState);
  void LeaveForks();
};

// True in a process that was forked while a participant lived, and in its children.
bool InForkedChild();

}  // namespace barcache
