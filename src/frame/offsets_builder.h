// Builder of strings and binaries with 64-bit offsets ("U", "Z"): not a canonical layout, but the
// one that Arrow's Parquet writer takes inside of nested columns.
//
// Thread safety: none; one builder, one thread.
#pragma once

#include <string_view>

#include "frame/column_builder.h"

namespace barcache {

// From views only.
class OffsetsBuilder : public ColumnBuilder {
 public:
  OffsetsBuilder() { PushEnd(); }

 protected:
  Status AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                      int64_t length) override;
  void AppendNullValues(int64_t count) override;
  void FinishValues(ArrayMemory* memory, ArrayNode* node) override;

 private:
  void PushEnd();

  GrowingBuffer ends_;
  GrowingBuffer bytes_;
};

}  // namespace barcache
