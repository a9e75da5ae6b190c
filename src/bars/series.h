// Series: what the ledger knows of the bars of one symbol from one source.
//
// A series is named by source, resolution, adjustment and symbol. Its coverage says, interval by
// interval, what was asked of the source and what it answered.
//
// Thread safety: values; functions are pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bars/interval_set.h"
#include "catalog/ledger_rows.h"

namespace barcache {

struct SeriesName {
  std::string source;
  std::string resolution;
  std::string adjustment;  // "": as the source gives them.
  std::string symbol;
  friend bool operator==(const SeriesName&, const SeriesName&) = default;
};

// "seg:" and 16 hex letters: what the keys of its segments begin with.
std::string SeriesKeyOf(const SeriesName& name);

// Numbers are stored: docs/on-disk-format.md.
enum class CoverageState {
  kNone = 0,     // The source has no bars there.
  kData = 1,     // Its bars of this interval are those of the segment.
  kEvicted = 2,  // So they were; the segment was evicted, cleared or replaced.
  kCorrupt = 3,  // Likewise; its file was missing or its bytes were wrong.
};

struct Coverage {
  Interval interval;
  CoverageState state = CoverageState::kNone;
  std::string segment_key;  // "" for kNone.
  int64_t asked_at_s = 0;
  std::optional<int64_t> expires_at_s;  // nullopt: final. Data that expires is provisional.
  friend bool operator==(const Coverage&, const Coverage&) = default;
};

// Rows as they lie in the catalog, to coverage: in order, disjoint, none empty. What makes no
// sense (somebody changed our tables) is left out, and so counts as never asked.
std::vector<Coverage> SoundCoverage(std::string_view series_key,
                                    const std::vector<CoverageRow>& rows);
CoverageRow RowOf(const Coverage& coverage);

// `standing` with `newer` in the place of what it overlaps. Neighbours that differ only in their
// interval are one. REQUIRES: both in order and disjoint.
std::vector<Coverage> Overlaid(const std::vector<Coverage>& standing,
                               const std::vector<Coverage>& newer);

}  // namespace barcache
