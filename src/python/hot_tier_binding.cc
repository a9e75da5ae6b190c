#include "python/hot_tier_binding.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "barcache/status.h"
#include "python/bindings.h"
#include "python/errors.h"
#include "python/event_log.h"
#include "python/polars_bridge.h"

namespace nb = nanobind;

namespace barcache::python {
namespace {

constexpr int64_t kEntryOverheadBytes = 128;

double Megabytes(int64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

[[noreturn]] void RaiseInvalidType(const char* what, nb::handle value) {
  const nb::object type = nb::module_::import_("barcache.errors").attr("InvalidType");
  PyErr_Format(type.ptr(), "%s, not %R", what, Py_TYPE(value.ptr()));
  throw nb::python_error();
}

// A number of bytes; a fraction, as of `0.5 * 1024**2`, is cut off.
int64_t CapacityOf(nb::handle max_size_bytes) {
  const bool is_float = PyFloat_Check(max_size_bytes.ptr()) != 0;
  if (PyBool_Check(max_size_bytes.ptr()) || (!is_float && !PyIndex_Check(max_size_bytes.ptr()))) {
    RaiseInvalidType("max_size_bytes must be a number", max_size_bytes);
  }
  const double approximate = PyFloat_AsDouble(max_size_bytes.ptr());
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  if (!(approximate >= 0 && approximate < 0x1p62)) {
    Raise(Status(ErrorCode::kInvalidArgument,
                 "max_size_bytes must not be negative or beyond any memory: use 0 to keep nothing "
                 "in memory"));
  }
  return is_float ? static_cast<int64_t>(approximate) : nb::cast<int64_t>(nb::int_(max_size_bytes));
}

// The UTF-8 of a key; nullopt for one with lone surrogates, which is nobody's key.
std::optional<std::string_view> KeyText(nb::handle key) {
  if (!PyUnicode_Check(key.ptr())) RaiseInvalidType("a cache key must be a str", key);
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(key.ptr(), &size);
  if (data == nullptr) {
    PyErr_Clear();
    return std::nullopt;
  }
  return std::string_view(data, static_cast<size_t>(size));
}

// A new DataFrame of an entry; its Polars half is made at the first use and kept.
nb::object DataFrameOf(HotTier* tier, std::string_view key,
                       const std::shared_ptr<const HotEntry>& entry) {
  if (entry->companion) return WrapClone(CompanionObject(entry->companion));
  const nb::object native = NativeDataFrame(entry->frame);
  tier->Attach(key, entry, MakeCompanion(native));
  return WrapClone(native.ptr());
}

nb::object Get(const LruCache& self, nb::handle cache_key) {
  const auto key = KeyText(cache_key);
  const auto entry = key ? self.tier->Lookup(*key) : nullptr;
  if (entry == nullptr) return nb::none();
  if (LoggerWants(EventLevel::kDebug)) {
    LogEvents({Event{EventLevel::kDebug, "hot_cache_hit", {{"cache_key", std::string(*key)}}}});
  }
  return DataFrameOf(self.tier.get(), *key, entry);
}

void Put(const LruCache& self, nb::handle cache_key, nb::handle data) {
  const auto key = KeyText(cache_key);
  if (!key) {
    Raise(Status(ErrorCode::kInvalidArgument,
                 "the cache key holds a lone surrogate, which is not text: use another key"));
  }
  const nb::object put = nb::module_::import_("barcache.conversion").attr("frame_to_put")(data);
  const nb::object producer = put.attr("data");
  HotEntry entry;
  entry.frame =
      nb::cast<bool>(put.attr("is_polars")) ? FrameOfPolars(producer) : FrameOfArrow(producer);
  entry.charge_bytes = entry.frame.size_bytes() + kEntryOverheadBytes;
  EventBuffer events;
  self.tier->Insert(*key, std::move(entry), &events);
  LogEvents(events);
}

nb::dict Stats(const LruCache& self) {
  nb::dict stats;
  stats["entry_count"] = self.tier->entry_count();
  stats["total_size_mb"] = Megabytes(self.tier->total_charge_bytes());
  return stats;
}

// RustyBT's attribute `cache`: a snapshot, least recently used first.
nb::object Snapshot(const LruCache& self) {
  nb::object snapshot = nb::module_::import_("collections").attr("OrderedDict")();
  for (const std::string& key : self.tier->keys()) {
    const auto entry = self.tier->Peek(key);
    if (entry == nullptr) continue;
    snapshot[nb::str(key.data(), key.size())] = DataFrameOf(self.tier.get(), key, entry);
  }
  return snapshot;
}

void SetCapacity(const LruCache& self, nb::handle max_size_bytes) {
  EventBuffer events;
  self.tier->SetCapacity(CapacityOf(max_size_bytes), &events);
  LogEvents(events);
}

}  // namespace

void BindHotTier(nb::module_& module) {
  nb::class_<LruCache>(module, "LRUCache",
                       "Polars frames in memory, bounded by bytes, least recently used first.\n\n"
                       "A frame handed out is a shallow clone: changing it never reaches the "
                       "cache.\nSafe with threads.")
      .def(
          "__init__",
          [](LruCache* self, nb::handle max_size_bytes) {
            const int64_t capacity_bytes = CapacityOf(max_size_bytes);
            new (self) LruCache{std::make_shared<HotTier>(capacity_bytes)};
            Event event{EventLevel::kInfo, "lru_cache_initialized", {}};
            event.fields.emplace_back("max_size_mb", Megabytes(capacity_bytes));
            LogEvents({std::move(event)});
          },
          nb::arg("max_size_bytes").none() = int64_t{1} << 30,
          nb::sig("def __init__(self, max_size_bytes: float = 1073741824) -> None"))
      .def("get", &Get, nb::arg("key").none(),
           nb::sig("def get(self, key: str) -> polars.DataFrame | None"),
           "The frame under ``key``, now the most recently used; None if there is none.")
      .def("put", &Put, nb::arg("key").none(), nb::arg("df").none(),
           nb::sig("def put(self, key: str, df: polars.DataFrame) -> None"),
           "Keep ``df`` under ``key``. One that alone exceeds the limit is not kept.\n\n"
           "Takes what ``put_cached_data`` takes; gives back Polars.")
      .def(
          "clear",
          [](const LruCache& self) {
            self.tier->Clear();
            LogEvents({Event{EventLevel::kInfo, "hot_cache_cleared", {}}});
          },
          "Forget every frame.")
      .def("get_stats", &Stats, nb::sig("def get_stats(self) -> dict[str, int | float]"),
           "``entry_count`` and ``total_size_mb``.")
      .def_prop_rw(
          "max_size_bytes", [](const LruCache& self) { return self.tier->capacity_bytes(); },
          &SetCapacity, nb::for_setter(nb::arg("max_size_bytes").none()),
          "The limit. Lowering it evicts at once.")
      .def_prop_ro(
          "current_size_bytes",
          [](const LruCache& self) { return self.tier->total_charge_bytes(); },
          "Bytes charged now.")
      .def_prop_ro("cache", &Snapshot,
                   nb::sig("def cache(self) -> collections.OrderedDict[str, polars.DataFrame]"),
                   "The frames by key, least recently used first. A snapshot: changing it changes "
                   "nothing here.")
      .def("__len__", [](const LruCache& self) { return self.tier->entry_count(); })
      .def("__contains__", [](const LruCache& self, nb::handle cache_key) {
        if (!PyUnicode_Check(cache_key.ptr())) return false;
        const auto key = KeyText(cache_key);
        return key && self.tier->Peek(*key) != nullptr;
      });
}

}  // namespace barcache::python
