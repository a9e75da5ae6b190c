// The rules of what a frame may hold.
#include "frame/canonical_schema.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "frame/arrow_format.h"
#include "frame/utf8.h"

namespace barcache {
namespace {

// Deeper trees are refused: every walk over a tree is a recursion.
constexpr int kMaxDepth = 64;

// Field metadata that makes a Polars dtype; all other metadata is dropped.
constexpr std::string_view kPolarsPrefix = "_PL_";
constexpr std::string_view kExtensionName = "ARROW:extension:name";

bool IsUtf8Text(std::string_view text) {
  return IsUtf8(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

Status Refuse(const std::string& path, const std::string& type, const std::string& advice) {
  return Status(ErrorCode::kUnsupportedFrame, "column '" + path + "' is of type " + type +
                                                  ", which cannot come back exactly: " + advice);
}

std::string AdviceFor(std::string_view format) {
  if (format.starts_with("w:")) {
    return "cast an Object to a real dtype, a fixed-size binary to binary, before the put";
  }
  if (format.starts_with("_pl")) return "cast it to Int64, UInt64 or Decimal before the put";
  return "cast it to a type that Polars and Parquet share before the put";
}

// The canonical format of a node without children and dictionary; "" if there is none.
std::string CanonicalLeafFormat(std::string_view format) {
  if (format == "u" || format == "U") return "vu";
  if (format == "z" || format == "Z" || format.starts_with("w:")) return "vz";
  if (format == "tdm") return "tsm:";
  if (format.starts_with("tt")) return "ttn";
  if (format == "tDs") return "tDm";
  if (format.starts_with("tss:")) return "tsm:" + std::string(format.substr(4));
  DecimalFormat decimal;
  if (format.starts_with("d:")) {
    if (!ParseDecimalFormat(format, &decimal)) return "";
    if (decimal.bits == 256 || decimal.precision < 1 || decimal.precision > 38) return "";
    if (decimal.scale < 0 || decimal.scale > decimal.precision) return "";
    return "d:" + std::to_string(decimal.precision) + "," + std::to_string(decimal.scale);
  }
  return std::string(format);
}

std::string KeptMetadata(const char* metadata) {
  MetadataPairs kept;
  for (auto& pair : DecodeMetadata(metadata)) {
    if (pair.first.starts_with(kPolarsPrefix)) kept.push_back(std::move(pair));
  }
  return EncodeMetadata(kept);
}

Status CheckExtension(const ArrowSchema& schema, const std::string& path) {
  for (const auto& [key, value] : DecodeMetadata(schema.metadata)) {
    if (key == kExtensionName) {
      return Refuse(path, "Extension('" + value + "')",
                    "put its storage instead (Polars: .ext.storage())");
    }
  }
  return Status();
}

class Canonicaliser {
 public:
  explicit Canonicaliser(SchemaSource source) : source_(source) {}

  Result<SchemaNode> Node(const ArrowSchema& schema, const std::string& path, int depth) {
    if (depth > kMaxDepth) {
      return Refuse(path, "a tree of more than " + std::to_string(kMaxDepth) + " levels",
                    "unnest it before the put");
    }
    if (schema.format == nullptr || schema.release == nullptr) {
      return Status(ErrorCode::kInvalidArgument,
                    "column '" + path + "': the producer handed over a released Arrow schema");
    }
    if (source_ == SchemaSource::kProducer) {
      BARCACHE_RETURN_IF_ERROR(CheckExtension(schema, path));
    }
    if (!IsUtf8Text(schema.format)) {
      return Status(ErrorCode::kInvalidArgument,
                    "column '" + path + "': the producer's Arrow format is not UTF-8");
    }
    if (schema.dictionary != nullptr) return Dictionary(schema, path, depth);
    Format format = ParseFormat(schema.format);
    // Polars exports an Object as fixed-size binary of pointers: never from a producer.
    const bool may_be_object =
        format.layout == Layout::kFixedBytes && source_ == SchemaSource::kProducer;
    if (format.layout == Layout::kUnsupported || may_be_object) {
      return Refuse(path, DescribeFormat(schema.format), AdviceFor(schema.format));
    }
    SchemaNode node;
    if (schema.name != nullptr) node.name = schema.name;
    switch (format.layout) {
      case Layout::kStruct:
        node.format = "+s";
        BARCACHE_RETURN_IF_ERROR(StructChildren(schema, path, depth, &node));
        return node;
      case Layout::kList32:
      case Layout::kList64:
        node.format = "+L";
        BARCACHE_RETURN_IF_ERROR(ListChild(schema, path, depth, &node));
        return node;
      case Layout::kFixedList:
        if (format.width == 0) {
          return Refuse(path, "Array(width 0)", "use a List, or drop the column, before the put");
        }
        node.format = schema.format;
        BARCACHE_RETURN_IF_ERROR(ListChild(schema, path, depth, &node));
        return node;
      case Layout::kMap:
        node.format = "+m";
        node.flags |= schema.flags & ARROW_FLAG_MAP_KEYS_SORTED;
        BARCACHE_RETURN_IF_ERROR(MapChild(schema, path, depth, &node));
        return node;
      default:
        node.format = CanonicalLeafFormat(schema.format);
        if (node.format.empty()) {
          return Refuse(path, DescribeFormat(schema.format), AdviceFor(schema.format));
        }
        return node;
    }
  }

 private:
  Result<SchemaNode> Dictionary(const ArrowSchema& schema, const std::string& path, int depth) {
    constexpr std::string_view kIndexFormats = "cCsSiIlL";
    std::string_view index = schema.format;
    if (index.size() != 1 || kIndexFormats.find(index[0]) == std::string_view::npos) {
      return Refuse(path, "dictionary with " + DescribeFormat(index) + " as index",
                    "cast it to its values before the put");
    }
    if (schema.dictionary->dictionary != nullptr) {
      return Refuse(path, "dictionary of dictionaries", "cast it to its values before the put");
    }
    BARCACHE_ASSIGN_OR_RETURN(SchemaNode values, Node(*schema.dictionary, path, depth + 1));
    if (values.format != "vu") {
      values.name = schema.name == nullptr ? "" : schema.name;
      return values;
    }
    SchemaNode node;
    if (schema.name != nullptr) node.name = schema.name;
    node.format = index == "C" || index == "S" ? std::string(index) : "I";
    node.flags |= schema.flags & ARROW_FLAG_DICTIONARY_ORDERED;
    node.metadata = KeptMetadata(schema.metadata);
    values.name.clear();
    node.dictionary = std::make_unique<SchemaNode>(std::move(values));
    return node;
  }

  Status StructChildren(const ArrowSchema& schema, const std::string& path, int depth,
                        SchemaNode* node) {
    if (schema.n_children == 0 && depth > 0) {
      return Refuse(path, "Struct without fields", "drop the column before the put");
    }
    node->children.reserve(static_cast<size_t>(schema.n_children));
    for (int64_t i = 0; i < schema.n_children; ++i) {
      const ArrowSchema& child = *schema.children[i];
      std::string name = child.name == nullptr ? "" : child.name;
      if (!IsUtf8Text(name)) {
        return Status(ErrorCode::kUnsupportedFrame,
                      "a column name is not UTF-8: rename it before the put");
      }
      BARCACHE_ASSIGN_OR_RETURN(SchemaNode field,
                                Node(child, depth == 0 ? name : path + "." + name, depth + 1));
      node->children.push_back(std::move(field));
    }
    return CheckDistinctNames(*node, path);
  }

  Status ListChild(const ArrowSchema& schema, const std::string& path, int depth,
                   SchemaNode* node) {
    if (schema.n_children != 1) return BrokenSchema(path);
    BARCACHE_ASSIGN_OR_RETURN(SchemaNode item, Node(*schema.children[0], path + "[]", depth + 1));
    item.name = "item";
    node->children.push_back(std::move(item));
    return Status();
  }

  Status MapChild(const ArrowSchema& schema, const std::string& path, int depth, SchemaNode* node) {
    if (schema.n_children != 1 || schema.children[0]->n_children != 2 ||
        schema.children[0]->format != std::string_view("+s")) {
      return BrokenSchema(path);
    }
    const ArrowSchema& pair = *schema.children[0];
    SchemaNode entries;
    entries.format = "+s";
    entries.name = "entries";
    entries.flags = 0;
    BARCACHE_ASSIGN_OR_RETURN(SchemaNode key, Node(*pair.children[0], path + ".key", depth + 2));
    BARCACHE_ASSIGN_OR_RETURN(SchemaNode value,
                              Node(*pair.children[1], path + ".value", depth + 2));
    key.name = "key";
    key.flags &= ~static_cast<int64_t>(ARROW_FLAG_NULLABLE);
    value.name = "value";
    entries.children.push_back(std::move(key));
    entries.children.push_back(std::move(value));
    node->children.push_back(std::move(entries));
    return Status();
  }

  static Status BrokenSchema(const std::string& path) {
    return Status(ErrorCode::kInvalidArgument,
                  "column '" + path + "': the producer's Arrow schema lacks its children");
  }

  SchemaSource source_;
};

}  // namespace

Status CheckDistinctNames(const SchemaNode& node, const std::string& path) {
  std::vector<std::string_view> names;
  names.reserve(node.children.size());
  for (const SchemaNode& child : node.children) names.push_back(child.name);
  std::sort(names.begin(), names.end());
  auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return Status();
  std::string where = path.empty() ? "the frame" : "struct column '" + path + "'";
  return Status(ErrorCode::kUnsupportedFrame, where + " has two columns named '" +
                                                  std::string(*twice) +
                                                  "': rename one of them before the put");
}

Result<SchemaNode> CanonicalTable(const ArrowSchema& table, SchemaSource source) {
  if (table.format == nullptr || std::string_view(table.format) != "+s") {
    return Status(ErrorCode::kInvalidArgument,
                  "the Arrow data is not a table (a struct of columns): pass a DataFrame, a "
                  "Table or a RecordBatch");
  }
  BARCACHE_ASSIGN_OR_RETURN(SchemaNode node, Canonicaliser(source).Node(table, "", 0));
  node.name.clear();
  node.flags = 0;
  return node;
}

Result<SchemaNode> CanonicalColumn(const ArrowSchema& column, SchemaSource source) {
  std::string name = column.name == nullptr ? "" : column.name;
  if (!IsUtf8Text(name)) {
    return Status(ErrorCode::kUnsupportedFrame,
                  "a column name is not UTF-8: rename it before the put");
  }
  return Canonicaliser(source).Node(column, name, 1);
}

}  // namespace barcache
