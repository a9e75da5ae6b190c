// torture hostile-file: one crafted file as the file of an entry, with its checksum in the row.
//   --dir DIR --file FILE --most-mb N
// Prints "frame N" or "miss", and how much memory it took.
//
// torture hostile-paths: everything is done to a cache whose rows name places outside of it.
//   --dir DIR
//
// torture compare-keys: requests and the keys that Python made of them.
//   --file FILE: for each, a number of symbols (32 bits), the symbols, start, end, resolution and
//   source, each a size (32 bits) and bytes, then 16 letters.

#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "barcache/cache.h"
#include "barcache/cache_key.h"
#include "base/sha256.h"
#include "catalog/catalog.h"
#include "frame/sample_frame.h"
#include "torture/command.h"
#include "torture/rot.h"

namespace barcache::torture {
namespace {

constexpr char kKey[] = "hostile";
constexpr uint64_t kGeneration = 7;  // As hostile_parquet.py stamps it.
constexpr int64_t kBudgetBytes = 64 << 20;

using Bytes = std::vector<uint8_t>;

Bytes ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Refuse("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

CacheOptions OptionsOf(const Options& options) {
  CacheOptions cache;
  cache.db_path = Text(options, "dir") + "/metadata.db";
  cache.cache_directory = Text(options, "dir") + "/cache";
  cache.decode_budget_bytes = kBudgetBytes;
  cache.hot_capacity_bytes = 0;
  return cache;
}

// A row and a file as if a put had made them of these bytes.
void Plant(Cache* cache, const std::string& directory, const Bytes& bytes) {
  NewEntry entry;
  entry.cache_key = kKey;
  entry.generation = kGeneration;
  entry.checksum = HexEncode(Sha256(bytes));
  entry.parquet_path = EntryFileName(kKey, kGeneration, entry.checksum);
  entry.size_bytes = static_cast<int64_t>(bytes.size());
  WriteFile(directory + "/" + entry.parquet_path, bytes);
  auto writer = cache->catalog().BeginWrite();
  if (!writer.ok() || !writer->Erase(kKey).ok() || !writer->Upsert(entry).ok() ||
      !writer->Commit().ok()) {
    Refuse("cannot write a row");
  }
}

// Every value is looked at: a frame that came out can be stored and read again.
int64_t CheckFrame(const Frame& frame) {
  auto bytes = EncodeParquet(frame, {});
  // A dictionary's long text is there once in memory, and many times in a file.
  if (bytes.status().code() == ErrorCode::kOutOfMemory) return frame.num_rows();
  if (!bytes.ok()) {
    Say("a frame that cannot be stored: " + bytes.status().ToString());
    return 0;
  }
  auto again = DecodeParquet(bytes->bytes(), DecodeLimits{4 * kBudgetBytes});
  if (!again.ok() || !SameFrame(again->frame, frame)) Say("a frame that is not sound");
  return frame.num_rows();
}

class Fields {
 public:
  explicit Fields(Bytes bytes) : bytes_(std::move(bytes)) {}
  bool AtEnd() const { return at_ == bytes_.size(); }
  uint32_t Number() {
    uint32_t number = 0;
    std::memcpy(&number, Take(sizeof(number)), sizeof(number));
    return number;
  }
  std::string Text(size_t size) { return {reinterpret_cast<const char*>(Take(size)), size}; }

 private:
  const uint8_t* Take(size_t size) {
    if (bytes_.size() - at_ < size) Refuse("the file of requests ends early");
    at_ += size;
    return bytes_.data() + at_ - size;
  }
  Bytes bytes_;
  size_t at_ = 0;
};

}  // namespace

int HostileFile(const Options& options) {
  const Bytes bytes = ReadAll(Text(options, "file"));
  auto cache = Cache::Open(OptionsOf(options));
  if (!cache.ok()) Refuse(cache.status().ToString());
  const std::string directory = Text(options, "dir") + "/cache";
  LimitMemory();
  std::string answer = "miss";
  Plant(cache->get(), directory, bytes);
  auto scan = (*cache)->Scan(kKey);
  if (!scan.ok()) Say("scan: " + scan.status().ToString());
  if (scan.ok() && scan->has_value()) {
    auto frame = (*scan)->scan->Read(nullptr);
    if (frame.ok()) CheckFrame(*frame);
  }
  Plant(cache->get(), directory, bytes);
  auto hit = (*cache)->Get(kKey);
  if (!hit.ok()) Say("get: " + hit.status().ToString());
  if (hit.ok() && hit->has_value()) {
    answer = "frame " + std::to_string(CheckFrame((*hit)->frame));
  }
  Plant(cache->get(), directory, bytes);
  auto report = (*cache)->Check(true);
  if (!report.ok()) Say("check: " + report.status().ToString());
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const long used_mb = usage.ru_maxrss / 1024;
  if (used_mb > Number(options, "most-mb")) Say("it took " + std::to_string(used_mb) + " MB");
  std::printf("%s, %ld MB\n", answer.c_str(), used_mb);
  return CountSaid() == 0 ? 0 : 1;
}

int HostilePaths(const Options& options) {
  auto cache = Cache::Open(OptionsOf(options));
  if (!cache.ok()) Refuse(cache.status().ToString());
  const std::string outside = Text(options, "dir") + "/outside";
  WriteFile(outside, Bytes{1, 2, 3});
  const Frame bars = SampleBars(50, 1.0);
  const std::string paths[] = {
      outside, "../outside", "../metadata.db", "/etc/hostname", "a/../../outside", "/dev/full",
      "..",    "."};
  for (const std::string& path : paths) {
    const auto plant = [&] {
      NewEntry entry;
      entry.cache_key = path;  // A key that is a path, too.
      entry.generation = kGeneration;
      entry.checksum = std::string(64, '0');
      entry.parquet_path = path;
      entry.size_bytes = 3;
      auto writer = (*cache)->catalog().BeginWrite();
      if (!writer.ok() || !writer->Erase(path).ok() || !writer->Upsert(entry).ok() ||
          !writer->Commit().ok()) {
        Refuse("cannot write a row");
      }
    };
    plant();
    auto hit = (*cache)->Get(path);
    if (!hit.ok() || hit->has_value()) Say("a frame of " + path);
    plant();
    if (!(*cache)->Check(true).ok()) Say("check fails for " + path);
    plant();
    if (!(*cache)->Erase(path).ok()) Say("erase fails for " + path);
    plant();
    if (!(*cache)->Put(path, bars, PutOptions{}).ok()) Say("put fails for " + path);
    hit = (*cache)->Get(path);
    if (!hit.ok() || !hit->has_value()) Say("what was put is not there: " + path);
    plant();
    if (!(*cache)->Clear().ok()) Say("clear fails for " + path);
  }
  // An ordinary entry: what is replaced is removed.
  for (const double price : {1.0, 2.0}) {
    if (!(*cache)->Put("plain", SampleBars(5, price), PutOptions{}).ok()) Say("put fails");
  }
  struct stat info{};
  if (::stat(outside.c_str(), &info) != 0 || info.st_size != 3) Say("the file outside is touched");
  if (!(*cache)->Close().ok()) Say("close fails");
  return CountSaid() == 0 ? 0 : 1;
}

int CompareKeys(const Options& options) {
  Fields fields(ReadAll(Text(options, "file")));
  int64_t compared = 0;
  while (!fields.AtEnd()) {
    DataRequest request;
    for (uint32_t i = fields.Number(); i > 0; --i) {
      request.symbols.push_back(fields.Text(fields.Number()));
    }
    for (std::string* part :
         {&request.start_date, &request.end_date, &request.resolution, &request.data_source}) {
      *part = fields.Text(fields.Number());
    }
    const std::string expected = fields.Text(16);
    auto key = GenerateCacheKey(request);
    if (!key.ok() || *key != expected) {
      Say("request " + std::to_string(compared) + ": " + (key.ok() ? *key : "refused") +
          " instead of " + expected);
    }
    ++compared;
  }
  std::printf("compared %lld\n", static_cast<long long>(compared));
  return CountSaid() == 0 ? 0 : 1;
}

}  // namespace barcache::torture
