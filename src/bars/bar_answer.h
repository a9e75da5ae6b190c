// BarAnswer: a request for bars whose every interval is in the cache, answered in one call.
//
// All series are planned, their segments taken from the hot tier (the rest read side by side from
// the cold one), found by binary search in their time columns, and joined once into one frame.
// Nothing here fetches, and nothing is answered in part.
//
// Thread safety: pure functions over a cache that is itself safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "barcache/cache.h"
#include "barcache/frame.h"
#include "barcache/status.h"
#include "bars/interval_set.h"
#include "bars/ledger.h"
#include "bars/request_plan.h"
#include "frame/frame_slices.h"

namespace barcache {

// What is asked of the series whose answers look alike.
struct BarShape {
  std::string time_column;
  Interval interval;  // Days begin in the zone of the bars.
};

struct BarQuestion {
  std::vector<SeriesPointer> series;
  std::vector<size_t> shape_of;  // Of each series, its place in `shapes`.
  std::vector<BarShape> shapes;
  FreshnessRule rule;
  // Where it is given, bars are told apart by a column of that name, made of the symbols where they
  // have none.
  std::string symbol_column;
  GetOptions get;
  bool at_once = false;  // Answer nothing that takes I/O, or copies bars.
};

struct BarAnswer {
  // Bars by series and time; no slice is empty.
  std::vector<FrameSlice> slices;
  std::vector<size_t> series_of;  // Of each slice.
  // Where there is but one slice and no column to add: its segment, if that is kept hot.
  std::shared_ptr<const HotEntry> entry;
  // Else all of them as one, where their columns are the same; else invalid.
  Frame joined;
  std::vector<std::string> segment_keys;  // Each once.
  std::optional<int64_t> fresh_until_s;
};

// nullopt: something is missing, or a segment went meanwhile, or has no such time column.
Result<std::optional<BarAnswer>> AnswerFromCache(Cache* cache, const BarQuestion& question);

}  // namespace barcache
