// Sharing or building the columns of a frame.
#include "frame/frame_import.h"

#include <arrow/util/bitmap_ops.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "frame/array_node.h"
#include "frame/arrow_format.h"
#include "frame/column_builder.h"
#include "frame/view_builder.h"

namespace barcache {
namespace {

// A view column may keep this much that no row refers to.
constexpr int64_t kViewSlackBytes = 64 << 10;

int64_t NullCount(const ArrowArray& array) {
  if (array.null_count == 0 || array.n_buffers == 0 || array.buffers[0] == nullptr) return 0;
  if (array.null_count > 0) return array.null_count;
  return array.length - arrow::internal::CountSetBits(static_cast<const uint8_t*>(array.buffers[0]),
                                                      0, array.length);
}

// Builds the nodes of a column over the producer's buffers.
class ColumnSharer {
 public:
  // False: the column must be copied.
  bool Share(const SchemaNode& target, const ArrowSchema& type, const ArrowArray& array,
             ArrayNode* node) {
    if (array.offset != 0 || target.format != type.format) return false;
    if ((target.dictionary == nullptr) != (type.dictionary == nullptr)) return false;
    node->length = array.length;
    node->null_count = NullCount(array);
    const Layout layout = ParseFormat(target.format).layout;
    if (layout == Layout::kNull) {
      node->null_count = array.length;
      return true;
    }
    node->buffers.push_back(node->null_count == 0 ? nullptr : array.buffers[0]);
    if (node->null_count > 0) bytes_ += (array.length + 7) / 8;
    switch (layout) {
      case Layout::kBits:
        return ShareValues(array, (array.length + 7) / 8, node);
      case Layout::kFixed:
        return ShareValues(array, array.length * ParseFormat(target.format).width, node) &&
               (!target.dictionary || ShareDictionary(target, type, array, node));
      case Layout::kViews:
        return ShareViews(array, node);
      case Layout::kList64:
        return ShareOffsets<int64_t>(array, node) && ShareChild(target, type, array, 0, node);
      case Layout::kMap:
        return ShareOffsets<int32_t>(array, node) && ShareChild(target, type, array, 0, node);
      case Layout::kFixedList: {
        const int64_t length = array.length * ParseFormat(target.format).width;
        return array.children[0]->length == length && ShareChild(target, type, array, 0, node);
      }
      case Layout::kStruct:
        for (size_t i = 0; i < target.children.size(); ++i) {
          if (array.children[i]->length != array.length) return false;
          if (!ShareChild(target, type, array, i, node)) return false;
        }
        return true;
      default:
        return false;
    }
  }

  int64_t bytes() const { return bytes_; }

 private:
  bool ShareValues(const ArrowArray& array, int64_t bytes, ArrayNode* node) {
    if (array.n_buffers != 2 || array.buffers[1] == nullptr) return false;
    node->buffers.push_back(array.buffers[1]);
    bytes_ += bytes;
    return true;
  }

  bool ShareViews(const ArrowArray& array, ArrayNode* node) {
    Result<ViewUsage> usage = MeasureViews(array, 0, array.length);
    if (!usage.ok()) return false;
    if (usage->buffer_bytes > usage->referenced_bytes * 2 + kViewSlackBytes) return false;
    for (int64_t i = 1; i < array.n_buffers; ++i) node->buffers.push_back(array.buffers[i]);
    bytes_ += array.length * static_cast<int64_t>(sizeof(StringView)) + usage->buffer_bytes +
              (array.n_buffers - 3) * static_cast<int64_t>(sizeof(int64_t));
    return true;
  }

  bool ShareDictionary(const SchemaNode& target, const ArrowSchema& type, const ArrowArray& array,
                       ArrayNode* node) {
    if (array.dictionary == nullptr || array.dictionary->length > array.length) return false;
    node->dictionary = std::make_unique<ArrayNode>();
    return Share(*target.dictionary, *type.dictionary, *array.dictionary, node->dictionary.get()) &&
           node->dictionary->null_count == 0;
  }

  template <typename Offset>
  bool ShareOffsets(const ArrowArray& array, ArrayNode* node) {
    if (array.n_buffers != 2 || array.buffers[1] == nullptr || array.n_children != 1) return false;
    const auto* offsets = static_cast<const Offset*>(array.buffers[1]);
    if (offsets[0] != 0 || offsets[array.length] != array.children[0]->length) return false;
    node->buffers.push_back(array.buffers[1]);
    bytes_ += (array.length + 1) * static_cast<int64_t>(sizeof(Offset));
    return true;
  }

  bool ShareChild(const SchemaNode& target, const ArrowSchema& type, const ArrowArray& array,
                  size_t index, ArrayNode* node) {
    node->children.emplace_back();
    return Share(target.children[index], *type.children[index], *array.children[index],
                 &node->children.back());
  }

  int64_t bytes_ = 0;
};

struct SharedColumn {
  bool shared = false;
  ArrayNode node;
  int64_t bytes = 0;
};

// An upper bound of what the flat columns of one chunk weigh; a nested one may weigh anything.
int64_t MostBytes(const std::vector<ColumnPieces>& columns) {
  int64_t bytes = 0;
  for (const ColumnPieces& column : columns) {
    if (column.pieces.size() != 1) continue;
    const ArrowArray& array = *column.pieces[0].array;
    const Format format = ParseFormat(column.type->format);
    if (format.layout == Layout::kViews && array.n_buffers >= 3) {
      bytes += array.length * static_cast<int64_t>(sizeof(StringView)) + DataBytes(array);
    } else if (format.layout == Layout::kFixed && column.type->dictionary == nullptr) {
      bytes += array.length * (format.width + 1);
    } else if (format.layout != Layout::kBits && format.layout != Layout::kNull) {
      return kShareBytes;
    } else {
      bytes += array.length;
    }
  }
  return bytes;
}

// Which columns may be shared; none if they are small altogether.
std::vector<SharedColumn> ShareColumns(const SchemaNode& table,
                                       const std::vector<ColumnPieces>& columns) {
  std::vector<SharedColumn> shared(columns.size());
  if (MostBytes(columns) < kShareBytes) return shared;
  int64_t bytes = 0;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].pieces.size() != 1) continue;
    const ArrayPiece& piece = columns[i].pieces[0];
    if (piece.offset != 0 || piece.length != piece.array->length) continue;
    ColumnSharer sharer;
    shared[i].shared =
        sharer.Share(table.children[i], *columns[i].type, *piece.array, &shared[i].node);
    shared[i].bytes = sharer.bytes();
    if (shared[i].shared) bytes += shared[i].bytes;
  }
  if (bytes < kShareBytes) {
    for (SharedColumn& column : shared) column.shared = false;
  }
  return shared;
}

Result<ArrayNode> CopyColumn(const SchemaNode& target, const ColumnPieces& column,
                             ArrayMemory* memory) {
  auto builder = ColumnBuilder::Make(target);
  for (const ArrayPiece& piece : column.pieces) {
    BARCACHE_RETURN_IF_ERROR(
        builder->Append(*column.type, *piece.array, piece.offset, piece.length));
  }
  return builder->Finish(memory);
}

// The columns of the batches, after a look at whether the batches keep their contract.
Status SplitBatches(const ArrowSchema& schema, std::vector<ArrowArray>& batches,
                    std::vector<ColumnPieces>* columns, int64_t* num_rows) {
  columns->resize(static_cast<size_t>(schema.n_children));
  for (size_t i = 0; i < columns->size(); ++i) (*columns)[i].type = schema.children[i];
  for (ArrowArray& batch : batches) {
    if (batch.release == nullptr || batch.n_children != schema.n_children || batch.length < 0 ||
        batch.offset < 0) {
      return BrokenArray("a batch that does not fit its schema");
    }
    for (int64_t row = batch.offset; row < batch.offset + batch.length; ++row) {
      if (batch.null_count == 0 || batch.buffers == nullptr) break;
      if (IsNull(batch, row)) {
        return Status(ErrorCode::kInvalidArgument,
                      "a struct array with null rows is not a table: fill or drop them first");
      }
    }
    *num_rows += batch.length;
    for (size_t i = 0; i < columns->size(); ++i) {
      ArrowArray* child = batch.children[i];
      (*columns)[i].pieces.push_back({child, child->offset + batch.offset, batch.length});
    }
  }
  return Status();
}

}  // namespace

Result<Frame> BuildFrame(const SchemaNode& table, const std::vector<ColumnPieces>& columns,
                         int64_t num_rows, ImportMode mode,
                         std::shared_ptr<const void> keep_alive) {
  if (columns.empty() && num_rows > 0) {
    return Status(ErrorCode::kUnsupportedFrame,
                  "the frame has " + std::to_string(num_rows) +
                      " rows but no columns, which cannot come back: add a column before the put");
  }
  auto memory = std::make_shared<ArrayMemory>(std::move(keep_alive));
  ArrayNode root;
  root.length = num_rows;
  root.buffers.push_back(nullptr);
  root.children.reserve(columns.size());
  std::vector<SharedColumn> shared(columns.size());
  if (mode == ImportMode::kShare) shared = ShareColumns(table, columns);
  for (size_t i = 0; i < columns.size(); ++i) {
    if (shared[i].shared) {
      memory->KeepProducer(columns[i].pieces[0].array);
      memory->CountShared(shared[i].bytes);
      root.children.push_back(std::move(shared[i].node));
      continue;
    }
    Result<ArrayNode> node = CopyColumn(table.children[i], columns[i], memory.get());
    if (!node.ok()) {
      return Status(node.status().code(),
                    "column '" + table.children[i].name + "': " + node.status().message());
    }
    if (node->length != num_rows) {
      return BrokenArray("column '" + table.children[i].name + "' has " +
                         std::to_string(node->length) + " rows of " + std::to_string(num_rows));
    }
    root.children.push_back(std::move(*node));
  }
  auto data = std::make_shared<FrameData>();
  data->size_bytes = memory->size_bytes();
  data->is_shared = std::any_of(shared.begin(), shared.end(),
                                [](const SharedColumn& column) { return column.shared; });
  ToArrowSchema(table, &data->schema);
  ToArrowArray(std::move(root), std::move(memory), &data->array);
  return Frame(std::move(data));
}

Result<Frame> ImportBatches(const ArrowSchema& schema, const SchemaNode& table,
                            std::vector<ArrowArray>& batches, ImportMode mode) {
  std::vector<ColumnPieces> columns;
  int64_t num_rows = 0;
  BARCACHE_RETURN_IF_ERROR(SplitBatches(schema, batches, &columns, &num_rows));
  return BuildFrame(table, columns, num_rows, mode);
}

}  // namespace barcache
