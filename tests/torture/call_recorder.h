// CallRecorder: reads what a gated child is about to do to the files of a folder, and what it
// writes into its log, out of the system calls that it makes.
//
// SQLite's index of the log and the change counters are left out: both are mapped, and made anew.
//
// Thread safety: none.
#pragma once

#include <linux/seccomp.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "torture/disk_model.h"

namespace barcache::torture {

class CallRecorder {
 public:
  CallRecorder(std::string folder, std::string log)
      : folder_(std::move(folder)), log_(std::move(log)) {}

  // Before the call is carried out.
  void Observe(pid_t thread, const seccomp_data& call);

  const std::vector<DiskCall>& calls() const { return calls_; }
  // Calls in the folder that it does not understand: the record is not complete.
  const std::vector<int>& unknown() const { return unknown_; }

 private:
  void Add(DiskCall::Kind kind, const std::string& path, int64_t offset = 0,
           std::string bytes = {});
  void AddTwo(DiskCall::Kind kind, const std::string& from, const std::string& to);
  void AddWrite(pid_t thread, const seccomp_data& call, std::optional<int64_t> offset);
  void AddOpen(const std::string& path, uint64_t flags);
  bool ObserveNames(pid_t thread, const seccomp_data& call);
  std::optional<std::string> NameOf(const std::string& path) const;

  std::string folder_;
  std::string log_;
  std::vector<DiskCall> calls_;
  std::vector<int> unknown_;
};

}  // namespace barcache::torture
