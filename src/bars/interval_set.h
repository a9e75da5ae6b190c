// IntervalSet: moments of time as disjoint half-open intervals of nanoseconds.
//
// The parts are kept in order, and adjacent ones are one: two sets are equal exactly when they
// hold the same moments. A method costs at most one pass over the parts.
//
// Thread safety: values; a set that nobody changes may be read from any thread.
#pragma once

#include <cstdint>
#include <vector>

namespace barcache {

// begin_ns <= t < end_ns, in nanoseconds since 1970-01-01 UTC. Empty unless begin_ns < end_ns.
struct Interval {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  bool empty() const { return begin_ns >= end_ns; }
  bool overlaps(const Interval& other) const {
    return begin_ns < other.end_ns && other.begin_ns < end_ns;
  }
  friend bool operator==(const Interval&, const Interval&) = default;
  friend auto operator<=>(const Interval&, const Interval&) = default;
};

// What both hold; empty when there is nothing.
Interval Intersection(const Interval& left, const Interval& right);

class IntervalSet {
 public:
  IntervalSet() = default;

  void Add(const Interval& interval);
  void Remove(const Interval& interval);

  bool Contains(const Interval& interval) const;  // An empty one always is.
  IntervalSet Within(const Interval& bounds) const;
  // What of `bounds` is not in the set.
  IntervalSet GapsWithin(const Interval& bounds) const;

  bool empty() const { return parts_.empty(); }
  const std::vector<Interval>& parts() const { return parts_; }
  friend bool operator==(const IntervalSet&, const IntervalSet&) = default;

 private:
  std::vector<Interval> parts_;
};

}  // namespace barcache
