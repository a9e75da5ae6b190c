// Orders that a policy computes: priorities, queues, and the keys of what was evicted.
#include <algorithm>

#include "catalog/catalog_impl.h"
#include "catalog/victim_sql.h"

namespace barcache {

namespace {

constexpr char kSetPriority[] = "UPDATE barcache_entries SET priority = ?2 WHERE use_order = ?1";
constexpr char kReadInflation[] = "SELECT inflation FROM barcache_totals WHERE id = 1";
constexpr char kFinishRanking[] =
    "UPDATE barcache_totals SET inflation = ?1, ranked_use = next_use WHERE id = 1";

constexpr char kEnqueue[] =
    "UPDATE barcache_entries SET queue = ?2, counted_uses = ?3,"
    " place = (SELECT next_place FROM barcache_totals WHERE id = 1) WHERE use_order = ?1";
constexpr char kTakePlace[] = "UPDATE barcache_totals SET next_place = next_place + 1 WHERE id = 1";
constexpr char kFinishQueueing[] = "UPDATE barcache_totals SET queued_use = next_use WHERE id = 1";
constexpr char kQueueTotals[] =
    "SELECT size_bytes - pinned_size_bytes - main_size_bytes, main_size_bytes, queued_use > 0"
    " FROM barcache_totals WHERE id = 1";

constexpr char kForgetGhost[] = "DELETE FROM barcache_ghosts WHERE cache_key = ?1";
constexpr char kForgetGhostOf[] =
    "DELETE FROM barcache_ghosts WHERE cache_key ="
    " (SELECT cache_key FROM barcache_entries WHERE use_order = ?1)";
constexpr char kRememberGhost[] =
    "INSERT INTO barcache_ghosts (cache_key, size_bytes) VALUES (?1, ?2)";
constexpr char kGhostBytes[] = "SELECT ghost_size_bytes FROM barcache_totals WHERE id = 1";
constexpr char kForgetOldestGhost[] =
    "DELETE FROM barcache_ghosts WHERE place = (SELECT min(place) FROM barcache_ghosts)";

Result<std::vector<RankInput>> ReadRankInputs(StatementUse query) {
  std::vector<RankInput> inputs;
  while (true) {
    BARCACHE_ASSIGN_OR_RETURN(const bool row, query->Step());
    if (!row) return inputs;
    inputs.push_back({query->Int64(0), query->Int64Or(1, 0), query->Int64Or(2, 0), query->Double(3),
                      query->Int64(4) != 0, query->Int64(5) != 0});
  }
}

}  // namespace

Result<std::vector<RankInput>> CatalogWriter::EntriesToRank() {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, state_->Use(kEntriesToRank));
  return ReadRankInputs(std::move(query));
}

Status CatalogWriter::SetPriority(int64_t use_order, double priority) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse set, state_->Use(kSetPriority));
  set->Bind(1, use_order).Bind(2, priority);
  return set->Run();
}

Result<double> CatalogWriter::Inflation() {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse read, state_->Use(kReadInflation));
  BARCACHE_ASSIGN_OR_RETURN(const bool row, read->Step());
  return row ? read->Double(0) : 0.0;
}

Status CatalogWriter::FinishRanking(double inflation) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse finish, state_->Use(kFinishRanking));
  finish->Bind(1, inflation);
  return finish->Run();
}

Result<std::vector<RankInput>> CatalogWriter::EntriesToQueue(std::string_view named_key) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse query, state_->Use(kEntriesToQueue));
  query->Bind(1, named_key);
  return ReadRankInputs(std::move(query));
}

Status CatalogWriter::Enqueue(int64_t use_order, int queue, int64_t counted_uses) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse enqueue, state_->Use(kEnqueue));
  enqueue->Bind(1, use_order).Bind(2, int64_t{queue}).Bind(3, counted_uses);
  BARCACHE_RETURN_IF_ERROR(enqueue->Run());
  BARCACHE_ASSIGN_OR_RETURN(StatementUse take, state_->Use(kTakePlace));
  return take->Run();
}

Status CatalogWriter::FinishQueueing() {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse finish, state_->Use(kFinishQueueing));
  return finish->Run();
}

Result<QueueTotals> CatalogWriter::ReadQueueTotals() {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse read, state_->Use(kQueueTotals));
  BARCACHE_ASSIGN_OR_RETURN(const bool row, read->Step());
  if (!row) return QueueTotals{};
  return QueueTotals{read->Int64Or(0, 0), read->Int64Or(1, 0), read->Int64Or(2, 0) != 0};
}

Result<std::optional<QueueHead>> CatalogWriter::HeadOf(int queue, std::string_view except_key) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse read, state_->Use(kQueueHead));
  read->Bind(1, except_key).Bind(2, int64_t{queue});
  BARCACHE_ASSIGN_OR_RETURN(const bool row, read->Step());
  if (!row) return std::optional<QueueHead>();
  return std::optional<QueueHead>(
      QueueHead{ReadVictim(*read), read->Int64(5), read->Int64Or(6, 0), read->Int64Or(7, 0)});
}

Status CatalogWriter::RememberGhost(std::string_view cache_key, int64_t size_bytes,
                                    int64_t limit_bytes) {
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse forget, state_->Use(kForgetGhost));
    forget->Bind(1, cache_key);
    BARCACHE_RETURN_IF_ERROR(forget->Run());
  }
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse remember, state_->Use(kRememberGhost));
    remember->Bind(1, cache_key).Bind(2, size_bytes);
    BARCACHE_RETURN_IF_ERROR(remember->Run());
  }
  while (true) {
    {
      BARCACHE_ASSIGN_OR_RETURN(StatementUse read, state_->Use(kGhostBytes));
      BARCACHE_ASSIGN_OR_RETURN(const bool row, read->Step());
      if (!row || read->Int64Or(0, 0) <= limit_bytes) return Status();
    }
    BARCACHE_ASSIGN_OR_RETURN(StatementUse forget, state_->Use(kForgetOldestGhost));
    BARCACHE_RETURN_IF_ERROR(forget->Run());
    if (state_->connection->changes() == 0) return Status();  // The total is not the table's.
  }
}

Status CatalogWriter::ForgetGhostOf(int64_t use_order) {
  BARCACHE_ASSIGN_OR_RETURN(StatementUse forget, state_->Use(kForgetGhostOf));
  forget->Bind(1, use_order);
  return forget->Run();
}

}  // namespace barcache
