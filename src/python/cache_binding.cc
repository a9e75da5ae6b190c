// CacheCore: the native base class of barcache.CacheManager. Names, GIL and exceptions; no logic.

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "barcache/cache.h"
#include "barcache/cache_key.h"
#include "catalog/catalog.h"
#include "python/bindings.h"
#include "python/cache_core.h"
#include "python/errors.h"
#include "python/event_log.h"
#include "python/flight_binding.h"
#include "python/gil.h"
#include "python/hot_tier_binding.h"
#include "python/polars_bridge.h"

namespace nb = nanobind;

namespace barcache::python {
namespace {

using Columns = std::optional<std::vector<std::string>>;

// Runs `call` without the GIL and raises what it reports.
template <typename Call>
auto Unlocked(Call call) {
  auto result = [&] {
    const GilRelease unlocked;
    return call();
  }();
  return Unwrap(std::move(result));
}

template <typename Call>
void UnlockedStatus(Call call) {
  const Status status = [&] {
    const GilRelease unlocked;
    return call();
  }();
  Check(status);
}

[[noreturn]] void RaiseInvalidType(const char* message) {
  const nb::object type = nb::module_::import_("barcache.errors").attr("InvalidType");
  PyErr_SetString(type.ptr(), message);
  throw nb::python_error();
}

// The UTF-8 of a str; nullopt for one with lone surrogates, which is nobody's key.
std::optional<std::string_view> Utf8(nb::handle text) {
  if (!PyUnicode_Check(text.ptr())) {
    RaiseInvalidType("a cache key must be a str");
  }
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (data == nullptr) {
    PyErr_Clear();
    return std::nullopt;
  }
  return std::string_view(data, static_cast<size_t>(size));
}

// Raises InvalidType for anything but a list (or tuple) of str.
std::vector<std::string> ColumnNames(nb::handle columns) {
  std::vector<std::string> names;
  if (!PyUnicode_Check(columns.ptr()) && nb::try_cast(columns, names)) {
    std::set<std::string_view> seen;
    for (const std::string& name : names) {
      if (seen.insert(name).second) continue;
      Raise(Status(ErrorCode::kInvalidArgument,
                   "columns names '" + name + "' twice: name each column once"));
    }
    return names;
  }
  RaiseInvalidType("columns must be a list of column names, each a str");
}

// Bytes that no key can be: the cache counts the miss.
constexpr std::string_view kIllegalKey = "\xff";

// The backtest to link to: the one given, or that of the block around the call; "" for none.
std::string BacktestOf(const CacheCore& self, nb::handle given) {
  if (given.is_none()) {
    if (self.open_backtests.load(std::memory_order_relaxed) == 0) return "";
    const nb::object current = self.backtest_variable.attr("get")(nb::none());
    return current.is_none() ? "" : nb::cast<std::string>(current);
  }
  if (!PyUnicode_Check(given.ptr())) RaiseInvalidType("backtest_id must be a str");
  const auto text = Utf8(given);
  if (!text) {
    Raise(Status(ErrorCode::kInvalidArgument,
                 "backtest_id holds a lone surrogate, which is not text: pass another id"));
  }
  return std::string(*text);
}

// What a hit hands out. The Polars half of a frame is made once and kept beside it.
nb::object DataFrameOfHit(CacheCore& self, std::string_view key, const Hit& hit) {
  if (hit.companion) return WrapClone(CompanionObject(hit.companion));
  const nb::object native = NativeDataFrame(hit.frame);
  if (hit.entry) self.cache->AttachCompanion(key, hit, MakeCompanion(native));
  return WrapClone(native.ptr());
}

// Refuses an unknown kind of frame whether or not there is a hit to hand out.
void RequireKnownKind(const CacheCore& self, nb::handle frame) {
  if (frame.ptr() == self.polars_name.ptr()) return;
  if (!PyUnicode_Check(frame.ptr())) RaiseInvalidType("frame must be a str");
  nb::module_::import_("barcache.conversion").attr("require_known_kind")(frame);
}

// The answer as the library that the caller named wants it.
nb::object FrameOfHit(CacheCore& self, std::string_view key, const Hit& hit, nb::handle frame) {
  if (nb::cast<std::string_view>(frame) == "polars") return DataFrameOfHit(self, key, hit);
  return nb::module_::import_("barcache.conversion")
      .attr("frame_as")(frame, nb::cpp_function([&] { return DataFrameOfHit(self, key, hit); }),
                        ArrowExportOf(hit.frame), hit.frame.origin());
}

// Arguments stay Python objects until a hit needs more of them than their identity.
nb::object GetCachedData(CacheCore& self, nb::handle cache_key, nb::handle backtest_id,
                         nb::handle columns, nb::handle frame) {
  RequireKnownKind(self, frame);
  const std::string_view key = Utf8(cache_key).value_or(kIllegalKey);
  const std::string backtest = BacktestOf(self, backtest_id);
  GetOptions options;
  options.backtest_id = backtest;
  options.log_hit = LoggerWants(EventLevel::kInfo);
  Columns selected;
  if (!columns.is_none()) selected = ColumnNames(columns);
  options.columns = selected ? &*selected : nullptr;
  // Without giving up the GIL: that alone would cost more than the hit.
  if (auto entry = self.cache->GetHot(key, options)) {
    if (entry->companion != nullptr && frame.ptr() == self.polars_name.ptr()) {
      return WrapClone(CompanionObject(entry->companion));
    }
    Hit hit{entry->frame, entry->companion, entry, true};
    return FrameOfHit(self, key, hit, frame);
  }
  const std::optional<Hit> hit = Unlocked([&] { return self.cache->Get(key, options); });
  return hit ? FrameOfHit(self, key, *hit, frame) : nb::none();
}

// The answers in the order of the keys; the GIL is taken only to hand some out.
nb::list GetMany(CacheCore& self, nb::handle cache_keys, nb::handle backtest_id, nb::handle columns,
                 nb::handle frame) {
  RequireKnownKind(self, frame);
  std::vector<std::string> keys;
  for (nb::handle key : cache_keys) keys.emplace_back(Utf8(key).value_or(kIllegalKey));
  const std::string backtest = BacktestOf(self, backtest_id);
  GetOptions options;
  options.backtest_id = backtest;
  options.log_hit = LoggerWants(EventLevel::kInfo);
  Columns selected;
  if (!columns.is_none()) selected = ColumnNames(columns);
  options.columns = selected ? &*selected : nullptr;
  nb::list answers;
  for (size_t i = 0; i < keys.size(); ++i) answers.append(nb::none());
  const auto hand_out = [&](const std::vector<IndexedHit>& hits) {
    const GilAcquire gil;
    for (const auto& [index, hit] : hits) {
      answers[index] = FrameOfHit(self, keys[index], hit, frame);
    }
  };
  UnlockedStatus([&] { return self.cache->GetMany(keys, options, hand_out); });
  return answers;
}

struct FrameScanHandle {
  std::shared_ptr<const FrameScan> scan;
};

// The scan and a frame of its schema without rows, or None on a miss.
nb::object OpenScan(CacheCore& self, nb::handle cache_key, nb::handle backtest_id) {
  const std::string_view key = Utf8(cache_key).value_or(kIllegalKey);
  const std::string backtest = BacktestOf(self, backtest_id);
  GetOptions options;
  options.backtest_id = backtest;
  options.log_hit = LoggerWants(EventLevel::kInfo);
  const auto hit = Unlocked([&] { return self.cache->Scan(key, options); });
  if (!hit) return nb::none();
  const nb::object native = NativeDataFrame(hit->frame);
  return nb::make_tuple(FrameScanHandle{hit->scan}, WrapClone(native.ptr()));
}

nb::object ReadScan(const FrameScanHandle& self, nb::handle columns) {
  Columns selected;
  if (!columns.is_none()) selected = ColumnNames(columns);
  const Frame frame = Unlocked([&] { return self.scan->Read(selected ? &*selected : nullptr); });
  const nb::object native = NativeDataFrame(frame);
  return WrapClone(native.ptr());
}

std::string KeyText(nb::handle cache_key) {
  const auto key = Utf8(cache_key);
  if (!key) {
    Raise(Status(ErrorCode::kInvalidArgument,
                 "the cache key holds a lone surrogate, which is not text: use another key"));
  }
  return std::string(*key);
}

// Each item: key, data, whether it is a Polars frame (its buffers are shared, others copied),
// origin.
void PutFrames(CacheCore& self, const nb::list& frames, int64_t dataset_id, nb::handle backtest_id,
               std::optional<double> fetch_cost_s) {
  std::vector<PutItem> items;
  for (nb::handle entry : frames) {
    const nb::tuple parts = nb::cast<nb::tuple>(entry);
    PutItem item;
    item.key = KeyText(parts[0]);
    Check(ValidateCacheKey(item.key));
    item.frame = nb::cast<bool>(parts[2]) ? FrameOfPolars(parts[1]) : FrameOfArrow(parts[1]);
    std::string origin = nb::cast<std::string>(parts[3]);
    if (!origin.empty()) item.frame = item.frame.WithOrigin(std::move(origin));
    items.push_back(std::move(item));
  }
  PutOptions options;
  options.dataset_id = dataset_id;
  options.backtest_id = BacktestOf(self, backtest_id);
  options.fetch_cost_s = fetch_cost_s;
  UnlockedStatus([&] { return self.cache->PutMany(items, options); });
}

// A frame that somebody fetched: read once, then stored and handed out.
struct FetchedFrame {
  Frame frame;
};

FetchedFrame ImportFrame(nb::handle data, bool is_polars, std::string origin) {
  Frame frame = is_polars ? FrameOfPolars(data) : FrameOfArrow(data);
  if (!origin.empty()) frame = frame.WithOrigin(std::move(origin));
  return FetchedFrame{std::move(frame)};
}

void PutFetched(CacheCore& self, nb::handle cache_key, const FetchedFrame& fetched,
                int64_t dataset_id, nb::handle backtest_id, double fetch_cost_s) {
  const std::string key = KeyText(cache_key);
  PutOptions options;
  options.dataset_id = dataset_id;
  options.backtest_id = BacktestOf(self, backtest_id);
  options.fetch_cost_s = fetch_cost_s;
  UnlockedStatus([&] { return self.cache->Put(key, fetched.frame, options); });
}

// The frame if it takes neither I/O nor SQL to serve it; None says nothing about the entry.
nb::object GetHot(CacheCore& self, nb::handle cache_key, nb::handle backtest_id) {
  const std::string key = KeyText(cache_key);
  const std::string backtest = BacktestOf(self, backtest_id);
  GetOptions options;
  options.backtest_id = backtest;
  options.log_hit = LoggerWants(EventLevel::kInfo);
  const auto entry = self.cache->GetHot(key, options);
  if (!entry) return nb::none();
  return DataFrameOfHit(self, key, Hit{entry->frame, entry->companion, entry, true});
}

// As get_cached_data, by somebody whose miss was counted already.
nb::object LookAgain(CacheCore& self, nb::handle cache_key, nb::handle backtest_id) {
  const std::string key = KeyText(cache_key);
  const std::string backtest = BacktestOf(self, backtest_id);
  GetOptions options;
  options.backtest_id = backtest;
  options.log_hit = LoggerWants(EventLevel::kInfo);
  options.count_miss = false;
  const std::optional<Hit> hit = Unlocked([&] { return self.cache->Get(key, options); });
  return hit ? DataFrameOfHit(self, key, *hit) : nb::none();
}

FlightHandle BeginFlight(CacheCore& self, nb::handle name) {
  const std::string text = KeyText(name);
  return FlightHandle(Unlocked([&] { return self.cache->BeginFlight(text); }));
}

nb::tuple DatasetOf(CacheCore& self, const std::string& source, const std::string& resolution) {
  const DatasetId id = Unlocked([&] { return self.cache->DatasetOf(source, resolution); });
  return nb::make_tuple(id.dataset_id, id.is_new);
}

void NoteUse(CacheCore& self, nb::handle cache_key, nb::handle backtest_id) {
  const std::string key = KeyText(cache_key);
  const std::string backtest = BacktestOf(self, backtest_id);
  UnlockedStatus([&] { return self.cache->NoteUse(key, backtest); });
}

nb::dict EntryDict(const EntryInfo& entry) {
  nb::dict row;
  row["cache_key"] = entry.cache_key;
  row["dataset_id"] = entry.dataset_id;
  row["parquet_path"] = entry.parquet_path;
  row["checksum"] = entry.checksum;
  row["created_at"] = entry.created_at;
  row["last_accessed"] = entry.last_accessed;
  row["access_count"] = entry.access_count;
  row["size_bytes"] = entry.size_bytes;
  return row;
}

nb::dict FullEntryDict(const EntryInfo& entry) {
  nb::dict row = EntryDict(entry);
  row["generation"] = entry.generation;
  row["request"] = entry.request_json;
  row["pinned"] = entry.is_pinned;
  return row;
}

nb::object LookupCache(CacheCore& self, nb::handle cache_key) {
  const auto key = Utf8(cache_key);
  if (!key) return nb::none();
  const auto entry = Unlocked([&] { return self.cache->Find(*key); });
  return entry ? nb::object(EntryDict(*entry)) : nb::none();
}

nb::object EntryOf(CacheCore& self, nb::handle cache_key) {
  const auto key = Utf8(cache_key);
  if (!key) return nb::none();
  const auto entry = Unlocked([&] { return self.cache->Find(*key); });
  return entry ? nb::object(FullEntryDict(*entry)) : nb::none();
}

nb::list EntryInfos(CacheCore& self) {
  nb::list rows;
  for (const EntryInfo& entry : Unlocked([&] { return self.cache->Entries(); })) {
    rows.append(FullEntryDict(entry));
  }
  return rows;
}

nb::dict SessionDict(const SessionStats& stats) {
  nb::dict session;
  session["hit_count"] = stats.hit_count;
  session["miss_count"] = stats.miss_count;
  session["hot_hits"] = stats.hot_hits;
  session["cold_hits"] = stats.cold_hits;
  return session;
}

nb::dict Statistics(CacheCore& self, std::optional<int64_t> from_s, std::optional<int64_t> to_s) {
  const CacheStatistics statistics = Unlocked([&] { return self.cache->Statistics(from_s, to_s); });
  nb::dict result;
  result["hit_count"] = statistics.hit_count;
  result["miss_count"] = statistics.miss_count;
  result["hit_rate"] = statistics.hit_rate;
  result["total_size_mb"] = static_cast<double>(statistics.total_size_bytes) / (1024.0 * 1024.0);
  result["entry_count"] = statistics.entry_count;
  result["avg_access_count"] = statistics.avg_access_count;
  result["session_stats"] = SessionDict(statistics.session);
  return result;
}

nb::dict CheckDict(CacheCore& self, bool repair) {
  const CheckReport report = Unlocked([&] { return self.cache->Check(repair); });
  nb::dict result;
  result["entries_checked"] = report.entries_checked;
  result["bytes_checked"] = report.bytes_checked;
  result["missing_files"] = report.missing_files;
  result["corrupt_files"] = report.corrupt_files;
  result["unreadable_files"] = report.unreadable_files;
  result["orphan_files"] = report.orphan_files;
  result["foreign_files"] = report.foreign_files;
  result["totals_differ"] = report.totals_differ;
  result["catalog_damaged"] = report.catalog_damaged;
  result["repaired"] = report.repaired;
  result["clean"] = report.clean();
  return result;
}

std::unique_ptr<Cache> OpenCache(const CacheOptions& options) {
  return Unlocked([&] { return Cache::Open(options, MakeEventSink()); });
}

bool RepairCatalog(std::string db_path, std::string cache_directory) {
  CacheOptions options;
  options.db_path = std::move(db_path);
  options.cache_directory = std::move(cache_directory);
  return Unlocked([&] { return Cache::RepairCatalog(options, MakeEventSink()); });
}

void Construct(CacheCore* self, std::string db_path, std::string cache_directory,
               int64_t hot_capacity_bytes, int64_t cold_capacity_bytes,
               std::string_view eviction_policy, bool full_durability, bool read_only,
               bool record_on_close, int64_t decode_budget_bytes, int64_t busy_timeout_ms,
               int64_t lease_ms, nb::object backtest_variable) {
  CacheOptions options;
  options.db_path = std::move(db_path);
  options.cache_directory = std::move(cache_directory);
  options.hot_capacity_bytes = hot_capacity_bytes;
  options.cold_capacity_bytes = cold_capacity_bytes;
  options.eviction_policy = Unwrap(ParseEvictionPolicy(eviction_policy));
  options.durability = full_durability ? Durability::kFull : Durability::kNormal;
  options.read_only = read_only;
  options.record_on_close = record_on_close;
  options.decode_budget_bytes = decode_budget_bytes;
  options.busy_timeout_ms = busy_timeout_ms;
  options.lease_ms = lease_ms;
  std::unique_ptr<Cache> cache = OpenCache(options);
  auto* made = new (self) CacheCore;
  made->cache = std::move(cache);
  made->ledger = std::make_unique<Ledger>(&made->cache->catalog());
  made->merger = std::make_unique<Merger>(made->cache.get(), made->ledger.get());
  made->backtest_variable = std::move(backtest_variable);
}

// The garbage collector must see the reference to the context variable.
int Traverse(PyObject* self, visitproc visit, void* arg) {
#if PY_VERSION_HEX >= 0x03090000
  Py_VISIT(Py_TYPE(self));
#endif
  if (!nb::inst_ready(self)) return 0;
  Py_VISIT(nb::inst_ptr<CacheCore>(self)->backtest_variable.ptr());
  return 0;
}

int ClearReferences(PyObject* self) {
  nb::inst_ptr<CacheCore>(self)->backtest_variable.reset();
  return 0;
}

PyType_Slot kCacheSlots[] = {{Py_tp_traverse, reinterpret_cast<void*>(&Traverse)},
                             {Py_tp_clear, reinterpret_cast<void*>(&ClearReferences)},
                             {0, nullptr}};

void BindFrames(nb::class_<CacheCore>& core) {
  core.def("get_cached_data", &GetCachedData, nb::arg("cache_key").none(), nb::kw_only(),
           nb::arg("backtest_id") = nb::none(), nb::arg("columns") = nb::none(),
           nb::arg("frame").none() = nb::steal(PyUnicode_InternFromString("polars")),
           nb::sig("def get_cached_data(self, cache_key: str, *, backtest_id: str | None = None, "
                   "columns: list[str] | None = None, frame: str = 'polars') -> typing.Any"),
           "The frame under ``cache_key``, or None on a miss.\n\n"
           "Args:\n"
           "    cache_key: as put; anything that is no key is a miss.\n"
           "    backtest_id: links the entry to this backtest on a hit.\n"
           "    columns: only these, in this order; never kept in memory under the key.\n"
           "    frame: \"polars\" (a ``pl.DataFrame``), \"pandas\" (the pandas frame that was put, "
           "index and\n        MultiIndex columns included) or \"arrow\" (a ``pyarrow.Table``).\n\n"
           "Raises:\n"
           "    ColumnNotFound: the entry has no column of that name.\n\n"
           "Bad bytes on disk are a miss: the entry is dropped and logged.")
      .def("get_many", &GetMany, nb::arg("cache_keys"), nb::kw_only(),
           nb::arg("backtest_id") = nb::none(), nb::arg("columns") = nb::none(),
           nb::arg("frame") = nb::steal(PyUnicode_InternFromString("polars")),
           nb::sig("def get_many(self, cache_keys: collections.abc.Iterable[str], *, "
                   "backtest_id: str | None = None, columns: list[str] | None = None, "
                   "frame: str = 'polars') -> list[typing.Any]"),
           "As get_cached_data for each key, read side by side: the frames in the order of the "
           "keys, None\nfor a miss.")
      .def("_open_scan", &OpenScan, nb::arg("cache_key"), nb::arg("backtest_id").none(),
           nb::sig("def _open_scan(self, cache_key: str, backtest_id: str | None) "
                   "-> tuple[FrameScan, polars.DataFrame] | None"))
      .def("_put_frames", &PutFrames, nb::arg("frames"), nb::arg("dataset_id"),
           nb::arg("backtest_id").none(), nb::arg("fetch_cost_s") = nb::none(),
           nb::sig("def _put_frames(self, frames: list[tuple[str, typing.Any, bool, str]], "
                   "dataset_id: int, backtest_id: str | None, "
                   "fetch_cost_s: float | None = None) -> None"))
      .def("_generate_key",
           [](CacheCore& self, std::vector<nb::bytes> symbols, nb::bytes start_date,
              nb::bytes end_date, nb::bytes resolution, nb::bytes data_source) {
             const auto text = [](const nb::bytes& bytes) {
               return std::string(bytes.c_str(), bytes.size());
             };
             DataRequest request{
                 {}, text(start_date), text(end_date), text(resolution), text(data_source)};
             for (const nb::bytes& symbol : symbols) request.symbols.push_back(text(symbol));
             return Unwrap(self.cache->GenerateKey(request));
           })
      .def("_remember_request", [](CacheCore& self, std::string_view key, std::string_view json) {
        self.cache->RememberRequest(key, json);
      });
}

void BindFetching(nb::module_& module, nb::class_<CacheCore>& core) {
  nb::class_<FetchedFrame>(module, "FetchedFrame",
                           "A frame read once, to be stored and handed out.")
      .def(
          "polars",
          [](const FetchedFrame& self) {
            const nb::object native = NativeDataFrame(self.frame);
            return WrapClone(native.ptr());
          },
          nb::sig("def polars(self) -> polars.DataFrame"), "What a hit would hand out.");
  core.def("_import_frame",
           [](CacheCore&, nb::handle data, bool is_polars, std::string origin) {
             return ImportFrame(data, is_polars, std::move(origin));
           })
      .def("_put_fetched", &PutFetched, nb::arg("cache_key"), nb::arg("fetched"),
           nb::arg("dataset_id"), nb::arg("backtest_id").none(), nb::arg("fetch_cost_s"),
           nb::sig("def _put_fetched(self, cache_key: str, fetched: FetchedFrame, dataset_id: int, "
                   "backtest_id: str | None, fetch_cost_s: float) -> None"))
      .def("_get_hot", &GetHot, nb::arg("cache_key"), nb::arg("backtest_id").none(),
           nb::sig("def _get_hot(self, cache_key: str, backtest_id: str | None) "
                   "-> polars.DataFrame | None"))
      .def("_look_again", &LookAgain, nb::arg("cache_key"), nb::arg("backtest_id").none(),
           nb::sig("def _look_again(self, cache_key: str, backtest_id: str | None) "
                   "-> polars.DataFrame | None"))
      .def("_begin_flight", &BeginFlight, nb::arg("name"), nb::keep_alive<0, 1>(),
           nb::sig("def _begin_flight(self, name: str) -> Flight"))
      .def("_dataset_of", &DatasetOf, nb::arg("source"), nb::arg("resolution"),
           nb::sig("def _dataset_of(self, source: str, resolution: str) -> tuple[int, bool]"))
      .def("_note_use", &NoteUse, nb::arg("cache_key"), nb::arg("backtest_id").none(),
           nb::sig("def _note_use(self, cache_key: str, backtest_id: str | None) -> None"));
}

void BindQueries(nb::class_<CacheCore>& core) {
  core.def("lookup_cache", &LookupCache, nb::arg("cache_key").none(),
           nb::sig("def lookup_cache(self, cache_key: str) -> dict[str, typing.Any] | None"),
           "The entry's row, uses not yet written included; None if there is none.")
      .def("_entry", &EntryOf, nb::arg("cache_key"),
           nb::sig("def _entry(self, cache_key: str) -> dict[str, typing.Any] | None"))
      .def("entry_infos", &EntryInfos,
           nb::sig("def entry_infos(self) -> list[dict[str, typing.Any]]"),
           "Every entry's row, ordered by key, with ``generation``, ``request`` and ``pinned``.")
      .def("_backtests",
           [](CacheCore& self, nb::handle cache_key) {
             const auto key = Utf8(cache_key);
             return key ? Unlocked([&] { return self.cache->BacktestsOf(*key); })
                        : std::vector<std::string>();
           })
      .def("_keys_of",
           [](CacheCore& self, std::string_view backtest_id) {
             return Unlocked([&] { return self.cache->KeysOf(backtest_id); });
           })
      .def("_statistics", &Statistics, nb::arg("from_s").none(), nb::arg("to_s").none(),
           nb::sig("def _statistics(self, from_s: int | None, to_s: int | None) "
                   "-> dict[str, typing.Any]"))
      .def(
          "_session_stats",
          [](const CacheCore& self) { return SessionDict(self.cache->session_stats()); },
          nb::sig("def _session_stats(self) -> dict[str, int]"))
      .def("_set_session_stats",
           [](CacheCore& self, int64_t hit_count, int64_t miss_count, int64_t hot_hits,
              int64_t cold_hits) {
             self.cache->set_session_stats({hit_count, miss_count, hot_hits, cold_hits});
           })
      .def(
          "record_daily_statistics",
          [](CacheCore& self) {
            UnlockedStatus([&] { return self.cache->RecordDailyStatistics(); });
          },
          "Add what was counted since the last record to today's row (UTC).")
      .def("_entry_count",
           [](CacheCore& self) { return Unlocked([&] { return self.cache->EntryCount(); }); })
      .def("_total_size_bytes",
           [](CacheCore& self) { return Unlocked([&] { return self.cache->TotalSizeBytes(); }); })
      .def_static("_repair_catalog", &RepairCatalog, nb::arg("db_path"), nb::arg("cache_directory"),
                  nb::sig("def _repair_catalog(db_path: str, cache_directory: str) -> bool"))
      .def("_check", &CheckDict, nb::arg("repair"),
           nb::sig("def _check(self, repair: bool) -> dict[str, typing.Any]"));
}

void BindRemoval(nb::class_<CacheCore>& core) {
  core.def("_erase",
           [](CacheCore& self, nb::handle cache_key) {
             const auto key = Utf8(cache_key);
             return key ? Unlocked([&] { return self.cache->Erase(*key); }) : 0;
           })
      .def("_erase_backtest",
           [](CacheCore& self, std::string_view backtest_id, bool keep_shared) {
             return Unlocked([&] { return self.cache->EraseBacktest(backtest_id, keep_shared); });
           })
      .def("_erase_unused_since",
           [](CacheCore& self, int64_t before_s) {
             return Unlocked([&] { return self.cache->EraseUnusedSince(before_s); });
           })
      .def("_clear", [](CacheCore& self) { return Unlocked([&] { return self.cache->Clear(); }); })
      .def("_evict",
           [](CacheCore& self) { return Unlocked([&] { return self.cache->EvictIfNeeded(); }); });
}

void BindPins(nb::class_<CacheCore>& core) {
  core.def("_pin",
           [](CacheCore& self, std::string_view cache_key) {
             return Unlocked([&] { return self.cache->Pin(cache_key); });
           })
      .def("_pin_backtest",
           [](CacheCore& self, std::string_view backtest_id) {
             return Unlocked([&] { return self.cache->PinBacktest(backtest_id); });
           })
      .def("_unpin",
           [](CacheCore& self, std::string_view cache_key) {
             return Unlocked([&] { return self.cache->Unpin(cache_key); });
           })
      .def("_unpin_backtest",
           [](CacheCore& self, std::string_view backtest_id) {
             return Unlocked([&] { return self.cache->UnpinBacktest(backtest_id); });
           })
      .def("_pinned",
           [](CacheCore& self) { return Unlocked([&] { return self.cache->PinnedKeys(); }); });
}

void BindSettings(nb::class_<CacheCore>& core) {
  core.def_prop_rw(
          "_cold_capacity_bytes",
          [](const CacheCore& self) { return self.cache->cold_capacity_bytes(); },
          [](CacheCore& self, int64_t bytes) { Check(self.cache->set_cold_capacity_bytes(bytes)); })
      .def_prop_rw(
          "eviction_policy",
          [](const CacheCore& self) {
            return std::string(EvictionPolicyName(self.cache->eviction_policy()));
          },
          [](CacheCore& self, nb::handle name) {
            if (!PyUnicode_Check(name.ptr())) RaiseInvalidType("eviction_policy must be a str");
            const std::string_view text = Utf8(name).value_or("");
            self.cache->set_eviction_policy(Unwrap(ParseEvictionPolicy(text)));
          },
          nb::for_setter(nb::arg("name").none()),
          nb::for_setter(nb::sig("def eviction_policy(self, name: str, /) -> None")),
          "Who leaves first: \"lru\", \"size\", \"hybrid\", \"gdsf\", \"s3fifo\". Assigning evicts "
          "nothing.")
      .def("_hot_tier", [](const CacheCore& self) { return LruCache{self.cache->hot_tier()}; })
      .def("_set_hot_tier",
           [](CacheCore& self, const LruCache& hot) { self.cache->set_hot_tier(hot.tier); })
      .def("_begin_backtest", [](CacheCore& self) { ++self.open_backtests; })
      .def("_end_backtest", [](CacheCore& self) { --self.open_backtests; })
      .def(
          "flush", [](CacheCore& self) { UnlockedStatus([&] { return self.cache->Flush(); }); },
          "Write pending uses and links now; they would be written within a second anyway.")
      .def("_close",
           [](CacheCore& self) {
             UnlockedStatus([&] {
               self.merger->Stop();
               return self.cache->Close();
             });
           })
      .def_prop_ro("closed", [](const CacheCore& self) { return self.cache->closed(); })
      .def_prop_ro("catalog_id",
                   [](const CacheCore& self) { return self.cache->catalog().catalog_id(); })
      .def_prop_ro("connection_target",
                   [](const CacheCore& self) { return self.cache->catalog().connection_target(); })
      .def("begin_engine_commit",
           [](CacheCore& self) { self.cache->catalog().BeginEngineCommit(); })
      .def("end_engine_commit", [](CacheCore& self) { self.cache->catalog().EndEngineCommit(); });
}

}  // namespace

void BindCache(nb::module_& module) {
  nb::class_<FrameScanHandle>(module, "FrameScan",
                              "An entry held open: each read verifies the file anew.")
      .def("read", &ReadScan, nb::arg("columns").none(),
           nb::sig("def read(self, columns: list[str] | None) -> polars.DataFrame"),
           "The columns named, or all; EntryCorrupt if the bytes are no longer those put.");
  nb::class_<CacheCore> core(module, "CacheCore", nb::type_slots(kCacheSlots),
                             "The native base of CacheManager: use that.");
  core.def("__init__", &Construct, nb::arg("db_path"), nb::arg("cache_directory"),
           nb::arg("hot_capacity_bytes"), nb::arg("cold_capacity_bytes"),
           nb::arg("eviction_policy"), nb::arg("full_durability"), nb::arg("read_only"),
           nb::arg("record_on_close"), nb::arg("decode_budget_bytes"), nb::arg("busy_timeout_ms"),
           nb::arg("lease_ms"), nb::arg("backtest_variable"));
  BindFrames(core);
  BindFetching(module, core);
  BindQueries(core);
  BindRemoval(core);
  BindPins(core);
  BindSettings(core);
  BindLedgerOfCache(core);
  BindMergerOfCache(core);
  BindAnswersOfCache(core);
}

}  // namespace barcache::python
