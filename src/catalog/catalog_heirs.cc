// Entries that take the place of others: what was said of those goes on to be said of their heir.
#include "catalog/catalog_impl.h"

namespace barcache {

namespace {

constexpr char kPassLinks[] =
    "INSERT INTO backtest_cache_links (backtest_id, cache_key, linked_at)"
    " SELECT l.backtest_id, n.cache_key, max(max(l.linked_at), n.created_at)"
    " FROM backtest_cache_links l JOIN cache_entries o ON o.cache_key = l.cache_key"
    " JOIN cache_entries n ON n.cache_key = ?2"
    " WHERE l.cache_key = ?1 AND l.linked_at >= o.created_at"
    " AND NOT EXISTS (SELECT 1 FROM backtest_cache_links p WHERE p.cache_key = n.cache_key"
    " AND p.backtest_id = l.backtest_id AND p.linked_at >= n.created_at)"
    " GROUP BY l.backtest_id";
constexpr char kPassUses[] =
    "UPDATE cache_entries SET"
    " access_count = access_count + (SELECT o.access_count FROM cache_entries o"
    "  WHERE o.cache_key = ?1),"
    " last_accessed = max(last_accessed, (SELECT o.last_accessed FROM cache_entries o"
    "  WHERE o.cache_key = ?1))"
    " WHERE cache_key = ?2 AND EXISTS (SELECT 1 FROM cache_entries o WHERE o.cache_key = ?1)";
constexpr char kPassCost[] =
    "UPDATE barcache_entries SET fetch_cost = fetch_cost + (SELECT o.fetch_cost"
    " FROM barcache_entries o WHERE o.cache_key = ?1)"
    " WHERE cache_key = ?2 AND EXISTS (SELECT 1 FROM barcache_entries o WHERE o.cache_key = ?1)";
constexpr char kIsPinned[] =
    "SELECT 1 FROM barcache_entries WHERE cache_key = ?1 AND use_order < 0";
// Segments of one series are neighbours in the index of keys.
constexpr char kFindHeir[] =
    "SELECT cache_key FROM barcache_entries WHERE cache_key > ?1 AND cache_key < ?2"
    " AND instr(request_json, ?3) > 0 LIMIT 1";

}  // namespace

Status CatalogWriter::PassOn(std::string_view from_key, std::string_view to_key) {
  for (const char* sql : {kPassLinks, kPassUses, kPassCost}) {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse pass, state_->Use(sql));
    pass->Bind(1, from_key).Bind(2, to_key);
    BARCACHE_RETURN_IF_ERROR(pass->Run());
  }
  {
    BARCACHE_ASSIGN_OR_RETURN(StatementUse find, state_->Use(kIsPinned));
    find->Bind(1, from_key);
    BARCACHE_ASSIGN_OR_RETURN(const bool pinned, find->Step());
    if (!pinned) return Status();
  }
  BARCACHE_ASSIGN_OR_RETURN(const bool is_new, Pin(to_key));
  static_cast<void>(is_new);
  return Status();
}

Result<std::string> CatalogWriter::HeirOf(std::string_view segment_key) {
  const std::string series(SeriesKeyOfSegment(segment_key));
  if (series.empty()) return std::string();
  const std::string after = series + ":";
  const std::string before = series + ";";  // ';' is what follows ':'.
  const std::string quoted = "\"" + std::string(segment_key) + "\"";
  BARCACHE_ASSIGN_OR_RETURN(StatementUse find, state_->Use(kFindHeir));
  find->Bind(1, after).Bind(2, before).Bind(3, quoted);
  BARCACHE_ASSIGN_OR_RETURN(const bool row, find->Step());
  return row ? find->TextOr(0, "") : std::string();
}

}  // namespace barcache
