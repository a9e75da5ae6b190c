// ColumnBuilder: one canonical column, put together from pieces of Arrow arrays.
//
// The one machine behind compaction of slices, joining of chunks, deep copies, conversion of
// foreign types, and the way back from Parquet's types to those of a stored schema (List to
// Array, String to Categorical, Int64 to Duration).
//
// Sources must outlive Finish(). Errors: kInvalidArgument for arrays that break the contract of
// the C data interface (as far as it can be seen: it carries no buffer sizes) or values that do
// not fit the target. Throws std::bad_alloc.
//
// Thread safety: none; one builder, one thread.
#pragma once

#include <arrow/c/abi.h>

#include <cstdint>
#include <memory>

#include "barcache/status.h"
#include "frame/array_node.h"
#include "frame/schema_node.h"

namespace barcache {

// The validity bits of a column, made only when the first null arrives.
class ValidityBuilder {
 public:
  // Appends the bits [offset, offset + length) of `source`; `offset` counts from the buffer.
  void Append(const ArrowArray& source, int64_t offset, int64_t length);
  void AppendValid(int64_t count) { AppendRun(count, true); }
  void AppendNulls(int64_t count) { AppendRun(count, false); }

  int64_t length() const { return length_; }
  int64_t null_count() const { return null_count_; }
  // The buffer for ArrayNode: null without nulls.
  const void* Finish(ArrayMemory* memory);

 private:
  void AppendRun(int64_t count, bool valid);
  // Room for `length` more bits; the bits so far are written out.
  void Materialise(int64_t length);

  GrowingBuffer bits_;
  int64_t length_ = 0;
  int64_t null_count_ = 0;
};

class ColumnBuilder {
 public:
  // `target` must outlive the builder. REQUIRES: a canonical node, or one of
  // StorageNode().
  static std::unique_ptr<ColumnBuilder> Make(const SchemaNode& target);
  virtual ~ColumnBuilder() = default;

  // Appends `length` rows of `source` from `offset`, which counts from the start of the buffers
  // (source.offset is included by the caller).
  Status Append(const ArrowSchema& type, const ArrowArray& source, int64_t offset, int64_t length);
  void AppendNulls(int64_t count);
  // The column, its buffers kept by `memory`. Nothing may be called afterwards.
  ArrayNode Finish(ArrayMemory* memory);

  int64_t length() const { return validity_.length(); }

 protected:
  // `validity_` is done by the base class, before the values.
  virtual Status AppendValues(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                              int64_t length) = 0;
  virtual void AppendNullValues(int64_t count) = 0;
  virtual void FinishValues(ArrayMemory* memory, ArrayNode* node) = 0;
  // Whether sources that are dictionaries are taken as they are, not value by value.
  virtual bool takes_dictionaries() const { return false; }

  ValidityBuilder validity_;

 private:
  Status AppendDecoded(const ArrowSchema& type, const ArrowArray& source, int64_t offset,
                       int64_t length);
};

// Whether row `index`, counted from the buffers, is null.
bool IsNull(const ArrowArray& source, int64_t index);

bool HasNulls(const ArrowArray& source);

// Row `index` of the integer buffer of a dictionary array. REQUIRES: `format` is one of the
// eight integers.
int64_t ReadIndex(char format, const void* buffer, int64_t index);

// kInvalidArgument: the producer broke the contract, and how.
Status BrokenArray(const std::string& what);

}  // namespace barcache
