// Writing through parquet::arrow::FileWriter.
#include "frame/arrow_codec.h"

#include <arrow/array.h>
#include <arrow/c/bridge.h>
#include <arrow/io/memory.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/table.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/writer.h>
#include <parquet/exception.h>

#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "frame/array_node.h"
#include "frame/arrow_status.h"
#include "frame/column_builder.h"
#include "frame/column_encoding.h"
#include "frame/stored_schema.h"

namespace barcache {
namespace {

constexpr int64_t kMaxRowsPerGroup = 1 << 20;

// A view of a column that the caller keeps alive, or (with dictionaries decoded) a new one.
Result<std::shared_ptr<arrow::Array>> ColumnToWrite(const ArrowSchema& type,
                                                    const ArrowArray& column,
                                                    const SchemaNode& original,
                                                    const SchemaNode& storage) {
  ArrowArray array{};
  if (original.SameTypeAs(storage)) {
    // `frame` outlives the writer: no reference is needed, and none of it is freed here.
    ShareArray(column, nullptr, &array);
  } else {
    auto builder = ColumnBuilder::Make(storage);
    BARCACHE_RETURN_IF_ERROR(builder->Append(type, column, column.offset, column.length));
    auto memory = std::make_shared<ArrayMemory>();
    ArrayNode node = builder->Finish(memory.get());
    ToArrowArray(std::move(node), std::move(memory), &array);
  }
  ArrowSchema schema{};
  ToArrowSchema(storage, &schema);
  return FromArrow(arrow::ImportArray(&array, &schema), ErrorCode::kInternal);
}

parquet::Encoding::type EncodingOf(ColumnEncoding encoding) {
  switch (encoding) {
    case ColumnEncoding::kDeltaBinaryPacked:
      return parquet::Encoding::DELTA_BINARY_PACKED;
    case ColumnEncoding::kByteStreamSplit:
      return parquet::Encoding::BYTE_STREAM_SPLIT;
    default:
      return parquet::Encoding::PLAIN;
  }
}

std::shared_ptr<parquet::WriterProperties> PropertiesFor(const FrameData& frame) {
  parquet::WriterProperties::Builder builder;
  builder.compression(parquet::Compression::SNAPPY)->disable_statistics();
  builder.max_row_group_length(kMaxRowsPerGroup);
  for (int64_t i = 0; i < frame.schema.n_children; ++i) {
    const ArrowSchema& type = *frame.schema.children[i];
    // Properties go by dotted path: "a.b" may also be field b of a struct a.
    if (type.n_children > 0 || std::string_view(type.name).find('.') != std::string_view::npos) {
      continue;
    }
    auto path = std::make_shared<parquet::schema::ColumnPath>(std::vector<std::string>{type.name});
    ColumnEncoding encoding = ChooseEncoding(type, *frame.array.children[i]);
    if (encoding == ColumnEncoding::kDictionary) continue;
    builder.disable_dictionary(path);
    builder.encoding(path, EncodingOf(encoding));
  }
  return builder.build();
}

Result<std::shared_ptr<arrow::Table>> TableToWrite(const FrameData& frame) {
  std::vector<std::shared_ptr<arrow::Field>> fields;
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (int64_t i = 0; i < frame.schema.n_children; ++i) {
    const ArrowSchema& type = *frame.schema.children[i];
    const ArrowArray& column = *frame.array.children[i];
    const SchemaNode original = FromArrowSchema(type);
    BARCACHE_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Array> array,
                              ColumnToWrite(type, column, original, StorageNode(original)));
    // REQUIRED columns carry no levels: smaller, and faster to read.
    const bool nullable = column.null_count > 0 || original.format == "n";
    fields.push_back(arrow::field(original.name, array->type(), nullable));
    arrays.push_back(std::move(array));
  }
  return arrow::Table::Make(arrow::schema(std::move(fields)), arrays, frame.array.length);
}

Result<ByteBuffer> WriteTable(const FrameData& frame, const KeyValues& key_values) {
  BARCACHE_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Table> table, TableToWrite(frame));
  arrow::MemoryPool* pool = arrow::default_memory_pool();
  auto sink_result =
      arrow::io::BufferOutputStream::Create(std::max<int64_t>(frame.size_bytes / 2, 1 << 12), pool);
  BARCACHE_ASSIGN_OR_RETURN(auto sink, FromArrow(std::move(sink_result), ErrorCode::kInternal));
  auto arrow_properties = parquet::ArrowWriterProperties::Builder().build();
  BARCACHE_ASSIGN_OR_RETURN(
      std::unique_ptr<parquet::arrow::FileWriter> writer,
      FromArrow(parquet::arrow::FileWriter::Open(*table->schema(), pool, sink, PropertiesFor(frame),
                                                 arrow_properties),
                ErrorCode::kInternal));
  auto metadata = std::make_shared<arrow::KeyValueMetadata>();
  for (const auto& [key, value] : key_values) metadata->Append(key, value);
  BARCACHE_RETURN_IF_ERROR(FromArrow(writer->AddKeyValueMetadata(metadata), ErrorCode::kInternal));
  BARCACHE_RETURN_IF_ERROR(
      FromArrow(writer->WriteTable(*table, kMaxRowsPerGroup), ErrorCode::kInternal));
  BARCACHE_RETURN_IF_ERROR(FromArrow(writer->Close(), ErrorCode::kInternal));
  BARCACHE_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> buffer,
                            FromArrow(sink->Finish(), ErrorCode::kInternal));
  ByteBuffer bytes;
  if (!bytes.Reset(static_cast<size_t>(buffer->size()))) {
    return Status(ErrorCode::kOutOfMemory,
                  "not enough memory for the encoded frame; free some and try again");
  }
  std::memcpy(bytes.data(), buffer->data(), bytes.size());
  return bytes;
}

}  // namespace

Result<ByteBuffer> EncodeArrow(const FrameData& frame, const KeyValues& key_values) {
  try {
    return WriteTable(frame, key_values);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "not enough memory to encode the frame; free some and try again");
  } catch (const std::exception& error) {
    return Status(ErrorCode::kInternal, std::string("encoding the frame failed: ") + error.what());
  }
}

}  // namespace barcache
