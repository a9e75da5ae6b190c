#include "base/failpoint.h"

#ifdef BARCACHE_TEST_BUILD

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <string_view>

namespace barcache {
namespace {

struct Plan {
  std::string name;
  long nth = 0;  // 0: never.
  int signal = 0;
};

std::string Variable(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? "" : value;
}

// A plan that does not parse ends the test at once: a typing error must not look like a pass.
Plan ReadPlan() {
  const std::string text = Variable("BARCACHE_FAILPOINT");
  if (text.empty()) return {};
  const size_t first = text.find(':');
  const size_t second = first == std::string::npos ? first : text.find(':', first + 1);
  if (second == std::string::npos) ::abort();
  Plan plan;
  plan.name = text.substr(0, first);
  plan.nth = ::strtol(text.c_str() + first + 1, nullptr, 10);
  const std::string action = text.substr(second + 1);
  if (plan.nth < 1 || (action != "kill" && action != "stop")) ::abort();
  plan.signal = action == "kill" ? SIGKILL : SIGSTOP;
  return plan;
}

void WriteLine(const std::string& path, const std::string& line) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const std::string text = line + "\n";
  if (fd < 0 || ::write(fd, text.data(), text.size()) < 0) ::abort();
  ::close(fd);
}

}  // namespace

void Failpoint(const char* name) {
  static const Plan plan = ReadPlan();
  static const std::string passed_path = Variable("BARCACHE_FAILPOINTS_PASSED");
  if (!passed_path.empty()) WriteLine(passed_path, name);
  static std::atomic<long> passed{0};
  if (plan.nth == 0 || (plan.name != "*" && plan.name != name)) return;
  if (passed.fetch_add(1) + 1 == plan.nth) ::raise(plan.signal);
}

bool Mutant(const char* name) {
  static const std::string chosen = Variable("BARCACHE_MUTANT");
  return !chosen.empty() && chosen == name;
}

}  // namespace barcache

#endif
