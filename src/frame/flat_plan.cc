// From footer to plan; see the header for the promises.
#include "frame/flat_plan.h"

#include <algorithm>
#include <cstring>

#include "frame/utf8.h"

namespace barcache {
namespace {

Status CorruptColumn(std::string_view name, std::string_view what) {
  return Status(ErrorCode::kCorruption, "the Parquet column '" + std::string(name) +
                                            "' is damaged: " + std::string(what) +
                                            "; remove the file, or restore it from its source");
}

// Flat columns only, in one row group at most, without a schema of Arrow's that refines types.
bool HasFlatShape(const ParquetFooter& footer) {
  const size_t num_columns = footer.schema.size() - 1;
  const SchemaElement& root = footer.schema.front();
  if (root.num_children < 0 || static_cast<size_t>(root.num_children) != num_columns) return false;
  if (num_columns == 0 && footer.num_rows != 0) return false;
  if (footer.row_groups.size() > 1) return false;
  for (size_t i = 1; i <= num_columns; ++i) {
    const SchemaElement& element = footer.schema[i];
    if (element.num_children != 0 || element.type == SchemaElement::kNoType) return false;
    if (element.repetition != ParquetRepetition::kRequired &&
        element.repetition != ParquetRepetition::kOptional) {
      return false;
    }
  }
  return std::none_of(footer.key_values.begin(), footer.key_values.end(),
                      [](const auto& pair) { return pair.first == "ARROW:schema"; });
}

// C strings in UTF-8: what every reader takes for granted.
Status CheckNames(const ParquetFooter& footer) {
  for (size_t i = 1; i < footer.schema.size(); ++i) {
    const std::string_view name = footer.schema[i].name;
    if (name.find('\0') != std::string_view::npos ||
        !IsUtf8(reinterpret_cast<const uint8_t*>(name.data()), name.size())) {
      return CorruptColumn("number " + std::to_string(i), "its name is not text");
    }
  }
  return Status();
}

bool HasDuplicateNames(const ParquetFooter& footer) {
  std::vector<std::string_view> names;
  names.reserve(footer.schema.size());
  for (size_t i = 1; i < footer.schema.size(); ++i) names.push_back(footer.schema[i].name);
  std::sort(names.begin(), names.end());
  return std::adjacent_find(names.begin(), names.end()) != names.end();
}

// Bytes of ArrowSchema::metadata: int32 count, then for each key and value an int32 size and the
// bytes. The schema is our own copy: it is well formed.
std::string_view MetadataBytes(const char* metadata) {
  if (metadata == nullptr) return {};
  const char* end = metadata;
  const auto next = [&end] {
    int32_t number;
    std::memcpy(&number, end, sizeof(number));
    end += sizeof(number);
    return number;
  };
  const int32_t pairs = next();
  for (int32_t i = 0; i < 2 * pairs; ++i) {
    const int32_t size = next();
    end += size;
  }
  return {metadata, static_cast<size_t>(end - metadata)};
}

const ArrowSchema* FindChild(const ArrowSchema* schema, size_t index, std::string_view name) {
  if (schema == nullptr) return nullptr;
  const auto matches = [&](int64_t i) {
    const char* child_name = schema->children[i]->name;
    return (child_name == nullptr ? std::string_view() : std::string_view(child_name)) == name;
  };
  const int64_t same = static_cast<int64_t>(index);
  if (same < schema->n_children && matches(same)) return schema->children[same];
  for (int64_t i = 0; i < schema->n_children; ++i) {
    if (matches(i)) return schema->children[i];
  }
  return nullptr;
}

// Sets the types of `plan`. False: not for the flat codec.
Result<bool> PlanType(const SchemaElement& element, const ArrowSchema* stored,
                      FlatColumnPlan& plan) {
  if (stored != nullptr) {
    if (stored->dictionary != nullptr) return false;
    plan.stored_format = stored->format;
    plan.metadata = MetadataBytes(stored->metadata);
  } else {
    plan.derived = DerivedFormat::Of(element);
    if (!plan.derived.has_value()) return false;
  }
  const std::optional<FlatType> type = FlatTypeOfFormat(plan.format());
  if (!type.has_value()) return false;
  plan.type = *type;
  bool fits = element.type == static_cast<int32_t>(type->physical);
  if (type->layout == FlatLayout::kDecimal) {
    fits = fits && element.type_length >= 1 && element.type_length <= 16;
    plan.type.stored_width = element.type_length;
  } else if (type->physical == ParquetType::kFixedLenByteArray) {
    fits = fits && element.type_length == type->stored_width;
  }
  if (!fits) return CorruptColumn(element.name, "it is not of the type that was stored");
  return true;
}

// Sets the range of pages. False: not for the flat codec.
Result<bool> PlanPages(const ParquetFooter& footer, const ColumnChunk& chunk,
                       FlatColumnPlan& plan) {
  if (chunk.is_elsewhere || chunk.path_depth != 1) return false;
  if (chunk.compression != ParquetCompression::kSnappy &&
      chunk.compression != ParquetCompression::kUncompressed) {
    return false;
  }
  if (chunk.name != plan.name || chunk.num_values != footer.num_rows) {
    return CorruptColumn(plan.name, "schema and row group disagree about it");
  }
  // Some writers leave the offset of a dictionary out, or at 0: then the pages begin with it.
  const bool has_dictionary =
      chunk.dictionary_page_offset > 0 && chunk.dictionary_page_offset < chunk.data_page_offset;
  const int64_t begin = has_dictionary ? chunk.dictionary_page_offset : chunk.data_page_offset;
  const int64_t end = static_cast<int64_t>(footer.data_end);
  if (begin < 4 || begin > end || chunk.compressed_size_bytes < 0 ||
      chunk.compressed_size_bytes > end - begin) {
    return CorruptColumn(plan.name, "its pages lie outside the file");
  }
  plan.compression = chunk.compression;
  plan.offset = static_cast<size_t>(begin);
  plan.size = static_cast<size_t>(chunk.compressed_size_bytes);
  return true;
}

// Positions in the file of the columns asked for.
Result<std::vector<size_t>> SelectColumns(const ParquetFooter& footer,
                                          const std::vector<std::string>* columns) {
  std::vector<size_t> selected;
  const size_t num_columns = footer.schema.size() - 1;
  if (columns == nullptr) {
    selected.resize(num_columns);
    for (size_t i = 0; i < num_columns; ++i) selected[i] = i;
    return selected;
  }
  for (const std::string& name : *columns) {
    const auto found = std::find_if(footer.schema.begin() + 1, footer.schema.end(),
                                    [&](const SchemaElement& e) { return e.name == name; });
    if (found == footer.schema.end()) {
      std::string known;
      for (size_t i = 1; i <= num_columns; ++i) {
        known += (i == 1 ? "'" : ", '") + std::string(footer.schema[i].name) + "'";
      }
      return Status(ErrorCode::kInvalidArgument,
                    "the frame has no column '" + name + "'; choose among its columns: " + known);
    }
    selected.push_back(static_cast<size_t>(found - footer.schema.begin()) - 1);
  }
  return selected;
}

}  // namespace

std::vector<FlatColumnShape> FlatPlan::Shapes() const {
  std::vector<FlatColumnShape> shapes;
  shapes.reserve(columns.size());
  for (const FlatColumnPlan& column : columns) {
    shapes.push_back(
        {column.name, column.format(), column.metadata, column.type, column.is_optional});
  }
  return shapes;
}

Result<std::optional<FlatPlan>> MakeFlatPlan(const ParquetFooter& footer,
                                             const ArrowSchema* stored_schema,
                                             const std::vector<std::string>* columns) {
  const std::optional<FlatPlan> other_shape;
  if (!HasFlatShape(footer) || HasDuplicateNames(footer)) return other_shape;
  BARCACHE_RETURN_IF_ERROR(CheckNames(footer));
  const bool has_pages = footer.num_rows > 0;
  if (has_pages) {
    if (footer.row_groups.empty() || footer.row_groups[0].num_rows != footer.num_rows ||
        footer.row_groups[0].num_chunks != footer.schema.size() - 1) {
      return Status(ErrorCode::kCorruption,
                    "the Parquet footer is damaged: its row group disagrees with its schema; "
                    "remove the file, or restore it from its source");
    }
  }
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<size_t> selected, SelectColumns(footer, columns));
  FlatPlan plan;
  plan.columns.reserve(selected.size());
  for (const size_t index : selected) {
    const SchemaElement& element = footer.schema[index + 1];
    FlatColumnPlan& column = plan.columns.emplace_back();
    column.name = element.name;
    column.is_optional = element.repetition == ParquetRepetition::kOptional;
    BARCACHE_ASSIGN_OR_RETURN(
        bool is_flat, PlanType(element, FindChild(stored_schema, index, element.name), column));
    if (is_flat && has_pages) {
      BARCACHE_ASSIGN_OR_RETURN(is_flat, PlanPages(footer, footer.chunks[index], column));
    }
    if (!is_flat) return other_shape;
  }
  return std::optional<FlatPlan>(std::move(plan));
}

}  // namespace barcache
