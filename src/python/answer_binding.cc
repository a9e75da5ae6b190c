// Requests for bars that the cache alone answers. Names, GIL and exceptions; no logic.

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bars/bar_answer.h"
#include "hot/hot_tier.h"
#include "python/bindings.h"
#include "python/cache_core.h"
#include "python/errors.h"
#include "python/event_log.h"
#include "python/gil.h"
#include "python/polars_bridge.h"
#include "python/series_handle.h"

namespace nb = nanobind;

namespace barcache::python {
namespace {

// Time column, begin_ns, end_ns.
using ShapeTuple = std::tuple<std::string, int64_t, int64_t>;

// The series of a list of symbols, looked at together. Immutable.
struct SeriesSet {
  std::vector<SeriesPointer> series;
  std::vector<std::string> schema_texts;  // Distinct.
  std::vector<size_t> shape_of;           // Of each series, its place there.
};
using SeriesSetPointer = std::shared_ptr<const SeriesSet>;

struct SeriesSetHandle {
  SeriesSetPointer set;
};

SeriesSetHandle HandleOf(std::vector<SeriesPointer> series) {
  auto set = std::make_shared<SeriesSet>();
  std::unordered_map<std::string_view, size_t> places;
  for (const SeriesPointer& one : series) {
    const auto [place, is_new] = places.try_emplace(one->schema_text, set->schema_texts.size());
    if (is_new) set->schema_texts.push_back(one->schema_text);
    set->shape_of.push_back(place->second);
  }
  set->series = std::move(series);
  return {std::move(set)};
}

void RequireOpen(const CacheCore& self) {
  if (!self.cache->closed()) return;
  Raise(Status(ErrorCode::kClosed, "the cache of " + self.cache->options().db_path +
                                       " was closed: open a new CacheManager to go on"));
}

SeriesSetHandle LookAt(const CacheCore& self, const std::string& source,
                       const std::string& resolution, const std::string& adjustment,
                       const std::vector<std::string>& symbols) {
  RequireOpen(self);
  std::vector<SeriesName> names;
  names.reserve(symbols.size());
  for (const std::string& symbol : symbols) {
    names.push_back({source, resolution, adjustment, symbol});
  }
  auto looked = [&] {
    const GilRelease unlocked;
    return self.ledger->Look(names);
  }();
  return HandleOf(Unwrap(std::move(looked)));
}

SeriesSetHandle LookAgain(const CacheCore& self, const SeriesSetHandle& before) {
  RequireOpen(self);
  if (self.ledger->Unchanged(before.set->series)) return before;
  auto looked = [&] {
    const GilRelease unlocked;
    return self.ledger->LookAgain(before.set->series);
  }();
  return HandleOf(Unwrap(std::move(looked)));
}

nb::object FrameOf(const Frame& frame) {
  const nb::object native = NativeDataFrame(frame);
  return WrapClone(native.ptr());
}

// The rows of one segment, over its memory.
nb::object SliceOf(CacheCore& self, const BarAnswer& answer) {
  const FrameSlice& slice = answer.slices.front();
  const bool is_whole = slice.length == slice.frame.num_rows();
  const auto wrap = [&](PyObject* native) {
    return is_whole ? WrapClone(native) : WrapSlice(native, slice.offset, slice.length);
  };
  if (answer.entry != nullptr && answer.entry->companion != nullptr) {
    return wrap(CompanionObject(answer.entry->companion));
  }
  const nb::object native = NativeDataFrame(slice.frame);
  if (answer.entry != nullptr && answer.segment_keys.size() == 1) {
    self.cache->AttachCompanion(answer.segment_keys.front(),
                                Hit{slice.frame, nullptr, answer.entry, true},
                                MakeCompanion(native));
  }
  return wrap(native.ptr());
}

// A DataFrame, or bars that are not alike, by symbol.
nb::object BarsOf(CacheCore& self, const BarQuestion& question, const BarAnswer& answer) {
  if (answer.joined.valid()) return FrameOf(answer.joined);
  if (answer.slices.size() == 1 && question.symbol_column.empty()) return SliceOf(self, answer);
  nb::list parts;
  for (size_t i = 0; i < answer.slices.size(); ++i) {
    const FrameSlice& slice = answer.slices[i];
    parts.append(nb::make_tuple(question.series[answer.series_of[i]]->name.symbol,
                                FrameOf(slice.frame).attr("slice")(slice.offset, slice.length)));
  }
  return parts;
}

// What the answer keeps alive.
int64_t SizeOf(const BarAnswer& answer) {
  if (answer.joined.valid()) return answer.joined.size_bytes();
  int64_t size_bytes = 0;
  for (const FrameSlice& slice : answer.slices) size_bytes += slice.frame.size_bytes();
  return size_bytes;
}

std::optional<BarAnswer> Answer(CacheCore& self, BarQuestion* question) {
  if (question->series.size() == 1) {  // Giving up the GIL would cost as much as the answer.
    question->at_once = true;
    auto hot = Unwrap(AnswerFromCache(self.cache.get(), *question));
    if (hot) return hot;
    question->at_once = false;
  }
  auto answer = [&] {
    const GilRelease unlocked;
    return AnswerFromCache(self.cache.get(), *question);
  }();
  return Unwrap(std::move(answer));
}

nb::object AnswerBars(CacheCore& self, const SeriesSetHandle& handle,
                      const std::vector<ShapeTuple>& shapes, int64_t now_s,
                      std::optional<int64_t> max_age_s, bool any_age,
                      const std::string& symbol_column, const std::string& backtest_id) {
  RequireOpen(self);
  const SeriesSet& set = *handle.set;
  BarQuestion question;
  question.series = set.series;
  question.shape_of = set.shape_of;
  for (const auto& [time_column, begin_ns, end_ns] : shapes) {
    question.shapes.push_back({time_column, {begin_ns, end_ns}});
  }
  if (question.shapes.size() != set.schema_texts.size()) {
    Raise(Status(ErrorCode::kInternal, "one shape for each schema; please report this"));
  }
  question.rule = {now_s, max_age_s, any_age, std::nullopt};
  question.symbol_column = symbol_column;
  question.get.backtest_id = backtest_id;
  question.get.log_hit = LoggerWants(EventLevel::kInfo);
  std::optional<BarAnswer> answer = Answer(self, &question);
  if (!answer) return nb::none();
  nb::object bars = BarsOf(self, question, *answer);
  const int64_t size_bytes = SizeOf(*answer);
  return nb::make_tuple(std::move(bars),
                        SeriesWatch{std::move(question.series), std::move(answer->segment_keys)},
                        answer->fresh_until_s, size_bytes);
}

}  // namespace

void BindAnswers(nb::module_& module) {
  nb::class_<SeriesSetHandle>(module, "SeriesSet", "The series of a list of symbols, as they were.")
      .def_prop_ro(
          "schema_texts", [](const SeriesSetHandle& self) { return self.set->schema_texts; },
          "How their bars look, each once.");
}

void BindAnswersOfCache(nb::class_<CacheCore>& core) {
  core.def(
          "_set_aside",
          [](const CacheCore& self, int64_t bytes) {
            self.cache->hot_tier()->SetAside(bytes, nullptr);
          },
          nb::arg("bytes"), "So much memory is kept beside the hot tier, and counts in it.")
      .def("_series_set", &LookAt, nb::arg("source"), nb::arg("resolution"), nb::arg("adjustment"),
           nb::arg("symbols"))
      .def("_look_again_at", &LookAgain, nb::arg("before"), "The same series as they are now.")
      .def("_answer_bars", &AnswerBars, nb::arg("series"), nb::arg("shapes"), nb::arg("now_s"),
           nb::arg("max_age_s").none(), nb::arg("any_age"), nb::arg("symbol_column"),
           nb::arg("backtest_id"),
           nb::sig("def _answer_bars(self, series: SeriesSet, shapes: list[tuple[str, int, int]], "
                   "now_s: int, max_age_s: int | None, any_age: bool, symbol_column: str, "
                   "backtest_id: str) -> tuple[polars.DataFrame | list[tuple[str, "
                   "polars.DataFrame]], SeriesWatch, int | None, int] | None"),
           "Shapes: time column, begin_ns, end_ns, one for each schema text. Returns bars (by "
           "symbol where\nthey are not alike), what they were made of, until when they are fresh, "
           "and the bytes they\nkeep alive; None: not all is there.");
}

}  // namespace barcache::python
