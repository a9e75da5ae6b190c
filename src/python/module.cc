// The module barcache._core.

#include <nanobind/nanobind.h>

#include "base/fork.h"
#include "python/bindings.h"
#include "python/event_log.h"
#include "python/flight_binding.h"
#include "python/polars_bridge.h"

NB_MODULE(_core, module) {
  module.doc() = "The native core of barcache. Use the names of the package `barcache`.";
  // An engine or a cache in a module's globals lives until the interpreter is gone.
  nanobind::set_leak_warnings(false);
  barcache::python::PrepareEventLog();
  barcache::python::PreparePolars();
  barcache::python::BindArrowExport(module);
  barcache::python::BindHotTier(module);
  barcache::python::BindFlight(module);
  barcache::python::BindCache(module);
  barcache::python::BindLedger(module);
  barcache::python::BindAnswers(module);
  barcache::python::BindSqliteDbapi(module);
  module.def("in_forked_child", &barcache::InForkedChild,
             "Whether this process was forked from one that had a cache open.");
}
