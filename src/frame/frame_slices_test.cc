// Slices by time and frames joined from slices, against Arrow's own slicing and concatenation.
#include "frame/frame_slices.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "frame/frame_sample.h"

namespace barcache {
namespace {

using frame_sample::Column;
using frame_sample::Dictionary;
using frame_sample::ExpectEqual;
using frame_sample::Import;
using frame_sample::Json;
using frame_sample::Must;
using frame_sample::ToBatch;
using Columns = std::vector<std::pair<std::string, std::shared_ptr<arrow::Array>>>;

Frame Table(const Columns& columns) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (const auto& [name, array] : columns) {
    fields.push_back(arrow::field(name, array->type()));
    arrays.push_back(array);
  }
  return Must(
      Import(*arrow::RecordBatch::Make(arrow::schema(fields), arrays[0]->length(), arrays)));
}

const std::string kInts = "[1, null, 3, 4, 5, null, 7, 8, 9, 10, 11]";
const std::string kBools = "[true, null, false, true, true, null, false, true, false, true, true]";
const std::string kShort = R"(["a", null, "", "dd", "e", "f", "g", "h", "i", "j", "twelve bytes"])";
const std::string kLong =
    R"(["a text beyond twelve", null, "", "d", "e", "f", "g", "a second such text", "i", "j", "k"])";

// Each column of its kind, and one without nulls.
std::vector<Columns> Tables() {
  const auto times =
      Json(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]");
  const Columns flat = {
      {"t", times},
      {"i8", Json(arrow::int8(), kInts)},
      {"f", Json(arrow::float64(), kInts)},
      {"b", Json(arrow::boolean(), kBools)},
      {"s", Json(arrow::utf8_view(), kShort)},
      {"d", Json(arrow::decimal128(9, 2), R"(["1.00", null, "3.00", "4.00", "5.00",
                            null, "7.00", "8.00", "9.00", "10.00", "11.00"])")}};
  Columns with_long = flat;
  with_long.emplace_back("long", Json(arrow::utf8_view(), kLong));
  Columns nested = flat;
  nested.emplace_back("l", Json(arrow::large_list(arrow::int64()),
                                "[[1], null, [], [4, 5], [6], [7], [8], [9], [10], [11], [12]]"));
  nested.emplace_back("c", Dictionary(frame_sample::Categories(),
                                      "[0, null, 1, 0, 1, 1, 0, 0, 1, 1, 0]", R"(["x", "y"])"));
  return {flat, with_long, nested};
}

std::shared_ptr<arrow::Array> Concatenated(const Frame& frame, int column,
                                           const std::vector<FrameSlice>& slices) {
  arrow::ArrayVector parts;
  const auto whole = ToBatch(frame)->column(column);
  for (const FrameSlice& slice : slices) parts.push_back(whole->Slice(slice.offset, slice.length));
  return Must(arrow::Concatenate(parts));
}

// The texts behind a dictionary's indices: the same values may stand in another order.
std::string Decoded(const arrow::Array& array) {
  std::string text;
  for (int64_t i = 0; i < array.length(); ++i) {
    const auto scalar = Must(array.GetScalar(i));
    const auto& category = static_cast<const arrow::DictionaryScalar&>(*scalar);
    text += (scalar->is_valid ? Must(category.GetEncodedValue())->ToString() : "null") + ",";
  }
  return text;
}

TEST(JoinSlices, IsWhatArrowConcatenates) {
  std::mt19937 random(1);
  for (const Columns& columns : Tables()) {
    const Frame frame = Table(columns);
    for (int round = 0; round < 60; ++round) {
      std::vector<FrameSlice> slices;
      for (unsigned i = 0; i < 1 + random() % 5; ++i) {
        const auto offset = static_cast<int64_t>(random() % 12);
        slices.push_back({frame, offset, static_cast<int64_t>(random() % (12U - offset))});
      }
      const Frame joined = Must(JoinSlices(slices));
      EXPECT_TRUE(HaveSameColumns(joined, frame));
      for (int i = 0; i < static_cast<int>(columns.size()); ++i) {
        const auto expected = Concatenated(frame, i, slices);
        const auto actual = ToBatch(joined)->column(i);
        if (actual->type_id() == arrow::Type::DICTIONARY) {
          EXPECT_EQ(Decoded(*expected), Decoded(*actual));
        } else {
          ExpectEqual(*expected, *actual);
        }
      }
    }
  }
}

TEST(JoinSlices, AddsAColumnOfText) {
  for (const Columns& columns : Tables()) {
    const Frame frame = Table(columns);
    const std::vector<FrameSlice> slices = {{frame, 0, 2}, {frame, 5, 0}, {frame, 3, 1}};
    for (const size_t position : {size_t{0}, size_t{1}, size_t{99}}) {
      const AddedColumn added{"symbol", position, {"A", "none", "a symbol beyond twelve bytes"}};
      const Frame joined = Must(JoinSlices(slices, added));
      const auto at = static_cast<int>(std::min(position, columns.size()));
      ExpectEqual(*Json(arrow::utf8_view(), R"(["A", "A", "a symbol beyond twelve bytes"])"),
                  *ToBatch(joined)->column(at));
      EXPECT_EQ(joined.column_names()[static_cast<size_t>(at)], "symbol");
      EXPECT_EQ(joined.num_columns(), frame.num_columns() + 1);
    }
    const auto twice = JoinSlices(slices, AddedColumn{"t", 0, {"A", "B", "C"}});
    EXPECT_EQ(twice.status().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(HaveSameColumns, ComparesNamesTypesAndOrder) {
  const auto ints = Json(arrow::int64(), "[1]");
  const auto floats = Json(arrow::float64(), "[1]");
  const Frame frame = Table({{"a", ints}, {"b", floats}});
  EXPECT_TRUE(HaveSameColumns(frame, Table({{"a", ints}, {"b", floats}})));
  EXPECT_FALSE(HaveSameColumns(frame, Table({{"b", floats}, {"a", ints}})));
  EXPECT_FALSE(HaveSameColumns(frame, Table({{"a", ints}})));
  EXPECT_FALSE(HaveSameColumns(frame, Table({{"a", ints}, {"b", ints}})));
  const auto seconds = Json(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), "[1]");
  const auto elsewhere = Json(arrow::timestamp(arrow::TimeUnit::MICRO, "Asia/Tokyo"), "[1]");
  EXPECT_FALSE(HaveSameColumns(Table({{"t", seconds}}), Table({{"t", elsewhere}})));
}

TEST(RowsBetween, FindsWhatAScanFinds) {
  const std::string values = "[-7, -3, 0, 1, 2, 5, 9]";
  const std::vector<int64_t> times = {-7, -3, 0, 1, 2, 5, 9};
  const std::vector<std::pair<std::shared_ptr<arrow::DataType>, int64_t>> types = {
      {arrow::date32(), 86'400'000'000'000},
      {arrow::timestamp(arrow::TimeUnit::MILLI), 1'000'000},
      {arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), 1'000},
      {arrow::timestamp(arrow::TimeUnit::NANO), 1}};
  for (const auto& [type, unit_ns] : types) {
    const Frame frame = Table({{"x", Json(arrow::int32(), values)}, {"t", Json(type, values)}});
    const int64_t step = std::max<int64_t>(unit_ns / 2, 1);
    for (int64_t begin = -8 * unit_ns; begin <= 10 * unit_ns; begin += step) {
      for (int64_t end = begin - step; end <= 11 * unit_ns; end += 3 * step) {
        const FrameSlice found = Must(RowsBetween(frame, "t", begin, end));
        int64_t first = 0;
        int64_t count = 0;
        for (const int64_t time : times) {
          if (time * unit_ns < begin) ++first;
          if (time * unit_ns >= begin && time * unit_ns < end) ++count;
        }
        ASSERT_EQ(found.length, count) << type->ToString() << " " << begin << " " << end;
        if (count > 0) {
          ASSERT_EQ(found.offset, first);
        }
      }
    }
  }
}

TEST(RowsBetween, RefusesWhatIsNoTime) {
  const Frame frame = Table({{"x", Json(arrow::int64(), "[1]")},
                             {"t", Json(arrow::timestamp(arrow::TimeUnit::MICRO), "[null]")}});
  for (const char* name : {"x", "t", "absent"}) {
    EXPECT_EQ(RowsBetween(frame, name, 0, 1).status().code(), ErrorCode::kInvalidArgument) << name;
  }
}

}  // namespace
}  // namespace barcache
