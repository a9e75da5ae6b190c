// Plan, take, cut, join. See bar_answer.h.
#include "bars/bar_answer.h"

#include <algorithm>
#include <utility>

#include "hot/hot_tier.h"

namespace barcache {

namespace {

// Behind the time, as a source would have it.
constexpr size_t kSymbolColumnAt = 1;

struct PlannedPiece {
  size_t series = 0;
  Interval interval;
  size_t segment = 0;  // Its place in the answer's segment_keys.
};

// The pieces of all series; nullopt: something is missing.
std::optional<std::vector<PlannedPiece>> PlanPieces(const BarQuestion& question,
                                                    BarAnswer* answer) {
  std::vector<PlannedPiece> pieces;
  pieces.reserve(question.series.size());
  for (size_t i = 0; i < question.series.size(); ++i) {
    const Interval& interval = question.shapes[question.shape_of[i]].interval;
    RequestPlan plan = PlanRequest(question.series[i]->coverage, interval, question.rule);
    if (!plan.lacks.empty()) return std::nullopt;
    if (plan.fresh_until_s.has_value()) {
      answer->fresh_until_s =
          std::min(answer->fresh_until_s.value_or(*plan.fresh_until_s), *plan.fresh_until_s);
    }
    // A series has few segments, and none of another's.
    const size_t first = answer->segment_keys.size();
    for (Piece& piece : plan.pieces) {
      const auto begin = answer->segment_keys.begin() + static_cast<std::ptrdiff_t>(first);
      const auto known = std::find(begin, answer->segment_keys.end(), piece.segment_key);
      const auto place = static_cast<size_t>(known - answer->segment_keys.begin());
      if (known == answer->segment_keys.end()) {
        answer->segment_keys.push_back(std::move(piece.segment_key));
      }
      pieces.push_back({i, piece.interval, place});
    }
  }
  return pieces;
}

struct Taken {
  Frame frame;  // Invalid: it was not there.
  std::shared_ptr<const HotEntry> entry;
};

// The segments, in the order of their keys.
Result<std::vector<Taken>> TakeSegments(Cache* cache, const std::vector<std::string>& keys,
                                        const GetOptions& get, bool at_once) {
  std::vector<Taken> taken(keys.size());
  std::vector<size_t> cold;
  if (at_once) {
    const std::shared_ptr<HotTier> tier = cache->hot_tier();
    const auto is_hot = [&](const std::string& key) { return tier->Peek(key) != nullptr; };
    if (!std::ranges::all_of(keys, is_hot)) return taken;
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    auto entry = cache->GetHot(keys[i], get);
    if (entry != nullptr && entry->frame.valid()) {
      taken[i].frame = entry->frame;
      taken[i].entry = std::move(entry);
    } else {
      cold.push_back(i);
    }
  }
  if (cold.empty() || at_once) return taken;
  std::vector<std::string> cold_keys;
  for (const size_t place : cold) cold_keys.push_back(keys[place]);
  BARCACHE_RETURN_IF_ERROR(cache->GetMany(cold_keys, get, [&](const std::vector<IndexedHit>& hits) {
    for (const auto& [place, hit] : hits) taken[cold[place]] = {hit.frame, hit.entry};
  }));
  return taken;
}

bool AllAlike(const std::vector<FrameSlice>& slices) {
  return std::ranges::all_of(slices, [&](const FrameSlice& slice) {
    return HaveSameColumns(slice.frame, slices.front().frame);
  });
}

bool HasColumn(const Frame& frame, const std::string& name) {
  const std::vector<std::string> names = frame.column_names();
  return std::ranges::find(names, name) != names.end();
}

Result<Frame> Joined(const BarQuestion& question, const BarAnswer& answer) {
  const std::string& name = question.symbol_column;
  if (name.empty() || HasColumn(answer.slices.front().frame, name)) {
    return JoinSlices(answer.slices);
  }
  AddedColumn added{name, kSymbolColumnAt, {}};
  for (const size_t series : answer.series_of) {
    added.values.push_back(question.series[series]->name.symbol);
  }
  return JoinSlices(answer.slices, added);
}

}  // namespace

Result<std::optional<BarAnswer>> AnswerFromCache(Cache* cache, const BarQuestion& question) {
  BarAnswer answer;
  const auto pieces = PlanPieces(question, &answer);
  if (!pieces) return std::optional<BarAnswer>();
  const bool copies = pieces->size() > 1 || !question.symbol_column.empty();
  if (question.at_once && copies) return std::optional<BarAnswer>();
  BARCACHE_ASSIGN_OR_RETURN(
      const std::vector<Taken> taken,
      TakeSegments(cache, answer.segment_keys, question.get, question.at_once));
  answer.slices.reserve(pieces->size());
  answer.series_of.reserve(pieces->size());
  for (const PlannedPiece& piece : *pieces) {
    const Frame& frame = taken[piece.segment].frame;
    if (!frame.valid()) return std::optional<BarAnswer>();
    const std::string& time = question.shapes[question.shape_of[piece.series]].time_column;
    auto slice = RowsBetween(frame, time, piece.interval.begin_ns, piece.interval.end_ns);
    if (!slice.ok()) return std::optional<BarAnswer>();
    if (slice->length == 0) continue;
    answer.slices.push_back(std::move(*slice));
    answer.series_of.push_back(piece.series);
    answer.entry = taken[piece.segment].entry;
  }
  const bool is_one = answer.slices.size() == 1 && question.symbol_column.empty();
  if (!answer.slices.empty() && !is_one && AllAlike(answer.slices)) {
    BARCACHE_ASSIGN_OR_RETURN(answer.joined, Joined(question, answer));
  }
  return std::optional<BarAnswer>(std::move(answer));
}

}  // namespace barcache
