// Is this UTF-8? Strings of a file reach readers that take it for granted.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace barcache {

// True for well-formed UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates.
bool IsUtf8(const uint8_t* bytes, size_t size);

}  // namespace barcache
