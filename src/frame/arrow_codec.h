// The widest of the ways through Parquet: Arrow's own writer and reader, for nested types, large
// frames and files of other programs.
//
// Nothing here starts a thread. Exceptions of Arrow and Parquet end here.
//
// Thread safety: all functions may be called from any thread.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "barcache/frame.h"
#include "barcache/status.h"
#include "frame/frame_data.h"
#include "frame/parquet_codec.h"
#include "frame/schema_node.h"

namespace barcache {

// All pairs are written as they are. Errors: kUnsupportedFrame, kOutOfMemory.
Result<ByteBuffer> EncodeArrow(const FrameData& frame, const KeyValues& key_values);

enum class RowsToRead { kAll, kNone };

// All columns, or those named, in that order. `stored`: the stored schema, or null. The frame has
// no origin. Errors: kCorruption, kOverBudget, kOutOfMemory, kInvalidArgument (a column that is
// not there), kUnsupportedFrame (a sound file with types that a frame cannot hold).
Result<Frame> DecodeArrow(std::span<const uint8_t> bytes, const DecodeLimits& limits,
                          const SchemaNode* stored, const std::vector<std::string>* columns,
                          RowsToRead rows = RowsToRead::kAll);

}  // namespace barcache
