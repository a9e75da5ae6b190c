// TestDescriptors: this process can open only so many more files, until the object goes.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

namespace barcache {

class TestDescriptors {
 public:
  explicit TestDescriptors(int spare) {
    // Descriptors below the limit that are free count too: the limit is above as many of them.
    int limit = 0;
    for (int free = 0; free < spare || IsOpen(limit); ++limit) free += IsOpen(limit) ? 0 : 1;
    if (getrlimit(RLIMIT_NOFILE, &before_) != 0) abort();
    rlimit few = before_;
    few.rlim_cur = static_cast<rlim_t>(limit);
    if (setrlimit(RLIMIT_NOFILE, &few) != 0) abort();
  }
  ~TestDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  TestDescriptors(const TestDescriptors&) = delete;
  TestDescriptors& operator=(const TestDescriptors&) = delete;

 private:
  static bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }
  rlimit before_{};
};

}  // namespace barcache
