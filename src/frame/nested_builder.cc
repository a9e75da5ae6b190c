// Lists, arrays, maps and structs.
#include "frame/nested_builder.h"

#include <string>

#include "frame/arrow_format.h"

namespace barcache {
namespace {

bool HasOneChild(const ArrowSchema& type, const ArrowArray& source) {
  return type.n_children == 1 && source.n_children == 1 && source.children[0] != nullptr;
}

bool HasOffsets(const ArrowArray& source) {
  return source.n_buffers == 2 && source.buffers[1] != nullptr;
}

}  // namespace

ListBuilder::ListBuilder(const SchemaNode& target)
    : is_map_(target.format == "+m"), child_(ColumnBuilder::Make(target.children[0])) {}

Status ListBuilder::AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                                 int64_t length) {
  const Layout layout = ParseFormat(type.format).layout;
  if (!HasOneChild(type, source)) return BrokenArray("a list of no child");
  if (layout == Layout::kFixedList && !is_map_) return AppendArrays(type, source, offset, length);
  if (!HasOffsets(source)) return BrokenArray("a list without offsets");
  if (is_map_ != (layout == Layout::kMap)) return BrokenArray("a list where a map was declared");
  if (layout == Layout::kList64) return AppendRange<int64_t>(type, source, offset, length);
  if (layout == Layout::kList32 || layout == Layout::kMap) {
    return AppendRange<int32_t>(type, source, offset, length);
  }
  return BrokenArray("an array of another layout where a list was declared");
}

template <typename Offset>
Status ListBuilder::AppendRange(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                                int64_t length) {
  const auto* offsets = static_cast<const Offset*>(source.buffers[1]) + offset;
  const ArrowArray& child = *source.children[0];
  const int64_t first = offsets[0];
  const int64_t base = child_->length();
  if (first < 0) return BrokenArray("a negative list offset");
  ends_.reserve(ends_.size() + static_cast<size_t>(length));
  for (int64_t i = 0; i < length; ++i) {
    if (offsets[i + 1] < offsets[i]) return BrokenArray("list offsets that go backwards");
    ends_.push_back(base + (offsets[i + 1] - first));
  }
  if (is_map_ && length > 0 && ends_.back() > INT32_MAX) {
    return Status(ErrorCode::kUnsupportedFrame,
                  "more than 2^31 entries in one Map column: split the frame before the put");
  }
  return child_->Append(*type.children[0], child, child.offset + first, offsets[length] - first);
}

Status ListBuilder::AppendArrays(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                                 int64_t length) {
  const int64_t width = ParseFormat(type.format).width;
  const ArrowArray& child = *source.children[0];
  const int64_t end = offset + length;
  for (int64_t i = offset; i < end;) {
    if (IsNull(source, i)) {
      ends_.push_back(child_->length());
      ++i;
      continue;
    }
    int64_t run_end = i + 1;
    while (run_end < end && !IsNull(source, run_end)) ++run_end;
    const int64_t base = child_->length();
    for (int64_t row = 1; row <= run_end - i; ++row) ends_.push_back(base + row * width);
    BARCACHE_RETURN_IF_ERROR(
        child_->Append(*type.children[0], child, child.offset + i * width, (run_end - i) * width));
    i = run_end;
  }
  return Status();
}

void ListBuilder::AppendNullValues(int64_t count) {
  ends_.insert(ends_.end(), static_cast<size_t>(count), child_->length());
}

void ListBuilder::FinishValues(ArrayMemory* memory, ArrayNode* node) {
  GrowingBuffer offsets;
  const size_t count = ends_.size() + 1;
  if (is_map_) {
    offsets.Resize(count * sizeof(int32_t));
    auto* values = offsets.As<int32_t>();
    values[0] = 0;
    for (size_t i = 1; i < count; ++i) values[i] = static_cast<int32_t>(ends_[i - 1]);
  } else {
    offsets.Resize(count * sizeof(int64_t));
    auto* values = offsets.As<int64_t>();
    values[0] = 0;
    for (size_t i = 1; i < count; ++i) values[i] = ends_[i - 1];
  }
  node->buffers.push_back(memory->Keep(std::move(offsets)));
  node->children.push_back(child_->Finish(memory));
}

FixedListBuilder::FixedListBuilder(const SchemaNode& target)
    : width_(ParseFormat(target.format).width), child_(ColumnBuilder::Make(target.children[0])) {}

Status FixedListBuilder::AppendValues(const ArrowSchema& type, const ArrowArray& source,
                                      int64_t offset, int64_t length) {
  const Format format = ParseFormat(type.format);
  if (!HasOneChild(type, source)) return BrokenArray("a list of no child");
  if (format.layout == Layout::kList64 && HasOffsets(source)) {
    return AppendLists<int64_t>(type, source, offset, length);
  }
  if (format.layout == Layout::kList32 && HasOffsets(source)) {
    return AppendLists<int32_t>(type, source, offset, length);
  }
  if (format.layout != Layout::kFixedList || format.width != width_) {
    return BrokenArray("an array of another layout where Array(width " + std::to_string(width_) +
                       ") was declared");
  }
  const ArrowArray& child = *source.children[0];
  return child_->Append(*type.children[0], child, child.offset + offset * width_, length * width_);
}

template <typename Offset>
Status FixedListBuilder::AppendLists(const ArrowSchema& type, const ArrowArray& source,
                                     int64_t offset, int64_t length) {
  const auto* offsets = static_cast<const Offset*>(source.buffers[1]);
  const ArrowArray& child = *source.children[0];
  // Rows that lie side by side in the child are appended in one go.
  int64_t run_start = 0;
  int64_t run_rows = 0;
  auto flush = [&]() -> Status {
    if (run_rows == 0) return Status();
    int64_t rows = std::exchange(run_rows, 0);
    return child_->Append(*type.children[0], child, child.offset + run_start, rows * width_);
  };
  for (int64_t i = offset; i < offset + length; ++i) {
    if (IsNull(source, i)) {
      BARCACHE_RETURN_IF_ERROR(flush());
      child_->AppendNulls(width_);
      continue;
    }
    const int64_t start = offsets[i];
    if (start < 0 || offsets[i + 1] - start != width_) {
      return BrokenArray("a row of " + std::to_string(offsets[i + 1] - start) +
                         " elements where Array(width " + std::to_string(width_) +
                         ") was declared");
    }
    if (run_rows > 0 && start != run_start + run_rows * width_) BARCACHE_RETURN_IF_ERROR(flush());
    if (run_rows == 0) run_start = start;
    ++run_rows;
  }
  return flush();
}

void FixedListBuilder::AppendNullValues(int64_t count) { child_->AppendNulls(count * width_); }

void FixedListBuilder::FinishValues(ArrayMemory* memory, ArrayNode* node) {
  node->children.push_back(child_->Finish(memory));
}

StructBuilder::StructBuilder(const SchemaNode& target) {
  children_.reserve(target.children.size());
  for (const SchemaNode& child : target.children) {
    children_.push_back(ColumnBuilder::Make(child));
  }
}

Status StructBuilder::AppendValues(const ArrowSchema& type, const ArrowArray& source,
                                   int64_t offset, int64_t length) {
  const auto count = static_cast<int64_t>(children_.size());
  if (ParseFormat(type.format).layout != Layout::kStruct || type.n_children != count ||
      source.n_children != count) {
    return BrokenArray("a struct of another number of fields than declared");
  }
  for (int64_t i = 0; i < count; ++i) {
    const ArrowArray& child = *source.children[i];
    BARCACHE_RETURN_IF_ERROR(children_[static_cast<size_t>(i)]->Append(
        *type.children[i], child, child.offset + offset, length));
  }
  return Status();
}

void StructBuilder::AppendNullValues(int64_t count) {
  for (auto& child : children_) child->AppendNulls(count);
}

void StructBuilder::FinishValues(ArrayMemory* memory, ArrayNode* node) {
  for (auto& child : children_) node->children.push_back(child->Finish(memory));
}

}  // namespace barcache
