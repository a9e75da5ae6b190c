// CacheCore: the native base class of barcache.CacheManager, as the bindings see it.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <memory>

#include "barcache/cache.h"
#include "bars/ledger.h"
#include "bars/merger.h"
#include "python/gil.h"

namespace barcache::python {

struct CacheCore {
  std::unique_ptr<Cache> cache;
  std::unique_ptr<Ledger> ledger;  // Over the catalog of `cache`.
  std::unique_ptr<Merger> merger;  // Of what both hold.
  // The ContextVar that `with cache.backtest(...)` sets, asked only while such a block is open.
  nanobind::object backtest_variable;
  // The default of get_cached_data's argument `frame`, interned: compared by identity first.
  nanobind::object polars_name = nanobind::steal(PyUnicode_InternFromString("polars"));
  std::atomic<int> open_backtests{0};

  // Closing may wait for another thread, which may need the GIL to go on.
  ~CacheCore() {
    const GilRelease unlocked;
    merger.reset();
    ledger.reset();
    cache.reset();
  }
};

void BindLedgerOfCache(nanobind::class_<CacheCore>& core);   // ledger_binding.cc
void BindMergerOfCache(nanobind::class_<CacheCore>& core);   // merger_binding.cc
void BindAnswersOfCache(nanobind::class_<CacheCore>& core);  // answer_binding.cc

}  // namespace barcache::python
