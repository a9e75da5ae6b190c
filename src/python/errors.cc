#include "python/errors.h"

#include <nanobind/nanobind.h>

#include <string>

namespace nb = nanobind;

namespace barcache::python {
namespace {

const char* ExceptionName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "InvalidArgument";
    case ErrorCode::kColumnNotFound:
      return "ColumnNotFound";
    case ErrorCode::kUnsupportedFrame:
      return "UnsupportedFrame";
    case ErrorCode::kUnsupportedCatalog:
      return "UnsupportedCatalog";
    case ErrorCode::kNotACatalog:
      return "NotACatalog";
    case ErrorCode::kIo:
      return "CacheIOError";
    case ErrorCode::kNoSpace:
      return "CacheFull";
    case ErrorCode::kReadOnly:
      return "ReadOnly";
    case ErrorCode::kBusy:
      return "CatalogBusy";
    case ErrorCode::kCorruption:
      return "EntryCorrupt";
    case ErrorCode::kCatalogCorrupt:
      return "CatalogCorrupt";
    case ErrorCode::kOverBudget:
      return "OverBudget";
    case ErrorCode::kClosed:
      return "CacheClosed";
    case ErrorCode::kForked:
      return "ForkedPolars";
    default:
      return "BarcacheError";
  }
}

}  // namespace

void Raise(const Status& status) {
  if (status.code() == ErrorCode::kOutOfMemory) {
    PyErr_SetString(PyExc_MemoryError, status.message().c_str());
    throw nb::python_error();
  }
  const nb::object type =
      nb::module_::import_("barcache.errors").attr(ExceptionName(status.code()));
  const bool has_errno = status.system_errno() != 0 &&
                         (status.code() == ErrorCode::kIo || status.code() == ErrorCode::kNoSpace);
  const nb::object error = has_errno ? type(status.system_errno(), status.message().c_str())
                                     : type(status.message().c_str());
  PyErr_SetObject(type.ptr(), error.ptr());
  throw nb::python_error();
}

}  // namespace barcache::python
