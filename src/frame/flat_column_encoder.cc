// Columns to pages; see the header for the promises.
#include "frame/flat_column_encoder.h"

#include <algorithm>
#include <cstring>

#include "frame/bitmap.h"
#include "frame/byte_stream_split.h"
#include "frame/delta_binary_packed.h"
#include "frame/index_runs.h"
#include "frame/rle_levels.h"
#include "frame/string_views.h"

namespace barcache {
namespace {

// A page and what becomes of it stay in the second-level cache. A multiple of 8, so that pages
// begin at whole bytes of bitmaps.
constexpr size_t kPageRows = 1 << 15;
constexpr size_t kStringPageBytes = 1 << 20;
// More than a page header without statistics takes.
constexpr size_t kPageHeaderRoom = 64;

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

}  // namespace

FlatColumn FlatColumnOf(const ArrowSchema& schema, const ArrowArray& array) {
  FlatColumn column;
  column.name = schema.name == nullptr ? "" : schema.name;
  column.type = *FlatTypeOfFormat(schema.format);
  column.num_rows = static_cast<size_t>(array.length);
  column.num_values = column.num_rows;
  if (array.null_count != 0 && array.buffers[0] != nullptr) {
    // The bits, not the producer's count, say how many values there are.
    const uint8_t* validity = static_cast<const uint8_t*>(array.buffers[0]);
    column.num_values = CountBits(validity, 0, column.num_rows);
    if (column.num_values < column.num_rows) column.validity = validity;
  }
  column.array = &array;
  return column;
}

const uint8_t* FlatColumnEncoder::StoredValues(const FlatColumn& column) {
  const FlatType& type = column.type;
  const uint8_t* values = column.data();
  const bool is_converted = type.layout != FlatLayout::kFixed;
  if (!is_converted && column.validity == nullptr) return values;

  values_.Clear();
  const size_t memory_size = column.num_rows * static_cast<size_t>(type.memory_width);
  const size_t stored_size = column.num_values * static_cast<size_t>(type.stored_width);
  uint8_t* closed_up = values_.Reserve(memory_size + stored_size);
  if (column.validity != nullptr) {
    GatherValues(values, static_cast<size_t>(type.memory_width), column.validity, column.num_rows,
                 closed_up);
    values = closed_up;
  }
  if (!is_converted) return values;
  uint8_t* stored = closed_up + memory_size;
  if (type.layout == FlatLayout::kDecimal) {
    ReverseDecimals(values, column.num_values, stored);
  } else {
    WidenIntegers(type, values, column.num_values, stored);
  }
  return stored;
}

void FlatColumnEncoder::ChooseFor(const FlatColumn& column) {
  EncodingChoice choice;
  bool has_dictionary = false;
  if (column.type.layout == FlatLayout::kView) {
    const size_t bytes = static_cast<size_t>(SumStringBytes(*column.array));
    choice = ChooseStringEncoding(column.num_values, bytes);
    has_dictionary =
        choice.dictionary_limit > 0 &&
        dictionary_.BuildStrings(*column.array, column.validity, choice.dictionary_limit);
  } else if (column.type.layout != FlatLayout::kBits) {
    const size_t width = static_cast<size_t>(column.type.stored_width);
    stored_ = StoredValues(column);
    choice = ChooseEncoding(column.type.physical, stored_, column.num_values, width);
    has_dictionary = choice.dictionary_limit > 0 &&
                     dictionary_.Build(stored_, column.num_values, width, choice.dictionary_limit);
  }
  encoding_ = has_dictionary ? ParquetEncoding::kRleDictionary : choice.encoding;
}

FlatColumnEncoder::PageRange FlatColumnEncoder::NextPage(const FlatColumn& column,
                                                         const PageRange& previous) const {
  PageRange page;
  page.first_row = previous.first_row + previous.num_rows;
  page.first_value = previous.first_value + previous.num_values;
  page.num_rows = std::min(kPageRows, column.num_rows - page.first_row);
  if (column.type.layout == FlatLayout::kView && encoding_ == ParquetEncoding::kPlain) {
    page.num_rows = StringPageRows(*column.array, column.validity, page.first_row, page.num_rows,
                                   kStringPageBytes);
  }
  page.num_values = column.validity == nullptr
                        ? page.num_rows
                        : CountBits(column.validity, page.first_row, page.num_rows);
  return page;
}

void FlatColumnEncoder::AppendValues(const FlatColumn& column, const PageRange& page) {
  const size_t width = static_cast<size_t>(column.type.stored_width);
  const size_t size = page.num_values * width;
  const uint8_t* values = stored_ + page.first_value * width;
  switch (encoding_) {
    case ParquetEncoding::kRleDictionary:
      AppendIndexRuns(dictionary_.indices() + page.first_value, page.num_values,
                      IndexWidth(dictionary_.size()), page_);
      return;
    case ParquetEncoding::kDeltaBinaryPacked:
      AppendDeltas(values, page.num_values, width, page_);
      return;
    case ParquetEncoding::kByteStreamSplit:
      SplitByteStreams(values, page.num_values, width, page_.Reserve(size));
      page_.Advance(size);
      return;
    default:
      break;
  }
  if (column.type.layout == FlatLayout::kView) {
    AppendPlainStrings(*column.array, column.validity, page.first_row, page.num_rows, page_);
  } else if (column.type.layout == FlatLayout::kBits) {
    const uint8_t* bits = column.data() + page.first_row / 8;
    uint8_t* out = page_.Reserve(BitmapSize(page.num_rows));
    if (column.validity != nullptr) {
      GatherBits(bits, column.validity + page.first_row / 8, page.num_rows, out);
    } else {
      CopyBits(bits, page.num_rows, out, 0);
    }
    page_.Advance(BitmapSize(page.num_values));
  } else {
    page_.Append(values, size);
  }
}

std::span<const uint8_t> FlatColumnEncoder::PageBody(const FlatColumn& column,
                                                     const PageRange& page) {
  page_.Clear();
  if (column.validity == nullptr && column.type.layout == FlatLayout::kFixed &&
      encoding_ == ParquetEncoding::kPlain) {
    const size_t width = static_cast<size_t>(column.type.stored_width);
    return {stored_ + page.first_value * width, page.num_values * width};
  }
  if (column.validity != nullptr) {
    page_.Reserve(sizeof(uint32_t));
    page_.Advance(sizeof(uint32_t));
    AppendLevels(column.validity + page.first_row / 8, page.num_rows, page_);
    const uint32_t size = static_cast<uint32_t>(page_.size() - sizeof(uint32_t));
    std::memcpy(page_.data(), &size, sizeof(size));
  }
  AppendValues(column, page);
  return page_.bytes();
}

Status FlatColumnEncoder::AppendPage(PageHeader header, std::span<const uint8_t> body,
                                     ByteSink& sink, ColumnChunk& chunk) {
  // Compressed behind the room for the header, which states the compressed size.
  const size_t start = sink.size();
  sink.Reserve(kPageHeaderRoom + SnappyCodec::MaxCompressedSize(body.size()));
  uint8_t* compressed = sink.data() + start + kPageHeaderRoom;
  BARCACHE_ASSIGN_OR_RETURN(const size_t compressed_size, snappy_.Compress(body, compressed));
  header.uncompressed_size_bytes = static_cast<int32_t>(body.size());
  header.compressed_size_bytes = static_cast<int32_t>(compressed_size);
  AppendPageHeader(header, sink);
  const size_t header_size = sink.size() - start;
  chunk.uncompressed_size_bytes += static_cast<int64_t>(header_size + body.size());
  chunk.compressed_size_bytes += static_cast<int64_t>(header_size + compressed_size);
  std::memmove(sink.data() + sink.size(), compressed, compressed_size);
  sink.Advance(compressed_size);
  return Status();
}

Result<ColumnChunk> FlatColumnEncoder::Encode(const FlatColumn& column, ByteSink& sink,
                                              const std::function<void()>& end_page) {
  ChooseFor(column);
  const auto begin = static_cast<int64_t>(sink.size());
  ColumnChunk chunk;
  chunk.type = column.type.physical;
  chunk.compression = ParquetCompression::kSnappy;
  chunk.encoding = encoding_;
  chunk.name = column.name;
  chunk.num_values = static_cast<int64_t>(column.num_rows);
  PageHeader header;
  if (encoding_ == ParquetEncoding::kRleDictionary) {
    chunk.dictionary_page_offset = begin;
    header.kind = PageHeader::kDictionary;
    header.num_values = static_cast<int32_t>(dictionary_.size());
    BARCACHE_RETURN_IF_ERROR(AppendPage(header, dictionary_.values().bytes(), sink, chunk));
    end_page();
  }
  chunk.data_page_offset = begin + chunk.compressed_size_bytes;
  header.kind = PageHeader::kData;
  header.encoding = encoding_;
  PageRange page;
  do {
    page = NextPage(column, page);
    header.num_values = static_cast<int32_t>(page.num_rows);
    BARCACHE_RETURN_IF_ERROR(AppendPage(header, PageBody(column, page), sink, chunk));
    end_page();
  } while (page.first_row + page.num_rows < column.num_rows);
  return chunk;
}

}  // namespace barcache
