#include "cold/entry_stamp.h"

#include <charconv>
#include <string_view>

namespace barcache {
namespace {

constexpr std::string_view kStampKey = "barcache";
constexpr std::string_view kRequestKey = "barcache.request";
constexpr std::string_view kVersionLine = "1";

// Takes the text up to the next newline off the front of `rest`.
std::optional<std::string_view> TakeLine(std::string_view* rest) {
  const size_t end = rest->find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = rest->substr(0, end);
  rest->remove_prefix(end + 1);
  return line;
}

template <typename Integer>
bool ParseInteger(std::string_view text, Integer* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

KeyValues WriteStamp(const EntryStamp& stamp) {
  std::string text;
  text.reserve(96 + stamp.cache_key.size());
  text.append(kVersionLine).push_back('\n');
  text.append(stamp.catalog_id).push_back('\n');
  text.append(std::to_string(stamp.generation)).push_back('\n');
  text.append(std::to_string(stamp.dataset_id)).push_back('\n');
  text.append(std::to_string(stamp.created_at)).push_back('\n');
  text.append(stamp.cache_key);  // Last: a key may hold newlines.
  KeyValues pairs;
  pairs.emplace_back(kStampKey, std::move(text));
  if (!stamp.request_json.empty()) pairs.emplace_back(kRequestKey, stamp.request_json);
  return pairs;
}

std::optional<EntryStamp> ReadStamp(const KeyValues& key_values) {
  EntryStamp stamp;
  bool found = false;
  for (const auto& [key, value] : key_values) {
    if (key == kRequestKey) stamp.request_json = value;
    if (key != kStampKey) continue;
    std::string_view rest = value;
    const auto version = TakeLine(&rest);
    const auto catalog_id = TakeLine(&rest);
    const auto generation = TakeLine(&rest);
    const auto dataset_id = TakeLine(&rest);
    const auto created_at = TakeLine(&rest);
    if (!created_at || *version != kVersionLine) return std::nullopt;
    if (!ParseInteger(*generation, &stamp.generation) ||
        !ParseInteger(*dataset_id, &stamp.dataset_id) ||
        !ParseInteger(*created_at, &stamp.created_at)) {
      return std::nullopt;
    }
    stamp.catalog_id = *catalog_id;
    stamp.cache_key = rest;
    found = true;
  }
  if (!found) return std::nullopt;
  return stamp;
}

bool HasStamp(const KeyValues& key_values) {
  for (const auto& pair : key_values) {
    if (pair.first == kStampKey) return true;
  }
  return false;
}

}  // namespace barcache
