// Cache::Impl: put, of one frame and of many.

#include <utility>

#include "barcache/cache_key.h"
#include "cache/cache_impl.h"

namespace barcache {

Status Cache::Impl::Put(std::string_view key, const Frame& frame, const PutOptions& put) {
  return PutMany({PutItem{std::string(key), frame}}, put);
}

Status Cache::Impl::PutMany(const std::vector<PutItem>& items, const PutOptions& put) {
  BARCACHE_RETURN_IF_ERROR(RequireWritable());
  for (const PutItem& item : items) {
    BARCACHE_RETURN_IF_ERROR(ValidateCacheKey(item.key));
    if (!item.frame.valid()) {
      return Status(ErrorCode::kInvalidArgument, "put was given no frame for key " + item.key);
    }
  }
  EventBuffer events;
  const Status status =
      cold_capacity_bytes == 0 ? PutHotOnly(items, &events) : PutCold(items, put, &events);
  if (catalog->IsLogLong()) {
    maintainer_.NudgeNow();
  } else {
    maintainer_.Nudge();
  }
  Emit(std::move(events));
  return status;
}

Status Cache::Impl::PutCold(const std::vector<PutItem>& items, const PutOptions& put,
                            EventBuffer* events) {
  const uint64_t foreign_writes = catalog->ForeignWrites();
  std::vector<std::string> request_jsons;
  request_jsons.reserve(items.size());
  std::vector<WriteRequest> requests;
  for (const PutItem& item : items) {
    request_jsons.push_back(put.request_json.empty() ? memo.Recall(item.key) : put.request_json);
    WriteRequest request;
    request.cache_key = item.key;
    request.frame = &item.frame;
    request.dataset_id = put.dataset_id;
    request.backtest_id = put.backtest_id;
    request.request_json = request_jsons.back();
    request.fetch_cost_s = put.fetch_cost_s;
    requests.push_back(request);
  }
  BARCACHE_ASSIGN_OR_RETURN(
      const WriteOutcomes result,
      cold_->Write(requests, WriteLimits{cold_capacity_bytes, policy, &pending_}, events));
  for (size_t i = 0; i < items.size(); ++i) {
    KeepHot(items[i], result.outcomes[i], foreign_writes, put, events);
  }
  Forget(result.evicted_keys);
  return Status();
}

void Cache::Impl::KeepHot(const PutItem& item, const WriteOutcome& outcome, uint64_t foreign_writes,
                          const PutOptions& put, EventBuffer* events) {
  const std::shared_ptr<HotTier> tier = hot_tier();
  if (!outcome.admitted || outcome.superseded) {
    tier->Erase(item.key);
    return;
  }
  newest_.Accept(item.key, outcome.generation, outcome.epoch);
  HotEntry entry;
  entry.frame = item.frame;
  entry.uses = std::make_shared<UseCounter>();
  entry.charge_bytes = item.frame.size_bytes() + kEntryOverheadBytes;
  entry.tag = HotTag{outcome.epoch.bucket, outcome.epoch.engine, foreign_writes, outcome.generation,
                     outcome.checksum};
  tier->Insert(item.key, std::move(entry), events);

  Event event = KeyEvent(EventLevel::kInfo, "cache_write", item.key);
  event.fields.emplace_back("dataset_id", put.dataset_id);
  event.fields.emplace_back("size_mb", Megabytes(outcome.size_bytes));
  event.fields.emplace_back("backtest_id",
                            put.backtest_id.empty() ? EventValue() : EventValue(put.backtest_id));
  events->push_back(std::move(event));
}

Status Cache::Impl::PutHotOnly(const std::vector<PutItem>& items, EventBuffer* events) {
  for (const PutItem& item : items) {
    BARCACHE_ASSIGN_OR_RETURN(bool erased, cold_->Erase(item.key, events));
    (void)erased;
    const Epoch epoch = catalog->EpochOf(item.key);
    HotEntry entry;
    entry.frame = item.frame;
    entry.charge_bytes = item.frame.size_bytes() + kEntryOverheadBytes;
    entry.tag = HotTag{epoch.bucket, epoch.engine, catalog->ForeignWrites(), 0, ""};
    hot_tier()->Insert(item.key, std::move(entry), events);
  }
  return Status();
}

}  // namespace barcache
