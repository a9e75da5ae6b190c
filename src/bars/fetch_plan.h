// FetchPlan: from the gaps of many symbols to the calls that fill them.
//
// Pure: no clock, no I/O. Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bars/interval_set.h"

namespace barcache {

// What of one symbol is missing.
struct Gap {
  size_t symbol = 0;  // Its place in the caller's list.
  Interval interval;
};

// One call of a source: the same interval for all its symbols.
struct FetchCall {
  Interval interval;
  std::vector<size_t> symbols;  // Ascending, each once.
};

// The fewest calls that fetch every gap and nothing else: one for each distinct interval, in the
// order of their begins. Adjacent gaps of a symbol count as one.
//
// `call_cost_ns`: what one call costs, in nanoseconds of one symbol's history. Where it is not 0,
// calls that follow each other are made one as long as what is then fetched needlessly costs
// less than the calls saved. Every gap still lies within a call that names its symbol.
std::vector<FetchCall> PlanCalls(const std::vector<Gap>& gaps, int64_t call_cost_ns);

}  // namespace barcache
