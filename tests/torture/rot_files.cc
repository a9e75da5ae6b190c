// torture rot-file: one entry's file goes bad in every way, in one process.
//
//   --dir DIR --frame FILE --what flips|lengths|blocks|sealed-flips|sealed-lengths|sealed-blocks
//   --part I --parts N --step N --seed N --progress FILE
//
// Plain damage is done to the file beneath an open cache: its checksum says so, and every read is
// a miss. Sealed damage comes with the checksum of the damaged bytes, as from somebody who may
// write the catalog too: then the decoder and the stamp stand alone, and answer with a sound frame
// of that key or a typed error.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <random>

#include "barcache/cache.h"
#include "base/file_system.h"
#include "base/sha256.h"
#include "catalog/catalog.h"
#include "cold/entry_stamp.h"
#include "cold/verification.h"
#include "frame/sample_frame.h"
#include "torture/command.h"
#include "torture/rot.h"

namespace barcache::torture {
namespace {

constexpr char kKey[] = "4ff5fe09fae53c37";
constexpr int64_t kBudgetBytes = 64 << 20;
constexpr size_t kMostExtension = 600;

using Bytes = std::vector<uint8_t>;

CacheOptions OptionsOf(const Options& options, bool read_only) {
  CacheOptions cache;
  cache.db_path = Text(options, "dir") + "/metadata.db";
  cache.cache_directory = Text(options, "dir") + "/cache";
  cache.hot_capacity_bytes = 0;  // Every get reads the file.
  cache.decode_budget_bytes = kBudgetBytes;
  cache.read_only = read_only;
  cache.record_on_close = false;
  return cache;
}

Bytes ReadAll(const std::string& path) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY));
  auto buffer = Directory::ReadOpenFile(fd, path, int64_t{1} << 30);
  if (!fd.valid() || !buffer.ok()) Refuse("cannot read " + path);
  return {buffer->data(), buffer->data() + buffer->size()};
}

// --- what damage there is: the n-th of a kind, made of the good bytes ------------------------

size_t CountOf(const std::string& kind, const Bytes& good) {
  if (kind == "flips") return good.size() * 8;
  if (kind == "lengths") return good.size() + kMostExtension;
  return 4 * 3 * (good.size() / 64 + 1);
}

Bytes Flipped(Bytes bytes, size_t n) {
  bytes[n / 8] ^= static_cast<uint8_t>(1U << (n % 8));
  return bytes;
}

Bytes OfLength(Bytes bytes, size_t n, std::mt19937_64* random) {
  const size_t old_size = bytes.size();
  bytes.resize(n < old_size ? n : n + 1);  // Every length but its own.
  for (size_t i = old_size; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>((*random)());
  return bytes;
}

// A block of 64, 512 or 4096 bytes is zeroed, set, doubled elsewhere, or swapped with another.
Bytes Blocked(Bytes bytes, size_t n, std::mt19937_64* random) {
  static constexpr size_t kSizes[] = {64, 512, 4096};
  const size_t size = std::min(kSizes[n / 4 % 3], bytes.size() / 2);
  const size_t places = bytes.size() - size;
  const size_t at = std::min(n / 12 * 64, places);
  const size_t other = (*random)() % places;
  switch (n % 4) {
    case 0:
      std::memset(bytes.data() + at, 0, size);
      break;
    case 1:
      std::memset(bytes.data() + at, 0xff, size);
      break;
    case 2:
      std::memmove(bytes.data() + other, bytes.data() + at, size);
      break;
    default: {
      const Bytes moved(bytes.begin() + static_cast<ptrdiff_t>(at),
                        bytes.begin() + static_cast<ptrdiff_t>(at + size));
      std::memmove(bytes.data() + at, bytes.data() + other, size);
      std::memcpy(bytes.data() + other, moved.data(), size);
    }
  }
  return bytes;
}

Bytes Damaged(const std::string& kind, const Bytes& good, size_t n, uint64_t seed) {
  std::mt19937_64 random(seed * 1'000'003 + n);
  if (kind == "flips") return Flipped(good, n);
  if (kind == "lengths") return OfLength(good, n, &random);
  return Blocked(good, n, &random);
}

// --- plain: the checksum stands, the bytes do not ----------------------------------------------

class PlainRot {
 public:
  PlainRot(const Options& options, EntryInfo entry, Frame frame)
      : options_(options), entry_(std::move(entry)), frame_(std::move(frame)) {
    path_ = Text(options, "dir") + "/cache/" + entry_.parquet_path;
    fd_ = FileDescriptor(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    auto reader = Cache::Open(OptionsOf(options, true));  // Read-only: a miss drops nothing.
    if (!reader.ok() || !fd_.valid()) Refuse("cannot open the cache again");
    reader_ = std::move(*reader);
  }

  void Try(const Bytes& good, const Bytes& bad, size_t n) {
    if (good == bad) return;
    Write(good, bad);
    auto hit = reader_->Get(kKey);
    if (!hit.ok()) Say("an error instead of a miss: " + hit.status().ToString());
    if (hit.ok() && hit->has_value()) Say("a frame out of wrong bytes");
    if (n % 16 == 0) {
      auto scan = reader_->Scan(kKey);
      if (scan.ok() && scan->has_value()) Say("a scan of wrong bytes");
    }
    if (n % 512 == 0) Heals();
    Write(bad, good);
    if (n % 64 == 0) {
      hit = reader_->Get(kKey);
      if (!hit.ok() || !hit->has_value() || !SameFrame((*hit)->frame, frame_)) {
        Say("the sound file is not served");
      }
    }
  }

 private:
  // Only what differs is written; the length is set.
  void Write(const Bytes& from, const Bytes& to) {
    const size_t common = std::min(from.size(), to.size());
    size_t first = 0;
    size_t last = to.size();
    while (first < common && from[first] == to[first]) ++first;
    if (from.size() == to.size()) {
      while (last > first && from[last - 1] == to[last - 1]) --last;
    } else if (::ftruncate(fd_.get(), static_cast<off_t>(to.size())) != 0) {
      Refuse("cannot cut " + path_);
    }
    const auto size = static_cast<ssize_t>(last - first);
    if (::pwrite(fd_.get(), to.data() + first, last - first, static_cast<off_t>(first)) != size) {
      Refuse("cannot write " + path_);
    }
  }

  // A copy of this cache, opened for writing, drops the entry at the miss and takes the next put.
  void Heals() {
    Options copy = options_;
    copy["dir"] = Text(options_, "dir") + "/copy";
    CopyCache(Text(options_, "dir"), copy["dir"]);
    auto cache = Cache::Open(OptionsOf(copy, false));
    if (!cache.ok()) return Say("a copy does not open: " + cache.status().ToString());
    auto hit = (*cache)->Get(kKey);
    if (!hit.ok() || hit->has_value()) Say("a frame out of wrong bytes, opened for writing");
    auto row = (*cache)->Find(kKey);
    if (!row.ok() || row->has_value()) Say("a wrong entry was not dropped");
    const Status put = (*cache)->Put(kKey, frame_);
    hit = (*cache)->Get(kKey);
    if (!put.ok() || !hit.ok() || !hit->has_value() || !SameFrame((*hit)->frame, frame_)) {
      Say("the entry did not heal");
    }
  }

  Options options_;
  EntryInfo entry_;
  Frame frame_;
  std::string path_;
  FileDescriptor fd_;
  std::unique_ptr<Cache> reader_;
};

// --- sealed: the checksum is that of the damaged bytes ---------------------------------------

// What the bytes say themselves, read apart from the code under test.
bool IsStampedFor(const EntryInfo& entry, std::span<const uint8_t> bytes) {
  auto pairs = ReadKeyValues(bytes);
  if (!pairs.ok()) return false;
  const auto stamp = ReadStamp(*pairs);
  return stamp && stamp->cache_key == entry.cache_key && stamp->generation == entry.generation;
}

void TrySealed(const EntryInfo& row, const Bytes& bytes) {
  EntryInfo entry = row;
  entry.checksum = HexEncode(Sha256(bytes));
  entry.size_bytes = static_cast<int64_t>(bytes.size());
  const Verified verified = VerifyBytes(entry, bytes, kBudgetBytes, nullptr);
  if (verified.verdict == Verdict::kWrongBytes) Say("the checksum was not recomputed");
  const Verified schema = VerifySchema(entry, bytes, kBudgetBytes);
  if (verified.verdict != Verdict::kGood) {
    if (verified.frame.valid()) Say("a frame beside a refusal");
    return;
  }
  if (!IsStampedFor(entry, bytes)) Say("a frame of another key or generation");
  if (schema.verdict != Verdict::kGood) Say("the schema of a good file is refused");
  // A sound frame can be written and read again: every value of it is looked at.
  auto again = EncodeParquet(verified.frame, {});
  if (!again.ok()) return Say("a frame that cannot be stored: " + again.status().ToString());
  auto back = DecodeParquet(again->bytes(), DecodeLimits{4 * kBudgetBytes});
  if (!back.ok() || !SameFrame(back->frame, verified.frame)) Say("a frame that is not sound");
}

// The same through row and file: a file of that checksum and name, and a row that names it.
void TrySealedOnDisk(const Options& options, const EntryInfo& row, const Bytes& bytes) {
  auto cache = Cache::Open(OptionsOf(options, false));
  if (!cache.ok()) Refuse("cannot open the cache again");
  NewEntry entry;
  entry.cache_key = row.cache_key;
  entry.dataset_id = row.dataset_id;
  entry.checksum = HexEncode(Sha256(bytes));
  entry.generation = row.generation;
  entry.parquet_path = EntryFileName(row.cache_key, row.generation, entry.checksum);
  entry.size_bytes = static_cast<int64_t>(bytes.size());
  WriteFile(Text(options, "dir") + "/cache/" + entry.parquet_path, bytes);
  auto writer = (*cache)->catalog().BeginWrite();
  if (!writer.ok()) Refuse("cannot write the catalog");
  if (!writer->Erase(row.cache_key).ok() || !writer->Upsert(entry).ok() || !writer->Commit().ok()) {
    Refuse("cannot write a row");
  }
  auto hit = (*cache)->Get(row.cache_key);
  if (!hit.ok()) Say("an error instead of a miss: " + hit.status().ToString());
  if (hit.ok() && hit->has_value() && !IsStampedFor(row, bytes)) Say("a frame of another key");
  auto report = (*cache)->Check(true);
  if (!report.ok()) Say("check: " + report.status().ToString());
  ::unlink((Text(options, "dir") + "/cache/" + entry.parquet_path).c_str());
}

}  // namespace

int RotFile(const Options& options) {
  LimitMemory();
  Progress progress(Text(options, "progress"));
  const Bytes source = ReadAll(Text(options, "frame"));
  auto decoded = DecodeParquet(source, DecodeLimits{});
  if (!decoded.ok()) Refuse("the frame: " + decoded.status().ToString());
  EntryInfo row;
  {
    auto cache = Cache::Open(OptionsOf(options, false));
    if (!cache.ok()) Refuse(cache.status().ToString());
    if (!(*cache)->Put(kKey, decoded->frame).ok()) Refuse("cannot put");
    row = (*cache)->Find(kKey)->value();
  }
  const Bytes good = ReadAll(Text(options, "dir") + "/cache/" + row.parquet_path);
  const std::string what = Text(options, "what");
  const bool sealed = what.starts_with("sealed-");
  const std::string kind = sealed ? what.substr(7) : what;
  const auto parts = static_cast<size_t>(Number(options, "parts"));
  const auto step = static_cast<size_t>(Number(options, "step"));
  const auto seed = static_cast<uint64_t>(Number(options, "seed"));
  std::unique_ptr<PlainRot> plain;
  if (!sealed) plain = std::make_unique<PlainRot>(options, row, decoded->frame);
  size_t tried = 0;
  const auto first = static_cast<size_t>(Number(options, "part")) + seed % step * parts;
  for (size_t n = first; n < CountOf(kind, good); n += parts * step) {
    progress.Mark(n);
    const Bytes bad = Damaged(kind, good, n, seed);
    if (sealed) {
      TrySealed(row, bad);
      if (n % 256 == 0) TrySealedOnDisk(options, row, bad);
    } else {
      plain->Try(good, bad, n);
    }
    ++tried;
  }
  std::printf("tried %zu of a file of %zu bytes\n", tried, good.size());
  return CountSaid() == 0 ? 0 : 1;
}

}  // namespace barcache::torture
