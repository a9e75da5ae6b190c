// Writing of Parquet's metadata; see parquet_footer.h for the promises.
#include <string_view>

#include "frame/parquet_footer.h"
#include "frame/thrift_compact.h"

namespace barcache {
namespace {

// Format 2: readers of it know BYTE_STREAM_SPLIT and unsigned logical types.
constexpr int32_t kFormatVersion = 2;
constexpr std::string_view kCreatedBy = "barcache version 0.1.0";
constexpr std::string_view kMagic = "PAR1";

void WriteTimeUnit(CompactWriter& writer, ParquetTimeUnit unit) {
  writer.BeginStructField(2);
  writer.BeginStructField(static_cast<int32_t>(unit));
  writer.EndStruct();
  writer.EndStruct();
}

void WriteLogicalType(CompactWriter& writer, const LogicalType& logical) {
  writer.BeginStructField(10);
  writer.BeginStructField(static_cast<int32_t>(logical.kind));
  switch (logical.kind) {
    case LogicalKind::kDecimal:
      writer.I32(1, logical.scale);
      writer.I32(2, logical.precision);
      break;
    case LogicalKind::kTime:
    case LogicalKind::kTimestamp:
      writer.Bool(1, logical.adjusted_to_utc);
      WriteTimeUnit(writer, logical.unit);
      break;
    case LogicalKind::kInteger:
      writer.I8(1, logical.bit_width);
      writer.Bool(2, logical.is_signed);
      break;
    case LogicalKind::kNone:
    case LogicalKind::kString:
    case LogicalKind::kDate:
    case LogicalKind::kFloat16:
      break;
  }
  writer.EndStruct();
  writer.EndStruct();
}

void WriteSchemaElement(CompactWriter& writer, const SchemaElement& element, bool is_root) {
  writer.BeginStruct();
  if (element.type != SchemaElement::kNoType) writer.I32(1, element.type);
  if (element.type_length != 0) writer.I32(2, element.type_length);
  if (!is_root) writer.I32(3, static_cast<int32_t>(element.repetition));
  writer.Binary(4, element.name);
  if (element.type == SchemaElement::kNoType) writer.I32(5, element.num_children);
  if (element.converted != ConvertedType::kNone) {
    writer.I32(6, static_cast<int32_t>(element.converted));
  }
  if (element.logical.kind == LogicalKind::kDecimal) {
    writer.I32(7, element.scale);
    writer.I32(8, element.precision);
  }
  if (element.logical.kind != LogicalKind::kNone) WriteLogicalType(writer, element.logical);
  writer.EndStruct();
}

void WriteEncodings(CompactWriter& writer, const ColumnChunk& chunk) {
  const bool has_dictionary = chunk.dictionary_page_offset != 0;
  const bool is_plain = chunk.encoding == ParquetEncoding::kPlain;
  writer.BeginList(2, CompactType::kI32, 2 + (has_dictionary && !is_plain ? 1 : 0));
  writer.I32Element(static_cast<int32_t>(chunk.encoding));
  if (has_dictionary && !is_plain) writer.I32Element(static_cast<int32_t>(ParquetEncoding::kPlain));
  writer.I32Element(static_cast<int32_t>(ParquetEncoding::kRle));
}

void WriteColumnChunk(CompactWriter& writer, const ColumnChunk& chunk) {
  writer.BeginStruct();
  writer.I64(2, 0);  // Deprecated, yet required.
  writer.BeginStructField(3);
  writer.I32(1, static_cast<int32_t>(chunk.type));
  WriteEncodings(writer, chunk);
  writer.BeginList(3, CompactType::kBinary, 1);
  writer.BinaryElement(chunk.name);
  writer.I32(4, static_cast<int32_t>(chunk.compression));
  writer.I64(5, chunk.num_values);
  writer.I64(6, chunk.uncompressed_size_bytes);
  writer.I64(7, chunk.compressed_size_bytes);
  writer.I64(9, chunk.data_page_offset);
  if (chunk.dictionary_page_offset != 0) writer.I64(11, chunk.dictionary_page_offset);
  writer.EndStruct();
  writer.EndStruct();
}

void WriteRowGroup(CompactWriter& writer, const ParquetFooter& footer, const RowGroup& group) {
  writer.BeginStruct();
  writer.BeginList(1, CompactType::kStruct, group.num_chunks);
  for (size_t i = 0; i < group.num_chunks; ++i) {
    WriteColumnChunk(writer, footer.chunks[group.first_chunk + i]);
  }
  writer.I64(2, group.size_bytes);
  writer.I64(3, group.num_rows);
  writer.EndStruct();
}

}  // namespace

void AppendFooter(const ParquetFooter& footer, const KeyValues& key_values, ByteSink& sink) {
  const size_t start = sink.size();
  CompactWriter writer(sink);
  writer.BeginStruct();
  writer.I32(1, kFormatVersion);
  writer.BeginList(2, CompactType::kStruct, footer.schema.size());
  for (const SchemaElement& element : footer.schema) {
    WriteSchemaElement(writer, element, &element == footer.schema.data());
  }
  writer.I64(3, footer.num_rows);
  writer.BeginList(4, CompactType::kStruct, footer.row_groups.size());
  for (const RowGroup& group : footer.row_groups) WriteRowGroup(writer, footer, group);
  if (!key_values.empty()) {
    writer.BeginList(5, CompactType::kStruct, key_values.size());
    for (const auto& [key, value] : key_values) {
      writer.BeginStruct();
      writer.Binary(1, key);
      writer.Binary(2, value);
      writer.EndStruct();
    }
  }
  writer.Binary(6, kCreatedBy);
  writer.EndStruct();

  const size_t length = sink.size() - start;
  for (int shift = 0; shift < 32; shift += 8) {
    sink.AppendByte(static_cast<uint8_t>(length >> shift));
  }
  sink.Append(kMagic.data(), kMagic.size());
}

void AppendPageHeader(const PageHeader& header, ByteSink& sink) {
  CompactWriter writer(sink);
  writer.BeginStruct();
  writer.I32(1, header.kind);
  writer.I32(2, header.uncompressed_size_bytes);
  writer.I32(3, header.compressed_size_bytes);
  if (header.kind == PageHeader::kDictionary) {
    writer.BeginStructField(7);
    writer.I32(1, header.num_values);
    writer.I32(2, static_cast<int32_t>(header.encoding));
  } else {
    writer.BeginStructField(5);
    writer.I32(1, header.num_values);
    writer.I32(2, static_cast<int32_t>(header.encoding));
    writer.I32(3, static_cast<int32_t>(header.definition_encoding));
    writer.I32(4, static_cast<int32_t>(ParquetEncoding::kRle));  // Repetition levels.
  }
  writer.EndStruct();
  writer.EndStruct();
}

}  // namespace barcache
