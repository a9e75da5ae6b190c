// Greedy-Dual-Size-Frequency: an entry is worth uses x refetch cost / size, and what leaves raises
// the worth of everything that comes or is used later, so that old favourites age.
//
// Pure: no clock, no I/O, no SQL. (L. Cherkasova, "Improving WWW Proxies Performance with
// Greedy-Dual-Size-Frequency Caching Policy", HP Laboratories, 1998.)
#pragma once

#include <cstdint>

namespace barcache {

struct GdsfEntry {
  int64_t uses = 1;         // Its put counts as one.
  double fetch_cost = 1.0;  // Seconds, or 1 where nobody measured them.
  int64_t size_bytes = 1;
};

// The lowest priority leaves first. `inflation`: the highest that has left so far. Always finite:
// figures that make no sense count as 1.
double GdsfPriority(double inflation, const GdsfEntry& entry);

// The inflation after an entry of that priority has left; never falls.
double GdsfInflationAfter(double inflation, double victim_priority);

}  // namespace barcache
