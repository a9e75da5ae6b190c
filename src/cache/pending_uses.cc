#include "cache/pending_uses.h"

#include <algorithm>

namespace barcache {

void PendingUses::Add(UseMap* uses, std::string_view cache_key, const Use& use) {
  auto it = uses->find(cache_key);
  if (it == uses->end()) it = uses->emplace(std::string(cache_key), Use{}).first;
  it->second.count += use.count;
  it->second.accessed_s = std::max(it->second.accessed_s, use.accessed_s);
  it->second.order = std::max(it->second.order, use.order);
}

void PendingUses::RecordTouch(std::string_view cache_key, int64_t now_s) {
  const MutexLock lock(mutex_);
  Add(&pending_, cache_key, Use{1, now_s, next_order_.fetch_add(1) + 1});
}

void PendingUses::RecordHotTouch(std::string_view cache_key,
                                 const std::shared_ptr<UseCounter>& uses, int64_t now_s) {
  uses->order.store(next_order_.fetch_add(1, std::memory_order_relaxed) + 1,
                    std::memory_order_relaxed);
  uses->accessed_s.store(now_s, std::memory_order_relaxed);
  if (uses->count.fetch_add(1, std::memory_order_release) > 0) return;
  const MutexLock lock(mutex_);
  hot_.emplace_back(cache_key, uses);
}

void PendingUses::CollectHotTouches() {
  for (const auto& [key, uses] : hot_) {
    const int64_t count = uses->count.exchange(0, std::memory_order_acquire);
    if (count == 0) continue;
    Add(&pending_, key,
        Use{count, uses->accessed_s.load(std::memory_order_relaxed),
            uses->order.load(std::memory_order_relaxed)});
  }
  hot_.clear();
}

void PendingUses::RecordLink(std::string_view backtest_id, std::string_view cache_key) {
  const MutexLock lock(mutex_);
  links_.emplace(backtest_id, cache_key);
}

std::vector<Touch> PendingUses::Take() {
  const MutexLock lock(mutex_);
  CollectHotTouches();
  for (const auto& [key, use] : pending_) Add(&in_flight_, key, use);
  pending_.clear();
  version_ |= 1;
  std::vector<std::pair<uint64_t, Touch>> ordered;
  ordered.reserve(in_flight_.size());
  for (const auto& [key, use] : in_flight_) {
    ordered.emplace_back(use.order, Touch{key, use.count, use.accessed_s});
  }
  std::sort(ordered.begin(), ordered.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Touch> touches;
  touches.reserve(ordered.size());
  for (auto& item : ordered) touches.push_back(std::move(item.second));
  return touches;
}

void PendingUses::Settle(bool written) {
  const MutexLock lock(mutex_);
  if (!written) {
    for (const auto& [key, use] : in_flight_) Add(&pending_, key, use);
  }
  in_flight_.clear();
  version_ += version_ & 1;
}

std::vector<PendingUses::Link> PendingUses::TakeLinks() {
  const MutexLock lock(mutex_);
  std::vector<Link> links(links_.begin(), links_.end());
  links_.clear();
  return links;
}

void PendingUses::ReturnLinks(std::vector<Link> links) {
  const MutexLock lock(mutex_);
  for (Link& link : links) links_.insert(std::move(link));
}

bool PendingUses::empty() const {
  const MutexLock lock(mutex_);
  return pending_.empty() && hot_.empty() && in_flight_.empty() && links_.empty();
}

bool PendingUses::has_links() const {
  const MutexLock lock(mutex_);
  return !links_.empty();
}

UseOverlay PendingUses::Overlay(std::string_view cache_key) {
  const MutexLock lock(mutex_);
  CollectHotTouches();
  UseOverlay overlay;
  for (const UseMap* uses : {&pending_, &in_flight_}) {
    const auto it = uses->find(cache_key);
    if (it == uses->end()) continue;
    overlay.count += it->second.count;
    overlay.accessed_s = std::max(overlay.accessed_s, it->second.accessed_s);
  }
  return overlay;
}

int64_t PendingUses::TotalCount() {
  const MutexLock lock(mutex_);
  CollectHotTouches();
  int64_t count = 0;
  for (const UseMap* uses : {&pending_, &in_flight_}) {
    for (const auto& item : *uses) count += item.second.count;
  }
  return count;
}

uint64_t PendingUses::version() const {
  const MutexLock lock(mutex_);
  return version_;
}

void PendingUses::Forget(std::string_view cache_key) {
  const MutexLock lock(mutex_);
  CollectHotTouches();
  const auto it = pending_.find(cache_key);
  if (it != pending_.end()) pending_.erase(it);
  std::erase_if(links_, [&](const Link& link) { return link.second == cache_key; });
}

void PendingUses::Clear() {
  const MutexLock lock(mutex_);
  CollectHotTouches();
  pending_.clear();
  links_.clear();
}

}  // namespace barcache
