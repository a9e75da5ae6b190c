// Flight: something that is done once although several processes ask for it at the same time.
//
// What is done has a name, any text: the key of an entry that is being fetched, or whatever else
// those who ask agree on. Whoever begins first leads: it holds a lease, a row of the catalog that
// is renewed in the background while the flight lasts. The others wait until it has landed, which
// means: look again at what it was for; or failed, which means: as the leader says.
//
//   BARCACHE_ASSIGN_OR_RETURN(auto flight, cache->BeginFlight("gap:series:2023"));
//   while (flight->Poll() == FlightState::kWaiting) { pause, 1 ms at first and 50 ms in the end }
//   switch (flight->state()) {
//     case kLeading: look again, for somebody may have been faster; do it; flight->Land() or Fail()
//     case kLanded:  look again; if it is not there (it could not be stored), do it by yourself
//     case kFailed:  flight->error()
//   }
//
// A leader that dies is taken over: by the first that notices that its process is gone, or when
// its lease has not been renewed for CacheOptions::lease_ms. So is one that was stopped; when it
// goes on its Land and Fail do nothing, and what it had to store it stores as anybody may.
//
// Who asks for the same within one process should share one Flight (python/barcache/flights.py).
// Where there is nobody to share with (a catalog in memory, a read-only cache), or the lease cannot
// be had (the disk is full), everybody leads.
//
// Thread safety: one thread at a time. A Flight must not outlive its Cache. After a fork, a child
// leads nothing: Land and Fail of a leading Flight do nothing there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "barcache/status.h"

namespace barcache {

enum class FlightState {
  kLeading,  // It is ours to do.
  kWaiting,  // Somebody else leads.
  kLanded,   // Done, by somebody else or by us.
  kFailed,   // Somebody else failed while we waited, or we did.
};

struct FlightError {
  std::string type;     // "ConnectionError", ...
  std::string message;  // As far as it was kept: 4096 bytes.
};

class Flight {
 public:
  // Lands, if it still leads: others then look, find nothing and go on by themselves.
  virtual ~Flight() = default;

  virtual FlightState state() const = 0;
  // While waiting, looks whether that is over. Costs some loads and one look at /proc unless
  // something changed; then a query, and to take over, a transaction.
  virtual FlightState Poll() = 0;
  // Ends a flight that leads; else no effect. What others then see must be stored by now.
  virtual void Land() = 0;
  virtual void Fail(const FlightError& error) = 0;
  // REQUIRES: state() == kFailed.
  virtual const FlightError& error() const = 0;
};

}  // namespace barcache
