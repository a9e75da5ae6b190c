// The ledger's rows: reading and writing them. What they mean is said in the room `bars`.
#include "catalog/catalog_impl.h"
#include "catalog/ledger_rows.h"

namespace barcache {

namespace {

constexpr char kFindSeries[] =
    "SELECT series_key, source, resolution, adjustment, symbol, schema_text FROM barcache_series"
    " WHERE series_key = ?1";
constexpr char kAllSeries[] =
    "SELECT series_key, source, resolution, adjustment, symbol, schema_text FROM barcache_series"
    " ORDER BY source, resolution, adjustment, symbol";
constexpr char kFindCoverage[] =
    "SELECT begin_ns, end_ns, state, segment_key, asked_at, expires_at FROM barcache_coverage"
    " WHERE series_key = ?1 ORDER BY begin_ns";
constexpr char kStoreSeries[] =
    "INSERT INTO barcache_series (series_key, source, resolution, adjustment, symbol, schema_text)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (series_key) DO UPDATE SET schema_text ="
    " CASE excluded.schema_text WHEN '' THEN schema_text ELSE excluded.schema_text END";
constexpr char kDropCoverage[] =
    "DELETE FROM barcache_coverage WHERE series_key = ?1 AND begin_ns = ?2";
constexpr char kAddCoverage[] =
    "INSERT INTO barcache_coverage (series_key, begin_ns, end_ns, state, segment_key, asked_at,"
    " expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
constexpr char kHasEntry[] = "SELECT 1 FROM cache_entries WHERE cache_key = ?1";

SeriesRow ReadSeriesRow(const SqliteStatement& row) {
  return SeriesRow{row.TextOr(0, ""), row.TextOr(1, ""), row.TextOr(2, ""),
                   row.TextOr(3, ""), row.TextOr(4, ""), row.TextOr(5, "")};
}

Result<std::vector<CoverageRow>> ReadCoverage(SqliteConnection* connection,
                                              std::string_view series_key) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse find, connection->Use(kFindCoverage));
  find->Bind(1, series_key);
  std::vector<CoverageRow> rows;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool found, find->Step());
    if (!found) return rows;
    CoverageRow row;
    row.begin_ns = find->Int64Or(0, 0);
    row.end_ns = find->Int64Or(1, 0);
    row.state = find->Int64Or(2, -1);
    row.segment_key = find->TextOr(3, "");
    row.asked_at_s = find->Int64Or(4, 0);
    if (find->type(5) == SqliteType::kInteger) row.expires_at_s = find->Int64(5);
    rows.push_back(std::move(row));
  }
}

}  // namespace

Result<std::optional<StoredSeries>> Catalog::FindSeries(std::string_view series_key) {
  if (!impl_->has_side_tables) return std::optional<StoredSeries>();
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->readers.Take());
  StoredSeries stored;
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse find, reader->Use(kFindSeries));
    find->Bind(1, series_key);
    BARCACHE_ASSIGN_OR_RETURN(const bool found, find->Step());
    if (!found) return std::optional<StoredSeries>();
    stored.series = ReadSeriesRow(*find);
  }
  BARCACHE_ASSIGN_OR_RETURN(stored.coverage, ReadCoverage(reader.get(), series_key));
  return std::optional<StoredSeries>(std::move(stored));
}

Result<std::vector<StoredSeries>> Catalog::AllSeries() {
  std::vector<StoredSeries> all;
  if (!impl_->has_side_tables) return all;
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->readers.Take());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, reader->Use(kAllSeries));
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool found, query->Step());
    if (!found) return all;
    StoredSeries stored{ReadSeriesRow(*query), {}};
    BARCACHE_ASSIGN_OR_RETURN(stored.coverage,
                              ReadCoverage(reader.get(), stored.series.series_key));
    all.push_back(std::move(stored));
  }
}

Status CatalogWriter::StoreSeries(const SeriesRow& series) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse store, state_->Use(kStoreSeries));
  store->Bind(1, series.series_key)
      .Bind(2, series.source)
      .Bind(3, series.resolution)
      .Bind(4, series.adjustment)
      .Bind(5, series.symbol)
      .Bind(6, series.schema_text);
  BARCACHE_RETURN_IF_ERROR(store->Run());
  state_->Touched(series.series_key);
  return Status();
}

Result<std::vector<CoverageRow>> CatalogWriter::CoverageOf(std::string_view series_key) {
  return ReadCoverage(state_->connection, series_key);
}

Status CatalogWriter::DropCoverage(std::string_view series_key, int64_t begin_ns) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse drop, state_->Use(kDropCoverage));
  drop->Bind(1, series_key).Bind(2, begin_ns);
  BARCACHE_RETURN_IF_ERROR(drop->Run());
  state_->Touched(series_key);
  return Status();
}

Status CatalogWriter::AddCoverage(std::string_view series_key, const CoverageRow& row) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse add, state_->Use(kAddCoverage));
  add->Bind(1, series_key)
      .Bind(2, row.begin_ns)
      .Bind(3, row.end_ns)
      .Bind(4, row.state)
      .Bind(5, row.segment_key)
      .Bind(6, row.asked_at_s);
  row.expires_at_s.has_value() ? add->Bind(7, *row.expires_at_s) : add->BindNull(7);
  BARCACHE_RETURN_IF_ERROR(add->Run());
  state_->Touched(series_key);
  return Status();
}

Result<bool> CatalogWriter::HasEntry(std::string_view cache_key) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse find, state_->Use(kHasEntry));
  find->Bind(1, cache_key);
  return find->Step();
}

}  // namespace barcache
