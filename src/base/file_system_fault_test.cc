// Every system call of an atomic write and of a read, failing in turn.
//
// The functions below stand before the C library's own in this program. They forward to the
// kernel, and fail or cut short the call that a test has chosen.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/file_system.h"

namespace {

struct Fault {
  const char* call = "";  // Which function; "" while nothing is wanted.
  int nth = 1;            // Which of its calls from now on.
  int error = 0;          // Its errno; 0: transfer one byte only.
  int fired = 0;
};

thread_local Fault fault;

// 0: go on. Else the call is the chosen one.
bool IsChosen(const char* call) {
  if (std::string_view(fault.call) != call || --fault.nth != 0) return false;
  ++fault.fired;
  errno = fault.error;
  return true;
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* data, size_t size) {
  if (IsChosen("write")) {
    if (fault.error != 0) return -1;
    size = std::min<size_t>(size, 1);
  }
  return syscall(SYS_write, fd, data, size);
}

ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  if (IsChosen("pread")) {
    if (fault.error != 0) return -1;
    size = std::min<size_t>(size, 1);
  }
  return syscall(SYS_pread64, fd, data, size, offset);
}

int fsync(int fd) {
  if (IsChosen("fsync")) return -1;
  return static_cast<int>(syscall(SYS_fsync, fd));
}

int close(int fd) {
  // As the kernel does it: the descriptor is gone even when the call fails.
  const int result = static_cast<int>(syscall(SYS_close, fd));
  return IsChosen("close") ? -1 : result;
}

int openat(int fd, const char* path, int flags, ...) {
  if (IsChosen("openat")) return -1;
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return static_cast<int>(syscall(SYS_openat, fd, path, flags, mode));
}

int renameat(int from_fd, const char* from, int to_fd, const char* to) noexcept {
  if (IsChosen("renameat")) return -1;
  return static_cast<int>(syscall(SYS_renameat2, from_fd, from, to_fd, to, 0));
}

}  // extern "C"

namespace barcache {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kPieces = {"some ", "more ", "text"};

class FileSystemFaultTest : public testing::Test {
 protected:
  FileSystemFaultTest()
      : root_(fs::temp_directory_path() / ("barcache_fault_" + RandomHex32())),
        directory_(Directory::Open(root_, false)) {}
  ~FileSystemFaultTest() override {
    fault = Fault();
    fs::remove_all(root_);
  }

  Status Write(const Fault& wanted, std::string_view text, bool durable) {
    return Grow(wanted, std::array{text}, durable);
  }
  Status Create(const Fault& wanted, std::string_view text, bool durable) {
    fault = wanted;
    const Status status = directory_->CreateFile(
        "name", {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, durable);
    fired_ = fault.fired;
    fault = Fault();
    return status;
  }
  // Each piece by a write of its own.
  Status Grow(const Fault& wanted, std::span<const std::string_view> pieces, bool durable) {
    fault = wanted;
    const Status status = [&]() -> Status {
      BARCACHE_ASSIGN_OR_RETURN(GrowingFile file, directory_->BeginFile());
      for (const std::string_view piece : pieces) {
        file.Append({reinterpret_cast<const uint8_t*>(piece.data()), piece.size()});
      }
      return file.Finish("name", durable);
    }();
    fired_ = fault.fired;
    fault = Fault();
    return status;
  }
  // The content, or the code name of the error.
  std::string Read(const Fault& wanted) {
    fault = wanted;
    Result<std::optional<ByteBuffer>> read = directory_->ReadFile("name", 1 << 20);
    fired_ = fault.fired;
    fault = Fault();
    if (!read.ok()) return std::string(ErrorCodeName(read.status().code()));
    if (!read->has_value()) return "nullopt";
    return {reinterpret_cast<const char*>((*read)->data()), (*read)->size()};
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_))
      names.push_back(entry.path().filename());
    return names;
  }
  static ptrdiff_t OpenDescriptors() {
    return std::distance(fs::directory_iterator("/proc/self/fd"), {});
  }

  fs::path root_;
  Result<Directory> directory_;
  int fired_ = 0;
};

using Names = std::vector<std::string>;

TEST_F(FileSystemFaultTest, AFailedWriteLeavesNothingBehindAndSaysWhy) {
  const ptrdiff_t descriptors = OpenDescriptors();
  for (const char* call : {"openat", "write", "fsync", "close", "renameat"}) {
    for (int error : {EIO, ENOSPC, EDQUOT, EFBIG}) {
      const Status status = Write({.call = call, .error = error}, "text", true);
      EXPECT_EQ(fired_, 1) << call;
      EXPECT_EQ(status.system_errno(), error) << call;
      EXPECT_EQ(status.code(), error == EIO ? ErrorCode::kIo : ErrorCode::kNoSpace) << call;
      EXPECT_NE(status.message().find(root_.string()), std::string::npos) << status.message();
      EXPECT_EQ(Files(), Names{}) << call;
      EXPECT_EQ(OpenDescriptors(), descriptors) << call;
    }
  }
}

TEST_F(FileSystemFaultTest, AFailedWriteKeepsTheFileOfThatName) {
  ASSERT_TRUE(Write({}, "before", false).ok());
  for (const char* call : {"openat", "write", "fsync", "close", "renameat"}) {
    EXPECT_FALSE(Write({.call = call, .error = EIO}, "after", true).ok()) << call;
    EXPECT_EQ(Read({}), "before") << call;
    EXPECT_EQ(Files(), Names{"name"}) << call;
  }
}

TEST_F(FileSystemFaultTest, AFailedSyncOfTheDirectoryTakesTheNewFileAway) {
  const Status status = Write({.call = "fsync", .nth = 2, .error = EIO}, "text", true);
  EXPECT_EQ(fired_, 1);
  EXPECT_EQ(status.code(), ErrorCode::kIo);
  EXPECT_NE(status.message().find("sync the directory"), std::string::npos);
  EXPECT_EQ(Files(), Names{});
}

TEST_F(FileSystemFaultTest, OnlyADurableWriteSyncs) {
  EXPECT_TRUE(Write({.call = "fsync", .error = EIO}, "text", false).ok());
  EXPECT_EQ(fired_, 0);
  EXPECT_FALSE(Write({.call = "fsync", .error = EIO}, "text", true).ok());
}

TEST_F(FileSystemFaultTest, ShortAndInterruptedTransfersGoOn) {
  for (int error : {0, EINTR}) {
    EXPECT_TRUE(Write({.call = "write", .error = error}, "some text", false).ok());
    EXPECT_EQ(fired_, 1);
    EXPECT_EQ(Read({.call = "pread", .error = error}), "some text");
    EXPECT_EQ(fired_, 1);
  }
  EXPECT_TRUE(Write({.call = "fsync", .error = EINTR}, "some text", true).ok());
  EXPECT_TRUE(Write({.call = "close", .error = EINTR}, "some text", true).ok());
}

TEST_F(FileSystemFaultTest, AFileThatCouldNotBeCreatedWholeIsTakenAway) {
  const ptrdiff_t descriptors = OpenDescriptors();
  for (const char* call : {"openat", "write", "fsync", "close"}) {
    for (int error : {EIO, ENOSPC, EDQUOT, EFBIG}) {
      const Status status = Create({.call = call, .error = error}, "text", true);
      EXPECT_EQ(fired_, 1) << call;
      EXPECT_EQ(status.system_errno(), error) << call;
      EXPECT_EQ(status.code(), error == EIO ? ErrorCode::kIo : ErrorCode::kNoSpace) << call;
      EXPECT_NE(status.message().find(root_.string()), std::string::npos) << status.message();
      EXPECT_EQ(Files(), Names{}) << call;
      EXPECT_EQ(OpenDescriptors(), descriptors) << call;
    }
  }
  const Status status = Create({.call = "fsync", .nth = 2, .error = EIO}, "text", true);
  EXPECT_NE(status.message().find("sync the directory"), std::string::npos);
  EXPECT_EQ(Files(), Names{});
}

TEST_F(FileSystemFaultTest, CreatingSyncsOnlyIfDurableAndGoesOnAfterShortWrites) {
  EXPECT_TRUE(Create({.call = "fsync", .error = EIO}, "text", false).ok());
  EXPECT_EQ(fired_, 0);
  for (const char* call : {"write", "fsync", "close"}) {
    ASSERT_TRUE(directory_->RemoveFile("name").ok());
    EXPECT_TRUE(Create({.call = call, .error = EINTR}, "some text", true).ok()) << call;
    EXPECT_EQ(fired_, 1) << call;
    EXPECT_EQ(Read({}), "some text");
  }
  ASSERT_TRUE(directory_->RemoveFile("name").ok());
  EXPECT_TRUE(Create({.call = "write", .error = 0}, "some text", false).ok());
  EXPECT_EQ(Read({}), "some text");
}

TEST_F(FileSystemFaultTest, CreatingLeavesAnExistingFileAlone) {
  ASSERT_TRUE(Write({}, "before", false).ok());
  const Status status = Create({}, "after", false);
  EXPECT_EQ(status.system_errno(), EEXIST);
  EXPECT_EQ(Read({}), "before");
  ASSERT_TRUE(directory_->RemoveFile("name").ok());
  fs::create_symlink(root_ / "elsewhere", root_ / "name");
  EXPECT_EQ(Create({}, "after", false).system_errno(), EEXIST);
  EXPECT_FALSE(fs::exists(root_ / "elsewhere"));
}

TEST_F(FileSystemFaultTest, AGrowingFileGoesOnAfterShortAndInterruptedWritesOfAnyPiece) {
  for (int nth : {1, 2, 3}) {
    for (int error : {0, EINTR}) {
      EXPECT_TRUE(Grow({.call = "write", .nth = nth, .error = error}, kPieces, false).ok()) << nth;
      EXPECT_EQ(fired_, 1);
      EXPECT_EQ(Read({}), "some more text") << nth;
      EXPECT_EQ(Files(), Names{"name"});
    }
  }
}

TEST_F(FileSystemFaultTest, AGrowingFileThatFailsAtAnyPieceIsTakenAwayAndSaysWhy) {
  ASSERT_TRUE(Write({}, "before", false).ok());
  const ptrdiff_t descriptors = OpenDescriptors();
  for (int nth : {1, 2, 3}) {
    for (int error : {EIO, ENOSPC, EDQUOT, EFBIG}) {
      const Status status = Grow({.call = "write", .nth = nth, .error = error}, kPieces, true);
      EXPECT_EQ(fired_, 1) << nth;
      EXPECT_EQ(status.system_errno(), error) << nth;
      EXPECT_EQ(status.code(), error == EIO ? ErrorCode::kIo : ErrorCode::kNoSpace) << nth;
      EXPECT_EQ(status.message().find("could not write '" + (root_ / "name").string()), 0u)
          << status.message();
      EXPECT_EQ(Files(), Names{"name"}) << nth;
      EXPECT_EQ(Read({}), "before") << nth;
      EXPECT_EQ(OpenDescriptors(), descriptors) << nth;
    }
  }
  for (const char* call : {"openat", "fsync", "close", "renameat"}) {
    EXPECT_EQ(Grow({.call = call, .error = EIO}, kPieces, true).system_errno(), EIO) << call;
    EXPECT_EQ(Files(), Names{"name"}) << call;
    EXPECT_EQ(Read({}), "before") << call;
  }
}

TEST_F(FileSystemFaultTest, AGrowingFileWritesNothingAfterAFailure) {
  Result<GrowingFile> file = directory_->BeginFile();
  ASSERT_TRUE(file.ok());
  const std::vector<uint8_t> bytes(100);
  fault = {.call = "write", .error = ENOSPC};
  file->Append(bytes);
  fault = Fault();
  file->Append(bytes);  // There would be room again.
  ASSERT_EQ(Files().size(), 1u);
  EXPECT_TRUE(IsTemporaryName(Files().front()));
  EXPECT_EQ(fs::file_size(root_ / Files().front()), 0u);
  EXPECT_EQ(file->Finish("name", false).code(), ErrorCode::kNoSpace);
  EXPECT_EQ(Files(), Names{});
}

TEST_F(FileSystemFaultTest, AFailedReadIsAnErrorNotAMiss) {
  ASSERT_TRUE(Write({}, "text", false).ok());
  const ptrdiff_t descriptors = OpenDescriptors();
  EXPECT_EQ(Read({.call = "openat", .error = EMFILE}), "input/output error");
  EXPECT_EQ(Read({.call = "openat", .error = EACCES}), "input/output error");
  EXPECT_EQ(Read({.call = "openat", .error = ENOMEM}), "out of memory");
  EXPECT_EQ(Read({.call = "pread", .error = EIO}), "input/output error");
  EXPECT_EQ(Read({.call = "openat", .error = ENOENT}), "nullopt");
  EXPECT_EQ(OpenDescriptors(), descriptors);
  EXPECT_EQ(Read({}), "text");
}

TEST_F(FileSystemFaultTest, AListThatFailsIsAnError) {
  fault = {.call = "openat", .error = EMFILE};
  const Result<std::vector<FileInfo>> listed = directory_->List();
  fault = Fault();
  EXPECT_EQ(listed.status().system_errno(), EMFILE);
}

}  // namespace
}  // namespace barcache
