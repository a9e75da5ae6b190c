#include "torture/call_gate.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "base/file_system.h"

namespace barcache::torture {
namespace {

#if defined(__x86_64__)
constexpr unsigned kArchitecture = AUDIT_ARCH_X86_64;
#else
constexpr unsigned kArchitecture = AUDIT_ARCH_AARCH64;
#endif

constexpr int kCalls[] = {
    SYS_write,     SYS_writev,    SYS_pwrite64,  SYS_pwritev,         SYS_pwritev2, SYS_fsync,
    SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_copy_file_range, SYS_openat,   SYS_openat2,
    SYS_linkat,    SYS_symlinkat, SYS_renameat2, SYS_renameat,        SYS_unlinkat, SYS_mkdirat,
    SYS_utimensat, SYS_fcntl,     SYS_fchmodat,  SYS_fchmod,
#if defined(__x86_64__)
    SYS_open,      SYS_creat,     SYS_link,      SYS_symlink,         SYS_rename,   SYS_unlink,
    SYS_mkdir,     SYS_rmdir,     SYS_chmod,     SYS_truncate,
#endif
};

bool Counts(const seccomp_data& call) {
  constexpr int kWriting = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
  switch (call.nr) {
    case SYS_openat:
      return (call.args[2] & kWriting) != 0;
#if defined(__x86_64__)
    case SYS_open:
      return (call.args[1] & kWriting) != 0;
#endif
    case SYS_fcntl:
      return call.args[1] == F_SETLK || call.args[1] == F_SETLKW || call.args[1] == F_OFD_SETLK ||
             call.args[1] == F_OFD_SETLKW;
    default:
      return true;
  }
}

// The listener of a filter that hands kCalls over; -1 with errno.
int InstallFilter() {
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  for (const int call : kCalls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return static_cast<int>(
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter));
}

// One byte with a descriptor beside it.
struct Letter {
  char byte = 'x';
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  Letter() {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
  }
};

bool SendDescriptor(int socket, int fd) {
  Letter letter;
  cmsghdr* control = CMSG_FIRSTHDR(&letter.header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(control), &fd, sizeof(fd));
  return ::sendmsg(socket, &letter.header, 0) == 1;
}

FileDescriptor ReceiveDescriptor(int socket) {
  Letter letter;
  if (::recvmsg(socket, &letter.header, MSG_CMSG_CLOEXEC) != 1) return {};
  const cmsghdr* control = CMSG_FIRSTHDR(&letter.header);
  if (control == nullptr || control->cmsg_type != SCM_RIGHTS) return {};
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(control), sizeof(fd));
  return FileDescriptor(fd);
}

[[noreturn]] void RunAndExit(const std::function<int()>& work, unsigned seconds) {
  ::alarm(seconds);
  ::_exit(work());
}

void Reap(pid_t child, ChildEnd* end) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) end->exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) end->signal = WTERMSIG(status);
}

pid_t Fork() {
  std::fflush(nullptr);  // What is buffered must not be written twice.
  const pid_t child = ::fork();
  if (child < 0) {
    std::perror("torture: fork");
    std::exit(2);
  }
  return child;
}

// Lets calls pass and counts them until the child ends, or the nth is there.
void Attend(int listener, pid_t child, long nth, int signal, const CallObserver& observe,
            ChildEnd* end) {
  for (;;) {
    pollfd poll_one{listener, POLLIN, 0};
    if (::poll(&poll_one, 1, -1) < 0) continue;
    if ((poll_one.revents & POLLIN) == 0) return;  // POLLHUP: nobody is left who could call.
    seccomp_notif call{};
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;  // Died meanwhile.
    const bool counts = Counts(call.data);
    if (counts && ++end->calls == nth) {
      end->interrupted = true;
      ::kill(child, signal);
      return;
    }
    if (counts && observe) observe(static_cast<pid_t>(call.pid), call.data);
    seccomp_notif_resp answer{};
    answer.id = call.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    (void)::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
}

}  // namespace

ChildEnd RunChild(const std::function<int()>& work, unsigned seconds) {
  const pid_t child = Fork();
  if (child == 0) RunAndExit(work, seconds);
  ChildEnd end;
  Reap(child, &end);
  return end;
}

ChildEnd RunGated(const std::function<int()>& work, long nth, int signal, unsigned seconds,
                  const CallObserver& observe) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) std::exit(2);
  const FileDescriptor ours(sockets[0]);
  FileDescriptor theirs(sockets[1]);
  const pid_t child = Fork();
  if (child == 0) {
    const int listener = InstallFilter();
    if (listener < 0 || !SendDescriptor(theirs.get(), listener)) ::_exit(2);
    ::close(listener);  // Else it would wait for ever for a parent that died.
    RunAndExit(work, seconds);
  }
  theirs.Close();
  ChildEnd end;
  FileDescriptor listener = ReceiveDescriptor(ours.get());
  if (listener.valid()) Attend(listener.get(), child, nth, signal, observe, &end);
  Reap(child, &end);
  return end;
}

std::string WhyNoGate() {
  const ChildEnd end = RunChild([] {
    const int listener = InstallFilter();
    return listener >= 0 ? 0 : errno;
  });
  if (end.exit_code == 0) return "";
  return std::string("seccomp user notification is refused: ") + std::strerror(end.exit_code);
}

SharedText::SharedText() {
  void* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<char*>(memory);
}

SharedText::~SharedText() { ::munmap(memory_, kSize); }

void SharedText::Clear() { memory_[0] = '\0'; }

void SharedText::AddLine(const std::string& line) {
  const size_t used = std::strlen(memory_);
  if (used + line.size() + 2 > kSize) return;
  std::memcpy(memory_ + used, (line + "\n").c_str(), line.size() + 2);
}

std::string SharedText::text() const { return memory_; }

}  // namespace barcache::torture
