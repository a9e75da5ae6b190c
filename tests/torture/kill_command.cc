// torture kills: one scenario, one durability, killed at every moment of one kind.
//
//   torture kills --folder F --scenario put --durability full --kind calls
//
// --kind calls: before each system call of call_gate.h; failpoints: at each failpoint passed.
// --survivor 1: another process has the cache open all the while, its frames in memory.
// --signal term: SIGTERM instead of SIGKILL.
// --nested N: after every Nth kill also the verifying process is killed at each of its moments.
// --at A [--inner B]: only the Ath moment [and only the Bth moment of its recovery].
// --stride S --offset O: only every Sth moment, from O on.
//
// Prints "count WHAT NUMBER" lines, and for each broken promise "broken", what, and the options
// that show it again, separated by tabs.
//
// torture failpoints --folder F: prints the name of each failpoint that a scenario passes.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include "catalog/catalog.h"
#include "torture/call_gate.h"
#include "torture/command.h"
#include "torture/scenario.h"
#include "torture/verify.h"

namespace barcache::torture {
namespace {

namespace fs = std::filesystem;

constexpr long kTakenOverVersion = 77;

enum class Kind { kCalls, kFailpoints };

class KillSweep {
 public:
  explicit KillSweep(const Options& options)
      : options_(options),
        scenario_(FindScenario(Text(options, "scenario"))),
        durability_(Text(options, "durability", "normal") == "full" ? Durability::kFull
                                                                    : Durability::kNormal),
        kind_(Text(options, "kind", "calls") == "failpoints" ? Kind::kFailpoints : Kind::kCalls),
        signal_(Text(options, "signal", "kill") == "term" ? SIGTERM : SIGKILL),
        has_survivor_(Number(options, "survivor", 0) != 0),
        root_(Text(options, "folder")) {}

  int Run() {
    if (scenario_ == nullptr) {
      std::fprintf(stderr, "torture: no scenario %s\n", Text(options_, "scenario").c_str());
      return 2;
    }
    if (!Prepare()) return 2;
    const long only = Number(options_, "at", 0);
    const long stride = Number(options_, "stride", 1);
    const long nested = Number(options_, "nested", 0);
    long at = only > 0 ? only : Number(options_, "offset", 1);
    for (; KillAt(at); at += stride) {
      ++kills_;
      const long inner = Number(options_, "inner", 0);
      if (inner > 0 || (nested > 0 && kills_ % nested == 0)) KillRecovery(at, inner);
      if (only > 0) break;
    }
    std::printf("count kills %ld\ncount kills during recovery %ld\n", kills_, recovery_kills_);
    return broken_ == 0 ? 0 : 1;
  }

  // The names of the failpoints that the scenario passes.
  std::set<std::string> Passed() {
    std::set<std::string> names;
    if (!Prepare()) return names;
    Copy("template", "live");
    fs::remove(Folder("passed"));
    (void)RunChild([&] {
      ::setenv("BARCACHE_FAILPOINTS_PASSED", Folder("passed").c_str(), 1);
      return Work();
    });
    std::ifstream passed(Folder("passed"));
    for (std::string name; std::getline(passed, name);) names.insert(name);
    return names;
  }

 private:
  std::string Folder(const std::string& name) const { return root_ + "/" + name; }
  std::string LogOf(const std::string& name) const { return root_ + "/" + name + ".log"; }

  // The folder "template" and its log.
  bool Prepare() {
    fs::remove_all(Folder("template"));
    for (const std::string& file : {LogOf("template"), Folder("original")}) fs::remove(file);
    fs::create_directories(Folder("template"));
    const ChildEnd end = RunChild([&] {
      Worker worker(Folder("template"), durability_, LogOf("template"));
      if (scenario_->prepare != nullptr) scenario_->prepare(worker, Folder("template"));
      return 0;
    });
    if (end.exit_code != 0) std::fprintf(stderr, "torture: could not prepare\n");
    for (const auto& file : fs::recursive_directory_iterator(Folder("template"))) {
      if (file.path().extension() == ".parquet") limit_bytes_ += fs::file_size(file.path());
    }
    if (scenario_->traits.rebuilds && fs::exists(CatalogOf("template"))) {
      fs::copy_file(CatalogOf("template"), Folder("original"),
                    fs::copy_options::overwrite_existing);
    }
    return end.exit_code == 0;
  }

  std::string CatalogOf(const std::string& name) const { return Folder(name) + "/metadata.db"; }

  int Work() {
    Worker worker(Folder("live"), durability_, LogOf("live"));
    scenario_->work(worker);
    return 0;
  }

  void Copy(const std::string& from, const std::string& to) {
    fs::remove_all(Folder(to));
    fs::copy(Folder(from), Folder(to), fs::copy_options::recursive);
    fs::remove(LogOf(to));
    if (fs::exists(LogOf(from))) fs::copy_file(LogOf(from), LogOf(to));
  }

  // Runs `work` and kills it at its nth moment.
  ChildEnd Interrupt(const std::function<int()>& work, long nth) const {
    if (kind_ == Kind::kCalls) return RunGated(work, nth, signal_);
    ChildEnd end = RunChild([&] {
      const std::string plan = "*:" + std::to_string(nth) + ":kill";
      ::setenv("BARCACHE_FAILPOINT", plan.c_str(), 1);
      return work();
    });
    end.interrupted = end.signal == SIGKILL;
    return end;
  }

  // True if there was such a moment.
  bool KillAt(long nth) {
    Copy("template", "live");
    const pid_t survivor = has_survivor_ ? StartSurvivor() : 0;
    const ChildEnd end = Interrupt([&] { return Work(); }, nth);
    if (!end.interrupted && end.exit_code != 0) {
      Break("the worker failed: exit code " + std::to_string(end.exit_code) + ", signal " +
                std::to_string(end.signal),
            nth, 0);
    }
    if (survivor != 0) EndSurvivor(survivor, nth);
    Copy("live", "killed");
    VerifyFolder("live", nth, 0);
    return end.interrupted;
  }

  VerifyPlan PlanFor(const std::string& name) const {
    VerifyPlan plan;
    plan.folder = Folder(name);
    plan.log = LogOf(name);
    plan.durability = durability_;
    plan.limit_bytes = scenario_->traits.evicts ? limit_bytes_ : 0;
    plan.has_bad_files = scenario_->traits.has_bad_files;
    plan.rebuilds = scenario_->traits.rebuilds;
    if (scenario_->traits.rebuilds && fs::exists(Folder("original")))
      plan.original = Folder("original");
    plan.flies = scenario_->traits.flies;
    return plan;
  }

  void VerifyFolder(const std::string& name, long nth, long inner) {
    report_.Clear();
    const ChildEnd end = RunChild([&] {
      for (const std::string& line : Verify(PlanFor(name))) report_.AddLine(line);
      return 0;
    });
    if (end.exit_code != 0)
      report_.AddLine("the verifier died of signal " + std::to_string(end.signal));
    BreakAll(nth, inner);
  }

  // Kills who verifies what the nth kill left, at each of its moments, and verifies then.
  void KillRecovery(long nth, long only) {
    for (long inner = only > 0 ? only : 1;; ++inner) {
      Copy("killed", "again");
      const ChildEnd end = Interrupt(
          [&] {
            VerifyPlan plan = PlanFor("again");
            plan.probes = false;
            (void)Verify(plan);
            return 0;
          },
          inner);
      VerifyFolder("again", nth, inner);
      if (!end.interrupted) return;
      ++recovery_kills_;
      if (only > 0) return;
    }
  }

  // A process with every entry in memory, that looks again when it is told to.
  pid_t StartSurvivor() {
    report_.Clear();
    if (::pipe2(ready_, O_CLOEXEC) != 0 || ::pipe2(go_, O_CLOEXEC) != 0) std::exit(2);
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child != 0) {
      ::close(ready_[1]);
      ::close(go_[0]);
      char byte = 0;
      (void)!::read(ready_[0], &byte, 1);
      return child;
    }
    ::alarm(60);
    ::close(go_[1]);
    CacheOptions options = OptionsOf(Folder("live"), durability_);
    options.record_on_close = false;
    auto cache = Cache::Open(options);
    if (!cache.ok()) ::_exit(4);
    std::vector<std::string> broken;
    (void)Look(cache->get(), &broken);
    char byte = 'x';
    (void)!::write(ready_[1], &byte, 1);
    if (scenario_->traits.flies) WaitForFlight(cache->get());
    (void)!::read(go_[0], &byte, 1);
    broken.clear();
    const Finding finding = Look(cache->get(), &broken);
    for (const std::string& line : broken) report_.AddLine("a process beside it: " + line);
    for (const std::string& line : Compare(ReadOracle(LogOf("live")), finding)) {
      report_.AddLine("a process beside it: " + line);
    }
    // Who comes later must find the same. But a commit killed between SQLite's log and its index is
    // not done to those who have the index, and done to who recovers the log when they are gone.
    auto operations = ReadOracle(LogOf("live"));
    std::erase_if(operations, [](const Operation& one) { return !one.acknowledged; });
    if (kind_ == Kind::kFailpoints || !Compare(operations, finding).empty()) {
      OracleLog log(LogOf("live"));
      log.Begin(AsOperation(finding).effects);
      log.Ack();
    }
    ::_exit(0);
  }

  // Until the worker leads or is dead; then waits for it, or takes over.
  void WaitForFlight(Cache* cache) {
    pollfd dead{go_[0], POLLIN, 0};
    for (bool led = false; !led && ::poll(&dead, 1, 1) == 0;) {
      const auto rows = cache->catalog().Leases(kFlightName);
      led = rows.ok() && !rows->empty();
    }
    OracleLog log(LogOf("live"));
    const std::string why = FetchAfterOthers(cache, kFlightKey, kTakenOverVersion, &log);
    if (!why.empty()) report_.AddLine("a process that waited: " + why);
  }

  void EndSurvivor(pid_t survivor, long nth) {
    (void)!::write(go_[1], "x", 1);
    int status = 0;
    ::waitpid(survivor, &status, 0);
    for (const int fd : {ready_[0], go_[1]}) ::close(fd);
    if (status != 0) report_.AddLine("a process beside it died: status " + std::to_string(status));
    BreakAll(nth, 0);
  }

  void BreakAll(long nth, long inner) {
    std::istringstream lines(report_.text());
    std::string all;
    for (std::string line; std::getline(lines, line);) all += (all.empty() ? "" : "; ") + line;
    if (!all.empty()) Break(all, nth, inner);
  }

  void Break(const std::string& what, long nth, long inner) {
    ++broken_;
    std::string replay = "--at " + std::to_string(nth);
    if (inner > 0) replay += " --inner " + std::to_string(inner);
    for (const char* name : {"scenario", "durability", "kind", "signal", "survivor"}) {
      if (options_.contains(name)) replay += std::string(" --") + name + " " + options_.at(name);
    }
    std::printf("broken\t%s\t%s\n", what.c_str(), replay.c_str());
  }

  const Options& options_;
  const Scenario* scenario_;
  Durability durability_;
  Kind kind_;
  int signal_;
  bool has_survivor_;
  std::string root_;
  int64_t limit_bytes_ = 0;
  SharedText report_;
  int ready_[2] = {};
  int go_[2] = {};
  long kills_ = 0;
  long recovery_kills_ = 0;
  long broken_ = 0;
};

}  // namespace

int Kills(const Options& options) {
  if (Text(options, "kind", "calls") == "calls") {
    const std::string why = WhyNoGate();
    if (!why.empty()) {
      std::printf("skipped\t%s\n", why.c_str());
      return 0;
    }
  }
  return KillSweep(options).Run();
}

int Failpoints(const Options& options) {
  std::set<std::string> names;
  for (const Scenario& scenario : Scenarios()) {
    Options one = options;
    one["scenario"] = scenario.name;
    for (const char* durability : {"normal", "full"}) {
      one["durability"] = durability;
      names.merge(KillSweep(one).Passed());
    }
  }
  for (const std::string& name : names) std::printf("%s\n", name.c_str());
  return 0;
}

int Scenarios(const Options& /*options*/) {
  for (const Scenario& scenario : Scenarios()) std::printf("%s\n", scenario.name);
  return 0;
}

}  // namespace barcache::torture
