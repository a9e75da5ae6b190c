// Bars for tests.
#pragma once

#include <cstdint>
#include <vector>

#include "barcache/frame.h"
#include "frame/flat_frame.h"

namespace barcache {

// Bars with the columns timestamp and close, at the steps [first, first + count) of `step_us`
// microseconds since 1970, each worth the number of its step.
inline Frame BarsFrom(int64_t first, int64_t count, int64_t step_us = 1) {
  const std::vector<FlatColumnShape> shapes = {
      {"timestamp", "tsu:", {}, *FlatTypeOfFormat("tsu:"), false},
      {"close", "g", {}, *FlatTypeOfFormat("g"), false}};
  auto builder = FlatFrameBuilder::Make(shapes, count, 1 << 20);
  auto* times = reinterpret_cast<int64_t*>(builder->data(0));
  auto* closes = reinterpret_cast<double*>(builder->data(1));
  for (int64_t i = 0; i < count; ++i) {
    times[i] = (first + i) * step_us;
    closes[i] = static_cast<double>(first + i);
  }
  return builder->Finish();
}

}  // namespace barcache
