// The confined cache directory on Linux: openat and its kin, never a path built by hand.
#include "base/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <random>
#include <system_error>
#include <utility>

#include "base/failpoint.h"
#include "base/sha256.h"

namespace barcache {
namespace {

constexpr std::string_view kTemporaryPrefix = ".tmp-";

std::string PathInside(const std::string& directory, std::string_view name) {
  return directory + "/" + std::string(name);
}

Status RefuseName(std::string_view name) {
  std::string message = "refused the file name '";
  message.append(name).append("': it must be one plain path component");
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

Status LeftInPlace(const std::string& path) {
  std::string message = "did not remove '";
  message.append(path).append("', which is not a file; remove it by hand if it is not needed");
  return {ErrorCode::kIo, std::move(message)};
}

Status OverBudget(const std::string& path, int64_t size_bytes, int64_t max_bytes) {
  std::string message = "did not read '";
  message.append(path).append("': its ").append(std::to_string(size_bytes));
  message.append(" bytes are more than the ").append(std::to_string(max_bytes));
  message.append(" allowed; raise that budget to read it");
  return {ErrorCode::kOverBudget, std::move(message)};
}

// What a user can do about it; "" where the error says it all.
std::string_view AdviceFor(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "; free some space, or lower the capacity of the cold tier";
    case EFBIG:
      return "; raise the file size limit (ulimit -f)";
    case EROFS:
      return "; choose a writable directory, or open the cache read-only";
    case EACCES:
    case EPERM:
      return "; check owner and permissions";
    case EMFILE:
    case ENFILE:
      return "; raise the limit of open files (ulimit -n)";
    case ENOENT:
      return "; check that it exists";
    case ENOTDIR:
    case EEXIST:
      return "; move away what is in the way, or choose another path";
    case ENOLCK:
      return "; put it on a local disk, or free some locks";
    case EIO:
      return "; check the disk";
    case ENOMEM:
      return "; free some memory";
    default:
      return "";
  }
}

ErrorCode CodeFor(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorCode::kNoSpace;
    case EROFS:
      return ErrorCode::kReadOnly;
    case ENOMEM:
      return ErrorCode::kOutOfMemory;
    default:
      return ErrorCode::kIo;
  }
}

// 0, or the errno.
int WriteAll(int fd, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (written == 0) return EIO;  // Not for a regular file; never spin on it.
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return 0;
}

// Reads up to `size` bytes; fewer when the file ends earlier. The number read, or -errno.
ssize_t ReadUpTo(int fd, uint8_t* data, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, data + done, size - done, static_cast<off_t>(done));
    if (got < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return static_cast<ssize_t>(done);
}

// Up to `size_bytes` from the file's beginning. 0, or the errno.
int ReadWhole(const FileDescriptor& file, int64_t size_bytes, ByteBuffer* buffer) {
  if (!buffer->Reset(static_cast<size_t>(size_bytes))) return ENOMEM;
  const ssize_t got = ReadUpTo(file.get(), buffer->data(), buffer->size());
  if (got < 0) return static_cast<int>(-got);
  buffer->Truncate(static_cast<size_t>(got));
  return 0;
}

int Sync(int fd) {
  while (::fsync(fd) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

// Makes what was written to a file survive a power cut. Never retried: after a failed fsync the
// kernel may have dropped the pages.
int SyncBytes(int fd) {
  const int error = Mutant("no_file_sync") ? 0 : Sync(fd);
  Failpoint("file.synced");
  return error;
}

// Makes the names in a directory survive a power cut.
int SyncNames(int fd) {
  const int error = Mutant("no_directory_sync") ? 0 : Sync(fd);
  Failpoint("directory.synced");
  return error;
}

// A delayed write error may first show up here. EINTR: Linux has closed it all the same.
int CloseChecked(FileDescriptor* fd) {
  return ::close(fd->Release()) != 0 && errno != EINTR ? errno : 0;
}

Result<bool> IsDirectory(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0) return S_ISDIR(info.st_mode);
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return StatusFromErrno(errno, "examine", path);
}

// Makes the name of a new directory survive a power cut. Best effort: the directory is usable.
void SyncParent(const std::string& path) {
  const size_t slash = path.rfind('/', path.find_last_not_of('/'));
  const std::string parent(slash == std::string::npos ? std::string(".")
                                                      : path.substr(0, slash + 1));
  FileDescriptor fd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) (void)Sync(fd.get());
}

Status MakeOneDirectory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0) {
    const int error = errno;
    if (error == EEXIST) {  // Another process may have been faster.
      BARCACHE_ASSIGN_OR_RETURN(const bool is_there, IsDirectory(path));
      if (is_there) return {};
    }
    return StatusFromErrno(error, "make directory", path);
  }
  Failpoint("directory.made");
  SyncParent(path);
  return {};
}

// Takes a file away again unless it was kept: also when memory runs out.
class Unfinished {
 public:
  Unfinished(int directory, const std::string& name) : directory_(directory), name_(&name) {}
  ~Unfinished() {
    if (name_ != nullptr) ::unlinkat(directory_, name_->c_str(), 0);
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  void IsNow(const std::string& name) { name_ = &name; }
  void Keep() { name_ = nullptr; }

 private:
  const int directory_;
  const std::string* name_;
};

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = other.Release();
  }
  return *this;
}

int FileDescriptor::Release() { return std::exchange(fd_, -1); }

void FileDescriptor::Close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

ByteBuffer::ByteBuffer(ByteBuffer&& other) noexcept
    : block_(std::exchange(other.block_, {})), size_(std::exchange(other.size_, 0)) {}

ByteBuffer& ByteBuffer::operator=(ByteBuffer&& other) noexcept {
  if (this != &other) {
    if (block_.data != nullptr) BlockPool::Files().Give(block_);
    block_ = std::exchange(other.block_, {});
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

// Without a block there may be no pool: making it takes memory, and a destructor must not throw.
ByteBuffer::~ByteBuffer() {
  if (block_.data != nullptr) BlockPool::Files().Give(block_);
}

bool ByteBuffer::Reset(size_t size) {
  if (size > block_.size) {
    const BlockPool::Block block = BlockPool::Files().Take(size);
    if (block.data == nullptr) return false;
    BlockPool::Files().Give(block_);
    block_ = block;
  }
  size_ = size;
  return true;
}

void ByteBuffer::Truncate(size_t size) { size_ = std::min(size_, size); }

Result<Directory> Directory::Open(const std::string& path, bool read_only) {
  if (!read_only) BARCACHE_RETURN_IF_ERROR(MakeDirectories(path));
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return StatusFromErrno(errno, "open directory", path);
  return Directory(path, std::move(fd));
}

Result<std::optional<FileDescriptor>> Directory::OpenFile(const std::string& name) const {
  int64_t size_bytes = 0;
  return OpenRegular(name, &size_bytes);
}

Result<std::optional<FileDescriptor>> Directory::OpenRegular(const std::string& name,
                                                             int64_t* size_bytes) const {
  if (!IsConfinedName(name)) return std::optional<FileDescriptor>();
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  if (!Mutant("follow_links")) flags |= O_NOFOLLOW;
  FileDescriptor fd(::openat(fd_.get(), name.c_str(), flags));
  if (!fd.valid()) {
    const int error = errno;
    // ELOOP: a symbolic link. ENXIO, ENODEV: a socket, a device without a driver.
    if (error == ENOENT || error == ELOOP || error == ENXIO || error == ENODEV) {
      return std::optional<FileDescriptor>();
    }
    return StatusFromErrno(error, "open", PathInside(path_, name));
  }
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) {
    return StatusFromErrno(errno, "examine", PathInside(path_, name));
  }
  const bool is_file = S_ISREG(info.st_mode) || Mutant("any_kind_of_file");
  if (!is_file) return std::optional<FileDescriptor>();
  *size_bytes = info.st_size;
  return std::optional<FileDescriptor>(std::move(fd));
}

Result<ByteBuffer> Directory::ReadOpenFile(const FileDescriptor& file, const std::string& path,
                                           int64_t max_bytes) {
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) {
    return StatusFromErrno(errno, "examine", path);
  }
  if (info.st_size > max_bytes && !Mutant("no_file_budget")) {
    return OverBudget(path, info.st_size, max_bytes);
  }
  ByteBuffer buffer;
  if (const int error = ReadWhole(file, info.st_size, &buffer); error != 0) {
    return StatusFromErrno(error, "read", path);
  }
  return buffer;
}

Result<ByteBuffer> Directory::ReadEndOfFile(const FileDescriptor& file, const std::string& path,
                                            int64_t size_bytes) {
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return StatusFromErrno(errno, "examine", path);
  const auto size = static_cast<size_t>(std::min<int64_t>(info.st_size, size_bytes));
  ByteBuffer buffer;
  if (!buffer.Reset(size)) return StatusFromErrno(ENOMEM, "read", path);
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(file.get(), buffer.data() + done, size - done,
                                info.st_size - static_cast<off_t>(size - done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return StatusFromErrno(errno, "read", path);
    if (got == 0) break;  // It became shorter.
    done += static_cast<size_t>(got);
  }
  buffer.Truncate(done);
  return buffer;
}

Result<std::optional<ByteBuffer>> Directory::ReadFile(const std::string& name,
                                                      int64_t max_bytes) const {
  int64_t size_bytes = 0;
  BARCACHE_ASSIGN_OR_RETURN(const std::optional<FileDescriptor> file,
                            OpenRegular(name, &size_bytes));
  if (!file) return std::optional<ByteBuffer>();
  if (size_bytes > max_bytes && !Mutant("no_file_budget")) {
    return OverBudget(PathInside(path_, name), size_bytes, max_bytes);
  }
  ByteBuffer buffer;
  if (const int error = ReadWhole(*file, size_bytes, &buffer); error != 0) {
    return StatusFromErrno(error, "read", PathInside(path_, name));
  }
  return std::optional<ByteBuffer>(std::move(buffer));
}

Result<FileDescriptor> Directory::NewFile(const std::string& name) const {
  FileDescriptor fd(::openat(fd_.get(), name.c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return StatusFromErrno(errno, "create", PathInside(path_, name));
  return fd;
}

Status Directory::CreateFile(const std::string& name, std::span<const uint8_t> bytes,
                             bool durable) const {
  if (!IsConfinedName(name)) return RefuseName(name);
  BARCACHE_ASSIGN_OR_RETURN(FileDescriptor fd, NewFile(name));
  Unfinished unfinished(fd_.get(), name);
  Failpoint("file.created");
  const char* action = "write";
  int error = WriteAll(fd.get(), bytes);
  Failpoint("file.written");
  if (error == 0 && durable) {
    action = "sync";
    error = SyncBytes(fd.get());
  }
  if (error == 0) {
    action = "close";
    error = CloseChecked(&fd);
  }
  if (error == 0 && durable) {
    action = "sync the directory of";
    error = SyncNames(fd_.get());
  }
  if (error != 0) return StatusFromErrno(error, action, PathInside(path_, name));
  unfinished.Keep();
  return {};
}

Result<GrowingFile> Directory::BeginFile() const {
  std::string temp_name = std::string(kTemporaryPrefix) + RandomHex32();
  BARCACHE_ASSIGN_OR_RETURN(FileDescriptor fd, NewFile(temp_name));
  GrowingFile file(*this, std::move(temp_name), std::move(fd));
  Failpoint("file.created");
  return file;
}

GrowingFile::GrowingFile(GrowingFile&& other) noexcept
    : directory_(std::exchange(other.directory_, nullptr)),
      temp_name_(std::move(other.temp_name_)),
      fd_(std::move(other.fd_)),
      write_error_(other.write_error_) {}

GrowingFile::~GrowingFile() {
  if (directory_ != nullptr) ::unlinkat(directory_->fd_.get(), temp_name_.c_str(), 0);
}

void GrowingFile::Append(std::span<const uint8_t> bytes) {
  if (write_error_ == 0) write_error_ = WriteAll(fd_.get(), bytes);
}

Status GrowingFile::Finish(const std::string& name, bool durable) {
  const int directory_fd = directory_->fd_.get();
  Unfinished unfinished(directory_fd, temp_name_);
  const std::string& path = std::exchange(directory_, nullptr)->path_;
  Failpoint("file.written");
  const char* action = "write";
  int error = write_error_;
  if (error == 0 && durable) {
    action = "sync";
    error = SyncBytes(fd_.get());
  }
  if (error == 0) {
    action = "close";
    error = CloseChecked(&fd_);
  }
  if (error == 0 && !IsConfinedName(name)) return RefuseName(name);
  if (error == 0) {
    action = "rename";
    const bool renames = !Mutant("no_rename");
    if (renames && ::renameat(directory_fd, temp_name_.c_str(), directory_fd, name.c_str()) != 0) {
      error = errno;
    }
  }
  Failpoint("file.renamed");
  if (error == 0 && durable) {
    action = "sync the directory of";
    unfinished.IsNow(name);
    error = SyncNames(directory_fd);
  }
  if (error != 0) return StatusFromErrno(error, action, PathInside(path, name));
  unfinished.Keep();
  return {};
}

Status Directory::RemoveFile(const std::string& name) const {
  if (!IsConfinedName(name)) return RefuseName(name);
  struct stat info{};
  if (::fstatat(fd_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return StatusFromErrno(errno, "examine", PathInside(path_, name));
  }
  if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode)) {
    return LeftInPlace(PathInside(path_, name));
  }
  Failpoint("file.unlinking");
  if (::unlinkat(fd_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    return StatusFromErrno(errno, "remove", PathInside(path_, name));
  }
  Failpoint("file.unlinked");
  return {};
}

Result<std::vector<FileInfo>> Directory::List() const {
  BARCACHE_ASSIGN_OR_RETURN(DirectoryStream names, OpenStream());
  std::vector<FileInfo> files;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const auto name, names.Next());
    if (!name) return files;
    BARCACHE_ASSIGN_OR_RETURN(auto info, Examine(*name));
    if (info) files.push_back(std::move(*info));  // Else gone meanwhile.
  }
}

Result<DirectoryStream> Directory::OpenStream() const {
  // A descriptor of its own: the position in the directory is then not shared with other threads.
  FileDescriptor fd(::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return StatusFromErrno(errno, "list", path_);
  DIR* dir = ::fdopendir(fd.get());
  if (dir == nullptr) return StatusFromErrno(errno, "list", path_);
  fd.Release();  // closedir closes it.
  return DirectoryStream(path_, dir);
}

void DirectoryStream::Close::operator()(DIR* dir) const { ::closedir(dir); }

Result<std::optional<std::string>> DirectoryStream::Next() {
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(dir_.get());
    if (entry == nullptr && errno != 0) return StatusFromErrno(errno, "list", path_);
    if (entry == nullptr) return std::optional<std::string>();
    std::string name = entry->d_name;
    if (name != "." && name != "..") return std::optional<std::string>(std::move(name));
  }
}

Result<std::optional<FileInfo>> Directory::Examine(const std::string& name) const {
  if (!IsConfinedName(name)) return std::optional<FileInfo>();
  struct stat info{};
  if (::fstatat(fd_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::optional<FileInfo>();
    return StatusFromErrno(errno, "examine", PathInside(path_, name));
  }
  return std::optional<FileInfo>(FileInfo{.name = name,
                                          .size_bytes = info.st_size,
                                          .modified_s = info.st_mtim.tv_sec,
                                          .is_regular = S_ISREG(info.st_mode)});
}

bool IsTemporaryName(std::string_view name) {
  return name.starts_with(kTemporaryPrefix) && name.size() == kTemporaryPrefix.size() + 32 &&
         name.find_first_not_of("0123456789abcdef", kTemporaryPrefix.size()) ==
             std::string_view::npos;
}

bool IsConfinedName(std::string_view name) {
  constexpr size_t kMaxNameBytes = 255;
  if (Mutant("no_confinement")) return true;
  return !name.empty() && name.size() <= kMaxNameBytes && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

Status MakeDirectories(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return {ErrorCode::kInvalidArgument,
            "a directory's path is empty or holds a NUL character: give another one"};
  }
  // The whole and every prefix that ends before a slash: up to one that is there, and down again.
  std::vector<std::string> missing;
  for (size_t end = path.size(); end > 0 && end != std::string::npos;
       end = path.rfind('/', end - 1)) {
    if (path[end - 1] == '/' && end < path.size()) continue;
    std::string prefix = path.substr(0, end);
    BARCACHE_ASSIGN_OR_RETURN(const bool is_there, IsDirectory(prefix));
    if (is_there) break;
    missing.push_back(std::move(prefix));
  }
  for (; !missing.empty(); missing.pop_back()) {
    BARCACHE_RETURN_IF_ERROR(MakeOneDirectory(missing.back()));
  }
  return {};
}

Status StatusFromErrno(int error, std::string_view what, std::string_view path) {
  std::string message = "could not ";
  message.append(what).append(" '").append(path).append("': ");
  message.append(std::generic_category().message(error)).append(AdviceFor(error));
  return {CodeFor(error), std::move(message), error};
}

std::string RandomHex32() {
  std::array<uint8_t, 16> bytes{};
  ssize_t got = -1;
  do {
    got = ::getrandom(bytes.data(), bytes.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(bytes.size())) {
    // The call may be filtered in a sandbox; the standard library knows other ways.
    std::random_device device;
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(device());
  }
  return HexEncode(bytes);
}

}  // namespace barcache
