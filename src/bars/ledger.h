// Ledger: what was asked of sources and what they answered, over the catalog.
//
// Bars lie in segments, which are ordinary entries of the cache; the ledger says which interval
// of which series each of them covers. What removes an entry, whoever does it, turns what it
// covered into something that is missing (triggers of the catalog).
//
// What was read is kept in memory and served without SQL while the change counter of the series
// stands: it moves with every change of the series' coverage and of any of its segments.
//
// Thread safety: all methods may be called from any thread.
// Errors: those of the catalog.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "barcache/status.h"
#include "bars/series.h"
#include "base/fork.h"
#include "base/mutex.h"
#include "catalog/catalog.h"

namespace barcache {

// A series as it was read.
struct Series {
  SeriesName name;
  std::string key;
  bool known = false;       // Something was asked of it before.
  std::string schema_text;  // Columns and types of the source's answers; "": not known.
  std::vector<Coverage> coverage;
  // From before it was read.
  Epoch epoch;
  uint64_t foreign_writes = 0;
};
using SeriesPointer = std::shared_ptr<const Series>;

// What a source said of one series, to be recorded.
struct Answer {
  SeriesName name;
  std::string schema_text;         // "": leaves the one known.
  std::vector<Coverage> coverage;  // In order, disjoint. Data whose entry is gone is lost at once.
  bool forget_others = false;      // Nothing that was recorded before counts any longer.
  // Not empty: recorded only while each of these still stands, else the answer is left out.
  std::vector<Coverage> in_place_of;
};

class Ledger final : public ForkParticipant {
 public:
  // `catalog` outlives this object.
  explicit Ledger(Catalog* catalog);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // One for each name, in their order.
  Result<std::vector<SeriesPointer>> Look(const std::vector<SeriesName>& names);
  // The same for series that were looked at before: those that still stand are handed back.
  Result<std::vector<SeriesPointer>> LookAgain(const std::vector<SeriesPointer>& before);
  // Whether nothing was written since that could concern one of them. No SQL.
  bool Unchanged(const std::vector<SeriesPointer>& series);
  // Every series, by source, resolution, adjustment and symbol.
  Result<std::vector<SeriesPointer>> All();

  // All answers in one transaction: on error none of them. Returns how many were recorded.
  Result<int64_t> Record(const std::vector<Answer>& answers);
  // One answer within a transaction of the caller's. Returns whether it was recorded.
  static Result<bool> RecordWithin(CatalogWriter* writer, const Answer& answer);

  void BeforeFork() override;
  void AfterFork(bool in_child) override;

 private:
  // Series kept in memory; beyond it all are forgotten and read again.
  static constexpr size_t kRememberedSeries = 32'768;

  bool Holds(const Series& series, uint64_t foreign_writes) const;
  Result<SeriesPointer> Read(const SeriesName& name, std::string key, uint64_t foreign_writes);

  Catalog* const catalog_;
  Mutex mutex_;
  std::unordered_map<std::string, SeriesPointer> remembered_ BARCACHE_GUARDED_BY(mutex_);
};

}  // namespace barcache
