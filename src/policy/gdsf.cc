// The arithmetic of GDSF. See gdsf.h.
#include "policy/gdsf.h"

#include <algorithm>
#include <cmath>

namespace barcache {

namespace {

// A month: what takes longer to fetch is not worth more, and the sum stays exact enough.
constexpr double kMaxCost = 2.6e6;

}  // namespace

double GdsfPriority(double inflation, const GdsfEntry& entry) {
  const bool known = std::isfinite(entry.fetch_cost) && entry.fetch_cost > 0.0;
  const double cost = known ? std::min(entry.fetch_cost, kMaxCost) : 1.0;
  const auto uses = static_cast<double>(std::max<int64_t>(entry.uses, 1));
  const auto size = static_cast<double>(std::max<int64_t>(entry.size_bytes, 1));
  return GdsfInflationAfter(0.0, inflation) + uses * cost / size;
}

double GdsfInflationAfter(double inflation, double victim_priority) {
  return std::isfinite(victim_priority) ? std::max(inflation, victim_priority) : inflation;
}

}  // namespace barcache
