// Clock: the only source of time. Tests turn the hands of a ManualClock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace barcache {

// Thread safety: all methods may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // Nanoseconds since the Unix epoch, UTC. May jump either way.
  virtual int64_t WallNs() const = 0;
  // Nanoseconds of a clock that never goes back.
  virtual int64_t MonotonicNs() const = 0;
  int64_t WallSeconds() const { return WallNs() / 1'000'000'000; }
};

class SystemClock final : public Clock {
 public:
  int64_t WallNs() const override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  int64_t MonotonicNs() const override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t wall_ns) : wall_ns_(wall_ns) {}
  int64_t WallNs() const override { return wall_ns_.load(); }
  int64_t MonotonicNs() const override { return monotonic_ns_.load(); }
  // Moves both hands.
  void Advance(int64_t ns) {
    wall_ns_ += ns;
    monotonic_ns_ += ns;
  }
  // Moves the wall clock alone: it may go back.
  void SetWallNs(int64_t ns) { wall_ns_ = ns; }

 private:
  std::atomic<int64_t> wall_ns_;
  std::atomic<int64_t> monotonic_ns_{1};
};

}  // namespace barcache
