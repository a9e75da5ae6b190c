#include "python/event_log.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <variant>

namespace nb = nanobind;

namespace barcache::python {
namespace {

nb::object ToPython(const EventValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return nb::int_(*integer);
  if (const auto* number = std::get_if<double>(&value)) return nb::float_(*number);
  if (const auto* text = std::get_if<std::string>(&value)) {
    PyObject* decoded = PyUnicode_DecodeUTF8(text->data(), static_cast<Py_ssize_t>(text->size()),
                                             "backslashreplace");
    if (decoded == nullptr) throw nb::python_error();
    return nb::steal(decoded);
  }
  return nb::none();
}

// Looked up once; a reference that is never given back, so that nothing runs at exit.
nb::handle EventsModule() {
  static PyObject* module = nb::module_::import_("barcache.events").release().ptr();
  return module;
}

void LogEvent(const Event& event) {
  nb::dict fields;
  for (const auto& [name, value] : event.fields) fields[name] = ToPython(value);
  EventsModule().attr("log_event")(static_cast<int>(event.level), event.name, **fields);
}

}  // namespace

bool LoggerWants(EventLevel level) {
  static PyObject* is_enabled =
      nb::object(EventsModule().attr("logger").attr("isEnabledFor")).release().ptr();
  static PyObject* info = nb::int_(static_cast<int>(EventLevel::kInfo)).release().ptr();
  nb::object number;
  PyObject* argument = info;
  if (level != EventLevel::kInfo) {
    number = nb::int_(static_cast<int>(level));
    argument = number.ptr();
  }
  PyObject* wanted = PyObject_Vectorcall(is_enabled, &argument, 1, nullptr);
  if (wanted == nullptr) throw nb::python_error();
  const bool result = wanted == Py_True;
  Py_DECREF(wanted);
  return result;
}

void LogEvents(const EventBuffer& events) {
  for (const Event& event : events) LogEvent(event);
}

Cache::EventSink MakeEventSink() {
  return [](const Event& event) {
    if (!nb::is_alive()) return;
    const nb::gil_scoped_acquire gil;
    try {
      LogEvent(event);
    } catch (nb::python_error& error) {
      // A handler that raises must not turn a stored frame into a failed put.
      error.discard_as_unraisable("barcache event log");
    }
  };
}

}  // namespace barcache::python
