// Flight in Python: the class _core.Flight (include/barcache/flight.h).
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <utility>

#include "barcache/flight.h"
#include "python/gil.h"

namespace barcache::python {

struct FlightHandle {
  std::unique_ptr<Flight> flight;

  explicit FlightHandle(std::unique_ptr<Flight> begun) : flight(std::move(begun)) {}
  FlightHandle(FlightHandle&&) noexcept = default;
  FlightHandle& operator=(FlightHandle&&) = delete;
  FlightHandle(const FlightHandle&) = delete;
  FlightHandle& operator=(const FlightHandle&) = delete;
  // One that still leads gives its lease back, which is a transaction.
  ~FlightHandle() {
    if (!flight) return;
    const GilRelease unlocked;
    flight.reset();
  }
};

void BindFlight(nanobind::module_& module);

}  // namespace barcache::python
