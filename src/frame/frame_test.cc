// Frames in and out through the Arrow C interface.
#include "barcache/frame.h"

#include <arrow/c/abi.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "frame/frame_sample.h"

namespace barcache {
namespace {

using frame_sample::Categories;
using frame_sample::Column;
using frame_sample::Dictionary;
using frame_sample::ExpectEqual;
using frame_sample::Import;
using frame_sample::Json;
using frame_sample::Must;
using frame_sample::OneColumn;
using frame_sample::ToBatch;

struct Conversion {
  std::shared_ptr<arrow::DataType> from;
  std::string json;
  std::shared_ptr<arrow::DataType> to;
  std::string to_json;
};

class Converts : public testing::TestWithParam<Conversion> {};

TEST_P(Converts, AsPolarsWould) {
  const Conversion& c = GetParam();
  for (ImportMode mode : {ImportMode::kCopy, ImportMode::kShare}) {
    Frame frame = Must(Import(*OneColumn(Json(c.from, c.json)), mode));
    ExpectEqual(*Json(c.to, c.to_json), *Column(frame));
  }
}

const std::string kTexts = R"(["a", null, "", "a text beyond twelve bytes"])";

INSTANTIATE_TEST_SUITE_P(
    Types, Converts,
    testing::Values(
        Conversion{arrow::utf8(), kTexts, arrow::utf8_view(), kTexts},
        Conversion{arrow::large_utf8(), kTexts, arrow::utf8_view(), kTexts},
        Conversion{arrow::binary(), kTexts, arrow::binary_view(), kTexts},
        Conversion{arrow::large_binary(), kTexts, arrow::binary_view(), kTexts},
        Conversion{arrow::date64(), "[86400000, null]", arrow::timestamp(arrow::TimeUnit::MILLI),
                   "[86400000, null]"},
        Conversion{arrow::time32(arrow::TimeUnit::SECOND), "[1, null]",
                   arrow::time64(arrow::TimeUnit::NANO), "[1000000000, null]"},
        Conversion{arrow::time32(arrow::TimeUnit::MILLI), "[1, null]",
                   arrow::time64(arrow::TimeUnit::NANO), "[1000000, null]"},
        Conversion{arrow::time64(arrow::TimeUnit::MICRO), "[1, null]",
                   arrow::time64(arrow::TimeUnit::NANO), "[1000, null]"},
        Conversion{arrow::timestamp(arrow::TimeUnit::SECOND, "Asia/Tokyo"), "[-1, null]",
                   arrow::timestamp(arrow::TimeUnit::MILLI, "Asia/Tokyo"), "[-1000, null]"},
        Conversion{arrow::duration(arrow::TimeUnit::SECOND), "[-2, null]",
                   arrow::duration(arrow::TimeUnit::MILLI), "[-2000, null]"},
        Conversion{arrow::decimal32(5, 2), R"(["-1.25", null])", arrow::decimal128(5, 2),
                   R"(["-1.25", null])"},
        Conversion{arrow::decimal64(15, 2), R"(["-1.25", null])", arrow::decimal128(15, 2),
                   R"(["-1.25", null])"},
        Conversion{arrow::list(arrow::utf8()), R"([["x", null], null, []])",
                   arrow::large_list(arrow::field("item", arrow::utf8_view())),
                   R"([["x", null], null, []])"},
        Conversion{arrow::map(arrow::utf8(), arrow::int32()), R"([[["k", 1]], null, []])",
                   arrow::map(arrow::utf8_view(), arrow::int32()), R"([[["k", 1]], null, []])"},
        Conversion{arrow::fixed_size_list(arrow::large_utf8(), 2), R"([["x", null], null])",
                   arrow::fixed_size_list(arrow::utf8_view(), 2), R"([["x", null], null])"},
        Conversion{arrow::null(), "[null, null]", arrow::null(), "[null, null]"}));

TEST(Dictionaries, OfStringsStayAndOthersAreDecoded) {
  auto narrow = arrow::dictionary(arrow::int8(), arrow::utf8());
  Frame frame = Must(Import(*OneColumn(Dictionary(narrow, "[1, null, 0, 1]", R"(["a", "b"])"))));
  ExpectEqual(*Dictionary(Categories(), "[0, null, 1, 0]", R"(["b", "a"])"), *Column(frame));

  auto of_numbers = arrow::dictionary(arrow::int8(), arrow::int64());
  frame = Must(Import(*OneColumn(Dictionary(of_numbers, "[1, null, 0]", "[7, 8]"))));
  ExpectEqual(*Json(arrow::int64(), "[8, null, 7]"), *Column(frame));
}

TEST(Dictionaries, ANullCategoryIsANullRow) {
  auto type = arrow::dictionary(arrow::int8(), arrow::utf8());
  Frame frame = Must(Import(*OneColumn(Dictionary(type, "[0, 1, 0]", R"(["a", null])"))));
  ExpectEqual(*Dictionary(Categories(), "[0, null, 0]", R"(["a"])"), *Column(frame));
}

TEST(Dictionaries, AnEnumKeepsItsCategoriesInOrder) {
  auto metadata = arrow::key_value_metadata({"_PL_ENUM_VALUES2"}, {"1;z1;a3;foo"});
  auto type = Categories(arrow::uint8(), true);
  auto array = Dictionary(type, "[2, 0, null]", R"(["z", "a", "foo"])");
  Frame frame = Must(Import(*OneColumn(array, metadata)));
  ExpectEqual(*array, *Column(frame));
  auto kept = ToBatch(frame)->schema()->field(0)->metadata();
  ASSERT_NE(kept, nullptr);
  EXPECT_EQ(Must(kept->Get("_PL_ENUM_VALUES2")), "1;z1;a3;foo");

  auto wrong = Dictionary(type, "[0]", R"(["not a category"])");
  EXPECT_EQ(Import(*OneColumn(wrong, metadata)).status().code(), ErrorCode::kInvalidArgument);
}

TEST(Metadata, OfOtherProgramsIsDropped) {
  auto metadata = arrow::key_value_metadata({"note"}, {"x"});
  Frame frame = Must(Import(*OneColumn(Json(arrow::int8(), "[1]"), metadata)));
  EXPECT_EQ(ToBatch(frame)->schema()->field(0)->metadata(), nullptr);
}

// A table with a column of each layout.
std::shared_ptr<arrow::RecordBatch> Mixed() {
  auto pair =
      arrow::struct_({arrow::field("x", arrow::int8()), arrow::field("y", arrow::utf8_view())});
  auto list = arrow::large_list(arrow::field("item", arrow::utf8_view()));
  std::vector<std::shared_ptr<arrow::Array>> columns = {
      Json(arrow::int64(), "[1, null, 3, 4, 5]"),
      Json(arrow::boolean(), "[true, false, null, true, true]"),
      Json(arrow::utf8_view(), R"(["a", null, "beyond twelve bytes", "d", "twelve and more"])"),
      Json(list, R"([["p"], null, [], ["q", null, "a long one of many bytes"], ["r"]])"),
      Json(arrow::fixed_size_list(arrow::int8(), 2), "[[1, 2], [3, null], null, [5, 6], [7, 8]]"),
      Json(pair, R"([[1, "s"], null, [3, null], [null, "t"], [5, "u"]])"),
      Dictionary(Categories(), "[1, null, 0, 1, 1]", R"(["k", "l"])"),
      Json(arrow::null(), "[null, null, null, null, null]")};
  std::vector<std::shared_ptr<arrow::Field>> fields;
  for (const auto& column : columns) {
    fields.push_back(arrow::field("c" + std::to_string(fields.size()), column->type()));
  }
  return arrow::RecordBatch::Make(arrow::schema(fields), 5, columns);
}

TEST(Slices, AreCompactedAtEveryOffset) {
  auto mixed = Mixed();
  for (int64_t offset = 0; offset <= 5; ++offset) {
    for (int64_t length = 0; offset + length <= 5; ++length) {
      for (ImportMode mode : {ImportMode::kCopy, ImportMode::kShare}) {
        auto slice = mixed->Slice(offset, length);
        Frame frame = Must(Import(*slice, mode));
        EXPECT_EQ(frame.num_rows(), length);
        auto batch = ToBatch(frame);
        for (int i = 0; i < slice->num_columns(); ++i) {
          if (i == 6) continue;  // Dictionaries are rebuilt: compared in Dictionaries.
          ExpectEqual(*slice->column(i), *batch->column(i));
        }
      }
    }
  }
}

TEST(Slices, OfAStructArrayCountForItsColumns) {
  auto parent = Must(Mixed()->ToStructArray());
  auto slice = parent->Slice(2, 2);
  ArrowSchema schema{};
  ArrowArray array{};
  ASSERT_TRUE(arrow::ExportArray(*slice, &array, &schema).ok());
  ASSERT_EQ(array.offset, 2);
  Frame frame = Must(Frame::FromArray(&schema, &array, ImportMode::kShare));
  ExpectEqual(*Mixed()->column(5)->Slice(2, 2), *ToBatch(frame)->column(5));
}

TEST(Slices, KeepNoParentAlive) {
  arrow::StringViewBuilder strings;
  for (int i = 0; i < 50'000; ++i) {
    ASSERT_TRUE(strings.Append("a string of some forty bytes, number " + std::to_string(i)).ok());
  }
  auto all = OneColumn(Must(strings.Finish()));
  Frame whole = Must(Import(*all, ImportMode::kShare));
  EXPECT_GT(whole.size_bytes(), 50'000 * 50);
  std::weak_ptr<arrow::Buffer> parent = all->column_data(0)->buffers[1];
  Frame ten = Must(Import(*all->Slice(0, 10), ImportMode::kShare));
  EXPECT_LT(ten.size_bytes(), 2'000);
  ExpectEqual(*all->Slice(0, 10)->column(0), *Column(ten));
  whole = Frame();
  all.reset();
  EXPECT_TRUE(parent.expired());
}

TEST(Sharing, BigColumnsAreSharedAndSmallOnesCopied) {
  auto big = Must(arrow::MakeArrayFromScalar(arrow::Int64Scalar(7), 200'000));
  const auto* source = big->data()->buffers[1]->data();
  auto values_of = [](const Frame& frame) { return Column(frame)->data()->buffers[1]->data(); };
  EXPECT_EQ(values_of(Must(Import(*OneColumn(big), ImportMode::kShare))), source);
  EXPECT_NE(values_of(Must(Import(*OneColumn(big), ImportMode::kCopy))), source);
  auto small = big->Slice(0, 100);
  EXPECT_NE(values_of(Must(Import(*OneColumn(small), ImportMode::kShare))), source);
  EXPECT_NE(values_of(Must(Import(*OneColumn(big->Slice(1)), ImportMode::kShare))), source + 8);
}

TEST(Sharing, ASharedColumnKeepsItsProducerAndACopiedOneDoesNot) {
  auto big = Must(arrow::MakeArrayFromScalar(arrow::Int64Scalar(7), 200'000));
  auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("a", arrow::int64()), arrow::field("b", arrow::int64())}),
      200'000, {big, Must(arrow::MakeArrayFromScalar(arrow::Int64Scalar(8), 200'001))->Slice(1)});
  std::weak_ptr<arrow::Buffer> a = batch->column_data(0)->buffers[1];
  std::weak_ptr<arrow::Buffer> b = batch->column_data(1)->buffers[1];
  Frame frame = Must(Import(*batch, ImportMode::kShare));
  EXPECT_EQ(frame.size_bytes(), 2 * 200'000 * 8);
  big.reset();
  batch.reset();
  EXPECT_FALSE(a.expired());
  EXPECT_TRUE(b.expired());
  frame = Frame();
  EXPECT_TRUE(a.expired());
}

// Copied side by side, where all columns are flat, and by the general way.
TEST(Sharing, ALargeCopyHoldsNothingOfItsProducer) {
  constexpr int kRows = 200'000;
  arrow::Int64Builder numbers;
  arrow::BooleanBuilder flags;
  arrow::StringViewBuilder names;
  arrow::StringViewBuilder texts;
  for (int i = 0; i < kRows; ++i) {
    ASSERT_TRUE((i % 7 == 0 ? numbers.AppendNull() : numbers.Append(i)).ok());
    ASSERT_TRUE((i % 5 == 0 ? flags.AppendNull() : flags.Append(i % 3 == 0)).ok());
    ASSERT_TRUE((i % 11 == 0 ? names.AppendNull() : names.Append(std::to_string(i))).ok());
    ASSERT_TRUE(texts.Append("a text beyond twelve bytes, number " + std::to_string(i % 9)).ok());
  }
  std::vector<std::shared_ptr<arrow::Array>> columns = {
      Must(numbers.Finish()), Must(flags.Finish()), Must(names.Finish()), Must(texts.Finish())};
  for (const size_t count : {size_t{3}, size_t{4}}) {
    arrow::FieldVector fields;
    for (size_t i = 0; i < count; ++i) {
      fields.push_back(arrow::field("c" + std::to_string(i), columns[i]->type()));
    }
    auto taken = columns;
    taken.resize(count);
    auto batch = arrow::RecordBatch::Make(arrow::schema(fields), kRows, std::move(taken));
    Frame frame = Must(Import(*batch, ImportMode::kCopy));
    for (int i = 0; i < static_cast<int>(count); ++i) {
      const auto copied = ToBatch(frame)->column(i);
      ExpectEqual(*batch->column(i), *copied);
      EXPECT_NE(batch->column_data(i)->buffers[1]->data(), copied->data()->buffers[1]->data());
    }
    EXPECT_GT(frame.size_bytes(), kRows * (8 + 16));
  }
  std::weak_ptr<arrow::Buffer> parent = columns[0]->data()->buffers[1];
  Frame kept = Must(Import(*OneColumn(columns[0]), ImportMode::kCopy));
  columns.clear();
  EXPECT_TRUE(parent.expired());
}

TEST(Chunks, OfAStreamBecomeOne) {
  auto type = arrow::dictionary(arrow::int8(), arrow::utf8());
  auto first = OneColumn(Dictionary(type, "[0, 1]", R"(["a", "b"])"));
  auto second = OneColumn(Dictionary(type, "[0, null, 1]", R"(["c", "b"])"));
  auto reader = Must(arrow::RecordBatchReader::Make({first, second}));
  ArrowArrayStream stream{};
  ASSERT_TRUE(arrow::ExportRecordBatchReader(reader, &stream).ok());
  Frame frame = Must(Frame::FromStream(&stream, ImportMode::kShare));
  EXPECT_EQ(stream.release, nullptr);
  ExpectEqual(*Dictionary(Categories(), "[0, 1, 2, null, 1]", R"(["a", "b", "c"])"),
              *Column(frame));
}

TEST(Chunks, OfStringsKeepOnlyWhatRowsReferTo) {
  auto texts = Json(arrow::utf8_view(), R"(["first of the long strings", "x", null,
                                            "second of the long strings"])");
  auto reader = Must(arrow::RecordBatchReader::Make(
      {OneColumn(texts->Slice(0, 2)), OneColumn(texts->Slice(2)), OneColumn(texts)}));
  ArrowArrayStream stream{};
  ASSERT_TRUE(arrow::ExportRecordBatchReader(reader, &stream).ok());
  Frame frame = Must(Frame::FromStream(&stream, ImportMode::kShare));
  ExpectEqual(*Must(arrow::Concatenate({texts, texts})), *Column(frame));
}

TEST(Export, OutlivesTheFrameAndLetsChildrenGoTheirOwnWay) {
  Frame frame = Must(Import(*Mixed()));
  ArrowSchema schema{};
  ArrowArray array{};
  frame.ExportArray(&schema, &array);
  frame = Frame();
  ArrowArray child = *array.children[3];
  ArrowSchema child_schema = *schema.children[3];
  array.children[3]->release = nullptr;
  schema.children[3]->release = nullptr;
  array.release(&array);
  schema.release(&schema);
  auto column = Must(arrow::ImportArray(&child, &child_schema));
  ExpectEqual(*Mixed()->column(3), *column);
}

TEST(Export, AStreamHasOneChunkAndManyMayBeOpen) {
  Frame frame = Must(Import(*Mixed()));
  for (int i = 0; i < 2; ++i) {
    ArrowArrayStream stream{};
    frame.ExportStream(&stream);
    auto table = Must(Must(arrow::ImportRecordBatchReader(&stream))->ToTable());
    EXPECT_EQ(table->num_rows(), 5);
    EXPECT_EQ(table->column(0)->num_chunks(), 1);
  }
}

TEST(Shape, IsKnown) {
  EXPECT_FALSE(Frame().valid());
  Frame frame = Must(Import(*Mixed()));
  EXPECT_EQ(frame.num_rows(), 5);
  EXPECT_EQ(frame.num_columns(), 8);
  EXPECT_EQ(frame.column_names().front(), "c0");
  EXPECT_EQ(frame.origin(), "");
  Frame with_origin = frame.WithOrigin("pandas");
  EXPECT_EQ(with_origin.origin(), "pandas");
  EXPECT_EQ(with_origin.size_bytes(), frame.size_bytes());
  frame = Frame();
  ExpectEqual(*Mixed()->column(3), *ToBatch(with_origin)->column(3));
}

TEST(Shape, NoColumnsNoRows) {
  auto none = arrow::RecordBatch::Make(arrow::schema(arrow::FieldVector{}), 0,
                                       std::vector<std::shared_ptr<arrow::Array>>{});
  Frame frame = Must(Import(*none));
  EXPECT_EQ(frame.num_columns(), 0);
  EXPECT_EQ(frame.size_bytes(), 0);
}

TEST(FromColumns, TakesEachAndReleasesAll) {
  ArrowSchema schemas[2] = {};
  ArrowArray arrays[2] = {};
  auto import = [&](const std::string& second, const std::string& name) {
    ASSERT_TRUE(arrow::ExportArray(*Json(arrow::int8(), "[1, 2]"), &arrays[0]).ok());
    ASSERT_TRUE(arrow::ExportArray(*Json(arrow::utf8(), second), &arrays[1]).ok());
    ASSERT_TRUE(arrow::ExportField(*arrow::field("a", arrow::int8()), &schemas[0]).ok());
    ASSERT_TRUE(arrow::ExportField(*arrow::field(name, arrow::utf8()), &schemas[1]).ok());
  };
  auto from_columns = [&] {
    auto frame = Frame::FromColumns({&schemas[0], &schemas[1]}, {&arrays[0], &arrays[1]},
                                    ImportMode::kShare);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(schemas[i].release, nullptr);
      EXPECT_EQ(arrays[i].release, nullptr);
    }
    return frame;
  };
  import(R"(["x", null])", "b");
  Frame frame = Must(from_columns());
  ExpectEqual(*Json(arrow::utf8_view(), R"(["x", null])"), *ToBatch(frame)->column(1));
  import(R"(["x"])", "b");
  EXPECT_EQ(from_columns().status().code(), ErrorCode::kInvalidArgument);
  import(R"(["x", null])", "a");
  EXPECT_EQ(from_columns().status().code(), ErrorCode::kUnsupportedFrame);
}

}  // namespace
}  // namespace barcache
