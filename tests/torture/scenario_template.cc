#include "torture/scenario_template.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/file_system.h"
#include "catalog/catalog.h"
#include "catalog/sqlite.h"
#include "torture/bar_series.h"
#include "torture/verify.h"

namespace barcache::torture {
namespace {

namespace fs = std::filesystem;

constexpr int kFilled = 8;

void Fill(Worker& worker) {
  worker.Open();
  for (int key = 0; key < kFilled; ++key) {
    worker.Put(key, 1, key < 4 ? "bt-0" : key < 6 ? "bt-1" : "");
  }
  for (const int key : {2, 3}) worker.Get(key, "bt-1");
  worker.Flush();
}

std::string FileOf(Worker& worker, int key) {
  const auto entry = worker.cache().catalog().Find(KeyName(key));
  return entry.ok() && *entry ? (*entry)->parquet_path : "";
}

// At `offset` of a file, without SQLite's knowing.
void Overwrite(const std::string& path, off_t offset, const std::string& bytes) {
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const ssize_t written = ::pwrite(fd.get(), bytes.data(), bytes.size(), offset);
  if (written != static_cast<ssize_t>(bytes.size())) ::_exit(2);
}

void RecordFirstDays(Worker& worker) {
  worker.PutMany({{12, 1}, {13, 1}});
  worker.RecordCoverage({{.segment = 12, .first_day = 0, .last_day = 1},
                         {.segment = 13, .first_day = 0, .last_day = 0}});
}

void FillAndPin(Worker& worker) {
  Fill(worker);
  worker.Pin(6);
  worker.PinBacktest("bt-0", {0, 1, 2, 3});
  RecordFirstDays(worker);
  worker.Close();
}

int64_t RootPageOf(const std::string& path, const std::string& table) {
  SqliteOpenOptions open;
  open.target = path;
  open.read_only = true;
  const auto connection = SqliteConnection::Open(open);
  if (!connection.ok()) ::_exit(2);
  auto find =
      (*connection)->Prepare("SELECT rootpage FROM sqlite_master WHERE name = '" + table + "'");
  const auto row = find.ok() ? find->Step() : Result<bool>(find.status());
  if (!row.ok() || !*row) ::_exit(2);
  return find->Int64(0);
}

// The kept directory; the oracle says what a process finds that opens a copy of it and lives.
void Kept(const std::string& name, Worker& worker, const std::string& folder) {
  const fs::path kept = fs::path(TORTURE_KEPT) / name;
  const std::string copy = folder + "-opened";
  for (const std::string& place : {folder, copy}) {
    fs::remove_all(place);
    fs::copy(kept, place, fs::copy_options::recursive);
  }
  CacheOptions options = OptionsOf(copy, Durability::kNormal);
  options.record_on_close = false;
  auto cache = Cache::Open(options);
  std::vector<std::string> broken;
  if (!cache.ok()) ::_exit(2);
  worker.Adopt(Look(cache->get(), &broken));
  if (!broken.empty() || !(*cache)->Close().ok()) ::_exit(2);
}

}  // namespace

void Filled(Worker& worker, const std::string& /*folder*/) {
  Fill(worker);
  worker.Close();
}

void Left(Worker& worker, const std::string& /*folder*/) { Fill(worker); }

void LongLog(Worker& worker, const std::string& /*folder*/) {
  Fill(worker);
  for (long version = 2; version < 130; ++version) worker.Put(0, version);
}

void Damaged(Worker& worker, const std::string& folder) {
  Fill(worker);
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

void LeftOdd(Worker& worker, const std::string& folder) {
  Fill(worker);
  constexpr off_t kCommitting = 32;  // docs/on-disk-format.md, "The change counters".
  constexpr off_t kFirstCounter = 4096;
  const std::string counters = folder + "/metadata.db-barcache";
  uint64_t first = 0;
  const FileDescriptor fd(::open(counters.c_str(), O_RDONLY | O_CLOEXEC));
  if (::pread(fd.get(), &first, sizeof(first), kFirstCounter) != sizeof(first)) ::_exit(2);
  first |= 1;
  Overwrite(counters, kFirstCounter, {reinterpret_cast<const char*>(&first), sizeof(first)});
  Overwrite(counters, kCommitting, std::string("\1\0\0\0", 4));
}

void FilledLedger(Worker& worker, const std::string& /*folder*/) {
  Fill(worker);
  RecordFirstDays(worker);
  worker.Close();
}

void FilledBars(Worker& worker, const std::string& /*folder*/) {
  Fill(worker);
  for (const int first : {0, 3, 6, 9}) PutBars(worker, first, first + 2);
  worker.Close();
}

void DamagedCatalog(Worker& worker, const std::string& folder) {
  FillAndPin(worker);
  Overwrite(folder + "/metadata.db", 0, std::string(64, '\xa5'));
  worker.ForgetLedger();
}

void DamagedPage(Worker& worker, const std::string& folder) {
  FillAndPin(worker);
  const std::string path = folder + "/metadata.db";
  Overwrite(path, (RootPageOf(path, "datasets") - 1) * 4096, std::string(4096, '\xa5'));
}

void LostCatalog(Worker& worker, const std::string& folder) {
  Fill(worker);
  worker.Close();
  fs::remove(folder + "/metadata.db");
  worker.Forget();
}

void EmptiedCatalog(Worker& worker, const std::string& folder) {
  Fill(worker);
  fs::resize_file(folder + "/metadata.db", 0);
  worker.Forget();
}

void Schema1(Worker& worker, const std::string& folder) {
  Kept("barcache-schema-1", worker, folder);
}

void Schema2(Worker& worker, const std::string& folder) {
  Kept("barcache-schema-2", worker, folder);
}

void RustyBt(Worker& worker, const std::string& folder) {
  Kept("rustybt-0.3.3-cache", worker, folder);
}

}  // namespace barcache::torture
