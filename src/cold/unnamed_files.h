// UnnamedFiles: files that no row names yet. The destructor removes them unless they were kept,
// which has to follow the commit at once. Internal to the cold room.
//
// Thread safety: none.
#pragma once

#include <vector>

#include "base/file_system.h"
#include "catalog/catalog.h"

namespace barcache {

class UnnamedFiles {
 public:
  // Both must outlive the object; those entries count that are there when it ends.
  UnnamedFiles(const Directory& directory, const std::vector<NewEntry>& entries)
      : directory_(directory), entries_(&entries) {}
  ~UnnamedFiles();
  UnnamedFiles(const UnnamedFiles&) = delete;
  UnnamedFiles& operator=(const UnnamedFiles&) = delete;
  void Keep() { entries_ = nullptr; }

 private:
  const Directory& directory_;
  const std::vector<NewEntry>* entries_;
};

}  // namespace barcache
