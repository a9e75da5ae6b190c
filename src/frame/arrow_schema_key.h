// The schema that programs built on Arrow, and Polars, leave in a Parquet footer ("ARROW:schema"):
// what makes a Categorical, an Enum or a Duration of another program come back as such.
//
// It may name extension types that this process has registered, whose code would then run: a
// schema that does so is never looked at. Arrow's own reader never sees the key.
//
// Thread safety: not for one and the same FileMetaData.
#pragma once

#include <parquet/metadata.h>

#include <optional>
#include <string>
#include <string_view>

#include "frame/schema_node.h"

namespace barcache {

inline constexpr std::string_view kArrowSchemaKey = "ARROW:schema";

// Takes the key out of `metadata`. The columns that it describes and a frame can hold, in a table
// node; nullopt without the key, or if it is not sound. Throws std::bad_alloc.
std::optional<SchemaNode> TakeArrowSchema(const parquet::FileMetaData& metadata);

// The value of the key for a table of ours, so that Polars and Arrow find its exact types too.
// Throws std::bad_alloc. Empty if Arrow refuses.
std::string ArrowSchemaText(const SchemaNode& table);

}  // namespace barcache
