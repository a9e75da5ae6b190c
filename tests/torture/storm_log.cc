#include "torture/storm_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace barcache::torture {
namespace {

constexpr Deed kWithdrawn{0};

[[noreturn]] void Fail(const std::string& path) {
  std::perror(path.c_str());
  std::exit(2);
}

}  // namespace

int64_t MonotonicNs() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

StormLog::StormLog(const std::string& path, int64_t capacity) : capacity_(capacity) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const auto size = static_cast<size_t>(capacity) * sizeof(StormEvent);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0) Fail(path);
  void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) Fail(path);
  ::close(fd);
  events_ = static_cast<StormEvent*>(mapped);
}

StormLog::~StormLog() { ::munmap(events_, static_cast<size_t>(capacity_) * sizeof(StormEvent)); }

int64_t StormLog::Begin(Deed deed, uint32_t key, uint64_t value) {
  if (count_ == capacity_) {
    std::fprintf(stderr, "torture: more events than the log has room for\n");
    std::exit(2);
  }
  events_[count_] = StormEvent{MonotonicNs(), 0, value, key, deed};
  return count_++;
}

void StormLog::End(int64_t number) { events_[number].end_ns = MonotonicNs(); }

void StormLog::End(int64_t number, uint64_t value) {
  events_[number].value = value;
  End(number);
}

void StormLog::Withdraw(int64_t number) { events_[number].deed = kWithdrawn; }

void ReadStormLog(const std::string& path, int64_t death_ns, LoggedEvents* events) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail(path);
  StormEvent event;
  while (file.read(reinterpret_cast<char*>(&event), sizeof(event)) && event.begin_ns != 0) {
    if (event.deed == kWithdrawn) continue;
    if (event.end_ns != 0) {
      events->finished.push_back(event);
    } else {
      event.end_ns = death_ns;
      events->unfinished.push_back(event);
    }
  }
}

}  // namespace barcache::torture
