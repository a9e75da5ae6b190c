// Internal to the cold room.
#pragma once

#include <vector>

#include "cold/cold_tier.h"

namespace barcache {

// Pending touches as one transaction sees them: taken at most once, and given back by the
// destructor unless they were settled. To be declared after the transaction's writer, so that it
// goes while that still keeps others out.
class TouchesOnce final : public PendingTouches {
 public:
  explicit TouchesOnce(PendingTouches* touches) : touches_(touches) {}
  TouchesOnce(const TouchesOnce&) = delete;
  TouchesOnce& operator=(const TouchesOnce&) = delete;
  ~TouchesOnce() override { Settle(false); }

  std::vector<Touch> Take() override {
    if (touches_ == nullptr || taken_) return {};
    taken_ = true;
    return touches_->Take();
  }

  void Settle(bool written) override {
    if (touches_ != nullptr && taken_) touches_->Settle(written);
    touches_ = nullptr;
  }

 private:
  PendingTouches* touches_;
  bool taken_ = false;
};

}  // namespace barcache
