// Arithmetic of intervals. See interval_set.h.
#include "bars/interval_set.h"

#include <algorithm>

namespace barcache {

namespace {

// The first part that ends at or after `moment_ns`.
template <typename Parts>
auto FirstEndingFrom(Parts& parts, int64_t moment_ns) {
  return std::ranges::lower_bound(parts, moment_ns, {}, &Interval::end_ns);
}

}  // namespace

Interval Intersection(const Interval& left, const Interval& right) {
  return {std::max(left.begin_ns, right.begin_ns), std::min(left.end_ns, right.end_ns)};
}

void IntervalSet::Add(const Interval& interval) {
  if (interval.empty()) return;
  Interval merged = interval;
  const auto first = FirstEndingFrom(parts_, interval.begin_ns);
  auto last = first;
  while (last != parts_.end() && last->begin_ns <= interval.end_ns) {
    merged.begin_ns = std::min(merged.begin_ns, last->begin_ns);
    merged.end_ns = std::max(merged.end_ns, last->end_ns);
    ++last;
  }
  parts_.insert(parts_.erase(first, last), merged);
}

void IntervalSet::Remove(const Interval& interval) {
  if (interval.empty()) return;
  std::vector<Interval> kept;
  kept.reserve(parts_.size() + 1);
  for (const Interval& part : parts_) {
    const Interval before{part.begin_ns, std::min(part.end_ns, interval.begin_ns)};
    const Interval after{std::max(part.begin_ns, interval.end_ns), part.end_ns};
    if (!part.overlaps(interval)) {
      kept.push_back(part);
      continue;
    }
    if (!before.empty()) kept.push_back(before);
    if (!after.empty()) kept.push_back(after);
  }
  parts_ = std::move(kept);
}

bool IntervalSet::Contains(const Interval& interval) const {
  if (interval.empty()) return true;
  const auto part = FirstEndingFrom(parts_, interval.end_ns);
  return part != parts_.end() && part->begin_ns <= interval.begin_ns;
}

IntervalSet IntervalSet::Within(const Interval& bounds) const {
  IntervalSet within;
  for (auto part = FirstEndingFrom(parts_, bounds.begin_ns);
       part != parts_.end() && part->begin_ns < bounds.end_ns; ++part) {
    const Interval common = Intersection(*part, bounds);
    if (!common.empty()) within.parts_.push_back(common);
  }
  return within;
}

IntervalSet IntervalSet::GapsWithin(const Interval& bounds) const {
  IntervalSet gaps;
  if (bounds.empty()) return gaps;
  int64_t reached_ns = bounds.begin_ns;
  for (const Interval& part : Within(bounds).parts_) {
    if (reached_ns < part.begin_ns) gaps.parts_.push_back({reached_ns, part.begin_ns});
    reached_ns = part.end_ns;
  }
  if (reached_ns < bounds.end_ns) gaps.parts_.push_back({reached_ns, bounds.end_ns});
  return gaps;
}

}  // namespace barcache
