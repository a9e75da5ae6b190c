// Grouping of gaps. See fetch_plan.h.
#include "bars/fetch_plan.h"

#include <algorithm>
#include <iterator>
#include <map>

namespace barcache {

namespace {

// As a double: sums of spans may exceed 63 bits, and a decision by cost needs no exactness.
double Span(const Interval& interval) {
  return static_cast<double>(interval.end_ns) - static_cast<double>(interval.begin_ns);
}

double Fetched(const FetchCall& call) {
  return Span(call.interval) * static_cast<double>(call.symbols.size());
}

FetchCall Together(const FetchCall& left, const FetchCall& right) {
  FetchCall both;
  both.interval = {std::min(left.interval.begin_ns, right.interval.begin_ns),
                   std::max(left.interval.end_ns, right.interval.end_ns)};
  std::ranges::set_union(left.symbols, right.symbols, std::back_inserter(both.symbols));
  return both;
}

}  // namespace

std::vector<FetchCall> PlanCalls(const std::vector<Gap>& gaps, int64_t call_cost_ns) {
  std::map<size_t, IntervalSet> by_symbol;
  for (const Gap& gap : gaps) by_symbol[gap.symbol].Add(gap.interval);
  std::map<Interval, std::vector<size_t>> by_interval;
  for (const auto& [symbol, missing] : by_symbol) {
    for (const Interval& interval : missing.parts()) by_interval[interval].push_back(symbol);
  }
  std::vector<FetchCall> calls;
  for (auto& [interval, symbols] : by_interval) {
    FetchCall call{interval, std::move(symbols)};
    if (call_cost_ns > 0 && !calls.empty()) {
      FetchCall both = Together(calls.back(), call);
      const double needless = Fetched(both) - Fetched(calls.back()) - Fetched(call);
      if (needless < static_cast<double>(call_cost_ns)) {
        calls.back() = std::move(both);
        continue;
      }
    }
    calls.push_back(std::move(call));
  }
  return calls;
}

}  // namespace barcache
