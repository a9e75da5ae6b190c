// Binary search in a time column, and columns copied one behind the other.
#include "frame/frame_slices.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <utility>

#include "frame/arrow_format.h"
#include "frame/bitmap.h"
#include "frame/column_tasks.h"
#include "frame/flat_frame.h"
#include "frame/frame_data.h"
#include "frame/frame_import.h"
#include "frame/schema_node.h"
#include "frame/string_views.h"

namespace barcache {

namespace {

constexpr int64_t kDayNs = 86'400'000'000'000;
constexpr int64_t kViewBuffers = 3;  // Validity, views, sizes: every text lies in its view.

// Nanoseconds of one step of a time; 0: no time.
int64_t UnitOf(std::string_view format) {
  if (format == "tdD") return kDayNs;
  if (format.starts_with("tsm:")) return 1'000'000;
  if (format.starts_with("tsu:")) return 1'000;
  return format.starts_with("tsn:") ? 1 : 0;
}

int64_t CeilDivide(int64_t value, int64_t divisor) {
  return value / divisor + (value % divisor > 0 ? 1 : 0);
}

template <typename Time>
int64_t FirstFrom(const void* times, int64_t count, int64_t moment) {
  const auto* begin = static_cast<const Time*>(times);
  const auto before = [](Time time, int64_t other) { return int64_t{time} < other; };
  return std::lower_bound(begin, begin + count, moment, before) - begin;
}

bool SameSchema(const ArrowSchema& left, const ArrowSchema& right) {
  if (&left == &right) return true;
  if (std::strcmp(left.format, right.format) != 0 || left.n_children != right.n_children ||
      (left.dictionary == nullptr) != (right.dictionary == nullptr)) {
    return false;
  }
  if (left.dictionary != nullptr && !SameSchema(*left.dictionary, *right.dictionary)) return false;
  for (int64_t i = 0; i < left.n_children; ++i) {
    const ArrowSchema& a = *left.children[i];
    const ArrowSchema& b = *right.children[i];
    if (std::strcmp(a.name, b.name) != 0 || !SameSchema(a, b)) return false;
  }
  if (left.metadata == nullptr && right.metadata == nullptr) return true;
  return FromArrowSchema(left).metadata == FromArrowSchema(right).metadata;
}

// Copying less takes less time than waking another thread.
constexpr size_t kSideBySideBytes = 1 << 20;

const ArrowArray& ColumnOf(const FrameSlice& slice, size_t column) {
  return *slice.frame.data()->array.children[column];
}

// What JoinFlat works on; nullopt: the general way is for these frames.
std::optional<std::vector<FlatColumnShape>> FlatShapes(const std::vector<FrameSlice>& slices) {
  const ArrowSchema& table = slices.front().frame.data()->schema;
  std::vector<FlatColumnShape> shapes;
  for (size_t i = 0; i < static_cast<size_t>(table.n_children); ++i) {
    const ArrowSchema& type = *table.children[i];
    const std::optional<FlatType> flat = FlatTypeOfFormat(type.format);
    if (!flat || type.dictionary != nullptr || type.metadata != nullptr) return std::nullopt;
    FlatColumnShape shape{type.name, type.format, {}, *flat, false};
    for (const FrameSlice& slice : slices) {
      const ArrowArray& array = ColumnOf(slice, i);
      shape.may_be_null = shape.may_be_null || array.null_count != 0;
      if (flat->layout == FlatLayout::kView && array.n_buffers != kViewBuffers) return std::nullopt;
    }
    shapes.push_back(shape);
  }
  return shapes;
}

// Bits [offset, offset + count) to the positions from `at` on.
void CopyBitRange(const uint8_t* source, size_t offset, size_t count, uint8_t* target, size_t at) {
  if ((offset & 7) == 0) {
    CopyBits(source + offset / 8, count, target, at);
    return;
  }
  for (size_t i = 0; i < count; ++i) FillBits(target, at + i, 1, GetBit(source, offset + i));
}

void CopyValidity(const std::vector<FrameSlice>& slices, size_t column, uint8_t* target,
                  int64_t* null_count) {
  size_t at = 0;
  for (const FrameSlice& slice : slices) {
    const ArrowArray& array = ColumnOf(slice, column);
    const auto offset = static_cast<size_t>(slice.offset);
    const auto length = static_cast<size_t>(slice.length);
    if (array.null_count == 0) {
      FillBits(target, at, length, true);
    } else {
      const auto* bits = static_cast<const uint8_t*>(array.buffers[0]);
      CopyBitRange(bits, offset, length, target, at);
      *null_count += slice.length - static_cast<int64_t>(CountBits(bits, offset, length));
    }
    at += length;
  }
}

void CopyValues(const std::vector<FrameSlice>& slices, size_t column, const FlatType& type,
                uint8_t* target) {
  size_t at = 0;
  const auto width = static_cast<size_t>(type.memory_width);
  for (const FrameSlice& slice : slices) {
    const auto* values = static_cast<const uint8_t*>(ColumnOf(slice, column).buffers[1]);
    const auto offset = static_cast<size_t>(slice.offset);
    const auto length = static_cast<size_t>(slice.length);
    if (length == 0) continue;
    if (type.layout == FlatLayout::kBits) {
      CopyBitRange(values, offset, length, target, at);
    } else {
      std::memcpy(target + at * width, values + offset * width, length * width);
    }
    at += length;
  }
}

// One view a slice, repeated for its rows. A long text lies once in a block.
Status FillAdded(const std::vector<FrameSlice>& slices, const AddedColumn& added, size_t column,
                 FlatFrameBuilder* builder) {
  uint8_t* target = builder->data(column);
  for (size_t i = 0; i < slices.size(); ++i) {
    const std::string_view text = added.values[i];
    uint8_t view[kViewSize] = {};
    const auto size = static_cast<int32_t>(text.size());
    std::memcpy(view, &size, sizeof(size));
    if (text.size() <= kMaxInlineSize) {
      std::memcpy(view + 4, text.data(), text.size());
    } else {
      int32_t index = 0;
      uint8_t* block = builder->AddBlock(column, text.size(), &index);
      if (block == nullptr)
        return Status(ErrorCode::kOutOfMemory,
                      "no memory for a column of text; free some and try again");
      std::memcpy(block, text.data(), text.size());
      std::memcpy(view + 4, text.data(), 4);
      std::memcpy(view + 8, &index, sizeof(index));
    }
    for (int64_t row = 0; row < slices[i].length; ++row, target += kViewSize) {
      std::memcpy(target, view, kViewSize);
    }
  }
  return Status();
}

Result<Frame> JoinFlat(const std::vector<FrameSlice>& slices, std::vector<FlatColumnShape> shapes,
                       int64_t num_rows, const std::optional<AddedColumn>& added) {
  constexpr size_t kNone = std::numeric_limits<size_t>::max();
  size_t added_at = kNone;
  if (added) {
    added_at = std::min(added->position, shapes.size());
    const FlatColumnShape shape{added->name, "vu", {}, *FlatTypeOfFormat("vu"), false};
    shapes.insert(shapes.begin() + static_cast<std::ptrdiff_t>(added_at), shape);
  }
  BARCACHE_ASSIGN_OR_RETURN(
      FlatFrameBuilder builder,
      FlatFrameBuilder::Make(shapes, num_rows, std::numeric_limits<int64_t>::max() / 2));
  const auto fill = [&](size_t i) -> Status {
    if (i == added_at) return FillAdded(slices, *added, i, &builder);
    const size_t source = i > added_at && added_at != kNone ? i - 1 : i;
    CopyValues(slices, source, shapes[i].type, builder.data(i));
    if (!shapes[i].may_be_null) return Status();
    int64_t null_count = 0;
    CopyValidity(slices, source, builder.validity(i), &null_count);
    builder.set_null_count(i, null_count);
    return Status();
  };
  std::vector<size_t> costs;
  size_t all_bytes = 0;
  for (const FlatColumnShape& shape : shapes) {
    const size_t width = std::max<size_t>(static_cast<size_t>(shape.type.memory_width), 1);
    costs.push_back(width * static_cast<size_t>(num_rows));
    all_bytes += costs.back();
  }
  if (all_bytes >= kSideBySideBytes) {
    BARCACHE_RETURN_IF_ERROR(ForEachColumn(costs, fill));
  } else {
    for (size_t i = 0; i < shapes.size(); ++i) BARCACHE_RETURN_IF_ERROR(fill(i));
  }
  return builder.Finish();
}

// The added column as an array for the general way: a dictionary of one value would be smaller, but
// texts are views everywhere.
Result<Frame> AddedAlone(const std::vector<FrameSlice>& slices, const AddedColumn& added,
                         int64_t num_rows) {
  const FlatColumnShape shape{added.name, "vu", {}, *FlatTypeOfFormat("vu"), false};
  BARCACHE_ASSIGN_OR_RETURN(
      FlatFrameBuilder builder,
      FlatFrameBuilder::Make({shape}, num_rows, std::numeric_limits<int64_t>::max() / 2));
  BARCACHE_RETURN_IF_ERROR(FillAdded(slices, added, 0, &builder));
  return builder.Finish();
}

Result<Frame> JoinAny(const std::vector<FrameSlice>& slices, int64_t num_rows,
                      const std::optional<AddedColumn>& added) {
  SchemaNode table = FromArrowSchema(slices.front().frame.data()->schema);
  std::vector<ColumnPieces> columns(table.children.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    columns[i].type = slices.front().frame.data()->schema.children[i];
    for (const FrameSlice& slice : slices) {
      columns[i].pieces.push_back(
          {slice.frame.data()->array.children[i], slice.offset, slice.length});
    }
  }
  Frame alone;
  if (added) {
    BARCACHE_ASSIGN_OR_RETURN(alone, AddedAlone(slices, *added, num_rows));
    const auto at = static_cast<std::ptrdiff_t>(std::min(added->position, columns.size()));
    SchemaNode node = FromArrowSchema(*alone.data()->schema.children[0]);
    table.children.insert(table.children.begin() + at, std::move(node));
    columns.insert(columns.begin() + at,
                   ColumnPieces{alone.data()->schema.children[0],
                                {{alone.data()->array.children[0], 0, num_rows}}});
  }
  return BuildFrame(table, columns, num_rows, ImportMode::kCopy);
}

}  // namespace

bool HaveSameColumns(const Frame& left, const Frame& right) {
  return SameSchema(left.data()->schema, right.data()->schema);
}

Result<FrameSlice> RowsBetween(const Frame& frame, std::string_view time_column, int64_t begin_ns,
                               int64_t end_ns) {
  const FrameData& data = *frame.data();
  for (int64_t i = 0; i < data.schema.n_children; ++i) {
    const ArrowSchema& type = *data.schema.children[i];
    if (time_column != type.name) continue;
    const ArrowArray& times = *data.array.children[i];
    const int64_t unit_ns = UnitOf(type.format);
    if (unit_ns == 0 || times.null_count != 0) break;
    const int64_t begin = CeilDivide(begin_ns, unit_ns);
    const int64_t end = CeilDivide(end_ns, unit_ns);
    const auto first_from = [&](int64_t moment) {
      return unit_ns == kDayNs ? FirstFrom<int32_t>(times.buffers[1], times.length, moment)
                               : FirstFrom<int64_t>(times.buffers[1], times.length, moment);
    };
    const int64_t offset = first_from(begin);
    return FrameSlice{frame, offset, std::max<int64_t>(first_from(end) - offset, 0)};
  }
  return Status(ErrorCode::kInvalidArgument, "the frame has no column " + std::string(time_column) +
                                                 " of dates or times without nulls");
}

Result<Frame> JoinSlices(const std::vector<FrameSlice>& slices,
                         const std::optional<AddedColumn>& added) {
  try {
    int64_t num_rows = 0;
    for (const FrameSlice& slice : slices) num_rows += slice.length;
    const ArrowSchema& table = slices.front().frame.data()->schema;
    for (int64_t i = 0; added && i < table.n_children; ++i) {
      if (added->name != table.children[i]->name) continue;
      return Status(ErrorCode::kInvalidArgument,
                    "there is a column " + std::string(added->name) + " already");
    }
    auto shapes = FlatShapes(slices);
    if (shapes) return JoinFlat(slices, std::move(*shapes), num_rows, added);
    return JoinAny(slices, num_rows, added);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "not enough memory to join the bars; free some and try again");
  }
}

}  // namespace barcache
