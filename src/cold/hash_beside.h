// HashBeside: the SHA-256 of a buffer, taken by another thread if the buffer is large enough for
// that to pay, while this one decodes the same bytes. Internal to the cold room.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/crew.h"
#include "base/sha256.h"

namespace barcache {

class HashBeside {
 public:
  // REQUIRES: `bytes` outlive the object and do not change.
  explicit HashBeside(std::span<const uint8_t> bytes) : bytes_(bytes) {
    if (bytes.size() >= kWorthwhileBytes && Crew::Shared().worker_count() > 0) {
      batch_.emplace(Crew::Shared(), 1, [this](int64_t) { digest_ = Sha256(bytes_); });
    }
  }
  HashBeside(const HashBeside&) = delete;
  HashBeside& operator=(const HashBeside&) = delete;

  // Whether somebody else may be at it; else Hex does it when asked.
  bool is_beside() const { return batch_.has_value(); }

  // 64 hex letters. Waits for the other thread, or does it here if none has begun.
  const std::string& Hex() {
    if (hex_.empty()) {
      if (batch_) {
        batch_->Join();
      } else {
        digest_ = Sha256(bytes_);
      }
      hex_ = HexEncode(digest_);
    }
    return hex_;
  }

 private:
  // Waking a parked thread costs some 20 us: as long as hashing 36 KB.
  static constexpr size_t kWorthwhileBytes = 128 * 1024;

  std::span<const uint8_t> bytes_;
  Sha256Digest digest_{};
  std::string hex_;
  std::optional<Crew::Batch> batch_;
};

}  // namespace barcache
