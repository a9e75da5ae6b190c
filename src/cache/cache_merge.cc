// Cache::Impl: entries read and put together in the background.

#include <utility>

#include "barcache/cache_key.h"
#include "cache/cache_impl.h"

namespace barcache {

Result<std::optional<StoredEntry>> Cache::Impl::ReadStored(std::string_view key) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  EventBuffer events;
  auto answer = ReadCold(key, nullptr, &events);
  for (Event& event : events) EmitLater(std::move(event));
  if (!answer.ok()) return answer.status();
  if (!answer->hit) return std::optional<StoredEntry>();
  return std::optional<StoredEntry>(
      StoredEntry{std::move(answer->hit->frame), std::move(answer->hit->entry)});
}

Result<int64_t> Cache::Impl::PutInPlaceOf(const Merge& merge) {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  BARCACHE_RETURN_IF_ERROR(ValidateCacheKey(merge.item.key));
  MergeRequest request;
  request.written.cache_key = merge.item.key;
  request.written.frame = &merge.item.frame;
  request.written.dataset_id = merge.options.dataset_id;
  request.written.request_json = merge.options.request_json;
  request.written.fetch_cost_s = 0.0;  // Those of the inputs are added to it.
  request.inputs = merge.inputs;
  request.record = merge.record;
  EventBuffer events;
  auto outcome = cold_->Merge(request, {cold_capacity_bytes, policy, &pending_}, &events);
  // A line for each file that is gone would leave no room for others.
  for (Event& event : events) {
    if (event.level >= EventLevel::kWarning) EmitLater(std::move(event));
  }
  if (!outcome.ok()) return outcome.status();
  TakeOut(outcome->gone_keys);
  maintainer_.Nudge();  // The write-ahead log has grown.
  return outcome->merged ? outcome->size_bytes : -1;
}

}  // namespace barcache
