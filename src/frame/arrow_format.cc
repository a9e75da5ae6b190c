// Format strings of the Arrow C data interface, taken apart.
#include "frame/arrow_format.h"

#include <charconv>
#include <optional>

namespace barcache {
namespace {

// A whole decimal integer, or nothing.
std::optional<int64_t> ParseInteger(std::string_view text) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Format ParseOneLetter(char letter) {
  switch (letter) {
    case 'n':
      return {Layout::kNull, 0};
    case 'b':
      return {Layout::kBits, 0};
    case 'c':
    case 'C':
      return {Layout::kFixed, 1};
    case 's':
    case 'S':
    case 'e':
      return {Layout::kFixed, 2};
    case 'i':
    case 'I':
    case 'f':
      return {Layout::kFixed, 4};
    case 'l':
    case 'L':
    case 'g':
      return {Layout::kFixed, 8};
    case 'u':
    case 'z':
      return {Layout::kOffsets32, 0};
    case 'U':
    case 'Z':
      return {Layout::kOffsets64, 0};
    default:
      return {};
  }
}

// Dates, times, timestamps, durations.
Format ParseTemporal(std::string_view format) {
  if (format == "tdD") return {Layout::kFixed, 4};
  if (format == "tdm") return {Layout::kFixed, 8};
  if (format == "tts" || format == "ttm") return {Layout::kFixed, 4};
  if (format == "ttu" || format == "ttn") return {Layout::kFixed, 8};
  if (format.size() < 3) return {};
  constexpr std::string_view kUnits = "smun";
  if (kUnits.find(format[2]) == std::string_view::npos) return {};
  if (format[1] == 'D' && format.size() == 3) return {Layout::kFixed, 8};
  if (format[1] == 's' && format.size() >= 4 && format[3] == ':') return {Layout::kFixed, 8};
  return {};
}

Format ParseNested(std::string_view format) {
  if (format == "+s") return {Layout::kStruct, 0};
  if (format == "+l") return {Layout::kList32, 0};
  if (format == "+L") return {Layout::kList64, 0};
  if (format == "+m") return {Layout::kMap, 0};
  if (format.starts_with("+w:")) {
    std::optional<int64_t> width = ParseInteger(format.substr(3));
    if (width.has_value() && *width >= 0 && *width <= INT32_MAX) {
      return {Layout::kFixedList, *width};
    }
  }
  return {};
}

std::string UnitName(char unit) {
  switch (unit) {
    case 's':
      return "s";
    case 'm':
      return "ms";
    case 'u':
      return "us";
    default:
      return "ns";
  }
}

}  // namespace

bool ParseDecimalFormat(std::string_view format, DecimalFormat* decimal) {
  if (!format.starts_with("d:")) return false;
  format.remove_prefix(2);
  size_t comma = format.find(',');
  if (comma == std::string_view::npos) return false;
  std::optional<int64_t> precision = ParseInteger(format.substr(0, comma));
  format.remove_prefix(comma + 1);
  comma = format.find(',');
  std::optional<int64_t> scale = ParseInteger(format.substr(0, comma));
  std::optional<int64_t> bits = 128;
  if (comma != std::string_view::npos) bits = ParseInteger(format.substr(comma + 1));
  if (!precision.has_value() || !scale.has_value() || !bits.has_value()) return false;
  if (*precision < 0 || *precision > 76 || *scale < -128 || *scale > 128) return false;
  if (*bits != 32 && *bits != 64 && *bits != 128 && *bits != 256) return false;
  *decimal = {static_cast<int>(*precision), static_cast<int>(*scale), static_cast<int>(*bits)};
  return true;
}

Format ParseFormat(std::string_view format) {
  if (format.size() == 1) return ParseOneLetter(format[0]);
  if (format == "vu" || format == "vz") return {Layout::kViews, 0};
  if (format.starts_with("t")) return ParseTemporal(format);
  if (format.starts_with("+")) return ParseNested(format);
  if (format.starts_with("w:")) {
    std::optional<int64_t> width = ParseInteger(format.substr(2));
    if (width.has_value() && *width >= 0 && *width <= INT32_MAX) {
      return {Layout::kFixedBytes, *width};
    }
    return {};
  }
  DecimalFormat decimal;
  if (ParseDecimalFormat(format, &decimal)) return {Layout::kFixed, decimal.bits / 8};
  return {};
}

std::string DescribeFormat(std::string_view format) {
  constexpr std::string_view kLetters = "nbcCsSiIlLefguUzZ";
  constexpr const char* kNames[] = {"Null",    "Boolean", "Int8",   "UInt8",  "Int16",   "UInt16",
                                    "Int32",   "UInt32",  "Int64",  "UInt64", "Float16", "Float32",
                                    "Float64", "String",  "String", "Binary", "Binary"};
  if (format.size() == 1 && kLetters.find(format[0]) != std::string_view::npos) {
    return kNames[kLetters.find(format[0])];
  }
  if (format == "vu") return "String";
  if (format == "vz") return "Binary";
  if (format == "_pli128") return "Int128";
  if (format == "_plu128") return "UInt128";
  if (format == "+s") return "Struct";
  if (format == "+l" || format == "+L") return "List";
  if (format == "+m") return "Map";
  if (format == "tdD") return "Date";
  if (format.starts_with("tt") && format.size() == 3) return "Time";
  if (format.starts_with("tD") && format.size() == 3) {
    return "Duration(" + UnitName(format[2]) + ")";
  }
  if (format.starts_with("ts") && format.size() >= 4) {
    std::string zone(format.substr(4));
    return "Datetime(" + UnitName(format[2]) + (zone.empty() ? "" : ", " + zone) + ")";
  }
  if (format.starts_with("+w:")) return "Array(width " + std::string(format.substr(3)) + ")";
  if (format.starts_with("d:")) return "Decimal(" + std::string(format.substr(2)) + ")";
  if (format.starts_with("w:")) return "Object or fixed-size binary";
  if (format.starts_with("+r")) return "run-end encoded";
  if (format.starts_with("+u")) return "union";
  if (format.starts_with("+v")) return "list view";
  if (format.starts_with("ti")) return "calendar interval";
  return "unknown Arrow format '" + std::string(format) + "'";
}

}  // namespace barcache
