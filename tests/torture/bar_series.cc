#include "torture/bar_series.h"

#include <utility>

#include "bars/bars_sample.h"
#include "bars/ledger.h"
#include "bars/merger.h"
#include "catalog/catalog.h"
#include "frame/frame_data.h"
#include "frame/frame_slices.h"

namespace barcache::torture {
namespace {

constexpr int64_t kDayUs = kDayNs / 1000;

void AddDays(const FrameSlice& slice, std::vector<int64_t>* days,
             std::vector<std::string>* broken) {
  const ArrowArray& times = *slice.frame.data()->array.children[0];
  const ArrowArray& closes = *slice.frame.data()->array.children[1];
  for (int64_t row = slice.offset; row < slice.offset + slice.length; ++row) {
    const int64_t time = static_cast<const int64_t*>(times.buffers[1])[times.offset + row];
    const double close = static_cast<const double*>(closes.buffers[1])[closes.offset + row];
    const int64_t day = time / kDayUs;
    if (close != static_cast<double>(day)) broken->push_back("a bar is not worth its day");
    if (!days->empty() && day <= days->back()) broken->push_back("a bar is there twice");
    days->push_back(day);
  }
}

}  // namespace

SeriesName BarSeries() { return {"vendor", "1d", "", "bars"}; }

void PutBars(Worker& worker, int first_day, int last_day) {
  const std::string key = SeriesKeyOf(BarSeries()) + ":" + std::to_string(first_day);
  const Frame bars = BarsFrom(first_day, last_day - first_day + 1, kDayUs);
  worker.Do("put bars", {}, [&](Cache& cache) { return cache.Put(key, bars, {}); });
  std::string days;
  for (int day = 0; day <= last_day; ++day) days += (day == 0 ? "" : ",") + std::to_string(day);
  const Effect effect{.kind = Effect::Kind::kFact, .name = "bars", .text = days};
  worker.Do("record bars", {effect}, [&](Cache& cache) {
    const Interval interval{first_day * kDayNs, (last_day + 1) * kDayNs};
    const Coverage coverage{interval, CoverageState::kData, key, 1, std::nullopt};
    Ledger ledger(&cache.catalog());
    return ledger.Record({{BarSeries(), "schema", {coverage}, false, {}}}).status();
  });
}

void MergeBars(Worker& worker) {
  worker.Do("merge bars", {}, [](Cache& cache) {
    Ledger ledger(&cache.catalog());
    Merger merger(&cache, &ledger);
    return merger.MergeNow({BarSeries(), "timestamp", 2}).status();
  });
}

std::string BarsFound(Cache* cache, std::vector<std::string>* broken) {
  const auto stored = cache->catalog().FindSeries(SeriesKeyOf(BarSeries()));
  if (!stored.ok() || !*stored) return "";
  std::vector<int64_t> days;
  for (const Coverage& part : SoundCoverage((*stored)->series.series_key, (*stored)->coverage)) {
    if (part.state != CoverageState::kData) continue;
    const auto segment = cache->ReadStored(part.segment_key);
    if (!segment.ok() || !*segment) {
      broken->push_back("the ledger names a segment that is not there");
      continue;
    }
    const auto bars =
        RowsBetween((*segment)->frame, "timestamp", part.interval.begin_ns, part.interval.end_ns);
    if (!bars.ok()) {
      broken->push_back("cut bars: " + bars.status().ToString());
    } else {
      AddDays(*bars, &days, broken);
    }
  }
  std::string text;
  for (const int64_t day : days) text += (text.empty() ? "" : ",") + std::to_string(day);
  return text;
}

}  // namespace barcache::torture
