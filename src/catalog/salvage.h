// Salvage: what a catalog that SQLite finds damaged still says.
//
// The file is read through SQLite alone: by SELECTs, row by row from both ends of a table as far
// as they go; and where its first page is damaged, from a copy in memory under a sound header,
// without the write-ahead log. Nothing is written to it.
//
// Thread safety: one thread at a time.
// Errors: kIo, kNoSpace, kOutOfMemory, kBusy. Damage is no error: it is what is being looked at.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "barcache/status.h"
#include "catalog/epochs.h"
#include "catalog/sqlite.h"

namespace barcache {

enum class CatalogCondition {
  kSound,    // Also: nothing is there, and nothing is known to have been.
  kLost,     // There was a catalog of ours; its file is missing or empty.
  kDamaged,  // With tables of ours and no others, which barcache alone fills.
  kShared,   // Likewise, but RustyBT keeps rows of its own in it, or may.
  kForeign,  // Another program's, or nobody can say whose.
};

// Reads the first row of each of our tables that exist: a page that is damaged at the root of one
// shows. Returns whether the tables that only RustyBT fills hold any.
Result<bool> ProbeTables(SqliteConnection* connection);

struct SalvageReport {
  int64_t link_count = 0;
  int64_t statistics_days = 0;
  std::vector<std::string> damaged_tables;  // Of which rows were lost, or all of them.
};

class DamagedCatalog {
 public:
  // `thorough`: by SQLite's quick_check, else by what opening reads.
  static Result<DamagedCatalog> Examine(const std::string& path, int64_t busy_timeout_ms,
                                        bool thorough, const CatalogNote& note);

  CatalogCondition condition() const { return condition_; }
  const std::string& catalog_id() const { return catalog_id_; }  // "": it does not say.

  // What is known of uses, of refetch costs and of links, into the temporary tables
  // `salvaged_uses`, `salvaged_costs` and `salvaged_links` of `draft`, which it makes.
  Status CopyFigures(SqliteConnection* draft, SalvageReport* report);
  // Everything else, into the tables of the same name. The ledger comes whole or not at all.
  Status CopyTables(SqliteConnection* draft, SalvageReport* report);

 private:
  Result<bool> Probe(bool thorough);
  Result<bool> ReadNames(SqliteConnection* connection);
  Status ReadImage();
  Status Judge(const std::string& path, const CatalogNote& note);
  Result<bool> MayBeShared(const CatalogNote& note);
  Status ReadCatalogId();
  // Returns whether all of it was read; else the report names the table.
  Result<bool> Copy(SqliteConnection* draft, const std::string& table, const std::string& select,
                    const std::string& insert, bool from_both_ends, SalvageReport* report);
  Result<bool> CopyAll(SqliteConnection* draft, const std::string& table, const std::string& select,
                       const std::string& insert, bool from_both_ends);

  CatalogCondition condition_ = CatalogCondition::kSound;
  std::string catalog_id_;
  std::unique_ptr<SqliteConnection> file_;
  std::unique_ptr<SqliteConnection> image_;
  SqliteConnection* source_ = nullptr;  // One of them, or none.
  std::vector<std::string> names_;      // Of the tables and views that its schema names.
  bool names_are_complete_ = false;
};

}  // namespace barcache
