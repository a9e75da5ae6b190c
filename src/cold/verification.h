// What can be wrong with an entry's file, and what follows from it. Internal to the cold room.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "barcache/frame.h"
#include "barcache/stats.h"
#include "barcache/status.h"
#include "frame/parquet_codec.h"

namespace barcache {

enum class Verdict {
  kGood,
  kMissing,      // No regular file of that name.
  kNotConfined,  // The row names a path outside the cache directory.
  kWrongBytes,   // Size or SHA-256 differ from the row.
  kWrongKey,     // The footer names another key or generation, or none where one is due.
  kUndecodable,  // The bytes are those that were hashed at put, but no Parquet we can read.
  kUnreadable,   // EIO, EACCES, EMFILE, ENOMEM, over budget: nothing is known about the bytes.
  kNoSuchColumn,
};

struct Verified {
  Verdict verdict = Verdict::kUnreadable;
  Frame frame;
  Status status;
  std::string actual_checksum;
  uint64_t stamp_generation = 0;  // 0: no stamp.
  // Whether the entry is worthless, so that its row goes. An unreadable one stays.
  bool drops() const { return verdict != Verdict::kUnreadable && verdict != Verdict::kGood; }
};

Verdict VerdictOfDecodeError(ErrorCode code);

// kGood or kWrongKey. A file without a stamp is good only for a row that barcache did not write.
// With kGood, `generation` becomes the stamp's.
Verdict CompareStamp(const EntryInfo& entry, const KeyValues& key_values, uint64_t* generation);

// Hashes the bytes, decodes these same bytes, and compares the footer with the row.
Verified VerifyBytes(const EntryInfo& entry, std::span<const uint8_t> bytes,
                     int64_t decode_budget_bytes, const std::vector<std::string>* columns);

// The same without decoding a column: the frame has the exact schema and no rows.
Verified VerifySchema(const EntryInfo& entry, std::span<const uint8_t> bytes,
                      int64_t decode_budget_bytes);

// True when `path` is a file that a put of `cache_key` makes, by barcache or RustyBT: only such a
// file is ever unlinked on account of the key.
bool FileBelongsToKey(std::string_view cache_key, std::string_view path);

}  // namespace barcache
