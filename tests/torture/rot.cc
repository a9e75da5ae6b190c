#include "torture/rot.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace barcache::torture {
namespace {

std::atomic<int> g_said{0};
std::atomic<uint64_t> g_place{0};

}  // namespace

void Say(const std::string& what) {
  if (g_said.fetch_add(1) >= 20) return;
  std::printf("at %llu: %s\n", static_cast<unsigned long long>(g_place), what.c_str());
  std::fflush(stdout);
}

int CountSaid() { return g_said; }

void Refuse(const std::string& why) {
  std::fprintf(stderr, "torture: %s\n", why.c_str());
  std::exit(2);
}

void LimitMemory() {
  constexpr rlim_t kBytes = rlim_t{2} << 30;
  const rlimit memory{kBytes, kBytes};
  const rlimit core{0, 0};
  if (::setrlimit(RLIMIT_AS, &memory) != 0 || ::setrlimit(RLIMIT_CORE, &core) != 0) {
    Refuse("cannot limit memory");
  }
}

Progress::Progress(const std::string& path)
    : fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) {
  if (fd_ < 0) Refuse("cannot write " + path);
}

Progress::~Progress() { ::close(fd_); }

void Progress::Mark(uint64_t number) {
  g_place = number;
  if (::pwrite(fd_, &number, sizeof(number), 0) != sizeof(number)) Refuse("cannot note progress");
}

void WriteFile(const std::string& path, std::span<const uint8_t> bytes) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool ok =
      fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  if (fd >= 0) ::close(fd);
  if (!ok) Refuse("cannot write " + path);
}

void CopyCache(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::remove_all(to, error);
  fs::create_directories(to + "/cache", error);
  for (const char* name : {"/metadata.db", "/metadata.db-wal"}) {
    if (fs::exists(from + name)) fs::copy_file(from + name, to + name, error);
  }
  for (const auto& file : fs::directory_iterator(from + "/cache")) {
    fs::copy_file(file.path(), to + "/cache/" + file.path().filename().string(), error);
  }
  if (error) Refuse("cannot copy " + from + ": " + error.message());
}

}  // namespace barcache::torture
