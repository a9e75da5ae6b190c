#include "python/flight_binding.h"

#include <nanobind/stl/string.h>

#include <string>

namespace nb = nanobind;

namespace barcache::python {
namespace {

const char* StateName(FlightState state) {
  switch (state) {
    case FlightState::kLeading:
      return "leading";
    case FlightState::kWaiting:
      return "waiting";
    case FlightState::kLanded:
      return "landed";
    case FlightState::kFailed:
      return "failed";
  }
  return "failed";
}

nb::tuple ErrorOf(const FlightHandle& self) {
  const FlightError& error = self.flight->error();
  const auto text = [](const std::string& bytes) {
    return nb::steal(PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()),
                                          "backslashreplace"));
  };
  return nb::make_tuple(text(error.type), text(error.message));
}

}  // namespace

void BindFlight(nb::module_& module) {
  nb::class_<FlightHandle>(module, "Flight",
                           "Something done once among processes: see docs/concurrency.md. One "
                           "that is dropped while it leads lands.")
      .def(
          "poll",
          [](FlightHandle& self) {
            const GilRelease unlocked;
            return StateName(self.flight->Poll());
          },
          nb::sig("def poll(self) -> typing.Literal['leading', 'waiting', 'landed', 'failed']"),
          "Looks, if it waits, whether that is over.")
      .def(
          "land",
          [](FlightHandle& self) {
            const GilRelease unlocked;
            self.flight->Land();
          },
          "Ends a flight that leads: others look again.")
      .def(
          "fail",
          [](FlightHandle& self, std::string type, std::string message) {
            const GilRelease unlocked;
            self.flight->Fail(FlightError{std::move(type), std::move(message)});
          },
          nb::arg("type"), nb::arg("message"),
          "Ends a flight that leads: those who wait at this moment are told.")
      .def_prop_ro("error", &ErrorOf, nb::sig("def error(self) -> tuple[str, str]"),
                   "Type and message of a flight that failed.");
}

}  // namespace barcache::python
