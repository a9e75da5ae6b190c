// Clock: the only source of time. Tests turn the hands of a ManualClock.
#pragma once

#include <time.h>

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
  // The same two, cheap and late by some milliseconds: for what every hit does.
  virtual int64_t CoarseWallNs() const { return WallNs(); }
  virtual int64_t CoarseMonotonicNs() const { return MonotonicNs(); }
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
  int64_t CoarseWallNs() const override { return Read(CLOCK_REALTIME_COARSE); }
  int64_t CoarseMonotonicNs() const override { return Read(CLOCK_MONOTONIC_COARSE); }

 private:
  static int64_t Read(clockid_t id) {
    timespec now{};
    clock_gettime(id, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
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
