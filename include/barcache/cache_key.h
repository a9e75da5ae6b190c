// Cache keys: from a request to the 16 hex letters that name it.
//
// The key is the first 16 hex letters of the SHA-256 of the request as JSON, in the very bytes
// that Python's json.dumps(..., sort_keys=True) writes (separators ", " and ": ", ASCII only),
// with the symbols sorted by code point. Any non-empty UTF-8 string without NUL is a legal key.
//
// Text is UTF-8; lone surrogates, which a Python str may hold, are passed as their three-byte
// form (WTF-8) and come out as \udxxx like in Python.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "barcache/status.h"

namespace barcache {

struct DataRequest {
  std::vector<std::string> symbols;
  std::string start_date;
  std::string end_date;
  std::string resolution;
  std::string data_source;
};

// The JSON that is hashed. kInvalidArgument: text that is not (W)UTF-8.
Result<std::string> CanonicalJson(const DataRequest& request);
Result<std::string> GenerateCacheKey(const DataRequest& request);
// Key of a request already in canonical form.
std::string KeyOfCanonicalJson(std::string_view canonical_json);

// Ok for a legal key; else kInvalidArgument naming what is wrong ('' , NUL, not UTF-8).
Status ValidateCacheKey(std::string_view key);

// The part of a file name that stands for `key`: the key itself if it is [A-Za-z0-9_-]{1,64},
// else 32 hex letters of its SHA-256. REQUIRES: ValidateCacheKey(key).ok().
std::string FileStemOfKey(std::string_view key);

// "<stem>~<generation>~<first 32 hex of the file's SHA-256>.parquet" (docs/on-disk-format.md).
std::string EntryFileName(std::string_view key, uint64_t generation, std::string_view checksum_hex);
struct EntryFileNameParts {
  std::string stem;
  uint64_t generation = 0;
  std::string checksum_prefix;  // 32 hex letters.
};
// False: not a name that EntryFileName makes.
bool ParseEntryFileName(std::string_view name, EntryFileNameParts* parts);

}  // namespace barcache
