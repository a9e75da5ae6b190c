// Ext4Image: a real ext4 file system in memory whose power can be cut.
//
// A loop device over anonymous memory, mounted in a mount namespace of this process: however the
// process ends, the kernel takes mount, device and memory back. Needs root and loop devices.
#pragma once

#include <string>

#include "base/file_system.h"

namespace barcache::torture {

class Ext4Image {
 public:
  // Makes and mounts it at `folder`, with "ordered" or "writeback" data. On failure why() says it.
  Ext4Image(std::string folder, const std::string& data);
  ~Ext4Image();
  Ext4Image(const Ext4Image&) = delete;
  Ext4Image& operator=(const Ext4Image&) = delete;

  const std::string& why() const { return why_; }  // "": mounted.

  // From now on nothing reaches the device, the journal included.
  bool CutPower();
  // Unmounts and mounts: what had reached the device is there again.
  bool Restart();
  // Writes everything.
  bool Sync();
  // Commits the journal, as any other program's fsync does; data of other files is left where it
  // is.
  void CommitJournal();

 private:
  bool Make();
  bool Mount();
  bool Unmount();
  bool Fails(const std::string& what);

  std::string folder_;
  std::string options_;
  std::string device_path_;
  std::string why_;
  FileDescriptor memory_;
  FileDescriptor device_;
  bool mounted_ = false;
};

}  // namespace barcache::torture
