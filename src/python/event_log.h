// Events -> records of the standard library's logger "barcache" (python/barcache/events.py).
#pragma once

#include "barcache/cache.h"
#include "base/event.h"

namespace barcache::python {

// Looks up what the functions below need: under a static's lock an import could wait for the GIL
// that a waiter for that lock holds. REQUIRES: the GIL. Called once, by module.cc.
void PrepareEventLog();

// Takes the GIL; does nothing once the interpreter is shutting down.
Cache::EventSink MakeEventSink();

// Whether the logger would show a record of that level. REQUIRES: the GIL.
bool LoggerWants(EventLevel level);

// Sends `events`. REQUIRES: the GIL.
void LogEvents(const EventBuffer& events);

}  // namespace barcache::python
