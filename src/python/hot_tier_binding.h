// LRUCache as Python sees it: a handle of a hot tier, alone or the one of a cache.
#pragma once

#include <memory>

#include "hot/hot_tier.h"

namespace barcache::python {

struct LruCache {
  std::shared_ptr<HotTier> tier;
};

}  // namespace barcache::python
