// ColdTier: from frames to files and rows.

#include <array>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "barcache/cache_key.h"
#include "base/crew.h"
#include "base/sha256.h"
#include "cold/cold_tier.h"
#include "cold/entry_stamp.h"
#include "cold/unnamed_files.h"
#include "frame/byte_sink.h"
#include "frame/parquet_codec.h"

namespace barcache {
namespace {

// The file of an entry, whose bytes come in pieces.
class EntryFile {
 public:
  // REQUIRES: the directory outlives the object.
  EntryFile(const Directory& directory, int64_t capacity_bytes)
      : directory_(directory), capacity_bytes_(capacity_bytes) {}

  // All bytes count; those beyond the capacity go nowhere. What fails is told by Finish.
  void Append(std::span<const uint8_t> bytes) {
    size_bytes_ += static_cast<int64_t>(bytes.size());
    if (size_bytes_ > capacity_bytes_ || !status_.ok()) return;
    if (!file_ && size_bytes_ < kRenamedBytes) return held_.Append(bytes.data(), bytes.size());
    if (!file_) Begin();
    if (file_) file_->Append(bytes);
  }

  int64_t size_bytes() const { return size_bytes_; }

  // REQUIRES: at most the capacity.
  Status Finish(const std::string& name, bool durable) {
    BARCACHE_RETURN_IF_ERROR(std::move(status_));
    if (file_) return file_->Finish(name, durable);
    // No row names the file before it is whole.
    return directory_.CreateFile(name, held_.bytes(), durable);
  }

 private:
  // For less than that, renaming would cost a third of writing it: it is held until it is hashed.
  static constexpr int64_t kRenamedBytes = 128 << 10;

  void Begin() {
    Result<GrowingFile> file = directory_.BeginFile();
    if (file.ok()) {
      file_.emplace(std::move(*file));
      file_->Append(held_.bytes());
    } else {
      status_ = file.status();
    }
  }

  const Directory& directory_;
  const int64_t capacity_bytes_;
  int64_t size_bytes_ = 0;
  ByteSink held_;
  std::optional<GrowingFile> file_;
  Status status_;
};

}  // namespace

UnnamedFiles::~UnnamedFiles() {
  if (entries_ == nullptr) return;
  for (const NewEntry& entry : *entries_) {
    if (entry.parquet_path.empty()) continue;
    try {
      (void)directory_.RemoveFile(entry.parquet_path);
    } catch (const std::bad_alloc&) {  // Of the message that it could not be removed.
    }
  }
}

Result<NewEntry> ColdTier::WriteEntryFile(const WriteRequest& request, uint64_t generation,
                                          int64_t capacity_bytes) {
  BARCACHE_ASSIGN_OR_RETURN(const auto standing, catalog_->FindBeforeWrite(request.cache_key));
  const int64_t now_s = clock_->WallSeconds();

  EntryStamp stamp;
  stamp.catalog_id = catalog_->catalog_id();
  const bool is_later = !standing || standing->generation < generation;
  stamp.generation = is_later ? generation : NextGeneration(standing->generation);
  stamp.dataset_id = request.dataset_id;
  stamp.created_at = standing ? standing->created_at : now_s;
  stamp.cache_key = request.cache_key;
  stamp.request_json = request.request_json;

  NewEntry entry;
  entry.cache_key = stamp.cache_key;
  entry.dataset_id = request.dataset_id;
  entry.generation = stamp.generation;
  entry.request_json = stamp.request_json;
  entry.now_s = now_s;
  entry.fetch_cost = request.fetch_cost_s;
  entry.checksum.reserve(2 * sizeof(Sha256Digest));  // Once there is a file, nothing may throw.

  EntryFile file(directory_, capacity_bytes);
  Sha256Stream hash;
  const std::array takers = {
      PieceTaker{[&](std::span<const uint8_t> bytes) { file.Append(bytes); }, true},
      PieceTaker{[&](std::span<const uint8_t> bytes) { hash.Append(bytes); }, false}};
  if (const Status encoded = EncodeParquetInPieces(*request.frame, WriteStamp(stamp), takers);
      !encoded.ok()) {
    if (encoded.code() != ErrorCode::kOutOfMemory) return encoded;
    return Status(encoded.code(), "putting " + stamp.cache_key + " into " + directory_.path() +
                                      ": " + encoded.message());
  }
  entry.size_bytes = file.size_bytes();
  if (entry.size_bytes > capacity_bytes) return entry;
  const std::string checksum = HexEncode(hash.Finish());
  std::string path = EntryFileName(request.cache_key, entry.generation, checksum);
  BARCACHE_RETURN_IF_ERROR(file.Finish(path, options_.durability == Durability::kFull));
  entry.parquet_path = std::move(path);
  entry.checksum = checksum;
  return entry;
}

Result<std::vector<NewEntry>> ColdTier::WriteEntryFiles(const std::vector<WriteRequest>& requests,
                                                        int64_t capacity_bytes) {
  std::vector<NewEntry> entries(requests.size());
  UnnamedFiles files(directory_, entries);
  // In the order of the requests: of two puts of one key the later one stands.
  std::vector<uint64_t> generations;
  for (size_t i = 0; i < requests.size(); ++i) generations.push_back(NextGeneration(0));
  std::mutex failure_mutex;
  Status failure;
  Crew::Batch batch(Crew::Shared(), static_cast<int64_t>(requests.size()), [&](int64_t index) {
    const auto at = static_cast<size_t>(index);
    auto entry = WriteEntryFile(requests[at], generations[at], capacity_bytes);
    if (entry.ok()) {
      entries[at] = std::move(*entry);
      return;
    }
    const std::lock_guard lock(failure_mutex);
    if (failure.ok()) failure = entry.status();
  });
  batch.Join();
  BARCACHE_RETURN_IF_ERROR(failure);
  files.Keep();
  return entries;
}

Result<WriteOutcomes> ColdTier::Write(const std::vector<WriteRequest>& requests,
                                      const WriteLimits& limits, EventBuffer* events) {
  std::vector<NewEntry> entries;
  entries.reserve(requests.size());
  UnnamedFiles files(directory_, entries);
  if (requests.size() == 1) {
    BARCACHE_ASSIGN_OR_RETURN(
        NewEntry entry, WriteEntryFile(requests.front(), NextGeneration(0), limits.capacity_bytes));
    entries.push_back(std::move(entry));
  } else {
    BARCACHE_ASSIGN_OR_RETURN(entries, WriteEntryFiles(requests, limits.capacity_bytes));
  }
  return Commit(requests, entries, limits, &files, events);
}

}  // namespace barcache
