// Any bytes as the catalog's database: it opens or is refused; what is read and written then is
// an answer or a typed error.

#include <stdlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/clock.h"
#include "catalog/catalog.h"

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

// A defect of ours is no answer.
void Expect(const Status& status) {
  if (status.code() == ErrorCode::kInternal) std::abort();
}

void Use(bool read_only) {
  static const SystemClock clock;
  CatalogOptions options;
  options.db_path = Folder() + "/metadata.db";
  options.read_only = read_only;
  options.busy_timeout_ms = 100;
  auto catalog = Catalog::Open(options, &clock);
  Expect(catalog.status());
  if (!catalog.ok()) return;
  const auto entries = (*catalog)->Entries();
  Expect(entries.status());
  Expect((*catalog)->Find("key").status());
  Expect((*catalog)->BacktestsOf("key").status());
  Expect((*catalog)->KeysOf("bt").status());
  Expect((*catalog)->Totals().status());
  Expect((*catalog)->DailyBetween(0, INT64_MAX).status());
  if (read_only) return;
  auto writer = (*catalog)->BeginWrite();
  Expect(writer.status());
  if (!writer.ok()) return;
  NewEntry entry;
  entry.cache_key = "key";
  entry.parquet_path = "file";
  entry.checksum = std::string(64, '0');
  entry.generation = 1;
  Expect(writer->Upsert(entry).status());
  Expect(writer->Link("bt", "key", 1).status());
  Expect(writer->Candidates(VictimOrder::kLargest, 5, "").status());
  Expect(writer->RebuildSideTables().status());
  Expect(writer->Commit());
}

}  // namespace
}  // namespace barcache

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fs = std::filesystem;
  for (const bool read_only : {true, false}) {
    for (const auto& file : fs::directory_iterator(barcache::Folder())) fs::remove(file.path());
    std::ofstream(barcache::Folder() + "/metadata.db", std::ios::binary)
        .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    barcache::Use(read_only);
  }
  for (const auto& file : fs::directory_iterator(barcache::Folder())) fs::remove(file.path());
  return 0;
}
