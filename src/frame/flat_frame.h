// The memory of one decoded frame of flat columns: a single 64-byte-aligned allocation that holds
// the C structs of schema and array, names, formats and all buffers (only strings beyond 12 bytes
// live in blocks of their own, one a page). Large ones are recycled (base/block_pool.h).
//
// Thread safety: different columns may be filled from different threads; Finish comes after all.
// Ownership: the finished frame owns the memory. A consumer may move single children out of it,
//   as the C data interface allows: the memory lives until the last of them is released.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "barcache/frame.h"
#include "barcache/status.h"
#include "frame/flat_type.h"

namespace barcache {

struct FlatColumnShape {
  std::string_view name;      // Without NUL.
  std::string_view format;    // Likewise.
  std::string_view metadata;  // As in ArrowSchema::metadata; empty: none.
  FlatType type;
  bool may_be_null = false;  // Reserves a validity bitmap.
};

struct FlatFrameMemory;  // What the allocation begins with.

class FlatFrameBuilder {
 public:
  // kOverBudget beyond `budget_bytes`, checked before memory is taken; kOutOfMemory.
  static Result<FlatFrameBuilder> Make(const std::vector<FlatColumnShape>& shapes, int64_t num_rows,
                                       int64_t budget_bytes);
  FlatFrameBuilder(FlatFrameBuilder&& other) noexcept : memory_(other.memory_) {
    other.memory_ = nullptr;
  }
  FlatFrameBuilder& operator=(FlatFrameBuilder&&) = delete;
  ~FlatFrameBuilder();

  // Null unless the shape may be null. Uninitialised.
  uint8_t* validity(size_t column);
  // num_rows values of the type's memory_width, or a bitmap. Uninitialised.
  uint8_t* data(size_t column);
  void set_null_count(size_t column, int64_t null_count);
  // A further data buffer of a string column, and its index in the views. Null: beyond the budget.
  uint8_t* AddBlock(size_t column, size_t size, int32_t* index);

  // REQUIRES: every column filled. The builder is empty afterwards.
  Frame Finish();

 private:
  explicit FlatFrameBuilder(FlatFrameMemory* memory) : memory_(memory) {}
  FlatFrameMemory* memory_ = nullptr;
};

}  // namespace barcache
