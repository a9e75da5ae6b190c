// The table of types of the flat codec; see the header for the promises.
#include "frame/flat_type.h"

#include <charconv>
#include <cstring>
#include <string>

namespace barcache {
namespace {

constexpr int32_t kMaxDecimal128Precision = 38;

FlatType Fixed(ParquetType physical, int32_t width) {
  FlatType type;
  type.physical = physical;
  type.stored_width = type.memory_width = width;
  return type;
}

FlatType Integer(int8_t bits, bool is_signed) {
  FlatType type = bits == 64 ? Fixed(ParquetType::kInt64, 8) : Fixed(ParquetType::kInt32, 4);
  type.is_signed = is_signed;
  type.memory_width = bits / 8;
  if (bits == 8) type.layout = FlatLayout::kNarrow8;
  if (bits == 16) type.layout = FlatLayout::kNarrow16;
  if (is_signed && bits >= 32) return type;  // What the physical types mean by themselves.
  const ConvertedType first = is_signed ? ConvertedType::kInt8 : ConvertedType::kUint8;
  const int step = bits == 8 ? 0 : bits == 16 ? 1 : bits == 32 ? 2 : 3;
  type.converted = static_cast<ConvertedType>(static_cast<int32_t>(first) + step);
  type.logical.kind = LogicalKind::kInteger;
  type.logical.bit_width = bits;
  type.logical.is_signed = is_signed;
  return type;
}

FlatType View(bool is_text) {
  FlatType type;
  type.layout = FlatLayout::kView;
  type.physical = ParquetType::kByteArray;
  type.stored_width = 0;
  type.memory_width = 16;
  type.is_text = is_text;
  if (is_text) {
    type.converted = ConvertedType::kUtf8;
    type.logical.kind = LogicalKind::kString;
  }
  return type;
}

FlatType Float16() {
  FlatType type = Fixed(ParquetType::kFixedLenByteArray, 2);
  type.logical.kind = LogicalKind::kFloat16;
  return type;
}

FlatType Date() {
  FlatType type = Fixed(ParquetType::kInt32, 4);
  type.converted = ConvertedType::kDate;
  type.logical.kind = LogicalKind::kDate;
  return type;
}

FlatType Boolean() {
  FlatType type;
  type.layout = FlatLayout::kBits;
  type.physical = ParquetType::kBoolean;
  type.stored_width = type.memory_width = 0;
  return type;
}

std::optional<FlatType> SingleLetter(char letter) {
  switch (letter) {
    case 'b':
      return Boolean();
    case 'c':
      return Integer(8, true);
    case 'C':
      return Integer(8, false);
    case 's':
      return Integer(16, true);
    case 'S':
      return Integer(16, false);
    case 'i':
      return Integer(32, true);
    case 'I':
      return Integer(32, false);
    case 'l':
      return Integer(64, true);
    case 'L':
      return Integer(64, false);
    case 'e':
      return Float16();
    case 'f':
      return Fixed(ParquetType::kFloat, 4);
    case 'g':
      return Fixed(ParquetType::kDouble, 8);
    default:
      return std::nullopt;
  }
}

// "d:precision,scale" or "d:precision,scale,128".
std::optional<FlatType> Decimal(std::string_view format) {
  int32_t precision = 0;
  int32_t scale = 0;
  const char* end = format.data() + format.size();
  auto [comma, error] = std::from_chars(format.data() + 2, end, precision);
  if (error != std::errc() || comma == end || *comma != ',') return std::nullopt;
  auto [rest, scale_error] = std::from_chars(comma + 1, end, scale);
  if (scale_error != std::errc()) return std::nullopt;
  if (rest != end && std::string_view(rest, static_cast<size_t>(end - rest)) != ",128") {
    return std::nullopt;
  }
  // Parquet knows no other scales; Arrow does.
  if (precision < 1 || precision > kMaxDecimal128Precision || scale < 0 || scale > precision) {
    return std::nullopt;
  }
  FlatType type = Fixed(ParquetType::kFixedLenByteArray, 16);
  type.layout = FlatLayout::kDecimal;
  type.converted = ConvertedType::kDecimal;
  type.logical.kind = LogicalKind::kDecimal;
  type.logical.precision = precision;
  type.logical.scale = scale;
  return type;
}

// "tsm:", "tsu:", "tsn:", each with a zone or without.
std::optional<FlatType> Timestamp(std::string_view format) {
  FlatType type = Fixed(ParquetType::kInt64, 8);
  type.logical.kind = LogicalKind::kTimestamp;
  type.logical.adjusted_to_utc = format.size() > 4;
  switch (format[2]) {
    case 'm':
      type.logical.unit = ParquetTimeUnit::kMillis;
      if (type.logical.adjusted_to_utc) type.converted = ConvertedType::kTimestampMillis;
      return type;
    case 'u':
      type.logical.unit = ParquetTimeUnit::kMicros;
      if (type.logical.adjusted_to_utc) type.converted = ConvertedType::kTimestampMicros;
      return type;
    case 'n':
      type.logical.unit = ParquetTimeUnit::kNanos;
      return type;
    default:  // Parquet has no seconds.
      return std::nullopt;
  }
}

FlatType Time() {
  FlatType type = Fixed(ParquetType::kInt64, 8);
  type.logical.kind = LogicalKind::kTime;
  type.logical.unit = ParquetTimeUnit::kNanos;
  return type;
}

std::string_view IntegerFormat(const LogicalType& logical, ParquetType physical) {
  const bool is_signed = logical.is_signed;
  if (physical == ParquetType::kInt64) {
    return logical.bit_width == 64 ? (is_signed ? "l" : "L") : "";
  }
  switch (logical.bit_width) {
    case 8:
      return is_signed ? "c" : "C";
    case 16:
      return is_signed ? "s" : "S";
    case 32:
      return is_signed ? "i" : "I";
    default:
      return "";
  }
}

std::string_view TimestampFormat(const LogicalType& logical) {
  const bool utc = logical.adjusted_to_utc;
  switch (logical.unit) {
    case ParquetTimeUnit::kMillis:
      return utc ? "tsm:UTC" : "tsm:";
    case ParquetTimeUnit::kMicros:
      return utc ? "tsu:UTC" : "tsu:";
    case ParquetTimeUnit::kNanos:
      return utc ? "tsn:UTC" : "tsn:";
    case ParquetTimeUnit::kNone:
      break;
  }
  return "";
}

// "" for what is left to Arrow. Decimals are not here.
std::string_view SimpleFormat(const SchemaElement& element) {
  const ParquetType physical = static_cast<ParquetType>(element.type);
  const LogicalKind kind = element.logical.kind;
  if (kind == LogicalKind::kNone) {
    if (element.converted != ConvertedType::kNone) return "";  // Files of old writers.
    switch (physical) {
      case ParquetType::kBoolean:
        return "b";
      case ParquetType::kInt32:
        return "i";
      case ParquetType::kInt64:
        return "l";
      case ParquetType::kFloat:
        return "f";
      case ParquetType::kDouble:
        return "g";
      case ParquetType::kByteArray:
        return "vz";
      default:
        return "";
    }
  }
  const bool is_int32 = physical == ParquetType::kInt32;
  const bool is_int64 = physical == ParquetType::kInt64;
  if (kind == LogicalKind::kString && physical == ParquetType::kByteArray) return "vu";
  if (kind == LogicalKind::kDate && is_int32) return "tdD";
  if (kind == LogicalKind::kInteger && (is_int32 || is_int64)) {
    return IntegerFormat(element.logical, physical);
  }
  if (kind == LogicalKind::kTime && is_int64 && element.logical.unit == ParquetTimeUnit::kNanos) {
    return "ttn";
  }
  if (kind == LogicalKind::kTimestamp && is_int64) return TimestampFormat(element.logical);
  if (kind == LogicalKind::kFloat16 && physical == ParquetType::kFixedLenByteArray &&
      element.type_length == 2) {
    return "e";
  }
  return "";
}

}  // namespace

std::optional<FlatType> FlatTypeOfFormat(std::string_view format) {
  if (format.size() == 1) return SingleLetter(format[0]);
  if (format == "vu") return View(true);
  if (format == "vz") return View(false);
  if (format == "tdD") return Date();
  if (format == "ttn") return Time();
  if (format.starts_with("d:")) return Decimal(format);
  if (format.starts_with("ts") && format.size() >= 4 && format[3] == ':') return Timestamp(format);
  if (format == "tDm" || format == "tDu" || format == "tDn") return Integer(64, true);
  return std::nullopt;
}

DerivedFormat::DerivedFormat(std::string_view text) : size_(text.size()) {
  std::memcpy(text_.data(), text.data(), size_);
}

std::optional<DerivedFormat> DerivedFormat::Of(const SchemaElement& element) {
  if (element.logical.kind == LogicalKind::kDecimal) {
    const int32_t precision = element.logical.precision;
    const int32_t scale = element.logical.scale;
    if (element.type != static_cast<int32_t>(ParquetType::kFixedLenByteArray) ||
        element.type_length < 1 || element.type_length > 16 || precision < 1 ||
        precision > kMaxDecimal128Precision || scale < 0 || scale > precision) {
      return std::nullopt;
    }
    return DerivedFormat("d:" + std::to_string(precision) + "," + std::to_string(scale));
  }
  const std::string_view format = SimpleFormat(element);
  if (format.empty()) return std::nullopt;
  return DerivedFormat(format);
}

}  // namespace barcache
