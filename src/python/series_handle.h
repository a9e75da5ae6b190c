// A series of the ledger as Python holds it.
#pragma once

#include "bars/ledger.h"

namespace barcache::python {

struct SeriesHandle {
  SeriesPointer series;
};

}  // namespace barcache::python
