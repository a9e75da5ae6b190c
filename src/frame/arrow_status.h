// Arrow's Status and Result as ours.
//
// Thread safety: pure functions.
#pragma once

#include <arrow/result.h>
#include <arrow/status.h>

#include <utility>

#include "barcache/status.h"

namespace barcache {

// `code` is what a failure of the call means here; want of memory is always kOutOfMemory.
inline Status FromArrow(const arrow::Status& status, ErrorCode code) {
  if (status.ok()) return Status();
  if (status.IsOutOfMemory()) code = ErrorCode::kOutOfMemory;
  return Status(code, status.message());
}

template <typename T>
Result<T> FromArrow(arrow::Result<T> result, ErrorCode code) {
  if (result.ok()) return std::move(result).ValueUnsafe();
  return FromArrow(result.status(), code);
}

}  // namespace barcache
