// Reading through parquet::arrow::FileReader.
#include <arrow/array.h>
#include <arrow/c/bridge.h>
#include <arrow/io/memory.h>
#include <arrow/memory_pool.h>
#include <arrow/table.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "frame/array_node.h"
#include "frame/arrow_codec.h"
#include "frame/arrow_format.h"
#include "frame/arrow_schema_key.h"
#include "frame/arrow_status.h"
#include "frame/canonical_schema.h"
#include "frame/frame_import.h"
#include "frame/stored_schema.h"

namespace barcache {
namespace {

// Beside what is decoded: pages as they are and unpacked, levels, dictionaries.
constexpr int64_t kReaderSlackBytes = 64 << 20;

Status Corrupt(const std::string& what) {
  return Status(ErrorCode::kCorruption, "not a sound Parquet file: " + what);
}

Status OverBudget(const DecodeLimits& limits) {
  return Status(ErrorCode::kOverBudget, "decoding would take more than the budget of " +
                                            std::to_string(limits.max_decoded_bytes) + " bytes");
}

int64_t SaturatingMultiply(int64_t a, int64_t b) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::numeric_limits<int64_t>::max();
  return product;
}

int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::numeric_limits<int64_t>::max();
  return sum;
}

// Bytes of memory that a value takes at least.
int64_t DecodedWidth(const parquet::ColumnDescriptor& column) {
  switch (column.physical_type()) {
    case parquet::Type::INT32:
    case parquet::Type::BOOLEAN:
      return 1;
    case parquet::Type::FLOAT:
      return 4;
    case parquet::Type::BYTE_ARRAY:
      return 16;
    case parquet::Type::FIXED_LEN_BYTE_ARRAY:
      return std::max(column.type_length(), 1);
    default:
      return column.logical_type()->is_null() ? 1 : 8;
  }
}

// What the footer promises, against the budget and against the size of the file.
Status CheckFooter(const parquet::FileMetaData& metadata, const std::vector<int>& leaves,
                   const DecodeLimits& limits) {
  int64_t decoded_bytes = 0;
  int64_t num_rows = 0;
  if (metadata.num_rows() < 0) return Corrupt("a negative number of rows");
  for (int g = 0; g < metadata.num_row_groups(); ++g) {
    auto group = metadata.RowGroup(g);
    if (group->num_rows() < 0) return Corrupt("a negative number of rows");
    num_rows = SaturatingAdd(num_rows, group->num_rows());
    for (int leaf : leaves) {
      const int64_t values = group->ColumnChunk(leaf)->num_values();
      const parquet::ColumnDescriptor& column = *metadata.schema()->Column(leaf);
      if (values < 0) return Corrupt("a negative number of values");
      if (column.max_repetition_level() == 0 && values != group->num_rows()) {
        return Corrupt("a column of another length than its row group");
      }
      decoded_bytes =
          SaturatingAdd(decoded_bytes, SaturatingMultiply(values, DecodedWidth(column)));
    }
  }
  if (num_rows != metadata.num_rows()) return Corrupt("row groups that do not add up");
  if (decoded_bytes > limits.max_decoded_bytes) return OverBudget(limits);
  return Status();
}

// The root columns to read, in order.
Result<std::vector<int>> RootsToRead(const parquet::SchemaDescriptor& schema,
                                     const std::vector<std::string>* columns) {
  const parquet::schema::GroupNode& root = *schema.group_node();
  std::vector<int> roots;
  if (columns == nullptr) {
    for (int i = 0; i < root.field_count(); ++i) roots.push_back(i);
    return roots;
  }
  for (const std::string& name : *columns) {
    int found = root.FieldIndex(name);
    if (found >= 0) {
      roots.push_back(found);
      continue;
    }
    std::string names;
    for (int i = 0; i < root.field_count(); ++i) {
      names += (i == 0 ? "'" : ", '") + root.field(i)->name() + "'";
    }
    return Status(ErrorCode::kInvalidArgument,
                  "there is no column '" + name + "': the frame has " + names);
  }
  return roots;
}

// The leaves of the roots to read. Leaves come in the order of their roots.
std::vector<int> LeavesOf(const parquet::SchemaDescriptor& schema, const std::vector<int>& roots) {
  std::vector<bool> wanted(static_cast<size_t>(schema.group_node()->field_count()), false);
  for (int root : roots) wanted[static_cast<size_t>(root)] = true;
  std::vector<int> leaves;
  int root = 0;
  for (int leaf = 0; leaf < schema.num_columns(); ++leaf) {
    const parquet::schema::Node* node = schema.GetColumnRoot(leaf);
    while (schema.group_node()->field(root).get() != node) ++root;
    if (wanted[static_cast<size_t>(root)]) leaves.push_back(leaf);
  }
  return leaves;
}

// Bytes of leaves once rows of null Arrays are filled up: `length` is the final length of `node`.
int64_t RestoredBytes(const SchemaNode& node, const arrow::ArrayData& data, int64_t length) {
  const Format format = ParseFormat(node.format);
  switch (format.layout) {
    case Layout::kFixedList:
      if (data.child_data.size() != 1) return 0;
      return RestoredBytes(node.children[0], *data.child_data[0],
                           SaturatingMultiply(length, format.width));
    case Layout::kList64:
    case Layout::kMap:
      if (data.child_data.size() != 1) return 0;
      return SaturatingAdd(
          SaturatingMultiply(length, 8),
          RestoredBytes(node.children[0], *data.child_data[0], data.child_data[0]->length));
    case Layout::kStruct: {
      int64_t bytes = 0;
      for (size_t i = 0; i < node.children.size() && i < data.child_data.size(); ++i) {
        bytes = SaturatingAdd(bytes, RestoredBytes(node.children[i], *data.child_data[i], length));
      }
      return bytes;
    }
    case Layout::kViews:
      return SaturatingMultiply(length, 16);
    default:
      return SaturatingMultiply(length, std::max<int64_t>(format.width, 1));
  }
}

// An open file; the pool outlives all that is read from it.
struct OpenFile {
  std::shared_ptr<arrow::CappedMemoryPool> pool;
  std::unique_ptr<parquet::ParquetFileReader> parquet;
  std::shared_ptr<parquet::FileMetaData> metadata;
};

OpenFile Open(std::span<const uint8_t> bytes, const DecodeLimits& limits) {
  OpenFile file;
  // Joining row groups takes the memory of a column twice for a moment.
  file.pool = std::make_shared<arrow::CappedMemoryPool>(
      arrow::default_memory_pool(),
      SaturatingAdd(SaturatingMultiply(limits.max_decoded_bytes, 2), kReaderSlackBytes));
  auto buffer = std::make_shared<arrow::Buffer>(bytes.data(), static_cast<int64_t>(bytes.size()));
  auto source = std::make_shared<arrow::io::BufferReader>(std::move(buffer));
  file.parquet = parquet::ParquetFileReader::Open(std::move(source),
                                                  parquet::ReaderProperties(file.pool.get()));
  file.metadata = file.parquet->metadata();
  return file;
}

// What is known of the columns' types beside what Parquet says.
class TypeHints {
 public:
  // `types` (may be null) must outlive this. `is_ours`: it is our stored schema, which a column
  // that does not fit belies.
  TypeHints(const SchemaNode* types, bool is_ours) : is_ours_(is_ours) {
    if (types == nullptr) return;
    for (const SchemaNode& child : types->children) by_name_.emplace(child.name, &child);
  }

  // The node of a column, or null.
  const SchemaNode* Find(std::string_view name) const {
    auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }
  bool is_ours() const { return is_ours_; }

 private:
  const bool is_ours_;
  std::unordered_map<std::string_view, const SchemaNode*> by_name_;
};

parquet::ArrowReaderProperties ReaderPropertiesFor(const parquet::FileMetaData& metadata,
                                                   const TypeHints& hints) {
  parquet::ArrowReaderProperties properties(/*use_threads=*/false);
  properties.set_pre_buffer(false);
  properties.set_binary_type(arrow::Type::BINARY_VIEW);
  properties.set_list_type(arrow::Type::LARGE_LIST);
  properties.set_arrow_extensions_enabled(false);
  // Flat dictionary columns come as dictionaries from Parquet's own.
  for (int leaf = 0; leaf < metadata.schema()->num_columns(); ++leaf) {
    const parquet::ColumnDescriptor& column = *metadata.schema()->Column(leaf);
    if (column.path()->ToDotVector().size() != 1) continue;
    const SchemaNode* hint = hints.Find(column.name());
    if (hint != nullptr && hint->dictionary) properties.set_read_dictionary(leaf, true);
  }
  return properties;
}

// The C structs of the columns of a table; what is not moved out is released at the end.
struct ExportedColumns {
  std::vector<ArrowSchema> schemas;
  std::vector<std::vector<ArrowArray>> arrays;

  explicit ExportedColumns(size_t count) : schemas(count), arrays(count) {}
  ExportedColumns(const ExportedColumns&) = delete;
  ExportedColumns& operator=(const ExportedColumns&) = delete;
  ~ExportedColumns() {
    for (ArrowSchema& schema : schemas) {
      if (schema.release != nullptr) schema.release(&schema);
    }
    for (std::vector<ArrowArray>& column : arrays) {
      for (ArrowArray& array : column) {
        if (array.release != nullptr) array.release(&array);
      }
    }
  }
};

// The type that a column is to have: as hinted, or as the file says.
Result<SchemaNode> TargetColumn(const ArrowSchema& schema, const TypeHints& hints) {
  BARCACHE_ASSIGN_OR_RETURN(SchemaNode column, CanonicalColumn(schema, SchemaSource::kFile));
  const SchemaNode* hint = hints.Find(column.name);
  if (hint != nullptr && CanRestore(column, *hint)) return hint->Clone();
  if (!hints.is_ours()) return column;
  return Corrupt("column '" + column.name + "' does not fit its stored schema");
}

Status ExportColumn(const arrow::Field& field, const arrow::ChunkedArray& column, size_t index,
                    ExportedColumns* exported) {
  BARCACHE_RETURN_IF_ERROR(FromArrow(arrow::ExportField(field, &exported->schemas[index]),
                                     ErrorCode::kUnsupportedFrame));
  exported->arrays[index].resize(static_cast<size_t>(column.num_chunks()));
  for (int i = 0; i < column.num_chunks(); ++i) {
    BARCACHE_RETURN_IF_ERROR(FromArrow(
        arrow::ExportArray(*column.chunk(i), &exported->arrays[index][static_cast<size_t>(i)]),
        ErrorCode::kUnsupportedFrame));
  }
  return Status();
}

Result<Frame> TableToFrame(const arrow::Table& read, const std::vector<std::string>& names,
                           const TypeHints& hints, const DecodeLimits& limits,
                           std::shared_ptr<const void> pool) {
  ExportedColumns exported(names.size());
  SchemaNode table;
  table.format = "+s";
  table.flags = 0;
  std::vector<ColumnPieces> columns;
  int64_t restored_bytes = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const int index = read.schema()->GetFieldIndex(names[i]);
    if (index < 0) return Corrupt("two columns named '" + names[i] + "'");
    const arrow::ChunkedArray& column = *read.column(index);
    BARCACHE_RETURN_IF_ERROR(ExportColumn(*read.schema()->field(index), column, i, &exported));
    BARCACHE_ASSIGN_OR_RETURN(SchemaNode target, TargetColumn(exported.schemas[i], hints));
    for (const auto& chunk : column.chunks()) {
      restored_bytes =
          SaturatingAdd(restored_bytes, RestoredBytes(target, *chunk->data(), chunk->length()));
    }
    table.children.push_back(std::move(target));
    columns.push_back({&exported.schemas[i], {}});
    for (ArrowArray& array : exported.arrays[i]) {
      columns.back().pieces.push_back({&array, array.offset, array.length});
    }
  }
  if (restored_bytes > limits.max_decoded_bytes) return OverBudget(limits);
  BARCACHE_RETURN_IF_ERROR(CheckDistinctNames(table, ""));
  Result<Frame> frame =
      BuildFrame(table, columns, read.num_rows(), ImportMode::kShare, std::move(pool));
  if (!frame.ok() && frame.status().code() == ErrorCode::kInvalidArgument) {
    return Corrupt(frame.status().message());
  }
  return frame;
}

Result<Frame> ReadFile(std::span<const uint8_t> bytes, const DecodeLimits& limits,
                       const SchemaNode* stored, const std::vector<std::string>* columns,
                       RowsToRead rows) {
  OpenFile file = Open(bytes, limits);
  const std::optional<SchemaNode> foreign = TakeArrowSchema(*file.metadata);
  const bool is_ours = stored != nullptr;
  const TypeHints hints(is_ours ? stored : foreign ? &*foreign : nullptr, is_ours);
  const parquet::SchemaDescriptor& schema = *file.metadata->schema();
  BARCACHE_ASSIGN_OR_RETURN(std::vector<int> roots, RootsToRead(schema, columns));
  const std::vector<int> leaves = LeavesOf(schema, roots);
  const bool is_empty = rows == RowsToRead::kNone;
  if (!is_empty) BARCACHE_RETURN_IF_ERROR(CheckFooter(*file.metadata, leaves, limits));
  std::vector<std::string> names;
  for (int root : roots) names.push_back(schema.group_node()->field(root)->name());
  const int64_t num_rows = is_empty ? 0 : file.metadata->num_rows();
  const auto properties = ReaderPropertiesFor(*file.metadata, hints);
  BARCACHE_ASSIGN_OR_RETURN(std::unique_ptr<parquet::arrow::FileReader> reader,
                            FromArrow(parquet::arrow::FileReader::Make(
                                          file.pool.get(), std::move(file.parquet), properties),
                                      ErrorCode::kCorruption));
  auto read = is_empty ? reader->ReadRowGroups({}, leaves) : reader->ReadTable(leaves);
  if (!read.ok() && read.status().IsOutOfMemory()) return OverBudget(limits);
  BARCACHE_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Table> table,
                            FromArrow(std::move(read), ErrorCode::kCorruption));
  BARCACHE_RETURN_IF_ERROR(FromArrow(table->ValidateFull(), ErrorCode::kCorruption));
  if (table->num_rows() != num_rows) return Corrupt("fewer rows than its footer says");
  return TableToFrame(*table, names, hints, limits, file.pool);
}

}  // namespace

Result<Frame> DecodeArrow(std::span<const uint8_t> bytes, const DecodeLimits& limits,
                          const SchemaNode* stored, const std::vector<std::string>* columns,
                          RowsToRead rows) {
  try {
    return ReadFile(bytes, limits, stored, columns, rows);
  } catch (const parquet::ParquetStatusException& error) {
    if (error.status().IsOutOfMemory()) return OverBudget(limits);
    return Corrupt(error.what());
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "not enough memory to decode a frame; free some and try again");
  } catch (const std::exception& error) {
    return Corrupt(error.what());
  }
}

}  // namespace barcache
