// From arrays of the C data interface to a normalised FrameData.
//
// Memory of the producer is shared only where asked for, and only where nothing but the column
// hangs on it as far as the C interface shows: one chunk, offset 0, lists that use their whole
// child, data buffers of views and dictionaries not much larger than what rows refer to. What
// it cannot show is the length of a buffer, and whether somebody still writes to it: the head of a
// longer frame looks like a whole one. Who asks for sharing answers for both. Frames below
// kShareBytes are always copied.
//
// Thread safety: pure functions.
#pragma once

#include <memory>
#include <vector>

#include "barcache/frame.h"
#include "barcache/status.h"
#include "frame/frame_data.h"
#include "frame/schema_node.h"

namespace barcache {

// Smaller frames are copied: it costs microseconds and leaves nothing to guess.
inline constexpr int64_t kShareBytes = 1 << 20;

// A piece of a column: rows [offset, offset + length) counted from the buffers of `array`.
struct ArrayPiece {
  ArrowArray* array = nullptr;
  int64_t offset = 0;
  int64_t length = 0;
};

struct ColumnPieces {
  const ArrowSchema* type = nullptr;
  std::vector<ArrayPiece> pieces;
};

// The frame of canonical type `table` from `columns`, one for each child of `table`. An array
// that is shared is moved out of its place (its release becomes null); the caller keeps, and
// releases, all others. `keep_alive`, if any, is released after the shared arrays.
// Errors: kInvalidArgument, kUnsupportedFrame. Throws std::bad_alloc.
Result<Frame> BuildFrame(const SchemaNode& table, const std::vector<ColumnPieces>& columns,
                         int64_t num_rows, ImportMode mode,
                         std::shared_ptr<const void> keep_alive = nullptr);

// The table in struct arrays (record batches). `table` is what CanonicalTable made of `schema`.
Result<Frame> ImportBatches(const ArrowSchema& schema, const SchemaNode& table,
                            std::vector<ArrowArray>& batches, ImportMode mode);

}  // namespace barcache
