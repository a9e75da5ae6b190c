// FlatCodecTakes and EncodeFlat; see flat_codec.h for the promises.
#include <algorithm>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "frame/byte_sink.h"
#include "frame/column_tasks.h"
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
// Some 4 000 rows of bars. Below, waking another thread takes longer than it helps.
constexpr int64_t kSideBySideValues = 32 << 10;

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

// The pages of a column; its offsets count from the sink's begin.
struct EncodedColumn {
  SchemaElement element;
  ColumnChunk chunk;
  ByteSink pages;
};

// The chunk, when its pages come to stand `offset` bytes further behind.
ColumnChunk MovedBy(ColumnChunk chunk, size_t offset) {
  const int64_t distance = static_cast<int64_t>(offset);
  if (chunk.encoding == ParquetEncoding::kRleDictionary) chunk.dictionary_page_offset += distance;
  chunk.data_page_offset += distance;
  return chunk;
}

ParquetFooter FooterOf(const FrameData& frame) {
  const size_t num_columns = static_cast<size_t>(frame.array.n_children);
  ParquetFooter footer;
  footer.num_rows = frame.array.length;
  footer.schema.reserve(num_columns + 1);
  footer.chunks.reserve(num_columns);
  SchemaElement root;
  root.name = "schema";
  root.num_children = static_cast<int32_t>(num_columns);
  footer.schema.push_back(root);
  return footer;
}

// REQUIRES: the chunks of all columns, unless there is no row.
void AppendFooterOf(ParquetFooter& footer, const KeyValues& key_values, ByteSink& file) {
  if (footer.num_rows > 0) {
    RowGroup group;
    group.num_rows = footer.num_rows;
    group.num_chunks = footer.chunks.size();
    for (const ColumnChunk& chunk : footer.chunks) {
      group.size_bytes += chunk.uncompressed_size_bytes;
    }
    footer.row_groups.push_back(group);
  }
  AppendFooter(footer, key_values, file);
}

Result<ByteBuffer> Joined(std::span<EncodedColumn> columns, const ByteSink& begin,
                          const ByteSink& end) {
  size_t size = begin.size() + end.size();
  for (const EncodedColumn& column : columns) size += column.pages.size();
  ByteBuffer buffer;
  if (!buffer.Reset(size)) throw std::bad_alloc();
  uint8_t* out = buffer.data();
  const auto append = [&](std::span<const uint8_t> bytes) {
    if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
    out += bytes.size();
  };
  append(begin.bytes());
  for (EncodedColumn& column : columns) {
    append(column.pages.bytes());
    column.pages = ByteSink();
  }
  append(end.bytes());
  return buffer;
}

Result<ByteBuffer> EncodeInTurn(const FrameData& frame, const KeyValues& key_values) {
  BARCACHE_ASSIGN_OR_RETURN(SnappyCodec snappy, SnappyCodec::Make());
  FlatColumnEncoder encoder(std::move(snappy));
  ParquetFooter footer = FooterOf(frame);
  ByteSink file;
  // Small frames fit without growing twice.
  file.Reserve(static_cast<size_t>(std::clamp<int64_t>(frame.size_bytes, 4096, 1 << 20)));
  file.Append(kMagic.data(), kMagic.size());
  for (int64_t i = 0; i < frame.array.n_children; ++i) {
    const FlatColumn column = FlatColumnOf(*frame.schema.children[i], *frame.array.children[i]);
    footer.schema.push_back(ElementOf(column));
    if (column.num_rows == 0) continue;
    BARCACHE_ASSIGN_OR_RETURN(const ColumnChunk chunk, encoder.Encode(column, file));
    footer.chunks.push_back(chunk);
  }
  AppendFooterOf(footer, key_values, file);
  return Joined({}, file, ByteSink());
}

Result<ByteBuffer> EncodeSideBySide(const FrameData& frame, const KeyValues& key_values) {
  std::vector<EncodedColumn> columns(static_cast<size_t>(frame.array.n_children));
  std::vector<size_t> costs;
  for (size_t i = 0; i < columns.size(); ++i) {
    const FlatType type = *FlatTypeOfFormat(frame.schema.children[i]->format);
    costs.push_back(static_cast<size_t>(type.memory_width));
  }
  BARCACHE_RETURN_IF_ERROR(ForEachColumn(costs, [&](size_t i) {
    BARCACHE_ASSIGN_OR_RETURN(SnappyCodec snappy, SnappyCodec::Make());
    FlatColumnEncoder encoder(std::move(snappy));
    const FlatColumn column = FlatColumnOf(*frame.schema.children[i], *frame.array.children[i]);
    columns[i].element = ElementOf(column);
    BARCACHE_ASSIGN_OR_RETURN(columns[i].chunk, encoder.Encode(column, columns[i].pages));
    return Status();
  }));
  ParquetFooter footer = FooterOf(frame);
  ByteSink begin;
  begin.Append(kMagic.data(), kMagic.size());
  size_t offset = begin.size();
  for (EncodedColumn& column : columns) {
    footer.schema.push_back(column.element);
    footer.chunks.push_back(MovedBy(column.chunk, offset));
    offset += column.pages.size();
  }
  ByteSink end;
  AppendFooterOf(footer, key_values, end);
  return Joined(columns, begin, end);
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
    const int64_t num_columns = frame.array.n_children;
    const bool is_large = num_columns > 1 && frame.array.length >= kSideBySideValues / num_columns;
    return is_large ? EncodeSideBySide(frame, key_values) : EncodeInTurn(frame, key_values);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "no memory to encode a frame as Parquet; free some and try again");
  }
}

}  // namespace barcache
