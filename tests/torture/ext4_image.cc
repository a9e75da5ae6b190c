#include "torture/ext4_image.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "torture/call_gate.h"

namespace barcache::torture {
namespace {

constexpr off_t kImageBytes = 64 << 20;
// _IOR('X', 125, __u32) of fs/ext4/ext4.h, and its way of going down without the journal.
constexpr unsigned long kExt4Shutdown = 0x8004587D;
constexpr uint32_t kWithoutLogFlush = 2;

}  // namespace

Ext4Image::Ext4Image(std::string folder, const std::string& data)
    : folder_(std::move(folder)), options_("data=" + data) {
  if (Make()) (void)Mount();
}

Ext4Image::~Ext4Image() {
  if (mounted_) (void)::umount2(folder_.c_str(), MNT_DETACH);
}

bool Ext4Image::Fails(const std::string& what) {
  why_ = "no ext4 image: " + what + ": " + std::strerror(errno);
  return false;
}

bool Ext4Image::Make() {
  memory_ = FileDescriptor(::memfd_create("barcache-ext4", MFD_CLOEXEC));
  if (!memory_.valid() || ::ftruncate(memory_.get(), kImageBytes) != 0) return Fails("memory");
  if (::unshare(CLONE_NEWNS) != 0) return Fails("mount namespace");
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Fails("mounts");
  const FileDescriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control.valid()) return Fails("/dev/loop-control");
  for (int attempt = 0; attempt < 50; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return Fails("free loop device");
    device_path_ = "/dev/loop" + std::to_string(number);
    device_ = FileDescriptor(::open(device_path_.c_str(), O_RDWR | O_CLOEXEC));
    if (!device_.valid()) return Fails(device_path_);
    loop_config config{};
    config.fd = static_cast<uint32_t>(memory_.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (::ioctl(device_.get(), LOOP_CONFIGURE, &config) == 0) break;
    device_.Close();
    if (errno != EBUSY) return Fails(device_path_);
    ::usleep(2000);  // Somebody was faster.
  }
  if (!device_.valid()) return Fails("loop device");
  const ChildEnd made = RunChild([this] {
    ::execlp("mkfs.ext4", "mkfs.ext4", "-q", "-F", "-E", "nodiscard", device_path_.c_str(),
             nullptr);
    return errno;
  });
  errno = made.exit_code;
  return made.exit_code == 0 || Fails("mkfs.ext4");
}

bool Ext4Image::Mount() {
  mounted_ = ::mount(device_path_.c_str(), folder_.c_str(), "ext4", 0, options_.c_str()) == 0;
  return mounted_ || Fails("mount");
}

bool Ext4Image::Unmount() {
  for (int attempt = 0; attempt < 200; ++attempt) {
    if (::umount(folder_.c_str()) == 0) {
      mounted_ = false;
      return true;
    }
    if (errno != EBUSY) break;
    ::usleep(1000);  // A process that was killed is still going.
  }
  return Fails("umount");
}

bool Ext4Image::CutPower() {
  const FileDescriptor root(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  uint32_t how = kWithoutLogFlush;
  return ::ioctl(root.get(), kExt4Shutdown, &how) == 0 || Fails("shutdown");
}

bool Ext4Image::Restart() { return Unmount() && Mount(); }

bool Ext4Image::Sync() {
  const FileDescriptor root(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return ::syncfs(root.get()) == 0 || Fails("syncfs");
}

void Ext4Image::CommitJournal() {
  const std::string name = folder_ + "/of-another-program";
  const FileDescriptor file(::open(name.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  (void)!::write(file.get(), "x", 1);
  (void)::fsync(file.get());
}

}  // namespace barcache::torture
