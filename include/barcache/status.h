// Status and Result<T>: how every room reports a failure.
//
// A miss is never a Status: it is a value (std::nullopt). Corrupt bytes met by a get are a
// counted miss. A Status carries only what a caller can act on, in words that say what
// happened, to what, and what to do.
//
// Thread safety: values; safe to copy and to read from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace barcache {

enum class ErrorCode {
  kOk = 0,
  kInvalidArgument,     // The caller's argument is at fault (Python: ValueError).
  kColumnNotFound,      // The entry has no column of that name (ValueError).
  kUnsupportedFrame,    // The frame holds a type that cannot come back exactly (ValueError).
  kUnsupportedCatalog,  // The catalog was written by a newer release.
  kNotACatalog,         // db_path is not a SQLite database, or not one of ours.
  kIo,                  // The operating system refused (OSError).
  kNoSpace,             // Disk, quota or limit full (OSError).
  kReadOnly,            // The cache was opened, or can only be used, read-only.
  kBusy,                // Another process held the catalog beyond the time-out.
  kCorruption,          // Bytes are wrong where the caller asked for exactly these bytes.
  kCatalogCorrupt,      // The catalog is damaged, or was replaced or removed while it was open.
  kOverBudget,          // Decoding would exceed the memory budget.
  kOutOfMemory,         // MemoryError.
  kClosed,              // The cache was closed.
  kForked,              // Not possible in a forked child.
  kInternal,            // A defect of barcache.
};

// "invalid argument", "corruption", ...: for logs and tests.
std::string_view ErrorCodeName(ErrorCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(ErrorCode code, std::string message, int system_errno = 0)
      : code_(code), system_errno_(system_errno), message_(std::move(message)) {}

  bool ok() const { return code_ == ErrorCode::kOk; }
  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  // errno of the failed call, or 0 where none applies.
  int system_errno() const { return system_errno_; }
  // "<code name>: <message>", or "ok".
  std::string ToString() const;

 private:
  ErrorCode code_ = ErrorCode::kOk;
  int system_errno_ = 0;
  std::string message_;
};

// A value or the Status that explains its absence. C++20 lacks std::expected; the names follow
// Arrow's Result.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  Result(Status status) : state_(std::move(status)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return std::holds_alternative<T>(state_); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }
  // REQUIRES: ok().
  const T& value() const& { return std::get<T>(state_); }
  T& value() & { return std::get<T>(state_); }
  T&& value() && { return std::get<T>(std::move(state_)); }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

 private:
  std::variant<Status, T> state_;
};

}  // namespace barcache

// Returns the Status of `expression` from the enclosing function unless it is ok.
#define BARCACHE_RETURN_IF_ERROR(expression)             \
  do {                                                   \
    ::barcache::Status barcache_status_ = (expression);  \
    if (!barcache_status_.ok()) return barcache_status_; \
  } while (false)

#define BARCACHE_CONCAT_INNER_(a, b) a##b
#define BARCACHE_CONCAT_(a, b) BARCACHE_CONCAT_INNER_(a, b)
// BARCACHE_ASSIGN_OR_RETURN(auto x, F()): x = *F(), or returns F's Status.
#define BARCACHE_ASSIGN_OR_RETURN(lhs, expression) \
  BARCACHE_ASSIGN_OR_RETURN_IMPL_(BARCACHE_CONCAT_(barcache_result_, __LINE__), lhs, expression)
#define BARCACHE_ASSIGN_OR_RETURN_IMPL_(result, lhs, expression) \
  auto result = (expression);                                    \
  if (!result.ok()) return result.status();                      \
  lhs = std::move(result).value()
