// torture power: a writer on a real ext4 file system whose power is cut, again and again.
//
//   torture power --folder F --durability full --data ordered --cuts 100 --seed 1 [--seconds 60]
//
// Prints "count WHAT NUMBER" lines, "broken" with what and how to see it again, or "skipped" and
// why, separated by tabs.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "torture/call_gate.h"
#include "torture/command.h"
#include "torture/ext4_image.h"
#include "torture/verify.h"
#include "torture/worker.h"

namespace barcache::torture {
namespace {

namespace fs = std::filesystem;
using Random = std::mt19937_64;

long Below(Random* random, long limit) {
  return static_cast<long>((*random)() % static_cast<unsigned long>(limit));
}

// Operations without end. Versions tell the cut in which they were put.
void Write(Worker& worker, Random* random, long cut, bool closes) {
  worker.Open();
  if (Below(random, 3) == 0) worker.SetLimit(4000 + Below(random, 6000));
  long version = 1 + (cut % 4000) * 200;
  for (int i = 0; i < 190; ++i, ++version) {
    const int key = static_cast<int>(Below(random, kKeyCount));
    switch (Below(random, 24)) {
      case 0:
        worker.Erase(key);
        break;
      case 1:
        worker.PutMany({{key, version}, {(key + 1) % kKeyCount, version}});
        break;
      case 2:
        worker.Get(key);
        worker.Record();
        break;
      case 3:
        worker.Checkpoint();
        break;
      case 4:
        if (Below(random, 8) == 0) worker.Clear();
        break;
      case 5:
        if (!closes) break;  // It would end the long log.
        worker.Close();
        worker.Open();
        break;
      case 6:
      case 7:
      case 8:
      case 9:
      case 10:
      case 11:
        worker.Put(key, version / 100 * 100 + kLargeVersion);
        break;
      default:
        worker.Put(key, version);
    }
  }
  ::pause();
}

class PowerCuts {
 public:
  explicit PowerCuts(const Options& options)
      : options_(options),
        durability_(Text(options, "durability") == "full" ? Durability::kFull
                                                          : Durability::kNormal),
        root_(Text(options, "folder")),
        random_(static_cast<unsigned long>(Number(options, "seed", 1))) {}

  int Run() {
    fs::remove_all(root_);  // Of an earlier run.
    fs::create_directories(root_ + "/mount");
    Ext4Image image(root_ + "/mount", Text(options_, "data", "ordered"));
    if (!image.why().empty()) {
      std::printf("skipped\t%s\n", image.why().c_str());
      return 0;
    }
    const auto begin = std::chrono::steady_clock::now();
    const std::chrono::seconds most(Number(options_, "seconds", 600));
    for (long cut = 1; cut <= Number(options_, "cuts") && broken_ == 0; ++cut) {
      if (std::chrono::steady_clock::now() - begin > most) break;
      if (!Cut(&image, cut)) {
        std::fprintf(stderr, "torture: %s\n", image.why().c_str());
        return 2;
      }
      ++cuts_;
    }
    std::printf("count power cuts, %s %ld\n", Text(options_, "durability").c_str(), cuts_);
    std::printf("count acknowledged before a cut %ld\n", acknowledged_);
    return broken_ == 0 ? 0 : 1;
  }

 private:
  std::string Log() const { return root_ + "/log"; }

  // False: the image failed.
  bool Cut(Ext4Image* image, long cut) {
    ChooseFolder(cut);
    if (!image->Sync()) return false;
    // What is surely there is the first operation of the log.
    fs::remove(Log());
    if (fs::exists(found_)) {
      fs::copy_file(found_, Log());
    } else {
      OracleLog log(Log());
      log.Begin({});
      log.Ack();
    }
    const pid_t writer = StartWriter(cut);
    const long acks = 1 + Below(&random_, 12);
    const long commit_at = Below(&random_, 3) == 0 ? 1 + Below(&random_, acks) : 0;
    long seen = 0;
    bool committed = false;
    while (seen < acks && ::waitpid(writer, nullptr, WNOHANG) == 0) {
      seen = Acks();
      if (commit_at > 0 && seen >= commit_at && !committed) {
        image->CommitJournal();
        committed = true;
      }
      ::usleep(20);
    }
    const bool early = seen < acks;
    if (Below(&random_, 2) == 0) ::usleep(static_cast<unsigned>(Below(&random_, 3000)));
    // An fsync that the cut overtakes may still return: what is acknowledged later does not count.
    const long trusted_acks = Acks();
    if (!image->CutPower()) return false;
    ::kill(writer, SIGKILL);
    ::waitpid(writer, nullptr, 0);
    acknowledged_ += trusted_acks;
    if (early) Break("the writer failed: " + Complaint(), cut);
    if (!image->Restart()) return false;
    VerifyAfter(cut, trusted_acks + 1);
    return true;
  }

  // Most cuts hit one cache that is never closed by who verifies: its log of SQLite is long and
  // overwritten in place. Every fourth hits one that has just been made.
  void ChooseFolder(long cut) {
    is_fresh_ = cut % 4 == 0;
    const std::string kind = is_fresh_ ? "fresh" : "long";
    live_ = root_ + "/mount/" + kind;
    found_ = root_ + "/" + kind + ".found";
    if (is_fresh_) {
      fs::remove_all(live_);
      fs::remove(found_);
    } else if (!fs::exists(live_)) {
      fs::create_directories(live_);
      PrepareLong();
    }
  }

  void PrepareLong() const {
    (void)RunChild([this] {
      Worker worker(live_, durability_, root_ + "/prepared.log");
      worker.Open();
      for (long version = 1; version < 130; ++version) worker.Put(0, version);
      worker.Checkpoint();
      return 0;
    });
    OracleLog log(found_);
    log.Begin({{.kind = Effect::Kind::kPut, .key = 0, .version = 129}});
    log.Ack();
  }

  pid_t StartWriter(long cut) {
    const unsigned long seed = random_();
    std::fflush(nullptr);
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(2);
    ::alarm(30);
    if (std::freopen((root_ + "/complaint").c_str(), "w", stderr) == nullptr) ::_exit(2);
    Random random(seed);
    Worker worker(live_, durability_, Log());
    Write(worker, &random, cut, is_fresh_);
    ::_exit(0);
  }

  // Beside that of the first operation.
  long Acks() const {
    std::ifstream file(Log());
    long acks = -1;
    for (std::string line; std::getline(file, line);) acks += line == "ack" ? 1 : 0;
    return acks;
  }

  std::string Complaint() const {
    std::stringstream text;
    text << std::ifstream(root_ + "/complaint").rdbuf();
    return text.str();
  }

  void VerifyAfter(long cut, long trusted_acks) {
    VerifyPlan plan;
    plan.folder = live_;
    plan.log = Log();
    plan.durability = durability_;
    plan.is_lossy = durability_ == Durability::kNormal;
    plan.has_bad_files = plan.is_lossy;
    plan.trusted_acks = trusted_acks;
    plan.closes = is_fresh_;
    plan.found_log = found_;
    report_.Clear();
    const ChildEnd end = RunChild([&] {
      for (const std::string& line : Verify(plan)) report_.AddLine(line);
      return 0;
    });
    if (end.exit_code != 0) report_.AddLine("the verifier died: " + std::to_string(end.signal));
    std::istringstream lines(report_.text());
    std::string all;
    for (std::string line; std::getline(lines, line);) all += (all.empty() ? "" : "; ") + line;
    if (!all.empty()) Break(all, cut);
  }

  void Break(const std::string& what, long cut) {
    ++broken_;
    std::string replay = "--cuts " + std::to_string(cut + 50);
    for (const char* name : {"durability", "data", "seed"}) {
      if (options_.contains(name)) replay += std::string(" --") + name + " " + options_.at(name);
    }
    std::printf("broken\tcut %ld: %s\t%s\n", cut, what.c_str(), replay.c_str());
  }

  const Options& options_;
  Durability durability_;
  std::string root_;
  std::string live_;   // The cache under the next cut.
  std::string found_;  // What was found in it last.
  bool is_fresh_ = false;
  Random random_;
  SharedText report_;
  long cuts_ = 0;
  long acknowledged_ = 0;
  long broken_ = 0;
};

}  // namespace

int Power(const Options& options) { return PowerCuts(options).Run(); }

}  // namespace barcache::torture
