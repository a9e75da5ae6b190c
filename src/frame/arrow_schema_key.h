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

#include "frame/schema_node.h"

namespace barcache {

// Takes the key out of `metadata`. The columns that it describes and a frame can hold, in a table
// node; nullopt without the key, or if it is not sound. Throws std::bad_alloc.
std::optional<SchemaNode> TakeArrowSchema(const parquet::FileMetaData& metadata);

}  // namespace barcache
