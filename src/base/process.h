// Which process did something, in words that another process of the machine can check.
//
// A number alone would not do: numbers are used again, and in another container the same number is
// another process. So the time at which the process started goes with it, and the machine's boot
// and the namespace in which the number means something.
//
// Thread safety: pure functions of what /proc says.
#pragma once

#include <cstdint>
#include <string>

namespace barcache {

struct ProcessIdentity {
  std::string machine;      // Boot and namespace of process numbers; "" where /proc is missing.
  int64_t pid = 0;          // 0: nobody.
  int64_t start_ticks = 0;  // Since the boot: field 22 of /proc/<pid>/stat.
  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

// Asked anew by each call: a forked child is another process.
ProcessIdentity ThisProcess();

// Whether the process is certainly no more (a zombie is not). False where it cannot be known: a
// process of another machine or container.
bool IsGone(const ProcessIdentity& process);

}  // namespace barcache
