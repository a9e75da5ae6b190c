// Names and coverage of series. See series.h.
#include "bars/series.h"

#include <algorithm>
#include <limits>

#include "base/sha256.h"

namespace barcache {

namespace {

constexpr size_t kKeyHexLetters = 16;

bool Joins(const Coverage& left, const Coverage& right) {
  return left.interval.end_ns == right.interval.begin_ns && left.state == right.state &&
         left.segment_key == right.segment_key && left.asked_at_s == right.asked_at_s &&
         left.expires_at_s == right.expires_at_s;
}

void Append(std::vector<Coverage>* coverage, Coverage next) {
  if (next.interval.empty()) return;
  if (!coverage->empty() && Joins(coverage->back(), next)) {
    coverage->back().interval.end_ns = next.interval.end_ns;
  } else {
    coverage->push_back(std::move(next));
  }
}

}  // namespace

std::string SeriesKeyOf(const SeriesName& name) {
  // Each part with its length before it: no two names give the same text.
  std::string text;
  for (const std::string* part : {&name.source, &name.resolution, &name.adjustment, &name.symbol}) {
    text += std::to_string(part->size()) + ":" + *part;
  }
  return std::string(kSegmentPrefix) + Sha256Hex(std::string_view(text)).substr(0, kKeyHexLetters);
}

std::vector<Coverage> SoundCoverage(std::string_view series_key,
                                    const std::vector<CoverageRow>& rows) {
  std::vector<Coverage> coverage;
  int64_t reached_ns = std::numeric_limits<int64_t>::min();
  for (const CoverageRow& row : rows) {
    const bool known_state = row.state >= 0 && row.state <= 3;
    const bool segment_fits = row.state == 0 || SeriesKeyOfSegment(row.segment_key) == series_key;
    if (row.begin_ns < reached_ns || row.begin_ns >= row.end_ns || !known_state || !segment_fits) {
      continue;
    }
    reached_ns = row.end_ns;
    coverage.push_back({{row.begin_ns, row.end_ns},
                        static_cast<CoverageState>(row.state),
                        row.segment_key,
                        row.asked_at_s,
                        row.expires_at_s});
  }
  return coverage;
}

CoverageRow RowOf(const Coverage& coverage) {
  return CoverageRow{
      coverage.interval.begin_ns, coverage.interval.end_ns, static_cast<int64_t>(coverage.state),
      coverage.segment_key,       coverage.asked_at_s,      coverage.expires_at_s};
}

std::vector<Coverage> Overlaid(const std::vector<Coverage>& standing,
                               const std::vector<Coverage>& newer) {
  IntervalSet replaced;
  for (const Coverage& coverage : newer) replaced.Add(coverage.interval);
  std::vector<Coverage> all = newer;
  for (const Coverage& coverage : standing) {
    const IntervalSet kept = replaced.GapsWithin(coverage.interval);
    for (const Interval& part : kept.parts()) {
      all.push_back(coverage);
      all.back().interval = part;
    }
  }
  std::ranges::sort(all, {}, &Coverage::interval);
  std::vector<Coverage> joined;
  for (Coverage& coverage : all) Append(&joined, std::move(coverage));
  return joined;
}

}  // namespace barcache
