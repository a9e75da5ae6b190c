#include "base/process.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/failpoint.h"
#include "base/file_system.h"

namespace barcache {
namespace {

// The beginning of a file of /proc, "" if it cannot be read.
std::string ReadBeginning(const std::string& path) {
  const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[1024];
  const ssize_t size = fd.valid() ? read(fd.get(), text, sizeof(text)) : -1;
  return size > 0 ? std::string(text, static_cast<size_t>(size)) : std::string();
}

struct ProcessStat {
  char state = '\0';  // '\0': unknown.
  int64_t start_ticks = 0;
};

// proc_pid_stat(5): the name, in brackets, may hold anything; what follows is split by spaces.
ProcessStat ReadStat(int64_t pid) {
  const std::string text = ReadBeginning("/proc/" + std::to_string(pid) + "/stat");
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= text.size()) return ProcessStat{};
  size_t at = name_end + 2;  // Field 3, the state.
  ProcessStat stat;
  stat.state = text[at];
  for (int field = 3; field < 22; ++field) {
    at = text.find(' ', at);
    if (at == std::string::npos) return ProcessStat{};
    ++at;
  }
  stat.start_ticks = std::strtoll(text.c_str() + at, nullptr, 10);
  return stat;
}

std::string ThisMachine() {
  const std::string boot = ReadBeginning("/proc/sys/kernel/random/boot_id");
  char space[64];
  const ssize_t size = readlink("/proc/self/ns/pid", space, sizeof(space));
  if (boot.empty() || size <= 0) return "";
  return boot.substr(0, boot.find('\n')) + "/" + std::string(space, static_cast<size_t>(size));
}

}  // namespace

ProcessIdentity ThisProcess() {
  ProcessIdentity process;
  process.machine = ThisMachine();
  process.pid = getpid();
  process.start_ticks = ReadStat(process.pid).start_ticks;
  return process;
}

bool IsGone(const ProcessIdentity& process) {
  if (process.pid <= 0 || process.machine.empty() || process.machine != ThisMachine()) return false;
  // Where /proc hides processes of other users, kill still tells whether there is one.
  if (kill(static_cast<pid_t>(process.pid), 0) != 0) return errno == ESRCH;
  const ProcessStat stat = ReadStat(process.pid);
  if (stat.state == '\0' || Mutant("number_is_process")) return false;
  return stat.state == 'Z' || stat.state == 'X' || stat.start_ticks != process.start_ticks;
}

}  // namespace barcache
