// Rows of barcache_series and barcache_coverage: what was asked of a source, and what it said.
//
// What they mean, and how they change, is the room `bars`; here they are only kept. Columns:
// docs/on-disk-format.md.
//
// Thread safety: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace barcache {

// What begins the key of a segment: "seg:<16 hex letters of its series>:...".
inline constexpr std::string_view kSegmentPrefix = "seg:";

// "seg:<16 hex>" of a segment's key: the key of its series. "" for any other key.
inline std::string_view SeriesKeyOfSegment(std::string_view cache_key) {
  if (!cache_key.starts_with(kSegmentPrefix)) return {};
  const size_t end = cache_key.find(':', kSegmentPrefix.size());
  return end == std::string_view::npos ? std::string_view() : cache_key.substr(0, end);
}

struct SeriesRow {
  std::string series_key;
  std::string source;
  std::string resolution;
  std::string adjustment;
  std::string symbol;
  std::string schema_text;  // "": no answer had columns yet.
};

struct CoverageRow {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int64_t state = 0;
  std::string segment_key;
  int64_t asked_at_s = 0;
  std::optional<int64_t> expires_at_s;
  friend bool operator==(const CoverageRow&, const CoverageRow&) = default;
};

struct StoredSeries {
  SeriesRow series;
  std::vector<CoverageRow> coverage;  // By begin.
};

}  // namespace barcache
