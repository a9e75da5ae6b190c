// failing-calls: every call of an operation fails in turn, and the cache must take it.
//
//   failing-calls --list 1
//       prints a line for each operation and each kind of fault.
//   failing-calls --operation NAME --kind KIND --place DIR [--most N] [--seed N] [--nth N]
//                 [--persistent 0|1]
//       A trial for each call of that kind that the operation makes, twice: that call fails alone,
//       or it and all after it. With more calls than --most a sample of them. --nth N: that one.
//
// Each trial is a process of its own. It is announced on stdout before it begins ("trial 17 once");
// then "broken ..." lines; at the end "trials N faults N".
// Exit code 0: nothing broken, 1: something, 2: could not run.

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <new>
#include <random>
#include <string>

#include "torture/faults/fault.h"
#include "torture/faults/trial.h"

namespace barcache::torture {
namespace {

constexpr long kCallsElsewhere = 30;
constexpr unsigned kHangsAfterSeconds = 60;

using Options = std::map<std::string, std::string>;

std::string Text(const Options& options, const std::string& name, const std::string& fallback) {
  const auto found = options.find(name);
  return found == options.end() ? fallback : found->second;
}

long Number(const Options& options, const std::string& name, long fallback) {
  return std::strtol(Text(options, name, std::to_string(fallback)).c_str(), nullptr, 10);
}

// Which of `calls` calls are tried: all, or as many as `most` allows, spread with a random start.
std::vector<long> Chosen(long calls, long most, unsigned seed) {
  std::vector<long> chosen;
  if (calls <= most) {
    for (long nth = 1; nth <= calls; ++nth) chosen.push_back(nth);
    return chosen;
  }
  std::mt19937 dice(seed);
  const double stride = static_cast<double>(calls) / static_cast<double>(most);
  const double start = std::uniform_real_distribution<double>(0, stride)(dice);
  for (long i = 0; i < most; ++i) {
    chosen.push_back(1 + static_cast<long>(start + static_cast<double>(i) * stride));
  }
  return chosen;
}

// Runs work in a child, which then ends without any clean-up; "" or how it ended otherwise. A
// process of its own meets each fault as if it were its first call.
std::string RunApart(const std::function<void()>& work) {
  std::fflush(stdout);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return "could not fork";
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::alarm(kHangsAfterSeconds);
    work();
    std::fflush(stdout);
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (status == 0) return "";
  if (WIFSIGNALED(status)) return "ended by signal " + std::to_string(WTERMSIG(status));
  return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

// What a child leaves to its parent.
struct Counts {
  long calls = 0;
  long failed = 0;
  bool broken = false;
};

class Shared {
 public:
  Shared() {
    void* memory =
        ::mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    counts_ = new (memory) Counts;
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(counts_, sizeof(Counts)); }
  Counts& operator*() const { return *counts_; }
  Counts* operator->() const { return counts_; }

 private:
  Counts* counts_;
};

int RunAll(const Options& options, const Operation& operation) {
  const std::string kind = Text(options, "kind", "");
  const std::string place = Text(options, "place", "");
  if (place.empty()) {
    std::fprintf(stderr, "failing-calls: --place is missing: a folder to be filled and emptied\n");
    return 2;
  }
  const Prepared prepared(place);
  const std::string why = RunApart([&] { prepared.Make(); });
  if (!why.empty()) {
    std::fprintf(stderr, "failing-calls: preparing %s\n", why.c_str());
    return 2;
  }
  const long only = Number(options, "nth", 0);
  long trials = 0;
  long faults = 0;
  bool broken = false;
  const auto run = [&](long nth, bool persistent) {
    std::printf("trial %ld %s\n", nth, persistent ? "persistent" : "once");
    const Shared counts;
    const std::string end = RunApart([&] {
      const TrialResult result = RunTrial(prepared, operation, kind, nth, persistent);
      for (const std::string& text : result.broken) std::printf("broken %s\n", text.c_str());
      *counts = {result.calls, result.failed, !result.broken.empty()};
    });
    if (!end.empty()) std::printf("broken the process %s\n", end.c_str());
    broken = broken || counts->broken || !end.empty();
    trials += nth > 0 ? 1 : 0;
    faults += counts->failed;
    return counts->calls;
  };
  if (only > 0) {
    run(only, Number(options, "persistent", 0) != 0);
  } else {
    long calls = run(0, false);
    // Whether another thread was free to help is chance.
    if (kind == "malloc-elsewhere") calls = std::max(calls, kCallsElsewhere);
    const auto seed = static_cast<unsigned>(Number(options, "seed", 1));
    for (const bool persistent : {false, true}) {
      const long most = std::max(1L, Number(options, "most", 1'000'000));
      for (const long nth : Chosen(calls, most, seed)) run(nth, persistent);
    }
  }
  std::printf("trials %ld faults %ld\n", trials, faults);
  return broken ? 1 : 0;
}

int Main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) options[std::string(argv[i]).substr(2)] = argv[i + 1];
  if (options.contains("list")) {
    for (const Operation& operation : Operations()) std::printf("operation %s\n", operation.name);
    for (const std::string& kind : FaultKinds()) std::printf("kind %s\n", kind.c_str());
    return 0;
  }
  for (const Operation& operation : Operations()) {
    if (Text(options, "operation", "") == operation.name) return RunAll(options, operation);
  }
  std::fprintf(stderr, "failing-calls: --operation and --kind, see --list 1\n");
  return 2;
}

}  // namespace
}  // namespace barcache::torture

int main(int argc, char** argv) { return barcache::torture::Main(argc, argv); }
