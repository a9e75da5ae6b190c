#include "cold/verification.h"

#include <algorithm>
#include <utility>

#include "barcache/cache_key.h"
#include "base/failpoint.h"
#include "base/file_system.h"
#include "base/sha256.h"
#include "cold/entry_stamp.h"
#include "cold/hash_beside.h"

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

Verdict CompareStamp(const EntryInfo& entry, const KeyValues& key_values, uint64_t* generation) {
  if (!HasStamp(key_values)) {
    const bool is_due = entry.generation != 0 && !Mutant("no_stamp_due");
    return is_due ? Verdict::kWrongKey : Verdict::kGood;
  }
  const auto stamp = ReadStamp(key_values);
  const bool names_key = stamp && (stamp->cache_key == entry.cache_key || Mutant("no_stamp_key"));
  if (!names_key) return Verdict::kWrongKey;
  // A row that lost its side row may still serve its own file.
  const bool compares = entry.generation != 0 && !Mutant("no_stamp_generation");
  if (compares && stamp->generation != entry.generation) return Verdict::kWrongKey;
  *generation = stamp ? stamp->generation : 0;
  return Verdict::kGood;
}

Verified VerifyBytes(const EntryInfo& entry, std::span<const uint8_t> bytes,
                     int64_t decode_budget_bytes, const std::vector<std::string>* columns) {
  Verified result;
  // A large file is hashed beside its decoding; nothing is handed out before the hash matched,
  // and a decoder that stumbled over wrong bytes is not listened to.
  HashBeside hash(bytes);
  const bool compares = !Mutant("no_checksum");
  if (compares && !hash.is_beside() && hash.Hex() != entry.checksum) {
    result.actual_checksum = hash.Hex();
    result.verdict = Verdict::kWrongBytes;
    return result;
  }
  // The budget scales with the file so that a large honest frame is never refused.
  DecodeLimits limits;
  limits.max_decoded_bytes =
      std::max(decode_budget_bytes, 100 * static_cast<int64_t>(bytes.size()));
  auto decoded = columns == nullptr ? DecodeParquet(bytes, limits)
                                    : DecodeParquetColumns(bytes, limits, *columns);
  result.actual_checksum = hash.Hex();
  if (compares && result.actual_checksum != entry.checksum) {
    result.verdict = Verdict::kWrongBytes;
    return result;
  }
  if (!decoded.ok()) {
    result.verdict = VerdictOfDecodeError(decoded.status().code());
    result.status = result.verdict == Verdict::kNoSuchColumn
                        ? Status(ErrorCode::kColumnNotFound, decoded.status().message())
                        : decoded.status();
    return result;
  }
  result.verdict = CompareStamp(entry, decoded->key_values, &result.stamp_generation);
  if (result.verdict == Verdict::kGood) result.frame = std::move(decoded->frame);
  return result;
}

Verified VerifySchema(const EntryInfo& entry, std::span<const uint8_t> bytes,
                      int64_t decode_budget_bytes) {
  Verified result;
  result.actual_checksum = HexEncode(Sha256(bytes));
  if (result.actual_checksum != entry.checksum) {
    result.verdict = Verdict::kWrongBytes;
    return result;
  }
  auto schema = ReadEmptyFrame(bytes, DecodeLimits{decode_budget_bytes});
  const auto key_values = ReadKeyValues(bytes);
  if (!schema.ok() || !key_values.ok()) {
    result.status = schema.ok() ? key_values.status() : schema.status();
    result.verdict = VerdictOfDecodeError(result.status.code());
    return result;
  }
  result.verdict = CompareStamp(entry, *key_values, &result.stamp_generation);
  if (result.verdict == Verdict::kGood) result.frame = std::move(*schema);
  return result;
}

bool FileBelongsToKey(std::string_view cache_key, std::string_view path) {
  if (!IsConfinedName(path)) return false;
  if (path == std::string(cache_key) + ".parquet") return true;
  EntryFileNameParts parts;
  return ParseEntryFileName(path, &parts) && ValidateCacheKey(cache_key).ok() &&
         parts.stem == FileStemOfKey(cache_key);
}

}  // namespace barcache
