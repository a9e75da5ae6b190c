// FlatCodecTakes and EncodeFlat; see flat_codec.h for the promises.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <string_view>
#include <vector>

#include "frame/bitmap.h"
#include "frame/byte_sink.h"
#include "frame/byte_stream_split.h"
#include "frame/flat_codec.h"
#include "frame/flat_type.h"
#include "frame/rle_levels.h"
#include "frame/snappy_codec.h"
#include "frame/string_views.h"

namespace barcache {
namespace {

// Beyond this the encodings of large frames win.
constexpr int64_t kMaxRows = 4096;
// Keeps every page far below the 2 GiB that its header can state.
constexpr int64_t kMaxStringBytes = 256 << 20;
// Fewer values gain nothing from splitting.
constexpr size_t kMinSplitValues = 8;
// More than a page header without statistics takes.
constexpr size_t kPageHeaderRoom = 64;
constexpr std::string_view kMagic = "PAR1";

struct Column {
  const char* name = nullptr;
  FlatType type;
  size_t rows = 0;
  size_t values = 0;                  // Rows that are not null.
  const uint8_t* validity = nullptr;  // Null: no null.
  const ArrowArray* array = nullptr;
  const uint8_t* data() const { return static_cast<const uint8_t*>(array->buffers[1]); }
};

Column ColumnOf(const ArrowSchema& schema, const ArrowArray& array) {
  Column column;
  column.name = schema.name == nullptr ? "" : schema.name;
  column.type = *FlatTypeOfFormat(schema.format);
  column.rows = static_cast<size_t>(array.length);
  column.values = column.rows - static_cast<size_t>(array.null_count);
  if (array.null_count > 0) column.validity = static_cast<const uint8_t*>(array.buffers[0]);
  column.array = &array;
  return column;
}

// Encodes column after column into one file; the scratch memory is shared by all of them.
class Encoder {
 public:
  explicit Encoder(SnappyCodec snappy) : snappy_(std::move(snappy)) {}

  Status Encode(const FrameData& frame, const KeyValues& key_values);
  std::span<const uint8_t> bytes() const { return file_.bytes(); }

 private:
  Status EncodeColumn(const Column& column, ParquetFooter& footer);
  // The stored values, closed up, of type.stored_width each: in the frame itself or in values_.
  const uint8_t* StoredValues(const Column& column);
  // Decides the encoding and returns levels and values of the only page.
  std::span<const uint8_t> PageBody(const Column& column, ParquetEncoding* encoding);
  // Compresses `body` behind its header, and adds both to the sizes of `chunk`.
  Status AppendPage(std::span<const uint8_t> body, const Column& column, ColumnChunk& chunk);

  SnappyCodec snappy_;
  ByteSink file_;
  ByteSink page_;
  ByteSink values_;
};

template <typename Narrow, typename Wide>
void Widen(const uint8_t* values, size_t count, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    Narrow narrow;
    std::memcpy(&narrow, values + i * sizeof(Narrow), sizeof(Narrow));
    const Wide wide = narrow;
    std::memcpy(out + i * sizeof(Wide), &wide, sizeof(Wide));
  }
}

void WidenIntegers(const FlatType& type, const uint8_t* values, size_t count, uint8_t* out) {
  if (type.layout == FlatLayout::kNarrow8) {
    type.is_signed ? Widen<int8_t, int32_t>(values, count, out)
                   : Widen<uint8_t, uint32_t>(values, count, out);
  } else {
    type.is_signed ? Widen<int16_t, int32_t>(values, count, out)
                   : Widen<uint16_t, uint32_t>(values, count, out);
  }
}

void ReverseDecimals(const uint8_t* values, size_t count, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    std::reverse_copy(values + i * 16, values + i * 16 + 16, out + i * 16);
  }
}

const uint8_t* Encoder::StoredValues(const Column& column) {
  const FlatType& type = column.type;
  const uint8_t* values = column.data();
  const bool is_converted = type.layout != FlatLayout::kFixed;
  if (!is_converted && column.validity == nullptr) return values;

  values_.Clear();
  const size_t memory_size = column.rows * static_cast<size_t>(type.memory_width);
  const size_t stored_size = column.values * static_cast<size_t>(type.stored_width);
  uint8_t* closed_up = values_.Reserve(memory_size + stored_size);
  if (column.validity != nullptr) {
    GatherValues(values, static_cast<size_t>(type.memory_width), column.validity, column.rows,
                 closed_up);
    values = closed_up;
  }
  if (!is_converted) return values;
  uint8_t* stored = closed_up + memory_size;
  if (type.layout == FlatLayout::kDecimal) {
    ReverseDecimals(values, column.values, stored);
  } else {
    WidenIntegers(type, values, column.values, stored);
  }
  return stored;
}

std::span<const uint8_t> Encoder::PageBody(const Column& column, ParquetEncoding* encoding) {
  *encoding = ParquetEncoding::kPlain;
  page_.Clear();
  if (column.validity != nullptr) {
    page_.Reserve(sizeof(uint32_t));
    page_.Advance(sizeof(uint32_t));
    AppendLevels(column.validity, column.rows, page_);
    const uint32_t size = static_cast<uint32_t>(page_.size() - sizeof(uint32_t));
    std::memcpy(page_.data(), &size, sizeof(size));
  }
  if (column.type.layout == FlatLayout::kView) {
    AppendPlainStrings(*column.array, column.validity, page_);
    return page_.bytes();
  }
  if (column.type.layout == FlatLayout::kBits) {
    const size_t size = BitmapSize(column.values);
    uint8_t* bits = page_.Reserve(std::max<size_t>(size, BitmapSize(column.rows)));
    if (column.validity != nullptr) {
      GatherBits(column.data(), column.validity, column.rows, bits);
    } else {
      CopyBits(column.data(), column.values, bits, 0);
    }
    page_.Advance(size);
    return page_.bytes();
  }
  const size_t width = static_cast<size_t>(column.type.stored_width);
  const size_t size = column.values * width;
  const uint8_t* values = StoredValues(column);
  // Polars and DuckDB read split values of the four numeric types alone.
  const bool may_split = column.type.physical != ParquetType::kFixedLenByteArray;
  if (may_split && column.values >= kMinSplitValues) {
    *encoding = ParquetEncoding::kByteStreamSplit;
    SplitByteStreams(values, column.values, width, page_.Reserve(size));
    page_.Advance(size);
    return page_.bytes();
  }
  if (column.validity == nullptr) return {values, size};
  page_.Append(values, size);
  return page_.bytes();
}

Status Encoder::AppendPage(std::span<const uint8_t> body, const Column& column,
                           ColumnChunk& chunk) {
  // Compressed behind the room for the header, which states the compressed size.
  const size_t start = file_.size();
  file_.Reserve(kPageHeaderRoom + SnappyCodec::MaxCompressedSize(body.size()));
  uint8_t* compressed = file_.data() + start + kPageHeaderRoom;
  BARCACHE_ASSIGN_OR_RETURN(const size_t compressed_size, snappy_.Compress(body, compressed));
  PageHeader header;
  header.kind = PageHeader::kData;
  header.uncompressed_size_bytes = static_cast<int32_t>(body.size());
  header.compressed_size_bytes = static_cast<int32_t>(compressed_size);
  header.num_values = static_cast<int32_t>(column.rows);
  header.encoding = chunk.encoding;
  AppendPageHeader(header, file_);
  const size_t header_size = file_.size() - start;
  chunk.uncompressed_size_bytes += static_cast<int64_t>(header_size + body.size());
  chunk.compressed_size_bytes += static_cast<int64_t>(header_size + compressed_size);
  std::memmove(file_.data() + file_.size(), compressed, compressed_size);
  file_.Advance(compressed_size);
  return Status();
}

Status Encoder::EncodeColumn(const Column& column, ParquetFooter& footer) {
  ColumnChunk chunk;
  chunk.type = column.type.physical;
  chunk.compression = ParquetCompression::kSnappy;
  chunk.name = column.name;
  chunk.num_values = static_cast<int64_t>(column.rows);
  chunk.data_page_offset = static_cast<int64_t>(file_.size());
  const std::span<const uint8_t> body = PageBody(column, &chunk.encoding);
  BARCACHE_RETURN_IF_ERROR(AppendPage(body, column, chunk));
  footer.chunks.push_back(chunk);
  return Status();
}

SchemaElement ElementOf(const Column& column) {
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

Status Encoder::Encode(const FrameData& frame, const KeyValues& key_values) {
  const size_t columns = static_cast<size_t>(frame.array.n_children);
  ParquetFooter footer;
  footer.num_rows = frame.array.length;
  footer.schema.reserve(columns + 1);
  footer.chunks.reserve(columns);
  SchemaElement root;
  root.name = "schema";
  root.num_children = static_cast<int32_t>(columns);
  footer.schema.push_back(root);

  // Whatever Snappy leaves of them, the buffers of small frames fit without growing twice.
  file_.Reserve(static_cast<size_t>(std::clamp<int64_t>(frame.size_bytes, 4096, 1 << 20)));
  file_.Append(kMagic.data(), kMagic.size());
  for (size_t i = 0; i < columns; ++i) {
    const Column column = ColumnOf(*frame.schema.children[i], *frame.array.children[i]);
    footer.schema.push_back(ElementOf(column));
    if (column.rows > 0) BARCACHE_RETURN_IF_ERROR(EncodeColumn(column, footer));
  }
  if (frame.array.length > 0) {
    RowGroup group;
    group.num_rows = frame.array.length;
    group.num_chunks = columns;
    for (const ColumnChunk& chunk : footer.chunks)
      group.size_bytes += chunk.uncompressed_size_bytes;
    footer.row_groups.push_back(group);
  }
  AppendFooter(footer, key_values, file_);
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
  BARCACHE_ASSIGN_OR_RETURN(SnappyCodec snappy, SnappyCodec::Make());
  try {
    Encoder encoder(std::move(snappy));
    BARCACHE_RETURN_IF_ERROR(encoder.Encode(frame, key_values));
    ByteBuffer buffer;
    if (!buffer.Reset(encoder.bytes().size())) throw std::bad_alloc();
    std::memcpy(buffer.data(), encoder.bytes().data(), encoder.bytes().size());
    return buffer;
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "no memory to encode a frame as Parquet; free some and try again");
  }
}

}  // namespace barcache
