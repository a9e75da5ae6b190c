// Pins: entries that no eviction removes.
//
// A pinned entry is one whose side row has a negative order of use. It is thereby out of the range
// and of the partial indexes in which victims are looked for, and ranks in no computed order.
#include "base/failpoint.h"
#include "catalog/catalog_impl.h"

namespace barcache {

namespace {

constexpr char kPin[] =
    "UPDATE barcache_entries SET use_order = -(SELECT next_use FROM barcache_totals WHERE id = 1),"
    " is_old = 0, priority = NULL, queue = NULL, place = NULL, counted_uses = NULL"
    " WHERE cache_key = ?1 AND use_order > 0";
// For the mutant whose pins keep nothing.
constexpr char kPinNothing[] =
    "UPDATE barcache_entries SET use_order = use_order WHERE cache_key = ?1 AND use_order > 0";
constexpr char kUnpin[] =
    "UPDATE barcache_entries SET use_order = (SELECT next_use FROM barcache_totals WHERE id = 1)"
    " WHERE cache_key = ?1 AND use_order < 0";
constexpr char kPinnedSize[] =
    "SELECT size_bytes FROM barcache_entries WHERE cache_key = ?1 AND use_order < 0";

}  // namespace

Result<bool> CatalogWriter::Pin(std::string_view cache_key) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse pin,
                            state_->Use(Mutant("pins_keep_nothing") ? kPinNothing : kPin));
  pin->Bind(1, cache_key);
  BARCACHE_RETURN_IF_ERROR(pin->Run());
  return state_->connection->changes() > 0;
}

Result<bool> CatalogWriter::Unpin(std::string_view cache_key) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse unpin, state_->Use(kUnpin));
  unpin->Bind(1, cache_key);
  BARCACHE_RETURN_IF_ERROR(unpin->Run());
  return state_->connection->changes() > 0;
}

Result<int64_t> CatalogWriter::PinnedSizeOf(std::string_view cache_key) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse find, state_->Use(kPinnedSize));
  find->Bind(1, cache_key);
  BARCACHE_ASSIGN_OR_RETURN(const bool row, find->Step());
  return row ? find->Int64Or(0, 0) : 0;
}

}  // namespace barcache
