#include "python/event_log.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <variant>

#include "python/gil.h"

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

// References that are never given back, so that nothing runs at exit.
struct LoggerState {
  nb::object module = nb::module_::import_("barcache.events");
  nb::object log_event = module.attr("log_event");
  nb::object logger = module.attr("logger");
  nb::object is_enabled = logger.attr("isEnabledFor");
  nb::object owned_attributes = logger.attr("__dict__");
  nb::object owned_answers = logger.attr("_cache");
  PyObject* attributes = owned_attributes.ptr();
  PyObject* answers = owned_answers.ptr();
  PyObject* disabled_name = nb::str("disabled").release().ptr();
  PyObject* numbers[5] = {Level(0), Level(10), Level(20), Level(30), Level(40)};

  static PyObject* Level(int level) { return nb::int_(level).release().ptr(); }
};

const LoggerState* state = nullptr;

void LogEvent(const Event& event) {
  nb::dict fields;
  for (const auto& [name, value] : event.fields) fields[name] = ToPython(value);
  state->log_event(static_cast<int>(event.level), event.name, **fields);
}

}  // namespace

void PrepareEventLog() {
  if (state == nullptr) state = new LoggerState;
}

bool LoggerWants(EventLevel level) {
  // What Logger.isEnabledFor does, without its call: the logger's own cache of answers, which
  // logging empties whenever a level changes. A known no needs no second look: this is asked at
  // every hit.
  PyObject* number = state->numbers[static_cast<size_t>(level) / 10];
  PyObject* known = PyDict_GetItemWithError(state->answers, number);
  if (known == Py_False) return false;
  PyObject* disabled = PyDict_GetItemWithError(state->attributes, state->disabled_name);
  if (known != nullptr && disabled == Py_False) return known == Py_True;
  PyErr_Clear();
  return nb::cast<bool>(state->is_enabled(static_cast<int>(level)));
}

void LogEvents(const EventBuffer& events) {
  for (const Event& event : events) {
    if (LoggerWants(event.level)) LogEvent(event);
  }
}

Cache::EventSink MakeEventSink() {
  return [](const Event& event) {
    if (!nb::is_alive()) return;
    const GilAcquire gil;
    try {
      if (LoggerWants(event.level)) LogEvent(event);
    } catch (nb::python_error& error) {
      // A handler that raises must not turn a stored frame into a failed put.
      error.discard_as_unraisable("barcache event log");
    }
  };
}

}  // namespace barcache::python
