// Reading of Parquet's metadata; see the header for the promises.
#include "frame/parquet_footer.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "frame/thrift_compact.h"

namespace barcache {
namespace {

constexpr std::string_view kMagic = "PAR1";
constexpr size_t kTailSize = 8;  // Footer length and magic.
// More than any header of a page with statistics takes; bounds the work on garbage.
constexpr size_t kMaxPageHeaderSize = 16 << 20;

Status CorruptFooter(const char* what) {
  return Status(ErrorCode::kCorruption, std::string("the Parquet footer is damaged: ") + what +
                                            "; remove the file, or restore it from its source");
}

// Room for what the file announces, but not more than honest files of our own need: the rest
// grows with the bytes that are really there.
template <typename T>
void ReserveSome(std::vector<T>& items, uint32_t count) {
  items.reserve(items.size() + std::min<size_t>(count, 64));
}

// A union of empty structs (TimeUnit): its value is the id of the one that is set.
int32_t ParseUnionId(CompactReader& reader) {
  int32_t id = 0;
  CompactField field;
  while (reader.NextField(field)) {
    id = field.id;
    reader.Skip(field.type);
  }
  return id;
}

// The struct behind one kind of logical type: the fields of all kinds, told apart by `kind`.
void ParseLogicalDetails(CompactReader& reader, LogicalType& logical) {
  const bool has_time =
      logical.kind == LogicalKind::kTime || logical.kind == LogicalKind::kTimestamp;
  CompactField field;
  while (reader.NextField(field)) {
    if (has_time && field.id == 1) {
      logical.adjusted_to_utc = reader.Bool(field.type);
    } else if (has_time && field.id == 2) {
      reader.ExpectStruct(field.type);
      logical.unit = static_cast<ParquetTimeUnit>(ParseUnionId(reader));
    } else if (logical.kind == LogicalKind::kDecimal && field.id == 1) {
      logical.scale = reader.I32(field.type);
    } else if (logical.kind == LogicalKind::kDecimal && field.id == 2) {
      logical.precision = reader.I32(field.type);
    } else if (logical.kind == LogicalKind::kInteger && field.id == 1) {
      logical.bit_width = reader.I8(field.type);
    } else if (logical.kind == LogicalKind::kInteger && field.id == 2) {
      logical.is_signed = reader.Bool(field.type);
    } else {
      reader.Skip(field.type);
    }
  }
}

LogicalType ParseLogicalType(CompactReader& reader) {
  LogicalType logical;
  CompactField field;
  while (reader.NextField(field)) {
    logical = LogicalType();
    logical.kind = static_cast<LogicalKind>(field.id);
    reader.ExpectStruct(field.type);
    ParseLogicalDetails(reader, logical);
  }
  return logical;
}

SchemaElement ParseSchemaElement(CompactReader& reader) {
  SchemaElement element;
  CompactField field;
  while (reader.NextField(field)) {
    switch (field.id) {
      case 1:
        element.type = reader.I32(field.type);
        break;
      case 2:
        element.type_length = reader.I32(field.type);
        break;
      case 3:
        element.repetition = static_cast<ParquetRepetition>(reader.I32(field.type));
        break;
      case 4:
        element.name = reader.Binary(field.type);
        break;
      case 5:
        element.num_children = reader.I32(field.type);
        break;
      case 6:
        element.converted = static_cast<ConvertedType>(reader.I32(field.type));
        break;
      case 7:
        element.scale = reader.I32(field.type);
        break;
      case 8:
        element.precision = reader.I32(field.type);
        break;
      case 10:
        reader.ExpectStruct(field.type);
        element.logical = ParseLogicalType(reader);
        break;
      default:
        reader.Skip(field.type);
    }
  }
  return element;
}

void ParsePath(CompactReader& reader, CompactType type, ColumnChunk& chunk) {
  const CompactList path = reader.List(type);
  chunk.path_depth = static_cast<int32_t>(std::min<uint32_t>(path.size, INT32_MAX));
  for (uint32_t i = 0; i < path.size && reader.ok(); ++i) {
    const std::string_view name = reader.Binary(path.element);
    if (i == 0) chunk.name = name;
  }
}

void ParseColumnMetaData(CompactReader& reader, ColumnChunk& chunk) {
  CompactField field;
  while (reader.NextField(field)) {
    switch (field.id) {
      case 1:
        chunk.type = static_cast<ParquetType>(reader.I32(field.type));
        break;
      case 3:
        ParsePath(reader, field.type, chunk);
        break;
      case 4:
        chunk.compression = static_cast<ParquetCompression>(reader.I32(field.type));
        break;
      case 5:
        chunk.num_values = reader.I64(field.type);
        break;
      case 6:
        chunk.uncompressed_size_bytes = reader.I64(field.type);
        break;
      case 7:
        chunk.compressed_size_bytes = reader.I64(field.type);
        break;
      case 9:
        chunk.data_page_offset = reader.I64(field.type);
        break;
      case 11:
        chunk.dictionary_page_offset = reader.I64(field.type);
        break;
      default:
        reader.Skip(field.type);
    }
  }
}

ColumnChunk ParseColumnChunk(CompactReader& reader) {
  ColumnChunk chunk;
  bool has_metadata = false;
  CompactField field;
  while (reader.NextField(field)) {
    if (field.id == 3) {
      reader.ExpectStruct(field.type);
      ParseColumnMetaData(reader, chunk);
      has_metadata = true;
    } else {
      // 1: path of another file; 8 and 9: encryption.
      if (field.id == 1 || field.id == 8 || field.id == 9) chunk.is_elsewhere = true;
      reader.Skip(field.type);
    }
  }
  if (!has_metadata) chunk.is_elsewhere = true;
  return chunk;
}

void ParseRowGroup(CompactReader& reader, ParquetFooter& footer) {
  RowGroup group;
  group.first_chunk = footer.chunks.size();
  CompactField field;
  while (reader.NextField(field)) {
    if (field.id == 1) {
      const CompactList list = reader.List(field.type);
      if (list.size > 0) reader.ExpectStruct(list.element);
      if (footer.chunks.empty()) ReserveSome(footer.chunks, list.size);
      for (uint32_t i = 0; i < list.size && reader.ok(); ++i) {
        footer.chunks.push_back(ParseColumnChunk(reader));
      }
    } else if (field.id == 2) {
      group.size_bytes = reader.I64(field.type);
    } else if (field.id == 3) {
      group.num_rows = reader.I64(field.type);
    } else {
      reader.Skip(field.type);
    }
  }
  group.num_chunks = footer.chunks.size() - group.first_chunk;
  footer.row_groups.push_back(group);
}

std::pair<std::string_view, std::string_view> ParseKeyValue(CompactReader& reader) {
  std::pair<std::string_view, std::string_view> pair;
  CompactField field;
  while (reader.NextField(field)) {
    if (field.id == 1) {
      pair.first = reader.Binary(field.type);
    } else if (field.id == 2) {
      pair.second = reader.Binary(field.type);
    } else {
      reader.Skip(field.type);
    }
  }
  return pair;
}

void ParseFileMetaData(CompactReader& reader, ParquetFooter& footer) {
  CompactField field;
  while (reader.NextField(field)) {
    if (field.id == 3) {
      footer.num_rows = reader.I64(field.type);
      continue;
    }
    if (field.id != 2 && field.id != 4 && field.id != 5) {
      reader.Skip(field.type);
      continue;
    }
    const CompactList list = reader.List(field.type);
    if (list.size > 0) reader.ExpectStruct(list.element);
    if (field.id == 2) ReserveSome(footer.schema, list.size);
    if (field.id == 5) ReserveSome(footer.key_values, list.size);
    for (uint32_t i = 0; i < list.size && reader.ok(); ++i) {
      if (field.id == 2) footer.schema.push_back(ParseSchemaElement(reader));
      if (field.id == 4) ParseRowGroup(reader, footer);
      if (field.id == 5) footer.key_values.push_back(ParseKeyValue(reader));
    }
  }
}

}  // namespace

Result<ParquetFooter> ParseFooter(std::span<const uint8_t> bytes) {
  if (bytes.size() < kMagic.size() + kTailSize ||
      std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0 ||
      std::memcmp(bytes.data() + bytes.size() - kMagic.size(), kMagic.data(), kMagic.size()) != 0) {
    return CorruptFooter("the bytes do not begin and end with PAR1");
  }
  const size_t tail = bytes.size() - kTailSize;
  const uint8_t* length_bytes = bytes.data() + tail;
  const size_t length = static_cast<size_t>(length_bytes[0]) | size_t{length_bytes[1]} << 8 |
                        size_t{length_bytes[2]} << 16 | size_t{length_bytes[3]} << 24;
  if (length > tail - kMagic.size()) return CorruptFooter("it is longer than the file");
  try {
    ParquetFooter footer;
    footer.data_end = tail - length;
    CompactReader reader(bytes.subspan(footer.data_end, length));
    ParseFileMetaData(reader, footer);
    if (!reader.ok()) return CorruptFooter("it is not the metadata of a file");
    if (footer.schema.empty()) return CorruptFooter("it has no schema");
    if (footer.num_rows < 0) return CorruptFooter("its row count is negative");
    return footer;
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "no memory for the metadata of a Parquet file; free some and try again");
  }
}

namespace {

void ParseDataPageFields(CompactReader& reader, PageHeader& header) {
  CompactField field;
  while (reader.NextField(field)) {
    if (field.id == 1) {
      header.num_values = reader.I32(field.type);
    } else if (field.id == 2) {
      header.encoding = static_cast<ParquetEncoding>(reader.I32(field.type));
    } else if (field.id == 3 && header.kind == PageHeader::kData) {
      header.definition_encoding = static_cast<ParquetEncoding>(reader.I32(field.type));
    } else {
      reader.Skip(field.type);
    }
  }
}

void ParseDataPageV2Fields(CompactReader& reader, PageHeader& header) {
  CompactField field;
  while (reader.NextField(field)) {
    if (field.id == 1) {
      header.num_values = reader.I32(field.type);
    } else if (field.id == 4) {
      header.encoding = static_cast<ParquetEncoding>(reader.I32(field.type));
    } else if (field.id == 5) {
      header.definition_size_bytes = reader.I32(field.type);
    } else if (field.id == 6) {
      header.repetition_size_bytes = reader.I32(field.type);
    } else if (field.id == 7) {
      header.is_compressed = reader.Bool(field.type);
    } else {
      reader.Skip(field.type);
    }
  }
}

}  // namespace

Result<PageHeader> ParsePageHeader(std::span<const uint8_t> bytes) {
  CompactReader reader(bytes.first(std::min(bytes.size(), kMaxPageHeaderSize)));
  PageHeader header;
  bool has_details = false;
  CompactField field;
  while (reader.NextField(field)) {
    if (field.id == 1) {
      header.kind = reader.I32(field.type);
    } else if (field.id == 2) {
      header.uncompressed_size_bytes = reader.I32(field.type);
    } else if (field.id == 3) {
      header.compressed_size_bytes = reader.I32(field.type);
    } else if ((field.id == 5 && header.kind == PageHeader::kData) ||
               (field.id == 7 && header.kind == PageHeader::kDictionary)) {
      reader.ExpectStruct(field.type);
      ParseDataPageFields(reader, header);
      has_details = true;
    } else if (field.id == 8 && header.kind == PageHeader::kDataV2) {
      reader.ExpectStruct(field.type);
      ParseDataPageV2Fields(reader, header);
      has_details = true;
    } else {
      reader.Skip(field.type);
    }
  }
  header.header_size_bytes = reader.consumed();
  if (!reader.ok() || header.kind < 0 || header.uncompressed_size_bytes < 0 ||
      header.compressed_size_bytes < 0 || header.num_values < 0 ||
      header.definition_size_bytes < 0 || header.repetition_size_bytes < 0 ||
      (!has_details && header.kind != PageHeader::kIndex)) {
    return Status(ErrorCode::kCorruption,
                  "the header of a Parquet page is damaged; remove the file, or restore it from "
                  "its source");
  }
  return header;
}

}  // namespace barcache
