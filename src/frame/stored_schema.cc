// The stored schema: written, parsed, and matched with what a file holds.
//
//   text     = "1;" node
//   node     = format name flags pairs children dictionary
//   format, name, keys and values of pairs = <size>:<bytes>
//   flags    = <number>;        pairs = <count>; (key value)*
//   children = <count>; node*   dictionary = 0; | 1; node
#include "frame/stored_schema.h"

#include <algorithm>
#include <charconv>

#include "frame/arrow_format.h"
#include "frame/canonical_schema.h"
#include "frame/dictionary_builder.h"
#include "frame/utf8.h"

namespace barcache {
namespace {

constexpr std::string_view kVersion = "1;";
constexpr int kMaxDepth = 64;

bool IsUtf8Text(std::string_view text) {
  return IsUtf8(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

void WriteNumber(int64_t number, std::string* out) { *out += std::to_string(number) + ";"; }

void WriteText(std::string_view text, std::string* out) {
  *out += std::to_string(text.size()) + ":";
  *out += text;
}

void WriteNode(const SchemaNode& node, std::string* out) {
  WriteText(node.format, out);
  WriteText(node.name, out);
  WriteNumber(node.flags, out);
  MetadataPairs pairs;
  DecodeMetadataChecked(node.metadata, &pairs);
  WriteNumber(static_cast<int64_t>(pairs.size()), out);
  for (const auto& [key, value] : pairs) {
    WriteText(key, out);
    WriteText(value, out);
  }
  WriteNumber(static_cast<int64_t>(node.children.size()), out);
  for (const SchemaNode& child : node.children) WriteNode(child, out);
  WriteNumber(node.dictionary ? 1 : 0, out);
  if (node.dictionary) WriteNode(*node.dictionary, out);
}

// Reads the text from the front; every method is false where it is not well-formed.
class SchemaParser {
 public:
  explicit SchemaParser(std::string_view text) : rest_(text) {}

  bool Node(int depth, SchemaNode* node) {
    int64_t count = 0;
    if (depth > kMaxDepth) return false;
    if (!Text(&node->format) || !Text(&node->name)) return false;
    if (!Number(';', &node->flags) || !Metadata(&node->metadata)) return false;
    // A child takes more than one byte, so that the count cannot exceed what is left.
    if (!Number(';', &count) || count < 0 || count > static_cast<int64_t>(rest_.size())) {
      return false;
    }
    for (int64_t i = 0; i < count; ++i) {
      node->children.emplace_back();
      if (!Node(depth + 1, &node->children.back())) return false;
    }
    if (!Number(';', &count) || count < 0 || count > 1) return false;
    if (count == 0) return true;
    node->dictionary = std::make_unique<SchemaNode>();
    return Node(depth + 1, node->dictionary.get());
  }

  bool at_end() const { return rest_.empty(); }

 private:
  bool Number(char delimiter, int64_t* number) {
    auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), *number);
    if (error != std::errc() || end == rest_.data() + rest_.size() || *end != delimiter) {
      return false;
    }
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()) + 1);
    return true;
  }

  // A text of a C schema, which ends at a NUL.
  bool Text(std::string* text) { return AnyText(text) && text->find('\0') == std::string::npos; }

  bool Metadata(std::string* metadata) {
    int64_t count = 0;
    if (!Number(';', &count) || count < 0 || count > static_cast<int64_t>(rest_.size())) {
      return false;
    }
    MetadataPairs pairs;
    for (int64_t i = 0; i < count; ++i) {
      std::pair<std::string, std::string> pair;
      if (!Text(&pair.first) || !AnyText(&pair.second)) return false;
      pairs.push_back(std::move(pair));
    }
    *metadata = EncodeMetadata(pairs);
    return true;
  }

  // A NUL is allowed: the category of an Enum may hold one.
  bool AnyText(std::string* text) {
    int64_t size = 0;
    if (!Number(':', &size) || size < 0 || size > static_cast<int64_t>(rest_.size())) return false;
    text->assign(rest_.substr(0, static_cast<size_t>(size)));
    rest_.remove_prefix(static_cast<size_t>(size));
    return IsUtf8Text(*text);
  }

  std::string_view rest_;
};

Status Malformed() {
  return Status(ErrorCode::kCorruption, "the stored schema in the footer is not well-formed");
}

}  // namespace

bool HasSoundMetadata(const SchemaNode& node) {
  MetadataPairs pairs;
  if (!DecodeMetadataChecked(node.metadata, &pairs)) return false;
  for (const auto& [key, value] : pairs) {
    if (key == "_PL_ENUM_VALUES2") {
      std::vector<std::string> categories;
      if (!ParseEnumCategories(node.metadata, &categories)) return false;
      if (!std::all_of(categories.begin(), categories.end(), IsUtf8Text)) return false;
    } else if (key == "_PL_CATEGORICAL2") {
      if (!IsUtf8Text(value) || !IsCategoricalMetadata(value)) return false;
    } else {
      return false;
    }
  }
  for (const SchemaNode& child : node.children) {
    if (!HasSoundMetadata(child)) return false;
  }
  return true;
}

bool NeedsStoredSchema(const SchemaNode& node) {
  if (node.dictionary) return true;
  std::string_view format = node.format;
  if (format.starts_with("tD") || format.starts_with("+w:")) return true;
  // Read back as Null by us, as Int32 by Polars.
  if (format == "n") return true;
  if (format.starts_with("ts") && format.size() > 4 && format.substr(4) != "UTC") return true;
  for (const SchemaNode& child : node.children) {
    if (NeedsStoredSchema(child)) return true;
  }
  return false;
}

std::string SerializeSchema(const SchemaNode& table) {
  std::string text(kVersion);
  WriteNode(table, &text);
  return text;
}

Result<SchemaNode> ParseStoredSchema(std::string_view text) {
  if (!text.starts_with(kVersion)) return Malformed();
  SchemaParser parser(text.substr(kVersion.size()));
  SchemaNode table;
  if (!parser.Node(0, &table) || !parser.at_end() || !HasSoundMetadata(table)) return Malformed();
  // A canonical tree is one that the rules leave as it is.
  ArrowSchema schema{};
  ToArrowSchema(table, &schema);
  Result<SchemaNode> canonical = CanonicalTable(schema, SchemaSource::kFile);
  schema.release(&schema);
  if (!canonical.ok() || !canonical->SameTypeAs(table)) return Malformed();
  return std::move(*canonical);
}

SchemaNode StorageNode(const SchemaNode& node, bool nested) {
  SchemaNode storage;
  storage.name = node.name;
  storage.flags = node.flags & ~static_cast<int64_t>(ARROW_FLAG_DICTIONARY_ORDERED);
  storage.format = node.dictionary ? node.dictionary->format : node.format;
  // Arrow's writer cannot slice views where rows of a parent are null.
  if (nested && storage.format == "vu") storage.format = "U";
  if (nested && storage.format == "vz") storage.format = "Z";
  // Parquet has lists only, and Arrow's writer no Array of strings with null rows.
  if (storage.format.starts_with("+w:")) storage.format = "+L";
  storage.children.reserve(node.children.size());
  for (const SchemaNode& child : node.children) {
    storage.children.push_back(StorageNode(child, /*nested=*/true));
  }
  return storage;
}

bool CanRestore(const SchemaNode& file, const SchemaNode& stored) {
  std::string_view from = file.format;
  std::string_view to = stored.format;
  if (stored.dictionary) return file.dictionary || from == "vu";
  if (file.dictionary) return to == "vu";
  if (to.starts_with("tD") && from == "l") return true;
  const bool both_timestamps = from.starts_with("ts") && to.starts_with("ts");
  const bool list_to_array = from == "+L" && to.starts_with("+w:");
  if (both_timestamps) return from[2] == to[2];
  if (from != to && !list_to_array) return false;
  if (file.children.size() != stored.children.size()) return false;
  for (size_t i = 0; i < file.children.size(); ++i) {
    if (to == "+s" && file.children[i].name != stored.children[i].name) return false;
    if (!CanRestore(file.children[i], stored.children[i])) return false;
  }
  return true;
}

}  // namespace barcache
