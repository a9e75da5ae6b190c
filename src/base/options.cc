// Names of the eviction policies and the checks of CacheOptions.
#include "barcache/options.h"

#include <string>

namespace barcache {
namespace {

Status CheckPath(const char* option, const std::string& path) {
  if (path.empty()) {
    return {ErrorCode::kInvalidArgument, std::string(option) + " is empty: give it a path"};
  }
  if (path.find('\0') != std::string::npos) {
    return {ErrorCode::kInvalidArgument,
            std::string(option) + " holds a NUL character: give it a path without one"};
  }
  return {};
}

Status CheckNotNegative(const char* option, int64_t value) {
  if (value >= 0) return {};
  return {ErrorCode::kInvalidArgument,
          std::string(option) + " is " + std::to_string(value) + ": it must be 0 or more"};
}

}  // namespace

std::string_view EvictionPolicyName(EvictionPolicy policy) {
  switch (policy) {
    case EvictionPolicy::kLru:
      return "lru";
    case EvictionPolicy::kSize:
      return "size";
    case EvictionPolicy::kHybrid:
      return "hybrid";
    case EvictionPolicy::kGdsf:
      return "gdsf";
    case EvictionPolicy::kS3Fifo:
      return "s3fifo";
  }
  return "unknown";
}

Result<EvictionPolicy> ParseEvictionPolicy(std::string_view name) {
  for (EvictionPolicy policy :
       {EvictionPolicy::kLru, EvictionPolicy::kSize, EvictionPolicy::kHybrid, EvictionPolicy::kGdsf,
        EvictionPolicy::kS3Fifo}) {
    if (name == EvictionPolicyName(policy)) return policy;
  }
  return Status(ErrorCode::kInvalidArgument,
                "unknown eviction policy '" + std::string(name) +
                    "': choose one of 'lru', 'size', 'hybrid', 'gdsf', 's3fifo'");
}

Status CacheOptions::Validate() const {
  BARCACHE_RETURN_IF_ERROR(CheckPath("db_path", db_path));
  BARCACHE_RETURN_IF_ERROR(CheckPath("cache_directory", cache_directory));
  BARCACHE_RETURN_IF_ERROR(CheckNotNegative("hot_capacity_bytes", hot_capacity_bytes));
  BARCACHE_RETURN_IF_ERROR(CheckNotNegative("cold_capacity_bytes", cold_capacity_bytes));
  BARCACHE_RETURN_IF_ERROR(CheckNotNegative("busy_timeout_ms", busy_timeout_ms));
  BARCACHE_RETURN_IF_ERROR(CheckNotNegative("sweep_after_ms", sweep_after_ms));
  if (lease_ms < 100) {
    return Status(ErrorCode::kInvalidArgument, "lease_ms must be 100 or more");
  }
  return CheckNotNegative("decode_budget_bytes", decode_budget_bytes);
}

}  // namespace barcache
