// What the threads of a storm did, in files outside the cache's directory that survive SIGKILL.
//
// One file a thread: events of fixed size in a shared mapping. An event is begun before the call
// and ended after it; one that never ended was cut off by the death of its process.
//
// Thread safety: a StormLog belongs to one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace barcache::torture {

enum class Deed : uint32_t {
  kPut = 1,   // value: of the frame that was put.
  kGet,       // value: of the frame that came, 0 for a miss.
  kErase,     // Of one key.
  kClear,     // Of all keys; the event's key says nothing.
  kMayErase,  // Removes what is linked to a backtest: may or may not concern a key.
};

struct StormEvent {
  int64_t begin_ns = 0;  // CLOCK_MONOTONIC, one clock for all processes.
  int64_t end_ns = 0;    // 0: never ended.
  uint64_t value = 0;    // Unique for each put.
  uint32_t key = 0;
  Deed deed{};
};

class StormLog {
 public:
  // Makes the file for up to `capacity` events. Ends the program if it cannot.
  StormLog(const std::string& path, int64_t capacity);
  ~StormLog();
  StormLog(const StormLog&) = delete;
  StormLog& operator=(const StormLog&) = delete;

  // Returns the event's number.
  int64_t Begin(Deed deed, uint32_t key, uint64_t value);
  // REQUIRES: the number is one of Begin's.
  void End(int64_t number);
  void End(int64_t number, uint64_t value);
  // It did not happen: an error was returned, which promises that nothing changed.
  void Withdraw(int64_t number);

 private:
  StormEvent* events_ = nullptr;
  int64_t capacity_;
  int64_t count_ = 0;
};

int64_t MonotonicNs();

// The events of a file, those withdrawn left out. Those that never ended get `death_ns` as their
// end, and come in `unfinished` instead.
struct LoggedEvents {
  std::vector<StormEvent> finished;
  std::vector<StormEvent> unfinished;
};
void ReadStormLog(const std::string& path, int64_t death_ns, LoggedEvents* events);

}  // namespace barcache::torture
