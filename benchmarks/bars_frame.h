// A frame of bars for the benchmarks: timestamp, symbol, open, high, low, close, volume, vwap.
#pragma once

#include "barcache/frame.h"

namespace barcache {

// Prices are a random walk rounded to cents, as in benchmarks/frames.py.
Frame MakeBarsFrame(int64_t num_rows);

}  // namespace barcache
