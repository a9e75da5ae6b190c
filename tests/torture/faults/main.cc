// failing-calls: every call of an operation fails in turn, and the cache must take it.
//
//   failing-calls --list 1
//       prints a line for each operation and each kind of fault.
//   failing-calls --operation NAME --kind KIND --place DIR [--most N] [--seed N] [--nth N]
//                 [--persistent 0|1]
//       A trial for each call of that kind that the operation makes, twice: that call fails alone,
//       or it and all after it. With more calls than --most a sample of them. --nth N: that one.
//
// Each trial is announced on stdout before it begins ("trial 17 once"), so that whoever runs this
// knows which one ended the process; then "broken ..." lines; at the end "trials N faults N".
// Exit code 0: nothing broken, 1: something, 2: could not run.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "torture/faults/fault.h"
#include "torture/faults/trial.h"

namespace barcache::torture {
namespace {

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

int RunAll(const Options& options, const Operation& operation) {
  const std::string kind = Text(options, "kind", "");
  const Prepared prepared(Text(options, "place", "/tmp"));
  const long only = Number(options, "nth", 0);
  long trials = 0;
  long faults = 0;
  bool broken = false;
  const auto run = [&](long nth, bool persistent) {
    std::printf("trial %ld %s\n", nth, persistent ? "persistent" : "once");
    std::fflush(stdout);
    const TrialResult result = RunTrial(prepared, operation, kind, nth, persistent);
    for (const std::string& text : result.broken) {
      std::printf("broken %s\n", text.c_str());
      broken = true;
    }
    trials += nth > 0 ? 1 : 0;
    faults += result.failed;
    return result.calls;
  };
  if (only > 0) {
    run(only, Number(options, "persistent", 0) != 0);
  } else {
    const long calls = run(0, false);
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
