// Frame <-> Polars and Arrow objects, through the Arrow PyCapsule interface
// (https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html).
//
// The hot tier keeps, as companion of a frame, the native half of a Polars DataFrame
// (PyDataFrame); each hit wraps a shallow clone of it, so that what a caller does to a returned
// frame never reaches the cache.
//
// Every function REQUIRES the GIL.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>

#include "barcache/frame.h"

namespace barcache::python {

// Looks up the names of Polars that the functions below need. Called once, by module.cc.
void PreparePolars();

// The frame of a pl.DataFrame; everything is copied, since its memory may be numpy's.
Frame FrameOfPolars(nanobind::handle data_frame);

// The frame of any object with __arrow_c_stream__ or __arrow_c_array__; everything is copied.
Frame FrameOfArrow(nanobind::handle object);

// The native half of a Polars DataFrame over the buffers of `frame`. Times at an offset that Polars
// does not have, such as +05:30, are in a zone of that offset, or in UTC.
nanobind::object NativeDataFrame(const Frame& frame);

// A new pl.DataFrame around a shallow clone of `native`.
nanobind::object WrapClone(PyObject* native);

// A new pl.DataFrame of some of its rows, over the same memory.
nanobind::object WrapSlice(PyObject* native, int64_t offset, int64_t length);

// A companion that owns a reference to `object` and drops it under the GIL, from any thread.
std::shared_ptr<void> MakeCompanion(nanobind::handle object);
inline PyObject* CompanionObject(const std::shared_ptr<void>& companion) {
  return static_cast<PyObject*>(companion.get());
}

// An object with __arrow_c_array__ and __arrow_c_stream__ over `frame`.
nanobind::object ArrowExportOf(const Frame& frame);
void BindArrowExport(nanobind::module_& module);

}  // namespace barcache::python
