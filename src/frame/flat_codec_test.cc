// The flat codec against Arrow: what one writes the other reads.
#include "frame/flat_codec.h"

#include <arrow/io/memory.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>

#include <tuple>

#include "frame/flat_sample.h"

namespace barcache {
namespace {

using flat_sample::AllTypes;
using flat_sample::Decode;
using flat_sample::Encode;
using flat_sample::ToBatch;
using flat_sample::ToFrameData;

const arrow::EqualOptions kNansEqual = arrow::EqualOptions::Defaults().nans_equal(true);

std::shared_ptr<arrow::RecordBatch> ReadWithArrow(const std::vector<uint8_t>& bytes) {
  auto file = std::make_shared<arrow::io::BufferReader>(
      arrow::Buffer::FromString(std::string(bytes.begin(), bytes.end())));
  parquet::arrow::FileReaderBuilder builder;
  EXPECT_TRUE(builder.Open(file).ok());
  parquet::ArrowReaderProperties properties(/*use_threads=*/false);
  properties.set_binary_type(arrow::Type::BINARY_VIEW);
  auto reader = builder.properties(properties)->Build();
  EXPECT_TRUE(reader.ok()) << reader.status().ToString();
  auto table = (*reader)->ReadTable();
  EXPECT_TRUE(table.ok()) << table.status().ToString();
  return *(*table)->CombineChunksToBatch();
}

std::vector<uint8_t> WriteWithArrow(const std::shared_ptr<arrow::RecordBatch>& batch,
                                    const std::shared_ptr<parquet::WriterProperties>& properties,
                                    int64_t row_group_size = 1 << 20, bool store_schema = false) {
  auto sink = *arrow::io::BufferOutputStream::Create();
  parquet::ArrowWriterProperties::Builder arrow_properties;
  if (store_schema) arrow_properties.store_schema();
  const auto table = *arrow::Table::FromRecordBatches({batch});
  EXPECT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, row_group_size,
                                         properties, arrow_properties.build())
                  .ok());
  const auto buffer = *sink->Finish();
  return {buffer->data(), buffer->data() + buffer->size()};
}

void ExpectSame(const arrow::RecordBatch& expected, const arrow::RecordBatch& actual) {
  ASSERT_EQ(expected.num_columns(), actual.num_columns());
  ASSERT_EQ(expected.num_rows(), actual.num_rows());
  for (int i = 0; i < expected.num_columns(); ++i) {
    EXPECT_EQ(expected.column_name(i), actual.column_name(i));
    EXPECT_TRUE(expected.column(i)->Equals(*actual.column(i), kNansEqual))
        << expected.schema()->field(i)->ToString() << " became "
        << actual.schema()->field(i)->ToString() << "\n"
        << expected.column(i)->ToString() << "\n"
        << actual.column(i)->ToString();
  }
}

// The data page encodings of a file of ours are not told by the footer: ask the first page.
ParquetEncoding EncodingOf(const std::vector<uint8_t>& bytes, size_t column) {
  const auto footer = ParseFooter(bytes);
  EXPECT_TRUE(footer.ok());
  const size_t offset = static_cast<size_t>(footer->chunks[column].data_page_offset);
  const auto header = ParsePageHeader(std::span<const uint8_t>(bytes).subspan(offset));
  EXPECT_TRUE(header.ok());
  return header->encoding;
}

class RoundTrip : public testing::TestWithParam<std::tuple<int, double>> {};

TEST_P(RoundTrip, OursThroughOursAndThroughArrow) {
  const auto [rows, null_share] = GetParam();
  const auto batch = AllTypes(rows, null_share);
  const std::vector<uint8_t> bytes = Encode(*batch);

  auto frame = Decode(bytes);
  ASSERT_TRUE(frame.ok()) << frame.status().ToString();
  ASSERT_TRUE(frame->has_value());
  const auto decoded = ToBatch(**frame);
  ASSERT_TRUE(decoded->ValidateFull().ok()) << decoded->ValidateFull().ToString();
  ExpectSame(*batch, *decoded);

  ExpectSame(*batch, *ReadWithArrow(bytes));
}

TEST_P(RoundTrip, PlainFilesOfArrowThroughOurs) {
  const auto [rows, null_share] = GetParam();
  const auto batch = AllTypes(rows, null_share);
  for (const auto compression :
       {parquet::Compression::SNAPPY, parquet::Compression::UNCOMPRESSED}) {
    parquet::WriterProperties::Builder properties;
    properties.disable_dictionary()->compression(compression);
    if (rows < 5000) properties.data_pagesize(200)->write_batch_size(37);  // Many pages a column.
    const std::vector<uint8_t> bytes = WriteWithArrow(batch, properties.build());
    auto frame = Decode(bytes);
    ASSERT_TRUE(frame.ok()) << frame.status().ToString();
    ASSERT_TRUE(frame->has_value());
    const auto decoded = ToBatch(**frame);
    ASSERT_TRUE(decoded->ValidateFull().ok()) << decoded->ValidateFull().ToString();
    ExpectSame(*ReadWithArrow(bytes), *decoded);
  }
}

TEST_P(RoundTrip, DictionariesOfArrowThroughOurs) {
  const auto [rows, null_share] = GetParam();
  const auto batch = AllTypes(rows, null_share);
  parquet::WriterProperties::Builder properties;
  properties.compression(parquet::Compression::SNAPPY)->dictionary_pagesize_limit(10000);
  if (rows < 5000) properties.data_pagesize(200)->write_batch_size(37);
  const std::vector<uint8_t> bytes = WriteWithArrow(batch, properties.build());
  auto frame = Decode(bytes);
  ASSERT_TRUE(frame.ok()) << frame.status().ToString();
  ASSERT_TRUE(frame->has_value());
  const auto decoded = ToBatch(**frame);
  ASSERT_TRUE(decoded->ValidateFull().ok()) << decoded->ValidateFull().ToString();
  ExpectSame(*ReadWithArrow(bytes), *decoded);
}

TEST_P(RoundTrip, DeltasOfArrowThroughOurs) {
  const auto [rows, null_share] = GetParam();
  const auto all = AllTypes(rows, null_share);
  std::vector<int> columns;
  for (int i = 0; i < all->num_columns(); ++i) {
    const auto& type = *all->column(i)->type();
    if (arrow::is_integer(type.id()) || arrow::is_temporal(type.id())) columns.push_back(i);
  }
  const auto batch = *all->SelectColumns(columns);
  parquet::WriterProperties::Builder properties;
  properties.disable_dictionary()->encoding(parquet::Encoding::DELTA_BINARY_PACKED);
  properties.compression(parquet::Compression::SNAPPY);
  const std::vector<uint8_t> bytes = WriteWithArrow(batch, properties.build());
  auto frame = Decode(bytes);
  ASSERT_TRUE(frame.ok()) << frame.status().ToString();
  ASSERT_TRUE(frame->has_value());
  ExpectSame(*ReadWithArrow(bytes), *ToBatch(**frame));
}

INSTANTIATE_TEST_SUITE_P(RowsAndNulls, RoundTrip,
                         testing::Combine(testing::Values(0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65,
                                                          252, 1000, 4000, 33000),
                                          testing::Values(0.0, 0.02, 0.5, 1.0)));

// One column of each kind that gets an encoding of its own; several pages.
TEST(FlatCodec, EncodingsFollowTheValues) {
  constexpr int64_t kRows = 70001;
  arrow::TimestampBuilder times(arrow::timestamp(arrow::TimeUnit::MICRO),
                                arrow::default_memory_pool());
  arrow::DoubleBuilder prices;
  arrow::DoubleBuilder noise;
  arrow::Int64Builder counts;
  arrow::StringViewBuilder symbols;
  arrow::StringViewBuilder texts;
  arrow::Int32Builder flags;
  std::mt19937_64 random(3);
  for (int64_t i = 0; i < kRows; ++i) {
    const bool ok =
        times.Append(i * 60'000'000 + 1'577'836'800'000'000).ok() &&
        prices.Append(static_cast<double>(10000 + random() % 3000) / 100).ok() &&
        noise.Append(static_cast<double>(random()) / 1e7).ok() &&
        counts.Append(static_cast<int64_t>(random() % 1'000'000)).ok() &&
        symbols.Append("SYMBOL-WITH-A-LONG-NAME-" + std::to_string(random() % 5)).ok() &&
        texts.Append(std::to_string(random())).ok() &&
        flags.Append(i < 100 ? 7 : static_cast<int32_t>(i / 1000)).ok();
    ASSERT_TRUE(ok);
  }
  const std::vector<std::shared_ptr<arrow::Array>> columns = {
      *times.Finish(),   *prices.Finish(), *noise.Finish(), *counts.Finish(),
      *symbols.Finish(), *texts.Finish(),  *flags.Finish()};
  std::vector<std::shared_ptr<arrow::Field>> fields;
  for (const auto& column : columns) {
    fields.push_back(
        arrow::field(std::string("c").append(std::to_string(fields.size())), column->type()));
  }
  const auto batch = arrow::RecordBatch::Make(arrow::schema(fields), kRows, columns);
  const std::vector<uint8_t> bytes = Encode(*batch);
  EXPECT_EQ(EncodingOf(bytes, 0), ParquetEncoding::kDeltaBinaryPacked);
  EXPECT_EQ(EncodingOf(bytes, 1), ParquetEncoding::kRleDictionary);
  EXPECT_EQ(EncodingOf(bytes, 2), ParquetEncoding::kByteStreamSplit);
  EXPECT_EQ(EncodingOf(bytes, 3), ParquetEncoding::kDeltaBinaryPacked);
  EXPECT_EQ(EncodingOf(bytes, 4), ParquetEncoding::kRleDictionary);
  EXPECT_EQ(EncodingOf(bytes, 5), ParquetEncoding::kPlain);
  EXPECT_EQ(EncodingOf(bytes, 6), ParquetEncoding::kDeltaBinaryPacked);
  ExpectSame(*batch, *ReadWithArrow(bytes));
  auto frame = Decode(bytes);
  ASSERT_TRUE(frame.ok() && frame->has_value());
  const auto decoded = ToBatch(**frame);
  ASSERT_TRUE(decoded->ValidateFull().ok()) << decoded->ValidateFull().ToString();
  ExpectSame(*batch, *decoded);
}

TEST(FlatCodec, NullsAreCountedInTheBitmap) {
  const auto batch = AllTypes(100, 0.5);
  const auto data = ToFrameData(*batch);
  for (int64_t i = 0; i < data->array.n_children; ++i) data->array.children[i]->null_count = 7;
  const auto bytes = EncodeFlat(*data, {});
  ASSERT_TRUE(bytes.ok());
  auto frame = Decode(bytes->bytes());
  ASSERT_TRUE(frame.ok() && frame->has_value());
  ExpectSame(*batch, *ToBatch(**frame));
}

TEST(FlatCodec, LongTextsMakeManyPages) {
  arrow::StringViewBuilder builder;
  for (int i = 0; i < 3000; ++i) {
    if (i % 7 == 0) {
      ASSERT_TRUE(builder.AppendNull().ok());
    } else {
      ASSERT_TRUE(
          builder.Append(std::string(2000, static_cast<char>('a' + i % 26)) + std::to_string(i))
              .ok());
    }
  }
  const auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("text", arrow::utf8_view())}), 3000, {*builder.Finish()});
  const std::vector<uint8_t> bytes = Encode(*batch);
  ExpectSame(*batch, *ReadWithArrow(bytes));
  auto frame = Decode(bytes);
  ASSERT_TRUE(frame.ok() && frame->has_value());
  EXPECT_GT((*frame)->data()->array.children[0]->n_buffers, 5);
  ExpectSame(*batch, *ToBatch(**frame));
}

TEST(FlatCodec, NullFreeColumnsHaveNoValidity) {
  const auto batch = AllTypes(20, 0);
  auto frame = Decode(Encode(*batch));
  ASSERT_TRUE(frame.ok() && frame->has_value());
  const ArrowArray& array = (*frame)->data()->array;
  EXPECT_EQ(array.buffers[0], nullptr);
  for (int64_t i = 0; i < array.n_children; ++i) {
    EXPECT_EQ(array.children[i]->null_count, 0);
    EXPECT_EQ(array.children[i]->buffers[0], nullptr);
  }
}

// An OPTIONAL column that happens to have no null, as other writers make them.
TEST(FlatCodec, OptionalColumnsWithoutNullsHaveNoValidity) {
  parquet::WriterProperties::Builder properties;
  properties.disable_dictionary()->compression(parquet::Compression::SNAPPY);
  auto frame = Decode(WriteWithArrow(AllTypes(20, 0), properties.build()));
  ASSERT_TRUE(frame.ok() && frame->has_value());
  const ArrowArray& array = (*frame)->data()->array;
  for (int64_t i = 0; i < array.n_children; ++i) {
    EXPECT_EQ(array.children[i]->buffers[0], nullptr);
  }
}

TEST(FlatCodec, BuffersAreAlignedAndCharged) {
  auto frame = Decode(Encode(*AllTypes(100, 0.5)));
  ASSERT_TRUE(frame.ok() && frame->has_value());
  const FrameData& data = *(*frame)->data();
  for (int64_t i = 0; i < data.array.n_children; ++i) {
    const ArrowArray& child = *data.array.children[i];
    EXPECT_EQ(reinterpret_cast<uintptr_t>(child.buffers[0]) % 64, 0U);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(child.buffers[1]) % 64, 0U);
  }
  EXPECT_GT(data.size_bytes, 25 * 100 * 4);
  EXPECT_LT(data.size_bytes, 64 << 10);
}

// The C data interface lets a consumer keep a child when the rest is gone.
TEST(FlatCodec, AMovedChildOutlivesItsParent) {
  const auto batch = AllTypes(100, 0.5);
  ArrowArray array;
  ArrowSchema schema;
  {
    auto frame = Decode(Encode(*batch));
    ASSERT_TRUE(frame.ok() && frame->has_value());
    auto* data = const_cast<FrameData*>((*frame)->data());
    array = *data->array.children[23];
    data->array.children[23]->release = nullptr;
    schema = *data->schema.children[23];
    data->schema.children[23]->release = nullptr;
  }
  const auto column = *arrow::ImportArray(&array, &schema);
  EXPECT_TRUE(column->Equals(batch->column(23)));
}

TEST(FlatCodec, KeyValuesAreInTheFooter) {
  const KeyValues key_values = {{"barcache", "{\"key\":\"k\"}"}, {"empty", ""}, {"", "x"}};
  const std::vector<uint8_t> bytes = Encode(*AllTypes(3, 0), key_values);
  const auto footer = ParseFooter(bytes);
  ASSERT_TRUE(footer.ok());
  ASSERT_EQ(footer->key_values.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(footer->key_values[i].first, key_values[i].first);
    EXPECT_EQ(footer->key_values[i].second, key_values[i].second);
  }
}

TEST(FlatCodec, ColumnsInTheOrderAskedFor) {
  const auto batch = AllTypes(50, 0.1);
  const std::vector<uint8_t> bytes = Encode(*batch);
  const std::vector<std::string> names = {batch->column_name(23), batch->column_name(4)};
  auto frame = Decode(bytes, {}, &names);
  ASSERT_TRUE(frame.ok() && frame->has_value());
  ExpectSame(**batch->SelectColumns({23, 4}), *ToBatch(**frame));
}

TEST(FlatCodec, AnUnknownColumnIsNamedTogetherWithTheKnownOnes) {
  const auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("open", arrow::int8()), arrow::field("close", arrow::int8())}), 0,
      {*arrow::MakeArrayOfNull(arrow::int8(), 0), *arrow::MakeArrayOfNull(arrow::int8(), 0)});
  const std::vector<std::string> names = {"close", "volume"};
  const auto frame = Decode(Encode(*batch), {}, &names);
  ASSERT_FALSE(frame.ok());
  EXPECT_EQ(frame.status().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(frame.status().message().find("'volume'"), std::string::npos);
  EXPECT_NE(frame.status().message().find("'open', 'close'"), std::string::npos);
}

TEST(FlatCodec, TheStoredSchemaGivesTheExactTypes) {
  std::mt19937_64 random(5);
  const std::vector<std::shared_ptr<arrow::DataType>> types = {
      arrow::duration(arrow::TimeUnit::NANO), arrow::duration(arrow::TimeUnit::MILLI),
      arrow::timestamp(arrow::TimeUnit::MICRO, "Europe/Berlin"), arrow::int64()};
  std::vector<std::shared_ptr<arrow::Field>> fields;
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (const auto& type : types) {
    fields.push_back(arrow::field(std::string("f").append(std::to_string(fields.size())), type,
                                  true, arrow::key_value_metadata({"k"}, {"some value"})));
    columns.push_back(flat_sample::RandomFixed(type, 40, 0.2, random));
  }
  const auto batch = arrow::RecordBatch::Make(arrow::schema(fields), 40, columns);
  const std::vector<uint8_t> bytes = Encode(*batch);
  // A schema of only some of the columns, in another order.
  ArrowSchema stored;
  ASSERT_TRUE(arrow::ExportSchema(*arrow::schema({fields[2], fields[0], fields[1]}), &stored).ok());
  auto frame = Decode(bytes, {}, nullptr, &stored);
  stored.release(&stored);
  ASSERT_TRUE(frame.ok() && frame->has_value());
  const auto decoded = ToBatch(**frame);
  ExpectSame(*batch, *decoded);
  EXPECT_TRUE(decoded->schema()->field(0)->Equals(fields[0], /*check_metadata=*/true));
  EXPECT_TRUE(decoded->schema()->field(2)->Equals(fields[2], /*check_metadata=*/true));
  EXPECT_FALSE(decoded->schema()->field(3)->HasMetadata());
}

TEST(FlatCodec, AStoredSchemaOfOtherTypesIsCorruption) {
  const auto batch = AllTypes(5, 0);
  auto fields = batch->schema()->fields();
  fields[4] = fields[4]->WithType(arrow::utf8_view());
  ArrowSchema stored;
  ASSERT_TRUE(arrow::ExportSchema(*arrow::schema(fields), &stored).ok());
  const auto frame = Decode(Encode(*batch), {}, nullptr, &stored);
  stored.release(&stored);
  EXPECT_EQ(frame.status().code(), ErrorCode::kCorruption);
}

TEST(FlatCodec, LongStringsShareNoBufferWithThePage) {
  arrow::StringViewBuilder builder;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(builder.Append(std::string(static_cast<size_t>(i) * 97, 'x')).ok());
  }
  const auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("text", arrow::utf8_view())}), 100, {*builder.Finish()});
  auto frame = Decode(Encode(*batch));
  ASSERT_TRUE(frame.ok() && frame->has_value());
  EXPECT_EQ((*frame)->data()->array.children[0]->n_buffers, 4);
  EXPECT_LT((*frame)->data()->size_bytes, 97 * 99 * 50 + 100 * 16 + 1024);
  ExpectSame(*batch, *ToBatch(**frame));
}

TEST(FlatCodec, LeavesOtherFramesToArrow) {
  const auto takes = [](const std::shared_ptr<arrow::DataType>& type, int64_t rows) {
    const auto batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("c", type)}), rows,
                                                {*arrow::MakeArrayOfNull(type, rows)});
    return FlatCodecTakes(*ToFrameData(*batch));
  };
  EXPECT_TRUE(takes(arrow::int64(), 10));
  EXPECT_FALSE(takes(arrow::list(arrow::int64()), 10));
  EXPECT_FALSE(takes(arrow::struct_({arrow::field("x", arrow::int64())}), 10));
  EXPECT_FALSE(takes(arrow::dictionary(arrow::int32(), arrow::utf8()), 10));
  EXPECT_FALSE(takes(arrow::null(), 10));
  EXPECT_FALSE(takes(arrow::fixed_size_binary(16), 10));
}

TEST(FlatCodec, LeavesFilesOfOtherShapesToArrow) {
  const auto is_left = [](const std::vector<uint8_t>& bytes) {
    const auto frame = Decode(bytes);
    return frame.ok() && !frame->has_value();
  };
  const auto batch = AllTypes(100, 0.1);
  parquet::WriterProperties::Builder builder;
  builder.disable_dictionary()->compression(parquet::Compression::SNAPPY);
  const auto plain = builder.build();
  EXPECT_FALSE(is_left(WriteWithArrow(batch, plain)));
  EXPECT_TRUE(is_left(WriteWithArrow(batch, plain, /*row_group_size=*/30)));
  EXPECT_TRUE(is_left(WriteWithArrow(batch, plain, 1 << 20, /*store_schema=*/true)));
  EXPECT_TRUE(is_left(WriteWithArrow(
      batch, builder.data_page_version(parquet::ParquetDataPageVersion::V2)->build())));
  EXPECT_TRUE(is_left(WriteWithArrow(batch, parquet::WriterProperties::Builder()
                                                .disable_dictionary()
                                                ->compression(parquet::Compression::ZSTD)
                                                ->build())));
  const auto list = arrow::list(arrow::int64());
  const auto nested = arrow::RecordBatch::Make(arrow::schema({arrow::field("c", list)}), 3,
                                               {*arrow::MakeArrayOfNull(list, 3)});
  EXPECT_TRUE(is_left(WriteWithArrow(nested, plain)));
}

}  // namespace
}  // namespace barcache
