// torture replay: one scenario, one durability; every state that a power cut may leave after each
// of its calls, as far as that can be tried.
//
//   torture replay --folder F --scenario put --durability full --seed 1 --states 500
//
// --states: about so many, spread over all moments. --at A: only after the Ath call.
//
// Prints "count WHAT NUMBER" lines, and for each broken promise "broken", what, and the options
// that show it again, separated by tabs.

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "torture/call_gate.h"
#include "torture/call_recorder.h"
#include "torture/command.h"
#include "torture/disk_model.h"
#include "torture/scenario.h"
#include "torture/verify.h"

namespace barcache::torture {
namespace {

namespace fs = std::filesystem;
using Part = DiskModel::Part;

std::string ReadFile(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class Replay {
 public:
  explicit Replay(const Options& options)
      : options_(options),
        scenario_(FindScenario(Text(options, "scenario"))),
        durability_(Text(options, "durability") == "full" ? Durability::kFull
                                                          : Durability::kNormal),
        root_(fs::canonical(Text(options, "folder"))),
        random_(static_cast<unsigned long>(Number(options, "seed", 1))) {}

  int Run() {
    if (scenario_ == nullptr || !Prepare()) return 2;
    const auto model = Record();
    if (!model) return 1;
    const auto moments = static_cast<long>(model->size()) + 1;
    const long states = Number(options_, "states", 200);
    const long each = std::max(1L, states / moments);
    const long stride = std::max(1L, moments / states);
    const long only = Number(options_, "at", -1);
    const long first = static_cast<long>(random_() % static_cast<unsigned long>(stride));
    for (long at = first; at < moments; at += stride) {
      // Each moment has its own dice, so that it can be seen again alone.
      std::mt19937_64 dice(static_cast<unsigned long>(Number(options_, "seed", 1) * 100'003 + at));
      if (only < 0 || only == at) Cut(*model, static_cast<size_t>(at), each, &dice);
    }
    std::printf("count states after a power cut %ld\n", states_);
    return broken_ == 0 ? 0 : 1;
  }

 private:
  std::string Folder(const std::string& name) const { return root_ + "/" + name; }

  // The folder "template", its log, and what is in it as a log of one operation.
  bool Prepare() {
    fs::create_directories(Folder("template"));
    const ChildEnd made = RunChild([&] {
      Worker worker(Folder("template"), durability_, Folder("template.log"));
      if (scenario_->prepare != nullptr) scenario_->prepare(worker, Folder("template"));
      return 0;
    });
    for (const auto& file : fs::recursive_directory_iterator(Folder("template"))) {
      if (file.path().extension() == ".parquet") limit_bytes_ += fs::file_size(file.path());
    }
    begin_ = DiskState::Read(Folder("template"));
    begin_.Write(Folder("look"));
    const ChildEnd looked = RunChild([&] {
      VerifyPlan plan = PlanFor(Folder("look"), Folder("template.log"));
      plan.is_lossy = false;
      plan.probes = false;
      plan.found_log = Folder("found.log");
      return Verify(plan).empty() ? 0 : 1;
    });
    const bool prepared = made.exit_code == 0 && looked.exit_code == 0;
    if (!prepared) std::fprintf(stderr, "torture: could not prepare\n");
    return prepared;
  }

  VerifyPlan PlanFor(const std::string& folder, const std::string& log) const {
    VerifyPlan plan;
    plan.folder = folder;
    plan.log = log;
    plan.durability = durability_;
    plan.limit_bytes = scenario_->traits.evicts ? limit_bytes_ : 0;
    plan.is_lossy = durability_ == Durability::kNormal;
    plan.has_bad_files = plan.is_lossy;
    return plan;
  }

  std::optional<DiskModel> Record() {
    begin_.Write(Folder("live"));
    fs::copy_file(Folder("template.log"), Folder("live.log"));
    CallRecorder recorder(Folder("live"), Folder("live.log"));
    const ChildEnd end = RunGated(
        [&] {
          Worker worker(Folder("live"), durability_, Folder("live.log"));
          scenario_->work(worker);
          return 0;
        },
        0, SIGKILL, 60,
        [&](pid_t thread, const seccomp_data& call) { recorder.Observe(thread, call); });
    if (end.exit_code != 0) Break("the worker failed: " + std::to_string(end.exit_code), 0);
    for (const int call : recorder.unknown()) {
      Break("system call " + std::to_string(call) + " is not understood", 0);
    }
    DiskModel model(begin_, recorder.calls());
    // The model is true if all of it is what lies there.
    const DiskState all = model.Cut(model.size(), Part::kAll, &random_);
    DiskState live = DiskState::Read(Folder("live"));
    std::erase_if(live.files, [](const auto& file) { return file.first.ends_with("-barcache"); });
    for (const auto& [name, content] : live.files) {
      const auto found = all.files.find(name);
      if (found == all.files.end() || found->second != content) {
        Break("the record lacks something of " + name, 0);
      }
    }
    if (broken_ > 0) return std::nullopt;
    return model;
  }

  void Cut(const DiskModel& model, size_t at, long states, std::mt19937_64* dice) {
    const size_t unsure = model.Unsure(at);
    std::vector<Part> parts = {Part::kAll, Part::kNone, Part::kRandom, Part::kButOne, Part::kOne};
    if (unsure == 0) parts = {Part::kAll};
    if (unsure == 1) parts = {Part::kAll, Part::kNone};
    // More of them than states: a part of each moment's.
    if (states < static_cast<long>(parts.size())) std::ranges::shuffle(parts, *dice);
    if (unsure > 1) parts.resize(static_cast<size_t>(std::max(1L, states)), Part::kRandom);
    for (const Part part : parts) {
      model.Cut(at, part, dice).Write(Folder("cut"));
      std::ofstream(Folder("cut.log"))
          << ReadFile(Folder(durability_ == Durability::kFull ? "template.log" : "found.log"))
          << model.SaidBy(at);
      VerifyCut(at);
      ++states_;
    }
  }

  void VerifyCut(size_t at) {
    report_.Clear();
    const ChildEnd end = RunChild([&] {
      for (const std::string& line : Verify(PlanFor(Folder("cut"), Folder("cut.log")))) {
        report_.AddLine(line);
      }
      return 0;
    });
    if (end.exit_code != 0) report_.AddLine("the verifier died: " + std::to_string(end.signal));
    std::istringstream lines(report_.text());
    std::string all;
    for (std::string line; std::getline(lines, line);) all += (all.empty() ? "" : "; ") + line;
    if (!all.empty()) Break("after call " + std::to_string(at) + ": " + all, at);
  }

  void Break(const std::string& what, size_t at) {
    ++broken_;
    std::string replay = "--at " + std::to_string(at);
    for (const char* name : {"scenario", "durability", "seed", "states"}) {
      if (options_.contains(name)) replay += std::string(" --") + name + " " + options_.at(name);
    }
    std::printf("broken\t%s\t%s\n", what.c_str(), replay.c_str());
  }

  const Options& options_;
  const Scenario* scenario_;
  Durability durability_;
  std::string root_;
  std::mt19937_64 random_;
  DiskState begin_;
  int64_t limit_bytes_ = 0;
  SharedText report_;
  long states_ = 0;
  long broken_ = 0;
};

}  // namespace

int ReplayCalls(const Options& options) {
  const std::string why = WhyNoGate();
  if (!why.empty()) {
    std::printf("skipped\t%s\n", why.c_str());
    return 0;
  }
  return Replay(options).Run();
}

}  // namespace barcache::torture
