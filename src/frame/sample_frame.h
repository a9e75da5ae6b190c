// Frames for tests: bars made by hand through the C data interface.
#pragma once

#include <arrow/c/abi.h>

#include <algorithm>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "barcache/frame.h"
#include "frame/parquet_codec.h"

namespace barcache {

// `row_count` bars with the columns timestamp (int64) and close (float64), beginning at
// `first_price`: another price, another frame.
inline Frame SampleBars(int64_t row_count, double first_price) {
  struct Holder {
    std::vector<int64_t> timestamps;
    std::vector<double> closes;
    const void* time_buffers[2];
    const void* close_buffers[2];
    const void* struct_buffers[1] = {nullptr};
    ArrowArray arrays[2];
    ArrowArray* array_children[2];
    ArrowSchema schemas[2];
    ArrowSchema* schema_children[2];
  };
  auto holder = std::make_unique<Holder>();
  for (int64_t row = 0; row < row_count; ++row) {
    holder->timestamps.push_back(1'600'000'000 + 60 * row);
    holder->closes.push_back(first_price + static_cast<double>(row) * 0.25);
  }
  holder->time_buffers[0] = holder->close_buffers[0] = nullptr;
  holder->time_buffers[1] = holder->timestamps.data();
  holder->close_buffers[1] = holder->closes.data();
  const char* formats[] = {"l", "g"};
  const char* names[] = {"timestamp", "close"};
  const void** buffers[] = {holder->time_buffers, holder->close_buffers};
  const auto keep_array = [](ArrowArray* array) { array->release = nullptr; };
  const auto keep_schema = [](ArrowSchema* schema) { schema->release = nullptr; };
  for (int column = 0; column < 2; ++column) {
    holder->arrays[column] =
        ArrowArray{row_count, 0, 0, 2, 0, buffers[column], nullptr, nullptr, keep_array, nullptr};
    holder->array_children[column] = &holder->arrays[column];
    holder->schemas[column] = ArrowSchema{formats[column], names[column], nullptr,     0,      0,
                                          nullptr,         nullptr,       keep_schema, nullptr};
    holder->schema_children[column] = &holder->schemas[column];
  }
  ArrowArray array{
      row_count, 0,          0,      1, 2, holder->struct_buffers, holder->array_children,
      nullptr,   keep_array, nullptr};
  ArrowSchema schema{"+s",    "",          nullptr, 0, 2, holder->schema_children,
                     nullptr, keep_schema, nullptr};
  auto frame = Frame::FromArray(&schema, &array, ImportMode::kCopy);
  return frame.ok() ? std::move(frame).value() : Frame();
}

// Two frames are the same if they are stored as the same bytes.
inline bool SameFrame(const Frame& left, const Frame& right) {
  auto a = EncodeParquet(left, {});
  auto b = EncodeParquet(right, {});
  return a.ok() && b.ok() && a->size() == b->size() &&
         std::equal(a->data(), a->data() + a->size(), b->data());
}

}  // namespace barcache
