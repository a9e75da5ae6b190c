// Reading, and removing, the footer key ARROW:schema.
#include "frame/arrow_schema_key.h"

#include <arrow/c/bridge.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/type.h>
#include <arrow/util/base64.h>
#include <arrow/util/key_value_metadata.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "frame/canonical_schema.h"
#include "frame/stored_schema.h"

namespace barcache {
namespace {

constexpr std::string_view kExtensionMark = "ARROW:extension";

// Durations in seconds are in the file as they are, while their canonical type counts
// milliseconds: such columns stay integers.
bool HasSeconds(const ArrowSchema& schema) {
  if (std::string_view(schema.format) == "tDs") return true;
  for (int64_t i = 0; i < schema.n_children; ++i) {
    if (HasSeconds(*schema.children[i])) return true;
  }
  return false;
}

SchemaNode ColumnsOf(const ArrowSchema& schema) {
  SchemaNode table;
  table.format = "+s";
  table.flags = 0;
  for (int64_t i = 0; i < schema.n_children; ++i) {
    if (HasSeconds(*schema.children[i])) continue;
    auto column = CanonicalColumn(*schema.children[i], SchemaSource::kFile);
    if (column.ok() && HasSoundMetadata(*column)) table.children.push_back(std::move(*column));
  }
  return table;
}

std::optional<SchemaNode> Parse(const std::string& base64) {
  auto decoded = arrow::util::base64_decode(base64);
  if (!decoded.ok() || decoded->find(kExtensionMark) != std::string::npos) return std::nullopt;
  arrow::io::BufferReader input(arrow::Buffer::FromString(std::move(*decoded)));
  arrow::ipc::DictionaryMemo dictionaries;
  auto schema = arrow::ipc::ReadSchema(&input, &dictionaries);
  ArrowSchema c_schema{};
  if (!schema.ok() || !arrow::ExportSchema(**schema, &c_schema).ok()) return std::nullopt;
  SchemaNode table = ColumnsOf(c_schema);
  c_schema.release(&c_schema);
  return table;
}

// Strings as all versions of Arrow know them.
void WithoutViews(SchemaNode* node) {
  if (node->format == "vu") node->format = "U";
  if (node->format == "vz") node->format = "Z";
  for (SchemaNode& child : node->children) WithoutViews(&child);
  if (node->dictionary) WithoutViews(node->dictionary.get());
}

}  // namespace

std::string ArrowSchemaText(const SchemaNode& table) {
  SchemaNode plain = table.Clone();
  WithoutViews(&plain);
  ArrowSchema c_schema{};
  ToArrowSchema(plain, &c_schema);
  auto schema = arrow::ImportSchema(&c_schema);
  if (!schema.ok()) return "";
  auto bytes = arrow::ipc::SerializeSchema(**schema);
  if (!bytes.ok()) return "";
  return arrow::util::base64_encode(std::string_view(**bytes));
}

std::optional<SchemaNode> TakeArrowSchema(const parquet::FileMetaData& metadata) {
  std::optional<SchemaNode> table;
  auto pairs = std::const_pointer_cast<arrow::KeyValueMetadata>(metadata.key_value_metadata());
  if (pairs == nullptr) return table;
  for (int64_t i = pairs->size() - 1; i >= 0; --i) {
    if (pairs->key(i) != kArrowSchemaKey) continue;
    table = Parse(pairs->value(i));
    (void)pairs->Delete(i);
  }
  return table;
}

}  // namespace barcache
