// Files without a row: whose they are, and from when on they are taken away. Internal to the cold
// room.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/file_system.h"

namespace barcache {

// A put writes its file before its row: a file younger than this may be about to get one.
inline constexpr int64_t kOrphanGraceSeconds = 600;

// A file without a row that is larger is none of ours for all we know: it is not read.
inline constexpr int64_t kMaxFileBytes = int64_t{16} << 30;

// What a file without a row says of itself. Neither: it is none of ours, and stays.
struct Origin {
  bool unfinished = false;         // A put was killed while it wrote this.
  std::optional<std::string> key;  // This catalog wrote it, as its own footer says, under that key.
};

// Of a regular file of that name. What cannot be read is none of ours.
Origin OriginOf(const Directory& directory, const std::string& name, const std::string& catalog_id);

}  // namespace barcache
