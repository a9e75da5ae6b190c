// RequestPlan: which of the bars asked for are there, and what has to be fetched, and why.
//
// Pure: the time is given. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bars/series.h"

namespace barcache {

// Which answers still count.
struct FreshnessRule {
  int64_t now_s = 0;
  // Given: answers younger than this count, whatever was said of them when they were stored.
  std::optional<int64_t> max_age_s;
  bool any_age = false;  // Every answer counts.
  // Given: so do those of questions asked from then on.
  std::optional<int64_t> since_s;
};

bool IsFresh(const Coverage& coverage, const FreshnessRule& rule);

// Bars of one interval that lie in one segment.
struct Piece {
  Interval interval;
  std::string segment_key;
  friend bool operator==(const Piece&, const Piece&) = default;
};

enum class LackReason {
  kNeverAsked,
  kStale,        // "No bars", said too long ago.
  kProvisional,  // Bars that may still have changed since.
  kTooOld,       // Older than max_age_s.
  kEvicted,
  kCorrupt,
};
std::string_view LackReasonName(LackReason reason);  // "never asked", "stale", ...

struct Lack {
  Interval interval;
  LackReason reason = LackReason::kNeverAsked;
  friend bool operator==(const Lack&, const Lack&) = default;
};

struct RequestPlan {
  std::vector<Piece> pieces;  // In order, disjoint. Together with `lacks` and what is known to
  std::vector<Lack> lacks;    // hold no bars they are the whole request.
  // Until when the pieces count; nullopt: as long as they are there.
  std::optional<int64_t> fresh_until_s;
};

// REQUIRES: coverage in order and disjoint.
RequestPlan PlanRequest(const std::vector<Coverage>& coverage, const Interval& request,
                        const FreshnessRule& rule);

// The final bars next to `moment_ns` on one side, with nothing in between but intervals known to
// hold none: a piece that ends at or before it (or begins at or after it). nullopt: there are
// none, or it is not known.
enum class Side { kBefore, kAfter };
std::optional<Piece> Neighbour(const std::vector<Coverage>& coverage, int64_t moment_ns, Side side,
                               const FreshnessRule& rule);

}  // namespace barcache
