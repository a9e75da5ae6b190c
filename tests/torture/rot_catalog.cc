// torture rot-image: makes the cache whose catalog goes bad, and leaves its log unmerged.
//   --dir DIR --phase 1|2: what is put in phase 1 can be merged before phase 2.
// torture rot-catalog: one file of the catalog goes bad in every byte.
//   --image DIR --dir DIR --file NAME --kind flips|lengths|blocks --part I --parts N --step N
//   --seed N --progress FILE
//
// The oracle: a key's frame says which key and which put it is of. Whatever the catalog has become,
// a get gives a frame that was put under that key, a miss or a typed error; what the cache takes
// afterwards it gives back; nothing dies.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>

#include "barcache/cache.h"
#include "catalog/catalog.h"
#include "frame/sample_frame.h"
#include "torture/command.h"
#include "torture/rot.h"

namespace barcache::torture {
namespace {

namespace fs = std::filesystem;

constexpr int kKeys = 5;
constexpr int kVersions = 3;  // Of key 0, which is replaced; the others have one.

std::string KeyText(int key) { return "key-" + std::to_string(key) + "-of-the-image"; }

Frame FrameOf(int key, int version) { return SampleBars(5 + key, 1000.0 * key + 10.0 * version); }

// True when the frame was put under that key, as this version or an earlier one.
bool IsOf(const Frame& frame, int key) {
  for (int version = 0; version < kVersions; ++version) {
    if (SameFrame(frame, FrameOf(key, version))) return true;
  }
  return false;
}

CacheOptions OptionsOf(const std::string& dir, bool read_only) {
  CacheOptions cache;
  cache.db_path = dir + "/metadata.db";
  cache.cache_directory = dir + "/cache";
  cache.read_only = read_only;
  cache.busy_timeout_ms = 2000;
  return cache;
}

PutOptions LinkedTo(int backtest) {
  PutOptions put;
  put.dataset_id = 1;
  put.backtest_id = "bt-" + std::to_string(backtest);
  return put;
}

// A typed error is an answer; one that asks to be reported is not.
bool Answered(const char* doing, const Status& status) {
  if (status.code() == ErrorCode::kInternal) Say(std::string(doing) + ": " + status.ToString());
  return status.ok();
}

void CheckGets(Cache* cache) {
  for (int key = 0; key < kKeys; ++key) {
    auto hit = cache->Get(KeyText(key));
    if (!Answered("get", hit.status()) || !hit->has_value()) continue;
    if (!IsOf((*hit)->frame, key)) Say("a frame that was never put under " + KeyText(key));
  }
  auto entries = cache->Entries();
  if (!Answered("entries", entries.status())) return;
  for (const EntryInfo& entry : *entries) {
    auto hit = cache->Get(entry.cache_key);
    if (!Answered("get", hit.status()) || !hit->has_value()) continue;
    bool known = false;
    for (int key = 0; key < kKeys; ++key) known = known || entry.cache_key == KeyText(key);
    if (!known) Say("a frame under a key that was never put: " + entry.cache_key);
  }
}

void CheckUse(Cache* cache) {
  Answered("find", cache->Find(KeyText(1)).status());
  Answered("backtests", cache->BacktestsOf(KeyText(1)).status());
  Answered("keys", cache->KeysOf("bt-1").status());
  Answered("statistics", cache->Statistics().status());
  const Frame fresh = SampleBars(7, 77.0);
  if (Answered("put", cache->Put("fresh", fresh, LinkedTo(1)))) {
    auto hit = cache->Get("fresh");
    // The catalog may be damaged where the row would be: then a miss or an error.
    if (Answered("get", hit.status()) && hit->has_value() && !SameFrame((*hit)->frame, fresh)) {
      Say("another frame than was just put");
    }
  }
  Answered("evict", cache->EvictIfNeeded().status());
  Answered("flush", cache->Flush());
  Answered("record", cache->RecordDailyStatistics());
  Answered("check", cache->Check(true).status());
}

void TryOpen(const std::string& dir, bool read_only) {
  auto cache = Cache::Open(OptionsOf(dir, read_only));
  if (!Answered("open", cache.status())) return;
  CheckGets(cache->get());
  if (!read_only) CheckUse(cache->get());
  Answered("close", (*cache)->Close());
}

using Bytes = std::vector<uint8_t>;

// Cache files are linked, not copied: they are dropped, never written.
void LayOut(const std::string& image, const std::string& dir, const std::string& name,
            const Bytes& bad) {
  fs::remove_all(dir);
  fs::create_directories(dir + "/cache");
  for (const auto& file : fs::directory_iterator(image + "/cache")) {
    fs::create_hard_link(file.path(), dir + "/cache/" + file.path().filename().string());
  }
  for (const char* each : {"metadata.db", "metadata.db-wal", "metadata.db-barcache"}) {
    if (name == each) {
      WriteFile(dir + "/" + name, bad);
    } else if (fs::exists(image + "/" + each)) {
      fs::copy_file(image + "/" + each, dir + "/" + each);
    }
  }
}

Bytes Damaged(const std::string& kind, const Bytes& good, size_t n, uint64_t seed) {
  std::mt19937_64 random(seed * 1'000'003 + n);
  Bytes bytes = good;
  if (kind == "lengths") {
    bytes.resize(n);
    return bytes;
  }
  if (kind == "flips") {
    bytes[n] ^= static_cast<uint8_t>(1U << (random() % 8));
    return bytes;
  }
  const size_t size = std::min<size_t>(512, bytes.size() / 2);
  const size_t at = n * size % (bytes.size() - size);
  const size_t other = random() % (bytes.size() - size);
  if (n % 2 == 0) {
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(at), size, uint8_t{0});
  } else {
    std::copy_n(good.begin() + static_cast<ptrdiff_t>(other / size * size), size,
                bytes.begin() + static_cast<ptrdiff_t>(at));
  }
  return bytes;
}

}  // namespace

int RotImage(const Options& options) {
  const std::string dir = Text(options, "dir");
  const auto fill = [&](int from_version, int to_version) {
    auto cache = Cache::Open(OptionsOf(dir, false));
    if (!cache.ok()) Refuse(cache.status().ToString());
    for (int version = from_version; version < to_version; ++version) {
      for (int key = 0; key < (version == 0 ? kKeys - 1 : 1); ++key) {
        const Status put = (*cache)->Put(KeyText(key), FrameOf(key, version), LinkedTo(key));
        if (!put.ok()) Refuse(put.ToString());
      }
    }
    return std::move(*cache);
  };
  if (Number(options, "phase") == 1) {
    if (!fill(0, 2)->Close().ok()) Refuse("cannot close");
    return 0;
  }
  // What follows stays in the log: the process ends like one that was killed.
  auto cache = fill(2, kVersions);
  if (!cache->Put(KeyText(kKeys - 1), FrameOf(kKeys - 1, 0)).ok()) Refuse("cannot put");
  std::fflush(stdout);
  ::_exit(0);
}

int RotCatalog(const Options& options) {
  LimitMemory();
  Progress progress(Text(options, "progress"));
  const std::string image = Text(options, "image");
  const std::string name = Text(options, "file");
  std::ifstream file(image + "/" + name, std::ios::binary);
  const Bytes good{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (good.empty()) Refuse("there is no " + image + "/" + name);
  const std::string kind = Text(options, "kind");
  const auto parts = static_cast<size_t>(Number(options, "parts"));
  const auto step = static_cast<size_t>(Number(options, "step"));
  const auto seed = static_cast<uint64_t>(Number(options, "seed"));
  const size_t count = kind == "blocks" ? 2 * (good.size() / 512) : good.size();
  size_t tried = 0;
  const auto first = static_cast<size_t>(Number(options, "part")) + seed % step * parts;
  for (size_t n = first; n < count; n += parts * step) {
    progress.Mark(n);
    LayOut(image, Text(options, "dir"), name, Damaged(kind, good, n, seed));
    if (n % 4 == 0) TryOpen(Text(options, "dir"), true);
    TryOpen(Text(options, "dir"), false);
    ++tried;
  }
  std::printf("tried %zu of a file of %zu bytes\n", tried, good.size());
  return CountSaid() == 0 ? 0 : 1;
}

}  // namespace barcache::torture
