// Frames for the tests of import, export and the Arrow codec, written down as JSON.
#pragma once

#include <arrow/api.h>
#include <arrow/c/bridge.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "barcache/frame.h"
#include "frame/parquet_codec.h"

namespace barcache::frame_sample {

using Types = std::vector<std::shared_ptr<arrow::DataType>>;

// The value, or the end of the test program with the reason.
template <typename T>
T Must(arrow::Result<T> result) {
  if (!result.ok()) {
    ADD_FAILURE() << result.status().ToString();
    std::abort();
  }
  return std::move(result).ValueUnsafe();
}

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) {
    ADD_FAILURE() << result.status().ToString();
    std::abort();
  }
  return std::move(*result);
}

inline std::shared_ptr<arrow::Array> Json(const std::shared_ptr<arrow::DataType>& type,
                                          const std::string& json) {
  return Must(arrow::json::ArrayFromJSONString(type, json));
}

inline std::shared_ptr<arrow::DataType> Categories(
    const std::shared_ptr<arrow::DataType>& index = arrow::uint32(), bool ordered = false) {
  return arrow::dictionary(index, arrow::utf8_view(), ordered);
}

inline std::shared_ptr<arrow::Array> Dictionary(const std::shared_ptr<arrow::DataType>& type,
                                                const std::string& indices,
                                                const std::string& values) {
  const auto& dictionary = static_cast<const arrow::DictionaryType&>(*type);
  return Must(arrow::DictionaryArray::FromArrays(type, Json(dictionary.index_type(), indices),
                                                 Json(dictionary.value_type(), values)));
}

// A batch of one column named "c".
inline std::shared_ptr<arrow::RecordBatch> OneColumn(
    const std::shared_ptr<arrow::Array>& array,
    const std::shared_ptr<arrow::KeyValueMetadata>& metadata = nullptr) {
  auto field = arrow::field("c", array->type(), true, metadata);
  return arrow::RecordBatch::Make(arrow::schema({field}), array->length(), {array});
}

inline Result<Frame> Import(const arrow::RecordBatch& batch, ImportMode mode = ImportMode::kCopy) {
  ArrowSchema schema{};
  ArrowArray array{};
  EXPECT_TRUE(arrow::ExportRecordBatch(batch, &array, &schema).ok());
  auto frame = Frame::FromArray(&schema, &array, mode);
  EXPECT_EQ(schema.release, nullptr);
  EXPECT_EQ(array.release, nullptr);
  return frame;
}

inline std::shared_ptr<arrow::RecordBatch> ToBatch(const Frame& frame) {
  ArrowSchema schema{};
  ArrowArray array{};
  frame.ExportArray(&schema, &array);
  auto batch = Must(arrow::ImportRecordBatch(&array, &schema));
  EXPECT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
  return batch;
}

// The only column of a frame.
inline std::shared_ptr<arrow::Array> Column(const Frame& frame) {
  return ToBatch(frame)->column(0);
}

inline void ExpectEqual(const arrow::Array& expected, const arrow::Array& actual) {
  EXPECT_TRUE(expected.type()->Equals(*actual.type()))
      << expected.type()->ToString() << " became " << actual.type()->ToString();
  EXPECT_TRUE(expected.Equals(actual, arrow::EqualOptions::Defaults().nans_equal(true)))
      << expected.ToString() << "\nbecame\n"
      << actual.ToString();
}

inline std::vector<uint8_t> Encode(const Frame& frame, const KeyValues& key_values = {}) {
  ByteBuffer bytes = Must(EncodeParquet(frame, key_values));
  return {bytes.data(), bytes.data() + bytes.size()};
}

}  // namespace barcache::frame_sample
