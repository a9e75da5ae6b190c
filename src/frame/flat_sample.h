// Tables for the tests of the flat codec, made with Arrow's own builders, and the way between
// them and FrameData.
#pragma once

#include <arrow/api.h>
#include <arrow/c/bridge.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "frame/flat_codec.h"
#include "frame/frame_data.h"

namespace barcache::flat_sample {

inline std::shared_ptr<FrameData> ToFrameData(const arrow::RecordBatch& batch) {
  auto data = std::make_shared<FrameData>();
  EXPECT_TRUE(arrow::ExportRecordBatch(batch, &data->array, &data->schema).ok());
  for (int64_t i = 0; i < data->array.n_children; ++i) {
    data->array.children[i]->null_count = batch.column(static_cast<int>(i))->null_count();
  }
  data->size_bytes = 1024;
  return data;
}

// Takes the structs out of the frame: it is not to be used again.
inline std::shared_ptr<arrow::RecordBatch> ToBatch(const Frame& frame) {
  auto* data = const_cast<FrameData*>(frame.data());
  auto batch = arrow::ImportRecordBatch(&data->array, &data->schema);
  EXPECT_TRUE(batch.ok()) << batch.status().ToString();
  return batch.ok() ? *batch : nullptr;
}

// Any bits are a value of these; Boolean's are a bitmap, decimals are cut to their precision.
inline std::vector<std::shared_ptr<arrow::DataType>> FixedTypes() {
  using arrow::TimeUnit;
  return {arrow::boolean(),
          arrow::int8(),
          arrow::int16(),
          arrow::int32(),
          arrow::int64(),
          arrow::uint8(),
          arrow::uint16(),
          arrow::uint32(),
          arrow::uint64(),
          arrow::float16(),
          arrow::float32(),
          arrow::float64(),
          arrow::date32(),
          arrow::time64(TimeUnit::NANO),
          arrow::timestamp(TimeUnit::MILLI),
          arrow::timestamp(TimeUnit::MICRO),
          arrow::timestamp(TimeUnit::NANO),
          arrow::timestamp(TimeUnit::MILLI, "UTC"),
          arrow::timestamp(TimeUnit::MICRO, "UTC"),
          arrow::timestamp(TimeUnit::NANO, "UTC"),
          arrow::decimal128(10, 2),
          arrow::decimal128(38, 0)};
}

inline std::shared_ptr<arrow::Buffer> RandomBitmap(int64_t bits, double set_share,
                                                   std::mt19937_64& random) {
  std::vector<uint8_t> bytes(static_cast<size_t>(bits + 7) / 8);
  std::bernoulli_distribution is_set(set_share);
  for (int64_t i = 0; i < bits; ++i) {
    if (is_set(random)) bytes[static_cast<size_t>(i) / 8] |= static_cast<uint8_t>(1u << (i % 8));
  }
  return arrow::Buffer::FromString(std::string(bytes.begin(), bytes.end()));
}

inline std::shared_ptr<arrow::Array> RandomFixed(const std::shared_ptr<arrow::DataType>& type,
                                                 int64_t rows, double null_share,
                                                 std::mt19937_64& random) {
  std::shared_ptr<arrow::Buffer> data;
  if (type->id() == arrow::Type::BOOL) {
    data = RandomBitmap(rows, 0.5, random);
  } else {
    const size_t width = static_cast<size_t>(type->bit_width()) / 8;
    std::string bytes(static_cast<size_t>(rows) * width, '\0');
    // Every other value is small, so that there is something to compress.
    for (size_t i = 0; i < bytes.size(); i += width) {
      const bool is_decimal = width == 16;
      const size_t filled = is_decimal ? 4 : (i / width) % 2 == 0 ? 1 : width;
      for (size_t k = 0; k < filled; ++k) bytes[i + k] = static_cast<char>(random());
      const bool is_negative = is_decimal && (bytes[i] & 1) != 0;
      for (size_t k = filled; k < width && is_negative; ++k) bytes[i + k] = '\xff';
      if (type->id() == arrow::Type::TIME64) bytes[i + 7] = bytes[i + 6] = bytes[i + 5] = 0;
    }
    data = arrow::Buffer::FromString(std::move(bytes));
  }
  std::shared_ptr<arrow::Buffer> validity;
  if (null_share > 0) validity = RandomBitmap(rows, 1 - null_share, random);
  auto array =
      arrow::MakeArray(arrow::ArrayData::Make(type, rows, {std::move(validity), std::move(data)}));
  array->null_count();
  return array;
}

inline std::string RandomText(std::mt19937_64& random, size_t max_letters) {
  static const std::vector<std::string> letters = {"a", "b", "Z", "0", " ", "é", "€", "😀"};
  std::string text;
  for (size_t left = random() % (max_letters + 1); left > 0; --left) {
    text += letters[random() % letters.size()];
  }
  return text;
}

template <typename Builder>
std::shared_ptr<arrow::Array> RandomStrings(int64_t rows, size_t max_letters, double null_share,
                                            std::mt19937_64& random) {
  Builder builder;
  std::bernoulli_distribution is_null(null_share);
  for (int64_t i = 0; i < rows; ++i) {
    const std::string text = RandomText(random, max_letters);
    const auto status = is_null(random) ? builder.AppendNull() : builder.Append(text);
    EXPECT_TRUE(status.ok());
  }
  return *builder.Finish();
}

// A column of every type of the flat codec.
inline std::shared_ptr<arrow::RecordBatch> AllTypes(int64_t rows, double null_share,
                                                    uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<std::shared_ptr<arrow::Field>> fields;
  std::vector<std::shared_ptr<arrow::Array>> columns;
  const auto add = [&](std::shared_ptr<arrow::Array> array) {
    fields.push_back(arrow::field(
        std::string("c").append(std::to_string(fields.size())) + "_" + array->type()->name(),
        array->type()));
    columns.push_back(std::move(array));
  };
  for (const auto& type : FixedTypes()) add(RandomFixed(type, rows, null_share, random));
  add(RandomStrings<arrow::StringViewBuilder>(rows, 4, null_share, random));
  add(RandomStrings<arrow::StringViewBuilder>(rows, 40, null_share, random));
  add(RandomStrings<arrow::BinaryViewBuilder>(rows, 20, null_share, random));
  return arrow::RecordBatch::Make(arrow::schema(fields), rows, columns);
}

inline std::vector<uint8_t> Encode(const arrow::RecordBatch& batch,
                                   const KeyValues& key_values = {}) {
  const auto data = ToFrameData(batch);
  EXPECT_TRUE(FlatCodecTakes(*data));
  const auto bytes = EncodeFlat(*data, key_values);
  EXPECT_TRUE(bytes.ok()) << bytes.status().ToString();
  if (!bytes.ok()) return {};
  return {bytes->data(), bytes->data() + bytes->size()};
}

inline Result<std::optional<Frame>> Decode(std::span<const uint8_t> bytes,
                                           const DecodeLimits& limits = {},
                                           const std::vector<std::string>* columns = nullptr,
                                           const ArrowSchema* stored_schema = nullptr) {
  BARCACHE_ASSIGN_OR_RETURN(const ParquetFooter footer, ParseFooter(bytes));
  return DecodeFlat(bytes, footer, stored_schema, limits, columns);
}

}  // namespace barcache::flat_sample
