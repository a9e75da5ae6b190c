// A frame's schema as text, and an empty frame of it: how the ledger remembers what the answers of
// a source look like. The text is the stored schema of docs/on-disk-format.md.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "barcache/frame.h"
#include "barcache/status.h"

namespace barcache {

// REQUIRES: frame.valid().
std::string SchemaTextOf(const Frame& frame);

// A frame without rows whose columns have these names and types. Any text is a frame or
// kCorruption.
Result<Frame> EmptyFrameOf(std::string_view schema_text);

}  // namespace barcache
