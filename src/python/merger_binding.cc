// Merges of segments. Names, GIL and exceptions; no logic.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <utility>
#include <vector>

#include "bars/merger.h"
#include "python/cache_core.h"
#include "python/errors.h"
#include "python/gil.h"
#include "python/series_handle.h"

namespace nb = nanobind;

namespace barcache::python {
namespace {

std::vector<MergeSuggestion> SuggestionsOf(const std::string& source, const std::string& resolution,
                                           const std::string& adjustment,
                                           std::vector<std::string> symbols,
                                           const std::string& time_column, size_t merge_at) {
  std::vector<MergeSuggestion> suggestions;
  suggestions.reserve(symbols.size());
  for (std::string& symbol : symbols) {
    suggestions.push_back(
        {{source, resolution, adjustment, std::move(symbol)}, time_column, merge_at});
  }
  return suggestions;
}

int64_t MergeNow(CacheCore& self, const std::string& source, const std::string& resolution,
                 const std::string& adjustment, std::vector<std::string> symbols,
                 const std::string& time_column, size_t merge_at) {
  const auto suggestions =
      SuggestionsOf(source, resolution, adjustment, std::move(symbols), time_column, merge_at);
  Result<int64_t> gone = [&]() -> Result<int64_t> {
    const GilRelease unlocked;
    int64_t segments = 0;
    for (const MergeSuggestion& suggestion : suggestions) {
      BARCACHE_ASSIGN_OR_RETURN(const MergeReport report, self.merger->MergeNow(suggestion));
      segments += report.segments;
    }
    return segments;
  }();
  return Unwrap(std::move(gone));
}

}  // namespace

void BindMergerOfCache(nb::class_<CacheCore>& core) {
  core.def(
          "_fetched_bars",
          [](CacheCore& self, const std::vector<SeriesHandle>& before,
             const std::string& time_column) {
            std::vector<SeriesPointer> series;
            series.reserve(before.size());
            for (const SeriesHandle& one : before) series.push_back(one.series);
            const GilRelease unlocked;
            self.merger->Fetched(series, time_column);
          },
          nb::arg("before"), nb::arg("time_column"),
          "Answers were recorded in these series: has their small segments merged.")
      .def("_merge_now", &MergeNow, nb::arg("source"), nb::arg("resolution"), nb::arg("adjustment"),
           nb::arg("symbols"), nb::arg("time_column"), nb::arg("merge_at") = kMergeAt,
           "Merges them before it returns. Returns how many segments are gone.")
      .def(
          "_drain_merges",
          [](CacheCore& self) {
            const GilRelease unlocked;
            self.merger->Drain();
          },
          "Waits for the background.");
}

}  // namespace barcache::python
