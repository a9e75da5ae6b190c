// From dictionary indices to values: the inner loops of reading dictionary pages.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace barcache {

// Writes dictionary[index] for `count` packed indices of `index_width` bits, `width` bytes each
// (1, 2, 4, 8 or 16). False: an index is not below `dictionary_size`; `out` is undefined then.
// REQUIRES: kUnpackSlack readable bytes behind the packed ones.
[[nodiscard]] bool GatherPacked(const uint8_t* packed, size_t count, unsigned index_width,
                                const uint8_t* dictionary, size_t dictionary_size, size_t width,
                                uint8_t* out);

// The same for `count` times one index.
[[nodiscard]] bool GatherRepeated(uint32_t index, size_t count, const uint8_t* dictionary,
                                  size_t dictionary_size, size_t width, uint8_t* out);

}  // namespace barcache
