#include "torture/scenario.h"

#include <filesystem>
#include <fstream>

#include "catalog/catalog.h"

namespace barcache::torture {
namespace {

constexpr int kFilled = 8;  // Keys 0 to 7 have version 1; 0 to 3 belong to bt-0, 2 to 5 to bt-1.

void Fill(Worker& worker) {
  worker.Open();
  for (int key = 0; key < kFilled; ++key) {
    worker.Put(key, 1, key < 4 ? "bt-0" : key < 6 ? "bt-1" : "");
  }
  for (const int key : {2, 3}) worker.Get(key, "bt-1");
  worker.Flush();
}

void Filled(Worker& worker, const std::string& /*folder*/) {
  Fill(worker);
  worker.Close();
}

// The writer of these died: the log of SQLite is there, and its index.
void Left(Worker& worker, const std::string& /*folder*/) { Fill(worker); }

// The same with so long a log that the next writer moves it into the database.
void LongLog(Worker& worker, const std::string& /*folder*/) {
  Fill(worker);
  for (long version = 2; version < 130; ++version) worker.Put(0, version);
}

std::string FileOf(Worker& worker, int key) {
  const auto entry = worker.cache().catalog().Find(KeyName(key));
  return entry.ok() && *entry ? (*entry)->parquet_path : "";
}

// A missing file, a file of wrong bytes, an orphan and a temporary file.
void Damaged(Worker& worker, const std::string& folder) {
  Fill(worker);
  namespace fs = std::filesystem;
  const fs::path files = FilesOf(folder);
  fs::remove(files / FileOf(worker, 0));
  const fs::path wrong = files / FileOf(worker, 1);
  std::fstream(wrong, std::ios::in | std::ios::out | std::ios::binary).seekp(100) << "wrong";
  const fs::path kept = files / "kept";
  const std::string replaced = FileOf(worker, 2);
  fs::copy_file(files / replaced, kept);
  worker.Put(2, 2);
  fs::rename(kept, files / replaced);
  fs::copy_file(wrong, files / ".tmp-0123456789abcdef0123456789abcdef");
  AgeFiles(folder);
  worker.MayVanish({0, 1});
  worker.Close();
}

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

constexpr Scenario kScenarios[] = {
    {"first_use", nullptr, FirstUse},
    {"open", Filled, OpenAndClose},
    {"open_left", Left, OpenAndClose},
    {"put", Filled, PutThree},
    {"put_left", Left, PutThree},
    {"replace", Filled, Replace},
    {"put_large", Filled, PutLarge},
    {"put_many", Filled, PutManyItems},
    {"put_many_evicting", Filled, PutManyEvicting, true},
    {"evict_lru", Filled, [](Worker& w) { PutEvicting(w, EvictionPolicy::kLru); }, true},
    {"evict_size", Filled, [](Worker& w) { PutEvicting(w, EvictionPolicy::kSize); }, true},
    {"evict_hybrid", Filled, [](Worker& w) { PutEvicting(w, EvictionPolicy::kHybrid); }, true},
    {"evict_gdsf", Left, [](Worker& w) { PutEvicting(w, EvictionPolicy::kGdsf); }, true},
    {"evict_s3fifo", Left, [](Worker& w) { PutEvicting(w, EvictionPolicy::kS3Fifo); }, true},
    {"too_large", Filled, PutTooLarge, true},
    {"clear", Filled, Clears},
    {"clear_unused", Filled, ClearUnused},
    {"record", Filled, RecordDays},
    {"checkpoint", LongLog, Checkpoint},
    {"repair", Damaged, RepairAll, false, true},
    {"drop", Damaged, DropBad, false, true},
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
