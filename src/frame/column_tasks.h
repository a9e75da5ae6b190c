// The columns of one frame, worked on side by side: by the thread that asks and whoever of the crew
// is idle. Needs no other thread: without one they are done in turn.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "barcache/status.h"

namespace barcache {

// Calls `work` with the index of each column, those of greatest cost first. Ends when all have
// ended; the status is the failure of the leftmost column that failed, or ok. After a failure
// columns that nobody has begun are left out. Want of memory in `work` is kOutOfMemory.
Status ForEachColumn(const std::vector<size_t>& costs, const std::function<Status(size_t)>& work);

}  // namespace barcache
