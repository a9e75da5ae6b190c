// Strings and binaries as views.
#include "frame/view_builder.h"

#include <algorithm>
#include <cstring>

#include "frame/arrow_format.h"

namespace barcache {
namespace {

// Gathered strings go to a new buffer beyond this: offsets are int32.
constexpr size_t kMaxGatherBytes = size_t{1} << 30;

const StringView* ViewsOf(const ArrowArray& source) {
  return static_cast<const StringView*>(source.buffers[1]);
}

int64_t DataBufferCount(const ArrowArray& source) { return source.n_buffers - 3; }

// The sizes come last among the buffers.
int64_t DataBufferSize(const ArrowArray& source, int64_t index) {
  return static_cast<const int64_t*>(source.buffers[source.n_buffers - 1])[index];
}

const char* InlineBytes(const StringView& view) {
  return reinterpret_cast<const char*>(&view) + offsetof(StringView, prefix);
}

}  // namespace

int64_t DataBytes(const ArrowArray& source) {
  int64_t bytes = 0;
  for (int64_t i = 0; i < DataBufferCount(source); ++i) bytes += DataBufferSize(source, i);
  return bytes;
}

Result<ViewUsage> MeasureViews(const ArrowArray& source, int64_t offset, int64_t length) {
  if (source.n_buffers < 3 || (length > 0 && source.buffers[1] == nullptr)) {
    return BrokenArray("a view array of too few buffers");
  }
  ViewUsage usage;
  const int64_t buffers = DataBufferCount(source);
  usage.buffer_bytes = DataBytes(source);
  const StringView* views = ViewsOf(source);
  for (int64_t i = offset; i < offset + length; ++i) {
    const StringView& view = views[i];
    if (view.is_inline() && view.size >= 0) continue;
    if (IsNull(source, i)) continue;
    if (view.size < 0 || view.offset < 0 || view.buffer_index < 0 || view.buffer_index >= buffers ||
        int64_t{view.offset} + view.size > DataBufferSize(source, view.buffer_index)) {
      return BrokenArray("a string view that points outside of its buffers");
    }
    usage.referenced_bytes += view.size;
  }
  return usage;
}

std::string_view ViewAt(const ArrowArray& source, int64_t index) {
  const StringView& view = ViewsOf(source)[index];
  const auto size = static_cast<size_t>(view.size);
  if (view.is_inline()) return {InlineBytes(view), size};
  return {static_cast<const char*>(source.buffers[2 + view.buffer_index]) + view.offset, size};
}

StringView ViewBuilder::Store(std::string_view text) {
  StringView view;
  view.size = static_cast<int32_t>(text.size());
  if (view.is_inline()) {
    std::memcpy(reinterpret_cast<char*>(&view) + offsetof(StringView, prefix), text.data(),
                text.size());
    return view;
  }
  if (gather_index_ < 0 ||
      data_[static_cast<size_t>(gather_index_)].size() + text.size() > kMaxGatherBytes) {
    gather_index_ = static_cast<int32_t>(data_.size());
    data_.emplace_back();
  }
  GrowingBuffer& buffer = data_[static_cast<size_t>(gather_index_)];
  std::memcpy(view.prefix.data(), text.data(), view.prefix.size());
  view.buffer_index = gather_index_;
  view.offset = static_cast<int32_t>(buffer.size());
  buffer.Append(text.data(), text.size());
  return view;
}

void ViewBuilder::AppendString(std::string_view text) {
  validity_.AppendValid(1);
  StringView view = Store(text);
  views_.Append(&view, sizeof(view));
}

Status ViewBuilder::AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                                 int64_t length) {
  switch (ParseFormat(type.format).layout) {
    case Layout::kViews:
      return AppendViews(source, offset, length);
    case Layout::kOffsets32:
      return AppendOffsets<int32_t>(source, offset, length);
    case Layout::kOffsets64:
      return AppendOffsets<int64_t>(source, offset, length);
    case Layout::kFixedBytes:
      return AppendFixedBytes(ParseFormat(type.format).width, source, offset, length);
    default:
      return BrokenArray("an array of " + DescribeFormat(type.format) +
                         " where strings were declared");
  }
}

int32_t ViewBuilder::BufferFor(const ArrowArray& source, int64_t index, int64_t size) {
  const void* data = source.buffers[2 + index];
  for (const WholeBuffer& whole : whole_) {
    if (whole.source == data && whole.size == size) return whole.index;
  }
  const auto own = static_cast<int32_t>(data_.size());
  data_.emplace_back();
  data_.back().Append(data, static_cast<size_t>(size));
  whole_.push_back({data, size, own});
  return own;
}

Status ViewBuilder::AppendViews(const ArrowArray& source, int64_t offset, int64_t length) {
  BARCACHE_ASSIGN_OR_RETURN(ViewUsage usage, MeasureViews(source, offset, length));
  const size_t start = views_.size();
  views_.Resize(start + static_cast<size_t>(length) * sizeof(StringView));
  const StringView* from = ViewsOf(source) + offset;
  auto* to = reinterpret_cast<StringView*>(views_.data() + start);
  const bool take_whole =
      usage.referenced_bytes > 0 && usage.buffer_bytes <= usage.referenced_bytes;
  std::vector<int32_t> own_index;
  if (take_whole) {
    for (int64_t i = 0; i < DataBufferCount(source); ++i) {
      own_index.push_back(BufferFor(source, i, DataBufferSize(source, i)));
    }
  }
  for (int64_t i = 0; i < length; ++i) {
    if (IsNull(source, offset + i)) {
      to[i] = StringView();
    } else if (from[i].is_inline()) {
      to[i] = from[i];
    } else if (take_whole) {
      to[i] = from[i];
      to[i].buffer_index = own_index[static_cast<size_t>(from[i].buffer_index)];
    } else {
      to[i] = Store(ViewAt(source, offset + i));
    }
  }
  return Status();
}

template <typename Offset>
Status ViewBuilder::AppendOffsets(const ArrowArray& source, int64_t offset, int64_t length) {
  if (source.n_buffers != 3 || source.buffers[1] == nullptr) {
    return BrokenArray("a string array of too few buffers");
  }
  const auto* offsets = static_cast<const Offset*>(source.buffers[1]) + offset;
  const auto* bytes = static_cast<const char*>(source.buffers[2]);
  const size_t start = views_.size();
  views_.Resize(start + static_cast<size_t>(length) * sizeof(StringView));
  auto* to = reinterpret_cast<StringView*>(views_.data() + start);
  for (int64_t i = 0; i < length; ++i) {
    to[i] = StringView();
    if (IsNull(source, offset + i)) continue;
    const int64_t size = int64_t{offsets[i + 1]} - int64_t{offsets[i]};
    if (offsets[i] < 0 || size < 0) return BrokenArray("string offsets that go backwards");
    if (size > INT32_MAX) {
      return Status(ErrorCode::kUnsupportedFrame,
                    "a single string of " + std::to_string(size) +
                        " bytes is beyond the 2 GiB that a value may have: split it");
    }
    if (size > 0) to[i] = Store({bytes + offsets[i], static_cast<size_t>(size)});
  }
  return Status();
}

Status ViewBuilder::AppendFixedBytes(int64_t width, const ArrowArray& source, int64_t offset,
                                     int64_t length) {
  if (source.n_buffers != 2 || source.buffers[1] == nullptr) {
    return BrokenArray("a fixed-size binary array of too few buffers");
  }
  const char* bytes = static_cast<const char*>(source.buffers[1]) + offset * width;
  for (int64_t i = 0; i < length; ++i) {
    StringView view;
    if (!IsNull(source, offset + i)) {
      view = Store({bytes + i * width, static_cast<size_t>(width)});
    }
    views_.Append(&view, sizeof(view));
  }
  return Status();
}

void ViewBuilder::AppendNullValues(int64_t count) {
  const size_t start = views_.size();
  const size_t size = static_cast<size_t>(count) * sizeof(StringView);
  views_.Resize(start + size);
  std::memset(views_.data() + start, 0, size);
}

void ViewBuilder::FinishValues(ArrayMemory* memory, ArrayNode* node) {
  views_.Shrink();
  node->buffers.push_back(memory->Keep(std::move(views_)));
  GrowingBuffer sizes;
  // One entry at least: readers take the address even when there is no data buffer.
  sizes.Resize(std::max<size_t>(data_.size(), 1) * sizeof(int64_t));
  sizes.As<int64_t>()[0] = 0;
  for (size_t i = 0; i < data_.size(); ++i) {
    sizes.As<int64_t>()[i] = static_cast<int64_t>(data_[i].size());
    data_[i].Shrink();
    node->buffers.push_back(memory->Keep(std::move(data_[i])));
  }
  node->buffers.push_back(memory->Keep(std::move(sizes)));
}

}  // namespace barcache
