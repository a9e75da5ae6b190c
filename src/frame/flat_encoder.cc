// FlatCodecTakes and EncodeFlat; see flat_codec.h for the promises.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "frame/byte_sink.h"
#include "frame/flat_codec.h"
#include "frame/flat_column_encoder.h"
#include "frame/piece_stream.h"
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

Result<ByteSink> EncodeInTurn(const FrameData& frame, const KeyValues& key_values) {
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
    BARCACHE_ASSIGN_OR_RETURN(const ColumnChunk chunk, encoder.Encode(column, file, [] {}));
    footer.chunks.push_back(chunk);
  }
  AppendFooterOf(footer, key_values, file);
  return file;
}

struct EncodedColumn {
  SchemaElement element;
  ColumnChunk chunk;  // Its offsets count from the part's begin.
  size_t part_size = 0;
};

// Encoders that wait for their next column, so that their memory is used again.
class IdleEncoders {
 public:
  Result<std::unique_ptr<FlatColumnEncoder>> Take() BARCACHE_EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      if (!encoders_.empty()) {
        std::unique_ptr<FlatColumnEncoder> encoder = std::move(encoders_.back());
        encoders_.pop_back();
        return encoder;
      }
    }
    BARCACHE_ASSIGN_OR_RETURN(SnappyCodec snappy, SnappyCodec::Make());
    return std::make_unique<FlatColumnEncoder>(std::move(snappy));
  }
  void Give(std::unique_ptr<FlatColumnEncoder> encoder) BARCACHE_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    encoders_.push_back(std::move(encoder));
  }

 private:
  Mutex mutex_;
  std::vector<std::unique_ptr<FlatColumnEncoder>> encoders_ BARCACHE_GUARDED_BY(mutex_);
};

Result<EncodedColumn> EncodeColumn(const FrameData& frame, size_t index, IdleEncoders& encoders,
                                   PartSink& out) {
  BARCACHE_ASSIGN_OR_RETURN(auto encoder, encoders.Take());
  const FlatColumn column =
      FlatColumnOf(*frame.schema.children[index], *frame.array.children[index]);
  const size_t memory_bytes = column.num_rows * static_cast<size_t>(column.type.memory_width);
  out.sink.Reserve(std::min(memory_bytes, PartSink::kPieceRoom));
  const size_t begin = out.sink.size();
  EncodedColumn encoded;
  encoded.element = ElementOf(column);
  BARCACHE_ASSIGN_OR_RETURN(encoded.chunk,
                            encoder->Encode(column, out.sink, [&] { out.EndPage(); }));
  encoded.part_size = begin + static_cast<size_t>(encoded.chunk.compressed_size_bytes);
  encoders.Give(std::move(encoder));
  return encoded;
}

// Each column is a part, the first one with the magic before it, and so is the footer.
Status EncodeSideBySide(const FrameData& frame, const KeyValues& key_values,
                        std::span<const PieceTaker> takers) {
  std::vector<EncodedColumn> columns(static_cast<size_t>(frame.array.n_children));
  IdleEncoders encoders;
  const auto encode = [&](size_t part, PartSink& out) {
    if (part == 0) out.sink.Append(kMagic.data(), kMagic.size());
    if (part < columns.size()) {
      BARCACHE_ASSIGN_OR_RETURN(columns[part], EncodeColumn(frame, part, encoders, out));
      return Status();
    }
    ParquetFooter footer = FooterOf(frame);
    size_t offset = 0;
    for (const EncodedColumn& column : columns) {
      footer.schema.push_back(column.element);
      footer.chunks.push_back(MovedBy(column.chunk, offset));
      offset += column.part_size;
    }
    AppendFooterOf(footer, key_values, out.sink);
    return Status();
  };
  return StreamParts(columns.size() + 1, encode, takers);
}

bool IsLarge(const FrameData& frame) {
  const int64_t num_columns = frame.array.n_children;
  return num_columns > 1 && frame.array.length >= kSideBySideValues / num_columns;
}

// Runs `encode` and turns want of memory into a Status.
template <typename Encode>
auto Guarded(Encode encode) -> decltype(encode()) {
  try {
    return encode();
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "no memory to encode a frame as Parquet; free some and try again");
  }
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
  return Guarded([&]() -> Result<ByteBuffer> {
    ByteSink file;
    if (IsLarge(frame)) {
      const PieceTaker append{
          [&](std::span<const uint8_t> bytes) { file.Append(bytes.data(), bytes.size()); }};
      BARCACHE_RETURN_IF_ERROR(EncodeSideBySide(frame, key_values, {&append, 1}));
    } else {
      BARCACHE_ASSIGN_OR_RETURN(file, EncodeInTurn(frame, key_values));
    }
    ByteBuffer buffer;
    if (!buffer.Reset(file.size())) throw std::bad_alloc();
    std::memcpy(buffer.data(), file.data(), file.size());
    return buffer;
  });
}

Status EncodeFlatInPieces(const FrameData& frame, const KeyValues& key_values,
                          std::span<const PieceTaker> takers) {
  return Guarded([&]() -> Status {
    if (IsLarge(frame)) return EncodeSideBySide(frame, key_values, takers);
    BARCACHE_ASSIGN_OR_RETURN(const ByteSink file, EncodeInTurn(frame, key_values));
    HandOn(file.bytes(), takers);
    return Status();
  });
}

}  // namespace barcache
