// From coverage to a plan. See request_plan.h.
#include "bars/request_plan.h"

#include <algorithm>

namespace barcache {

namespace {

LackReason ReasonOf(const Coverage& coverage, const FreshnessRule& rule) {
  if (coverage.state == CoverageState::kEvicted) return LackReason::kEvicted;
  if (coverage.state == CoverageState::kCorrupt) return LackReason::kCorrupt;
  if (rule.max_age_s.has_value()) return LackReason::kTooOld;
  return coverage.state == CoverageState::kNone ? LackReason::kStale : LackReason::kProvisional;
}

bool IsHeld(const Coverage& coverage) {
  return coverage.state == CoverageState::kNone || coverage.state == CoverageState::kData;
}

std::optional<int64_t> FreshUntil(const Coverage& coverage, const FreshnessRule& rule) {
  if (rule.any_age) return std::nullopt;
  if (rule.max_age_s.has_value()) return coverage.asked_at_s + *rule.max_age_s;
  return coverage.expires_at_s;
}

void AddPiece(RequestPlan* plan, const Interval& interval, const std::string& segment_key) {
  const bool joins = !plan->pieces.empty() && plan->pieces.back().segment_key == segment_key &&
                     plan->pieces.back().interval.end_ns == interval.begin_ns;
  if (joins) {
    plan->pieces.back().interval.end_ns = interval.end_ns;
  } else {
    plan->pieces.push_back({interval, segment_key});
  }
}

void AddLack(RequestPlan* plan, const Interval& interval, LackReason reason) {
  if (!interval.empty()) plan->lacks.push_back({interval, reason});
}

// The first that ends after `moment_ns`.
auto FirstEndingAfter(const std::vector<Coverage>& coverage, int64_t moment_ns) {
  return std::ranges::upper_bound(coverage, moment_ns, {},
                                  [](const Coverage& c) { return c.interval.end_ns; });
}

// Walks away from `moment_ns` through what is known to hold no bars.
template <typename Iterator>
std::optional<Piece> FirstFinalPiece(Iterator next, Iterator end, int64_t moment_ns, Side side,
                                     const FreshnessRule& rule) {
  for (; next != end; ++next) {
    const int64_t near_ns = side == Side::kBefore ? next->interval.end_ns : next->interval.begin_ns;
    if (near_ns != moment_ns || !IsHeld(*next) || !IsFresh(*next, rule)) return std::nullopt;
    if (next->state == CoverageState::kData) {
      if (next->expires_at_s.has_value()) return std::nullopt;
      return Piece{next->interval, next->segment_key};
    }
    moment_ns = side == Side::kBefore ? next->interval.begin_ns : next->interval.end_ns;
  }
  return std::nullopt;
}

}  // namespace

bool IsFresh(const Coverage& coverage, const FreshnessRule& rule) {
  if (rule.any_age) return true;
  if (rule.since_s.has_value() && coverage.asked_at_s >= *rule.since_s) return true;
  if (rule.max_age_s.has_value()) return rule.now_s - coverage.asked_at_s < *rule.max_age_s;
  return !coverage.expires_at_s.has_value() || rule.now_s < *coverage.expires_at_s;
}

std::string_view LackReasonName(LackReason reason) {
  switch (reason) {
    case LackReason::kNeverAsked:
      return "never asked";
    case LackReason::kStale:
      return "stale";
    case LackReason::kProvisional:
      return "provisional";
    case LackReason::kTooOld:
      return "older than max_age";
    case LackReason::kEvicted:
      return "evicted";
    case LackReason::kCorrupt:
      return "corrupt";
  }
  return "unknown";
}

RequestPlan PlanRequest(const std::vector<Coverage>& coverage, const Interval& request,
                        const FreshnessRule& rule) {
  RequestPlan plan;
  if (request.empty()) return plan;
  int64_t reached_ns = request.begin_ns;
  for (auto next = FirstEndingAfter(coverage, request.begin_ns);
       next != coverage.end() && next->interval.begin_ns < request.end_ns; ++next) {
    const Interval part = Intersection(next->interval, request);
    AddLack(&plan, {reached_ns, part.begin_ns}, LackReason::kNeverAsked);
    reached_ns = part.end_ns;
    if (!IsHeld(*next) || !IsFresh(*next, rule)) {
      AddLack(&plan, part, ReasonOf(*next, rule));
      continue;
    }
    if (next->state == CoverageState::kData) AddPiece(&plan, part, next->segment_key);
    const std::optional<int64_t> until = FreshUntil(*next, rule);
    if (until.has_value()) {
      plan.fresh_until_s = std::min(plan.fresh_until_s.value_or(*until), *until);
    }
  }
  AddLack(&plan, {reached_ns, request.end_ns}, LackReason::kNeverAsked);
  return plan;
}

std::optional<Piece> Neighbour(const std::vector<Coverage>& coverage, int64_t moment_ns, Side side,
                               const FreshnessRule& rule) {
  // Where one row ends the next may begin: the row on the wanted side of the moment.
  if (side == Side::kAfter) {
    const auto first = std::ranges::lower_bound(
        coverage, moment_ns, {}, [](const Coverage& c) { return c.interval.begin_ns; });
    return FirstFinalPiece(first, coverage.end(), moment_ns, side, rule);
  }
  const auto first = FirstEndingAfter(coverage, moment_ns);
  return FirstFinalPiece(std::make_reverse_iterator(first), coverage.rend(), moment_ns, side, rule);
}

}  // namespace barcache
