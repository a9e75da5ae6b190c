// Names of error codes and the one-line form of a Status.
#include "barcache/status.h"

namespace barcache {

std::string_view ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOk:
      return "ok";
    case ErrorCode::kInvalidArgument:
      return "invalid argument";
    case ErrorCode::kColumnNotFound:
      return "column not found";
    case ErrorCode::kUnsupportedFrame:
      return "unsupported frame";
    case ErrorCode::kUnsupportedCatalog:
      return "unsupported catalog";
    case ErrorCode::kNotACatalog:
      return "not a catalog";
    case ErrorCode::kIo:
      return "input/output error";
    case ErrorCode::kNoSpace:
      return "no space";
    case ErrorCode::kReadOnly:
      return "read-only";
    case ErrorCode::kBusy:
      return "busy";
    case ErrorCode::kCorruption:
      return "corruption";
    case ErrorCode::kCatalogCorrupt:
      return "catalog corrupt";
    case ErrorCode::kOverBudget:
      return "over budget";
    case ErrorCode::kOutOfMemory:
      return "out of memory";
    case ErrorCode::kClosed:
      return "closed";
    case ErrorCode::kForked:
      return "forked";
    case ErrorCode::kInternal:
      return "internal error";
  }
  return "unknown error";
}

std::string Status::ToString() const {
  std::string text(ErrorCodeName(code_));
  if (!ok()) text.append(": ").append(message_);
  return text;
}

}  // namespace barcache
