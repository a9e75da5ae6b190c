// CatalogRebuild: a lost or damaged catalog gives way to one made from the files that it named.
//
// Begin looks at what is under the catalog's name, twice: as it is, and again under the writers'
// lock if it is to be replaced, so that of several processes one rebuilds and the others find a
// sound catalog. Replace writes the new catalog beside it, as `<db>.rebuild`, whole and synced;
// keeps the old one under a second name, `<db>.corrupt-<UTC>`; moves its log and its log's index
// away, which would else be replayed into the new one; and renames. Killed before the rename it
// leaves the damaged catalog under its name, and the next opening begins anew. Who still has the
// old file open finds out by its inode: writers under the lock, readers by a counter.
//
// Thread safety: one thread at a time.
// Errors: as the catalog's. Nothing has changed under the name unless Replace returns ok.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "barcache/status.h"
#include "catalog/catalog.h"
#include "catalog/epochs.h"
#include "catalog/salvage.h"

namespace barcache {

struct RebuildOutcome {
  std::string kept_path;  // Where the old file is; "": there was none.
  SalvageReport salvage;
};

enum class RebuildReach {
  kOurs,    // A catalog that is shared with RustyBT is not replaced, thus not locked.
  kShared,  // It is; and damage is looked for by quick_check.
};

class CatalogRebuild {
 public:
  // True when the next opening should not go on without Begin: the catalog that was there is
  // missing or empty, or a process met damage in it. Where that cannot be found out it must not
  // go on either.
  static Result<bool> IsDue(const CatalogOptions& options);

  static Result<std::unique_ptr<CatalogRebuild>> Begin(const CatalogOptions& options,
                                                       RebuildReach reach);
  ~CatalogRebuild();
  CatalogRebuild(const CatalogRebuild&) = delete;
  CatalogRebuild& operator=(const CatalogRebuild&) = delete;

  CatalogCondition condition() const { return damaged_.condition(); }
  const std::string& path() const { return path_; }
  // Of the catalog that was there; "": it is not known.
  std::string catalog_id() const;

  // REQUIRES: kLost, kDamaged, or kShared within reach. `entries` have keys of their own; their
  // now_s is when they were created.
  Result<RebuildOutcome> Replace(const std::string& catalog_id,
                                 const std::vector<NewEntry>& entries);

 private:
  CatalogRebuild(std::string path, const CatalogOptions& options)
      : path_(std::move(path)), options_(options) {}
  Status Look(RebuildReach reach);
  Status WriteDraft(const std::string& draft_path, const std::string& catalog_id,
                    const std::vector<NewEntry>& entries, SalvageReport* report);
  Result<std::string> Swap(const std::string& draft_path);

  std::string path_;
  CatalogOptions options_;
  CatalogNote note_;
  DamagedCatalog damaged_;
  std::unique_ptr<Epochs> epochs_;
  bool locked_ = false;
};

}  // namespace barcache
