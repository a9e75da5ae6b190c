// Frame: an immutable table in memory, one chunk a column, in the layout of the Arrow C data
// interface (https://arrow.apache.org/docs/format/CDataInterface.html).
//
// A Frame is a shared handle: copies are cheap and share the buffers. Buffers are 64-byte
// aligned and never change. The C structs are only forward-declared: a caller brings the
// definitions of its own Arrow library.
//
// Thread safety: a Frame may be shared and exported from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "barcache/status.h"

struct ArrowArray;
struct ArrowArrayStream;
struct ArrowSchema;

namespace barcache {

struct FrameData;  // src/frame/frame_data.h

// What FromStream may do with the buffers that arrive.
enum class ImportMode {
  // Nobody changes the memory, and it is no part of something larger: large columns keep it. Slices
  // and chunks that can be seen are compacted.
  kShare,
  // Everything is copied. So it has to be with what Polars, pandas or pyarrow hand over: a Polars
  // frame may lie in memory of numpy that is written to later, or be the head of a longer one.
  kCopy,
};

class Frame {
 public:
  Frame() = default;  // An empty handle: valid() is false.

  // Consumes `stream` (its release callback has run on return, whatever the outcome).
  // Many chunks become one; a slice is compacted, so that no parent buffer is kept alive.
  // Errors: kUnsupportedFrame, naming column and type, for what cannot come back exactly
  // (decision 8: Object, Int128, Array of width 0, Struct without fields, rows without columns,
  // duplicate names); kInvalidArgument for a stream that breaks its contract or fails.
  static Result<Frame> FromStream(ArrowArrayStream* stream, ImportMode mode);

  // As FromStream, for one struct array and its schema. Both are consumed.
  static Result<Frame> FromArray(ArrowSchema* schema, ArrowArray* array, ImportMode mode);

  // As FromArray, for columns that arrive one by one, of equal length, each one chunk
  // (a forked child exports Series by Series). All are consumed.
  static Result<Frame> FromColumns(std::vector<ArrowSchema*> schemas,
                                   std::vector<ArrowArray*> arrays, ImportMode mode);

  // The frame of these columns, in this order, over the same buffers.
  // Errors: kColumnNotFound; kInvalidArgument for a column named twice. REQUIRES: valid().
  Result<Frame> Select(const std::vector<std::string>& columns) const;

  // Writes a struct array that shares this frame's buffers. The consumer releases both; the
  // buffers stay alive until then. Never fails but for memory (throws std::bad_alloc).
  void ExportArray(ArrowSchema* schema, ArrowArray* array) const;
  // The same as a stream of one chunk.
  void ExportStream(ArrowArrayStream* stream) const;

  bool valid() const { return data_ != nullptr; }
  int64_t num_rows() const;
  int64_t num_columns() const;
  std::vector<std::string> column_names() const;
  // Bytes of all buffers that this frame keeps alive: what it is charged.
  int64_t size_bytes() const;

  // An opaque text that travels with the frame through both tiers (the Python layer keeps there
  // what it needs to give back a pandas frame as it was). Empty: none.
  const std::string& origin() const;
  Frame WithOrigin(std::string origin) const;

  // Internal: the rooms' view (src/frame/frame_data.h).
  const FrameData* data() const { return data_.get(); }
  explicit Frame(std::shared_ptr<const FrameData> data) : data_(std::move(data)) {}

 private:
  std::shared_ptr<const FrameData> data_;
};

}  // namespace barcache
