// Leases and datasets: rows that are made once, by whoever comes first.
#include <utility>

#include "base/failpoint.h"
#include "catalog/catalog_impl.h"

namespace barcache {

namespace {

constexpr char kLeases[] =
    "SELECT name, token, machine, pid, start_ticks, expires_ns, error_type, error_message"
    " FROM barcache_leases WHERE name = ?1";
constexpr char kAdd[] =
    "INSERT INTO barcache_leases (name, token, machine, pid, start_ticks, expires_ns)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
constexpr char kRenew[] =
    "UPDATE barcache_leases SET expires_ns = ?3"
    " WHERE name = ?1 AND token = ?2 AND error_type IS NULL";
constexpr char kEnd[] =
    "DELETE FROM barcache_leases WHERE name = ?1 AND token = ?2 AND error_type IS NULL";
// For the mutant that lets anybody end a lease.
constexpr char kEndAny[] = "DELETE FROM barcache_leases WHERE name = ?1 AND (1 OR token = ?2)";
constexpr char kFail[] =
    "UPDATE barcache_leases SET expires_ns = ?3, error_type = ?4, error_message = ?5"
    " WHERE name = ?1 AND token = ?2 AND error_type IS NULL";
constexpr char kDropBefore[] = "DELETE FROM barcache_leases WHERE expires_ns < ?1";

constexpr char kFindDataset[] =
    "SELECT min(dataset_id) FROM datasets WHERE source = ?1 AND resolution = ?2";
constexpr char kAddDataset[] =
    "INSERT INTO datasets (source, resolution, schema_version, created_at, updated_at)"
    " VALUES (?1, ?2, 1, ?3, ?3)";

// A lease shares a bucket with keys by chance only: its end then costs them a look-up.
std::string BucketName(std::string_view name) { return "lease:" + std::string(name); }

Result<std::vector<LeaseRow>> ReadLeases(SqliteStatement* statement) {
  std::vector<LeaseRow> rows;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool any, statement->Step());
    if (!any) return rows;
    LeaseRow row;
    row.name = statement->TextOr(0, "");
    row.token = statement->TextOr(1, "");
    row.holder.machine = statement->TextOr(2, "");
    row.holder.pid = statement->Int64Or(3, 0);
    row.holder.start_ticks = statement->Int64Or(4, 0);
    row.expires_ns = statement->Int64Or(5, 0);
    if (statement->type(6) != SqliteType::kNull) row.error_type = statement->TextOr(6, "");
    row.error_message = statement->TextOr(7, "");
    rows.push_back(std::move(row));
  }
}

Result<std::optional<int64_t>> ReadDataset(SqliteStatement* find, std::string_view source,
                                           std::string_view resolution) {
  find->Bind(1, source).Bind(2, resolution);
  BARCACHE_ASSIGN_OR_RETURN(const bool row, find->Step());
  if (!row || find->type(0) != SqliteType::kInteger) return std::optional<int64_t>();
  return std::optional<int64_t>(find->Int64(0));
}

}  // namespace

Result<std::vector<LeaseRow>> CatalogWriter::Leases(std::string_view name) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, state_->Use(kLeases));
  query->Bind(1, name);
  return ReadLeases(&*query);
}

Status CatalogWriter::AddLease(const LeaseRow& row) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse add, state_->Use(kAdd));
  add->Bind(1, row.name)
      .Bind(2, row.token)
      .Bind(3, row.holder.machine)
      .Bind(4, row.holder.pid)
      .Bind(5, row.holder.start_ticks)
      .Bind(6, row.expires_ns);
  return add->Run();
}

Result<bool> CatalogWriter::RenewLease(std::string_view name, std::string_view token,
                                       int64_t expires_ns) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse renew, state_->Use(kRenew));
  renew->Bind(1, name).Bind(2, token).Bind(3, expires_ns);
  BARCACHE_RETURN_IF_ERROR(renew->Run());
  return state_->connection->changes() > 0;
}

Result<bool> CatalogWriter::EndLease(std::string_view name, std::string_view token) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse end,
                            state_->Use(Mutant("lease_without_token") ? kEndAny : kEnd));
  end->Bind(1, name).Bind(2, token);
  BARCACHE_RETURN_IF_ERROR(end->Run());
  if (!Mutant("lease_end_unseen")) state_->Touched(BucketName(name));
  return state_->connection->changes() > 0;
}

Result<bool> CatalogWriter::FailLease(const LeaseRow& row) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse fail, state_->Use(kFail));
  const std::string_view error_type = row.error_type ? std::string_view(*row.error_type) : "";
  fail->Bind(1, row.name)
      .Bind(2, row.token)
      .Bind(3, row.expires_ns)
      .Bind(4, error_type)
      .Bind(5, row.error_message);
  BARCACHE_RETURN_IF_ERROR(fail->Run());
  state_->Touched(BucketName(row.name));
  return state_->connection->changes() > 0;
}

Status CatalogWriter::DropLeasesBefore(int64_t expires_ns) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse drop, state_->Use(kDropBefore));
  drop->Bind(1, expires_ns);
  return drop->Run();
}

Result<DatasetRow> CatalogWriter::FindOrAddDataset(std::string_view source,
                                                   std::string_view resolution, int64_t now_s) {
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse find, state_->Use(kFindDataset));
    BARCACHE_ASSIGN_OR_RETURN(const auto known, ReadDataset(&*find, source, resolution));
    if (known && !Mutant("dataset_without_look")) return DatasetRow{*known, false};
  }
  BARCACHE_ASSIGN_OR_RETURN(StatementUse add, state_->Use(kAddDataset));
  add->Bind(1, source).Bind(2, resolution).Bind(3, now_s);
  BARCACHE_RETURN_IF_ERROR(add->Run());
  return DatasetRow{state_->connection->last_insert_rowid(), true};
}

Result<std::vector<LeaseRow>> Catalog::Leases(std::string_view name) {
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->readers.Take());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, reader->Use(kLeases));
  query->Bind(1, name);
  return ReadLeases(&*query);
}

Epoch Catalog::EpochOfLease(std::string_view name) const { return EpochOf(BucketName(name)); }

Result<std::optional<int64_t>> Catalog::FindDataset(std::string_view source,
                                                    std::string_view resolution) {
  BARCACHE_ASSIGN_OR_RETURN(ReaderPool::Lease reader, impl_->readers.Take());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse find, reader->Use(kFindDataset));
  return ReadDataset(&*find, source, resolution);
}

}  // namespace barcache
