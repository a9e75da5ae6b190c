// FrameSlice: some rows of a frame, and frames put together from such rows.
//
// How bars of one interval are found in a segment, and how the bars of many become one frame.
//
// Thread safety: pure functions of immutable frames.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "barcache/frame.h"
#include "barcache/status.h"

namespace barcache {

struct FrameSlice {
  Frame frame;
  int64_t offset = 0;
  int64_t length = 0;
};

// A column of text that the slices lack: one value for all rows of a slice.
struct AddedColumn {
  std::string_view name;
  size_t position = 0;                   // Among the columns; behind the last one if beyond.
  std::vector<std::string_view> values;  // One for each slice; UTF-8.
};

// Whether both have columns of the same names and types, in the same order.
bool HaveSameColumns(const Frame& left, const Frame& right);

// The rows of `frame` whose time lies in [begin_ns, end_ns), nanoseconds since 1970 in UTC.
// REQUIRES: the column is in ascending order.
// Errors: kInvalidArgument: there is no Date or Datetime column of that name, or it holds nulls.
Result<FrameSlice> RowsBetween(const Frame& frame, std::string_view time_column, int64_t begin_ns,
                               int64_t end_ns);

// All rows of the slices, one slice after the other, in memory of their own. Columns of flat types
// are copied side by side; a frame with others, or with long texts, takes longer.
// REQUIRES: at least one slice, within its frame; all of the same columns.
// Errors: kInvalidArgument: `added` has the name of another column; kOutOfMemory.
Result<Frame> JoinSlices(const std::vector<FrameSlice>& slices,
                         const std::optional<AddedColumn>& added = std::nullopt);

}  // namespace barcache
