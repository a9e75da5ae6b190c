#include "python/hot_tier_binding.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include <string>
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

int64_t RequireCapacity(int64_t max_size_bytes) {
  if (max_size_bytes < 0) {
    Raise(Status(ErrorCode::kInvalidArgument,
                 "max_size_bytes must not be negative: use 0 to keep nothing in memory"));
  }
  return max_size_bytes;
}

// A new DataFrame of an entry; its Polars half is made at the first use and kept.
nb::object DataFrameOf(HotTier* tier, std::string_view key,
                       const std::shared_ptr<const HotEntry>& entry) {
  if (entry->companion) return WrapClone(CompanionObject(entry->companion));
  const nb::object native = NativeDataFrame(entry->frame);
  tier->Attach(key, entry, MakeCompanion(native));
  return WrapClone(native.ptr());
}

nb::object Get(const LruCache& self, std::string_view key) {
  const auto entry = self.tier->Lookup(key);
  if (entry == nullptr) return nb::none();
  if (LoggerWants(EventLevel::kDebug)) {
    LogEvents({Event{EventLevel::kDebug, "hot_cache_hit", {{"cache_key", std::string(key)}}}});
  }
  return DataFrameOf(self.tier.get(), key, entry);
}

void Put(const LruCache& self, std::string_view key, nb::handle data_frame) {
  HotEntry entry;
  entry.frame = FrameOfPolars(data_frame);
  entry.charge_bytes = entry.frame.size_bytes() + kEntryOverheadBytes;
  EventBuffer events;
  self.tier->Insert(key, std::move(entry), &events);
  LogEvents(events);
}

nb::dict Stats(const LruCache& self) {
  nb::dict stats;
  stats["entry_count"] = self.tier->entry_count();
  stats["total_size_mb"] = static_cast<double>(self.tier->total_charge_bytes()) / (1024.0 * 1024.0);
  return stats;
}

// RustyBT's attribute `cache`: a snapshot, least recently used first.
nb::object Snapshot(const LruCache& self) {
  nb::object snapshot = nb::module_::import_("collections").attr("OrderedDict")();
  for (const std::string& key : self.tier->keys()) {
    const auto entry = self.tier->Peek(key);
    if (entry != nullptr) snapshot[key.c_str()] = DataFrameOf(self.tier.get(), key, entry);
  }
  return snapshot;
}

void SetCapacity(const LruCache& self, int64_t max_size_bytes) {
  EventBuffer events;
  self.tier->SetCapacity(RequireCapacity(max_size_bytes), &events);
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
          [](LruCache* self, int64_t max_size_bytes) {
            new (self) LruCache{std::make_shared<HotTier>(RequireCapacity(max_size_bytes))};
          },
          nb::arg("max_size_bytes") = int64_t{1} << 30)
      .def("get", &Get, nb::arg("key"),
           nb::sig("def get(self, key: str) -> polars.DataFrame | None"),
           "The frame under ``key``, now the most recently used; None if there is none.")
      .def("put", &Put, nb::arg("key"), nb::arg("df"),
           nb::sig("def put(self, key: str, df: polars.DataFrame) -> None"),
           "Keep ``df`` under ``key``. One that alone exceeds the limit is not kept.")
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
          &SetCapacity, "The limit. Lowering it evicts at once.")
      .def_prop_ro(
          "current_size_bytes",
          [](const LruCache& self) { return self.tier->total_charge_bytes(); },
          "Bytes charged now.")
      .def_prop_ro("cache", &Snapshot,
                   nb::sig("def cache(self) -> collections.OrderedDict[str, polars.DataFrame]"),
                   "The frames by key, least recently used first. A snapshot: changing it changes "
                   "nothing here.")
      .def("__len__", [](const LruCache& self) { return self.tier->entry_count(); })
      .def("__contains__", [](const LruCache& self, std::string_view key) {
        return self.tier->Peek(key) != nullptr;
      });
}

}  // namespace barcache::python
