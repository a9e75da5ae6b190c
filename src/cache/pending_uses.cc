#include "cache/pending_uses.h"

#include <algorithm>
#include <utility>

namespace barcache {

void PendingUses::Batch::Settle(bool written) {
  if (uses_ == nullptr) return;
  uses_->Settle(written);
  if (!written) uses_->ReturnLinks(std::move(links_));
  uses_ = nullptr;
}

PendingUses::Use& PendingUses::Slot(UseMap* uses, std::string_view cache_key) {
  auto it = uses->find(cache_key);
  if (it == uses->end()) it = uses->emplace(std::string(cache_key), Use{}).first;
  return it->second;
}

void PendingUses::Add(const Use& use, Use* sum) {
  sum->count += use.count;
  sum->accessed_s = std::max(sum->accessed_s, use.accessed_s);
  sum->order = std::max(sum->order, use.order);
}

void PendingUses::RecordTouch(std::string_view cache_key, int64_t now_s) {
  const MutexLock lock(mutex_);
  Add(Use{1, now_s, next_order_.fetch_add(1) + 1}, &Slot(&pending_, cache_key));
}

void PendingUses::RecordHotTouch(std::string_view cache_key,
                                 const std::shared_ptr<UseCounter>& uses, int64_t now_s) {
  uses->order.store(next_order_.fetch_add(1, std::memory_order_relaxed) + 1,
                    std::memory_order_relaxed);
  uses->accessed_s.store(now_s, std::memory_order_relaxed);
  if (uses->count.fetch_add(1, std::memory_order_release) > 0) return;
  const MutexLock lock(mutex_);
  try {
    hot_.emplace_back(cache_key, uses);
  } catch (...) {
    uses->count.store(0, std::memory_order_relaxed);  // Else nobody would note it ever again.
    throw;
  }
}

void PendingUses::CollectHotTouches() {
  for (const auto& [key, uses] : hot_) {
    if (uses->count.load(std::memory_order_relaxed) == 0) continue;
    Use& sum = Slot(&pending_, key);
    const int64_t count = uses->count.exchange(0, std::memory_order_acquire);
    Add(Use{count, uses->accessed_s.load(std::memory_order_relaxed),
            uses->order.load(std::memory_order_relaxed)},
        &sum);
  }
  hot_.clear();
}

void PendingUses::RecordLink(std::string_view backtest_id, std::string_view cache_key) {
  const MutexLock lock(mutex_);
  links_.emplace(backtest_id, cache_key);
}

void PendingUses::TakePending() {
  taken_.reserve(taken_.size() + pending_.size());  // From here on no memory is needed.
  while (!pending_.empty()) {
    auto moved = taken_.insert(pending_.extract(pending_.begin()));
    if (!moved.inserted) Add(moved.node.mapped(), &moved.position->second);
  }
}

std::vector<Touch> PendingUses::Take() {
  const MutexLock lock(mutex_);
  CollectHotTouches();
  TakePending();
  std::vector<std::pair<uint64_t, Touch>> ordered;
  ordered.reserve(taken_.size());
  for (const auto& [key, use] : taken_) {
    ordered.emplace_back(use.order, Touch{key, use.count, use.accessed_s});
  }
  std::sort(ordered.begin(), ordered.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Touch> touches;
  touches.reserve(ordered.size());
  for (auto& item : ordered) touches.push_back(std::move(item.second));
  version_ |= 1;
  return touches;
}

void PendingUses::Settle(bool written) {
  const MutexLock lock(mutex_);
  if (!in_flight()) return;
  if (written) taken_.clear();
  ++version_;
}

PendingUses::Links PendingUses::TakeLinks() {
  const MutexLock lock(mutex_);
  return std::exchange(links_, Links());
}

void PendingUses::ReturnLinks(Links links) {
  const MutexLock lock(mutex_);
  links_.merge(links);
}

bool PendingUses::empty() const {
  const MutexLock lock(mutex_);
  return pending_.empty() && hot_.empty() && taken_.empty() && links_.empty();
}

bool PendingUses::has_links() const {
  const MutexLock lock(mutex_);
  return !links_.empty();
}

UseOverlay PendingUses::Overlay(std::string_view cache_key) {
  const MutexLock lock(mutex_);
  CollectHotTouches();
  UseOverlay overlay;
  for (const UseMap* uses : {&pending_, &taken_}) {
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
  for (const UseMap* uses : {&pending_, &taken_}) {
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
  for (UseMap* uses : {&pending_, &taken_}) {
    if (uses == &taken_ && in_flight()) continue;
    const auto it = uses->find(cache_key);
    if (it != uses->end()) uses->erase(it);
  }
  std::erase_if(links_, [&](const Link& link) { return link.second == cache_key; });
}

void PendingUses::Clear() {
  const MutexLock lock(mutex_);
  for (const auto& item : hot_) item.second->count.store(0, std::memory_order_relaxed);
  hot_.clear();
  pending_.clear();
  if (!in_flight()) taken_.clear();
  links_.clear();
}

}  // namespace barcache
