// The parts of the module barcache._core; module.cc calls each once.
#pragma once

#include <nanobind/nanobind.h>

namespace barcache::python {

void BindArrowExport(nanobind::module_& module);  // polars_bridge.cc
void BindHotTier(nanobind::module_& module);      // hot_tier_binding.cc
void BindCache(nanobind::module_& module);        // cache_binding.cc
void BindAnswers(nanobind::module_& module);      // answer_binding.cc
void BindLedger(nanobind::module_& module);       // ledger_binding.cc
void BindSqliteDbapi(nanobind::module_& module);  // sqlite_dbapi.cc

}  // namespace barcache::python
