// The cache directory as a confined place: every file operation of barcache goes through here.
//
// A Directory holds a descriptor of the cache directory; names are single components relative to
// it. A name with a slash, an absolute one, "." or ".." is refused before any system call;
// symbolic links are never followed (O_NOFOLLOW); only regular files are read, written or
// removed (O_NONBLOCK + fstat, so that a FIFO cannot hang a reader).
//
// Thread safety: a Directory may be shared by any number of threads.
// Errors: kIo with the errno, kNoSpace for ENOSPC/EDQUOT/EFBIG, kReadOnly for EROFS.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "barcache/status.h"
#include "base/block_pool.h"

namespace barcache {

// An owned file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.Release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() { Close(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release();
  void Close();

 private:
  int fd_ = -1;
};

// Bytes of a file: 64-byte aligned, never zero-filled, grow without keeping content. Large ones are
// recycled (base/block_pool.h).
class ByteBuffer {
 public:
  ByteBuffer() = default;
  ByteBuffer(ByteBuffer&& other) noexcept;
  ByteBuffer& operator=(ByteBuffer&& other) noexcept;
  ByteBuffer(const ByteBuffer&) = delete;
  ByteBuffer& operator=(const ByteBuffer&) = delete;
  ~ByteBuffer();
  // Sets the size; the content is undefined afterwards. False: out of memory, unchanged.
  [[nodiscard]] bool Reset(size_t size);
  // Keeps the first `size` bytes, or all if there are fewer.
  void Truncate(size_t size);
  uint8_t* data() { return block_.data; }
  const uint8_t* data() const { return block_.data; }
  size_t size() const { return size_; }
  std::span<const uint8_t> bytes() const { return {block_.data, size_}; }

 private:
  BlockPool::Block block_;
  size_t size_ = 0;
};

struct FileInfo {
  std::string name;
  int64_t size_bytes = 0;
  int64_t modified_s = 0;
  bool is_regular = false;
};

// The names in a directory, read bit by bit. One thread at a time.
class DirectoryStream {
 public:
  // Every name but "." and "..", in no order; nullopt at the end. A name that comes or goes
  // meanwhile may be met or not.
  Result<std::optional<std::string>> Next();

 private:
  friend class Directory;
  struct Close {
    void operator()(DIR* dir) const;
  };
  DirectoryStream(std::string path, DIR* dir) : path_(std::move(path)), dir_(dir) {}
  std::string path_;
  std::unique_ptr<DIR, Close> dir_;
};

class Directory;

// A file that is being written, under a temporary name until Finish gives it its own. Taken away
// when destroyed before that.
// Thread safety: none.
class GrowingFile {
 public:
  GrowingFile(GrowingFile&& other) noexcept;
  GrowingFile& operator=(GrowingFile&&) = delete;
  ~GrowingFile();

  // Behind what is there. After a failure nothing more is written; Finish tells it.
  void Append(std::span<const uint8_t> bytes);

  // [fsync] -> rename to `name`, replacing what has it, which is never overwritten in place ->
  // [fsync directory]. On failure nothing is left behind. To be called once.
  Status Finish(const std::string& name, bool durable);

 private:
  friend class Directory;
  GrowingFile(const Directory& directory, std::string temp_name, FileDescriptor fd)
      : directory_(&directory), temp_name_(std::move(temp_name)), fd_(std::move(fd)) {}
  const Directory* directory_;  // Null: moved from, or finished.
  std::string temp_name_;
  FileDescriptor fd_;
  int write_error_ = 0;
};

class Directory {
 public:
  // Opens `path`, creating it and its missing parents with mode 0700 unless `read_only`.
  static Result<Directory> Open(const std::string& path, bool read_only);

  Directory(Directory&&) noexcept = default;
  Directory& operator=(Directory&&) noexcept = default;

  const std::string& path() const { return path_; }

  // Reads a whole regular file in one go. nullopt: no such name, or not a regular file
  // (symlink, FIFO, directory, device), or a name that is not confined.
  // kOverBudget when it is larger than `max_bytes`.
  Result<std::optional<ByteBuffer>> ReadFile(const std::string& name, int64_t max_bytes) const;

  // The same in two steps, for a file that is read again later though its name may be gone by
  // then. The descriptor is of a regular file.
  Result<std::optional<FileDescriptor>> OpenFile(const std::string& name) const;
  // From its beginning, whatever was read before. `path` is for messages alone.
  static Result<ByteBuffer> ReadOpenFile(const FileDescriptor& file, const std::string& path,
                                         int64_t max_bytes);
  // The last `size_bytes` bytes, or all if there are fewer.
  static Result<ByteBuffer> ReadEndOfFile(const FileDescriptor& file, const std::string& path,
                                          int64_t size_bytes);

  // Makes a file that nobody looks for before the caller tells them: under its own name at once
  // (O_EXCL, 0600), written -> [fsync] -> [fsync directory]. A killed process leaves a part of it.
  // kIo when the name exists, which then stays as it is; on other failures nothing is left behind.
  Status CreateFile(const std::string& name, std::span<const uint8_t> bytes, bool durable) const;

  // Begins a file (O_EXCL, 0600) of a temporary name. The directory has to outlive it.
  Result<GrowingFile> BeginFile() const;

  // Unlinks a regular file or symlink of that name (never what a link points at). Ok if absent.
  // Directories and other kinds are refused with kIo.
  Status RemoveFile(const std::string& name) const;

  // Every entry but "." and "..".
  Result<std::vector<FileInfo>> List() const;
  Result<DirectoryStream> OpenStream() const;
  // What has that name, itself if it is a link; nullopt: nothing.
  Result<std::optional<FileInfo>> Examine(const std::string& name) const;

 private:
  Directory(std::string path, FileDescriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  Result<std::optional<FileDescriptor>> OpenRegular(const std::string& name,
                                                    int64_t* size_bytes) const;
  friend class GrowingFile;
  Result<FileDescriptor> NewFile(const std::string& name) const;
  std::string path_;
  FileDescriptor fd_;
};

// True for one plain component: not empty, no '/', no NUL, not "." or "..", at most 255 bytes.
bool IsConfinedName(std::string_view name);

// Whether a GrowingFile has such a name: ".tmp-" and 32 hex letters.
bool IsTemporaryName(std::string_view name);

// Creates `path` and missing parents, each with mode 0700. Ok if it is a directory already.
Status MakeDirectories(const std::string& path);

// A Status for errno `error` met while doing `what` (for instance "open") to `path`.
Status StatusFromErrno(int error, std::string_view what, std::string_view path);

// 16 random bytes from the kernel as 32 hex letters.
std::string RandomHex32();

}  // namespace barcache
