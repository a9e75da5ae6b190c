#include "torture/call_recorder.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

namespace barcache::torture {
namespace {

std::string ReadMemory(pid_t thread, uint64_t at, size_t size) {
  std::string bytes(size, '\0');
  const iovec local{bytes.data(), size};
  const iovec remote{reinterpret_cast<void*>(at), size};  // NOLINT: an address of the child.
  const ssize_t read = ::process_vm_readv(thread, &local, 1, &remote, 1, 0);
  bytes.resize(read < 0 ? 0 : static_cast<size_t>(read));
  return bytes;
}

// Up to its zero, page by page: the next page need not be there.
std::string ReadText(pid_t thread, uint64_t at) {
  constexpr uint64_t kPage = 4096;
  std::string text;
  while (text.size() < PATH_MAX) {
    const std::string part = ReadMemory(thread, at, kPage - at % kPage);
    const size_t end = part.find('\0');
    text += part.substr(0, end);
    if (part.empty() || end != std::string::npos) break;
    at += part.size();
  }
  return text;
}

std::string LinkOf(pid_t thread, const std::string& what) {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/" + std::to_string(thread) + "/" + what, error);
}

std::string PathOfDescriptor(pid_t thread, uint64_t fd) {
  return LinkOf(thread, "fd/" + std::to_string(static_cast<int>(fd)));
}

std::string PathAt(pid_t thread, uint64_t directory, uint64_t at) {
  const std::filesystem::path name = ReadText(thread, at);
  if (name.is_absolute()) return name.lexically_normal();
  const bool here = static_cast<int>(directory) == AT_FDCWD;
  const std::filesystem::path base =
      here ? LinkOf(thread, "cwd") : PathOfDescriptor(thread, directory);
  return (base / name).lexically_normal();
}

int64_t PlaceIn(pid_t thread, uint64_t fd) {
  std::ifstream info("/proc/" + std::to_string(thread) + "/fdinfo/" +
                     std::to_string(static_cast<int>(fd)));
  std::string word;
  int64_t place = 0;
  info >> word >> place;  // "pos: 0"
  return place;
}

}  // namespace

std::optional<std::string> CallRecorder::NameOf(const std::string& path) const {
  if (path == folder_) return "";
  if (!path.starts_with(folder_ + "/")) return std::nullopt;
  if (path.ends_with("-shm") || path.ends_with("-barcache") || path.ends_with(" (deleted)")) {
    return std::nullopt;
  }
  return path.substr(folder_.size() + 1);
}

void CallRecorder::Add(DiskCall::Kind kind, const std::string& path, int64_t offset,
                       std::string bytes) {
  if (path == log_ && kind == DiskCall::Kind::kWrite) {
    calls_.push_back({DiskCall::Kind::kSay, "", "", 0, std::move(bytes)});
    return;
  }
  const auto name = NameOf(path);
  if (name) calls_.push_back({kind, *name, "", offset, std::move(bytes)});
}

void CallRecorder::AddTwo(DiskCall::Kind kind, const std::string& from, const std::string& to) {
  const auto name = NameOf(from);
  const auto other = NameOf(to);
  if (name && other) calls_.push_back({kind, *name, *other, 0, ""});
}

void CallRecorder::AddWrite(pid_t thread, const seccomp_data& call, std::optional<int64_t> offset) {
  const std::string path = PathOfDescriptor(thread, call.args[0]);
  if (path != log_ && !NameOf(path)) return;
  if (!offset) offset = PlaceIn(thread, call.args[0]);
  Add(DiskCall::Kind::kWrite, path, *offset, ReadMemory(thread, call.args[1], call.args[2]));
}

void CallRecorder::AddOpen(const std::string& path, uint64_t flags) {
  if ((flags & O_CREAT) != 0) Add(DiskCall::Kind::kMake, path);
  if ((flags & O_TRUNC) != 0) Add(DiskCall::Kind::kResize, path);
}

bool CallRecorder::ObserveNames(pid_t thread, const seccomp_data& call) {
  using enum DiskCall::Kind;
  const auto& args = call.args;
  const auto at = [&](size_t directory, size_t name) {
    return PathAt(thread, args[directory], args[name]);
  };
  const auto text = [&](size_t name) {
    return PathAt(thread, static_cast<uint64_t>(AT_FDCWD), args[name]);
  };
  switch (call.nr) {
    case SYS_openat:
      AddOpen(at(0, 1), args[2]);
      return true;
    case SYS_renameat:
    case SYS_renameat2:
      AddTwo(kRename, at(0, 1), at(2, 3));
      return true;
    case SYS_linkat:
      AddTwo(kLink, at(0, 1), at(2, 3));
      return true;
    case SYS_unlinkat:
      Add(kRemove, at(0, 1));
      return true;
    case SYS_mkdirat:
      Add(kMakeFolder, at(0, 1));
      return true;
#if defined(__x86_64__)
    case SYS_open:
      AddOpen(text(0), args[1]);
      return true;
    case SYS_rename:
      AddTwo(kRename, text(0), text(1));
      return true;
    case SYS_link:
      AddTwo(kLink, text(0), text(1));
      return true;
    case SYS_unlink:
      Add(kRemove, text(0));
      return true;
    case SYS_mkdir:
      Add(kMakeFolder, text(0));
      return true;
#endif
    default:
      return false;
  }
}

void CallRecorder::Observe(pid_t thread, const seccomp_data& call) {
  using enum DiskCall::Kind;
  const auto& args = call.args;
  if (ObserveNames(thread, call)) return;
  switch (call.nr) {
    case SYS_write:
      return AddWrite(thread, call, std::nullopt);
    case SYS_pwrite64:
      return AddWrite(thread, call, static_cast<int64_t>(args[3]));
    case SYS_fsync:
    case SYS_fdatasync:
      return Add(kSync, PathOfDescriptor(thread, args[0]));
    case SYS_ftruncate:
      return Add(kResize, PathOfDescriptor(thread, args[0]), static_cast<int64_t>(args[1]));
    case SYS_fallocate:
      return Add(kExtend, PathOfDescriptor(thread, args[0]),
                 static_cast<int64_t>(args[2] + args[3]));
    case SYS_fcntl:  // Locks.
    case SYS_fchmod:
    case SYS_fchmodat:
    case SYS_utimensat:
#if defined(__x86_64__)
    case SYS_chmod:
#endif
      return;
    default:
      unknown_.push_back(call.nr);
  }
}

}  // namespace barcache::torture
