// ColdTier::Check: the catalog and the directory compared.

#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/failpoint.h"
#include "cold/cold_events.h"
#include "cold/cold_tier.h"
#include "cold/orphan.h"
#include "cold/verification.h"

namespace barcache {

Status ColdTier::CheckFiles(const std::vector<EntryInfo>& entries, bool repair, CheckReport* report,
                            EventBuffer* events) {
  std::unordered_set<std::string> known;
  for (const EntryInfo& entry : entries) known.insert(entry.parquet_path);
  BARCACHE_ASSIGN_OR_RETURN(const std::vector<FileInfo> files, directory_.List());
  for (const FileInfo& file : files) {
    if (known.contains(file.name)) continue;
    const Origin origin =
        file.is_regular ? OriginOf(directory_, file.name, catalog_->catalog_id()) : Origin();
    if (!origin.unfinished && !origin.key) {
      report->foreign_files.push_back(file.name);
      continue;
    }
    if (clock_->WallSeconds() - file.modified_s < kOrphanGraceSeconds) continue;
    report->orphan_files.push_back(file.name);
    if (!repair || Mutant("repair_keeps_orphans")) continue;
    BARCACHE_ASSIGN_OR_RETURN(const int64_t size_bytes, RemoveOrphan(file.name, origin, events));
    if (size_bytes < 0) continue;
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
