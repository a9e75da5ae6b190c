// Frames through Parquet bytes and back, by every way of the door.
#include "frame/parquet_codec.h"

#include <arrow/io/memory.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "frame/frame_sample.h"

namespace barcache {
namespace {

using frame_sample::Categories;
using frame_sample::Column;
using frame_sample::Dictionary;
using frame_sample::Encode;
using frame_sample::ExpectEqual;
using frame_sample::Import;
using frame_sample::Json;
using frame_sample::Must;
using frame_sample::OneColumn;
using frame_sample::ToBatch;

struct Sample {
  std::string name;
  std::shared_ptr<arrow::DataType> type;
  std::string json;
};

std::shared_ptr<arrow::DataType> ListOf(std::shared_ptr<arrow::DataType> type) {
  return arrow::large_list(arrow::field("item", std::move(type)));
}

std::vector<Sample> Samples() {
  using arrow::TimeUnit;
  const std::string numbers = "[1, null, 0, 7]";
  const std::string floats = "[1.5, null, -0.0, NaN, -Inf, Inf]";
  const std::string texts = R"(["", null, "ab", "twelve bytes", "more than twelve bytes"])";
  auto pair = arrow::struct_(
      {arrow::field("x", arrow::utf8_view()), arrow::field("y", arrow::duration(TimeUnit::MICRO))});
  const std::string pairs = R"([["a", 1], null, ["more than twelve bytes", null], [null, 2]])";
  return {
      {"Int8", arrow::int8(), numbers},
      {"Int16", arrow::int16(), numbers},
      {"Int32", arrow::int32(), numbers},
      {"Int64", arrow::int64(), "[-9223372036854775808, null, 9223372036854775807]"},
      {"UInt8", arrow::uint8(), "[255, null]"},
      {"UInt16", arrow::uint16(), "[65535, null]"},
      {"UInt32", arrow::uint32(), "[4294967295, null]"},
      {"UInt64", arrow::uint64(), "[18446744073709551615, null]"},
      {"Float16", arrow::float16(), "[1.5, null, -0.0]"},
      {"Float32", arrow::float32(), floats},
      {"Float64", arrow::float64(), floats},
      {"Boolean", arrow::boolean(), "[true, null, false]"},
      {"String", arrow::utf8_view(), texts},
      {"Binary", arrow::binary_view(), texts},
      {"Date", arrow::date32(), "[-719162, null, 2932896]"},
      {"Time", arrow::time64(TimeUnit::NANO), "[0, null, 86399999999999]"},
      {"DatetimeMs", arrow::timestamp(TimeUnit::MILLI), numbers},
      {"DatetimeUs", arrow::timestamp(TimeUnit::MICRO, "UTC"), numbers},
      {"DatetimeNs", arrow::timestamp(TimeUnit::NANO, "America/New_York"), numbers},
      {"DurationMs", arrow::duration(TimeUnit::MILLI), numbers},
      {"DurationNs", arrow::duration(TimeUnit::NANO), numbers},
      {"Decimal", arrow::decimal128(38, 10), R"(["1.2500000000", null, "-0.0000000001"])"},
      {"Null", arrow::null(), "[null, null]"},
      {"List", ListOf(arrow::utf8_view()), R"([["a", null], null, [], ["twelve and more bytes"]])"},
      {"ListOfList", ListOf(ListOf(arrow::int8())), "[[[1], null, []], null, [[2, 3]]]"},
      {"ListOfNull", ListOf(arrow::null()), "[[null], null, []]"},
      {"Array", arrow::fixed_size_list(arrow::utf8_view(), 2),
       R"([["a", null], null, ["twelve and more bytes", "d"], null])"},
      {"ArrayOfArray", arrow::fixed_size_list(arrow::fixed_size_list(arrow::int8(), 1), 2),
       "[[[1], null], null, [[2], [3]]]"},
      {"ArrayOfStruct", arrow::fixed_size_list(pair, 2),
       "[" + pairs.substr(0, 15) + R"(], null, [["b", 2], null]])"},
      {"Struct", pair, pairs},
      {"ListOfStruct", ListOf(pair), "[" + pairs + ", null, []]"},
      {"StructOfArray",
       arrow::struct_({arrow::field("a", arrow::fixed_size_list(arrow::int16(), 1))}),
       "[[[1]], [null], null]"},
      {"Map", arrow::map(arrow::utf8_view(), arrow::duration(TimeUnit::MILLI)),
       R"([[["k", 1], ["l", null]], null, []])"},
  };
}

std::string Repeated(const std::string& json, int times) {
  const std::string inner = json.substr(1, json.size() - 2);
  std::string all = "[" + inner;
  for (int i = 1; i < times; ++i) all += ", " + inner;
  return all + "]";
}

class EveryType : public testing::TestWithParam<Sample> {
 protected:
  void RoundTrip(const std::shared_ptr<arrow::Array>& array) {
    Frame frame = Must(Import(*OneColumn(array)));
    const std::vector<uint8_t> bytes = Encode(frame);
    DecodedParquet decoded = Must(DecodeParquet(bytes, {}));
    const Frame empty = Must(ReadEmptyFrame(bytes, {}));
    ExpectEqual(*array, *Column(decoded.frame));
    const auto schema = ToBatch(decoded.frame)->schema();
    EXPECT_EQ(schema->field(0)->name(), "c");
    EXPECT_EQ(empty.num_rows(), 0);
    const auto empty_schema = ToBatch(empty)->schema();
    EXPECT_TRUE(empty_schema->Equals(*schema, /*check_metadata=*/true))
        << schema->ToString() << " became " << empty_schema->ToString();
  }
};

TEST_P(EveryType, ComesBackExactly) { RoundTrip(Json(GetParam().type, GetParam().json)); }
TEST_P(EveryType, WithoutRows) { RoundTrip(Json(GetParam().type, "[]")); }
TEST_P(EveryType, AllNull) { RoundTrip(Json(GetParam().type, "[null, null, null]")); }
TEST_P(EveryType, InManyRows) { RoundTrip(Json(GetParam().type, Repeated(GetParam().json, 4000))); }
TEST_P(EveryType, InsideOfAListAndAStruct) {
  const Sample& sample = GetParam();
  RoundTrip(Json(ListOf(sample.type), "[" + sample.json + ", null, []]"));
  auto in_struct = arrow::struct_({arrow::field("f", sample.type)});
  RoundTrip(Must(arrow::StructArray::Make({Json(sample.type, sample.json)}, in_struct->fields())));
}

INSTANTIATE_TEST_SUITE_P(Types, EveryType, testing::ValuesIn(Samples()),
                         [](const auto& info) { return info.param.name; });

// What a dictionary array says, as strings.
std::shared_ptr<arrow::Array> Values(const arrow::Array& array) {
  const auto& dictionary = static_cast<const arrow::DictionaryArray&>(array);
  arrow::StringViewBuilder builder;
  const auto& values = static_cast<const arrow::StringViewArray&>(*dictionary.dictionary());
  for (int64_t i = 0; i < array.length(); ++i) {
    const bool is_null = array.IsNull(i);
    EXPECT_TRUE((is_null ? builder.AppendNull()
                         : builder.Append(values.GetView(dictionary.GetValueIndex(i))))
                    .ok());
  }
  return Must(builder.Finish());
}

TEST(Categoricals, ComeBackWithTheirMetadata) {
  auto metadata = arrow::key_value_metadata({"_PL_CATEGORICAL2"}, {"2;nm2;nsu32;"});
  for (int times : {1, 5000}) {
    auto array = Dictionary(Categories(), Repeated("[1, null, 0, 1]", times),
                            R"(["first", "a category of many bytes"])");
    Frame frame = Must(Import(*OneColumn(array, metadata)));
    Frame decoded = Must(DecodeParquet(Encode(frame), {})).frame;
    ExpectEqual(*Values(*array), *Values(*Column(decoded)));
    auto field = ToBatch(decoded)->schema()->field(0);
    EXPECT_EQ(Must(field->metadata()->Get("_PL_CATEGORICAL2")), "2;nm2;nsu32;");
  }
}

TEST(Categoricals, AnEnumKeepsUnusedCategoriesAndIndices) {
  auto metadata = arrow::key_value_metadata({"_PL_ENUM_VALUES2"}, {"1;z6;unused1;a"});
  auto array =
      Dictionary(Categories(arrow::uint8(), true), "[2, null, 0]", R"(["z", "unused", "a"])");
  for (const char* indices : {"[2, null, 0]", "[null]", "[]"}) {
    array = Dictionary(array->type(), indices, R"(["z", "unused", "a"])");
    Frame frame = Must(Import(*OneColumn(array, metadata)));
    Frame decoded = Must(DecodeParquet(Encode(frame), {})).frame;
    ExpectEqual(*array, *Column(decoded));
  }
}

TEST(Categoricals, NestedOnesToo) {
  auto values = Dictionary(Categories(), "[1, null, 0, 1]", R"(["p", "q"])");
  auto lists = Must(
      arrow::LargeListArray::FromArrays(arrow::large_list(arrow::field("item", values->type())),
                                        *Json(arrow::int64(), "[0, 2, 2, 4]"), *values));
  Frame frame = Must(Import(*OneColumn(lists)));
  Frame decoded = Must(DecodeParquet(Encode(frame), {})).frame;
  auto column = Column(decoded);
  EXPECT_TRUE(column->type()->Equals(*lists->type())) << column->type()->ToString();
  const auto& list = static_cast<const arrow::LargeListArray&>(*column);
  ExpectEqual(*Json(arrow::int64(), "[0, 2, 2, 4]"), *list.offsets());
  ExpectEqual(*Values(*values), *Values(*list.values()));
}

// A batch with a column that needs the stored schema, and one that does not.
Frame TwoColumns(int64_t rows) {
  auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("n", arrow::int64()),
                     arrow::field("d", arrow::duration(arrow::TimeUnit::NANO))}),
      rows,
      {Must(arrow::MakeArrayFromScalar(arrow::Int64Scalar(5), rows)),
       Must(arrow::MakeArrayOfNull(arrow::duration(arrow::TimeUnit::NANO), rows))});
  return Must(Import(*batch));
}

TEST(Footer, CarriesTheCallersPairsAndTheOrigin) {
  const KeyValues pairs = {{"barcache", "stamp"}, {"a", "1"}, {"a", "2"}};
  for (int64_t rows : {3, 100'000}) {
    Frame frame = TwoColumns(rows).WithOrigin("pandas: index 'x'");
    std::vector<uint8_t> bytes = Encode(frame, pairs);
    DecodedParquet decoded = Must(DecodeParquet(bytes, {}));
    EXPECT_EQ(decoded.key_values, pairs);
    EXPECT_EQ(decoded.frame.origin(), frame.origin());
    EXPECT_EQ(Must(ReadKeyValues(bytes)), pairs);
  }
}

TEST(Columns, AreReadAloneAndInTheOrderAskedFor) {
  for (int64_t rows : {3, 100'000}) {
    std::vector<uint8_t> bytes = Encode(TwoColumns(rows));
    Frame frame = Must(DecodeParquetColumns(bytes, {}, {"d", "n"})).frame;
    EXPECT_EQ(frame.column_names(), (std::vector<std::string>{"d", "n"}));
    EXPECT_EQ(Column(frame)->type_id(), arrow::Type::DURATION);
    EXPECT_EQ(Must(DecodeParquetColumns(bytes, {}, {"n"})).frame.num_columns(), 1);
    Status status = DecodeParquetColumns(bytes, {}, {"n", "price"}).status();
    EXPECT_EQ(status.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(status.message().find("'price'"), std::string::npos);
    EXPECT_NE(status.message().find("'d'"), std::string::npos);
  }
}

TEST(Columns, OfNestedFilesToo) {
  auto pair = arrow::struct_({arrow::field("x", arrow::int8()), arrow::field("y", arrow::int8())});
  auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("a", pair), arrow::field("b", arrow::int8())}), 1,
      {Json(pair, "[[1, 2]]"), Json(arrow::int8(), "[3]")});
  std::vector<uint8_t> bytes = Encode(Must(Import(*batch)));
  Frame frame = Must(DecodeParquetColumns(bytes, {}, {"b", "a"})).frame;
  EXPECT_TRUE(ToBatch(frame)->column(1)->Equals(*batch->column(0)));
}

TEST(Shape, NoColumnsNoRows) {
  auto none = arrow::RecordBatch::Make(arrow::schema(arrow::FieldVector{}), 0,
                                       std::vector<std::shared_ptr<arrow::Array>>{});
  Frame decoded = Must(DecodeParquet(Encode(Must(Import(*none))), {})).frame;
  EXPECT_EQ(decoded.num_columns(), 0);
  EXPECT_EQ(decoded.num_rows(), 0);
}

TEST(Shape, MoreRowsThanARowGroup) {
  auto numbers = Must(arrow::MakeArrayFromScalar(arrow::Int32Scalar(7), (1 << 20) + 5));
  Frame frame = Must(Import(*OneColumn(numbers)));
  Frame decoded = Must(DecodeParquet(Encode(frame), {})).frame;
  ExpectEqual(*numbers, *Column(decoded));
}

TEST(Foreign, ArrowSchemasAreHonoured) {
  auto type = arrow::duration(arrow::TimeUnit::MILLI);
  auto seconds = arrow::duration(arrow::TimeUnit::SECOND);
  auto table = arrow::Table::Make(
      arrow::schema({arrow::field("d", type), arrow::field("s", seconds),
                     arrow::field("c", arrow::dictionary(arrow::int8(), arrow::utf8()))}),
      {Json(type, "[1, null]"), Json(seconds, "[1, null]"),
       Dictionary(arrow::dictionary(arrow::int8(), arrow::utf8()), "[0, null]", R"(["x"])")});
  auto sink = Must(arrow::io::BufferOutputStream::Create());
  auto with_schema = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  ASSERT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, 1,
                                         parquet::default_writer_properties(), with_schema)
                  .ok());
  auto buffer = Must(sink->Finish());
  Frame frame =
      Must(DecodeParquet({buffer->data(), static_cast<size_t>(buffer->size())}, {})).frame;
  auto batch = ToBatch(frame);
  ExpectEqual(*Json(type, "[1, null]"), *batch->column(0));
  ExpectEqual(*Json(arrow::int64(), "[1, null]"), *batch->column(1));
  ExpectEqual(*Json(arrow::utf8_view(), R"(["x", null])"), *Values(*batch->column(2)));
}

// What Arrow's own reader makes of our bytes.
std::shared_ptr<arrow::Array> ReadByArrow(const std::vector<uint8_t>& bytes) {
  parquet::arrow::FileReaderBuilder builder;
  EXPECT_TRUE(builder
                  .Open(std::make_shared<arrow::io::BufferReader>(
                      arrow::Buffer::FromString(std::string(bytes.begin(), bytes.end()))))
                  .ok());
  auto table = Must(Must(builder.Build())->ReadTable());
  return Must(Must(table->CombineChunksToBatch())->column(0)->View(table->field(0)->type()));
}

TEST(OtherReaders, FindTheExactTypes) {
  for (int64_t rows : {2, 100'000}) {
    for (const auto& type :
         {arrow::duration(arrow::TimeUnit::MILLI),
          arrow::timestamp(arrow::TimeUnit::MICRO, "Asia/Tokyo"),
          arrow::fixed_size_list(arrow::int8(), 2), arrow::null(), arrow::int64()}) {
      auto array = Must(arrow::MakeArrayOfNull(type, rows));
      ExpectEqual(*array, *ReadByArrow(Encode(Must(Import(*OneColumn(array))))));
    }
  }
}

TEST(Footer, OfPlainColumnsHasNoSchema) {
  auto contains = [](const std::vector<uint8_t>& bytes, std::string_view text) {
    return std::search(bytes.begin(), bytes.end(), text.begin(), text.end()) != bytes.end();
  };
  Frame plain = Must(Import(*OneColumn(Json(arrow::float64(), "[1]"))));
  EXPECT_FALSE(contains(Encode(plain), "barcache.frame"));
  EXPECT_FALSE(contains(Encode(plain), "ARROW:schema"));
  EXPECT_TRUE(contains(Encode(TwoColumns(2)), "barcache.frame.schema"));
}

// Columns of several pieces: one of distinct values, one with a dictionary that is a piece by
// itself.
Frame ManyPieces() {
  std::mt19937_64 random(1);
  arrow::DoubleBuilder distinct;
  arrow::DoubleBuilder repeated;
  for (int i = 0; i < 400'000; ++i) {
    const double value = std::uniform_real_distribution<double>()(random);
    EXPECT_TRUE(distinct.Append(value).ok());
    EXPECT_TRUE(repeated.Append(std::sqrt(static_cast<double>(random() % 100'000))).ok());
  }
  const auto schema = arrow::schema(
      {arrow::field("distinct", arrow::float64()), arrow::field("repeated", arrow::float64())});
  return Must(Import(*arrow::RecordBatch::Make(
      schema, 400'000, {Must(distinct.Finish()), Must(repeated.Finish())})));
}

TEST(Pieces, AreTheBytesOfTheWholeForEachTaker) {
  const auto lists = Json(ListOf(arrow::utf8_view()), Repeated(R"([["a", "b"], null])", 10'000));
  std::vector<std::pair<const char*, Frame>> frames;
  frames.emplace_back("small", TwoColumns(3));
  frames.emplace_back("no rows", TwoColumns(0));
  frames.emplace_back("large", ManyPieces());
  frames.emplace_back("nested", Must(Import(*OneColumn(lists))));
  for (const auto& [name, frame] : frames) {
    std::vector<uint8_t> first;
    std::vector<uint8_t> second;
    size_t pieces = 0;
    const auto append_to = [](std::vector<uint8_t>* all) {
      return [all](std::span<const uint8_t> bytes) {
        all->insert(all->end(), bytes.begin(), bytes.end());
      };
    };
    const PieceTaker count{[&](std::span<const uint8_t>) { ++pieces; }};
    const PieceTaker takers[] = {{append_to(&first), true}, {append_to(&second)}, count};
    const KeyValues pairs = {{"mine", "yours"}};
    ASSERT_TRUE(EncodeParquetInPieces(frame, pairs, takers).ok()) << name;
    EXPECT_TRUE(first == Encode(frame, pairs)) << name;
    EXPECT_TRUE(second == first) << name;
    EXPECT_EQ(pieces > 6, name == std::string("large")) << name << pieces;
    EXPECT_TRUE(ToBatch(Must(DecodeParquet(first, {})).frame)->Equals(*ToBatch(frame))) << name;
  }
}

TEST(Pieces, WantOfMemoryInATakerIsAStatus) {
  const PieceTaker refuse{[](std::span<const uint8_t>) { throw std::bad_alloc(); }};
  for (const int rows : {3, 400'000}) {
    const Status status = EncodeParquetInPieces(TwoColumns(rows), {}, {&refuse, 1});
    EXPECT_EQ(status.code(), ErrorCode::kOutOfMemory);
  }
  EXPECT_EQ(EncodeParquetInPieces(Frame(), {}, {}).code(), ErrorCode::kInvalidArgument);
}

TEST(Fork, AChildEncodesAndDecodes) {
  auto lists = Json(ListOf(arrow::utf8_view()), Repeated(R"([["a", "b"], null])", 10'000));
  std::vector<uint8_t> bytes = Encode(Must(Import(*OneColumn(lists))));
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto decoded = DecodeParquet(bytes, {});
    const bool good = decoded.ok() && Column(decoded->frame)->Equals(*lists) &&
                      EncodeParquet(decoded->frame, {}).ok();
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace barcache
