#include "cold/verification.h"

#include "barcache/cache_key.h"
#include "base/file_system.h"
#include "cold/entry_stamp.h"

namespace barcache {

Verdict VerdictOfDecodeError(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return Verdict::kNoSuchColumn;
    case ErrorCode::kCorruption:
    case ErrorCode::kUnsupportedFrame:
      return Verdict::kUndecodable;
    default:
      return Verdict::kUnreadable;
  }
}

Verdict CompareStamp(const EntryInfo& entry, const KeyValues& key_values) {
  if (!HasStamp(key_values)) {
    return entry.generation == 0 ? Verdict::kGood : Verdict::kWrongKey;
  }
  const auto stamp = ReadStamp(key_values);
  if (!stamp || stamp->cache_key != entry.cache_key) return Verdict::kWrongKey;
  // A row that lost its side row may still serve its own file.
  if (entry.generation != 0 && stamp->generation != entry.generation) return Verdict::kWrongKey;
  return Verdict::kGood;
}

bool FileBelongsToKey(std::string_view cache_key, std::string_view path) {
  if (!IsConfinedName(path)) return false;
  if (path == std::string(cache_key) + ".parquet") return true;
  EntryFileNameParts parts;
  return ParseEntryFileName(path, &parts) && ValidateCacheKey(cache_key).ok() &&
         parts.stem == FileStemOfKey(cache_key);
}

}  // namespace barcache
