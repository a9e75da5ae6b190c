// Footers: what Arrow writes we read, what we write comes back, and garbage is kCorruption.
#include "frame/parquet_footer.h"

#include <arrow/io/memory.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>

#include <random>

#include "frame/flat_sample.h"
#include "frame/utf8.h"

namespace barcache {
namespace {

std::vector<uint8_t> ArrowFile() {
  const auto batch = flat_sample::AllTypes(100, 0.1);
  auto sink = *arrow::io::BufferOutputStream::Create();
  const auto table = *arrow::Table::FromRecordBatches({batch});
  const auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  EXPECT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, 30,
                                         parquet::default_writer_properties(), arrow_properties)
                  .ok());
  const auto buffer = *sink->Finish();
  return {buffer->data(), buffer->data() + buffer->size()};
}

TEST(ParquetFooter, ReadsWhatArrowWrites) {
  const std::vector<uint8_t> bytes = ArrowFile();
  const auto footer = ParseFooter(bytes);
  ASSERT_TRUE(footer.ok()) << footer.status().ToString();
  EXPECT_EQ(footer->num_rows, 100);
  ASSERT_EQ(footer->schema.size(), 26U);
  EXPECT_EQ(footer->schema[0].num_children, 25);
  EXPECT_EQ(footer->schema[1].type, static_cast<int32_t>(ParquetType::kBoolean));
  EXPECT_EQ(footer->schema[1].repetition, ParquetRepetition::kOptional);
  ASSERT_EQ(footer->row_groups.size(), 4U);
  EXPECT_EQ(footer->row_groups[3].num_rows, 10);
  EXPECT_EQ(footer->row_groups[3].first_chunk, 75U);
  EXPECT_EQ(footer->row_groups[3].num_chunks, 25U);
  ASSERT_EQ(footer->chunks.size(), 100U);
  EXPECT_EQ(footer->chunks[99].name, footer->schema[25].name);
  EXPECT_EQ(footer->chunks[99].num_values, 10);
  EXPECT_GT(footer->chunks[99].dictionary_page_offset, 4);
  ASSERT_EQ(footer->key_values.size(), 1U);
  EXPECT_EQ(footer->key_values[0].first, "ARROW:schema");
}

TEST(ParquetFooter, WhatIsWrittenComesBack) {
  const std::vector<uint8_t> bytes = ArrowFile();
  const ParquetFooter footer = *ParseFooter(bytes);
  ByteSink sink;
  sink.Append(bytes.data(), footer.data_end);
  AppendFooter(footer, {{"k", "v"}}, sink);
  const auto again = ParseFooter(sink.bytes());
  ASSERT_TRUE(again.ok());
  ASSERT_EQ(again->schema.size(), footer.schema.size());
  for (size_t i = 0; i < footer.schema.size(); ++i) {
    const SchemaElement& a = footer.schema[i];
    const SchemaElement& b = again->schema[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.type, b.type);
    EXPECT_EQ(a.type_length, b.type_length);
    EXPECT_EQ(a.num_children, b.num_children);
    EXPECT_EQ(a.converted, b.converted);
    EXPECT_EQ(a.precision, b.precision);
    EXPECT_EQ(a.scale, b.scale);
    EXPECT_EQ(a.logical.kind, b.logical.kind);
    EXPECT_EQ(a.logical.unit, b.logical.unit);
    EXPECT_EQ(a.logical.adjusted_to_utc, b.logical.adjusted_to_utc);
    EXPECT_EQ(a.logical.bit_width, b.logical.bit_width);
    EXPECT_EQ(a.logical.is_signed, b.logical.is_signed);
    EXPECT_EQ(a.logical.precision, b.logical.precision);
  }
  ASSERT_EQ(again->chunks.size(), footer.chunks.size());
  for (size_t i = 0; i < footer.chunks.size(); ++i) {
    EXPECT_EQ(again->chunks[i].data_page_offset, footer.chunks[i].data_page_offset);
    EXPECT_EQ(again->chunks[i].dictionary_page_offset, footer.chunks[i].dictionary_page_offset);
    EXPECT_EQ(again->chunks[i].compressed_size_bytes, footer.chunks[i].compressed_size_bytes);
    EXPECT_EQ(again->chunks[i].num_values, footer.chunks[i].num_values);
  }
  ASSERT_EQ(again->key_values.size(), 1U);
  EXPECT_EQ(again->key_values[0].second, "v");
}

ErrorCode CodeOf(std::span<const uint8_t> bytes) { return ParseFooter(bytes).status().code(); }

TEST(ParquetFooter, BytesThatAreNoParquetFile) {
  EXPECT_EQ(CodeOf({}), ErrorCode::kCorruption);
  using std::string_literals::operator""s;
  for (const std::string& text :
       {"PAR1"s, "PAR1PAR1"s, "PAR1\0\0\0\0PAR1"s, "PAR1\xff\xff\xff\xffPAR1"s,
        "PAR1\0\1\0\0\0PAR1"s, "PAR2\0\1\0\0\0PAR1"s, "PAR1\0\1\0\0\0PAR2"s}) {
    EXPECT_EQ(CodeOf({reinterpret_cast<const uint8_t*>(text.data()), text.size()}),
              ErrorCode::kCorruption);
  }
}

TEST(ParquetFooter, RandomChangesEnd) {
  const std::vector<uint8_t> good = ArrowFile();
  const size_t footer = ParseFooter(good)->data_end;
  std::mt19937_64 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> bytes(good.begin() + static_cast<std::ptrdiff_t>(footer) - 4, good.end());
    std::memcpy(bytes.data(), "PAR1", 4);
    for (size_t changes = 1 + random() % 6; changes > 0; --changes) {
      bytes[4 + random() % (bytes.size() - 12)] = static_cast<uint8_t>(random());
    }
    const ErrorCode code = CodeOf(bytes);
    EXPECT_TRUE(code == ErrorCode::kOk || code == ErrorCode::kCorruption);
  }
}

TEST(PageHeader, ComesBack) {
  PageHeader header;
  header.kind = PageHeader::kData;
  header.num_values = 252;
  header.uncompressed_size_bytes = 2016;
  header.compressed_size_bytes = 700;
  header.encoding = ParquetEncoding::kByteStreamSplit;
  ByteSink sink;
  AppendPageHeader(header, sink);
  const size_t size = sink.size();
  sink.AppendByte(0xff);  // The page itself.
  const auto again = ParsePageHeader(sink.bytes());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->kind, PageHeader::kData);
  EXPECT_EQ(again->num_values, 252);
  EXPECT_EQ(again->uncompressed_size_bytes, 2016);
  EXPECT_EQ(again->compressed_size_bytes, 700);
  EXPECT_EQ(again->encoding, ParquetEncoding::kByteStreamSplit);
  EXPECT_EQ(again->header_size_bytes, size);
}

TEST(PageHeader, NegativeSizesAndMissingPartsAreCorruption) {
  PageHeader header;
  header.kind = PageHeader::kData;
  header.compressed_size_bytes = -1;
  ByteSink sink;
  AppendPageHeader(header, sink);
  EXPECT_EQ(ParsePageHeader(sink.bytes()).status().code(), ErrorCode::kCorruption);
  const std::vector<uint8_t> no_details = {0x15, 0, 0x15, 2, 0x15, 2, 0};
  EXPECT_EQ(ParsePageHeader(no_details).status().code(), ErrorCode::kCorruption);
  EXPECT_EQ(ParsePageHeader({}).status().code(), ErrorCode::kCorruption);
}

TEST(Utf8, TellsTextFromBytes) {
  const auto is_text = [](std::string_view text) {
    return IsUtf8(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  for (const char* good :
       {"", "plain", "é", "€", "😀", "a long one with é in it and more behind"}) {
    EXPECT_TRUE(is_text(good)) << good;
  }
  for (const char* bad : {"\x80", "\xc3", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80",
                          "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
                          "eight letters and \xe2\x82", "\xe2\x28\xa1"}) {
    EXPECT_FALSE(is_text(bad)) << bad;
  }
}

}  // namespace
}  // namespace barcache
