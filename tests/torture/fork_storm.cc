// torture fork-storm: a process forks again and again while its threads get and put; each child
// gets, puts and ends in one of several ways. Who acknowledged what is appended to a file outside.
//
//   --dir DIR --acked FILE --forks N --threads N --seed N
//
// torture fork-end: every acknowledged put is there, whoever made it.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <random>
#include <thread>

#include "barcache/cache.h"
#include "frame/sample_frame.h"
#include "hot/hot_tier.h"
#include "torture/command.h"
#include "torture/storm_log.h"

namespace barcache::torture {
namespace {

constexpr int64_t kHangsAfterNs = 5'000'000'000;

CacheOptions OptionsOf(const Options& options) {
  CacheOptions cache;
  cache.db_path = Text(options, "dir") + "/metadata.db";
  cache.cache_directory = Text(options, "dir") + "/cache";
  return cache;
}

Frame FrameOf(long value) { return SampleBars(20, static_cast<double>(value)); }

// What has been acknowledged: a line each, appended whole by one write(2).
class AckFile {
 public:
  explicit AckFile(const std::string& path)
      : fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}
  ~AckFile() { ::close(fd_); }
  AckFile(const AckFile&) = delete;
  AckFile& operator=(const AckFile&) = delete;
  bool Write(long value) const {
    const std::string line = std::to_string(value) + "\n";
    return ::write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  }

 private:
  int fd_;
};

std::string KeyOf(long value) { return "key" + std::to_string(value); }

// False, and a line on stdout, if anything is not as promised.
bool PutAndAck(Cache* cache, const AckFile& acked, long value) {
  const Status status = cache->Put(KeyOf(value), FrameOf(value));
  if (!status.ok()) std::printf("put: %s\n", status.ToString().c_str());
  return status.ok() && acked.Write(value);
}

bool GetIsRight(Cache* cache, long value) {
  const auto hit = cache->Get(KeyOf(value), {.backtest_id = "bt"});
  if (!hit.ok()) std::printf("get: %s\n", hit.status().ToString().c_str());
  if (!hit.ok()) return false;
  const bool right = hit->has_value() && SameFrame((*hit)->frame, FrameOf(value));
  if (!right) std::printf("value %ld: %s\n", value, *hit ? "another frame" : "gone");
  return right;
}

// The child's life; it leaves by itself in every case.
[[noreturn]] void LiveAsChild(Cache* cache, const AckFile& acked, long value, long known,
                              uint64_t dice) {
  bool good = GetIsRight(cache, known) && PutAndAck(cache, acked, value);
  cache->hot_tier()->Clear();
  good = good && GetIsRight(cache, value) && GetIsRight(cache, known);
  if (dice % 5 == 0) {  // A child of the child.
    const pid_t grandchild = ::fork();
    if (grandchild == 0) LiveAsChild(cache, acked, value + 1, value, 1);
    int status = 0;
    good = good && ::waitpid(grandchild, &status, 0) == grandchild && status == 0;
  }
  std::fflush(stdout);
  if (good && dice % 5 == 2) ::raise(SIGKILL);
  if (dice % 5 == 3) good = good && cache->Close().ok();
  ::_exit(good ? 0 : 1);
}

// Whether the child ended as it should, in time.
bool Reap(pid_t child, uint64_t dice) {
  const int64_t deadline_ns = MonotonicNs() + kHangsAfterNs;
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (MonotonicNs() > deadline_ns) {
      std::printf("a forked child hung for 5 s\n");
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return false;
    }
    ::usleep(200);
  }
  const bool killed_itself = dice % 5 == 2 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  if (killed_itself || status == 0) return true;
  std::printf("a forked child ended with status %d\n", status);
  return false;
}

}  // namespace

int ForkStorm(const Options& options) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  auto opened = Cache::Open(OptionsOf(options));
  if (!opened.ok()) {
    std::printf("open: %s\n", opened.status().ToString().c_str());
    return 1;
  }
  Cache* cache = opened->get();
  const AckFile acked(Text(options, "acked"));
  if (!PutAndAck(cache, acked, 1)) return 1;

  std::atomic<bool> stop{false};
  std::atomic<bool> good{true};
  std::vector<std::thread> threads;
  for (long number = 1; number <= Number(options, "threads"); ++number) {
    threads.emplace_back([&, number] {
      long value = number * 1'000'000;
      while (!stop) {
        if (!PutAndAck(cache, acked, ++value) || !GetIsRight(cache, value)) good = false;
        for (int i = 0; i < 20; ++i) {
          if (!GetIsRight(cache, 1)) good = false;
        }
      }
    });
  }
  std::mt19937_64 random(static_cast<uint64_t>(Number(options, "seed")));
  for (long number = 0; number < Number(options, "forks") && good; ++number) {
    const uint64_t dice = random();
    const long value = 100'000'000 + 2 * number;
    const pid_t child = ::fork();
    if (child == 0) LiveAsChild(cache, acked, value, 1, dice);
    if (child < 0 || !Reap(child, dice)) good = false;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  if (!(*opened)->Close().ok()) good = false;
  return good ? 0 : 1;
}

int ForkEnd(const Options& options) {
  auto cache = Cache::Open(OptionsOf(options));
  if (!cache.ok()) {
    std::printf("open: %s\n", cache.status().ToString().c_str());
    return 1;
  }
  std::ifstream acked(Text(options, "acked"));
  long count = 0;
  long broken = 0;
  for (long value = 0; acked >> value; ++count) {
    if (!GetIsRight(cache->get(), value) && ++broken > 20) break;
  }
  const auto report = (*cache)->Check(false);
  if (!report.ok() || !report->clean()) {
    std::printf("the check found something\n");
    ++broken;
  }
  std::printf("acknowledged %ld\n", count);
  return broken == 0 ? 0 : 1;
}

}  // namespace barcache::torture
