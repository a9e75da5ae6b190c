// FlatCodecTakes and EncodeFlat; see flat_codec.h for the promises.
#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>

#include "frame/byte_sink.h"
#include "frame/flat_codec.h"
#include "frame/flat_column_encoder.h"
#include "frame/string_views.h"

namespace barcache {
namespace {

// Beyond this a file should have several row groups, which Arrow writes.
constexpr int64_t kMaxRows = 64 << 20;
// Keeps every page far below the 2 GiB that its header can state.
constexpr int64_t kMaxStringBytes = 512 << 20;
constexpr std::string_view kMagic = "PAR1";

SchemaElement ElementOf(const FlatColumn& column) {
  SchemaElement element;
  element.type = static_cast<int32_t>(column.type.physical);
  if (column.type.physical == ParquetType::kFixedLenByteArray) {
    element.type_length = column.type.stored_width;
  }
  element.repetition =
      column.validity != nullptr ? ParquetRepetition::kOptional : ParquetRepetition::kRequired;
  element.name = column.name;
  element.converted = column.type.converted;
  element.logical = column.type.logical;
  element.scale = column.type.logical.scale;
  element.precision = column.type.logical.precision;
  return element;
}

Status Encode(const FrameData& frame, const KeyValues& key_values, ByteSink& file) {
  BARCACHE_ASSIGN_OR_RETURN(SnappyCodec snappy, SnappyCodec::Make());
  FlatColumnEncoder encoder(std::move(snappy));
  const size_t num_columns = static_cast<size_t>(frame.array.n_children);
  ParquetFooter footer;
  footer.num_rows = frame.array.length;
  footer.schema.reserve(num_columns + 1);
  footer.chunks.reserve(num_columns);
  SchemaElement root;
  root.name = "schema";
  root.num_children = static_cast<int32_t>(num_columns);
  footer.schema.push_back(root);

  RowGroup group;
  group.num_rows = frame.array.length;
  group.num_chunks = num_columns;
  // Small frames fit without growing twice.
  file.Reserve(static_cast<size_t>(std::clamp<int64_t>(frame.size_bytes, 4096, 1 << 20)));
  file.Append(kMagic.data(), kMagic.size());
  for (size_t i = 0; i < num_columns; ++i) {
    const FlatColumn column = FlatColumnOf(*frame.schema.children[i], *frame.array.children[i]);
    footer.schema.push_back(ElementOf(column));
    if (column.num_rows == 0) continue;
    BARCACHE_ASSIGN_OR_RETURN(const ColumnChunk chunk, encoder.Encode(column, file));
    footer.chunks.push_back(chunk);
    group.size_bytes += chunk.uncompressed_size_bytes;
  }
  if (group.num_rows > 0) footer.row_groups.push_back(group);
  AppendFooter(footer, key_values, file);
  return Status();
}

}  // namespace

bool FlatCodecTakes(const FrameData& frame) {
  if (frame.array.length > kMaxRows || frame.array.n_children > INT16_MAX) return false;
  if (frame.array.n_children == 0 && frame.array.length > 0) return false;
  int64_t string_bytes = 0;
  for (int64_t i = 0; i < frame.array.n_children; ++i) {
    const ArrowSchema& schema = *frame.schema.children[i];
    if (schema.dictionary != nullptr) return false;
    const std::optional<FlatType> type = FlatTypeOfFormat(schema.format);
    if (!type.has_value()) return false;
    if (type->layout != FlatLayout::kView) continue;
    string_bytes += SumStringBytes(*frame.array.children[i]);
    if (string_bytes > kMaxStringBytes) return false;
  }
  return true;
}

Result<ByteBuffer> EncodeFlat(const FrameData& frame, const KeyValues& key_values) {
  try {
    ByteSink file;
    BARCACHE_RETURN_IF_ERROR(Encode(frame, key_values, file));
    ByteBuffer buffer;
    if (!buffer.Reset(file.size())) throw std::bad_alloc();
    std::memcpy(buffer.data(), file.data(), file.size());
    return buffer;
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "no memory to encode a frame as Parquet; free some and try again");
  }
}

}  // namespace barcache
