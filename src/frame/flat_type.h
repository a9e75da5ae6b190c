// How the flat codec stores an Arrow type in Parquet, and which Arrow type a Parquet column means.
//
// Arrow types are named by their format string in the C data interface ("l", "tsu:UTC", "vu").
//
// Thread safety: pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "frame/parquet_footer.h"

namespace barcache {

enum class FlatLayout {
  kBits,      // Boolean: a bitmap in both.
  kFixed,     // The same bytes in both.
  kNarrow8,   // Integers of 8 and 16 bits, stored in 32.
  kNarrow16,  //
  kDecimal,   // 16 bytes little endian in Arrow, big endian of stored_width in Parquet.
  kView,      // Strings and binaries: 16-byte views in Arrow, BYTE_ARRAY in Parquet.
};

struct FlatType {
  FlatLayout layout = FlatLayout::kFixed;
  ParquetType physical = ParquetType::kInt64;
  int32_t stored_width = 8;  // Bytes a value in PLAIN; 0 for kBits and kView.
  int32_t memory_width = 8;  // Bytes a value in the Arrow buffer; 0 for kBits.
  bool is_signed = false;    // Of kNarrow8 and kNarrow16.
  bool is_text = false;      // Must be UTF-8.
  ConvertedType converted = ConvertedType::kNone;
  LogicalType logical;
};

// nullopt: a type that the flat codec leaves to Arrow (nested, dictionary, Null, ...).
// Durations are stored as plain INT64: they come back through the stored schema alone.
std::optional<FlatType> FlatTypeOfFormat(std::string_view format);

// The format that Parquet's own types give a column, as Arrow's reader would choose it.
class DerivedFormat {
 public:
  // nullopt: a type that the flat codec leaves to Arrow.
  static std::optional<DerivedFormat> Of(const SchemaElement& element);
  std::string_view text() const { return {text_.data(), size_}; }

 private:
  explicit DerivedFormat(std::string_view text);
  std::array<char, 24> text_{};
  size_t size_ = 0;
};

}  // namespace barcache
