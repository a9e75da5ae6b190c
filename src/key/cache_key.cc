// Python's json.dumps in its very bytes, the key made from it, and the names of entry files.
#include "barcache/cache_key.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <system_error>

#include "base/sha256.h"

namespace barcache {
namespace {

constexpr size_t kMaxPlainStem = 64;
constexpr size_t kChecksumPrefix = 32;
constexpr std::string_view kSuffix = ".parquet";

bool IsSurrogate(char32_t point) { return point >= 0xD800 && point <= 0xDFFF; }

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Takes one code point, surrogates included, off the front of `text`. nullopt: malformed
// (cut short, overlong, beyond U+10FFFF).
std::optional<char32_t> TakeCodePoint(std::string_view* text) {
  static constexpr std::array<char32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  const auto first = static_cast<unsigned char>(text->front());
  size_t length = 0;
  char32_t point = 0;
  if (first < 0x80) {
    length = 1;
    point = first;
  } else if ((first & 0xE0) == 0xC0) {
    length = 2;
    point = first & 0x1F;
  } else if ((first & 0xF0) == 0xE0) {
    length = 3;
    point = first & 0x0F;
  } else if ((first & 0xF8) == 0xF0) {
    length = 4;
    point = first & 0x07;
  }
  if (length == 0 || text->size() < length) return std::nullopt;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation((*text)[i])) return std::nullopt;
    point = point << 6 | (static_cast<unsigned char>((*text)[i]) & 0x3F);
  }
  if (point < kSmallest[length] || point > 0x10FFFF) return std::nullopt;
  text->remove_prefix(length);
  return point;
}

// "\uXXXX" for one UTF-16 code unit.
void AppendUnit(char32_t unit, std::string* json) {
  static constexpr char kDigits[] = "0123456789abcdef";
  json->append("\\u");
  for (int shift = 12; shift >= 0; shift -= 4) json->push_back(kDigits[unit >> shift & 15]);
}

void AppendEscaped(char32_t point, std::string* json) {
  switch (point) {
    case '"':
      json->append("\\\"");
      return;
    case '\\':
      json->append("\\\\");
      return;
    case '\n':
      json->append("\\n");
      return;
    case '\r':
      json->append("\\r");
      return;
    case '\t':
      json->append("\\t");
      return;
    case '\b':
      json->append("\\b");
      return;
    case '\f':
      json->append("\\f");
      return;
    default:
      break;
  }
  if (point >= 0x10000) {
    AppendUnit(0xD800 + ((point - 0x10000) >> 10), json);
    AppendUnit(0xDC00 + ((point - 0x10000) & 0x3FF), json);
  } else if (point < 0x20 || point > 0x7E) {
    AppendUnit(point, json);
  } else {
    json->push_back(static_cast<char>(point));
  }
}

// Appends `text` as a JSON string. False: not (W)UTF-8.
bool AppendString(std::string_view text, std::string* json) {
  json->push_back('"');
  while (!text.empty()) {
    const std::optional<char32_t> point = TakeCodePoint(&text);
    if (!point) return false;
    AppendEscaped(*point, json);
  }
  json->push_back('"');
  return true;
}

Status AppendField(const char* name, std::string_view text, std::string* json) {
  if (AppendString(text, json)) return {};
  return {ErrorCode::kInvalidArgument,
          std::string(name) + " of the request is not valid UTF-8: pass it as UTF-8 text"};
}

bool IsStemLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

bool IsPlainStem(std::string_view text) {
  return !text.empty() && text.size() <= kMaxPlainStem &&
         std::all_of(text.begin(), text.end(), IsStemLetter);
}

bool IsLowerHex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool ParseGeneration(std::string_view digits, uint64_t* generation) {
  if (digits.empty() || (digits.size() > 1 && digits.front() == '0')) return false;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), *generation);
  return error == std::errc() && end == digits.end();
}

}  // namespace

Result<std::string> CanonicalJson(const DataRequest& request) {
  // Bytes of UTF-8 compare as code points do, which is how Python sorts.
  std::vector<std::string_view> symbols(request.symbols.begin(), request.symbols.end());
  std::sort(symbols.begin(), symbols.end());

  std::string json = "{\"data_source\": ";
  BARCACHE_RETURN_IF_ERROR(AppendField("data_source", request.data_source, &json));
  json.append(", \"end_date\": ");
  BARCACHE_RETURN_IF_ERROR(AppendField("end_date", request.end_date, &json));
  json.append(", \"resolution\": ");
  BARCACHE_RETURN_IF_ERROR(AppendField("resolution", request.resolution, &json));
  json.append(", \"start_date\": ");
  BARCACHE_RETURN_IF_ERROR(AppendField("start_date", request.start_date, &json));
  json.append(", \"symbols\": [");
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (i > 0) json.append(", ");
    BARCACHE_RETURN_IF_ERROR(AppendField("a symbol", symbols[i], &json));
  }
  json.append("]}");
  return json;
}

Result<std::string> GenerateCacheKey(const DataRequest& request) {
  BARCACHE_ASSIGN_OR_RETURN(const std::string json, CanonicalJson(request));
  return KeyOfCanonicalJson(json);
}

std::string KeyOfCanonicalJson(std::string_view canonical_json) {
  return Sha256Hex(canonical_json).substr(0, 16);
}

Status ValidateCacheKey(std::string_view key) {
  if (key.empty()) {
    return {ErrorCode::kInvalidArgument, "the cache key is empty: give it at least one letter"};
  }
  while (!key.empty()) {
    const std::optional<char32_t> point = TakeCodePoint(&key);
    if (!point) {
      return {ErrorCode::kInvalidArgument,
              "the cache key is not valid UTF-8: pass it as UTF-8 text"};
    }
    if (*point == 0) {
      return {ErrorCode::kInvalidArgument,
              "the cache key holds a NUL character: use a key without one"};
    }
    if (IsSurrogate(*point)) {
      return {ErrorCode::kInvalidArgument,
              "the cache key holds a lone surrogate: use a key that can be encoded as UTF-8"};
    }
  }
  return {};
}

std::string FileStemOfKey(std::string_view key) {
  if (IsPlainStem(key)) return std::string(key);
  return Sha256Hex(key).substr(0, 32);
}

std::string EntryFileName(std::string_view key, uint64_t generation,
                          std::string_view checksum_hex) {
  std::string name = FileStemOfKey(key);
  name.append("~").append(std::to_string(generation)).append("~");
  name.append(checksum_hex.substr(0, kChecksumPrefix)).append(kSuffix);
  return name;
}

bool ParseEntryFileName(std::string_view name, EntryFileNameParts* parts) {
  if (!name.ends_with(kSuffix)) return false;
  name.remove_suffix(kSuffix.size());
  const size_t first = name.find('~');
  if (first == std::string_view::npos) return false;
  const size_t second = name.find('~', first + 1);
  if (second == std::string_view::npos) return false;

  const std::string_view stem = name.substr(0, first);
  const std::string_view checksum = name.substr(second + 1);
  uint64_t generation = 0;
  if (!IsPlainStem(stem) || checksum.size() != kChecksumPrefix ||
      !std::all_of(checksum.begin(), checksum.end(), IsLowerHex) ||
      !ParseGeneration(name.substr(first + 1, second - first - 1), &generation)) {
    return false;
  }
  *parts = EntryFileNameParts{std::string(stem), generation, std::string(checksum)};
  return true;
}

}  // namespace barcache
