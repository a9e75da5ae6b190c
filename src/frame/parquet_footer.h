// The metadata of Parquet files (FileMetaData and PageHeader of parquet.thrift), read and written
// by hand: what our codec needs of it, everything else is passed over.
//
// Thread safety: plain values; all functions may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "barcache/status.h"
#include "frame/byte_sink.h"
#include "frame/parquet_codec.h"

namespace barcache {

// The enums hold whatever number a file says, also ones without a name here.
enum class ParquetType : int32_t {
  kBoolean = 0,
  kInt32 = 1,
  kInt64 = 2,
  kInt96 = 3,
  kFloat = 4,
  kDouble = 5,
  kByteArray = 6,
  kFixedLenByteArray = 7,
};

enum class ParquetRepetition : int32_t { kRequired = 0, kOptional = 1, kRepeated = 2 };

enum class ParquetEncoding : int32_t {
  kPlain = 0,
  kPlainDictionary = 2,
  kRle = 3,
  kBitPacked = 4,
  kDeltaBinaryPacked = 5,
  kDeltaLengthByteArray = 6,
  kDeltaByteArray = 7,
  kRleDictionary = 8,
  kByteStreamSplit = 9,
};

enum class ParquetCompression : int32_t { kUncompressed = 0, kSnappy = 1 };

enum class ConvertedType : int32_t {
  kNone = -1,
  kUtf8 = 0,
  kDecimal = 5,
  kDate = 6,
  kTimestampMillis = 9,
  kTimestampMicros = 10,
  kUint8 = 11,
  kUint16 = 12,
  kUint32 = 13,
  kUint64 = 14,
  kInt8 = 15,
  kInt16 = 16,
  kInt32 = 17,
  kInt64 = 18,
};

enum class LogicalKind : int32_t {
  kNone = 0,
  kString = 1,
  kDecimal = 5,
  kDate = 6,
  kTime = 7,
  kTimestamp = 8,
  kInteger = 10,
  kFloat16 = 15,
};

enum class ParquetTimeUnit : int32_t { kNone = 0, kMillis = 1, kMicros = 2, kNanos = 3 };

struct LogicalType {
  LogicalKind kind = LogicalKind::kNone;
  ParquetTimeUnit unit = ParquetTimeUnit::kNone;  // Time and timestamp.
  bool adjusted_to_utc = false;                   // Time and timestamp.
  int8_t bit_width = 0;                           // Integer.
  bool is_signed = false;                         // Integer.
  int32_t scale = 0;                              // Decimal.
  int32_t precision = 0;                          // Decimal.
};

struct SchemaElement {
  static constexpr int32_t kNoType = -1;
  int32_t type = kNoType;  // A ParquetType; groups have none.
  int32_t type_length = 0;
  ParquetRepetition repetition = ParquetRepetition::kRequired;
  int32_t num_children = 0;
  ConvertedType converted = ConvertedType::kNone;
  int32_t scale = 0;
  int32_t precision = 0;
  LogicalType logical;
  std::string_view name;
};

struct ColumnChunk {
  ParquetType type = ParquetType::kBoolean;
  ParquetCompression compression = ParquetCompression::kUncompressed;
  ParquetEncoding encoding = ParquetEncoding::kPlain;  // Written only: that of the data pages.
  bool is_elsewhere = false;  // In another file, or encrypted: not for us to read.
  int32_t path_depth = 0;     // Names in path_in_schema.
  std::string_view name;      // The first of them.
  int64_t num_values = 0;
  int64_t uncompressed_size_bytes = 0;
  int64_t compressed_size_bytes = 0;
  int64_t data_page_offset = 0;
  int64_t dictionary_page_offset = 0;  // 0: none.
};

struct RowGroup {
  int64_t num_rows = 0;
  int64_t size_bytes = 0;
  size_t first_chunk = 0;  // Its chunks: ParquetFooter::chunks[first_chunk, + num_chunks).
  size_t num_chunks = 0;
};

// Views point into the bytes that were parsed, or that are to be written.
struct ParquetFooter {
  int64_t num_rows = 0;
  std::vector<SchemaElement> schema;  // The root first.
  std::vector<RowGroup> row_groups;
  std::vector<ColumnChunk> chunks;
  std::vector<std::pair<std::string_view, std::string_view>> key_values;
  size_t data_end = 0;  // Offset of the footer: pages end here at the latest.
};

// Any bytes are the footer of a Parquet file or kCorruption (kOutOfMemory aside). `bytes` are
// those of the whole file, and must outlive the result. Offsets and sizes in it are unchecked.
Result<ParquetFooter> ParseFooter(std::span<const uint8_t> bytes);

// Appends footer, its length and the closing magic. `key_values` are written instead of those of
// `footer`.
void AppendFooter(const ParquetFooter& footer, const KeyValues& key_values, ByteSink& sink);

struct PageHeader {
  enum Kind : int32_t { kData = 0, kIndex = 1, kDictionary = 2, kDataV2 = 3 };
  int32_t kind = -1;
  int32_t uncompressed_size_bytes = 0;
  int32_t compressed_size_bytes = 0;
  int32_t num_values = 0;  // Of data and dictionary pages.
  ParquetEncoding encoding = ParquetEncoding::kPlain;
  ParquetEncoding definition_encoding = ParquetEncoding::kRle;  // Of data pages.
  // Of data pages V2 alone.
  int32_t definition_size_bytes = 0;
  int32_t repetition_size_bytes = 0;
  bool is_compressed = true;
  size_t header_size_bytes = 0;  // Parsed only: the bytes of the header itself.
};

// The header at the front of `bytes`, or kCorruption; sizes are not negative, nothing else about
// them is checked.
Result<PageHeader> ParsePageHeader(std::span<const uint8_t> bytes);
void AppendPageHeader(const PageHeader& header, ByteSink& sink);

}  // namespace barcache
