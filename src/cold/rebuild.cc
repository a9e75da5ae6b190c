#include "cold/rebuild.h"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "barcache/cache_key.h"
#include "base/crew.h"
#include "base/failpoint.h"
#include "base/file_system.h"
#include "base/sha256.h"
#include "catalog/catalog_rebuild.h"
#include "cold/cold_events.h"
#include "cold/entry_stamp.h"
#include "cold/orphan.h"

namespace barcache {
namespace {

// A file whose bytes have the digest in its name, and whose footer agrees with the rest of it.
struct ProvenFile {
  std::string catalog_id;
  NewEntry entry;
};

// Whether a file is left out because of an error of its own, not one that hits any file.
bool IsOfTheFile(const Status& unread) {
  const int error = unread.system_errno();
  return unread.code() != ErrorCode::kOutOfMemory && error != EMFILE && error != ENFILE;
}

// nullopt: not such a file, or, for a repair, one that cannot be read.
Result<std::optional<ProvenFile>> ProveFile(const Directory& directory, const FileInfo& file,
                                            RebuildCause cause) {
  EntryFileNameParts parts;
  if (!file.is_regular || !ParseEntryFileName(file.name, &parts))
    return std::optional<ProvenFile>();
  auto read = directory.ReadFile(file.name, kMaxFileBytes);
  if (!read.ok() && read.status().code() != ErrorCode::kOverBudget) {
    if (!IsOfTheFile(read.status())) return read.status();
    if (cause == RebuildCause::kOpening && !Mutant("rebuild_without_unread")) {
      return Status(read.status().code(),
                    read.status().message() +
                        ", or run `barcache verify --repair`, which leaves that file out",
                    read.status().system_errno());
    }
  }
  if (!read.ok() || !read->has_value()) return std::optional<ProvenFile>();
  const std::span<const uint8_t> bytes = (*read)->bytes();
  const std::string checksum = HexEncode(Sha256(bytes));
  if (!checksum.starts_with(parts.checksum_prefix) && !Mutant("rebuild_without_digest")) {
    return std::optional<ProvenFile>();
  }
  const auto pairs = ReadKeyValues(bytes);
  if (pairs.status().code() == ErrorCode::kOutOfMemory) return pairs.status();
  const auto stamp = pairs.ok() ? ReadStamp(*pairs) : std::nullopt;
  constexpr auto kMaxGeneration = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool agrees = stamp && ValidateCacheKey(stamp->cache_key).ok() &&
                      FileStemOfKey(stamp->cache_key) == parts.stem &&
                      stamp->generation == parts.generation && stamp->generation != 0 &&
                      stamp->generation <= kMaxGeneration;
  if (!agrees) return std::optional<ProvenFile>();
  ProvenFile proven;
  proven.catalog_id = stamp->catalog_id;
  proven.entry.cache_key = stamp->cache_key;
  proven.entry.dataset_id = stamp->dataset_id;
  proven.entry.parquet_path = file.name;
  proven.entry.checksum = checksum;
  proven.entry.size_bytes = static_cast<int64_t>(bytes.size());
  proven.entry.generation = stamp->generation;
  proven.entry.request_json = stamp->request_json;
  proven.entry.now_s = stamp->created_at;
  return std::optional<ProvenFile>(std::move(proven));
}

struct Harvest {
  std::vector<ProvenFile> proven;
  std::vector<std::string> left;  // Names of files that are not admitted.
};

Result<Harvest> ProveFiles(const Directory& directory, RebuildCause cause) {
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<FileInfo> files, directory.List());
  std::vector<std::optional<ProvenFile>> proven(files.size());
  std::mutex failure_mutex;
  Status failure;
  Crew::Batch batch(Crew::Shared(), static_cast<int64_t>(files.size()), [&](int64_t index) {
    const auto at = static_cast<size_t>(index);
    auto file = ProveFile(directory, files[at], cause);
    if (file.ok()) {
      proven[at] = std::move(*file);
      return;
    }
    const std::lock_guard lock(failure_mutex);
    if (failure.ok()) failure = file.status();
  });
  batch.Join();
  BARCACHE_RETURN_IF_ERROR(failure);
  Harvest harvest;
  for (size_t at = 0; at < files.size(); ++at) {
    if (proven[at]) {
      harvest.proven.push_back(std::move(*proven[at]));
    } else {
      harvest.left.push_back(files[at].name);
    }
  }
  return harvest;
}

// The id under which the files were written. Without one that is known all must name the same; who
// asked for a repair gets that of most.
Result<std::string> ChooseCatalogId(const CatalogRebuild& rebuild, const Harvest& harvest,
                                    RebuildCause cause) {
  if (!rebuild.catalog_id().empty()) return rebuild.catalog_id();
  std::map<std::string, int64_t> counts;
  for (const ProvenFile& file : harvest.proven) ++counts[file.catalog_id];
  if (counts.empty()) return RandomHex32();
  if (counts.size() > 1 && cause == RebuildCause::kOpening) {
    return Status(ErrorCode::kCatalogCorrupt,
                  "catalog " + rebuild.path() +
                      ": it is damaged, and the files beside it are of several catalogs, so it was "
                      "left as it is: restore it, or run `barcache verify --repair`, which takes "
                      "the catalog that most of them name");
  }
  const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  return std::max_element(counts.begin(), counts.end(), less)->first;
}

// The newest of each key; everything else of the harvest is left.
std::vector<NewEntry> Admit(Harvest* harvest, const std::string& catalog_id) {
  std::map<std::string, NewEntry> newest;
  for (ProvenFile& file : harvest->proven) {
    if (file.catalog_id != catalog_id) {
      harvest->left.push_back(file.entry.parquet_path);
      continue;
    }
    const auto [at, is_first] = newest.try_emplace(file.entry.cache_key, file.entry);
    if (is_first) continue;
    const bool is_newer =
        (file.entry.generation > at->second.generation) != Mutant("rebuild_takes_oldest");
    harvest->left.push_back(is_newer ? at->second.parquet_path : file.entry.parquet_path);
    if (is_newer) at->second = file.entry;
  }
  std::vector<NewEntry> entries;
  entries.reserve(newest.size());
  for (auto& [key, entry] : newest) entries.push_back(std::move(entry));
  return entries;
}

Status LeftShared(const std::string& path) {
  return Status(
      ErrorCode::kCatalogCorrupt,
      "catalog " + path +
          ": it is damaged, and RustyBT keeps rows of its own in it or may, so it was left "
          "as it is: restore it, or close all programs that use it and run `barcache "
          "verify --repair`, which keeps it under another name and rebuilds what can be "
          "read");
}

Status Failed(const std::string& path, const Status& cause) {
  const ErrorCode code = cause.code();
  const bool says_enough = code == ErrorCode::kBusy || code == ErrorCode::kOutOfMemory ||
                           code == ErrorCode::kCatalogCorrupt;
  if (says_enough) return cause;
  return Status(ErrorCode::kCatalogCorrupt,
                "catalog " + path +
                    ": it is lost or damaged, and could not be rebuilt from the cache files, so "
                    "nothing was changed: " +
                    cause.message() +
                    "; put that right and open the cache again, or restore the catalog",
                cause.system_errno());
}

Result<bool> RebuildUnderLock(const CacheOptions& options, CatalogRebuild* rebuild,
                              RebuildCause cause, EventBuffer* events) {
  BARCACHE_ASSIGN_OR_RETURN(const Directory directory,
                            Directory::Open(options.cache_directory, false));
  BARCACHE_ASSIGN_OR_RETURN(Harvest harvest, ProveFiles(directory, cause));
  BARCACHE_ASSIGN_OR_RETURN(const std::string catalog_id,
                            ChooseCatalogId(*rebuild, harvest, cause));
  const std::vector<NewEntry> entries = Admit(&harvest, catalog_id);
  const bool is_lost = rebuild->condition() == CatalogCondition::kLost;
  // Catalog and files are gone: somebody begins anew.
  if (is_lost && entries.empty()) return false;
  BARCACHE_ASSIGN_OR_RETURN(const RebuildOutcome outcome, rebuild->Replace(catalog_id, entries));
  std::ranges::sort(harvest.left);
  events->push_back(
      CatalogRebuilt(rebuild->path(), outcome, static_cast<int64_t>(entries.size()), harvest.left));
  return true;
}

}  // namespace

Result<bool> RebuildCatalog(const CacheOptions& options, const CatalogOptions& catalog_options,
                            RebuildCause cause, EventBuffer* events) {
  const RebuildReach reach =
      cause == RebuildCause::kRepair ? RebuildReach::kShared : RebuildReach::kOurs;
  auto begun = CatalogRebuild::Begin(catalog_options, reach);
  if (!begun.ok()) return begun.status();
  CatalogRebuild& rebuild = **begun;
  switch (rebuild.condition()) {
    case CatalogCondition::kSound:
    case CatalogCondition::kForeign:
      return false;
    case CatalogCondition::kShared:
      if (cause == RebuildCause::kOpening) return LeftShared(rebuild.path());
      break;
    case CatalogCondition::kLost:
    case CatalogCondition::kDamaged:
      break;
  }
  auto rebuilt = RebuildUnderLock(options, &rebuild, cause, events);
  if (!rebuilt.ok()) return Failed(rebuild.path(), rebuilt.status());
  return rebuilt;
}

Result<std::unique_ptr<Catalog>> OpenOrRebuildCatalog(const CacheOptions& options,
                                                      const CatalogOptions& catalog_options,
                                                      const Clock* clock, EventBuffer* events) {
  const bool may_rebuild = !catalog_options.read_only && catalog_options.db_path != ":memory:" &&
                           !catalog_options.db_path.empty() &&
                           catalog_options.db_path.find('\0') == std::string::npos;
  if (may_rebuild) {
    BARCACHE_ASSIGN_OR_RETURN(const bool is_due, CatalogRebuild::IsDue(catalog_options));
    if (is_due) {
      BARCACHE_RETURN_IF_ERROR(
          RebuildCatalog(options, catalog_options, RebuildCause::kOpening, events).status());
    }
  }
  auto catalog = Catalog::Open(catalog_options, clock);
  const ErrorCode code = catalog.status().code();
  if (!may_rebuild || (code != ErrorCode::kCatalogCorrupt && code != ErrorCode::kNotACatalog)) {
    return catalog;
  }
  auto rebuilt = RebuildCatalog(options, catalog_options, RebuildCause::kOpening, events);
  if (!rebuilt.ok()) return rebuilt.status();
  // Not rebuilt here: somebody else did, or it is foreign, and the second opening says so again.
  return Catalog::Open(catalog_options, clock);
}

}  // namespace barcache
