// ColdTier::Check: the catalog and the directory compared.

#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "barcache/cache_key.h"
#include "base/failpoint.h"
#include "base/sha256.h"
#include "cold/cold_events.h"
#include "cold/cold_tier.h"
#include "cold/entry_stamp.h"
#include "cold/verification.h"

namespace barcache {
namespace {

// A put writes its file before its row: a file younger than this may be about to get one.
constexpr int64_t kOrphanGraceSeconds = 600;
constexpr int64_t kMaxFooterReadBytes = int64_t{16} << 30;

// What a put that was killed leaves behind before its rename.
bool IsTemporaryName(std::string_view name) { return name.starts_with(".tmp-"); }

// What a file without a row says of itself.
struct Origin {
  bool unfinished = false;         // A put was killed while it wrote this.
  std::optional<std::string> key;  // This catalog wrote it, as its own footer says, under that key.
};

Origin OriginOf(const Directory& directory, const std::string& name, const std::string& checksum,
                const std::string& catalog_id) {
  auto file = directory.ReadFile(name, kMaxFooterReadBytes);
  if (!file.ok() || !file->has_value()) return {};
  const std::span<const uint8_t> bytes = (*file)->bytes();
  auto pairs = ReadKeyValues(bytes);
  // Without its end a file does not say whose it is; but nobody can serve it any more.
  if (!pairs.ok()) return {!HexEncode(Sha256(bytes)).starts_with(checksum), std::nullopt};
  const auto stamp = ReadStamp(*pairs);
  if (!stamp || stamp->catalog_id != catalog_id) return {};
  return {false, stamp->cache_key};
}

}  // namespace

Status ColdTier::CheckFiles(const std::vector<EntryInfo>& entries, bool repair, CheckReport* report,
                            EventBuffer* events) {
  std::unordered_set<std::string> known;
  for (const EntryInfo& entry : entries) known.insert(entry.parquet_path);
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<FileInfo> files, directory_.List());
  for (const FileInfo& file : files) {
    if (known.contains(file.name)) continue;
    EntryFileNameParts parts;
    Origin origin;
    if (IsTemporaryName(file.name)) {
      origin.unfinished = true;
    } else if (file.is_regular && ParseEntryFileName(file.name, &parts)) {
      origin = OriginOf(directory_, file.name, parts.checksum_prefix, catalog_->catalog_id());
    }
    const std::optional<std::string>& key = origin.key;
    if (!file.is_regular || (!origin.unfinished && !key)) {
      report->foreign_files.push_back(file.name);
      continue;
    }
    if (clock_->WallSeconds() - file.modified_s < kOrphanGraceSeconds) continue;
    report->orphan_files.push_back(file.name);
    if (!repair || Mutant("repair_keeps_orphans")) continue;
    // Under the writer lock nobody can give the file a row between the look and the unlink.
    BARCACHE_ASSIGN_OR_RETURN(const CatalogWriter writer, catalog_->BeginWrite());
    if (key) {
      BARCACHE_ASSIGN_OR_RETURN(const auto row, catalog_->Find(*key));
      if (row && row->parquet_path == file.name) continue;
    }
    BARCACHE_RETURN_IF_ERROR(directory_.RemoveFile(file.name));
    events->push_back(FileDeleted("", file.name));
    ++report->repaired;
  }
  return Status();
}

Result<CheckReport> ColdTier::Check(bool repair, EventBuffer* events) {
  CheckReport report;
  BARCACHE_ASSIGN_OR_RETURN(const auto findings, catalog_->QuickCheck());
  report.catalog_damaged = !findings.empty();
  BARCACHE_ASSIGN_OR_RETURN(const CatalogTotals totals, catalog_->Totals());
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<EntryInfo> entries, catalog_->Entries());
  for (const EntryInfo& entry : entries) {
    ++report.entries_checked;
    report.bytes_checked += entry.size_bytes;
    const Verified verified = Verify(entry, nullptr);
    if (verified.verdict == Verdict::kGood) continue;
    auto again = catalog_->Find(entry.cache_key);
    if (again.ok() && (!again->has_value() || (*again)->checksum != entry.checksum ||
                       (*again)->parquet_path != entry.parquet_path)) {
      continue;  // Replaced or removed while we looked.
    }
    if (verified.verdict == Verdict::kMissing) {
      report.missing_files.push_back(entry.cache_key);
    } else if (verified.verdict == Verdict::kUnreadable) {
      report.unreadable_files.push_back(entry.cache_key);
    } else {
      report.corrupt_files.push_back(entry.cache_key);
    }
    events->push_back(VerificationFailed(entry, verified));
    if (repair && verified.drops()) {
      Drop(entry, verified.verdict, events);
      ++report.repaired;
    }
  }
  BARCACHE_RETURN_IF_ERROR(CheckFiles(entries, repair, &report, events));
  if (repair) {
    BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog_->BeginWrite());
    BARCACHE_ASSIGN_OR_RETURN(report.totals_differ, writer.RebuildSideTables());
    BARCACHE_RETURN_IF_ERROR(writer.Commit());
    if (report.totals_differ) ++report.repaired;
  } else {
    int64_t size_bytes = 0;
    for (const EntryInfo& entry : entries) size_bytes += entry.size_bytes;
    const int64_t entry_count = static_cast<int64_t>(entries.size());
    BARCACHE_ASSIGN_OR_RETURN(const CatalogTotals after, catalog_->Totals());
    // Somebody's write in between is no finding.
    report.totals_differ = totals.size_bytes == after.size_bytes &&
                           totals.entry_count == after.entry_count &&
                           (totals.size_bytes != size_bytes || totals.entry_count != entry_count);
  }
  return report;
}

}  // namespace barcache
