#include "torture/scenario.h"

#include "catalog/catalog.h"
#include "torture/bar_series.h"
#include "torture/scenario_template.h"

namespace barcache::torture {
namespace {

void PutThree(Worker& worker) {
  worker.Open();
  for (const int key : {8, 9, 10}) worker.Put(key, 2, "bt-2");
}

void Replace(Worker& worker) {
  worker.Open();
  for (const int key : {0, 4, 0}) worker.Put(key, key == 0 ? 3 : 2, "bt-2");
}

void PutLarge(Worker& worker) {
  worker.Open();
  worker.Put(8, kLargeVersion);
  worker.Put(0, kLargeVersion + 100);
}

void PutEvicting(Worker& worker, EvictionPolicy policy) {
  worker.Open(kAmple, policy);
  const int64_t total_bytes = worker.total_bytes();
  worker.SetLimit(total_bytes);
  worker.Get(1);
  worker.Get(5);
  for (const int key : {8, 9, 0}) worker.Put(key, 5);
  worker.Evict(total_bytes / 2);
}

void PutTooLarge(Worker& worker) {
  worker.Open();
  worker.SetLimit(worker.total_bytes());
  worker.Put(3, kLargeVersion);
}

void Clears(Worker& worker) {
  worker.Open();
  worker.Get(7);
  worker.Erase(7);
  worker.EraseBacktest("bt-1", {2, 3, 4, 5});
  worker.Clear();
  worker.Put(0, 2);
}

void ClearUnused(Worker& worker) {
  worker.Open();
  worker.EraseUnused({0, 1, 2, 3, 4, 5, 6, 7});
}

void RecordDays(Worker& worker) {
  worker.Open();
  for (const int key : {0, 0, 1, 11}) worker.Get(key, "bt-3");
  worker.Record();
  worker.Get(10);
  worker.Record();
  worker.Get(0);
  worker.Flush();
  worker.Close();
}

void OpenAndClose(Worker& worker) {
  worker.Open();
  worker.Get(0);
  worker.Close();
}

void PutManyItems(Worker& worker) {
  worker.Open();
  worker.PutMany({{8, 1}, {0, 2}, {9, 1}, {0, 3}, {10, 1}});
}

void PutManyEvicting(Worker& worker) {
  worker.Open();
  worker.SetLimit(worker.total_bytes());
  worker.PutMany({{8, 1}, {0, 2}, {9, 1}});
}

void Checkpoint(Worker& worker) {
  worker.Open();
  worker.Put(8, 1);
  worker.Checkpoint();
  worker.Put(9, 1);
  worker.Put(0, 200);
}

void RepairAll(Worker& worker) {
  worker.Open();
  worker.Repair();
}

void DropBad(Worker& worker) {
  worker.Open();
  worker.Get(0);
  worker.Get(1);
  worker.Put(0, 7);
}

void FirstUse(Worker& worker) {
  worker.Open();
  worker.Put(0, 1, "bt-0");
  worker.Close();
}

// Pinned entries stay when others are evicted; a pin ends with its entry.
void Pins(Worker& worker) {
  worker.Open();
  worker.SetLimit(worker.total_bytes());
  worker.Pin(7);
  worker.PinBacktest("bt-1", {2, 3, 4, 5});
  worker.Unpin(4);
  worker.Put(3, 2);
  for (const int key : {8, 9}) worker.Put(key, 5);
  worker.Erase(7);
  worker.UnpinBacktest("bt-1", {2, 3, 4, 5});
}

void Flights(Worker& worker) {
  worker.Open();
  worker.FetchInFlight(kFlightKey, 1);
  worker.FailInFlight();
  worker.FetchInFlight(9, 1);
  worker.Close();
}

void SlowFlight(Worker& worker) {
  worker.OpenForFlights(100);
  worker.FetchSlowly(kFlightKey, 1);
}

// Segments first, then the ledger.
void FillGaps(Worker& worker) {
  worker.Open();
  worker.PutMany({{14, 1}, {15, 1}});
  worker.RecordCoverage({{.segment = 14, .first_day = 2, .last_day = 4},
                         {.segment = 15, .first_day = 0, .last_day = 1}});
  worker.RecordCoverage({{.segment = 15, .first_day = 2, .last_day = 3, .none = true}});
  worker.PutMany({{16, 1}, {17, 1}});
  worker.Erase(17);
  worker.RecordCoverage({{.segment = 16, .first_day = 5, .last_day = 6},
                         {.segment = 17, .first_day = 5, .last_day = 6}});
}

// A history that was restated is fetched anew; what the ledger knew ends in the same transaction.
void RestateAndLose(Worker& worker) {
  worker.Open();
  worker.Put(14, 1);
  worker.RecordCoverage({{.segment = 14, .first_day = 0, .last_day = 3, .forgets_others = true},
                         {.segment = 13, .first_day = 2, .last_day = 2, .none = true}});
  worker.Erase(12);
  worker.Put(13, 2);
  worker.Put(15, 1);
  worker.RecordCoverage({{.segment = 15, .first_day = 1, .last_day = 1}});
  worker.Clear();
}

void Merges(Worker& worker) {
  worker.Open();
  MergeBars(worker);
  PutBars(worker, 12, 13);
  PutBars(worker, 14, 14);
  MergeBars(worker);
}

void UseRebuilt(Worker& worker) {
  worker.Open();
  worker.Put(8, 1, "bt-2");
  worker.Put(0, 2);
  worker.Close();
}

void UseAdopted(Worker& worker) {
  worker.Open();
  worker.Put(8, 1, "bt-2");
  worker.Close();
}

constexpr Scenario kScenarios[] = {
    {"first_use", nullptr, FirstUse},
    {"open", Filled, OpenAndClose},
    {"open_left", Left, OpenAndClose},
    {"put", Filled, PutThree},
    {"put_left", Left, PutThree},
    {"replace", Filled, Replace},
    {"put_large", Filled, PutLarge},
    {"put_many", Filled, PutManyItems},
    {"put_many_evicting", Filled, PutManyEvicting, {.evicts = true}},
    {"evict_lru",
     Filled,
     [](Worker& w) { PutEvicting(w, EvictionPolicy::kLru); },
     {.evicts = true}},
    {"evict_size",
     Filled,
     [](Worker& w) { PutEvicting(w, EvictionPolicy::kSize); },
     {.evicts = true}},
    {"evict_hybrid",
     Filled,
     [](Worker& w) { PutEvicting(w, EvictionPolicy::kHybrid); },
     {.evicts = true}},
    {"evict_gdsf",
     Left,
     [](Worker& w) { PutEvicting(w, EvictionPolicy::kGdsf); },
     {.evicts = true}},
    {"evict_s3fifo",
     Left,
     [](Worker& w) { PutEvicting(w, EvictionPolicy::kS3Fifo); },
     {.evicts = true}},
    {"too_large", Filled, PutTooLarge, {.evicts = true}},
    {"clear", Filled, Clears},
    {"clear_unused", Filled, ClearUnused},
    {"record", Filled, RecordDays},
    {"checkpoint", LongLog, Checkpoint},
    {"repair", Damaged, RepairAll, {.has_bad_files = true}},
    {"drop", Damaged, DropBad, {.has_bad_files = true}},
    {"pins", Filled, Pins, {.evicts = true}},
    {"flight", Filled, Flights, {.flies = true}},
    {"flight_renewed", Filled, SlowFlight, {.flies = true}},
    {"fill_gaps", FilledLedger, FillGaps},
    {"restate", FilledLedger, RestateAndLose},
    {"merge", FilledBars, Merges},
    {"mend", LeftOdd, PutThree},
    {"rebuild_damaged", DamagedCatalog, UseRebuilt, {.rebuilds = true}},
    {"rebuild_page", DamagedPage, UseRebuilt, {.rebuilds = true}},
    {"rebuild_lost", LostCatalog, UseRebuilt, {.rebuilds = true}},
    {"rebuild_emptied", EmptiedCatalog, UseRebuilt, {.rebuilds = true}},
    {"schema_1", Schema1, UseAdopted},
    {"schema_2", Schema2, UseAdopted},
    {"adopt_rustybt", RustyBt, UseAdopted},
};

}  // namespace

std::span<const Scenario> Scenarios() { return kScenarios; }

const Scenario* FindScenario(const std::string& name) {
  for (const Scenario& scenario : kScenarios) {
    if (name == scenario.name) return &scenario;
  }
  return nullptr;
}

}  // namespace barcache::torture
