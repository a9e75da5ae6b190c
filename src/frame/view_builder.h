// Builder of string and binary views ("vu", "vz") from every layout of strings.
//
// Only the bytes that the rows refer to are kept: data buffers are taken whole where they are
// about as large as what is referred to, else strings are gathered one by one.
//
// Thread safety: none; one builder, one thread.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "frame/column_builder.h"

namespace barcache {

// The 16 bytes of one view, as Arrow lays them out.
struct StringView {
  static constexpr int32_t kInlineSize = 12;
  int32_t size = 0;
  std::array<char, 4> prefix{};
  int32_t buffer_index = 0;  // With `offset`: the bytes 4 to 12 of an inlined string.
  int32_t offset = 0;

  bool is_inline() const { return size <= kInlineSize; }
};
static_assert(sizeof(StringView) == 16);

// How much memory the views of an array refer to, and how much hangs on them.
struct ViewUsage {
  int64_t referenced_bytes = 0;  // Of strings that are not inlined; repeats count again.
  int64_t buffer_bytes = 0;      // Of the data buffers.
};
// Errors: kInvalidArgument for a view outside of its buffers.
Result<ViewUsage> MeasureViews(const ArrowArray& source, int64_t offset, int64_t length);

// The bytes of all data buffers of a view array.
int64_t DataBytes(const ArrowArray& source);

// The string at row `index`, counted from the buffers. REQUIRES: measured before; not null.
std::string_view ViewAt(const ArrowArray& source, int64_t index);

class ViewBuilder : public ColumnBuilder {
 public:
  // One string. REQUIRES: at most INT32_MAX bytes.
  void AppendString(std::string_view text);

 protected:
  Status AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                      int64_t length) override;
  void AppendNullValues(int64_t count) override;
  void FinishValues(ArrayMemory* memory, ArrayNode* node) override;

 private:
  Status AppendViews(const ArrowArray& source, int64_t offset, int64_t length);
  template <typename Offset>
  Status AppendOffsets(const ArrowArray& source, int64_t offset, int64_t length);
  Status AppendFixedBytes(int64_t width, const ArrowArray& source, int64_t offset, int64_t length);
  // The view of `text`, whose bytes are copied if they are not inlined.
  StringView Store(std::string_view text);
  // The buffer of ours that holds a copy of data buffer `index` of `source`.
  int32_t BufferFor(const ArrowArray& source, int64_t index, int64_t size);

  struct WholeBuffer {
    const void* source = nullptr;
    int64_t size = 0;
    int32_t index = 0;
  };

  GrowingBuffer views_;
  std::vector<GrowingBuffer> data_;
  std::vector<WholeBuffer> whole_;  // Buffers taken whole, not to be taken again.
  int32_t gather_index_ = -1;       // The buffer that strings are gathered in.
};

}  // namespace barcache
