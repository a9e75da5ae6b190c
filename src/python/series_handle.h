// Series of the ledger as Python holds them.
#pragma once

#include <string>
#include <vector>

#include "bars/ledger.h"

namespace barcache::python {

struct SeriesHandle {
  SeriesPointer series;
};

// What a frame was made of, and whether it still is so.
struct SeriesWatch {
  std::vector<SeriesPointer> series;
  std::vector<std::string> segment_keys;
};

}  // namespace barcache::python
