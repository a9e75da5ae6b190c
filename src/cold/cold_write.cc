// ColdTier: from frames to files and rows.

#include <mutex>
#include <new>
#include <utility>

#include "barcache/cache_key.h"
#include "base/crew.h"
#include "cold/cold_tier.h"
#include "cold/entry_stamp.h"
#include "cold/hash_beside.h"
#include "cold/unnamed_files.h"

namespace barcache {

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
  BARCACHE_ASSIGN_OR_RETURN(const ByteBuffer bytes,
                            EncodeParquet(*request.frame, WriteStamp(stamp)));

  NewEntry entry;
  entry.cache_key = stamp.cache_key;
  entry.dataset_id = request.dataset_id;
  entry.size_bytes = static_cast<int64_t>(bytes.size());
  entry.generation = stamp.generation;
  entry.request_json = stamp.request_json;
  entry.now_s = now_s;
  entry.fetch_cost = request.fetch_cost_s;
  entry.checksum.reserve(2 * sizeof(Sha256Digest));  // Once there is a file, nothing may throw.
  if (entry.size_bytes > capacity_bytes) return entry;

  const bool durable = options_.durability == Durability::kFull;
  HashBeside hash(bytes.bytes());
  const auto name = [&] { return EntryFileName(request.cache_key, entry.generation, hash.Hex()); };
  if (hash.is_beside()) {
    BARCACHE_ASSIGN_OR_RETURN(entry.parquet_path,
                              directory_.WriteFileAtomically(name, bytes.bytes(), durable));
  } else {
    // Renaming would cost a third of writing it. No row names the file before it is whole.
    std::string path = name();
    BARCACHE_RETURN_IF_ERROR(directory_.CreateFile(path, bytes.bytes(), durable));
    entry.parquet_path = std::move(path);
  }
  entry.checksum = hash.Hex();
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
