// The ledger over the catalog. See ledger.h.
#include "bars/ledger.h"

#include <algorithm>
#include <utility>

#include "base/failpoint.h"

namespace barcache {

namespace {

SeriesPointer FromStored(const StoredSeries& stored) {
  auto series = std::make_shared<Series>();
  const SeriesRow& row = stored.series;
  series->name = {row.source, row.resolution, row.adjustment, row.symbol};
  series->key = row.series_key;
  series->known = true;
  series->schema_text = row.schema_text;
  series->coverage = SoundCoverage(row.series_key, stored.coverage);
  return series;
}

bool StandIn(const std::vector<Coverage>& expected, const std::vector<Coverage>& standing) {
  return std::ranges::all_of(expected, [&](const Coverage& coverage) {
    return std::ranges::find(standing, coverage) != standing.end();
  });
}

// An entry may have been evicted between its put and this transaction.
Status MarkLost(CatalogWriter* writer, std::vector<Coverage>* coverage) {
  for (Coverage& part : *coverage) {
    if (part.state != CoverageState::kData) continue;
    BARCACHE_ASSIGN_OR_RETURN(const bool there, writer->HasEntry(part.segment_key));
    if (!there && !Mutant("no_lost_segments")) part.state = CoverageState::kEvicted;
  }
  return Status();
}

Status CheckInOrder(const Answer& answer) {
  const auto& coverage = answer.coverage;
  for (size_t i = 0; i < coverage.size(); ++i) {
    const bool follows = i == 0 || coverage[i - 1].interval.end_ns <= coverage[i].interval.begin_ns;
    if (Mutant("coverage_may_overlap")) continue;
    if (follows && !coverage[i].interval.empty()) continue;
    return Status(ErrorCode::kInvalidArgument,
                  "the coverage to record of " + answer.name.symbol +
                      " overlaps or is empty: give disjoint intervals in order");
  }
  return Status();
}

}  // namespace

Ledger::Ledger(Catalog* catalog) : catalog_(catalog) { JoinForks(); }
Ledger::~Ledger() { LeaveForks(); }

bool Ledger::Holds(const Series& series, uint64_t foreign_writes) const {
  if (Mutant("series_from_memory")) return true;
  return series.epoch.settled() && series.foreign_writes == foreign_writes &&
         catalog_->EpochOf(series.key) == series.epoch;
}

Result<SeriesPointer> Ledger::Read(const SeriesName& name, std::string key,
                                   uint64_t foreign_writes) {
  auto series = std::make_shared<Series>();
  series->epoch = catalog_->EpochOf(key);
  series->foreign_writes = foreign_writes;
  BARCACHE_ASSIGN_OR_RETURN(const std::optional<StoredSeries> stored, catalog_->FindSeries(key));
  series->name = name;
  if (stored.has_value()) {
    series->known = true;
    series->schema_text = stored->series.schema_text;
    series->coverage = SoundCoverage(key, stored->coverage);
  }
  series->key = std::move(key);
  return SeriesPointer(std::move(series));
}

Result<std::vector<SeriesPointer>> Ledger::Look(const std::vector<SeriesName>& names) {
  const uint64_t foreign_writes = catalog_->ForeignWrites();
  std::vector<SeriesPointer> all;
  all.reserve(names.size());
  for (const SeriesName& name : names) {
    std::string key = SeriesKeyOf(name);
    SeriesPointer series;
    {
      const MutexLock lock(mutex_);
      const auto found = remembered_.find(key);
      if (found != remembered_.end()) series = found->second;
    }
    if (series == nullptr || !Holds(*series, foreign_writes)) {
      BARCACHE_ASSIGN_OR_RETURN(series, Read(name, std::move(key), foreign_writes));
      const MutexLock lock(mutex_);
      if (remembered_.size() >= kRememberedSeries) remembered_.clear();
      remembered_[series->key] = series;
    }
    all.push_back(std::move(series));
  }
  return all;
}

Result<std::vector<SeriesPointer>> Ledger::LookAgain(const std::vector<SeriesPointer>& before) {
  const uint64_t foreign_writes = catalog_->ForeignWrites();
  std::vector<SeriesPointer> all = before;
  for (SeriesPointer& series : all) {
    if (Holds(*series, foreign_writes)) continue;
    BARCACHE_ASSIGN_OR_RETURN(auto looked, Look({series->name}));
    series = std::move(looked.front());
  }
  return all;
}

bool Ledger::Unchanged(const std::vector<SeriesPointer>& series) {
  const uint64_t foreign_writes = catalog_->ForeignWrites();
  return std::ranges::all_of(series,
                             [&](const SeriesPointer& one) { return Holds(*one, foreign_writes); });
}

Result<std::vector<SeriesPointer>> Ledger::All() {
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<StoredSeries> stored, catalog_->AllSeries());
  std::vector<SeriesPointer> all;
  all.reserve(stored.size());
  for (const StoredSeries& one : stored) all.push_back(FromStored(one));
  return all;
}

Result<bool> Ledger::RecordWithin(CatalogWriter* writer, const Answer& answer) {
  BARCACHE_RETURN_IF_ERROR(CheckInOrder(answer));
  const std::string key = SeriesKeyOf(answer.name);
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<CoverageRow> rows, writer->CoverageOf(key));
  const std::vector<Coverage> standing = SoundCoverage(key, rows);
  if (!StandIn(answer.in_place_of, standing) && !Mutant("answer_without_condition")) return false;
  const SeriesName& name = answer.name;
  BARCACHE_RETURN_IF_ERROR(writer->StoreSeries(
      {key, name.source, name.resolution, name.adjustment, name.symbol, answer.schema_text}));
  std::vector<Coverage> newer = answer.coverage;
  BARCACHE_RETURN_IF_ERROR(MarkLost(writer, &newer));
  const std::vector<Coverage> result =
      Overlaid(answer.forget_others ? std::vector<Coverage>() : standing, newer);
  std::vector<CoverageRow> wanted;
  wanted.reserve(result.size());
  for (const Coverage& coverage : result) wanted.push_back(RowOf(coverage));
  for (const CoverageRow& row : rows) {
    if (std::ranges::find(wanted, row) != wanted.end()) continue;
    BARCACHE_RETURN_IF_ERROR(writer->DropCoverage(key, row.begin_ns));
  }
  for (const CoverageRow& row : wanted) {
    if (std::ranges::find(rows, row) != rows.end()) continue;
    BARCACHE_RETURN_IF_ERROR(writer->AddCoverage(key, row));
  }
  return true;
}

Result<int64_t> Ledger::Record(const std::vector<Answer>& answers) {
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
  int64_t recorded = 0;
  for (const Answer& answer : answers) {
    BARCACHE_ASSIGN_OR_RETURN(const bool done, RecordWithin(&writer, answer));
    recorded += done ? 1 : 0;
  }
  BARCACHE_RETURN_IF_ERROR(writer.Commit());
  return recorded;
}

void Ledger::BeforeFork() BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.lock(); }
void Ledger::AfterFork(bool /*in_child*/) BARCACHE_NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }

}  // namespace barcache
