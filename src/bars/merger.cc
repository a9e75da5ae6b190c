// Reading, joining and storing a group of segments. See merger.h.
#include "bars/merger.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <new>
#include <utility>

#include "barcache/cache_key.h"
#include "bars/merge_plan.h"
#include "base/event.h"
#include "base/failpoint.h"
#include "base/file_system.h"
#include "frame/frame_slices.h"

namespace barcache {

namespace {

// Fetches of a moment are looked at together.
constexpr std::chrono::milliseconds kDelay{50};
// A group makes its segment larger: after a few rounds nothing is left to do.
constexpr int kMostRounds = 8;

std::string IsoUtc(int64_t ns) {
  std::time_t seconds = ns / 1'000'000'000 - (ns % 1'000'000'000 < 0 ? 1 : 0);
  std::tm parts{};
  if (gmtime_r(&seconds, &parts) == nullptr) return "";
  std::array<char, 64> text{};
  const size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S+00:00", &parts);
  return {text.data(), size};
}

// What the new segment answers, and which segments it was made of.
std::string RequestOf(const SeriesName& name, const std::vector<Coverage>& rows,
                      const std::vector<EntryInfo>& inputs) {
  const Result<std::string> json = CanonicalJson({{name.symbol},
                                                  IsoUtc(rows.front().interval.begin_ns),
                                                  IsoUtc(rows.back().interval.end_ns - 1),
                                                  name.resolution,
                                                  name.source});
  if (!json.ok()) return "";
  std::string from;
  for (const EntryInfo& input : inputs) {
    from += (from.empty() ? "\"" : ", \"") + input.cache_key + "\"";
  }
  // The keys of the JSON are in order; within a text a quote would be behind a backslash.
  std::string text = *json;
  const size_t at = text.find(", \"resolution\": ");
  if (at == std::string::npos) return text;
  return text.insert(at, ", \"merged_from\": [" + from + "]");
}

struct ReadSegments {
  std::vector<EntryInfo> inputs;
  std::vector<Frame> frames;
};

// The rows that the ledger names, in order of time.
Result<Frame> Joined(const ReadSegments& read, const std::vector<Coverage>& rows,
                     const std::string& time_column) {
  std::vector<FrameSlice> slices;
  for (const Coverage& row : rows) {
    const auto input = std::ranges::find(read.inputs, row.segment_key, &EntryInfo::cache_key);
    const Frame& frame = read.frames[static_cast<size_t>(input - read.inputs.begin())];
    BARCACHE_ASSIGN_OR_RETURN(
        FrameSlice slice,
        RowsBetween(frame, time_column, row.interval.begin_ns, row.interval.end_ns));
    slices.push_back(std::move(slice));
  }
  return JoinSlices(slices);
}

}  // namespace

Merger::Merger(Cache* cache, Ledger* ledger)
    : cache_(cache), ledger_(ledger), maintainer_([this] { Work(); }, kDelay) {
  JoinForks(ForkTurn::kThreads);
}

Merger::~Merger() {
  LeaveForks();
  Stop();
}

void Merger::Fetched(const std::vector<SeriesPointer>& before, const std::string& time_column) {
  std::vector<MergeSuggestion> soon;
  std::vector<MergeSuggestion> overdue;
  for (const SeriesPointer& series : before) {
    const Status dropped = DropSuperseded(*series);
    if (!dropped.ok()) return Complain(dropped);
    const size_t segments = SegmentsOf(series->coverage).size() + 1;
    if (segments < kMergeAt) continue;
    (segments < kOverdueAt ? soon : overdue).push_back({series->name, time_column, kMergeAt});
  }
  if (!soon.empty()) Suggest(std::move(soon));
  for (const MergeSuggestion& suggestion : overdue) {
    const Result<MergeReport> report = MergeNow(suggestion);
    if (!report.ok()) return Complain(report.status());
    if (report->series > 0) Report(*report);
  }
}

Status Merger::DropSuperseded(const Series& before) {
  const std::vector<std::string> candidates = ProvisionalSegmentsOf(before.coverage);
  if (candidates.empty()) return Status();
  BARCACHE_ASSIGN_OR_RETURN(const auto looked, ledger_->Look({before.name}));
  const std::vector<Coverage>& now = looked.front()->coverage;
  for (const std::string& key : candidates) {
    if (!RowsNaming(now, {key}).empty()) continue;
    const int64_t begin_ns = RowsNaming(before.coverage, {key}).front().interval.begin_ns;
    const auto heir = std::ranges::find_if(now, [&](const Coverage& row) {
      return row.state == CoverageState::kData && row.interval.begin_ns <= begin_ns &&
             begin_ns < row.interval.end_ns;
    });
    if (heir == now.end()) continue;  // The bar is gone: what it was stays readable.
    BARCACHE_ASSIGN_OR_RETURN(const auto entry, cache_->catalog().Find(key));
    if (!entry || entry->is_pinned) continue;
    BARCACHE_RETURN_IF_ERROR(cache_->Flush());  // Links that were noted and not written yet.
    BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, cache_->catalog().BeginWrite());
    BARCACHE_RETURN_IF_ERROR(writer.PassOn(key, heir->segment_key));
    BARCACHE_RETURN_IF_ERROR(writer.Commit());
    BARCACHE_ASSIGN_OR_RETURN(const int64_t erased, cache_->Erase(key));
    static_cast<void>(erased);
  }
  return Status();
}

void Merger::Suggest(std::vector<MergeSuggestion> suggestions) {
  if (stopped_ || cache_->options().read_only || cache_->cold_capacity_bytes() == 0) return;
  {
    const MutexLock lock(mutex_);
    for (MergeSuggestion& suggestion : suggestions) {
      if (suggested_.size() >= kMostSuggestions) break;
      if (!suggested_keys_.insert(SeriesKeyOf(suggestion.name)).second) continue;
      suggested_.push_back(std::move(suggestion));
    }
    if (suggested_.empty()) return;
  }
  maintainer_.Nudge();
}

std::optional<MergeSuggestion> Merger::Next() {
  const MutexLock lock(mutex_);
  working_ = true;
  if (suggested_.empty() || quiet_) return std::nullopt;
  MergeSuggestion next = std::move(suggested_.front());
  suggested_.pop_front();
  suggested_keys_.erase(SeriesKeyOf(next.name));
  return next;
}

void Merger::Work() {
  try {
    MergeReport total;
    while (const std::optional<MergeSuggestion> next = Next()) {
      const Result<MergeReport> report = MergeNow(*next);
      if (!report.ok()) {
        Complain(report.status());
        Forget();  // What is full or busy will be so for the next one, too.
        break;
      }
      total.series += report->series;
      total.segments += report->segments;
      total.merged += report->merged;
      total.size_bytes += report->size_bytes;
    }
    if (total.series > 0) Report(total);
  } catch (const std::bad_alloc&) {  // Later, by whoever fetches next.
    Forget();
  }
  const MutexLock lock(mutex_);
  working_ = false;
  drained_.notify_all();
}

void Merger::Forget() {
  const MutexLock lock(mutex_);
  suggested_.clear();
  suggested_keys_.clear();
}

void Merger::Report(const MergeReport& report) {
  complained_ = false;
  cache_->SayLater({EventLevel::kInfo,
                    "bars_merged",
                    {{"series", report.series},
                     {"segments", report.segments},
                     {"merged_into", report.merged},
                     {"size_mb", static_cast<double>(report.size_bytes) / (1024.0 * 1024.0)}}});
}

void Merger::Complain(const Status& status) {
  if (status.code() == ErrorCode::kClosed || complained_.exchange(true)) return;
  cache_->SayLater({EventLevel::kWarning, "bars_not_merged", {{"error", status.message()}}});
}

Result<std::vector<std::vector<std::string>>> Merger::Plan(const Series& series, size_t merge_at) {
  std::vector<std::vector<std::string>> groups;
  const std::vector<std::string> keys = FinalSegmentsOf(series.coverage);
  if (keys.size() < merge_at) return groups;
  std::vector<SegmentFacts> facts;
  for (const std::string& key : keys) {
    BARCACHE_ASSIGN_OR_RETURN(const auto entry, cache_->catalog().Find(key));
    if (entry) facts.push_back({key, entry->size_bytes, entry->is_pinned});
  }
  return PlanMerges(series.coverage, facts, merge_at);
}

Result<MergeReport> Merger::MergeNow(const MergeSuggestion& suggestion) {
  MergeReport total;
  for (int round = 0; round < kMostRounds && !quiet_; ++round) {
    BARCACHE_ASSIGN_OR_RETURN(const auto looked, ledger_->Look({suggestion.name}));
    const Series& series = *looked.front();
    BARCACHE_ASSIGN_OR_RETURN(const auto groups, Plan(series, suggestion.merge_at));
    int64_t merged = 0;
    for (const std::vector<std::string>& keys : groups) {
      if (quiet_) break;
      BARCACHE_ASSIGN_OR_RETURN(const MergeReport report, MergeGroup(series, suggestion, keys));
      total.segments += report.segments;
      total.size_bytes += report.size_bytes;
      merged += report.merged;
    }
    if (merged == 0) break;
    total.merged += merged;
  }
  total.series = total.merged > 0 ? 1 : 0;
  return total;
}

Result<MergeReport> Merger::MergeGroup(const Series& series, const MergeSuggestion& suggestion,
                                       const std::vector<std::string>& keys) {
  ReadSegments read;
  for (const std::string& key : keys) {
    BARCACHE_ASSIGN_OR_RETURN(auto stored, cache_->ReadStored(key));
    if (!stored) continue;  // Gone, or dropped by this very read.
    // Another source's columns, or its columns of another time: those stay apart.
    if (!read.frames.empty() && !HaveSameColumns(read.frames.front(), stored->frame)) continue;
    read.inputs.push_back(std::move(stored->info));
    read.frames.push_back(std::move(stored->frame));
  }
  if (read.inputs.size() < 2) return MergeReport{};
  Failpoint("merge.read");
  std::vector<std::string> input_keys;
  for (const EntryInfo& input : read.inputs) input_keys.push_back(input.cache_key);
  Answer answer;
  answer.name = series.name;
  answer.in_place_of = RowsNaming(series.coverage, input_keys);
  answer.coverage = answer.in_place_of;
  Merge merge;
  auto joined = Joined(read, answer.in_place_of, suggestion.time_column);
  if (!joined.ok()) {
    if (joined.status().code() == ErrorCode::kInvalidArgument) return MergeReport{};
    return joined.status();
  }
  merge.item = {series.key + ":" + RandomHex32().substr(0, 16), std::move(*joined)};
  merge.options.dataset_id = read.inputs.back().dataset_id;
  merge.options.request_json = RequestOf(series.name, answer.in_place_of, read.inputs);
  merge.inputs = std::move(read.inputs);
  for (Coverage& row : answer.coverage) row.segment_key = merge.item.key;
  merge.record = [&](CatalogWriter* writer) { return Ledger::RecordWithin(writer, answer); };
  BARCACHE_ASSIGN_OR_RETURN(const int64_t size_bytes, cache_->PutInPlaceOf(merge));
  if (size_bytes < 0) return MergeReport{};
  return MergeReport{1, static_cast<int64_t>(merge.inputs.size()), 1, size_bytes};
}

void Merger::Drain() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  std::unique_lock lock(mutex_);
  drained_.wait(lock, [this]() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
    return (suggested_.empty() && !working_) || stopped_;
  });
}

void Merger::Stop() {
  stopped_ = quiet_ = true;
  maintainer_.Stop();
  Forget();
  drained_.notify_all();
}

void Merger::BeforeFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  quiet_ = true;
  maintainer_.LockForFork();
  mutex_.lock();
}

void Merger::AfterFork(bool in_child) BARCACHE_NO_THREAD_SAFETY_ANALYSIS {
  if (in_child) {  // What was suggested is the parent's to do.
    suggested_.clear();
    suggested_keys_.clear();
  }
  const bool left = !suggested_.empty();
  quiet_ = stopped_.load();
  mutex_.unlock();
  maintainer_.UnlockAfterFork();
  if (left) maintainer_.Nudge();
}

}  // namespace barcache
