// What Parquet cannot say about a frame: our own serialisation of its schema, kept in the footer
// under kStoredSchemaKey when, and only when, a column needs it (Categorical, Enum, Duration,
// Array, Null, time zones but UTC).
//
// The text is UTF-8 (footers are) and self-delimiting; format: docs/on-disk-format.md, "Stored
// schema". Nothing in it names code: extension types never get in, nor out.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "barcache/status.h"
#include "frame/schema_node.h"

namespace barcache {

inline constexpr std::string_view kFrameKeyPrefix = "barcache.frame";
inline constexpr std::string_view kStoredSchemaKey = "barcache.frame.schema";
inline constexpr std::string_view kOriginKey = "barcache.frame.origin";

// Whether a canonical tree comes back from Parquet as something else.
bool NeedsStoredSchema(const SchemaNode& node);

std::string SerializeSchema(const SchemaNode& table);

// Any text is a canonical table or kCorruption.
Result<SchemaNode> ParseStoredSchema(std::string_view text);

// Whether the field metadata in a tree is what Polars itself writes for Enum and Categorical:
// Polars panics on what it cannot parse.
bool HasSoundMetadata(const SchemaNode& node);

// What is handed to Arrow's writer for a column: dictionaries become strings, Arrays lists,
// nested views strings with offsets. Not a canonical tree.
SchemaNode StorageNode(const SchemaNode& node, bool nested = false);

// Whether a column that a file holds as `file` (canonical) can be brought back as `stored`.
bool CanRestore(const SchemaNode& file, const SchemaNode& stored);

}  // namespace barcache
