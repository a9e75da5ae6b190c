// Fault: the Nth call of a kind fails, once or from then on, in this process.
//
// The program defines the calls itself (faulty_calls.cc), so that barcache's, SQLite's and the
// standard library's all pass here on their way to the C library. Which errno a kind stands for
// and which calls belong to it: the table there.
//
// Thread safety: Arm and Disarm by one thread; calls of every thread are counted, but "malloc" only
// those of the thread that armed, "malloc-elsewhere" only those of all others.
#pragma once

#include <string>
#include <vector>

namespace barcache::torture {

// Names of the kinds: "enospc", "eio", ..., "malloc", "sql-busy", ....
std::vector<std::string> FaultKinds();

// From now on the nth call of the kind fails (0: none, they are only counted), and with
// `persistent` all after it. Returns false for a kind that is unknown.
bool ArmFault(const std::string& kind, long nth, bool persistent);

struct FaultReport {
  long calls = 0;               // Of this kind since Arm.
  long failed = 0;              // How many of them failed.
  bool failed_removal = false;  // One of those was to remove a file.
};
FaultReport DisarmFault();

}  // namespace barcache::torture
