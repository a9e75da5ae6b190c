// EntryStamp: what every file of ours says about itself, in the footer's key-value metadata, so
// that the file's SHA-256 covers it and a swapped file or row is caught.
// Format: docs/on-disk-format.md, "Footer". Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "frame/parquet_codec.h"

namespace barcache {

struct EntryStamp {
  std::string catalog_id;
  uint64_t generation = 0;
  int64_t dataset_id = 0;
  int64_t created_at = 0;
  std::string cache_key;
  std::string request_json;  // "" if unknown.
};

KeyValues WriteStamp(const EntryStamp& stamp);
// nullopt: the file carries none, or one that is not well formed.
std::optional<EntryStamp> ReadStamp(const KeyValues& key_values);
// True when a stamp is present, well formed or not.
bool HasStamp(const KeyValues& key_values);

}  // namespace barcache
