// Event: one line of the log, as plain data.
//
// Rooms append events to an EventBuffer while they work; the door (cache) hands them to the
// sink once every lock is released, so that a slow or re-entrant logger can never block or
// deadlock a room. Names and fields are those of RustyBT (drop-in contract, 1c).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace barcache {

// Values of Python's logging module.
enum class EventLevel { kDebug = 10, kInfo = 20, kWarning = 30, kError = 40 };

using EventValue = std::variant<std::monostate, int64_t, double, std::string>;

struct Event {
  EventLevel level = EventLevel::kInfo;
  const char* name = "";  // Static storage: "cache_write", ...
  std::vector<std::pair<const char*, EventValue>> fields;
};

using EventBuffer = std::vector<Event>;
// Called without any lock of barcache held; may be called from any thread.
using EventSink = std::function<void(const Event&)>;

}  // namespace barcache
