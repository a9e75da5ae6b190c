// Bytes that mean harm, by the way of Arrow's reader.
#include <arrow/io/memory.h>
#include <arrow/util/base64.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>

#include <random>

#include "frame/frame_sample.h"
#include "frame/parquet_codec.h"
#include "frame/stored_schema.h"

namespace barcache {
namespace {

using frame_sample::Categories;
using frame_sample::Column;
using frame_sample::Dictionary;
using frame_sample::Encode;
using frame_sample::Import;
using frame_sample::Json;
using frame_sample::Must;
using frame_sample::OneColumn;

// A file of `array` as Arrow writes it, with `pairs` in its footer.
std::vector<uint8_t> ForeignFile(const std::shared_ptr<arrow::Array>& array,
                                 const KeyValues& pairs) {
  auto batch = OneColumn(array);
  auto table = Must(arrow::Table::FromRecordBatches({batch}));
  auto sink = Must(arrow::io::BufferOutputStream::Create());
  auto writer =
      Must(parquet::arrow::FileWriter::Open(*table->schema(), arrow::default_memory_pool(), sink,
                                            parquet::WriterProperties::Builder().build()));
  auto metadata = std::make_shared<arrow::KeyValueMetadata>();
  for (const auto& [key, value] : pairs) metadata->Append(key, value);
  EXPECT_TRUE(writer->AddKeyValueMetadata(metadata).ok());
  EXPECT_TRUE(writer->WriteTable(*table).ok());
  EXPECT_TRUE(writer->Close().ok());
  auto buffer = Must(sink->Finish());
  return {buffer->data(), buffer->data() + buffer->size()};
}

std::vector<uint8_t> WithStoredSchema(const std::shared_ptr<arrow::Array>& array,
                                      SchemaNode column) {
  SchemaNode table;
  table.format = "+s";
  table.flags = 0;
  column.name = "c";
  table.children.push_back(std::move(column));
  return ForeignFile(array, {{std::string(kStoredSchemaKey), SerializeSchema(table)}});
}

SchemaNode ArrayOf(const std::string& format, int64_t width) {
  SchemaNode item;
  item.format = format;
  item.name = "item";
  SchemaNode node;
  node.format = "+w:" + std::to_string(width);
  node.children.push_back(std::move(item));
  return node;
}

ErrorCode CodeOf(std::span<const uint8_t> bytes, int64_t budget = 1 << 20) {
  DecodeLimits limits;
  limits.max_decoded_bytes = budget;
  return DecodeParquet(bytes, limits).status().code();
}

TEST(StoredSchema, ThatDoesNotFitIsCorruption) {
  auto numbers = Json(arrow::int64(), "[1, 2]");
  SchemaNode floats;
  floats.format = "g";
  EXPECT_EQ(CodeOf(WithStoredSchema(numbers, std::move(floats))), ErrorCode::kCorruption);
  auto lists = Json(arrow::list(arrow::int8()), "[[1, 2], null]");
  EXPECT_EQ(CodeOf(WithStoredSchema(lists, ArrayOf("c", 2))), ErrorCode::kOk);
  EXPECT_EQ(CodeOf(WithStoredSchema(lists, ArrayOf("c", 3))), ErrorCode::kCorruption);
  EXPECT_EQ(CodeOf(ForeignFile(numbers, {{std::string(kStoredSchemaKey), "1;rubbish"}})),
            ErrorCode::kCorruption);
}

TEST(StoredSchema, AnEnumWithoutTheValueIsCorruption) {
  SchemaNode values;
  values.format = "vu";
  SchemaNode column;
  column.format = "C";
  column.metadata = EncodeMetadata({{"_PL_ENUM_VALUES2", "1;a"}});
  column.dictionary = std::make_unique<SchemaNode>(std::move(values));
  auto good = WithStoredSchema(Json(arrow::utf8(), R"(["a"])"), column.Clone());
  EXPECT_EQ(CodeOf(good), ErrorCode::kOk);
  auto bad = WithStoredSchema(Json(arrow::utf8(), R"(["b"])"), std::move(column));
  EXPECT_EQ(CodeOf(bad), ErrorCode::kCorruption);
}

TEST(Budget, NullArraysOfHugeWidthAreNotFilledUp) {
  auto lists = Json(arrow::list(arrow::int64()), "[null, null, null]");
  EXPECT_EQ(CodeOf(WithStoredSchema(lists, ArrayOf("l", 1000))), ErrorCode::kOk);
  EXPECT_EQ(CodeOf(WithStoredSchema(lists, ArrayOf("l", INT32_MAX))), ErrorCode::kOverBudget);
}

TEST(Budget, RunsOfOneValueAreCounted) {
  auto numbers = Must(arrow::MakeArrayFromScalar(arrow::Int64Scalar(7), 1'000'000));
  std::vector<uint8_t> bytes = Encode(Must(Import(*OneColumn(numbers))));
  ASSERT_LT(bytes.size(), 100'000);
  EXPECT_EQ(CodeOf(bytes, 7'000'000), ErrorCode::kOverBudget);
  EXPECT_EQ(CodeOf(bytes, 9'000'000), ErrorCode::kOk);
  auto nulls = std::make_shared<arrow::NullArray>(100'000'000);
  EXPECT_EQ(CodeOf(ForeignFile(nulls, {})), ErrorCode::kOverBudget);
}

TEST(Budget, LongStringsAreCounted) {
  arrow::StringBuilder builder;
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(builder.Append(std::string(1 << 20, 'x')).ok());
  auto lists = Must(
      arrow::ListArray::FromArrays(*Json(arrow::int32(), "[0, 200]"), *Must(builder.Finish())));
  std::vector<uint8_t> bytes = ForeignFile(lists, {});
  EXPECT_NE(CodeOf(bytes, 16 << 20), ErrorCode::kOk);
  EXPECT_EQ(CodeOf(bytes, 400 << 20), ErrorCode::kOk);
}

TEST(Text, ThatIsNotUtf8IsCorruption) {
  auto storage = Json(arrow::list(arrow::utf8()), R"([["abcdefghijklmnop"]])");
  std::vector<uint8_t> bytes = ForeignFile(storage, {});
  size_t flipped = 0;
  for (size_t i = 0; i + 4 < bytes.size(); ++i) {
    if (std::equal(bytes.begin() + static_cast<int64_t>(i),
                   bytes.begin() + static_cast<int64_t>(i) + 4, "ghij")) {
      bytes[i] = 0xFF;
      ++flipped;
    }
  }
  ASSERT_GT(flipped, 0);
  EXPECT_EQ(CodeOf(bytes), ErrorCode::kCorruption);
}

// A type whose code must not run because a file says its name.
class Trap : public arrow::ExtensionType {
 public:
  Trap() : ExtensionType(arrow::int64()) {}
  static inline int deserialized = 0;
  std::string extension_name() const override { return "barcache.trap"; }
  bool ExtensionEquals(const ExtensionType&) const override { return true; }
  std::shared_ptr<arrow::Array> MakeArray(std::shared_ptr<arrow::ArrayData> data) const override {
    return std::make_shared<arrow::ExtensionArray>(std::move(data));
  }
  arrow::Result<std::shared_ptr<arrow::DataType>> Deserialize(std::shared_ptr<arrow::DataType>,
                                                              const std::string&) const override {
    ++deserialized;
    return std::make_shared<Trap>();
  }
  std::string Serialize() const override { return ""; }
};

TEST(Extensions, OfAFileAreDroppedToTheirStorage) {
  auto type = std::make_shared<Trap>();
  ASSERT_TRUE(arrow::RegisterExtensionType(type).ok());
  auto array = arrow::ExtensionType::WrapArray(type, Json(arrow::int64(), "[1, null]"));
  auto table = Must(arrow::Table::FromRecordBatches({OneColumn(array)}));
  auto sink = Must(arrow::io::BufferOutputStream::Create());
  auto with_schema = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  ASSERT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, 10,
                                         parquet::default_writer_properties(), with_schema)
                  .ok());
  auto buffer = Must(sink->Finish());
  Trap::deserialized = 0;
  Frame frame =
      Must(DecodeParquet({buffer->data(), static_cast<size_t>(buffer->size())}, {})).frame;
  EXPECT_EQ(Trap::deserialized, 0);
  frame_sample::ExpectEqual(*Json(arrow::int64(), "[1, null]"), *Column(frame));
  ASSERT_TRUE(arrow::UnregisterExtensionType("barcache.trap").ok());
}

// Files that go by Arrow's reader, of every kind of column.
std::vector<std::vector<uint8_t>> SomeFiles() {
  auto list = arrow::large_list(arrow::field("item", arrow::utf8_view()));
  auto pair = arrow::struct_({arrow::field("x", arrow::utf8_view()),
                              arrow::field("y", arrow::fixed_size_list(arrow::int16(), 2))});
  std::vector<std::shared_ptr<arrow::Array>> arrays = {
      Json(list, R"([["a", null], null, [], ["a string of many bytes"]])"),
      Json(pair, R"([["a", [1, 2]], null, [null, null], ["a string of many bytes", [3, null]]])"),
      Json(arrow::fixed_size_list(arrow::utf8_view(), 1), R"([["a"], null, [null]])"),
      Json(arrow::map(arrow::utf8_view(), arrow::int8()), R"([[["a", 1]], null])"),
      Dictionary(Categories(), "[0, null, 1]", R"(["a", "b"])")};
  std::vector<std::vector<uint8_t>> files;
  for (const auto& array : arrays) files.push_back(Encode(Must(Import(*OneColumn(array)))));
  return files;
}

// Must be a frame or a Status; and a frame must be sound.
void DecodeAnything(std::span<const uint8_t> bytes) {
  DecodeLimits limits;
  limits.max_decoded_bytes = 1 << 20;
  auto decoded = DecodeParquet(bytes, limits);
  if (decoded.ok()) {
    (void)frame_sample::ToBatch(decoded->frame);
    return;
  }
  const ErrorCode code = decoded.status().code();
  EXPECT_TRUE(code == ErrorCode::kCorruption || code == ErrorCode::kOverBudget ||
              code == ErrorCode::kOutOfMemory || code == ErrorCode::kUnsupportedFrame)
      << decoded.status().ToString();
}

TEST(Bytes, CutAtEveryLength) {
  for (const auto& file : SomeFiles()) {
    for (size_t size = 0; size < file.size(); ++size) DecodeAnything({file.data(), size});
  }
}

TEST(Bytes, ChangedAnywhere) {
  std::mt19937 random(7);
  for (const auto& file : SomeFiles()) {
    for (int i = 0; i < 1500; ++i) {
      std::vector<uint8_t> bytes = file;
      for (size_t changes = random() % 3 + 1; changes > 0; --changes) {
        bytes[random() % bytes.size()] ^= static_cast<uint8_t>(1u << random() % 8);
      }
      DecodeAnything(bytes);
    }
  }
}

}  // namespace
}  // namespace barcache
