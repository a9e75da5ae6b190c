// Status -> Python exception: the one place where it happens (python/barcache/errors.py).
#pragma once

#include <utility>

#include "barcache/status.h"

namespace barcache::python {

// Throws the exception that stands for `status`. REQUIRES: the GIL, and !status.ok().
[[noreturn]] void Raise(const Status& status);

inline void Check(const Status& status) {
  if (!status.ok()) Raise(status);
}

template <typename T>
T Unwrap(Result<T> result) {
  if (!result.ok()) Raise(result.status());
  return std::move(result).value();
}

}  // namespace barcache::python
