// Frame <-> the bytes of one Snappy Parquet file.
//
// The door of the Parquet room: it picks one of two ways by shape (our flat codec for flat frames
// and files like those it writes, Arrow's writer and reader for nested types and other files) and
// keeps the difference to itself. What is written is plain Parquet for every reader.
//
// Thread safety: all functions may be called from any thread, also in a forked child: none of them
// needs a thread; idle ones of the crew (base/crew.h) may help with large frames.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "barcache/frame.h"
#include "barcache/status.h"
#include "base/file_system.h"
#include "frame/piece_stream.h"

namespace barcache {

// Footer key-value pairs, in file order. Keys beginning with "barcache.frame" belong to this
// room (stored schema, origin); the caller may use any other.
using KeyValues = std::vector<std::pair<std::string, std::string>>;

struct DecodedParquet {
  Frame frame;
  KeyValues key_values;  // Without those of this room.
};

struct DecodeLimits {
  // Upper bound for the decoded bytes, checked before memory is taken: kOverBudget beyond it.
  int64_t max_decoded_bytes = 512LL << 20;
};

// Errors: kUnsupportedFrame; kOutOfMemory.
Result<ByteBuffer> EncodeParquet(const Frame& frame, const KeyValues& key_values);

// The same bytes for each of the takers, who get the first of a large frame while later ones are
// still encoded. On an error they have got some of them. Errors as EncodeParquet; want of memory in
// a taker is kOutOfMemory.
Status EncodeParquetInPieces(const Frame& frame, const KeyValues& key_values,
                             std::span<const PieceTaker> takers);

// Any bytes whatever are a frame or a Status (kCorruption, kOverBudget, kOutOfMemory), never a
// crash. Files of other writers (Polars, pyarrow, DuckDB) are read too; kUnsupportedFrame: a sound
// one has a column of a type that a frame cannot hold.
Result<DecodedParquet> DecodeParquet(std::span<const uint8_t> bytes, const DecodeLimits& limits);

// As DecodeParquet for the named columns only, in the order given.
// kInvalidArgument naming the first column that the file lacks, and those that it has.
Result<DecodedParquet> DecodeParquetColumns(std::span<const uint8_t> bytes,
                                            const DecodeLimits& limits,
                                            const std::vector<std::string>& columns);

// What DecodeParquet gives, without a row: the exact schema, and no column decoded.
Result<Frame> ReadEmptyFrame(std::span<const uint8_t> bytes, const DecodeLimits& limits);

// The key-value pairs alone, without decoding a column.
Result<KeyValues> ReadKeyValues(std::span<const uint8_t> bytes);

}  // namespace barcache
