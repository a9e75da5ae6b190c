// Cache::Impl: what fetching needs beside get and put.

#include <utility>

#include "cache/cache_impl.h"

namespace barcache {

Result<std::unique_ptr<Flight>> Cache::Impl::BeginFlight(std::string_view name) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  std::unique_ptr<Flight> flight = flights_.Begin(name);
  Emit({});
  return flight;
}

Result<DatasetId> Cache::Impl::DatasetOf(std::string_view source, std::string_view resolution) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  BARCACHE_ASSIGN_OR_RETURN(const auto known, catalog->FindDataset(source, resolution));
  if (known) return DatasetId{*known, false};
  BARCACHE_ASSIGN_OR_RETURN(CatalogWriter writer, catalog->BeginWrite());
  BARCACHE_ASSIGN_OR_RETURN(const DatasetRow row,
                            writer.FindOrAddDataset(source, resolution, clock_->WallSeconds()));
  BARCACHE_RETURN_IF_ERROR(writer.Commit());
  return DatasetId{row.dataset_id, row.is_new};
}

Status Cache::Impl::NoteUse(std::string_view key, std::string_view backtest_id) {
  BARCACHE_RETURN_IF_ERROR(RequireOpen());
  CountUse(key, backtest_id);
  return Status();
}

}  // namespace barcache
