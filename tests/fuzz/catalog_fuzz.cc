// Any bytes as the catalog's database: it opens or is refused; what is read and written then is
// an answer or a typed error. What is damaged is rebuilt or left alone; what was rebuilt opens.

#include <stdlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/clock.h"
#include "catalog/catalog.h"
#include "catalog/catalog_rebuild.h"

namespace barcache {
namespace {

// In memory where there is such a place; left behind empty by the end of the process.
const std::string& Folder() {
  static const std::string folder = [] {
    const bool shared = std::filesystem::is_directory("/dev/shm");
    std::string name = std::string(shared ? "/dev/shm" : "/tmp") + "/barcache-fuzz-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    return name;
  }();
  return folder;
}

void Require(bool holds) {
  if (!holds) std::abort();
}

// A defect of ours is no answer.
void Expect(const Status& status) { Require(status.code() != ErrorCode::kInternal); }

const Clock* TheClock() {
  static const SystemClock clock;
  return &clock;
}

CatalogOptions Options(bool read_only) {
  CatalogOptions options;
  options.db_path = Folder() + "/metadata.db";
  options.read_only = read_only;
  options.busy_timeout_ms = 100;
  return options;
}

NewEntry TheEntry() {
  NewEntry entry;
  entry.cache_key = "key";
  entry.parquet_path = "file";
  entry.checksum = std::string(64, '0');
  entry.generation = 1;
  return entry;
}

void Read(Catalog* catalog) {
  Expect(catalog->Entries().status());
  Expect(catalog->Find("key").status());
  Expect(catalog->BacktestsOf("key").status());
  Expect(catalog->KeysOf("bt").status());
  Expect(catalog->PinnedKeys().status());
  Expect(catalog->Totals().status());
  Expect(catalog->DailyBetween(0, INT64_MAX).status());
  Expect(catalog->FindDataset("csv", "1d").status());
  Expect(catalog->Leases("flight").status());
  int64_t position = 0;
  Expect(catalog->NextPaths(&position, 3).status());
  const auto all = catalog->AllSeries();
  Expect(all.status());
  if (all.ok() && !all->empty()) {
    Expect(catalog->FindSeries(all->front().series.series_key).status());
  }
}

void Write(Catalog* catalog) {
  auto writer = catalog->BeginWrite();
  Expect(writer.status());
  if (!writer.ok()) return;
  Expect(writer->Upsert(TheEntry()).status());
  Expect(writer->Link("bt", "key", 1).status());
  Expect(writer->Pin("key").status());
  Expect(writer->ApplyTouches({{"key", 1, 1}, {"k1", 1, 1}}));
  for (const auto order : {VictimOrder::kLargest, VictimOrder::kLeastRecentlyUsed,
                           VictimOrder::kLargestOfOldHalf, VictimOrder::kLowestPriority}) {
    Expect(writer->Candidates(order, 5, "").status());
  }
  Expect(writer->EntriesToRank().status());
  Expect(writer->EntriesToQueue("key").status());
  Expect(writer->AddLease({"flight", "token", {}, 5, std::nullopt, ""}));
  Expect(writer->EndLease("flight", "token").status());
  Expect(writer->FindOrAddDataset("csv", "1d", 1).status());
  Expect(writer->EraseIf("key", "file", "other").status());
  Expect(writer->EraseBacktest("bt1", true).status());
  Expect(writer->RebuildSideTables().status());
  Expect(writer->Commit());
}

void Use(bool read_only) {
  const auto catalog = Catalog::Open(Options(read_only), TheClock());
  Expect(catalog.status());
  if (!catalog.ok()) return;
  Read(catalog->get());
  if (!read_only) Write(catalog->get());
}

void Rebuild() {
  {
    const auto rebuild = CatalogRebuild::Begin(Options(false), RebuildReach::kShared);
    Expect(rebuild.status());
    if (!rebuild.ok()) return;
    const CatalogCondition condition = (*rebuild)->condition();
    if (condition == CatalogCondition::kSound || condition == CatalogCondition::kForeign) return;
    const auto outcome = (*rebuild)->Replace(std::string(32, 'a'), {TheEntry()});
    Expect(outcome.status());
    if (!outcome.ok()) return;
  }
  const auto catalog = Catalog::Open(Options(false), TheClock());
  Require(catalog.ok());
  const auto entries = (*catalog)->Entries();
  Require(entries.ok() && entries->size() == 1 && entries->front().cache_key == "key");
  Require((*catalog)->QuickCheck().ok() && (*catalog)->QuickCheck()->empty());
}

}  // namespace
}  // namespace barcache

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fs = std::filesystem;
  using namespace barcache;
  const auto clear = [] {
    for (const auto& file : fs::directory_iterator(Folder())) fs::remove(file.path());
  };
  const auto lay_down = [&] {
    clear();
    std::ofstream(Folder() + "/metadata.db", std::ios::binary)
        .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  };
  for (const bool read_only : {true, false}) {
    lay_down();
    Use(read_only);
  }
  lay_down();
  Rebuild();
  clear();
  return 0;
}
