// Internal to the cold room.
#pragma once

#include "barcache/status.h"
#include "catalog/catalog.h"

namespace barcache {

// Commits and lets go of the writer lock, so that files are unlinked outside it.
inline Status CommitAndRelease(CatalogWriter writer) { return writer.Commit(); }

}  // namespace barcache
