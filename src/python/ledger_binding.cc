// The ledger of bars and the arithmetic around it. Names, GIL and exceptions; no logic.

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
#include <utility>
#include <vector>

#include "barcache/cache.h"
#include "bars/fetch_plan.h"
#include "bars/ledger.h"
#include "bars/request_plan.h"
#include "catalog/catalog.h"
#include "frame/schema_text.h"
#include "python/bindings.h"
#include "python/cache_core.h"
#include "python/errors.h"
#include "python/gil.h"
#include "python/polars_bridge.h"
#include "python/series_handle.h"

namespace nb = nanobind;

namespace barcache::python {
namespace {

// begin_ns, end_ns, state, segment key, asked_at, expires_at.
using CoverageTuple =
    std::tuple<int64_t, int64_t, int64_t, std::string, int64_t, std::optional<int64_t>>;
// source, resolution, adjustment, symbol, schema, coverage, forget_others, in_place_of.
using AnswerTuple = std::tuple<std::string, std::string, std::string, std::string, std::string,
                               std::vector<CoverageTuple>, bool, std::vector<CoverageTuple>>;
using PieceTuple = std::tuple<int64_t, int64_t, std::string>;
using CallTuple = std::tuple<int64_t, int64_t, std::vector<size_t>>;

template <typename Call>
auto Unlocked(const CacheCore& self, Call call) {
  if (self.cache->closed()) {
    Raise(Status(ErrorCode::kClosed, "the cache of " + self.cache->options().db_path +
                                         " was closed: open a new CacheManager to go on"));
  }
  auto result = [&] {
    const GilRelease unlocked;
    return call();
  }();
  return Unwrap(std::move(result));
}

std::vector<SeriesHandle> Handles(std::vector<SeriesPointer> series) {
  std::vector<SeriesHandle> handles;
  handles.reserve(series.size());
  for (SeriesPointer& one : series) handles.push_back({std::move(one)});
  return handles;
}

std::vector<SeriesHandle> Look(const CacheCore& self, const std::string& source,
                               const std::string& resolution, const std::string& adjustment,
                               std::vector<std::string> symbols) {
  std::vector<SeriesName> names;
  names.reserve(symbols.size());
  for (std::string& symbol : symbols) {
    names.push_back({source, resolution, adjustment, std::move(symbol)});
  }
  return Handles(Unlocked(self, [&] { return self.ledger->Look(names); }));
}

std::vector<Coverage> CoverageOf(const std::vector<CoverageTuple>& rows) {
  std::vector<Coverage> coverage;
  coverage.reserve(rows.size());
  for (const auto& [begin_ns, end_ns, state, segment_key, asked_at_s, expires_at_s] : rows) {
    coverage.push_back({{begin_ns, end_ns},
                        static_cast<CoverageState>(state),
                        segment_key,
                        asked_at_s,
                        expires_at_s});
  }
  return coverage;
}

CoverageTuple TupleOf(const Coverage& coverage) {
  return {
      coverage.interval.begin_ns, coverage.interval.end_ns, static_cast<int64_t>(coverage.state),
      coverage.segment_key,       coverage.asked_at_s,      coverage.expires_at_s};
}

std::vector<CoverageTuple> TuplesOf(const SeriesHandle& self) {
  std::vector<CoverageTuple> rows;
  rows.reserve(self.series->coverage.size());
  for (const Coverage& coverage : self.series->coverage) rows.push_back(TupleOf(coverage));
  return rows;
}

int64_t Record(const CacheCore& self, const std::vector<AnswerTuple>& tuples) {
  std::vector<Answer> answers;
  answers.reserve(tuples.size());
  for (const auto& [source, resolution, adjustment, symbol, schema_text, coverage, forget_others,
                    in_place_of] : tuples) {
    answers.push_back({{source, resolution, adjustment, symbol},
                       schema_text,
                       CoverageOf(coverage),
                       forget_others,
                       CoverageOf(in_place_of)});
  }
  return Unlocked(self, [&] { return self.ledger->Record(answers); });
}

// Pieces, lacks with their reasons, and until when the pieces are fresh.
nb::tuple Plan(const SeriesHandle& self, int64_t begin_ns, int64_t end_ns, int64_t now_s,
               std::optional<int64_t> max_age_s, bool any_age, std::optional<int64_t> since_s) {
  const RequestPlan plan =
      PlanRequest(self.series->coverage, {begin_ns, end_ns}, {now_s, max_age_s, any_age, since_s});
  nb::list pieces;
  for (const Piece& piece : plan.pieces) {
    pieces.append(
        nb::make_tuple(piece.interval.begin_ns, piece.interval.end_ns, piece.segment_key));
  }
  nb::list lacks;
  for (const Lack& lack : plan.lacks) {
    const std::string_view reason = LackReasonName(lack.reason);
    lacks.append(nb::make_tuple(lack.interval.begin_ns, lack.interval.end_ns,
                                nb::str(reason.data(), reason.size())));
  }
  return nb::make_tuple(pieces, lacks, plan.fresh_until_s);
}

std::optional<PieceTuple> NeighbourOf(const SeriesHandle& self, int64_t moment_ns, bool after,
                                      int64_t now_s) {
  const auto piece = Neighbour(self.series->coverage, moment_ns,
                               after ? Side::kAfter : Side::kBefore, {now_s, {}, false, {}});
  if (!piece.has_value()) return std::nullopt;
  return PieceTuple{piece->interval.begin_ns, piece->interval.end_ns, piece->segment_key};
}

std::vector<CallTuple> Calls(const std::vector<std::tuple<size_t, int64_t, int64_t>>& gaps,
                             int64_t call_cost_ns) {
  std::vector<Gap> all;
  all.reserve(gaps.size());
  for (const auto& [symbol, begin_ns, end_ns] : gaps) all.push_back({symbol, {begin_ns, end_ns}});
  std::vector<CallTuple> calls;
  for (FetchCall& call : PlanCalls(all, call_cost_ns)) {
    calls.emplace_back(call.interval.begin_ns, call.interval.end_ns, std::move(call.symbols));
  }
  return calls;
}

std::string SchemaText(nb::handle data_frame) { return SchemaTextOf(FrameOfPolars(data_frame)); }

nb::object EmptyFrame(std::string_view schema_text) {
  const nb::object native = NativeDataFrame(Unwrap(EmptyFrameOf(schema_text)));
  return WrapClone(native.ptr());
}

SeriesWatch MakeWatch(const std::vector<SeriesHandle>& series,
                      std::vector<std::string> segment_keys) {
  SeriesWatch watch{{}, std::move(segment_keys)};
  watch.series.reserve(series.size());
  for (const SeriesHandle& one : series) watch.series.push_back(one.series);
  return watch;
}

bool Unchanged(const CacheCore& self, const SeriesWatch& watch) {
  return !self.cache->closed() && self.ledger->Unchanged(watch.series);
}

void CountHits(const CacheCore& self, const SeriesWatch& watch, std::string_view backtest_id) {
  self.cache->CountHits(watch.segment_keys, backtest_id);
}

void BindSeries(nb::module_& module) {
  nb::class_<SeriesHandle>(module, "Series",
                           "What the ledger knew of one symbol's bars when it was asked.")
      .def_prop_ro("key", [](const SeriesHandle& self) { return self.series->key; })
      .def_prop_ro("known", [](const SeriesHandle& self) { return self.series->known; })
      .def_prop_ro("schema_text", [](const SeriesHandle& self) { return self.series->schema_text; })
      .def_prop_ro(
          "name",
          [](const SeriesHandle& self) {
            const SeriesName& name = self.series->name;
            return std::tuple(name.source, name.resolution, name.adjustment, name.symbol);
          },
          "source, resolution, adjustment, symbol.")
      .def_prop_ro("coverage", &TuplesOf,
                   "begin_ns, end_ns, state, segment key, asked_at, expires_at; by begin.")
      .def("plan", &Plan, nb::arg("begin_ns"), nb::arg("end_ns"), nb::arg("now_s"),
           nb::arg("max_age_s").none(), nb::arg("any_age"), nb::arg("since_s").none(),
           nb::sig("def plan(self, begin_ns: int, end_ns: int, now_s: int, max_age_s: int | None, "
                   "any_age: bool, since_s: int | None) -> tuple[list[tuple[int, int, str]], "
                   "list[tuple[int, int, str]], int | None]"),
           "Pieces (with segment key), lacks (with reason), fresh_until_s.")
      .def("neighbour", &NeighbourOf, nb::arg("moment_ns"), nb::arg("after"), nb::arg("now_s"),
           "The final piece next to a moment, with nothing unknown between.");
}

}  // namespace

void BindLedgerOfCache(nb::class_<CacheCore>& core) {
  core.def("_ledger_look", &Look, nb::arg("source"), nb::arg("resolution"), nb::arg("adjustment"),
           nb::arg("symbols"))
      .def("_ledger_all",
           [](const CacheCore& self) {
             return Handles(Unlocked(self, [&] { return self.ledger->All(); }));
           })
      .def("_ledger_record", &Record, nb::arg("answers"),
           "Answers: source, resolution, adjustment, symbol, schema, coverage, forget_others,\n"
           "in_place_of. Returns how many were recorded.")
      .def("_unchanged", &Unchanged, nb::arg("watch"))
      .def("_count_hits", &CountHits, nb::arg("watch"), nb::arg("backtest_id"));
}

void BindLedger(nb::module_& module) {
  BindSeries(module);
  nb::class_<SeriesWatch>(module, "SeriesWatch",
                          "What a frame was made of: series as they were, and segments.")
      .def(
          "__init__",
          [](SeriesWatch* self, const std::vector<SeriesHandle>& series,
             std::vector<std::string> segment_keys) {
            new (self) SeriesWatch(MakeWatch(series, std::move(segment_keys)));
          },
          nb::arg("series"), nb::arg("segment_keys"));
  module.def("plan_calls", &Calls, nb::arg("gaps"), nb::arg("call_cost_ns"),
             "Gaps (symbol's place, begin_ns, end_ns) to calls (begin_ns, end_ns, places).");
  module.def("schema_text", &SchemaText, nb::arg("data_frame"),
             nb::sig("def schema_text(data_frame: polars.DataFrame) -> str"));
  module.def("empty_frame", &EmptyFrame, nb::arg("schema_text"),
             nb::sig("def empty_frame(schema_text: str) -> polars.DataFrame"));
}

}  // namespace barcache::python
