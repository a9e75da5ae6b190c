// UTF-8 by table 3-7 of the Unicode standard; see the header for the promises.
#include "frame/utf8.h"

#include <cstring>

#include "base/failpoint.h"

namespace barcache {
namespace {

inline bool IsContinuation(uint8_t byte) { return (byte & 0xc0) == 0x80; }

// Size of the well-formed sequence at the front, 0 if there is none.
size_t SequenceSize(const uint8_t* bytes, size_t size) {
  const uint8_t lead = bytes[0];
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (size < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(bytes[i])) return 0;
  }
  if (lead == 0xe0 && bytes[1] < 0xa0) return 0;   // Overlong.
  if (lead == 0xed && bytes[1] >= 0xa0) return 0;  // Surrogates.
  if (lead == 0xf0 && bytes[1] < 0x90) return 0;   // Overlong.
  if (lead == 0xf4 && bytes[1] >= 0x90) return 0;  // Beyond U+10FFFF.
  return length;
}

}  // namespace

bool IsUtf8(const uint8_t* bytes, size_t size) {
  if (Mutant("no_utf8_check")) return true;
  size_t i = 0;
  while (i < size) {
    uint64_t word = 0;
    while (i + sizeof(word) <= size) {
      std::memcpy(&word, bytes + i, sizeof(word));
      if ((word & 0x8080808080808080u) != 0) break;
      i += sizeof(word);
    }
    if (i == size) return true;
    const size_t length = SequenceSize(bytes + i, size - i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

}  // namespace barcache
