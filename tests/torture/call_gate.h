// CallGate: a forked child that is stopped at its nth system call that changes something outside
// it.
//
// The kernel hands every such call of the child, whatever thread made it, to this process before it
// is carried out (seccomp user notification, Linux 5.9), which counts it and lets it pass, or ends
// the child instead. Counted are writes, syncs, truncations, names made, changed or removed, opens
// that may write, and file locks.
#pragma once

#include <linux/seccomp.h>
#include <sys/types.h>

#include <functional>
#include <string>

namespace barcache::torture {

struct ChildEnd {
  bool interrupted = false;  // By the gate; else it ended by itself.
  int exit_code = -1;        // -1: ended by a signal.
  int signal = 0;
  long calls = 0;  // Counted until it ended.
};

// Runs `work` in a child; its value is the exit code. `seconds`: it is ended by SIGALRM then.
ChildEnd RunChild(const std::function<int()>& work, unsigned seconds = 60);

// Sees a counted call before it is carried out, and the thread that makes it, which waits
// meanwhile.
using CallObserver = std::function<void(pid_t thread, const seccomp_data& call)>;

// The same; before its nth counted call (from 1; 0: never) is carried out the child gets `signal`,
// which must end it.
ChildEnd RunGated(const std::function<int()>& work, long nth, int signal, unsigned seconds = 60,
                  const CallObserver& observe = nullptr);

// "" or why this machine cannot do RunGated.
std::string WhyNoGate();

// Text that a child leaves to its parent, also when it is killed.
class SharedText {
 public:
  SharedText();
  ~SharedText();
  SharedText(const SharedText&) = delete;
  SharedText& operator=(const SharedText&) = delete;
  void Clear();
  void AddLine(const std::string& line);  // What does not fit is left out.
  std::string text() const;

 private:
  static constexpr size_t kSize = 1 << 16;
  char* memory_;
};

}  // namespace barcache::torture
