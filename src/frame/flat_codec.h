// The flat codec: frames of flat columns as plain Parquet, written and read by hand.
//
// One row group, data pages V1, Snappy. Below 1024 rows a column is one page in BYTE_STREAM_SPLIT
// or PLAIN; above, its values choose among these, a dictionary and DELTA_BINARY_PACKED, in pages
// of 32768 rows. Columns without a null are REQUIRED, others OPTIONAL.
//
// Columns of large frames are worked on side by side with idle threads of the crew (base/crew.h);
// the bytes do not depend on it.
//
// Thread safety: all functions may be called from any thread, also in a forked child: no thread is
// needed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "barcache/frame.h"
#include "barcache/status.h"
#include "base/file_system.h"
#include "frame/frame_data.h"
#include "frame/parquet_codec.h"
#include "frame/parquet_footer.h"
#include "frame/piece_stream.h"

namespace barcache {

// True when EncodeFlat takes this frame: at most 64 Mi rows and 512 MB of strings, each column
// of a flat type.
// Cheap: looks at the strings' lengths, at no other value.
bool FlatCodecTakes(const FrameData& frame);

// REQUIRES: FlatCodecTakes(frame). `key_values` go into the footer as they are.
// Durations and zones come back only through the stored schema, which is the caller's to add.
// Errors: kOutOfMemory.
Result<ByteBuffer> EncodeFlat(const FrameData& frame, const KeyValues& key_values);

// The same bytes for takers, as in StreamParts.
Status EncodeFlatInPieces(const FrameData& frame, const KeyValues& key_values,
                          std::span<const PieceTaker> takers);

// Decodes a file of that shape, whoever wrote it. nullopt: another shape (several row groups,
// nested columns, other encodings or compression, types that Arrow's own schema refines). `footer`
// is what ParseFooter made of `bytes`. `stored_schema` (may be null): a struct schema whose
// children, found by name, give the exact types, instead of those that Parquet's own types mean;
// their metadata is copied. `columns` (may be null): only these, in this order. Errors:
// kCorruption; kOverBudget; kOutOfMemory; kInvalidArgument for an unknown column.
Result<std::optional<Frame>> DecodeFlat(std::span<const uint8_t> bytes, const ParquetFooter& footer,
                                        const ArrowSchema* stored_schema,
                                        const DecodeLimits& limits,
                                        const std::vector<std::string>* columns);

}  // namespace barcache
