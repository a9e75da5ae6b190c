// ColdScan: the file of one entry, held open and verified anew by each read.
//
// The entry may be evicted, cleared or replaced meanwhile: the scan goes on with the bytes that
// it was opened on. It outlives the cold tier.
//
// Thread safety: Read may be called from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "barcache/frame.h"
#include "barcache/stats.h"
#include "base/file_system.h"
#include "cold/verification.h"

namespace barcache {

class ColdScan {
 public:
  ColdScan(FileDescriptor file, EntryInfo entry, int64_t decode_budget_bytes)
      : file_(std::move(file)),
        entry_(std::move(entry)),
        decode_budget_bytes_(decode_budget_bytes) {}

  Verified Read(const std::vector<std::string>* columns) const;
  // The whole file hashed, no column decoded: a frame of the exact schema without rows.
  Verified ReadSchema() const;
  const EntryInfo& entry() const { return entry_; }

 private:
  Result<ByteBuffer> ReadBytes() const;

  const FileDescriptor file_;
  const EntryInfo entry_;
  const int64_t decode_budget_bytes_;
};

}  // namespace barcache
