// What a format string of the Arrow C data interface means for memory: which buffers a node has
// and how wide a value is. Formats that barcache does not hold are kUnsupported.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace barcache {

enum class Layout {
  kNull,         // no buffers
  kBits,         // validity, bits
  kFixed,        // validity, values of `width` bytes
  kFixedBytes,   // validity, `width` bytes a row ("w:N")
  kOffsets32,    // validity, int32 offsets, bytes ("u", "z")
  kOffsets64,    // validity, int64 offsets, bytes ("U", "Z")
  kViews,        // validity, 16-byte views, data..., int64 sizes of data ("vu", "vz")
  kList32,       // validity, int32 offsets; one child ("+l"); "+m" is kMap
  kList64,       // validity, int64 offsets; one child ("+L")
  kMap,          // validity, int32 offsets; one struct child of key and value
  kFixedList,    // validity; one child, `width` elements a row ("+w:N")
  kStruct,       // validity; children
  kUnsupported,  // anything else: intervals, unions, run-end, list views, "_pli128", ...
};

struct Format {
  Layout layout = Layout::kUnsupported;
  int64_t width = 0;  // kFixed, kFixedBytes: bytes of a value. kFixedList: elements of a row.
};

Format ParseFormat(std::string_view format);

// "Datetime(us, UTC)" and the like: the type as a user of Polars knows it, for messages.
std::string DescribeFormat(std::string_view format);

// Precision, scale and bits of "d:p,s[,bits]". False: not a decimal format.
struct DecimalFormat {
  int precision = 0;
  int scale = 0;
  int bits = 128;
};
bool ParseDecimalFormat(std::string_view format, DecimalFormat* decimal);

}  // namespace barcache
