// Strings with 64-bit offsets.
#include "frame/offsets_builder.h"

#include "frame/arrow_format.h"
#include "frame/view_builder.h"

namespace barcache {

void OffsetsBuilder::PushEnd() {
  const auto end = static_cast<int64_t>(bytes_.size());
  ends_.Append(&end, sizeof(end));
}

Status OffsetsBuilder::AppendValues(const ArrowSchema& type, const ArrowArray& source,
                                    int64_t offset, int64_t length) {
  if (ParseFormat(type.format).layout != Layout::kViews) {
    return BrokenArray("an array of " + DescribeFormat(type.format) + " where views are expected");
  }
  BARCACHE_RETURN_IF_ERROR(MeasureViews(source, offset, length).status());
  for (int64_t i = offset; i < offset + length; ++i) {
    if (!IsNull(source, i)) {
      const std::string_view text = ViewAt(source, i);
      bytes_.Append(text.data(), text.size());
    }
    PushEnd();
  }
  return Status();
}

void OffsetsBuilder::AppendNullValues(int64_t count) {
  for (int64_t i = 0; i < count; ++i) PushEnd();
}

void OffsetsBuilder::FinishValues(ArrayMemory* memory, ArrayNode* node) {
  node->buffers.push_back(memory->Keep(std::move(ends_)));
  node->buffers.push_back(memory->Keep(std::move(bytes_)));
}

}  // namespace barcache
