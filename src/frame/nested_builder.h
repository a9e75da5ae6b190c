// Builders of lists, arrays, maps and structs: a ColumnBuilder over child builders.
//
// Thread safety: none; one builder, one thread.
#pragma once

#include <memory>
#include <vector>

#include "frame/column_builder.h"

namespace barcache {

// "+L" from lists of both widths and from arrays; "+m" from maps.
class ListBuilder : public ColumnBuilder {
 public:
  explicit ListBuilder(const SchemaNode& target);

 protected:
  Status AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                      int64_t length) override;
  void AppendNullValues(int64_t count) override;
  void FinishValues(ArrayMemory* memory, ArrayNode* node) override;

 private:
  template <typename Offset>
  Status AppendRange(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                     int64_t length);
  Status AppendArrays(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                      int64_t length);

  const bool is_map_;
  std::unique_ptr<ColumnBuilder> child_;
  std::vector<int64_t> ends_;  // The end of each row in the child.
};

// "+w:N" from arrays of the same width, and from lists whose rows have that length.
class FixedListBuilder : public ColumnBuilder {
 public:
  explicit FixedListBuilder(const SchemaNode& target);

 protected:
  Status AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                      int64_t length) override;
  void AppendNullValues(int64_t count) override;
  void FinishValues(ArrayMemory* memory, ArrayNode* node) override;

 private:
  template <typename Offset>
  Status AppendLists(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                     int64_t length);

  const int64_t width_;
  std::unique_ptr<ColumnBuilder> child_;
};

class StructBuilder : public ColumnBuilder {
 public:
  explicit StructBuilder(const SchemaNode& target);

 protected:
  Status AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                      int64_t length) override;
  void AppendNullValues(int64_t count) override;
  void FinishValues(ArrayMemory* memory, ArrayNode* node) override;

 private:
  std::vector<std::unique_ptr<ColumnBuilder>> children_;
};

}  // namespace barcache
