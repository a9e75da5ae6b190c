// Rebuilding a lost or damaged catalog from the footers of the files that it named.
//
// A file is admitted if its bytes have the digest in its name, its footer names the catalog, and
// key and generation are those of its name. Of several of a key the newest is; older ones are left
// as files without a row. All others are left alone and not served. A file that the system does not
// let be read may be any of these: opening fails for it, a repair goes on without it.
//
// Thread safety: any thread; processes take turns by the catalog's writers' lock.
#pragma once

#include "barcache/options.h"
#include "barcache/status.h"
#include "base/clock.h"
#include "base/event.h"
#include "catalog/catalog.h"

namespace barcache {

enum class RebuildCause {
  kOpening,  // A catalog that may be shared with RustyBT is left as it is.
  kRepair,   // Somebody asked for it: damage is looked for everywhere, a shared one is rebuilt too.
};

// Opens the catalog; one that was lost or is damaged is rebuilt first, where it is barcache's
// alone. kCatalogCorrupt: it is damaged and was left as it is, or could not be rebuilt. Never when
// read_only.
Result<std::unique_ptr<Catalog>> OpenOrRebuildCatalog(const CacheOptions& options,
                                                      const CatalogOptions& catalog_options,
                                                      const Clock* clock, EventBuffer* events);

// Returns whether it was lost or damaged, and is rebuilt. A foreign file is left alone: false.
Result<bool> RebuildCatalog(const CacheOptions& options, const CatalogOptions& catalog_options,
                            RebuildCause cause, EventBuffer* events);

}  // namespace barcache
